"""An event loop whose time is a market's: it stands still while anything is under way, and then jumps to what is next.

Servers and clients that share the loop talk over real sockets. What one of them writes is given to the system only
when nothing else is under way, and time moves on only when all of it has been read at the other end and everybody
has done what it caused. So whatever reads this clock and these sockets does the same things in the same order at
the same times in every run, however quick or busy the machine is, and hours without work take no time.

All connections of the loop must have both their ends in it: it cannot see what another process still has to read.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

# Sockets of one machine need microseconds. What takes so long is broken.
_PATIENCE_S: Final = 30.0
_LOOK_S: Final = 0.05
# So many times the clock jumps without a look at what is outside.
_UNASKED: Final = 32

# The address of one end and that of the other.
_Way = tuple[object, object]


class LockStepError(RuntimeError):
    """Something that was sent is not read: the clock would stand still for ever."""


class LockStepLoop(asyncio.SelectorEventLoop):
    """An event loop with a clock of its own, which begins at `start_ms` (milliseconds since 1970)."""

    def __init__(self, start_ms: int) -> None:
        self._start_ns = start_ms * 1_000_000
        self._passed_us = 0
        self._under_way = _UnderWay()
        self._turn = asyncio.Lock()
        super().__init__(_LockStepSelector(self._under_way, self._pass))

    def time(self) -> float:
        """Return how many seconds, in whole microseconds, have passed since the beginning."""
        return self._passed_us / 1e6

    def now_ns(self) -> int:
        """Return the market's time in nanoseconds since 1970."""
        return self._start_ns + self._passed_us * 1_000

    async def settle(self) -> None:
        """Return when nothing is under way any more; a microsecond has passed then."""
        await asyncio.sleep(1e-6)

    # Every form of the arguments is handed on.
    async def create_server(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        *arguments: Any,  # noqa: ANN401
        **named: Any,  # noqa: ANN401
    ) -> asyncio.Server:
        """Listen, as any loop does."""
        return await super().create_server(self._seen(protocol_factory), *arguments, **named)

    async def create_connection(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        *arguments: Any,  # noqa: ANN401
        **named: Any,  # noqa: ANN401
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect, as any loop does."""
        _, end = await super().create_connection(self._seen(protocol_factory), *arguments, **named)
        return end.transport, end.protocol

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:  # noqa: ANN401 - asyncio's
        """Connect one socket after the other, so that they are accepted in this order."""
        async with self._turn:
            self._under_way.connecting += 1
            try:
                await super().sock_connect(sock, address)
            finally:
                self._under_way.connecting -= 1

    def _seen(self, protocol_factory: Callable[[], asyncio.BaseProtocol]) -> Callable[[], _End]:
        return lambda: _End(cast("asyncio.Protocol", protocol_factory()), self._under_way)

    def _pass(self, seconds: float) -> None:
        # Upwards, so that who waits for a fraction of a microsecond does not wait for ever.
        self._passed_us += math.ceil(seconds * 1e6)


class _UnderWay:
    """What was written and is not read yet, and connections of which only one end knows."""

    def __init__(self) -> None:
        self.connecting = 0
        # What waits to be given to the system, in order.
        self.waiting: deque[tuple[_Transport, Callable[[], None]]] = deque()
        # Bytes by the end that is to read them.
        self._unread: dict[_Way, int] = {}
        self._open: set[_Way] = set()
        self._gone: set[_Way] = set()
        # Open ends whose other end is gone, or not there yet.
        self._alone: set[_Way] = set()
        # Ends that do not want to read now.
        self._pausing: set[_Way] = set()

    @property
    def is_moving(self) -> bool:
        """Tell whether somebody will hear of something without any time passing."""
        return bool(
            self.connecting
            or not self._alone <= self._pausing
            or (self._unread and not self._unread.keys() <= self._pausing)
        )

    def release(self) -> None:
        """Give the next write to the system."""
        _, act = self.waiting.popleft()
        act()

    def opened(self, way: _Way) -> None:
        other = way[1], way[0]
        self._gone.discard(way)
        self._open.add(way)
        if other in self._open:
            self._alone.discard(other)
        else:
            self._alone.add(way)

    def closed(self, way: _Way) -> None:
        other = way[1], way[0]
        self._open.discard(way)
        self._alone.discard(way)
        self._pausing.discard(way)
        self._unread.pop(way, None)
        if other in self._open:
            self._alone.add(other)
            self._gone.add(way)
        else:
            self._gone.discard(other)

    def written(self, way: _Way, count: int) -> None:
        """Note bytes from the end `way`, unless nobody is left to read them."""
        other = way[1], way[0]
        if way in self._open and other not in self._gone:
            self._unread[other] = self._unread.get(other, 0) + count

    def read(self, way: _Way, count: int) -> None:
        left = self._unread.get(way, 0) - count
        if left:
            self._unread[way] = left
        else:
            self._unread.pop(way, None)

    def pause(self, way: _Way) -> None:
        self._pausing.add(way)

    def resume(self, way: _Way) -> None:
        self._pausing.discard(way)


class _LockStepSelector(selectors.DefaultSelector):
    """A selector that never waits for time: it lets it pass."""

    def __init__(self, under_way: _UnderWay, let_pass: Callable[[float], None]) -> None:
        super().__init__()
        self._under_way = under_way
        self._let_pass = let_pass
        self._unasked = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what sockets have to say, or nothing once `timeout` seconds of the loop's clock have passed."""
        if timeout is not None and timeout <= 0:
            # There is still something to do about what came before.
            return []
        under_way = self._under_way
        until_s = 0.0
        while under_way.is_moving:
            events = super().select(_LOOK_S if until_s else 0)
            if events:
                return sorted(events, key=lambda event: event[0].fd)
            until_s = until_s or time.monotonic() + _PATIENCE_S
            if time.monotonic() > until_s:
                raise LockStepError(f"what was sent is not read within {_PATIENCE_S:g} s")
        # No socket has anything to say now, so none is asked: every question costs a change of threads where another
        # one is busy.
        if under_way.waiting:
            under_way.release()
            # What was written is there already, most times; a connection that was closed has something to do now.
            return super().select(0)
        self._unasked += 1
        if timeout is None or self._unasked >= _UNASKED:
            # Signals and other threads come by a socket, too.
            self._unasked = 0
            events = super().select(timeout if timeout is None else 0)
            if events or timeout is None:
                return events
        self._let_pass(timeout)
        return []


class _End(asyncio.Protocol):
    """One end of a connection: tells what it reads, and hands everything on to `protocol`."""

    def __init__(self, protocol: asyncio.Protocol, under_way: _UnderWay) -> None:
        self.protocol = protocol
        self._under_way = under_way
        self._way: _Way = (None, None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._way = (transport.get_extra_info("sockname"), transport.get_extra_info("peername"))
        self._under_way.opened(self._way)
        self.transport = _Transport(cast("asyncio.Transport", transport), self.protocol, self._way, self._under_way)
        self.protocol.connection_made(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._under_way.closed(self._way)
        self.protocol.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._under_way.read(self._way, len(data))
        self.protocol.data_received(data)

    def eof_received(self) -> bool | None:
        return self.protocol.eof_received()

    def pause_writing(self) -> None:
        self.protocol.pause_writing()

    def resume_writing(self) -> None:
        self.protocol.resume_writing()


class _Transport(asyncio.Transport):
    """Writes and closes when it is its turn, in the order of the calls."""

    def __init__(
        self, transport: asyncio.Transport, protocol: asyncio.Protocol, way: _Way, under_way: _UnderWay
    ) -> None:
        super().__init__()
        self._transport, self._protocol, self._way, self._under_way = transport, protocol, way, under_way
        self._is_closing = False
        self._waiting_bytes = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_closing:
            return
        copied = bytes(data)
        self._waiting_bytes += len(copied)
        self._under_way.waiting.append((self, lambda: self._write(copied)))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._under_way.waiting.append((self, self._transport.close))

    def abort(self) -> None:
        self._is_closing = True
        waiting = [one for one in self._under_way.waiting if one[0] is not self]
        self._under_way.waiting.clear()
        self._under_way.waiting.extend(waiting)
        self._transport.abort()

    def is_closing(self) -> bool:
        return self._is_closing or self._transport.is_closing()

    def pause_reading(self) -> None:
        self._under_way.pause(self._way)
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._under_way.resume(self._way)
        self._transport.resume_reading()

    def is_reading(self) -> bool:
        return self._transport.is_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - asyncio's
        return self._transport.get_extra_info(name, default)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def get_write_buffer_size(self) -> int:
        return self._waiting_bytes + self._transport.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._transport.set_write_buffer_limits(high, low)

    def _write(self, data: bytes) -> None:
        self._waiting_bytes -= len(data)
        self._under_way.written(self._way, len(data))
        self._transport.write(data)
