"""The report's page: headings, tables and numbers as HTML around the pictures."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.grafana.panel import Column, Number, Rows, Strip
from pipeline.grafana.report.answers import Answer, Value
from pipeline.grafana.report.charts import Entry
from pipeline.grafana.report.colours import TEXT, colour_at
from pipeline.grafana.report.words import in_words, time_in_words

_MOST_ROWS: Final = 25
_WIDE: Final = 12

_STYLE: Final = """
:root { color-scheme: light; }
body { font: 15px/1.45 system-ui, sans-serif; color: #1e293b; background: #f1f5f9; margin: 0 auto; max-width: 1240px;
    padding: 0 12px 40px; }
h1 { font-size: 1.5em; margin: .8em 0 .2em; } h2 { font-size: 1.25em; margin: 1.6em 0 .2em; }
h3 { font-size: 1em; margin: 0 0 .2em; } p { margin: .2em 0 .6em; } nav a { margin-right: 1em; }
.panels { display: grid; grid-template-columns: repeat(24, minmax(0, 1fr)); gap: 12px; }
.panel { background: #fff; border: 1px solid #e2e8f0; border-radius: 6px; padding: 10px 12px;
    grid-column: span var(--width); break-inside: avoid; min-width: 0; }
.question { color: #475569; font-size: .82em; } .scrolls { overflow-x: auto; }
svg { max-width: 100%; height: auto; display: block; }
.number { font-size: 1.6em; margin-right: .8em; }
.number small { font-size: .55em; color: #475569; }
.legend span { margin-right: 1em; white-space: nowrap; font-size: .85em; }
.legend i { display: inline-block; width: .9em; height: .9em; margin-right: .35em; vertical-align: -.1em; }
.legend i.faded { opacity: .45; outline: 1px dashed #475569; }
table { border-collapse: collapse; font-size: .82em; width: 100%; }
th, td { text-align: left; padding: 2px 10px 2px 0; border-bottom: 1px solid #e2e8f0; vertical-align: top; }
td { overflow-wrap: break-word; } td.n, td.t { white-space: nowrap; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; } .nothing { color: #475569; padding: 1.5em 0; }
@media (max-width: 760px) { .panels { display: block; } .panel { margin-bottom: 10px; }
    .panel svg { min-width: 460px; max-width: none; } .panel.wide svg { min-width: 680px; } }
@media print { body { background: #fff; max-width: none; font-size: 11px; padding: 0; } nav { display: none; }
    .panel { border-color: #94a3b8; } .scrolls { overflow: visible; } * { print-color-adjust: exact; } }
"""


@dataclass(frozen=True, slots=True)
class Shown:
    """A panel as HTML. `is_empty`: its query gave nothing for the time range."""

    name: str
    title: str
    question: str
    body: str
    width: int
    is_empty: bool


@dataclass(frozen=True, slots=True)
class Chapter:
    """A dashboard: its title, what it answers, and its panels under their headings."""

    name: str
    title: str
    question: str
    sections: tuple[tuple[str, tuple[Shown, ...]], ...]


def page(title: str, lead: Sequence[str], chapters: Sequence[Chapter]) -> str:
    """Return the whole file. Nothing in it is fetched from elsewhere."""
    links = "".join(f'<a href="#{chapter.name}">{html.escape(chapter.title)}</a>' for chapter in chapters)
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        # Without one, a browser asks for an icon.
        '<link rel="icon" href="data:,">',
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{html.escape(title)}</h1>",
        *(f"<p>{html.escape(line)}</p>" for line in lead),
        f"<nav>{links}</nav>",
        *map(_chapter, chapters),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _chapter(chapter: Chapter) -> str:
    parts = [
        f'<section id="{chapter.name}"><h2>{html.escape(chapter.title)}</h2>',
        f'<p class="question">{html.escape(chapter.question)}</p>',
    ]
    for heading, panels in chapter.sections:
        parts += [f'<h3>{html.escape(heading)}</h3><div class="panels">', *map(_panel, panels), "</div>"]
    return "\n".join([*parts, "</section>"])


def _panel(shown: Shown) -> str:
    wide = " wide" if shown.width > _WIDE else ""
    return (
        f'<article class="panel{wide}" style="--width:{shown.width}" id="{shown.name}" '
        f'data-empty="{str(shown.is_empty).lower()}">'
        f"<h3>{html.escape(shown.title)}</h3>"
        f'<div class="scrolls">{shown.body}</div><p class="question">{_marked(shown.question)}</p></article>'
    )


def _marked(text: str) -> str:
    """Return text in which what stands between backticks is marked."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text))


def nothing() -> str:
    """Return what stands where a query gave nothing."""
    return '<p class="nothing">Nothing in this time range.</p>'


def legend(entries: Sequence[Entry]) -> str:
    """Return the legend of a chart."""
    return _entries([(entry.name, entry.colour, entry.faded) for entry in entries])


def strip_legend(strip: Strip, unit: str) -> str:
    """Return what the colours of a strip mean."""
    entries = [(state.text, state.colour, False) for state in strip.states]
    for step, following in zip(strip.steps, (*strip.steps[1:], None), strict=False):
        least = "less" if step.value is None else f"{in_words(step.value, unit)} and more"
        below = "" if following is None or step.value is not None else f" than {in_words(following.value, unit)}"
        entries.append((least + below, step.colour, False))
    return _entries(entries)


def _entries(entries: Sequence[tuple[str, str, bool]]) -> str:
    shown = "".join(
        f'<span><i{" class=faded" if faded else ""} style="background:{colour}"></i>{html.escape(name)}</span>'
        for name, colour, faded in entries
    )
    return f'<p class="legend">{shown}</p>'


def number(picture: Number, answer: Answer, unit: str) -> str:
    """Return one number, or one for each column."""
    row = answer.rows[-1]
    shown = []
    for name, value in zip(answer.names, row, strict=True):
        colour = colour_at(picture.steps, float(value)) if isinstance(value, int | float) else TEXT
        label = f" <small>{html.escape(name)}</small>" if picture.joined else ""
        words = html.escape(in_words(value, unit, picture.decimals))
        shown.append(f'<span class="number" style="color:{colour}">{words}{label}</span>')
    return "".join(shown)


def table(picture: Rows, answer: Answer) -> str:
    """Return the first rows, and how many more there are."""
    columns = {column.name: column for column in picture.columns}
    order = range(len(answer.names))
    right = [answer.is_number(index) for index in order]
    head = "".join(
        f'<th class="n">{html.escape(name)}</th>' if right[index] else f"<th>{html.escape(name)}</th>"
        for index, name in enumerate(answer.names)
    )
    body = "".join(
        "<tr>" + "".join(_cell(answer, row, index, columns.get(answer.names[index])) for index in order) + "</tr>"
        for row in answer.rows[:_MOST_ROWS]
    )
    more = len(answer.rows) - _MOST_ROWS
    rest = f'<p class="question">The first {_MOST_ROWS} of {len(answer.rows)}.</p>' if more > 0 else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"


def _cell(answer: Answer, row: Sequence[Value], index: int, column: Column | None) -> str:
    value = row[index]
    if answer.is_time(index) and isinstance(value, int):
        return f'<td class="t">{time_in_words(value)}</td>'
    words = html.escape(
        in_words(value, column.unit if column else None, column.decimals if column else None)
        if value is not None
        else "–"  # noqa: RUF001 - a dash, where nothing is known
    )
    if not answer.is_number(index):
        return f"<td>{words}</td>"
    colour = (
        f' style="color:{colour_at(column.steps, value)}"'
        if column and column.steps and isinstance(value, int | float)
        else ""
    )
    return f'<td class="n"{colour}>{words}</td>'
