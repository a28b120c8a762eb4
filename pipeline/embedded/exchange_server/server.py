"""The exchanges on loopback: one port each for sockets and REST, and one to switch faults while they run."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import orjson
from aiohttp import WSMsgType, web

from pipeline.embedded.exchange_server.client import ServedClient
from pipeline.embedded.exchange_server.faults import EVERY, Fault, FaultError, Faults
from pipeline.embedded.exchange_server.flow import EXCHANGES, Flow, Push, Source
from pipeline.embedded.exchange_server.ledger import ServedLedger
from pipeline.embedded.exchange_server.venue import Endpoint, RestError, Venue
from pipeline.embedded.exchange_server.venues import VENUES

HOST = "127.0.0.1"
_TICK_S = 0.01
_SECOND_US = 1_000_000
_AHEAD_MS = 300_000
# What comes again after a subscription under the fault `snapshot`.
_AGAIN = 40
_AGAIN_US = 60_000_000
_CONTROL = "control"


@dataclass(frozen=True, slots=True)
class Play:
    """What the server plays: the market's seed, how many of its seconds pass in one, how long it lasts, its traps."""

    seed: int = 7
    speed: float = 1.0
    hours: float = 6.0
    traps_per_hour: float = 30.0
    faults: Sequence[Fault] = field(default_factory=tuple)

    def source(self, start_ms: int) -> Source:
        """Return the market from `start_ms` (milliseconds since 1970) on."""
        return Flow(self.seed, start_ms, self.speed, self.hours, self.traps_per_hour)


class Plays(Protocol):
    """What a server plays: a market, and the faults that are due in it."""

    @property
    def faults(self) -> Sequence[Fault]:
        """Return the faults with the times at which they begin."""
        ...

    def source(self, start_ms: int) -> Source:
        """Return the market from `start_ms` (milliseconds since 1970) on."""
        ...


class ExchangeServer:
    """Serves from `start` to `stop`, within one event loop. `ports` gives the port of each exchange, and `control`.

    The ports may be given beforehand, so that a server which was gone comes back at the same place. `now_ns` is the
    time (nanoseconds since 1970), which must run as the loop's clock does.
    """

    def __init__(
        self,
        play: Plays,
        ledger: ServedLedger,
        ports: dict[str, int] | None = None,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.ports: dict[str, int] = dict(ports or {})
        self.ledger = ledger
        self.faults = Faults()
        self._play = play
        self._runners: list[web.AppRunner] = []
        self._clients: dict[str, list[ServedClient]] = {exchange: [] for exchange in EXCHANGES}
        self._recent: dict[str, deque[Push]] = {exchange: deque(maxlen=_AGAIN) for exchange in EXCHANGES}
        self._number = 0
        self._pump: asyncio.Task[None] | None = None
        self._failed: asyncio.Future[None] | None = None
        self._now_ns = now_ns
        now_ms = self._now_ms()
        self._source = play.source(now_ms - now_ms % 1000)
        self._venues: dict[str, Venue] = {
            venue.exchange: venue(self._source.tape, partial(self._shown_ms, venue.exchange)) for venue in VENUES
        }

    async def start(self) -> None:
        """Listen on all ports and let the market begin."""
        self._failed = asyncio.get_running_loop().create_future()
        for exchange, venue in self._venues.items():
            application = web.Application()
            for path in venue.sockets:
                application.router.add_get(path, partial(self._serve_socket, venue))
            for path, endpoint in venue.endpoints().items():
                application.router.add_get(path, partial(self._serve_rest, exchange, endpoint))
            await self._listen(exchange, application)
        control = web.Application()
        control.router.add_get("/state", self._state)
        control.router.add_post("/faults", self._switch_on)
        control.router.add_delete("/faults", self._clear)
        await self._listen(_CONTROL, control)
        self._pump = asyncio.create_task(self._run())
        self._pump.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Close all connections and ports."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        for client in self._every():
            client.close("the server stops", 1001)
        for runner in self._runners:
            await runner.cleanup()
        self.ledger.flush()

    async def wait(self) -> None:
        """Return never, and raise if the market broke."""
        if self._failed is not None:
            await self._failed

    def switch_on(self, fault: Fault) -> None:
        """Let a fault begin now."""
        self.ledger.note("fault", fault.exchange, kind=fault.kind, for_s=fault.for_s)
        once = fault.for_s is None and fault.kind in {"drop", "half-frame"}
        if not once:
            self.faults.switch_on(fault, _now_s())
        for client in self._every():
            if fault.exchange in (EVERY, client.exchange):
                if fault.kind == "drop":
                    client.cut("dropped")
                elif fault.kind == "half-frame":
                    client.break_next()

    def state(self) -> dict[str, object]:
        """Return what is going on: open sockets with their topics, faults, and counts of messages."""
        sockets = [
            {"exchange": client.exchange, "path": client.path, "socket": client.number, "topics": len(client.topics)}
            for client in self._every()
        ]
        return {"sockets": sockets, "faults": self.faults.on(_now_s()), **self.ledger.counts}

    def _every(self) -> list[ServedClient]:
        return [client for clients in self._clients.values() for client in clients]

    def _now_ms(self) -> int:
        return self._now_ns() // 1_000_000

    def _shown_ms(self, exchange: str) -> int:
        return self._now_ms() + (_AHEAD_MS if self._is_on("clock", exchange) else 0)

    def _is_on(self, kind: str, exchange: str) -> bool:
        return self.faults.is_on(kind, exchange, _now_s())

    def _ended(self, pump: asyncio.Task[None]) -> None:
        if self._failed is None or self._failed.done() or pump.cancelled():
            return
        error = pump.exception()
        if error is not None:
            self._failed.set_exception(error)

    async def _listen(self, name: str, application: web.Application) -> None:
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        self._runners.append(runner)
        site = web.TCPSite(runner, HOST, self.ports.get(name, 0), reuse_address=True)
        await site.start()
        self.ports[name] = runner.addresses[0][1]

    async def _run(self) -> None:
        """Send what is due, and look after the connections once a second."""
        began_s, looked_s = _now_s(), 0
        scheduled = sorted(self._play.faults, key=lambda fault: fault.after_s)
        while True:
            now_us = self._now_ns() // 1000
            while scheduled and _now_s() - began_s >= scheduled[0].after_s:
                self.switch_on(scheduled.pop(0))
            for push in self._source.until(now_us):
                self._send(push)
            if now_us // 1_000_000 != looked_s:
                looked_s = now_us // 1_000_000
                self._look()
            due_us = [_SECOND_US * (looked_s + 1), self._source.next_us()]
            wait_s = (min(us for us in due_us if us is not None) * 1000 - self._now_ns()) / 1e9
            if scheduled:
                wait_s = min(wait_s, began_s + scheduled[0].after_s - _now_s())
            await asyncio.sleep(max(0.0, wait_s))

    def _send(self, push: Push) -> None:
        venue, heard = self._venues[push.exchange], 0
        venue.sent(push)
        if push.resendable:
            self._recent[push.exchange].append(push)
        for client in self._clients[push.exchange]:
            for message in venue.payloads(client, push):
                heard += 1
                client.bring(message, push.rows)
        if push.rows and (not heard or self._is_on("silent", push.exchange)):
            self.ledger.note("unheard", push.exchange, push.rows)

    def _look(self) -> None:
        self.ledger.flush()
        for exchange, venue in self._venues.items():
            for client in list(self._clients[exchange]):
                venue.tick(client, self._now_ms())
                if client.topics and self._source.has_trade:
                    for message in venue.market(client, self._shown_ms(exchange)):
                        client.bring(message)

    async def _serve_socket(self, venue: Venue, request: web.Request) -> web.StreamResponse:
        exchange = venue.exchange
        if self._is_on("drop", exchange):
            return _cut(request)
        self._number += 1
        client = ServedClient(
            self._number, exchange, request, self._now_ms, self.ledger, partial(self._is_on_at, exchange)
        )
        await client.socket.prepare(request)
        self.ledger.note("opened", exchange, socket=client.number, path=client.path)
        self._clients[exchange].append(client)
        sending = asyncio.create_task(self._sending(client))
        try:
            venue.opened(client)
            async for message in client.socket:
                while self._is_on("slow-reader", exchange):  # noqa: ASYNC110 - faults end with time, without a word
                    await asyncio.sleep(_TICK_S)
                if message.type == WSMsgType.ERROR:
                    break
                if message.type == WSMsgType.PING:
                    await client.socket.pong(message.data)
                elif message.type != WSMsgType.PONG:
                    client.heard_ms = self._now_ms()
                    self._hear(venue, client, message.data)
        finally:
            self._clients[exchange].remove(client)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            client.note_the_rest()
            self.ledger.note("closed", exchange, socket=client.number, why=client.why or "by the client")
        return client.socket

    def _hear(self, venue: Venue, client: ServedClient, data: str | bytes) -> None:
        before = set(client.topics)
        venue.heard(client, data if isinstance(data, str) else data.decode(errors="replace"))
        if set(client.topics) - before and self._is_on("snapshot", client.exchange):
            for push in self._recent[client.exchange]:
                if self._now_ms() * 1000 - push.due_us < _AGAIN_US:
                    for message in venue.payloads(client, push):
                        client.bring(message, push.rows)

    async def _sending(self, client: ServedClient) -> None:
        try:
            await client.send_all()
        except ConnectionError:
            client.why = client.why or "the client went away"

    def _is_on_at(self, exchange: str, kind: str) -> bool:
        return self._is_on(kind, exchange)

    async def _serve_rest(self, exchange: str, endpoint: Endpoint, request: web.Request) -> web.StreamResponse:
        if self._is_on("drop", exchange):
            return _cut(request)
        answer = self._answer(exchange, endpoint, request)
        self.ledger.note("asked", exchange, path=request.path_qs, status=answer.status)
        return answer

    def _answer(self, exchange: str, endpoint: Endpoint, request: web.Request) -> web.Response:
        if self._is_on("429", exchange):
            return web.Response(status=429, text="too many requests", headers={"Retry-After": "2"})
        if self._is_on("5xx", exchange):
            return web.Response(status=503, text="unavailable")
        try:
            return _json(endpoint({**request.query, **request.match_info}))
        except RestError as error:
            return _json(error.answer, error.status)

    async def _state(self, _request: web.Request) -> web.StreamResponse:
        return _json(self.state())

    async def _switch_on(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = orjson.loads(await request.read())
            for_s = asked.get("for_s")
            fault = Fault(asked["kind"], asked.get("exchange", EVERY), 0.0, None if for_s is None else float(for_s))
        except (ValueError, TypeError, KeyError, AttributeError, FaultError) as error:
            return _json({"error": str(error)}, 400)
        self.switch_on(fault)
        return _json(self.state())

    async def _clear(self, _request: web.Request) -> web.StreamResponse:
        self.faults.clear()
        return _json(self.state())


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _json(document: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(document), status=status, content_type="application/json")


def _cut(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=503)
