"""Connections: what order frames come in, their sequence numbers, reconnects and what is sent again after them."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple, Protocol

from pipeline.embedded.simulator.truth import Truth
from pipeline.records import Frame

# What an exchange sends again after a reconnect: at most so many frames, none older than this.
RESENT_FRAMES = 40
RESENT_US = 60_000_000

_MS = 1000


class Arrival(NamedTuple):
    """A message on its way: when it is received (µs), how it goes on, and what it holds.

    `resendable` is false for what a reconnect does not bring again: control messages, late and unusable ones.
    """

    received_us: int
    order: int
    stream: int
    payload: bytes
    rows: tuple[Truth, ...]
    resendable: bool


@dataclass(slots=True)
class Stream:
    """One subscription and the connection that carries it now.

    `subscribed` writes its acknowledgement, with the exchange's own id of the connection (32 hexadecimal digits).
    """

    exchange: str
    channel: str
    subscribed: Callable[[str], bytes]
    connection: str = ""
    connection_id: str = ""
    sequence: int = 0
    last_us: int = 0
    recent: deque[Arrival] = field(default_factory=lambda: deque(maxlen=RESENT_FRAMES))


class Outlet(Protocol):
    """Where messages are put: when each is received (µs), on which stream, and what it holds."""

    def send(
        self, received_us: int, stream: int, payload: bytes, rows: tuple[Truth, ...] = (), *, resendable: bool
    ) -> None:
        """Put a message on its way."""
        ...


class Wire:
    """Messages on their way, from all streams, given out in the order in which they are received."""

    def __init__(self, rng: Random, streams: list[Stream]) -> None:
        self.streams = streams
        self._rng = rng
        self._arrivals: list[Arrival] = []
        self._order = 0
        self._connections: dict[str, int] = {}

    def send(
        self, received_us: int, stream: int, payload: bytes, rows: tuple[Truth, ...] = (), *, resendable: bool
    ) -> None:
        """Put a message on its way. It must not be received before what was given out already."""
        self._order += 1
        heapq.heappush(self._arrivals, Arrival(received_us, self._order, stream, payload, rows, resendable))

    def connect(self, stream: int, time_ms: int) -> None:
        """Open a new connection for `stream`; what the last one carried shortly before comes again on it."""
        found = self.streams[stream]
        number = self._connections.get(found.exchange, 0) + 1
        self._connections[found.exchange] = number
        found.connection, found.sequence = f"{found.exchange}-{number}", 0
        found.connection_id = f"{self._rng.getrandbits(128):032x}"
        received_us = time_ms * _MS
        self.send(received_us, stream, found.subscribed(found.connection_id), resendable=False)
        for arrival in found.recent:
            if received_us - arrival.received_us <= RESENT_US:
                received_us += 350
                again = tuple(row._replace(kind="duplicate") for row in arrival.rows)
                self.send(received_us, stream, arrival.payload, again, resendable=False)
        found.recent.clear()

    def receive(self, until_ms: int | None) -> Iterator[tuple[Frame, tuple[Truth, ...]]]:
        """Yield what is received before `until_ms`, or everything."""
        arrivals, streams = self._arrivals, self.streams
        until_us = None if until_ms is None else until_ms * _MS
        while arrivals and (until_us is None or arrivals[0].received_us < until_us):
            arrival = heapq.heappop(arrivals)
            stream = streams[arrival.stream]
            frame = Frame(
                stream.exchange,
                stream.channel,
                stream.connection,
                stream.sequence,
                arrival.received_us,
                arrival.payload,
            )
            stream.sequence += 1
            stream.last_us = arrival.received_us
            if arrival.resendable:
                stream.recent.append(arrival)
            yield frame, arrival.rows
