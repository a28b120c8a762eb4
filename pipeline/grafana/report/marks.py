"""Marks on the time axis, such as cascades, as a dashboard declares them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.grafana.dashboard import Mark
from pipeline.grafana.macros import TimeRange
from pipeline.grafana.report.answers import Answer
from pipeline.grafana.report.axes import time_axis

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Band:
    """One mark: from and to in ms since 1970, within the time range, and what it says."""

    from_ms: int
    to_ms: int
    text: str
    name: str
    colour: str


def marks_of(mark: Mark, answer: Answer, of: TimeRange) -> list[Band]:
    """Return what a mark's query found, cut to the time range."""
    place = {name: answer.names.index(name) for name in answer.names}
    found = []
    for row in answer.rows:
        begin = row[place["time"]]
        end = row[place["timeEnd"]] if "timeEnd" in place else begin
        if isinstance(begin, int) and isinstance(end, int) and begin <= of.to_ms and end >= of.from_ms:
            text = str(row[place["text"]])
            found.append(Band(max(begin, of.from_ms), min(end, of.to_ms), text, mark.name, mark.colour))
    return found


def layer(marks: Sequence[Band], of: TimeRange, width: int) -> Json:
    """Return bands behind a picture, and a triangle at the begin of each mark, by which short ones are seen.

    Those that overlap are one band with a line at its begin: many of them would cover what they mark.
    """
    colour = {"field": "c", "type": "nominal", "scale": None}
    at = time_axis(of, width)
    band = {"mark": {"type": "rect", "aria": False, "opacity": 0.16}, "encoding": {"x": at, "x2": {"field": "e"}}}
    line = {"mark": {"type": "rule", "aria": False, "opacity": 0.4}, "encoding": {"x": at}}
    head = {
        "data": {"values": [{"t": mark.from_ms, "c": mark.colour} for mark in marks]},
        "mark": {"type": "point", "shape": "triangle-down", "filled": True, "size": 44, "opacity": 1, "aria": False},
        "encoding": {"x": at, "y": {"value": 4}},
    }
    layers: list[Json] = [band, line, head]
    return {
        "data": {"values": _united(marks)},
        "layer": [one | {"encoding": one["encoding"] | {"color": colour}} for one in layers],
    }


def _united(marks: Sequence[Band]) -> list[Json]:
    found: list[Json] = []
    for mark in sorted(marks, key=lambda one: (one.colour, one.from_ms)):
        if found and found[-1]["c"] == mark.colour and mark.from_ms <= found[-1]["e"]:
            found[-1]["e"] = max(found[-1]["e"], mark.to_ms)
        else:
            found.append({"t": mark.from_ms, "e": mark.to_ms, "c": mark.colour})
    return found
