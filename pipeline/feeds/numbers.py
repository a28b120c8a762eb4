"""Numbers and times as exchanges write them: text or JSON numbers, read exactly or refused."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final, TypeGuard, TypeVar

from pipeline.records import RefusedError, check_time_ms

Meaning = TypeVar("Meaning")

# Plain decimal text only: Decimal itself would also take underscores, blanks, other scripts' digits, NaN, and
# exponents whose number written out fills the memory.
_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,2})?", re.ASCII)
_MILLISECONDS = re.compile(r"\d{1,16}", re.ASCII)
# No price or size of any market comes near.
_MOST_CHARACTERS: Final = 60
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def decimal_of(name: str, value: object) -> Decimal:
    """Return a number given as text, integer or float exactly as it is written; refuse everything else."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise RefusedError("bad_number", f"{name} is {shown(value)}, not a number")
    elif isinstance(value, float) and not math.isfinite(value):
        raise RefusedError("bad_number", f"{name} is {value}, not a number")
    else:
        text = str(value)
    if len(text) > _MOST_CHARACTERS or _DECIMAL.fullmatch(text) is None:
        raise RefusedError("bad_number", f"{name} is {shown(value)}, not a number")
    return Decimal(text)


def positive(name: str, value: object) -> Decimal:
    """Return a number that must be there and above zero."""
    if _is_plain(value) and (number := Decimal(value)):
        return number
    if value is None or value == "":
        raise RefusedError("missing_field", f"{name} is missing")
    number = decimal_of(name, value)
    if number <= 0:
        raise RefusedError("bad_number", f"{name} is {shown(value)}, not a positive number")
    return number


def positive_or_none(name: str, value: object) -> Decimal | None:
    """Return a number above zero, or None where the exchange left it out: no field, null, no text, or zero."""
    if _is_plain(value):
        return Decimal(value) or None
    if value is None or value == "":
        return None
    number = decimal_of(name, value)
    if number < 0:
        raise RefusedError("bad_number", f"{name} is {shown(value)}, a negative number")
    return number or None


def time_ms_of(name: str, value: object) -> int:
    """Return a time in milliseconds since 1970, given as an integer or as its digits."""
    if value is None or value == "":
        raise RefusedError("missing_field", f"{name} is missing")
    if isinstance(value, str) and _MILLISECONDS.fullmatch(value):
        time_ms = int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        time_ms = value
    else:
        raise RefusedError("bad_time", f"{name} is {shown(value)}, not milliseconds since 1970")
    check_time_ms(name, time_ms)
    return time_ms


def iso_time_us(name: str, text: str) -> int:
    """Return an ISO 8601 time with offset in µs since 1970."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise RefusedError("bad_time", f"{name} is {shown(text)}, not an ISO 8601 time") from None
    if time.tzinfo is None:
        raise RefusedError("bad_time", f"{name} is {shown(text)}, without an offset from UTC")
    time_us = (time - _EPOCH) // _MICROSECOND
    check_time_ms(name, time_us // 1000)
    return time_us


def whole_number(name: str, value: object) -> int:
    """Return a whole number, not negative, that must be there as a JSON number."""
    if value is None:
        raise RefusedError("missing_field", f"{name} is missing")
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise RefusedError("bad_number", f"{name} is {shown(value)}, not a whole number")
    return value


def word(name: str, value: object) -> str:
    """Return a text that must be there."""
    if value is None or value == "":
        raise RefusedError("missing_field", f"{name} is missing")
    if not isinstance(value, str):
        raise RefusedError("unknown_word", f"{name} is {shown(value)}, not a text")
    return value


def choice(name: str, value: object, meanings: Mapping[str, Meaning]) -> Meaning:
    """Return what one of the exchange's own words means; refuse a word that is not in its table."""
    found = meanings.get(value) if isinstance(value, str) else None
    if found is None:
        word(name, value)
        raise RefusedError("unknown_word", f"{name} is {shown(value)}, not one of {', '.join(meanings)}")
    return found


def shown(value: object) -> str:
    """Return outside data for a message, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."


def _is_plain(value: object) -> TypeGuard[str]:
    """Tell digits with at most one point, which nearly every number is, in a third of the time of the full check."""
    return (
        isinstance(value, str)
        and len(value) <= _MOST_CHARACTERS
        and value.isascii()
        and value.replace(".", "", 1).isdigit()
    )


@lru_cache(maxsize=4096)
def exact(number: float) -> Decimal:
    """Return a float of our own records as the decimal number that it prints as."""
    return Decimal(str(number))
