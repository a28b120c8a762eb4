"""Reading what exchanges say on a connection, where nothing of it may raise."""

from __future__ import annotations

from typing import Any

import orjson


def object_in(message: bytes) -> dict[str, Any]:
    """Return the JSON object in a message; an empty one for whatever else was sent."""
    try:
        document = orjson.loads(message)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def text_in(value: object) -> str:
    """Return a text from outside; an empty one for whatever else stands there."""
    return value if isinstance(value, str) else ""


def object_at(value: object) -> dict[str, Any]:
    """Return a JSON object from outside; an empty one for whatever else stands there."""
    return value if isinstance(value, dict) else {}
