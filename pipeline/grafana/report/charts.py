"""Pictures over time as Vega-Lite: charts, candles, cells and strips.

Every function returns a specification that holds its data. Legends are written by the page, not drawn.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from pipeline.grafana.macros import TimeRange
from pipeline.grafana.panel import Candles, Chart, Draw, Heat, Series, Strip
from pipeline.grafana.report.answers import Answer, series
from pipeline.grafana.report.colours import GRID, TEXT, colour_at, colour_of
from pipeline.grafana.theme import NEUTRAL, Theme

Json = dict[str, Any]
Lines = Mapping[str, Sequence[tuple[int, float | None]]]

_SCHEMA: Final = "https://vega.github.io/schema/vega-lite/v6.json"
_FORMATS: Final = {
    "currencyUSD": "$~s",
    "percentunit": ".3~p",
    "short": "~s",
    "s": "~s",
    "ops": "~s",
    "locale": ",~r",
}
# A line is broken where it lacks more than this many of its usual steps.
_MISSING_STEPS: Final = 3
_FADED: Final = 0.25
_TWO_DAYS_MS: Final = 2 * 86_400_000


@dataclass(frozen=True, slots=True)
class Size:
    """Pixels of the drawn part of a picture."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a legend; `faded` as in the picture."""

    name: str
    colour: str
    faded: bool = False


def chart(picture: Chart, answers: Sequence[Answer], unit: str, of: TimeRange, theme: Theme, size: Size) -> Json:
    """Return values over time: one layer for each way of drawing and each axis."""
    lines = series(answers)
    looks = _looks(picture, lines, theme)
    groups = [
        _group([one for one in looks if one.axis == axis], lines, picture, unit, of, axis)
        for axis in ("share", "left", "right")
    ]
    layers = [group for group in groups if group["layer"]]
    steps = [step for step in picture.steps if step.value is not None and step.colour != "transparent"]
    if steps:
        rules = {
            "data": {"values": [{"v": step.value, "c": step.colour} for step in steps]},
            "mark": {"type": "rule", "strokeDash": [6, 4], "aria": False},
            "encoding": {"y": _y(unit, picture), "color": {"field": "c", "type": "nominal", "scale": None}},
        }
        layers[-1]["layer"].append(rules)
    return _whole(layers, size)


def legend(picture: Chart | Candles, answers: Sequence[Answer], theme: Theme) -> list[Entry]:
    """Return the lines of a chart that hold anything."""
    lines = series(answers)
    chart_of = picture if isinstance(picture, Chart) else Chart(series=picture.series)
    return [
        Entry(one.name, one.colour, one.faded)
        for one in _looks(chart_of, lines, theme)
        if any(value is not None for _, value in lines[one.name])
        and not (isinstance(picture, Candles) and one.name in {"open", "high", "low", "close"})
    ]


def candles(answers: Sequence[Answer], of: TimeRange, size: Size) -> Json:
    """Return prices as candles."""
    answer = answers[0]
    place = {name: answer.names.index(name) for name in ("open", "high", "low", "close")}
    values = [
        {"t": row[0], "e": _end(row[0], of), "m": _middle(row[0], of)} | {name: row[at] for name, at in place.items()}
        for row in answer.rows
    ]
    y = {"type": "quantitative", "scale": {"zero": False}, "axis": _axis("locale")}
    colour = {"condition": {"test": "datum.close >= datum.open", "value": "#94a3b8"}, "value": "#334155"}
    wick = {
        "mark": {"type": "rule", "aria": False},
        "encoding": {"x": _x(of, "m"), "y": {"field": "low", **y}, "y2": {"field": "high"}, "color": colour},
    }
    body = {
        "mark": {"type": "bar", "aria": False},
        "encoding": {
            "x": _x(of),
            "x2": {"field": "e"},
            "y": {"field": "open", **y},
            "y2": {"field": "close"},
            "color": colour,
        },
    }
    return _whole([{"data": {"values": values}, "layer": [wick, body]}], size)


def heat(picture: Heat, answers: Sequence[Answer], unit: str, of: TimeRange, size: Size) -> Json:
    """Return cells by time and label; labels that are numbers go up, others by their sum."""
    lines = series(answers)
    step_ms = _step_ms(lines, of)
    cells = [
        {"t": time, "e": min(time + step_ms, of.to_ms), "l": _label(name), "v": value}
        for name, values in lines.items()
        for time, value in values
        if value is not None and value > picture.least
    ]
    numeric = all(_is_number(name) for name in lines)
    sums = {name: sum(value or 0 for _, value in values) for name, values in lines.items()}
    ordered = sorted(lines, reverse=True) if numeric else sorted(lines, key=lambda name: (-sums[name], name))
    labels = [_label(name) for name in ordered]
    every = max(1, len(labels) * 18 // size.height)
    scale = {"type": "pow", "exponent": 0.4, "scheme": "viridis", "domainMin": 0}
    encoding = {
        "x": _x(of),
        "x2": {"field": "e"},
        "y": {
            "field": "l",
            "type": "ordinal",
            "scale": {"domain": labels},
            "axis": {**_axis(None), "values": labels[::every], "grid": False},
        },
        "color": {
            "field": "v",
            "type": "quantitative",
            "scale": scale,
            "legend": {"format": _FORMATS.get(unit, "~s"), "title": None, "gradientLength": min(160, size.height - 20)},
        },
    }
    return _whole(
        [{"data": {"values": cells}, "layer": [{"mark": {"type": "rect", "aria": False}, "encoding": encoding}]}], size
    )


def strip(picture: Strip, answers: Sequence[Answer], of: TimeRange, size: Size) -> Json:
    """Return one bar per label, equal neighbours joined."""
    lines = series(answers)
    step_ms = _step_ms(lines, of)
    runs: list[Json] = []
    for name, values in sorted(lines.items()):
        for time, value in values:
            colour = strip_colour(picture, value)
            end = min(time + step_ms, of.to_ms)
            if runs and (runs[-1]["l"], runs[-1]["c"], runs[-1]["e"]) == (name, colour, time):
                runs[-1]["e"] = end
            elif value is not None:
                runs.append({"t": time, "e": end, "l": name, "c": colour})
    y = {
        "field": "l",
        "type": "ordinal",
        "scale": {"domain": sorted(lines), "padding": 0.15},
        "axis": {**_axis(None), "grid": False},
    }
    encoding = {"x": _x(of), "x2": {"field": "e"}, "y": y, "color": {"field": "c", "type": "nominal", "scale": None}}
    return _whole(
        [{"data": {"values": runs}, "layer": [{"mark": {"type": "rect", "aria": False}, "encoding": encoding}]}], size
    )


def strip_colour(picture: Strip, value: float | None) -> str:
    """Return the colour of a value in a strip."""
    state = next((state for state in picture.states if value is not None and state.value == value), None)
    return colour_at(picture.steps, value) if state is None else state.colour


# Layers

_SHARE: Final[Json] = {"type": "quantitative", "scale": {"domain": [0, 1]}, "axis": None}


@dataclass(frozen=True, slots=True)
class _Look:
    name: str
    colour: str
    draw: Draw
    axis: str
    faded: bool
    stacked: bool
    dashed: bool


def _looks(picture: Chart, lines: Lines, theme: Theme) -> list[_Look]:
    declared = {one.name: one for one in picture.series}
    order = [*(name for name in declared if name in lines), *(name for name in lines if name not in declared)]
    return [_look(name, declared.get(name), picture, theme, index) for index, name in enumerate(order)]


def _look(name: str, of: Series | None, picture: Chart, theme: Theme, index: int) -> _Look:
    colour = colour_of(name, of, theme, index)
    if of is None:
        return _Look(name, colour, picture.draw, "left", faded=False, stacked=picture.stacked, dashed=False)
    return _Look(
        name,
        colour,
        of.draw or picture.draw,
        of.axis,
        of.opacity is not None,
        picture.stacked and of.stacked,
        of.dashed,
    )


def _group(looks: Sequence[_Look], lines: Lines, picture: Chart, unit: str, of: TimeRange, axis: str) -> Json:
    """Return the layers that share an axis."""
    below: dict[int, float] = {}
    layers = []
    for look in looks:
        points = [
            (time, value) for time, value in lines[look.name] if not picture.logarithmic or value is None or value > 0
        ]
        y: Json = dict(_SHARE) if axis == "share" else _y(unit, picture)
        if axis == "right":
            y["axis"] = {**_axis(unit), "orient": "right", "grid": False}
        layers.append(_layer(look, points, below if look.stacked else {}, y, of))
    return {"layer": layers}


def _layer(
    look: _Look, points: Sequence[tuple[int, float | None]], below: dict[int, float], y: Json, of: TimeRange
) -> Json:
    """Return one line; `below` is what it stands on by time, and is raised by it."""
    colour = {"value": look.colour}
    if look.draw == "columns" or look.axis == "share":
        values: list[Json] = []
        for time, value in points:
            if value:
                foot = below.get(time, 0.0)
                below[time] = foot + value
                end = _end(time, of) if look.draw == "columns" else time + of.interval_ms
                values.append({"t": time, "e": min(end, of.to_ms), "v": foot, "w": foot + value})
        mark: Json = {"type": "bar", "aria": False, "fillOpacity": _FADED if look.faded else 0.9}
        if look.faded and look.draw == "columns":
            mark |= {"stroke": look.colour, "strokeDash": [2, 2], "strokeWidth": 1}
        encoding = {"x": _x(of), "x2": {"field": "e"}, "y": {"field": "v", **y}, "y2": {"field": "w"}, "color": colour}
        return {"data": {"values": values}, "mark": mark, "encoding": encoding}
    values = [{"t": time, "v": value} for time, value in _broken(points)]
    marks: Mapping[str, Json] = {
        "line": {"type": "line", "strokeWidth": 1.5},
        "steps": {"type": "line", "strokeWidth": 1.5, "interpolate": "step-after"},
        "area": {"type": "area", "line": True, "fillOpacity": 0.25},
        "points": {"type": "point", "filled": True, "size": 36},
    }
    mark = {**marks[look.draw], "aria": False, "clip": True}
    if look.dashed:
        mark["strokeDash"] = [8, 6]
    if look.draw == "line" and len(values) == 1:
        mark["point"] = True
    return {
        "data": {"values": values},
        "mark": mark,
        "encoding": {"x": _x(of), "y": {"field": "v", **y}, "color": colour},
    }


def _broken(points: Sequence[tuple[int, float | None]]) -> Iterable[tuple[int, float | None]]:
    """Yield points, and None where a line has a gap."""
    usual = statistics.median([after - before for (before, _), (after, _) in pairwise(points)] or [0])
    for (time, value), following in zip(points, [*points[1:], None], strict=True):
        yield time, value
        if following is not None and following[0] - time > _MISSING_STEPS * usual:
            yield time + 1, None


def _x(of: TimeRange, field: str = "t") -> Json:
    return {
        "field": field,
        "type": "temporal",
        "scale": {"type": "utc", "domain": [of.from_ms, of.to_ms]},
        "axis": {**_axis(None), "grid": False, "tickCount": 6, "labelOverlap": True, "format": _time_format(of)},
    }


def _time_format(of: TimeRange) -> str:
    return "%H:%M" if of.to_ms - of.from_ms <= _TWO_DAYS_MS else "%d %b"


def _y(unit: str, picture: Chart) -> Json:
    scale = {"type": "log"} if picture.logarithmic else {"zero": picture.draw in {"columns", "area"}, "nice": True}
    return {"type": "quantitative", "scale": scale, "axis": _axis(unit)}


def _axis(unit: str | None) -> Json:
    found: Json = {"title": None, "gridColor": GRID, "domain": False, "tickColor": GRID, "labelColor": TEXT}
    return found if unit is None else found | {"format": _FORMATS.get(unit, "~s"), "tickCount": 5}


def _whole(layers: Sequence[Json], size: Size) -> Json:
    return {
        "$schema": _SCHEMA,
        "width": size.width,
        "height": size.height,
        # The browser's font may be wider than the one by which labels were measured.
        "padding": {"left": 24, "right": 8, "top": 6, "bottom": 4},
        "layer": list(layers),
        "resolve": {"scale": {"y": "independent", "color": "independent"}},
        "config": {
            "view": {"stroke": GRID},
            "font": "system-ui, sans-serif",
            "axis": {"labelFontSize": 13, "labelLimit": 150},
            "legend": {"labelFontSize": 13},
            "rule": {"color": NEUTRAL},
        },
    }


def _end(time: object, of: TimeRange) -> float:
    """Return where the column of a bucket ends: it leaves a tenth free."""
    return int(str(time)) + of.interval_ms * 0.9


def _middle(time: object, of: TimeRange) -> float:
    return int(str(time)) + of.interval_ms * 0.45


def _step_ms(lines: Lines, of: TimeRange) -> int:
    """Return the length of a cell: the shortest step between two times."""
    times = sorted({time for values in lines.values() for time, _ in values})
    return min((after - before for before, after in pairwise(times)), default=of.interval_ms)


def _label(name: str) -> str:
    return name.lstrip("0") if _is_number(name) and not name.startswith("0.") and name.strip("0.") else name


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()
