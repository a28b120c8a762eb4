"""What a dashboard is: a title, what it is for, variables, panels from top to bottom, and marks on all its charts."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.grafana.panel import Panel
from pipeline.grafana.variable import Variable

COLUMNS = 24


@dataclass(frozen=True, slots=True)
class Section:
    """A heading over the panels that follow it, which take as many lines as they need. `number` is as a panel's."""

    number: int
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """Marks on the time axis: `sql` gives the columns time, timeEnd (optional), text and tags."""

    name: str
    sql: str
    colour: str
    shown: bool = True


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard. `uid` is part of its address and never changes."""

    uid: str
    title: str
    question: str
    variables: tuple[Variable, ...]
    sections: tuple[Section, ...]
    marks: tuple[Mark, ...] = ()
    since: str = "now-24h"

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Return all panels from top to bottom."""
        return tuple(panel for section in self.sections for panel in section.panels)
