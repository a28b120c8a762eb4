"""The loop whose clock stands still while anything is under way, over real sockets."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from pipeline.embedded import lockstep
from pipeline.embedded.lockstep import LockStepError, LockStepLoop

HOST = "127.0.0.1"
START_MS = 1_789_538_400_000


def run(main):
    with asyncio.Runner(loop_factory=lambda: LockStepLoop(START_MS)) as runner:
        return runner.run(main())


class Hearing(asyncio.Protocol):
    """Notes what it hears, and when by the loop's clock."""

    def __init__(self, heard):
        self.heard = heard
        self.is_lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.heard.append((asyncio.get_running_loop().time(), data))

    def connection_lost(self, _error):
        self.is_lost.set_result(asyncio.get_running_loop().time())


class Net:
    """A server and its clients in one loop; `heard` is what any of them heard, with the times."""

    def __init__(self):
        self.heard = []
        self.served, self.clients = [], []

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: self._end(self.served), HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for end in (*self.served, *self.clients):
            end.transport.abort()
            await end.is_lost

    async def connect(self, port=None):
        loop = asyncio.get_running_loop()
        _, end = await loop.create_connection(lambda: self._end(self.clients), HOST, port or self.port)
        return end

    def _end(self, ends):
        ends.append(Hearing(self.heard))
        return ends[-1]


def test_hours_without_work_take_no_time():
    async def main():
        loop = asyncio.get_running_loop()
        woken = []

        async def sleep(seconds):
            await asyncio.sleep(seconds)
            woken.append((seconds, loop.time()))

        await asyncio.gather(*(sleep(hours * 3600) for hours in (100, 1, 10)))
        return woken, loop.now_ns()

    began = time.monotonic()
    woken, now_ns = run(main)
    assert time.monotonic() - began < 60
    assert woken == [(hours * 3600, hours * 3600) for hours in (1, 10, 100)]
    assert now_ns == (START_MS + 100 * 3_600_000) * 1_000_000


def test_a_message_takes_no_time_however_large_it_is():
    async def main():
        async with Net() as net:
            end = await net.connect()
            ticks = []

            async def tick():
                while True:
                    ticks.append(asyncio.get_running_loop().time())
                    await asyncio.sleep(0.001)

            await asyncio.sleep(5)
            end.transport.write(b"x" * 3_000_000)
            ticking = asyncio.create_task(tick())
            await asyncio.sleep(0.001)
            ticking.cancel()
            return net.heard, ticks

    heard, ticks = run(main)
    assert sum(len(data) for _, data in heard) == 3_000_000
    # More than a socket holds, so it came in several pieces; the clock stood still for all of them.
    assert len(heard) > 1
    assert {at for at, _ in heard} == {5.0}
    assert ticks[:2] in ([5.0], [5.0, 5.001])


def test_messages_of_many_connections_are_read_in_the_order_in_which_they_were_written():
    async def main():
        async with Net() as net:
            for _ in range(20):
                await net.connect()
            await asyncio.sleep(0)
            written = []
            for turn in range(30):
                for number in range(20):
                    # To and fro, with no order that the system could guess.
                    side = net.clients if (turn + number) % 3 else net.served
                    data = f"{turn}/{number}".encode()
                    side[(number * 7 + turn) % 20].transport.write(data)
                    written.append(data)
            await asyncio.sleep(0.001)
            return written, [data for _, data in net.heard]

    written, heard = run(main)
    assert heard == written


def test_who_does_not_want_to_read_stops_nobody():
    async def main():
        async with Net() as net:
            end = await net.connect()
            await asyncio.sleep(1)
            net.served[0].transport.pause_reading()
            end.transport.write(b"later")
            await asyncio.sleep(100)
            before = list(net.heard)
            net.served[0].transport.resume_reading()
            await asyncio.sleep(1)
            return before, net.heard, asyncio.get_running_loop().time()

    assert run(main) == ([], [(101.0, b"later")], 102.0)


@pytest.mark.parametrize("ending", ["close", "abort"])
def test_both_ends_hear_of_the_end_at_once(ending):
    async def main():
        async with Net() as net:
            end = await net.connect()
            await asyncio.sleep(2)
            end.transport.write(b"last words")
            getattr(end.transport, ending)()
            assert end.transport.is_closing()
            # Nobody is there to read this.
            net.served[0].transport.write(b"too late")
            lost = await net.served[0].is_lost, await end.is_lost
            await asyncio.sleep(3)
            return [data for _, data in net.heard], lost, asyncio.get_running_loop().time()

    heard, lost, ended = run(main)
    assert heard == ([b"last words"] if ending == "close" else [])
    assert lost == (2.0, 2.0)
    assert ended == 5.0


def test_an_end_outside_the_loop_is_an_error_and_no_endless_wait(monkeypatch):
    monkeypatch.setattr(lockstep, "_PATIENCE_S", 0.2)
    with socket.create_server((HOST, 0)) as outside:

        async def main():
            async with Net() as net:
                await net.connect(outside.getsockname()[1])
                await asyncio.sleep(1)

        with pytest.raises(LockStepError, match="not read"):
            run(main)
