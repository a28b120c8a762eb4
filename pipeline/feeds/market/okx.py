"""OKX's candles and readings, from channels and from answers to requests, whose rows are alike.

- Candles of a minute: channel `candle1m`; all closed ones are kept, of open ones the first in 15 s. `volCcy` is coins,
  `volCcyQuote` USD.
- Mark price `mark-price`, index price `index-tickers` (an index is told of its swap), open interest `open-interest`:
  all contracts in one answer; of the channels of the same names the first in each minute is kept.
- Open interest is one-sided: `oiCcy` coins, `oiUsd` USD; where the latter is missing, contracts x contract size on
  inverse contracts, nothing on linear ones.
- Funding rate: channel `funding-rate`, about once a minute.
- Share of accounts that are long and short: `long-short-account-ratio-contract`, as their ratio.

Source: OKX documentation, `exchange_feeds` 5.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from pipeline.feeds.market.building import Contracts, Prices, Thinned, Volume, amount, candle_of, reading_of, signed
from pipeline.feeds.numbers import choice, exact, positive, shown, time_ms_of, word
from pipeline.feeds.rows import list_of
from pipeline.records import Candle, Frame, Instrument, MarketMetric, Metric, RefusedError

CANDLES: Final = "candle1m"
READINGS: Final = ("mark-price", "index-tickers", "open-interest", "funding-rate")
# By the key that only such a row of an answer has.
ANSWERED: Final = ("markPx", "idxPx", "oi", "fundingRate")
# A candle's row: start, open, high, low, close, contracts, coins, quote, closed.
_CANDLE_FIELDS: Final = 9
_RATIO_FIELDS: Final = 2
_CLOSED: Final = {"0": False, "1": True}
_INSTRUMENT_IN_ADDRESS = re.compile(r"[?&]instId=([\w-]{1,64})(?:&|$)")


def candle(frame: Frame, symbol: str, row: object, contracts: Contracts, thinned: Thinned) -> Iterator[Candle]:
    """Yield the candle in one row of the channel `candle1m`."""
    fields = list_of("candle", row)
    if len(fields) != _CANDLE_FIELDS:
        raise RefusedError("unexpected_message", f"a candle of {len(fields)} fields, not {_CANDLE_FIELDS}")
    start, first, highest, lowest, last, _, coins, quote, confirmed = fields
    instrument = contracts.named(symbol)
    closed = choice("confirm", confirmed, _CLOSED)
    if not thinned.takes_candle(symbol, closed, frame.received_time):
        return
    prices = Prices(positive("o", first), positive("h", highest), positive("l", lowest), positive("c", last))
    volume = Volume(amount("volCcy", coins), amount("volCcyQuote", quote))
    yield candle_of(frame, instrument, time_ms_of("ts", start), prices, volume, closed=closed)


def readings(
    frame: Frame, row: Mapping[str, Any], contracts: Contracts, thinned: Thinned | None
) -> Iterator[MarketMetric]:
    """Yield what one row holds; `thinned` is None for an answer, of which all is kept.

    An answer for all contracts or indices lists some that the feed does not serve; they are passed over.
    """
    symbol, time_ms = word("instId", row.get("instId")), time_ms_of("ts", row.get("ts"))
    if "idxPx" in row:
        # An index is of a pair, and only metadata tell which pairs have a swap.
        instrument = contracts.instruments.get((contracts.exchange, f"{symbol}-SWAP"))
    else:
        instrument = contracts.named(symbol) if thinned is not None else contracts.find(symbol)
    if instrument is None:
        return
    for metric, value in _told(instrument, row):
        if thinned is None or thinned.takes_reading(instrument.symbol, metric, time_ms):
            yield reading_of(frame, instrument, metric, value, time_ms)


def account_shares(frame: Frame, row: object, contracts: Contracts) -> Iterator[MarketMetric]:
    """Yield the shares in one row of a ratio: long accounts for each short one. Only the address names the contract."""
    fields = list_of("row", row)
    address = _INSTRUMENT_IN_ADDRESS.search(frame.connection)
    if len(fields) != _RATIO_FIELDS:
        raise RefusedError("unexpected_message", f"a ratio's row of {len(fields)} fields, not {_RATIO_FIELDS}")
    if address is None:
        raise RefusedError("unknown_symbol", f"the address {shown(frame.connection)} names no instId")
    instrument = contracts.named(address[1])
    time_ms, ratio = time_ms_of("ts", fields[0]), amount("ratio", fields[1])
    yield reading_of(frame, instrument, "long_account_share", ratio / (ratio + 1), time_ms)
    yield reading_of(frame, instrument, "short_account_share", 1 / (ratio + 1), time_ms)


def _told(instrument: Instrument, row: Mapping[str, Any]) -> Iterator[tuple[Metric, Decimal]]:
    if "markPx" in row:
        yield "mark_price", positive("markPx", row["markPx"])
    elif "idxPx" in row:
        yield "index_price", positive("idxPx", row["idxPx"])
    elif "fundingRate" in row:
        # Empty while a contract is not traded yet.
        if row["fundingRate"] != "":
            yield "funding_rate", signed("fundingRate", row["fundingRate"])
    elif "oi" in row:
        yield "open_interest_base", amount("oiCcy", row.get("oiCcy"))
        if row.get("oiUsd") not in (None, ""):
            yield "open_interest_usd", amount("oiUsd", row["oiUsd"])
        elif instrument.margin == "inverse" and instrument.contract_size is not None:
            yield "open_interest_usd", amount("oi", row["oi"]) * exact(instrument.contract_size)
    else:
        raise RefusedError("unexpected_message", f"no reading among {shown(', '.join(row))}")
