"""The project's own recording format: one frame a line, as JSON.

Keys: exchange, channel, connection, sequence, received_time (µs since 1970), and the message as `payload` (text) or,
where it is not UTF-8, as `payload_base64`.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from typing import Any

import orjson

from pipeline.feeds.numbers import shown
from pipeline.feeds.rows import json_of, object_of
from pipeline.records import Frame, RefusedError, check_time_ms

_NAMES = ("exchange", "channel", "connection")
KEYS = frozenset((*_NAMES, "sequence", "received_time"))
PAYLOAD_KEYS = frozenset(("payload", "payload_base64"))
_INT64_MAX = 2**63 - 1


def is_frame(document: object) -> bool:
    """Tell whether a JSON document has the keys of a frame."""
    return isinstance(document, dict) and document.keys() >= KEYS and not document.keys().isdisjoint(PAYLOAD_KEYS)


def frame_of_line(line: bytes) -> Frame:
    """Return the frame in one line, or refuse it."""
    return frame_of_document(object_of("line", json_of(line)))


def frame_of_document(document: dict[str, Any]) -> Frame:
    """Return the frame that a JSON object describes, or refuse it."""
    missing = KEYS - document.keys()
    if missing:
        raise RefusedError("missing_field", f"{', '.join(sorted(missing))} missing in a recorded frame")
    names = [document[name] for name in _NAMES]
    for name, value in zip(_NAMES, names, strict=True):
        if not isinstance(value, str):
            raise RefusedError("unknown_word", f"{name} of a recorded frame is {shown(value)}, not a text")
    sequence = _whole("sequence", document["sequence"])
    received_time = _whole("received_time", document["received_time"])
    check_time_ms("received_time", received_time // 1000)
    return Frame(names[0], names[1], names[2], sequence, received_time, _payload(document))


def line_of_frame(frame: Frame) -> bytes:
    """Return a frame as one line of a recording, with its end."""
    document: dict[str, object] = {
        "exchange": frame.exchange,
        "channel": frame.channel,
        "connection": frame.connection,
        "sequence": frame.sequence,
        "received_time": frame.received_time,
    }
    try:
        document["payload"] = frame.payload.decode()
    except UnicodeDecodeError:
        document["payload_base64"] = b64encode(frame.payload).decode()
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def _payload(document: dict[str, Any]) -> bytes:
    given = PAYLOAD_KEYS & document.keys()
    if len(given) != 1:
        raise RefusedError("missing_field", "a recorded frame has either payload or payload_base64")
    (name,) = given
    text = document[name]
    if not isinstance(text, str):
        raise RefusedError("unknown_word", f"{name} of a recorded frame is {shown(text)}, not a text")
    if name == "payload":
        return text.encode()
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RefusedError("bad_row", f"payload_base64 of a recorded frame: {error}") from None


def _whole(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _INT64_MAX:
        raise RefusedError("bad_number", f"{name} of a recorded frame is {shown(value)}, not a whole number")
    return value
