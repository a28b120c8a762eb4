"""Colours. One place, so that a position looks the same on every panel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Amber and slate keep apart from both positions in every kind of colour vision.
ANOMALY: Final = "#f59e0b"
NEUTRAL: Final = "#64748b"
PRICE: Final = "#a78bfa"
GOOD: Final = "#0ea5e9"
BAD: Final = "#f59e0b"
WORST: Final = "#c026d3"


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of the positions, and how strongly columns fade towards their foot, 0 to 1.

    Green and red look nearly alike to one man in twelve, so names and legends always say the same as the colours; blue
    `#2563eb` and orange `#ea580c` are told apart by everybody.
    """

    long: str = "#22c55e"
    short: str = "#ef4444"
    gradient: float = 0.0
