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
from pipeline.grafana.report.axes import label_of, plain_axis, time_axis, value_axis
from pipeline.grafana.report.colours import GRID, TEXT, colour_at, colour_of
from pipeline.grafana.report.marks import Band, layer
from pipeline.grafana.theme import NEUTRAL, Theme

Json = dict[str, Any]
Lines = Mapping[str, Sequence[tuple[int, float | None]]]

_SCHEMA: Final = "https://vega.github.io/schema/vega-lite/v6.json"
# A line is broken where it lacks more than this many of its usual steps.
_MISSING_STEPS: Final = 3
_FADED: Final = 0.25
_PIXELS_OF_LETTER: Final = 9
_SHARED: Final = {"scale": {"y": "shared"}}


@dataclass(frozen=True, slots=True)
class Frame:
    """What a picture shows: the time range, the pixels of the drawn part, and marks on the time axis."""

    of: TimeRange
    width: int
    height: int
    marks: tuple[Band, ...] = ()

    @property
    def from_ms(self) -> int:
        """Return where it begins."""
        return self.of.from_ms

    @property
    def to_ms(self) -> int:
        """Return where it ends."""
        return self.of.to_ms


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a legend; `faded` as in the picture, `is_mark` for marks on the time axis."""

    name: str
    colour: str
    faded: bool = False
    is_mark: bool = False


def chart(picture: Chart, answers: Sequence[Answer], unit: str, frame: Frame, theme: Theme) -> Json:
    """Return values over time: one layer for each way of drawing and each axis."""
    lines = series(answers)
    looks = looks_of(picture, lines, theme)
    groups = [
        _group([one for one in looks if one.axis == axis], lines, picture, unit, frame, axis)
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
        # They stand on the axis of the values; one on the right has its own.
        next(group for group in groups[1:] if group["layer"])["layer"].append(rules)
    return _whole(layers, frame)


def legend(picture: Chart | Candles, answers: Sequence[Answer], theme: Theme) -> list[Entry]:
    """Return the lines of a chart that hold anything."""
    lines = series(answers)
    chart_of = picture if isinstance(picture, Chart) else Chart(series=picture.series)
    return [
        Entry(one.name, one.colour, one.faded)
        for one in looks_of(chart_of, lines, theme)
        if any(value is not None for _, value in lines[one.name])
        and not (isinstance(picture, Candles) and one.name in {"open", "high", "low", "close"})
    ]


def legend_of_marks(marks: Sequence[Band]) -> list[Entry]:
    """Return what marks are called, each once."""
    return [
        Entry(name, colour, is_mark=True) for name, colour in dict.fromkeys((one.name, one.colour) for one in marks)
    ]


def candles(answers: Sequence[Answer], frame: Frame) -> Json:
    """Return prices as candles."""
    answer = answers[0]
    place = {name: answer.names.index(name) for name in ("open", "high", "low", "close")}
    values: list[Json] = [
        {"t": _since(row[0], frame), "e": _end(row[0], frame.of), "m": _middle(row[0], frame.of)}
        | {name: row[at] for name, at in place.items()}
        for row in answer.rows
    ]
    y = {"type": "quantitative", "scale": {"zero": False}, "axis": value_axis("locale")}
    colour = {"condition": {"test": "datum.close >= datum.open", "value": "#94a3b8"}, "value": "#475569"}
    wick = {
        "mark": {"type": "rule", "aria": False},
        "encoding": {"x": _x(frame, "m"), "y": {"field": "low", **y}, "y2": {"field": "high"}, "color": colour},
    }
    body = {
        "mark": {"type": "bar", "aria": False},
        "encoding": {
            "x": _x(frame),
            "x2": {"field": "e"},
            "y": {"field": "open", **y},
            "y2": {"field": "close"},
            "color": colour,
        },
    }
    return _whole([{"data": {"values": values}, "layer": [wick, body]}], frame)


def heat(picture: Heat, answers: Sequence[Answer], unit: str, frame: Frame) -> Json:
    """Return cells by time and label; labels that are numbers go up, others by their sum."""
    lines = series(answers)
    cells = [
        {"t": begin, "e": end, "l": _label(name), "v": value}
        for name, begin, end, value in heat_cells(picture, lines, frame)
    ]
    labels = [_label(name) for name in heat_lines(lines)]
    every = max(1, len(labels) * 18 // frame.height)
    scale = {"type": "pow", "exponent": 0.4, "scheme": "viridis", "domainMin": 0}
    encoding = {
        "x": _x(frame),
        "x2": {"field": "e"},
        "y": {
            "field": "l",
            "type": "ordinal",
            "scale": {"domain": labels},
            "axis": {**plain_axis(), "values": labels[::every], "grid": False},
        },
        "color": {
            "field": "v",
            "type": "quantitative",
            "scale": scale,
            "legend": {
                "labelExpr": label_of(unit),
                "title": None,
                "gradientLength": min(160, frame.height - 20),
                "tickCount": 4,
            },
        },
    }
    mark = {"type": "rect", "aria": False}
    return _whole([{"data": {"values": cells}, "layer": [{"mark": mark, "encoding": encoding}]}], frame)


def heat_lines(lines: Lines) -> list[str]:
    """Return the labels of cells from the top: prices go up, other labels stand by their sum."""
    if all(_is_number(name) for name in lines):
        return sorted(lines, reverse=True)
    sums = {name: sum(value or 0 for _, value in values) for name, values in lines.items()}
    return sorted(lines, key=lambda name: (-sums[name], name))


def heat_cells(picture: Heat, lines: Lines, frame: Frame) -> Iterable[tuple[str, int, int, float]]:
    """Yield the cells that hold anything: label, from, to, value."""
    step_ms = _step_ms(lines, frame.of)
    for name, values in lines.items():
        for time, value in values:
            if value is not None and value > picture.least:
                yield name, max(time, frame.from_ms), min(time + step_ms, frame.to_ms), value


def strip(picture: Strip, answers: Sequence[Answer], frame: Frame) -> Json:
    """Return one bar per label, equal neighbours joined."""
    lines = series(answers)
    runs: list[Json] = []
    for name, begin, end, value in strip_cells(lines, frame):
        colour = strip_colour(picture, value)
        if runs and (runs[-1]["l"], runs[-1]["c"], runs[-1]["e"]) == (name, colour, begin):
            runs[-1]["e"] = end
        else:
            runs.append({"t": begin, "e": end, "l": name, "c": colour})
    y = {
        "field": "l",
        "type": "ordinal",
        "scale": {"domain": sorted(lines), "padding": 0.15},
        "axis": {**plain_axis(), "grid": False},
    }
    encoding = {"x": _x(frame), "x2": {"field": "e"}, "y": y, "color": {"field": "c", "type": "nominal", "scale": None}}
    bars = {"mark": {"type": "rect", "aria": False}, "encoding": encoding}
    return _whole([{"data": {"values": runs}, "layer": [bars]}, *_state_names(picture, runs, encoding, frame)], frame)


def _state_names(picture: Strip, runs: Sequence[Json], encoding: Json, frame: Frame) -> list[Json]:
    """Return the names of states on their bars, where they fit: colours are never the only cue."""
    names = {state.colour: state.text for state in picture.states}
    a_pixel_ms = (frame.to_ms - frame.from_ms) / frame.width
    values = [
        {"t": (run["t"] + run["e"]) / 2, "l": run["l"], "n": names[run["c"]]}
        for run in runs
        if run["c"] in names and (run["e"] - run["t"]) / a_pixel_ms > _PIXELS_OF_LETTER * len(names[run["c"]])
    ]
    if not values:
        return []
    mark = {"type": "text", "aria": False, "fontSize": 12, "stroke": "#ffffff", "strokeWidth": 3, "strokeOpacity": 0.8}
    y = {**encoding["y"], "axis": None}
    behind = {"mark": mark, "encoding": {"x": encoding["x"], "y": y, "text": {"field": "n"}}}
    plain = {"type": "text", "aria": False, "fontSize": 12, "color": "#0f172a"}
    return [{"data": {"values": values}, "layer": [behind, {**behind, "mark": plain}], "resolve": _SHARED}]


def strip_cells(lines: Lines, frame: Frame) -> Iterable[tuple[str, int, int, float]]:
    """Yield what a strip knows, line by line: label, from, to, value."""
    step_ms = _step_ms(lines, frame.of)
    for name, values in sorted(lines.items()):
        for time, value in values:
            if value is not None:
                yield name, max(time, frame.from_ms), min(time + step_ms, frame.to_ms), value


def strip_colour(picture: Strip, value: float | None) -> str:
    """Return the colour of a value in a strip."""
    state = next((state for state in picture.states if value is not None and state.value == value), None)
    return colour_at(picture.steps, value) if state is None else state.colour


# Layers

_SHARE: Final[Json] = {"type": "quantitative", "scale": {"domain": [0, 1]}, "axis": None}


@dataclass(frozen=True, slots=True)
class Look:
    """How one line of a chart is drawn, and in which unit."""

    name: str
    colour: str
    draw: Draw
    axis: str
    faded: bool
    stacked: bool
    dashed: bool
    unit: str | None = None


def looks_of(picture: Chart, lines: Lines, theme: Theme) -> list[Look]:
    """Return the looks of a chart's lines: the declared ones first, in their order."""
    declared = {one.name: one for one in picture.series}
    order = [*(name for name in declared if name in lines), *(name for name in lines if name not in declared)]
    return [_look(name, declared.get(name), picture, theme, index) for index, name in enumerate(order)]


def _look(name: str, of: Series | None, picture: Chart, theme: Theme, index: int) -> Look:
    colour = colour_of(name, of, theme, index)
    if of is None:
        return Look(name, colour, picture.draw, "left", faded=False, stacked=picture.stacked, dashed=False)
    return Look(
        name,
        colour,
        of.draw or picture.draw,
        of.axis,
        of.opacity is not None,
        picture.stacked and of.stacked,
        of.dashed,
        of.unit,
    )


def _group(looks: Sequence[Look], lines: Lines, picture: Chart, unit: str, frame: Frame, axis: str) -> Json:
    """Return the layers that share an axis."""
    below: dict[int, float] = {}
    layers = []
    known = [value for look in looks for _, value in lines[look.name] if value is not None]
    span = None if picture.logarithmic or not known else (min(0.0, *known), max(known))
    for look in looks:
        points = [
            (time, value) for time, value in lines[look.name] if not picture.logarithmic or value is None or value > 0
        ]
        y: Json = dict(_SHARE) if axis == "share" else _y(unit, picture, span)
        if axis == "right":
            y["axis"] = {**value_axis(look.unit or unit), "orient": "right", "grid": False}
        layers.append(_layer(look, points, below if look.stacked else {}, y, frame))
    return {"layer": layers}


def _layer(
    look: Look, points: Sequence[tuple[int, float | None]], below: dict[int, float], y: Json, frame: Frame
) -> Json:
    """Return one line; `below` is what it stands on by time, and is raised by it."""
    colour = {"value": look.colour}
    if look.draw == "columns" or look.axis == "share":
        values: list[Json] = []
        for time, value in points:
            if value:
                foot = below.get(time, 0.0)
                below[time] = foot + value
                end = _end(time, frame.of) if look.draw == "columns" else time + frame.of.interval_ms
                begin = max(time, frame.from_ms)
                values.append({"t": begin, "e": min(end, frame.to_ms), "v": foot, "w": foot + value})
        mark: Json = {"type": "bar", "aria": False, "fillOpacity": _FADED if look.faded else 0.9}
        if look.faded and look.draw == "columns":
            mark |= {"stroke": look.colour, "strokeDash": [2, 2], "strokeWidth": 1}
        encoding = {
            "x": _x(frame),
            "x2": {"field": "e"},
            "y": {"field": "v", **y},
            "y2": {"field": "w"},
            "color": colour,
        }
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
        "encoding": {"x": _x(frame), "y": {"field": "v", **y}, "color": colour},
    }


def _broken(points: Sequence[tuple[int, float | None]]) -> Iterable[tuple[int, float | None]]:
    """Yield points, and None where a line has a gap."""
    usual = statistics.median([after - before for (before, _), (after, _) in pairwise(points)] or [0])
    for (time, value), following in zip(points, [*points[1:], None], strict=True):
        yield time, value
        if following is not None and following[0] - time > _MISSING_STEPS * usual:
            yield time + 1, None


def _x(frame: Frame, field: str = "t") -> Json:
    return time_axis(frame.of, frame.width, field)


def _y(unit: str, picture: Chart, span: tuple[float, float] | None = None) -> Json:
    # A nice logarithmic scale would end at powers of ten, far from prices that move by a few per cent.
    scale = (
        {"type": "log", "nice": False, "padding": 8}
        if picture.logarithmic
        else {"zero": picture.draw in {"columns", "area"}, "nice": True}
    )
    return {"type": "quantitative", "scale": scale, "axis": value_axis(unit, span)}


def _whole(layers: Sequence[Json], frame: Frame) -> Json:
    return {
        "$schema": _SCHEMA,
        "width": frame.width,
        "height": frame.height,
        # The page's own colour, which may be a dark one.
        "background": None,
        # The browser's font may be wider than the one by which labels were measured.
        "padding": {"left": 24, "right": 18, "top": 6, "bottom": 4},
        "layer": [*([layer(frame.marks, frame.of, frame.width)] if frame.marks else []), *layers],
        "resolve": {"scale": {"y": "independent", "color": "independent"}},
        "config": {
            "view": {"stroke": GRID},
            "font": "system-ui, sans-serif",
            "axis": {"labelFontSize": 13, "labelLimit": 150},
            "legend": {"labelFontSize": 13, "labelColor": TEXT},
            "rule": {"color": NEUTRAL},
        },
    }


def _since(time: object, frame: Frame) -> int:
    return max(int(str(time)), frame.from_ms)


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
