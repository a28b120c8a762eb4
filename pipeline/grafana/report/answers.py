"""Answers of ClickHouse, as the report reads them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import orjson

FORMAT: Final = "JSONCompact"
# Runs a query and returns its answer in the format `JSONCompact`.
Ask = Callable[[str], bytes]
Value = str | float | int | bool | list[object] | None

_PLAIN: Final = re.compile(r"(?:Nullable|LowCardinality)\((.*)\)")


@dataclass(frozen=True, slots=True)
class Answer:
    """Columns with their types, without `Nullable` and `LowCardinality`, and rows. Times are ms since 1970."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]

    def is_number(self, column: int) -> bool:
        """Return whether a column's values are numbers."""
        return re.match(r"U?Int|Float|Decimal", self.types[column]) is not None

    def is_time(self, column: int) -> bool:
        """Return whether a column's values are times."""
        return self.types[column].startswith("Date")


def read(answer: bytes) -> Answer:
    """Return what an answer in the format `JSONCompact` says."""
    document = orjson.loads(answer)
    types = tuple(_plain(column["type"]) for column in document["meta"])
    rows = tuple(tuple(_value(value, kind) for value, kind in zip(row, types, strict=True)) for row in document["data"])
    return Answer(tuple(column["name"] for column in document["meta"]), types, rows)


def _plain(kind: str) -> str:
    while (inner := _PLAIN.fullmatch(kind)) is not None:
        kind = inner[1]
    return kind


def _value(value: Value, kind: str) -> Value:
    if isinstance(value, str) and kind.startswith("DateTime"):
        return round(datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp() * 1_000)
    # Integers of 64 bits come in quotes.
    if isinstance(value, str) and re.match(r"U?Int", kind):
        return int(value)
    return value


def series(answers: Sequence[Answer]) -> dict[str, list[tuple[int, float | None]]]:
    """Return the lines of a picture over time by name: a text column names them, else the columns' names do."""
    found: dict[str, list[tuple[int, float | None]]] = {}
    for answer in answers:
        label = next((index for index, kind in enumerate(answer.types) if kind == "String"), None)
        values = [index for index in range(1, len(answer.names)) if answer.is_number(index)]
        for row in answer.rows:
            for index in values:
                name = answer.names[index] if label is None else str(row[label])
                value, time = row[index], row[0]
                if isinstance(time, int):
                    found.setdefault(name, []).append((time, float(value) if isinstance(value, int | float) else None))
    return found
