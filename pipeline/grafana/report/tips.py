"""What a picture says where it is pointed at, for the page's script.

Times are seconds since 1970, values are words. `lines` and `rows`: for each bucket the words of each line, None where
there is nothing. `cells`: from, to, number of the label from the top, words. `marks`: from, to, words, colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pipeline.grafana.panel import Candles, Chart, Heat, Strip
from pipeline.grafana.report.answers import Answer, series
from pipeline.grafana.report.charts import Frame, Look, heat_cells, heat_lines, looks_of, strip_cells
from pipeline.grafana.report.words import in_words
from pipeline.grafana.theme import Theme

Json = dict[str, Any]

_PRICES: Final = ("open", "high", "low", "close")


def tips(
    picture: Chart | Candles | Heat | Strip, answers: Sequence[Answer], unit: str, frame: Frame, theme: Theme
) -> Json:
    """Return what a picture says, as JSON."""
    span = {"from": frame.from_ms / 1_000, "to": frame.to_ms / 1_000, "step": frame.of.interval_ms // 1_000}
    marks = [[mark.from_ms // 1_000, mark.to_ms // 1_000, mark.text, mark.colour] for mark in frame.marks]
    match picture:
        case Chart():
            said = _rows(looks_of(picture, series(answers), theme), answers, unit)
        case Candles():
            looks = [look for look in looks_of(Chart(), series(answers), theme) if look.name in _PRICES]
            said = _rows(sorted(looks, key=lambda look: _PRICES.index(look.name)), answers, unit, are_prices=True)
        case Heat():
            said = _heat(picture, answers, unit, frame)
        case Strip():
            said = _strip(picture, answers, unit, frame)
    return span | said | ({"marks": marks} if marks else {})


def _rows(looks: Sequence[Look], answers: Sequence[Answer], unit: str, *, are_prices: bool = False) -> Json:
    lines = series(answers)
    values = [dict(lines[look.name]) for look in looks]
    units = ["percentunit" if look.axis == "share" else look.unit or unit for look in looks]
    rows: list[list[object]] = []
    for time in sorted({time for line in values for time in line}):
        words = [
            None if line.get(time) is None or (look.axis == "share" and not line[time]) else in_words(line[time], of)
            for look, line, of in zip(looks, values, units, strict=True)
        ]
        if any(word is not None for word in words):
            rows.append([time // 1_000, *words])
    return {"lines": [[look.name, None if are_prices else look.colour] for look in looks], "rows": rows}


def _heat(picture: Heat, answers: Sequence[Answer], unit: str, frame: Frame) -> Json:
    lines = series(answers)
    labels = heat_lines(lines)
    place = {name: number for number, name in enumerate(labels)}
    cells = [
        [begin // 1_000, -(-end // 1_000), place[name], in_words(value, unit)]
        for name, begin, end, value in heat_cells(picture, lines, frame)
    ]
    return {"labels": labels, "cells": cells}


def _strip(picture: Strip, answers: Sequence[Answer], unit: str, frame: Frame) -> Json:
    lines = series(answers)
    place = {name: number for number, name in enumerate(sorted(lines))}
    states = {state.value: state.text for state in picture.states}
    cells: list[list[object]] = []
    for name, begin, end, value in strip_cells(lines, frame):
        said = states.get(round(value)) if states else in_words(value, unit)
        # Equal neighbours are one.
        if cells and cells[-1][1:] == [begin // 1_000, place[name], said]:
            cells[-1][1] = -(-end // 1_000)
        else:
            cells.append([begin // 1_000, -(-end // 1_000), place[name], said])
    return {"labels": sorted(lines), "cells": cells}
