"""The report's page: headings, tables and numbers as HTML around the pictures."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson

from pipeline.grafana.dashboard import COLUMNS
from pipeline.grafana.panel import Number, Strip
from pipeline.grafana.report.answers import Answer
from pipeline.grafana.report.charts import Entry
from pipeline.grafana.report.tables import coloured
from pipeline.grafana.report.words import in_words

_WIDE: Final = 12

_HERE: Final = Path(__file__).parent


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


def filling(panels: Sequence[Shown]) -> tuple[Shown, ...]:
    """Return panels of which tables that would stand alone fill their line."""
    lines: list[list[Shown]] = []
    for panel in panels:
        if not lines or sum(one.width for one in lines[-1]) + panel.width > COLUMNS:
            lines.append([])
        lines[-1].append(panel)
    return tuple(
        replace(panel, width=COLUMNS) if len(line) == 1 and "<table>" in panel.body else panel
        for line in lines
        for panel in line
    )


def page(title: str, facts: Sequence[tuple[str, str]], note: str, chapters: Sequence[Chapter]) -> str:
    """Return the whole file. Nothing in it is fetched from elsewhere."""
    style, script = ((_HERE / name).read_text() for name in ("page.css", "tips.js"))
    links = "".join(f'<a href="#{chapter.name}">{html.escape(chapter.title)}</a>' for chapter in chapters)
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        # Without one, a browser asks for an icon.
        '<link rel="icon" href="data:,">',
        f"<title>{html.escape(title)}</title><style>{style}</style></head><body>",
        f"<h1>{html.escape(title)}</h1>",
        '<dl class="facts">',
        *(f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(words)}</dd></div>" for name, words in facts),
        "</dl>",
        f'<p class="note">{html.escape(note)}</p>',
        f"<nav>{links}</nav>",
        *map(_chapter, chapters),
        f"<script>{script}</script></body></html>\n",
    ]
    return "\n".join(parts)


def _chapter(chapter: Chapter) -> str:
    parts = [
        f'<section id="{chapter.name}"><h2>{html.escape(chapter.title)}</h2>',
        f'<p class="question">{html.escape(chapter.question)}</p>',
    ]
    for heading, panels in chapter.sections:
        parts += [
            f'<h3 class="section">{html.escape(heading)}</h3><div class="panels">',
            *map(_panel, panels),
            "</div>",
        ]
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


def nothing(why: str) -> str:
    """Return what stands where a query gave nothing, and why that may be."""
    reason = f": {html.escape(why)}" if why else ""
    return f'<p class="nothing">Nothing in this time range{reason}.</p>'


def said(picture: Mapping[str, Any]) -> str:
    """Return what a picture says where it is pointed at, for the page's script."""
    # `<` would end the element if a name held its end.
    text = orjson.dumps(picture).decode().replace("<", "\\u003c")
    return f'<script type="application/json" class="said">{text}</script>'


def legend(entries: Sequence[Entry]) -> str:
    """Return the legend of a chart."""
    return _entries(
        [(entry.name, entry.colour, "faded" if entry.faded else "mark" if entry.is_mark else "") for entry in entries]
    )


def strip_legend(strip: Strip, unit: str) -> str:
    """Return what the colours of a strip mean."""
    entries = [(state.text, state.colour, "") for state in strip.states]
    for step, following in zip(strip.steps, (*strip.steps[1:], None), strict=False):
        least = "less" if step.value is None else f"{in_words(step.value, unit)} and more"
        below = "" if following is None or step.value is not None else f" than {in_words(following.value, unit)}"
        entries.append((least + below, step.colour, ""))
    return _entries(entries)


def _entries(entries: Sequence[tuple[str, str, str]]) -> str:
    shown = "".join(
        f'<span><i class="{kind}" style="--colour:{colour}"></i>{html.escape(name)}</span>'
        for name, colour, kind in entries
    )
    return f'<p class="legend">{shown}</p>'


def number(picture: Number, answer: Answer, unit: str) -> str:
    """Return one number, or one for each column."""
    row = answer.rows[-1]
    shown = []
    for name, value in zip(answer.names, row, strict=True):
        label = f" <small>{html.escape(name)}</small>" if picture.joined else ""
        words = html.escape(in_words(value, unit, picture.decimals))
        shown.append(f'<span class="number"{coloured(picture.steps, value)}>{words}{label}</span>')
    return "".join(shown)
