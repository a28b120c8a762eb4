"""Binance USD-M and COIN-M futures: the `forceOrder` stream, candles and readings of the market.

What it shows: at most one forced order per symbol and second, so a sample, a lower bound. The order's filled quantity
`z` at its average price `ap`; its limit price `p` (about the bankruptcy price) is kept beside it, and is the price
where no average is sent. One message per order; there is no id and no replay.

Rules, with `exchange_feeds` 1, 2 and 3.1 as their source:
- `S` is the side of the forced ORDER: SELL closes a long, BUY closes a short.
- Quantities are coins on USD-M and contracts on COIN-M, whose size only metadata tells (BTC 100 USD, others 10).
- An order that says it is neither FILLED nor PARTIALLY_FILLED is no liquidation (yet): nothing is emitted for it.
- `st` tells the market (1 USD-M, 2 COIN-M); it stands inside `o`, beside it, or nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple

from pipeline.feeds.conversations.binance import EXCHANGE, LIVE, NAMES, QUOTES
from pipeline.feeds.events import liquidation
from pipeline.feeds.facts import Era, Facts, Rule, completeness_at
from pipeline.feeds.feed import Feed, Instruments, Map, Mapped
from pipeline.feeds.market import binance as market
from pipeline.feeds.market.building import Contracts, Thinned
from pipeline.feeds.naming import Names, compact_date, instrument_of
from pipeline.feeds.numbers import choice, positive, positive_or_none, shown, time_ms_of, word
from pipeline.feeds.rows import json_of, map_each_row, map_rows, object_of
from pipeline.feeds.sizes import known_contract_size, order_price_of, size_of
from pipeline.records import (
    EventTimeKind,
    Frame,
    Instrument,
    Liquidation,
    Position,
    PriceKind,
    RefusedError,
    identity,
    number_text,
)

# The side of the forced order, and what it closes.
CLOSES: Final[Mapping[str, Position]] = {"SELL": "long", "BUY": "short"}
_FORCED_ORDER: Final = "forceOrder"
# Answers that are no readings: of the connection, of the list of contracts, of the server's time.
_ANSWERED: Final = ("result", "error", "symbols", "serverTime")
_FILLED = {"FILLED", "PARTIALLY_FILLED"}
_MARKETS: Final[Mapping[str, str]] = {"1": "USD-M", "2": "COIN-M"}
ERAS: Final = (
    Era("", "unknown", "Nothing is written about a limit.", "no source"),
    Era(
        "2021-04-27",
        "sampled",
        "At most one order per symbol and 1000 ms. Which one, the documentation has told in different ways: the latest,"
        " from April to June 2026 the largest, the latest again.",
        "Binance documentation; the date by a secondary source",
    ),
)


class ForcedOrder(NamedTuple):
    """A forced order as Binance and its clones describe it; `closes` is what its side means.

    `average_price` is None where it was not sent. `coin_margined` is None where the market was not told. `read_us` is a
    recorder's clock where the exchange's time was not kept; it then stands for the time in the identity, too.
    """

    symbol: str
    order: str
    closes: Position
    quantity: Decimal
    average_price: Decimal | None
    order_price: Decimal | None
    event_time: int
    event_time_kind: EventTimeKind = "exchange"
    coin_margined: bool | None = None
    read_us: int | None = None


def named(symbol: str) -> Instrument | None:
    """Return what the documented naming says of a contract, or None.

    `BTCUSDT` perpetual; `BTCUSDT_251226` dated; `BTCUSD_PERP` and `BTCUSD_200925` COIN-M, which is therefore looked for
    first (`BNBUSD_PERP` is not quoted in BUSD).
    """
    return _named(NAMES, symbol)


@lru_cache(maxsize=16_384)
def _named(names: Names, symbol: str) -> Instrument | None:
    pair, underscore, last = symbol.partition("_")
    if underscore and pair.endswith("USD"):
        base = pair.removesuffix("USD")
        if last == "PERP":
            return names.perpetual(symbol, base, "USD", "inverse")
        return names.dated(symbol, base, "USD", "inverse", compact_date(last))
    for quote in QUOTES:
        if pair.endswith(quote):
            base = pair.removesuffix(quote)
            if underscore:
                return names.dated(symbol, base, quote, "linear", compact_date(last))
            return names.perpetual(symbol, base, quote, "linear")
    return None


def liquidation_of(
    frame: Frame,
    index: int,
    forced: ForcedOrder,
    instruments: Instruments,
    names: Names = NAMES,
    price_kind: PriceKind = "average_fill",
) -> Liquidation:
    """Return the event of a forced order.

    Identity: symbol, order side, time, filled quantity, and the price used; the stream has no id. Where the average is
    missing the order's price stands in for it there too, so that two orders of one millisecond stay two.
    """
    exchange = names.exchange
    instrument = instrument_of(exchange, forced.symbol, instruments, partial(_named, names))
    if forced.coin_margined and instrument.margin == "linear":
        raise RefusedError("unknown_market", f"{forced.symbol!r} is sent as COIN-M, but is a linear contract")
    price = forced.average_price or forced.order_price
    if price is None:
        raise RefusedError("missing_field", "neither average price ap nor order price p is given")
    averaged = forced.average_price is not None
    contract_size = known_contract_size(instrument) if instrument.margin != "linear" else instrument.contract_size
    size = size_of(instrument, forced.quantity, price, contract_size)
    return liquidation(
        frame,
        index,
        instrument,
        size,
        event_id=identity(
            exchange,
            forced.symbol,
            forced.order,
            forced.event_time if forced.read_us is None else forced.read_us,
            number_text(forced.quantity),
            number_text(price),
        ),
        position=forced.closes,
        price_kind=price_kind if averaged else "order",
        order_price=order_price_of(instrument, forced.order_price) if averaged else None,
        event_time=forced.event_time,
        event_time_kind=forced.event_time_kind,
        completeness=completeness_at(ERAS, forced.event_time),
    )


def map_forced_orders(frame: Frame, instruments: Instruments, names: Names = NAMES) -> Iterator[Mapped]:
    """Map a message of the `forceOrder` stream, as Binance and its clones send it; `names` says whose it is."""

    def event_of(index: int, message: object) -> Liquidation | None:
        envelope = object_of("message", message)
        if not _is_event(envelope) or envelope["e"] != _FORCED_ORDER:
            return None
        return _event_of(frame, index, envelope, instruments, names)

    return map_rows(frame, _messages, event_of)


def _begin() -> Map:
    """Return the mapping of one connection, which remembers what of the market it has told."""
    thinned = Thinned()

    def mapped(frame: Frame, instruments: Instruments) -> Iterator[Mapped]:
        contracts = Contracts(EXCHANGE, instruments, named)

        def events_of(index: int, message: object) -> Iterable[Mapped]:
            envelope = object_of("message", message)
            if not _is_event(envelope):
                return market.of_answer(frame, envelope, contracts) if market.is_answer(envelope) else ()
            if envelope["e"] != _FORCED_ORDER:
                return market.of_stream(frame, envelope, contracts, thinned)
            event = _event_of(frame, index, envelope, instruments, NAMES)
            return () if event is None else (event,)

        return map_each_row(frame, _messages, events_of)

    return mapped


def _event_of(
    frame: Frame, index: int, envelope: dict[str, Any], instruments: Instruments, names: Names
) -> Liquidation | None:
    order = object_of("o", envelope.get("o"))
    status = order.get("X")
    if status is not None and word("X", status) not in _FILLED:
        return None
    return liquidation_of(frame, index, _forced_order(envelope, order), instruments, names)


def _messages(payload: bytes) -> list[Any]:
    """Split a payload into messages: bare, wrapped with the stream's name, or a list in either form."""
    message = json_of(payload)
    if isinstance(message, dict) and "stream" in message:
        message = message.get("data")
        if message is None:
            raise RefusedError("missing_field", "data is missing behind stream")
    return message if isinstance(message, list) else [message]


def _is_event(message: dict[str, Any]) -> bool:
    """Tell an event from answers: those of the connection, and rows or whole answers of requests."""
    if message.get("e") is not None:
        return True
    if "code" in message and "msg" in message:
        raise RefusedError("request_refused", f"{shown(message['code'])}: {shown(message['msg'])}")
    if not message.keys().isdisjoint(_ANSWERED) or market.is_answer(message):
        return False
    raise RefusedError("unexpected_message", "neither an event (e) nor an acknowledgement (result)")


def _forced_order(envelope: dict[str, Any], order: dict[str, Any]) -> ForcedOrder:
    quantity = order.get("z")
    market = order.get("st", envelope.get("st"))
    return ForcedOrder(
        symbol=word("s", order.get("s")),
        closes=choice("S", order.get("S"), CLOSES),
        order=order["S"],
        quantity=positive("q", order.get("q")) if quantity in (None, "") else positive("z", quantity),
        average_price=positive_or_none("ap", order.get("ap")),
        order_price=positive_or_none("p", order.get("p")),
        event_time=time_ms_of("T", order.get("T")),
        coin_margined=None if market is None else _coin_margined(market),
    )


def _coin_margined(market: object) -> bool:
    if str(market) not in _MARKETS:
        raise RefusedError("unknown_market", f"st is {shown(market)}, neither 1 (USD-M) nor 2 (COIN-M)")
    return str(market) == "2"


FACTS: Final = Facts(
    markets=("USD-M perpetuals and quarterlies, linear", "COIN-M perpetuals and quarterlies, inverse"),
    eras=ERAS,
    price_kind="average_fill",
    delay="up to one second, the window of the sample",
    since="2019; the present path of the stream since 2026-03",
    positions=CLOSES,
    rules=(
        Rule(
            "position",
            "`o.S` is the side of the forced ORDER: SELL closes a long, BUY a short.",
            "Binance documentation; recorded messages",
        ),
        Rule(
            "counted",
            "One message per order. An order whose `X` is there and neither FILLED nor PARTIALLY_FILLED closed nothing"
            " (yet).",
            "recorded messages; Tardis mappers",
        ),
        Rule(
            "quantity",
            "`z`, the filled quantity; `q` where it is missing. `l` is the last fill only. Coins on USD-M, contracts on"
            " COIN-M, whose size is `contractSize` of the metadata (USD).",
            "Binance documentation; a recorded order with l 25.2 and z 116.5",
        ),
        Rule(
            "price",
            "`ap`, the average fill; where it is missing or zero `p`, the order's price, and the kind says so.",
            "Binance documentation; recorded messages, in which the two differ by up to 11 %",
        ),
        Rule("time", "`o.T`, milliseconds. `E` is the push, often a second later.", "Binance documentation"),
        Rule(
            "identity",
            "Symbol, `S`, `T`, quantity and price: the stream has no id and repeats nothing.",
            "Binance documentation",
        ),
        Rule(
            "instrument",
            "`exchangeInfo` of both markets. Without metadata the documented naming: BTCUSDT, BTCUSDT_251226,"
            " BTCUSD_PERP, BTCUSD_200925. Listings of 1000 or more come from a table. `st` (1 USD-M, 2 COIN-M) stands"
            " in `o`, beside it or nowhere; a linear contract sent as COIN-M is refused.",
            "Binance documentation; recorded messages",
        ),
        Rule(
            "liveness",
            "The server pings every 3 minutes and cuts after 24 hours. LIST_SUBSCRIPTIONS is asked every 30 s, since a"
            " quiet market is silent. An acknowledgement proves nothing: the path without `market` acknowledges and"
            " sends nothing since 2026-04-23.",
            "Binance announcements of 2026-03-06 and 2026-04-23",
        ),
    ),
    caveats=(
        "A lower bound: how much is left out is not known, and most in a crash.",
        "Both hosts carry both markets since 2026-06-30, so only the USD-M host is subscribed to.",
        "Open interest of COIN-M comes in USD only; in coins it is that divided by the mark price.",
    ),
)

FEED = Feed(EXCHANGE, _begin, FACTS, LIVE)
