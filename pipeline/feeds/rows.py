"""From a frame to its rows, and from rows to events and refusals: what every mapping does in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import orjson

from pipeline.feeds.feed import Mapped
from pipeline.feeds.numbers import shown
from pipeline.records import Frame, Liquidation, RefusedError, dead_letter_of_frame

Row = TypeVar("Row")


def map_rows(
    frame: Frame, rows_of: Callable[[bytes], Iterable[Row]], event_of: Callable[[int, Row], Liquidation | None]
) -> Iterator[Mapped]:
    """Map each row of a frame by itself.

    `rows_of(payload)` splits the message and refuses one that cannot be split; `event_of(index, row)` returns the event
    at that place in the frame, None for a row that is none by the exchange's rules, or refuses it. A refused row takes
    none of its neighbours along; anything but a `RefusedError` is a fault of ours and is raised.
    """

    def events_of(index: int, row: Row) -> tuple[Liquidation, ...]:
        event = event_of(index, row)
        return () if event is None else (event,)

    return map_each_row(frame, rows_of, events_of)


def map_each_row(
    frame: Frame, rows_of: Callable[[bytes], Iterable[Row]], events_of: Callable[[int, Row], Iterable[Mapped]]
) -> Iterator[Mapped]:
    """Map each row of a frame by itself, as `map_rows` does, where a row may hold any number of events.

    A row is used as a whole: if one of its events is refused, all are.
    """
    try:
        rows = rows_of(frame.payload)
    except RefusedError as refusal:
        yield dead_letter_of_frame(frame, 0, refusal.reason, str(refusal))
        return
    for index, row in enumerate(rows):
        try:
            events = tuple(events_of(index, row))
        except RefusedError as refusal:
            yield dead_letter_of_frame(frame, index, refusal.reason, str(refusal))
        else:
            yield from events


def json_of(payload: bytes) -> Any:  # noqa: ANN401 - a JSON document
    """Return a JSON document, or refuse the payload."""
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise RefusedError("bad_json", f"not JSON: {error}") from None


def object_of(name: str, value: object) -> dict[str, Any]:
    """Return a JSON object that must be there."""
    if value is None:
        raise RefusedError("missing_field", f"{name} is missing")
    if not isinstance(value, dict):
        raise RefusedError("unexpected_message", f"{name} is {shown(value)}, not an object")
    return value


def list_of(name: str, value: object) -> list[Any]:
    """Return a JSON list that must be there."""
    if value is None:
        raise RefusedError("missing_field", f"{name} is missing")
    if not isinstance(value, list):
        raise RefusedError("unexpected_message", f"{name} is {shown(value)}, not a list")
    return value
