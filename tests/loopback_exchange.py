"""A small exchange on loopback with a protocol of its own, and everything that can go wrong with it.

`{"sub": [names]}` is answered by `{"ok": [names]}`, or by `{"no": [names], "why": text}` if it names a refused topic.
Data are `{"data": topic, ...}`; `{"bye": text}` announces the end of a connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from aiohttp import WSMsgType, web

from pipeline.feeds.live import Channel, Heard, Limits, Outgoing, Topic


class Conversation:
    """The other side of the protocol."""

    def open(self) -> Sequence[Outgoing]:
        return ()

    def subscribe(self, topics: Sequence[Topic], number: int) -> Outgoing:
        return json.dumps({"sub": [topic.name for topic in topics], "number": number})

    def ping(self, number: int, time_ms: int) -> Outgoing | None:  # noqa: ARG002
        return json.dumps({"ping": number})

    def hear(self, message: bytes) -> Heard:
        try:
            said = json.loads(message)
        except ValueError:
            return Heard()
        return Heard(
            data="data" in said,
            confirmed=tuple(said.get("ok", ())),
            refused=tuple((name, said.get("why", "")) for name in said.get("no", ())),
            replies=(json.dumps({"pong": said["ping"]}),) if "ping" in said else (),
            closing=said.get("bye", ""),
        )


def channel(url: str, name: str = "trades", per_symbol: bool = False, **changes: object) -> Channel:
    """Describe a channel: one topic `all`, or one for each contract."""

    def topics(instruments):
        return [Topic(f"t.{one.symbol}", one.symbol) for one in instruments] if per_symbol else [Topic("all")]

    limits = Limits(requests_per_s=1_000, connections_per_s=1_000, **changes.pop("limits", {}))
    values = {"ping_every_s": 20.0, "silence_s": 60.0, **changes}
    return Channel(name, url, topics, Conversation, limits, per_symbol=per_symbol, **values)


@dataclass
class Socket:
    """One connection as the server sees it."""

    response: web.WebSocketResponse
    transport: asyncio.Transport
    topics: list[str] = field(default_factory=list)
    said: list[dict] = field(default_factory=list)

    def send_raw(self, data: bytes) -> None:
        self.transport.write(data)


@dataclass
class LoopbackExchange:
    """Listens while the `async with` block lasts; the fields are switches."""

    acknowledges: bool = True
    answers_pings: bool = True
    reads: bool = True
    accepts: bool = True
    refused: set[str] = field(default_factory=set)
    tls: ssl.SSLContext | None = None
    sockets: list[Socket] = field(default_factory=list)
    opened: int = 0
    url: str = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.tls)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        self.url = f"ws{'s' if self.tls else ''}://127.0.0.1:{port}/"
        return self

    async def __aexit__(self, *error: object) -> None:
        self.drop()
        await self._runner.cleanup()

    def drop(self) -> None:
        """Cut all connections as a dead network would."""
        for socket in self.sockets:
            socket.transport.abort()

    async def send(self, topic: str, **values: object) -> int:
        """Send data to all who have subscribed to `topic`, and return how many they are."""
        listeners = [socket for socket in self.sockets if topic in socket.topics]
        for socket in listeners:
            with contextlib.suppress(ConnectionError):
                await socket.response.send_str(json.dumps({"data": topic, **values}))
        return len(listeners)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if not self.accepts:
            return web.Response(status=503)
        response = web.WebSocketResponse(autoping=False)
        await response.prepare(request)
        socket = Socket(response, request.transport)
        self.opened += 1
        self.sockets.append(socket)
        try:
            async for message in response:
                while not self.reads:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                if message.type is WSMsgType.PING and self.answers_pings:
                    await response.pong(message.data)
                elif message.type is WSMsgType.TEXT:
                    await self._hear(socket, json.loads(message.data))
        except ConnectionError:
            pass
        finally:
            self.sockets.remove(socket)
        return response

    async def _hear(self, socket: Socket, said: dict) -> None:
        socket.said.append(said)
        names = said.get("sub", [])
        if not names or not self.acknowledges:
            return
        if self.refused.intersection(names):
            await socket.response.send_str(json.dumps({"no": names, "why": "no such topic"}))
        else:
            socket.topics += names
            await socket.response.send_str(json.dumps({"ok": names}))
