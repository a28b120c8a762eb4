"""Aster perpetuals: the `forceOrder` stream, a clone of Binance's with contracts of its own.

What it shows: at most one forced order per symbol and second, so a sample. Rules and shape are Binance's (see
`pipeline.feeds.binance`), with `exchange_feeds` 1, 3.12 and Aster's documentation as their source: `S` is the side of
the forced ORDER (SELL closes a long), `z` the filled quantity in coins, `ap` the average fill price, `p` the order's.

The recording `aster_csv` of this exchange did not keep `T`, so its rows are identified by their recorder's clock: a row
of it and the live message of the same order have different ids, and cannot have the same one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pipeline.feeds import binance
from pipeline.feeds.conversations.aster import EXCHANGE, LIVE, NAMES
from pipeline.feeds.facts import Era, Facts, Rule
from pipeline.feeds.feed import Feed, Instruments, Mapped, stateless
from pipeline.records import Frame


def _map(frame: Frame, instruments: Instruments) -> Iterator[Mapped]:
    return binance.map_forced_orders(frame, instruments, NAMES)


FACTS: Final = Facts(
    markets=("perpetuals, linear, quoted in USDT, USDC or USD1",),
    eras=(Era("", "sampled", "At most one forced order per symbol and 1000 ms, the latest.", "Aster documentation"),),
    price_kind="average_fill",
    delay="up to one second, the window of the sample",
    since="2025-10 or earlier",
    positions=binance.CLOSES,
    rules=(
        Rule(
            "position",
            "`S` is the side of the forced order: SELL closes a long, BUY a short.",
            "Aster documentation; recorded messages",
        ),
        Rule("counted", "Orders FILLED or PARTIALLY_FILLED; others closed nothing (yet).", "as Binance"),
        Rule("quantity", "`z`, the filled quantity in coins; `q` where it is missing.", "Aster documentation"),
        Rule(
            "price",
            "`ap`, the average fill; where it is missing or zero `p`, the order's price.",
            "Aster documentation",
        ),
        Rule("time", "`T`, milliseconds.", "Aster documentation"),
        Rule("identity", "Symbol, `S`, `T`, quantity and price: the stream has no id.", "Aster documentation"),
        Rule(
            "instrument",
            "`exchangeInfo`; without metadata the name: the coin and USDT or USDC. Listings of 1000 come from Binance's"
            " table.",
            "Aster documentation",
        ),
        Rule(
            "liveness",
            "The server pings every 5 minutes and waits 15 for the answer; LIST_SUBSCRIPTIONS is asked in between. A"
            " connection ends after 24 hours.",
            "Aster documentation",
        ),
    ),
    caveats=(
        "A lower bound: how much is left out is not known.",
        "USD1 counts as USD, one for one.",
        "Rows of the aster_csv recording carry the recorder's time and never merge with live events.",
    ),
)

FEED = Feed(EXCHANGE, stateless(_map), FACTS, LIVE)
