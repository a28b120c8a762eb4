"""Numbers in words, by the unit that a panel declares for Grafana."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

_STEPS: Final = ((1e12, " T"), (1e9, " bn"), (1e6, " M"), (1e3, " k"))
_BYTES: Final = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_SPANS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))
# From here on a number is written out, below it with the digits that count.
_WHOLE: Final = 1_000


def in_words(value: object, unit: str | None = None, decimals: int | None = None) -> str:
    """Return a value as people read it; `not known` for None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _no_number(value)
    if unit is not None and unit.startswith("time:"):
        return time_in_words(int(value))
    in_unit: dict[str | None, Callable[[float], str]] = {
        "currencyUSD": lambda usd: ("-$" if usd < 0 else "$") + _short(abs(usd)),
        "short": _short,
        "percentunit": lambda share: f"{share * 100:,.{_digits(share * 100) if decimals is None else decimals}f} %",
        "s": _span,
        "decbytes": _bytes,
        "ops": lambda rate: f"{_short(rate)}/s",
    }
    worded = in_unit.get(unit)
    return _plain(value, decimals) if worded is None else worded(value)


def _no_number(value: object) -> str:
    match value:
        case None:
            return "not known"
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(map(str, value))
    return str(value)


def time_in_words(time_ms: int) -> str:
    """Return a time in UTC, to the second."""
    return f"{datetime.fromtimestamp(time_ms / 1_000, UTC):%Y-%m-%d %H:%M:%S}"


def _short(value: float) -> str:
    for step, name in _STEPS:
        # What would be rounded up to the next step is written with it.
        if abs(value) >= step * 0.9995:
            return f"{value / step:.3g}{name}"
    return f"{value:.3g}" if isinstance(value, float) and not value.is_integer() else f"{value:.0f}"


def _bytes(value: float) -> str:
    for step, name in _BYTES:
        if abs(value) >= step * 0.9995:
            return f"{value / step:.3g} {name}"
    return f"{value:.0f} B"


def _span(seconds: float) -> str:
    for step, name in _SPANS:
        if abs(seconds) >= step:
            return f"{seconds / step:.3g} {name}"
    return f"{seconds:.3g} s"


def _plain(value: float, decimals: int | None) -> str:
    if decimals is not None:
        return f"{value:,.{decimals}f}"
    if float(value).is_integer() and abs(value) < 1e15:  # noqa: PLR2004 - beyond it every float is whole
        return f"{value:,.0f}"
    return f"{value:,.2f}" if abs(value) >= _WHOLE else f"{value:.6g}"


def _digits(percent: float) -> int:
    return 0 if float(percent).is_integer() else 1 if abs(percent) >= 1 else 3
