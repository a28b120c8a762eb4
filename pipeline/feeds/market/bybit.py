"""Bybit's candles and readings, from topics and from answers to requests.

- Candles of a minute: topic `kline.1`; all closed ones are kept, of open ones the first in 15 s. Linear: `volume`
  counts coins, `turnover` USD; inverse: the other way round.
- Mark and index price, funding rate, open interest: `tickers`, all contracts in one answer; of the topic `tickers` the
  first in each minute is kept. The topic sends a snapshot, then changes: a field that is missing is unchanged.
- Open interest is one-sided: `singleOpenInterest`, else half of `openInterest`, which counts both sides; its value
  counts both sides, too. Linear: coins, and USD as the value; inverse: the other way round.
- Share of accounts that are long and short: `account-ratio`.

Source: Bybit documentation, `exchange_feeds` 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from pipeline.feeds.market.building import (
    Contracts,
    Prices,
    Thinned,
    Volume,
    amount,
    candle_of,
    reading_of,
    signed,
    truth,
)
from pipeline.feeds.numbers import positive, positive_or_none, time_ms_of, word
from pipeline.feeds.rows import object_of
from pipeline.records import Candle, Frame, Instrument, MarketMetric, Metric

CANDLES: Final = "kline.1."
TICKERS: Final = "tickers."
_BOTH_SIDES: Final = 2


class Tickers:
    """The tickers of one connection as its changes have left them."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any]] = {}

    def read(
        self, frame: Frame, message: Mapping[str, Any], contracts: Contracts, thinned: Thinned
    ) -> Iterator[MarketMetric]:
        """Take in a message of the topic, and yield what is new in its minute."""
        changes = object_of("data", message.get("data"))
        symbol = word("symbol", changes.get("symbol"))
        fields = self._known.setdefault(symbol, {})
        if message.get("type") == "snapshot":
            fields.clear()
        fields.update(changes)
        instrument, time_ms = contracts.named(symbol), time_ms_of("ts", message.get("ts"))
        for metric, value in _readings(instrument, fields):
            if thinned.takes_reading(symbol, metric, time_ms):
                yield reading_of(frame, instrument, metric, value, time_ms)


def candle(
    frame: Frame, symbol: str, row: Mapping[str, Any], contracts: Contracts, thinned: Thinned
) -> Iterator[Candle]:
    """Yield the candle in one row of the topic `kline.1.SYMBOL`."""
    instrument = contracts.named(symbol)
    closed = truth("confirm", row.get("confirm"))
    if not thinned.takes_candle(instrument.symbol, closed, frame.received_time):
        return
    volume, turnover = amount("volume", row.get("volume")), amount("turnover", row.get("turnover"))
    traded = Volume(volume, turnover) if instrument.margin == "linear" else Volume(turnover, volume)
    prices = Prices(*(positive(name, row.get(name)) for name in ("open", "high", "low", "close")))
    yield candle_of(frame, instrument, time_ms_of("start", row.get("start")), prices, traded, closed=closed)


def of_answer(frame: Frame, row: Mapping[str, Any], time: object, contracts: Contracts) -> Iterator[MarketMetric]:
    """Yield what one row of an answer holds; `time` is the answer's own.

    An answer for all contracts lists some that the feed does not serve; they are passed over.
    """
    symbol = word("symbol", row.get("symbol"))
    if "markPrice" in row:
        listed, time_ms = contracts.find(symbol), time_ms_of("time", time)
        if listed is not None:
            for metric, value in _readings(listed, row):
                yield reading_of(frame, listed, metric, value, time_ms)
    elif "buyRatio" in row:
        instrument, time_ms = contracts.named(symbol), time_ms_of("timestamp", row.get("timestamp"))
        shares: tuple[tuple[Metric, str], ...] = (
            ("long_account_share", "buyRatio"),
            ("short_account_share", "sellRatio"),
        )
        for metric, name in shares:
            yield reading_of(frame, instrument, metric, amount(name, row.get(name)), time_ms)


def _readings(instrument: Instrument, fields: Mapping[str, Any]) -> Iterator[tuple[Metric, Decimal]]:
    """Yield what is given: a dated contract has no funding, and a change without its snapshot not all fields."""
    mark_price = positive_or_none("markPrice", fields.get("markPrice"))
    if mark_price is not None:
        yield "mark_price", mark_price
    index_price = positive_or_none("indexPrice", fields.get("indexPrice"))
    if index_price is not None:
        yield "index_price", index_price
    if fields.get("fundingRate") not in (None, ""):
        yield "funding_rate", signed("fundingRate", fields["fundingRate"])
    counted, valued = _open_interest(fields)
    linear = instrument.margin == "linear"
    if counted is not None:
        yield "open_interest_base" if linear else "open_interest_usd", counted
    if valued is not None:
        yield "open_interest_usd" if linear else "open_interest_base", valued


def _open_interest(fields: Mapping[str, Any]) -> tuple[Decimal | None, Decimal | None]:
    """Return one side of the open interest as it is counted, and its value."""
    counted = valued = None
    if fields.get("singleOpenInterest") not in (None, ""):
        counted = amount("singleOpenInterest", fields["singleOpenInterest"])
    elif fields.get("openInterest") not in (None, ""):
        counted = amount("openInterest", fields["openInterest"]) / _BOTH_SIDES
    if fields.get("openInterestValue") not in (None, ""):
        valued = amount("openInterestValue", fields["openInterestValue"]) / _BOTH_SIDES
    return counted, valued
