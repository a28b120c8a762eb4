"""What a panel is: the question it answers, the SQL that answers it, and the picture.

A panel is declared once. Grafana's dashboards and the report are made from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.grafana.durations import in_seconds

Shape = Literal["series", "table"]
Draw = Literal["columns", "line", "area", "points", "steps"]
# A colour of the theme by its role, or one of its own.
Colour = str


@dataclass(frozen=True, slots=True)
class Query:
    """SQL with the macros and variables that `pipeline.grafana.macros` expands.

    `series`: the first column is a time, text columns are labels, numbers are values; rows ascend by time. `table`:
    rows as they are.
    """

    sql: str
    shape: Shape = "series"


@dataclass(frozen=True, slots=True)
class Series:
    """How the values of one column, or of one label, look. `colour` may be `long` or `short`.

    `axis` is where its numbers are written; `share` is a hidden axis from 0 to 1.
    """

    name: str
    colour: Colour | None = None
    draw: Draw | None = None
    opacity: int | None = None
    axis: Literal["left", "right", "share"] = "left"
    unit: str | None = None
    dashed: bool = False
    stacked: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """From this value on, this colour; None is the lowest."""

    value: float | None
    colour: Colour


@dataclass(frozen=True, slots=True)
class State:
    """A number in a strip, what it is called and its colour."""

    value: int
    text: str
    colour: Colour


@dataclass(frozen=True, slots=True)
class Chart:
    """Values over time."""

    draw: Draw = "line"
    series: tuple[Series, ...] = ()
    stacked: bool = False
    centred: bool = False
    logarithmic: bool = False
    steps: tuple[Step, ...] = ()
    joins_gaps: bool = False


@dataclass(frozen=True, slots=True)
class Candles:
    """Prices as candles from columns `open`, `high`, `low`, `close`; other columns are drawn over them."""

    series: tuple[Series, ...] = ()


@dataclass(frozen=True, slots=True)
class Heat:
    """Cells by time and a label that sorts as text: time, label, `Value`. Cells up to `least` stay empty."""

    axis_unit: str = "none"
    least: float = 1e-9


@dataclass(frozen=True, slots=True)
class Strip:
    """One bar per label over time, its colour by steps of a number or by states."""

    steps: tuple[Step, ...] = ()
    states: tuple[State, ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """How a table's column looks. `link` is the dashboard that a click opens, with the variable `passes` set to it."""

    name: str
    unit: str | None = None
    decimals: int | None = None
    width: int | None = None
    gauge: tuple[float, float] | None = None
    steps: tuple[Step, ...] = ()
    link: str | None = None
    passes: str | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """A table."""

    columns: tuple[Column, ...] = ()
    sorted_by: str | None = None


@dataclass(frozen=True, slots=True)
class Number:
    """One number, or one for each column; `spark` draws how it went before."""

    steps: tuple[Step, ...] = ()
    decimals: int | None = None
    spark: bool = False
    joined: bool = False


@dataclass(frozen=True, slots=True)
class Words:
    """Text in Markdown, without a query."""

    text: str


Picture = Chart | Candles | Heat | Strip | Rows | Number | Words


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    `number` is its id within the dashboard: alert rules and links point at it, so it never changes and is never given
    again. `width` is in twenty-fourths of the page, `height` in units of about 38 pixels. `interval` is the shortest
    bucket, the length of the bars it is made of. `empty` says, as a
    part of a sentence, why there may be nothing to show.
    """

    number: int
    title: str
    question: str
    picture: Picture
    queries: tuple[Query, ...] = ()
    unit: str = "none"
    width: int = 12
    height: int = 8
    interval: str = "1m"
    empty: str = ""

    @property
    def interval_ms(self) -> int:
        """Return `interval` in ms."""
        seconds = in_seconds(self.interval)
        if seconds is None:
            raise ValueError(f"panel {self.number}: {self.interval!r} is no duration")
        return seconds * 1_000
