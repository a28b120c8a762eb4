"""What a collector knows by itself, written as frames so that a replay knows it, too.

Two kinds, beside the messages of exchanges:

- *statements*, channel `collector`, connection `COLLECTOR/statements`: which channels were alive and which contracts
  subscribed. The payload is `{"heartbeats": [...], "subscriptions": [...]}`, each object with the fields of the record
  but exchange and collector, which the frame tells. They become `Heartbeat` and `Subscription` records.
- *instruments*, channel `instruments`, connection `COLLECTOR/instruments`: what is new in an exchange's metadata, one
  JSON object a line: `{"instrument": {...}}` with the fields of an `Instrument`, `{"delisted": "SYMBOL"}`, or
  `{"known": "nothing"}` where a collector begins, who has to find the exchange's contracts first. They give
  no event; the frames behind them on the same collector's connections are mapped with these contracts.

An exchange may call a channel of its own so: only both names together make a statement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import asdict
from typing import Final, TypeVar

import orjson

from pipeline.feeds.feed import Mapped
from pipeline.feeds.instrument_fields import instrument_of
from pipeline.feeds.numbers import choice, shown, time_ms_of, word
from pipeline.feeds.rows import json_of, list_of, object_of
from pipeline.records import (
    ChannelState,
    DeadLetter,
    Frame,
    Heartbeat,
    Instrument,
    RefusedError,
    Subscription,
    check_not_ahead,
    check_time_ms,
    dead_letter_of_frame,
)

STATEMENTS: Final = "collector"
INSTRUMENTS: Final = "instruments"
# The channel of an answer to a request is this and the request's name.
REST: Final = "rest:"
INSTRUMENTS_PER_FRAME: Final = 500

_STATES: Final[dict[str, ChannelState]] = {"up": "up", "down": "down"}
_INT64_MAX: Final = 2**63 - 1
_Record = TypeVar("_Record", Heartbeat, Subscription)


def collector_of(connection: str) -> str:
    """Return the collector that a connection belongs to: the part before the first slash, all of it without one."""
    return connection.partition("/")[0]


def statements_connection(collector: str) -> str:
    """Return the connection on the frames of a collector's statements."""
    return f"{collector}/statements"


def instruments_connection(collector: str) -> str:
    """Return the connection on the frames with the contracts that a collector has found."""
    return f"{collector}/instruments"


def has_statements(frame: Frame) -> bool:
    """Tell a frame of a collector's statements."""
    return frame.channel == STATEMENTS and frame.connection.endswith("/statements")


def has_instruments(frame: Frame) -> bool:
    """Tell a frame with the contracts that a collector has found."""
    return frame.channel == INSTRUMENTS and frame.connection.endswith("/instruments")


def statements_payload(heartbeats: Sequence[Heartbeat], subscriptions: Sequence[Subscription] = ()) -> bytes:
    """Return the payload that says all this, which must be of one exchange and collector."""
    return orjson.dumps(
        {
            "heartbeats": [
                {
                    "channel": beat.channel,
                    "time": beat.time,
                    "state": beat.state,
                    "frames": beat.frames,
                    "last_frame_time": beat.last_frame_time,
                    "clock_offset_ms": beat.clock_offset_ms,
                }
                for beat in heartbeats
            ],
            "subscriptions": [
                {"channel": one.channel, "symbol": one.symbol, "asset": one.asset, "time": one.time, "state": one.state}
                for one in subscriptions
            ],
        }
    )


def instruments_payloads(found: Sequence[Instrument], delisted: Sequence[str] = ()) -> Iterator[bytes]:
    """Yield the payloads that say what is new or changed and which symbols are gone, in pieces of bounded size."""
    lines = [orjson.dumps({"instrument": asdict(instrument)}) for instrument in found]
    lines += [orjson.dumps({"delisted": symbol}) for symbol in delisted]
    for begin in range(0, len(lines), INSTRUMENTS_PER_FRAME):
        yield b"\n".join(lines[begin : begin + INSTRUMENTS_PER_FRAME])


def nothing_known_payload() -> bytes:
    """Return the payload that says that a collector has just begun and knows no contract of the exchange."""
    return orjson.dumps({"known": "nothing"})


def map_statements(frame: Frame) -> Iterator[Mapped]:
    """Return the heartbeats and then the subscriptions in one frame; what cannot be used is refused one by one."""
    try:
        document = object_of("a statement", json_of(frame.payload))
        heartbeats = list_of("heartbeats", document.get("heartbeats", []))
        subscriptions = list_of("subscriptions", document.get("subscriptions", []))
    except RefusedError as refusal:
        yield dead_letter_of_frame(frame, 0, refusal.reason, str(refusal))
        return
    for index, row in enumerate(heartbeats):
        yield _read(frame, index, row, _heartbeat)
    for index, row in enumerate(subscriptions, start=len(heartbeats)):
        yield _read(frame, index, row, _subscription)


def learn_instruments(frame: Frame, known: MutableMapping[tuple[str, str], Instrument]) -> list[Mapped]:
    """Take into `known` what a frame says of its exchange's contracts, and return the lines that are refused."""
    refused: list[Mapped] = []
    for index, line in enumerate(frame.payload.splitlines()):
        try:
            row = object_of("a line", json_of(line))
            if "delisted" in row:
                known.pop((frame.exchange, word("delisted", row["delisted"])), None)
                continue
            if row.get("known") == "nothing":
                for key in [key for key in known if key[0] == frame.exchange]:
                    del known[key]
                continue
            instrument = instrument_of(object_of("instrument", row.get("instrument")))
            if instrument.exchange != frame.exchange:
                raise RefusedError(
                    "bad_instruments", f"a contract of {shown(instrument.exchange)} among those of {frame.exchange}"
                )
            known[instrument.exchange, instrument.symbol] = instrument
        except RefusedError as refusal:
            refused.append(dead_letter_of_frame(frame, index, refusal.reason, str(refusal)))
    return refused


def _read(frame: Frame, index: int, row: object, read: Callable[[Frame, object], _Record]) -> _Record | DeadLetter:
    try:
        return read(frame, row)
    except RefusedError as refusal:
        return dead_letter_of_frame(frame, index, refusal.reason, str(refusal))


def _heartbeat(frame: Frame, row: object) -> Heartbeat:
    said = object_of("heartbeat", row)
    last_frame_time = _whole("last_frame_time", said.get("last_frame_time"))
    if last_frame_time is not None:
        check_time_ms("last_frame_time", last_frame_time // 1000)
    frames = _whole("frames", said.get("frames"))
    if frames is None or frames < 0:
        raise RefusedError("bad_number", f"frames is {shown(frames)}, not a count")
    return Heartbeat(
        exchange=frame.exchange,
        channel=word("channel", said.get("channel")),
        collector=_collector(frame),
        time=_time_ms(frame, said),
        state=choice("state", said.get("state"), _STATES),
        frames=frames,
        last_frame_time=last_frame_time,
        clock_offset_ms=_whole("clock_offset_ms", said.get("clock_offset_ms")),
    )


def _subscription(frame: Frame, row: object) -> Subscription:
    said = object_of("subscription", row)
    return Subscription(
        exchange=frame.exchange,
        channel=word("channel", said.get("channel")),
        symbol=word("symbol", said.get("symbol")),
        asset=word("asset", said.get("asset")),
        collector=_collector(frame),
        time=_time_ms(frame, said),
        state=choice("state", said.get("state"), _STATES),
    )


def _collector(frame: Frame) -> str:
    return word("collector", collector_of(frame.connection))


def _time_ms(frame: Frame, said: dict[str, object]) -> int:
    time_ms = time_ms_of("time", said.get("time"))
    check_not_ahead("time", time_ms, frame.received_time)
    return time_ms


def _whole(name: str, value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _INT64_MAX:
        raise RefusedError("bad_number", f"{name} is {shown(value)}, not a whole number")
    return value
