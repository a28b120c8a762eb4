"""One WebSocket connection, from its opening to its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import aiohttp
import structlog
from aiohttp import WSCloseCode, WSMsgType

from pipeline.feeds.live import Channel, Heard, Outgoing, Topic
from pipeline.ingest.intake import Intake
from pipeline.ingest.liveness import Liveness
from pipeline.ingest.pacing import Pace
from pipeline.ingest.subscribing import Subscribing

_log = structlog.get_logger()

_CONNECT_S: Final = 15.0
_SEND_S: Final = 10.0
_GOODBYE_S: Final = 2.0
# The exchange's own ping must keep the time going where the server does not answer WebSocket pings.
_MUTE_PING_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for what, in seconds: the settings of the same names."""

    proof_interval_s: float
    stall_s: float
    confirm_s: float
    refused_again_s: float


@dataclass(frozen=True, slots=True)
class Line:
    """Where the connections of one channel go. `pace` is what the exchange allows of them, `open` connects."""

    exchange: str
    channel: Channel
    url: str
    patience: Patience
    pace: Pace
    open: Callable[[], Awaitable[aiohttp.ClientWebSocketResponse[bool]]]


@dataclass(slots=True)
class Counts:
    """What came on the connections of one channel, and what happened to them, since the start.

    `data` are the messages that bring what was subscribed to, `last_data_us` is when the last one came.
    """

    frames: int = 0
    data: int = 0
    last_data_us: int | None = None
    opened: int = 0
    lost: int = 0
    unconfirmed: int = 0
    refused: int = 0
    too_large: int = 0


class Connection:
    """Keep one connection and the subscriptions on it.

    `name` is what its frames say. `changed()` is called when topics were confirmed, when the connection stalls or
    wakes, and when it has ended; `ready`, `retiring` and `ended` are set once each: all topics confirmed or refused
    for themselves, soon to be replaced, over.
    """

    def __init__(
        self,
        line: Line,
        name: str,
        topics: Iterable[Topic],
        intake: Intake,
        counts: Counts,
        age_s: float | None,
        changed: Callable[[], None],
    ) -> None:
        limits = line.channel.limits
        self.name = name
        self.ready = asyncio.Event()
        self.retiring = asyncio.Event()
        self.ended = asyncio.Event()
        # Since when (ms) the connection is awake: opened, or heard of again after a stall.
        self.awake_ms = 0
        self.is_stalled = False
        self._line = line
        self._intake = intake
        self._counts = counts
        self._age_s = age_s
        self._changed = changed
        self._conversation = line.channel.begin()
        self._subscribing = Subscribing(
            topics, limits.topics_per_request, line.patience.confirm_s, line.patience.refused_again_s
        )
        self._pace = Pace(limits.requests_per_s)
        self._wake = asyncio.Event()
        self._goodbye = ""
        self._opened_s: float | None = None
        # For room behind us: no sign of life is to be expected meanwhile.
        self._is_waiting = False
        self._number = 0
        self._sequence = 0
        self._now_s = asyncio.get_running_loop().time
        self._liveness = Liveness(line.patience.stall_s, line.channel.silence_s, self._now_s(), intake.now_ms())

    @property
    def confirmed(self) -> dict[str, int]:
        """Return since when (ms) which topics are confirmed."""
        return self._subscribing.confirmed

    @property
    def is_covering(self) -> bool:
        """Tell whether everything on the confirmed topics can be trusted to arrive."""
        return bool(self.confirmed) and not self.is_stalled and not self.ended.is_set()

    @property
    def is_complete(self) -> bool:
        """Tell whether all topics are confirmed."""
        return self._subscribing.is_complete

    @property
    def proved_ms(self) -> int:
        """Return up to when everything that was sent has been received and is safe."""
        return self._liveness.proved_ms(self._intake.safe_position)

    @property
    def lived_s(self) -> float:
        """Return how long it has been connected, 0 before."""
        return 0.0 if self._opened_s is None else self._now_s() - self._opened_s

    @property
    def confirmed_ms(self) -> int:
        """Return since when all that is confirmed by now has been confirmed."""
        return max((self.awake_ms, *self.confirmed.values()))

    def add(self, topics: Iterable[Topic]) -> None:
        """Subscribe to more."""
        self._subscribing.add(topics)
        self._wake.set()

    def drop(self, names: Iterable[str]) -> None:
        """Forget topics that the exchange no longer has."""
        self._subscribing.drop(names)
        self._see()

    def close(self, reason: str) -> None:
        """End it; return at once."""
        self._goodbye = reason
        self._wake.set()

    async def run(self) -> None:
        """Connect, listen until the end, whatever it is. A fault of our own is raised."""
        reason = "stopped"
        try:
            reason = await self._connect_and_listen()
        finally:
            self._end(reason)
            if self._sequence:
                self._intake.leave(self._line.exchange, self._line.channel.name, self.name)

    async def _connect_and_listen(self) -> str:
        await self._line.pace.turn()
        try:
            async with asyncio.timeout(_CONNECT_S):
                socket = await self._line.open()
        except TimeoutError:
            return f"no connection within {_CONNECT_S:g} s"
        except (aiohttp.ClientError, OSError) as error:
            return f"cannot connect: {str(error) or type(error).__name__}"
        self._counts.opened += 1
        _log.info("connection_opened", **self._words(), url=self._line.url)
        self._begin()
        tasks = [asyncio.create_task(self._read(socket)), asyncio.create_task(self._keep(socket))]
        reason = "stopped"
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            reason = next(task.result() for task in tasks if task.done())
        finally:
            for task in tasks:
                task.cancel()
            try:
                # What is covered ends here, not after the goodbyes.
                self._end(reason)
                results = await asyncio.gather(*tasks, return_exceptions=True)
            finally:
                await socket.close()
        for result in results:
            if isinstance(result, Exception):
                raise result
        return reason

    def _begin(self) -> None:
        now_ms = self._intake.now_ms()
        self.awake_ms = now_ms
        self._opened_s = self._now_s()
        patience = self._line.patience
        self._liveness = Liveness(patience.stall_s, self._line.channel.silence_s, self._opened_s, now_ms)

    def _end(self, reason: str) -> None:
        if self.ended.is_set():
            return
        # What was proved until now still counts.
        self._changed()
        self.ended.set()
        if self._goodbye:
            _log.info("connection_closed", **self._words(), reason=self._goodbye)
        elif reason == "stopped":
            _log.info("connection_closed", **self._words(), reason=reason)
        else:
            self._counts.lost += 1
            if self._opened_s is None:
                _log.warning("connection_failed", **self._words(), reason=reason)
            else:
                _log.warning("connection_lost", **self._words(), reason=reason)
        self._changed()

    async def _read(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> str:
        """Work on messages as they come, and stop reading while there is no room: the sender has to wait then."""
        intake, liveness, receive, now_s = self._intake, self._liveness, socket.receive, self._now_s
        while True:
            if not intake.has_room:
                self._is_waiting = True
                await intake.room()
                self._is_waiting = False
                liveness.last_s = now_s()
            message = await receive()
            kind = message.type
            if kind is WSMsgType.TEXT or kind is WSMsgType.BINARY:
                heard = self._take(message.data)
                if heard.replies:
                    reason = await self._send(socket, heard.replies)
                    if reason:
                        return reason
            elif kind is WSMsgType.PONG:
                liveness.pong(bytes(message.data), intake.position)
                liveness.message(now_s(), intake.now_ms(), intake.position)
            elif kind is WSMsgType.PING:
                liveness.message(now_s(), intake.now_ms(), intake.position)
                reason = await self._attempt(socket.pong(message.data))
                if reason:
                    return reason
            else:
                return self._reason_of_end(socket.close_code, kind, message.data, message.extra)
            if self.is_stalled:
                self._wake.set()

    def _take(self, payload: bytes) -> Heard:
        frame = self._intake.bring(self._line.exchange, self._line.channel.name, self.name, payload, self._sequence)
        self._sequence += 1
        counts = self._counts
        counts.frames += 1
        self._liveness.message(self._now_s(), frame.received_time // 1000, self._intake.position)
        heard = self._conversation.hear(payload)
        if heard.data:
            counts.data += 1
            counts.last_data_us = frame.received_time
        if heard.confirmed or heard.refused:
            self._hear_answers(heard)
        if heard.closing:
            _log.info("connection_will_close", **self._words(), reason=heard.closing)
            self.retiring.set()
        return heard

    def _hear_answers(self, heard: Heard) -> None:
        words = dict(heard.refused)
        for topic in self._subscribing.hear(heard, self._now_s(), self._intake.next_ms()):
            self._counts.refused += 1
            _log.warning("subscription_refused", **self._words(), topic=topic, reason=words[topic])
        self._see()
        self._wake.set()

    def _see(self) -> None:
        """Look whether all is answered, and tell."""
        if self._subscribing.is_settled and not self.ready.is_set():
            _log.info("subscriptions_confirmed", **self._words(), topics=len(self.confirmed))
            self.ready.set()
        self._changed()

    async def _keep(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> str:
        """Say what is to be said, in time, until something is wrong."""
        patience, channel = self._line.patience, self._line.channel
        now_s = self._now_s()
        retire_s = None if self._age_s is None else now_s + self._age_s
        ping_s, own_ping_s = now_s, now_s + channel.ping_every_s
        reason = await self._send(socket, self._conversation.open())
        if self.is_complete:
            # There was nothing to ask for.
            self._see()
        while not reason and not self._goodbye:
            self._wake.clear()
            now_s = self._now_s()
            reason = self._wrong(now_s)
            if reason:
                break
            if now_s >= ping_s:
                # All connections at the same moments, shortly before the heartbeats.
                ping_s = now_s - now_s % patience.proof_interval_s + patience.proof_interval_s
                reason = await self._attempt(socket.ping(self._liveness.ping(self._intake.now_ms())))
            if not reason and now_s >= own_ping_s:
                mute_s = _MUTE_PING_S if self._liveness.is_mute else channel.ping_every_s
                own_ping_s = now_s + min(channel.ping_every_s, mute_s)
                self._number += 1
                ping = self._conversation.ping(self._number, self._intake.now_ms())
                reason = await self._send(socket, () if ping is None else (ping,))
            if not reason:
                reason = await self._subscribe(socket)
            if retire_s is not None and now_s >= retire_s:
                retire_s = None
                self.retiring.set()
            until_s = min(ping_s, own_ping_s, self._subscribing.next_s, retire_s or ping_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, until_s - self._now_s())):
                    await self._wake.wait()
        return reason

    def _wrong(self, now_s: float) -> str:
        """Return why the connection must end, if it must; notice when it stalls or wakes."""
        if self._is_waiting:
            return ""
        is_stalled = self._liveness.is_stalled(now_s)
        if is_stalled is not self.is_stalled:
            self._changed()
            self.is_stalled = is_stalled
            self.awake_ms = self._intake.now_ms()
            if is_stalled:
                _log.warning("connection_stalled", **self._words())
            else:
                _log.info("connection_awake", **self._words())
            self._changed()
        if self._liveness.is_dead(now_s):
            return f"nothing came for {self._line.channel.silence_s:g} s"
        if self._subscribing.is_hopeless(now_s):
            return "no subscription was ever confirmed"
        return ""

    async def _subscribe(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> str:
        topics, repeated = self._subscribing.next_request(self._now_s())
        if not topics:
            return ""
        if repeated:
            self._counts.unconfirmed += repeated
            _log.warning("subscriptions_unconfirmed", **self._words(), topics=repeated)
        await self._pace.turn()
        self._number += 1
        return await self._send(socket, (self._conversation.subscribe(topics, self._number),))

    async def _send(self, socket: aiohttp.ClientWebSocketResponse[bool], outgoing: Sequence[Outgoing]) -> str:
        """Send; return what went wrong, nothing if nothing did."""
        for text in outgoing:
            sending = socket.send_str(text) if isinstance(text, str) else socket.send_bytes(text)
            reason = await self._attempt(sending)
            if reason:
                return reason
        return ""

    async def _attempt(self, sending: Awaitable[None]) -> str:
        try:
            async with asyncio.timeout(_SEND_S):
                await sending
        except TimeoutError:
            return f"the exchange has read nothing for {_SEND_S:g} s"
        except (aiohttp.ClientError, OSError) as error:
            return f"cannot send: {str(error) or type(error).__name__}"
        return ""

    def _reason_of_end(self, close_code: int | None, kind: WSMsgType, data: object, words: object) -> str:
        if kind is WSMsgType.ERROR and close_code == WSCloseCode.MESSAGE_TOO_BIG:
            self._counts.too_large += 1
            return f"a message is larger than {self._line.channel.limits.message_bytes} bytes"
        if kind is WSMsgType.ERROR:
            return f"not the WebSocket protocol: {data}"
        if kind is WSMsgType.CLOSE:
            return f"closed by the exchange: {data} {words or ''}".strip()
        return "closed without a goodbye"

    def _words(self) -> dict[str, object]:
        return {"exchange": self._line.exchange, "channel": self._line.channel.name, "connection": self.name}
