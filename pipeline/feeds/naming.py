"""Contracts as the exchanges' documented naming describes them, for recordings that bring no metadata.

A name tells base, quote, margin and expiry. It never tells a contract size: that stays None here. Listings of 1000 or
more units of a coin come from each exchange's own table, since form does not tell `1000X` from `1INCH` and `0G`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

from pipeline.feeds.feed import Instruments
from pipeline.feeds.numbers import shown
from pipeline.records import Instrument, Margin, RefusedError

# Listed name -> (coin, how many of it one unit is).
Multiplied = Mapping[str, tuple[str, int]]
Naming = Callable[[str], "Instrument | None"]

_LONGEST_SYMBOL = 64

MONTHS: Mapping[str, int] = {
    "JAN": 1,
    "FEB": 2,
    "MAR": 3,
    "APR": 4,
    "MAY": 5,
    "JUN": 6,
    "JUL": 7,
    "AUG": 8,
    "SEP": 9,
    "OCT": 10,
    "NOV": 11,
    "DEC": 12,
}


@dataclass(frozen=True, slots=True, eq=False)
class Names:
    """How one exchange's contracts are turned into instruments."""

    exchange: str
    multiplied: Multiplied

    def perpetual(self, symbol: str, base: str, quote: str, margin: Margin) -> Instrument | None:
        """Return a contract without expiry, or None if `base` is no coin's name."""
        return self._instrument(symbol, base, quote, margin, "PERP", None)

    def dated(self, symbol: str, base: str, quote: str, margin: Margin, expiry: date | None) -> Instrument | None:
        """Return a contract that ends on `expiry`, or None if that is no date or `base` no coin's name."""
        if expiry is None:
            return None
        return self._instrument(symbol, base, quote, margin, f"{expiry:%Y%m%d}", expiry.isoformat())

    def month(self, symbol: str, base: str, quote: str, margin: Margin, year: int, month: int) -> Instrument | None:
        """Return a contract whose name gives the month of its end only; the day is metadata's to tell."""
        return self._instrument(symbol, base, quote, margin, f"{year}-{month:02}", None)

    def _instrument(
        self, symbol: str, base: str, quote: str, margin: Margin, last: str, expiry: str | None
    ) -> Instrument | None:
        if not base.isalnum():
            return None
        asset, multiplier = self.multiplied.get(base, (base, 1))
        return Instrument(
            exchange=self.exchange,
            symbol=symbol,
            instrument=f"{asset}-{quote}-{last}",
            asset=asset,
            quote=quote,
            settle=asset if margin == "inverse" else quote,
            margin=margin,
            expiry=expiry,
            asset_multiplier=float(multiplier),
        )


def instrument_of(exchange: str, symbol: str, instruments: Instruments, naming: Naming) -> Instrument:
    """Return what is known of a contract: its metadata, else what its name says; refuse a name that says nothing."""
    found = known_instrument(exchange, symbol, instruments, naming)
    if found is None:
        raise RefusedError(
            "unknown_symbol", f"{shown(symbol)} is in no metadata and fits no documented naming of {exchange}"
        )
    return found


def known_instrument(exchange: str, symbol: str, instruments: Instruments, naming: Naming) -> Instrument | None:
    """Return the same, or None for a name that says nothing."""
    found = instruments.get((exchange, symbol))
    if found is None and len(symbol) <= _LONGEST_SYMBOL:
        found = naming(symbol)
    return found


def compact_date(text: str) -> date | None:
    """Return the date in `yymmdd`, or None."""
    if len(text) != len("yymmdd") or not (text.isascii() and text.isdigit()):
        return None
    return _date(2000 + int(text[:2]), int(text[2:4]), int(text[4:]))


def day_of(time_ms: int) -> date:
    """Return the day (UTC) of a time in milliseconds since 1970."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).date()


def worded_date(text: str) -> date | None:
    """Return the date in `21FEB25`, or None."""
    day, month, year = text[:-5], MONTHS.get(text[-5:-2]), text[-2:]
    if month is None or not all(part.isascii() and part.isdigit() for part in (day, year)) or len(day) > len("31"):
        return None
    return _date(2000 + int(year), month, int(day))


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None
