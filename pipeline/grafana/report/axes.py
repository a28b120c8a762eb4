"""Axes of the report's pictures: times in UTC, and values in the words of their unit."""

from __future__ import annotations

import math
from typing import Any, Final

from pipeline.grafana.macros import TimeRange
from pipeline.grafana.report.colours import GRID, SOFT, TEXT

Json = dict[str, Any]

_TWO_DAYS_MS: Final = 2 * 86_400_000
_STEPS_S: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)
_MOST_TICKS: Final = 5
_VALUE: Final = "datum.value"
# Vega writes G for a billion and m for a thousandth, which beside a time reads as minutes.
_LARGE: Final = f"replace(format({_VALUE}, '%s'), 'G', 'bn')"
_SHORT: Final = f"(abs({_VALUE}) < 1 ? format({_VALUE}, '~g') : {_LARGE % '~s'})"
_LABELS: Final = {
    "currencyUSD": _LARGE % "$~s",
    "percentunit": f"format({_VALUE}, '.3~p')",
    "short": _SHORT,
    "ops": f"{_SHORT} + '/s'",
    "decbytes": f"{_SHORT} + 'B'",
    "s": f"abs({_VALUE}) >= 7200 ? format({_VALUE} / 3600, '~r') + ' h' : abs({_VALUE}) >= 120"
    f" ? format({_VALUE} / 60, '~r') + ' min' : format({_VALUE}, '~g') + ' s'",
    "locale": f"format({_VALUE}, ',~r')",
}


def label_of(unit: str) -> str:
    """Return the expression of the words beside a tick."""
    return _LABELS.get(unit, _SHORT)


def time_axis(of: TimeRange, width: int, field: str = "t") -> Json:
    """Return the encoding of a time; midnights are written as dates, and the zone stands behind the last one."""
    is_short = of.to_ms - of.from_ms <= _TWO_DAYS_MS
    hours = f"utcFormat({_VALUE}, '%H:%M')"
    days = f"utcFormat({_VALUE}, '%d %b')"
    axis = {
        **plain_axis(),
        "grid": False,
        "tickCount": max(3, width // 130),
        "labelOverlap": True,
        "labelExpr": f"{hours} == '00:00' ? {days} : {hours}" if is_short else days,
        "title": "UTC",
        "titleAnchor": "end",
        "titleAlign": "left",
        "titleX": width + 22,
        "titleY": 8,
        "titleBaseline": "top",
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titleColor": SOFT,
    }
    scale = {"type": "utc", "domain": [of.from_ms, of.to_ms]}
    return {"field": field, "type": "temporal", "scale": scale, "axis": axis}


def value_axis(unit: str, span: tuple[float, float] | None = None) -> Json:
    """Return an axis of values; of times the ticks are at whole minutes and hours within `span`, if that is given."""
    axis = {**plain_axis(), "tickCount": 5, "labelExpr": label_of(unit)}
    low, high = span or (0.0, 0.0)
    step = next((step for step in _STEPS_S if (high - low) / step <= _MOST_TICKS), None)
    if unit != "s" or low >= high or step is None:
        return axis
    return axis | {"values": [step * number for number in range(math.floor(low / step), math.ceil(high / step) + 1)]}


def plain_axis() -> Json:
    """Return an axis without words of its own."""
    return {"title": None, "gridColor": GRID, "domain": False, "tickColor": GRID, "labelColor": TEXT}
