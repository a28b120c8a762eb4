"""From lines to lines: what `liquidations map` does. Frames or bare messages come in, events and refusals go out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any, Final

import orjson

from pipeline.feeds.discovery import feed_of
from pipeline.feeds.feed import Instruments, Mapped
from pipeline.feeds.frame_lines import frame_of_document, is_frame
from pipeline.feeds.instrument_fields import instrument_of
from pipeline.feeds.mapping import Mapping as FrameMapping
from pipeline.feeds.numbers import shown
from pipeline.feeds.rows import json_of
from pipeline.records import EARLIEST_MS, LATEST_MS, DeadLetter, Frame, Instrument, Liquidation, RefusedError

_CHANNEL: Final = "messages"
_CONNECTION: Final = "map"
# Keys of the time at which an exchange pushed a message: Binance, Bybit.
_PUSH_TIMES: Final = ("E", "ts")


def map_lines(exchange: str, lines: Iterable[bytes], instruments: Instruments) -> Iterator[str]:
    """Map lines, each a recorded frame or a bare message of `exchange`; return events and refusals as JSON lines.

    An event has the record's field names, ids as hex, times as integers in the record's unit. A refusal is
    `{"error": reason, "message": text, "line": number from 1}`. Lines without events (acknowledgements, blank lines)
    give none.

    A bare message has no receive time: `received_time` is the time at which the exchange pushed it if it says so, else
    the event's own, so that the same lines give the same output. Its source is channel `messages`, connection `map`,
    and the line's number from 0.

    Raise `RefusedError` if the exchange is unknown.
    """
    feed_of(exchange)
    mapping = FrameMapping(instruments)
    return (text for number, line in enumerate(lines) for text in _map_line(exchange, number, line, mapping))


def read_instruments(lines: Iterable[bytes]) -> Instruments:
    """Return the contracts in lines of Instrument records as JSON, by exchange and symbol.

    Raise `RefusedError` (`bad_instruments`) naming the line for what is no instrument, a second line for a contract
    that says something else, and numbers that no contract can have.
    """
    found: dict[tuple[str, str], Instrument] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            instrument = instrument_of(json_of(line))
            key = (instrument.exchange, instrument.symbol)
            if found.setdefault(key, instrument) != instrument:
                raise RefusedError("bad_instruments", f"{key[1]} of {key[0]} is described twice, differently")
        except RefusedError as refusal:
            raise RefusedError("bad_instruments", f"line {number}: {refusal}") from None
    return found


def _map_line(exchange: str, number: int, line: bytes, mapping: FrameMapping) -> Iterator[str]:
    if not (line := line.strip()):
        return
    try:
        mapped = _mapped(exchange, number, line, mapping)
    except RefusedError as refusal:
        yield _refusal(refusal.reason, str(refusal), number)
        return
    for one in mapped:
        if isinstance(one, DeadLetter):
            yield _refusal(one.reason, one.message, number)
        else:
            yield orjson.dumps(_fields(one)).decode()


def _mapped(exchange: str, number: int, line: bytes, mapping: FrameMapping) -> Iterator[Mapped]:
    try:
        document = json_of(line)
    except RefusedError:
        # Some answers are no JSON; the exchange's mapping knows which.
        document = None
    if is_frame(document):
        frame = frame_of_document(document)
        if frame.exchange != exchange:
            raise RefusedError("other_exchange", f"a frame of {shown(frame.exchange)} among those of {exchange}")
        return mapping.map(frame)
    pushed_ms = _push_time_ms(document)
    frame = Frame(exchange, _CHANNEL, _CONNECTION, number, 1000 * (pushed_ms or LATEST_MS - 1), line)
    mapped = mapping.map(frame)
    return mapped if pushed_ms is not None else map(_received_when_it_happened, mapped)


def _received_when_it_happened(mapped: Mapped) -> Mapped:
    if not isinstance(mapped, Liquidation):
        return mapped
    return replace(mapped, received_time=1000 * mapped.event_time)


def _push_time_ms(document: object) -> int | None:
    if isinstance(document, list) and document:
        document = document[0]
    # What HTX pushes is older than the orders in it by its `ts`, in its own example.
    if not isinstance(document, Mapping) or document.get("op") == "notify":
        return None
    for holder in (document, document.get("data")):
        for key in _PUSH_TIMES:
            time_ms = holder.get(key) if isinstance(holder, Mapping) else None
            if isinstance(time_ms, int) and not isinstance(time_ms, bool) and EARLIEST_MS <= time_ms < LATEST_MS:
                return time_ms
    return None


def _refusal(reason: str, message: str, number: int) -> str:
    return orjson.dumps({"error": reason, "message": message, "line": number + 1}).decode()


def _fields(event: Mapped) -> dict[str, Any]:
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in asdict(event).items()}
