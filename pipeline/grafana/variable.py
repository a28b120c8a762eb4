"""What a user chooses on top of a dashboard."""

from __future__ import annotations

from dataclasses import dataclass

ALL = "$__all"


@dataclass(frozen=True, slots=True)
class Listed:
    """Values that a query finds, again when the time range changes. `many`: several, or all of them."""

    name: str
    label: str
    sql: str
    many: bool = True
    first: str | None = None
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """Fixed values, each with what it is called. `many`: several, or all of them."""

    name: str
    label: str
    options: tuple[tuple[str, str], ...]
    many: bool = False


@dataclass(frozen=True, slots=True)
class Typed:
    """Free text."""

    name: str
    label: str
    default: str


Variable = Listed | Choice | Typed
