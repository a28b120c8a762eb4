"""Make the report: ask each panel's queries and draw what they answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import vl_convert

from pipeline.errors import OperationError
from pipeline.grafana.boards import BOARDS
from pipeline.grafana.dashboard import COLUMNS, Dashboard
from pipeline.grafana.macros import TimeRange, Values, expand
from pipeline.grafana.panel import Candles, Chart, Heat, Number, Panel, Rows, Strip, Words
from pipeline.grafana.report import charts, pages, tables
from pipeline.grafana.report.answers import Answer, Ask, read
from pipeline.grafana.report.heading import facts, span_in_words
from pipeline.grafana.report.marks import Band, marks_of
from pipeline.grafana.report.tips import tips
from pipeline.grafana.theme import Theme
from pipeline.grafana.variable import ALL, Choice, Listed, Typed, Variable

MINUTE_MS: Final = 60_000
_LONGEST_DEFAULT_MS: Final = 24 * 60 * MINUTE_MS
# Lengths of buckets that a picture may have; about a hundred fit.
_BUCKETS_MS: Final = tuple(MINUTE_MS * minutes for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 240, 720, 1440))
_MOST_BUCKETS: Final = 120
_PIXELS_OF_COLUMN: Final = 46
_PIXELS_OF_LINE: Final = 27
_LONG_DECIMALS: Final = re.compile(r"(\d\.\d{2})\d+")
_ID: Final = re.compile(r'\bid="([^"]+)"')
_REFERENCE: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
# A table with more columns than this takes a whole line.
_MOST_BESIDE: Final = 7
_RESTS_ON: Final = (
    "Where a title says 'lower bound', a feed shows only a part of its exchange's liquidations. Faded columns and grey "
    "areas: somebody did not listen, or the bar is open; there a missing column does not mean that nothing happened."
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the report shows. Without times: the last day of the data; without an asset: all, and the largest one."""

    from_ms: int | None = None
    to_ms: int | None = None
    asset: str | None = None


@dataclass(frozen=True, slots=True)
class _Drawing:
    """What all panels of one dashboard share."""

    board: str
    ask: Ask
    of: TimeRange
    values: Values
    words: Mapping[str, str]
    marks: Sequence[Band]
    theme: Theme


class ReportError(OperationError):
    """The report cannot be made; the message says why, in one line."""


def report(ask: Ask, wanted: Wanted, theme: Theme, boards: Sequence[Dashboard] = BOARDS) -> str:
    """Return the report as HTML. The same rows give the same file.

    Raises `ReportError` if there are no data, or the times are not one before the other.
    """
    of = _time_range(ask, wanted)
    title = f"Liquidations{f' of {wanted.asset}' if wanted.asset else ''}, {span_in_words(of)} UTC"
    chapters = [_chapter(board, ask, of, wanted, theme) for board in boards]
    return pages.page(title, [*facts(ask, of, wanted.asset)], _RESTS_ON, chapters)


def _time_range(ask: Ask, wanted: Wanted) -> TimeRange:
    """Return what is shown: whole minutes, and buckets of which not too many fit."""
    known = read(ask("SELECT count() AS minutes, min(start) AS first, max(start) AS last FROM coverage")).rows[0]
    if known[0] == 0 and (wanted.from_ms is None or wanted.to_ms is None):
        raise ReportError("there are no data to report on")
    last = wanted.to_ms if wanted.to_ms is not None else int(str(known[2])) + MINUTE_MS - 1
    first = wanted.from_ms
    if first is None:
        first = max(last + 1 - _LONGEST_DEFAULT_MS, int(str(known[1])) if int(str(known[1])) < last else 0)
    if first >= last:
        raise ReportError("the report's time range ends before it begins")
    fitting = (length for length in _BUCKETS_MS if (last - first) / length <= _MOST_BUCKETS)
    return TimeRange(first, last, next(fitting, _BUCKETS_MS[-1]))


def _chapter(board: Dashboard, ask: Ask, of: TimeRange, wanted: Wanted, theme: Theme) -> pages.Chapter:
    values, words = _chosen(board.variables, ask, of, wanted)
    marks = [band for mark in board.marks for band in marks_of(mark, read(ask(expand(mark.sql, of, values))), of)]
    drawing = _Drawing(board.uid, ask, of, values, words, marks, theme)
    sections = tuple(
        (section.title, pages.filling(tuple(_shown(panel, drawing) for panel in section.panels)))
        for section in board.sections
    )
    title = board.title.removeprefix("Liquidations: ")
    is_of_one = any(isinstance(one, Listed) and one.name == "asset" and not one.many for one in board.variables)
    of_what = f": {wanted.asset or words['asset']}" if is_of_one else ""
    return pages.Chapter(board.uid, title[0].upper() + title[1:] + of_what, board.question, sections)


def _chosen(variables: Sequence[Variable], ask: Ask, of: TimeRange, wanted: Wanted) -> tuple[Values, Mapping[str, str]]:
    """Return what the variables are set to, and what that is called."""
    values: dict[str, str | list[str]] = {}
    words: dict[str, str] = {}
    for variable in variables:
        match variable:
            case Listed(name="asset") if wanted.asset is not None:
                values["asset"] = [wanted.asset]
            case Listed(many=True) | Choice(many=True):
                values[variable.name] = ALL
            case Listed():
                rows = read(ask(expand(variable.sql, of, values))).rows
                values[variable.name] = str(rows[0][0]) if rows else ""
            case Choice(options=((first, called), *_)):
                values[variable.name], words[variable.name] = first, called
            case Typed(default=default):
                values[variable.name] = default
    return values, {name: str(value) for name, value in values.items()} | words


def _shown(panel: Panel, drawing: _Drawing) -> pages.Shown:
    span = _span(panel, drawing.of)
    answers = [read(drawing.ask(expand(query.sql, span, drawing.values))) for query in panel.queries]
    is_empty = not isinstance(panel.picture, Words) and not any(_says_something(answer) for answer in answers)
    title = _REFERENCE.sub(lambda found: drawing.words.get(found[1] or found[2], found[0]), panel.title)
    if "$mode" in panel.title and drawing.values["mode"] == "usd":
        panel = replace(panel, unit="currencyUSD")
    name = f"{drawing.board}-{panel.number}"
    body = pages.nothing(panel.empty) if is_empty else "".join(_drawn(panel, name, answers, drawing))
    width = COLUMNS if isinstance(panel.picture, Rows) and len(answers[0].names) > _MOST_BESIDE else panel.width
    return pages.Shown(name, title, panel.question, body, width, is_empty)


def _span(panel: Panel, of: TimeRange) -> TimeRange:
    """Return the time range with the panel's shortest bucket at least, as Grafana has it."""
    return replace(of, interval_ms=max(of.interval_ms, panel.interval_ms))


def _says_something(answer: Answer) -> bool:
    return any(value is not None for row in answer.rows for value in row)


def _drawn(panel: Panel, name: str, answers: Sequence[Answer], drawing: _Drawing) -> Iterator[str]:
    of, theme = drawing.of, drawing.theme
    # Heatmaps have buckets of their own; what is no longer than a bucket of theirs is drawn with it.
    span = _span(panel, of)
    picture = panel.picture
    marked = tuple(drawing.marks) if isinstance(picture, Chart | Candles) else ()
    frame = charts.Frame(span, panel.width * _PIXELS_OF_COLUMN, panel.height * _PIXELS_OF_LINE, marked)
    match picture:
        case Chart():
            yield _svg(charts.chart(picture, answers, panel.unit, frame, theme), name)
        case Candles():
            yield _svg(charts.candles(answers, frame), name)
        case Heat():
            yield _svg(charts.heat(picture, answers, panel.unit, frame), name)
        case Strip():
            yield _svg(charts.strip(picture, answers, frame), name)
            yield pages.strip_legend(picture, panel.unit)
        case Rows():
            yield tables.table(picture, answers[0], theme)
        case Number():
            yield pages.number(picture, answers[0], panel.unit)
        case Words(text=text):
            yield f"<p>{text}</p>"
    if isinstance(picture, Chart | Candles):
        yield pages.legend([*charts.legend(picture, answers, theme), *charts.legend_of_marks(marked)])
    if isinstance(picture, Chart | Candles | Heat | Strip):
        yield pages.said(tips(picture, answers, panel.unit, frame, theme))


def _svg(specification: Mapping[str, Any], name: str) -> str:
    """Return a picture; two decimals of a pixel are more than enough.

    The renderer numbers what a picture refers to on and on; here the numbers begin anew behind the panel's name.
    """
    drawn = _LONG_DECIMALS.sub(r"\1", str(vl_convert.vegalite_to_svg(dict(specification))))
    for number, found in enumerate(dict.fromkeys(_ID.findall(drawn))):
        drawn = re.sub(rf'(id="|url\(#){re.escape(found)}(?=["\)])', rf"\g<1>{name}-{number}", drawn)
    return drawn
