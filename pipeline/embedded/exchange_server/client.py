"""One socket of the server: its subscriptions, what waits to be sent, and the faults that change what leaves."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import WSCloseCode, web

from pipeline.embedded.exchange_server.ledger import ServedLedger
from pipeline.embedded.exchange_server.venue import Outgoing, Query
from pipeline.embedded.simulator.truth import Truth

# A client that reads slower than this many messages is cut off, as the exchanges do it.
_MOST_WAITING = 200_000
_FLOOD = 200
_SIXTEEN_BITS = 126
_LONGEST_SHORT = 125
_TEXT, _BINARY = 0x81, 0x82

IsOn = Callable[[str], bool]


class ServedClient:
    """A socket, with what `Client` asks for. `is_on` tells which faults its exchange has now, `now_ms()` the time."""

    def __init__(
        self,
        number: int,
        exchange: str,
        request: web.Request,
        now_ms: Callable[[], int],
        ledger: ServedLedger,
        is_on: IsOn,
    ) -> None:
        self.number, self.exchange = number, exchange
        self.path = request.match_info.route.resource.canonical if request.match_info.route.resource else request.path
        self.query: Query = {**request.query, **request.match_info}
        self.topics: dict[str, None] = {}
        self.memory: dict[str, Any] = {}
        self.heard_ms = self.said_ms = self.opened_ms = now_ms()
        self.socket = web.WebSocketResponse(max_msg_size=1 << 20, autoping=False)
        self.why = ""
        self._request, self._ledger, self._is_on, self._now_ms = request, ledger, is_on, now_ms
        self._waiting: deque[tuple[Outgoing, tuple[Truth, ...]]] = deque()
        self._wake = asyncio.Event()
        self._half = self._cut = False
        self._closing: int | None = None

    def say(self, message: Outgoing) -> None:
        """Send an answer that is no acknowledgement."""
        self._put(message, ())

    def acknowledge(self, topics: Iterable[str], *messages: Outgoing) -> None:
        """Subscribe to `topics` and say so, unless the exchange is deaf."""
        if self._is_on("deaf"):
            return
        for topic in topics:
            self.topics[topic] = None
            self._ledger.note("subscribed", self.exchange, socket=self.number, path=self.path, topic=topic)
        for message in messages:
            self._put(message, ())

    def unsubscribe(self, topics: Iterable[str], *messages: Outgoing) -> None:
        """End subscriptions and say so."""
        for topic in topics:
            self.topics.pop(topic, None)
        for message in messages:
            self._put(message, ())

    def bring(self, message: Outgoing, rows: tuple[Truth, ...] = ()) -> None:
        """Send data, unless the exchange is silent; with the faults that data can have."""
        if self._is_on("silent"):
            return
        self._put(message, rows)
        if self._is_on("flood"):
            again = tuple(row._replace(kind="duplicate") if row.kind == "event" else row for row in rows)
            for _ in range(_FLOOD - 1):
                self._put(message, again)
        if rows and self._is_on("wrong-json"):
            cut = rows[0]._replace(kind="refused", trap="cut_json")
            self._put(message[: len(message) * 3 // 5], (cut,))

    def break_next(self) -> None:
        """Let the next message be cut in its middle, and the connection with it."""
        self._half = True

    def close(self, why: str, code: int = WSCloseCode.OK) -> None:
        """Close in an orderly way."""
        self.why = self.why or why
        self._closing = code
        self._wake.set()

    def cut(self, why: str) -> None:
        """End the connection without a word."""
        self.why = self.why or why
        self._cut = True
        if self._request.transport is not None:
            self._request.transport.abort()
        self._wake.set()

    async def send_all(self) -> None:
        """Send what waits, in order, until the connection ends."""
        while not (self.socket.closed or self._cut):
            if self._closing is not None and not self._waiting:
                await self.socket.close(code=self._closing, message=self.why.encode()[:120])
                return
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
                continue
            message, rows = self._waiting[0]
            transport = self._request.transport
            if transport is None or transport.is_closing():
                return
            self._waiting.popleft()
            if self._half:
                self._send_half(transport, message, rows)
                return
            begun_us = self._ledger.now_us()
            if isinstance(message, str):
                await self.socket.send_str(message)
            else:
                await self.socket.send_bytes(message)
            self.said_ms = self._now_ms()
            if rows:
                self._ledger.note("sent", self.exchange, rows, socket=self.number, path=self.path, begun_us=begun_us)

    def note_the_rest(self) -> None:
        """Note what the end of the connection left unsent."""
        for _, rows in self._waiting:
            if rows:
                self._ledger.note("unheard", self.exchange, rows, socket=self.number, path=self.path)
        self._waiting.clear()

    def _put(self, message: Outgoing, rows: tuple[Truth, ...]) -> None:
        if self.socket.closed or self._cut or self._closing is not None:
            if rows:
                self._ledger.note("unheard", self.exchange, rows, socket=self.number, path=self.path)
            return
        if len(self._waiting) >= _MOST_WAITING:
            self.cut("reads too slowly")
            return
        self._waiting.append((message, rows))
        self._wake.set()

    def _send_half(self, transport: asyncio.Transport, message: Outgoing, rows: tuple[Truth, ...]) -> None:
        """Write a frame's head and half of its body, and end the connection."""
        body = message.encode() if isinstance(message, str) else message
        opcode = _TEXT if isinstance(message, str) else _BINARY
        length = (
            bytes((len(body),))
            if len(body) <= _LONGEST_SHORT
            else bytes((_SIXTEEN_BITS,)) + min(len(body), 0xFFFF).to_bytes(2, "big")
        )
        transport.write(bytes((opcode,)) + length + body[: len(body) // 2])
        transport.close()
        self.why = self.why or "half a frame"
        self._ledger.note("half", self.exchange, rows, socket=self.number, path=self.path)
