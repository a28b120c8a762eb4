"""Candles and readings in base units, checked; and what of a stream is kept.

A unit of a multiplied listing is `asset_multiplier` base units: sizes are multiplied by it, prices divided.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, NamedTuple

from pipeline.feeds.feed import Instruments
from pipeline.feeds.naming import Naming, instrument_of, known_instrument
from pipeline.feeds.numbers import decimal_of, exact, shown
from pipeline.feeds.sizes import money_of
from pipeline.records import (
    Candle,
    Frame,
    Instrument,
    MarketMetric,
    Metric,
    RefusedError,
    check_not_ahead,
    check_time_ms,
)

MINUTE_MS: Final = 60_000
# An open candle is told several times a second; four tellings a minute keep the log small.
_OPEN_CANDLE_EVERY_US: Final = 15_000_000

_PRICES: Final = ("mark_price", "index_price")
_SHARES: Final = ("long_account_share", "short_account_share")
_ONE: Final = Decimal(1)
_NOTHING: Final = Decimal(0)


class Contracts(NamedTuple):
    """What is known of one exchange's contracts."""

    exchange: str
    instruments: Instruments
    naming: Naming

    def named(self, symbol: str) -> Instrument:
        """Return the contract of that symbol, or refuse it."""
        return instrument_of(self.exchange, symbol, self.instruments, self.naming)

    def find(self, symbol: str) -> Instrument | None:
        """Return the contract of that symbol, or None."""
        return known_instrument(self.exchange, symbol, self.instruments, self.naming)


class Prices(NamedTuple):
    """First, highest, lowest and last price of one minute, as the exchange lists the contract."""

    first: Decimal
    highest: Decimal
    lowest: Decimal
    last: Decimal


class Volume(NamedTuple):
    """What was traded in one minute: units as listed, USD, the buyers' part of it in USD, and the number of trades."""

    units: Decimal
    usd: Decimal
    taker_buy_usd: Decimal | None = None
    trades: int | None = None


class Thinned:
    """What one connection has told already, so that a stream gives one reading a minute and few open candles.

    Times are the exchange's for readings and the frame's for candles, of which some carry no time of their own; the
    same frames are thinned in the same way.
    """

    def __init__(self) -> None:
        self._minutes: dict[tuple[str, Metric], int] = {}
        self._candles: dict[str, int] = {}

    def takes_reading(self, symbol: str, metric: Metric, time_ms: int) -> bool:
        """Tell whether this is the first reading in its minute, and remember that it was."""
        minute = time_ms // MINUTE_MS
        if minute <= self._minutes.get((symbol, metric), -1):
            return False
        self._minutes[symbol, metric] = minute
        return True

    def takes_candle(self, symbol: str, closed: bool, received_us: int) -> bool:
        """Tell whether a candle is closed, or the first open one within fifteen seconds."""
        if closed:
            return True
        span = received_us // _OPEN_CANDLE_EVERY_US
        if span <= self._candles.get(symbol, -1):
            return False
        self._candles[symbol] = span
        return True


def candle_of(
    frame: Frame, instrument: Instrument, start_ms: int, prices: Prices, volume: Volume, *, closed: bool
) -> Candle:
    """Return the candle of the minute from `start_ms` (since 1970), or refuse what no minute can hold."""
    _check_time(frame, "start", start_ms)
    if start_ms % MINUTE_MS:
        raise RefusedError("bad_time", f"start {start_ms} is not the start of a minute")
    if not 0 < prices.lowest <= min(prices.first, prices.last) <= max(prices.first, prices.last) <= prices.highest:
        raise RefusedError("contradictory_prices", f"no minute has the prices {', '.join(map(str, prices))}")
    if volume.taker_buy_usd is not None and volume.taker_buy_usd > volume.usd:
        raise RefusedError("bad_number", f"buyers took {volume.taker_buy_usd} of {volume.usd} USD")
    multiplier = exact(instrument.asset_multiplier)
    first, highest, lowest, last = (float(price / multiplier) for price in prices)
    return Candle(
        exchange=instrument.exchange,
        symbol=instrument.symbol,
        instrument=instrument.instrument,
        asset=instrument.asset,
        start=start_ms,
        open=first,
        high=highest,
        low=lowest,
        close=last,
        volume=float(volume.units * multiplier),
        volume_micros=money_of(volume.usd),
        taker_buy_micros=None if volume.taker_buy_usd is None else money_of(volume.taker_buy_usd),
        trades=volume.trades,
        closed=closed,
        received_time=frame.received_time,
    )


def reading_of(frame: Frame, instrument: Instrument, metric: Metric, value: Decimal, time_ms: int) -> MarketMetric:
    """Return one reading, `value` as the exchange lists the contract, or refuse what cannot be one."""
    _check_time(frame, "time", time_ms)
    if metric in _PRICES:
        value /= exact(instrument.asset_multiplier)
    elif metric == "open_interest_base":
        value *= exact(instrument.asset_multiplier)
    elif metric in _SHARES and value > _ONE:
        raise RefusedError("bad_number", f"{metric} is {value}, more than the whole")
    return MarketMetric(
        exchange=instrument.exchange,
        symbol=instrument.symbol,
        instrument=instrument.instrument,
        asset=instrument.asset,
        metric=metric,
        value=float(value),
        time=time_ms,
        received_time=frame.received_time,
    )


def amount(name: str, value: object) -> Decimal:
    """Return a number that must be there, zero or above: a quiet minute has no volume."""
    number = signed(name, value)
    if number < _NOTHING:
        raise RefusedError("bad_number", f"{name} is {number}, below zero")
    return number


def signed(name: str, value: object) -> Decimal:
    """Return a number that must be there: a funding rate may be below zero."""
    if value is None or value == "":
        raise RefusedError("missing_field", f"{name} is missing")
    return decimal_of(name, value)


def truth(name: str, value: object) -> bool:
    """Return a JSON truth value that must be there."""
    if not isinstance(value, bool):
        reason = "missing_field" if value is None else "unknown_word"
        raise RefusedError(reason, f"{name} is {shown(value)}, not true or false")
    return value


def _check_time(frame: Frame, name: str, time_ms: int) -> None:
    check_time_ms(name, time_ms)
    check_not_ahead(name, time_ms, frame.received_time)
