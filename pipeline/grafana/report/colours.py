"""Colours in the report. Grafana's own words for colours become what they look like on white."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pipeline.grafana.panel import Series, Step
from pipeline.grafana.theme import Theme

TEXT: Final = "#1e293b"
GRID: Final = "#e2e8f0"
# Of words that say less; reads on white and on black.
SOFT: Final = "#64748b"
_NAMED: Final = {"text": TEXT, "transparent": "none"}
# Eight that are told apart in every kind of colour vision (Okabe and Ito, without yellow, which white swallows).
_OTHERS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#64748b")


def colour_of(name: str, declared: Series | None, theme: Theme, position: int) -> str:
    """Return the colour of a line: the declared one, else the next of a palette."""
    if declared is not None and declared.colour is not None:
        return {"long": theme.long, "short": theme.short}.get(declared.colour, declared.colour)
    return {"longs": theme.long, "shorts": theme.short}.get(name, _OTHERS[position % len(_OTHERS)])


def colour_at(steps: Sequence[Step], value: float | None) -> str:
    """Return the colour of a value: that of the highest step it reaches."""
    found = TEXT
    for step in steps:
        if value is not None and (step.value is None or value >= step.value):
            found = _NAMED.get(step.colour, step.colour)
    return found
