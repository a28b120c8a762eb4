"""Tables of the report as HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Final

from pipeline.grafana.panel import Column, Rows, Step
from pipeline.grafana.report.answers import Answer, Value
from pipeline.grafana.report.colours import TEXT, colour_at
from pipeline.grafana.report.words import in_words, time_in_words
from pipeline.grafana.theme import Theme

_MOST_ROWS: Final = 25
# Words up to this long are not broken.
_WHOLE_LINE: Final = 24
_WIDEST: Final = 380
_HASH: Final = re.compile(r"[0-9a-f]{32}")
_HEADS: Final = {"usd": "USD", "usd/s": "USD/s"}


def table(picture: Rows, answer: Answer, theme: Theme) -> str:
    """Return the first rows, and how many more there are."""
    columns = {column.name: column for column in picture.columns}
    order = range(len(answer.names))
    right = [answer.is_number(index) for index in order]
    head = "".join(
        f'<th class="n">{html.escape(name)}</th>' if right[index] else f"<th>{html.escape(name)}</th>"
        for index, name in enumerate(_HEADS.get(name, name.replace("_", " ")) for name in answer.names)
    )
    body = "".join(
        "<tr>"
        + "".join(_cell(answer, row, index, columns.get(answer.names[index]), theme) for index in order)
        + "</tr>"
        for row in answer.rows[:_MOST_ROWS]
    )
    more = len(answer.rows) - _MOST_ROWS
    rest = f'<p class="question">The first {_MOST_ROWS} of {len(answer.rows)}.</p>' if more > 0 else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"


def _cell(answer: Answer, row: Sequence[Value], index: int, column: Column | None, theme: Theme) -> str:
    value = row[index]
    if answer.is_time(index) and isinstance(value, int):
        return f'<td class="t">{time_in_words(value)}</td>'
    is_number = answer.is_number(index)
    if value is None:
        return f"<td{' class=n' if is_number else ''}>–</td>"  # noqa: RUF001 - a dash: nothing is known
    words = html.escape(in_words(value, column.unit if column else None, column.decimals if column else None))
    if is_number and isinstance(value, int | float):
        colour = coloured(column.steps if column else (), value)
        return f'<td class="n"{colour}>{_gauge(column, value)}{words}</td>'
    return _text_cell(words, column, theme)


def _text_cell(words: str, column: Column | None, theme: Theme) -> str:
    if _HASH.fullmatch(words):
        return f'<td><code title="{words}">{words[:8]}</code></td>'
    if words in {"long", "short"}:
        colour = theme.long if words == "long" else theme.short
        return f'<td class="s"><i style="--colour:{colour}"></i>{words}</td>'
    if len(words) <= _WHOLE_LINE:
        return f'<td class="s">{words}</td>'
    least = f' style="--least:{min(column.width, _WIDEST)}px"' if column and column.width else ""
    return f'<td class="w"{least}>{words}</td>'


def _gauge(column: Column | None, value: float) -> str:
    if column is None or column.gauge is None:
        return ""
    low, high = column.gauge
    filled = min(100.0, max(0.0, (value - low) / (high - low) * 100))
    return f'<i class="gauge"><i style="width:{filled:.0f}%"></i></i>'


def coloured(steps: Sequence[Step], value: Value) -> str:
    """Return the style of a value in the colour of its step; most have that of the text."""
    colour = colour_at(steps, float(value)) if isinstance(value, int | float) else TEXT
    return "" if colour == TEXT else f' style="color:{colour}"'
