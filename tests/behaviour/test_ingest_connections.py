"""Connections over real sockets against an exchange that misbehaves: what arrives, what is covered, what is repeated.

Whatever is said to be covered is read as the worker reads it, and compared with what the exchange sent and to whom.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import aiohttp
import pytest
from loopback_exchange import LoopbackExchange, channel

from pipeline.feeds.live import Live, Metadata
from pipeline.feeds.statements import STATEMENTS, map_statements
from pipeline.ingest.exchange_collector import Choice, ExchangeCollector
from pipeline.ingest.intake import Intake
from pipeline.records import Heartbeat, Instrument, Subscription
from pipeline.settings import ExchangeSettings, Settings
from pipeline.windows.channels import Channel as Heard
from pipeline.windows.channels import hear

QUICK = {
    "proof_interval_s": 0.05,
    "stall_s": 0.5,
    "confirm_s": 0.2,
    "retry_first_s": 0.02,
    "retry_most_s": 0.2,
    "refused_again_s": 0.5,
}


@dataclass
class Kept:
    """An outlet that keeps everything in memory."""

    frames: list = field(default_factory=list)
    left: list = field(default_factory=list)
    has_room: bool = True
    position: int = 0
    unsafe: int = 0

    @property
    def safe_position(self):
        return self.position - self.unsafe

    async def room(self):
        while not self.has_room:  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    def take(self, frame):
        self.position += 1
        self.frames.append(frame)

    def leave(self, *connection):
        self.left.append(connection)

    def data(self):
        said = [json.loads(frame.payload) for frame in self.frames if frame.channel != STATEMENTS]
        return [one for one in said if "data" in one]

    def statements(self, kind):
        frames = [frame for frame in self.frames if frame.channel == STATEMENTS]
        return [one for frame in frames for one in map_statements(frame) if isinstance(one, kind)]

    def beats(self):
        return self.statements(Heartbeat)

    def covered(self):
        """Return the covered times (ms, from and until) as the worker's clock reads the heartbeats."""
        spans = []
        before = 0
        for beat in self.beats():
            if beat.state == "up" and before:
                if spans and spans[-1][1] == before:
                    spans[-1] = (spans[-1][0], beat.time)
                else:
                    spans.append((before, beat.time))
            before = beat.time
        return spans

    def covered_ms(self):
        """Return the covered milliseconds as the fold counts them."""
        heard = Heard()
        for beat in self.beats():
            hear(heard, beat, 0, 30_000)
        return sum(minute.alive_ms for minute in heard.minutes.values())


@dataclass
class Rig:
    exchange: LoopbackExchange
    kept: Kept
    collector: ExchangeCollector

    @property
    def listening(self):
        return self.collector.listenings[0]

    async def until(self, predicate):
        """Return when it is so; the test's own limit ends what never becomes so."""
        while not predicate():  # noqa: ASYNC110 - a look at real sockets, as in `wait_until`
            await asyncio.sleep(0.005)

    async def until_up(self):
        await self.until(lambda: self.listening.is_up)

    async def proof(self):
        """Return when everything that happened before the call is proved and said."""
        now_ms = self.collector._intake.now_ms()
        await self.until(lambda: self.kept.covered() and self.kept.covered()[-1][1] > now_ms)


@asynccontextmanager
async def rig(
    *, tls=None, session=None, settings=None, exchange_settings=None, per_symbol=False, metadata=None, **changes
):
    """Run a collector against a loopback exchange; heartbeats are said every 20 ms."""
    async with LoopbackExchange(tls=tls) as exchange, aiohttp.ClientSession(**(session or {})) as client:
        settings = Settings(**{**QUICK, **(settings or {}), "exchanges": {"loop": exchange_settings or {}}})
        kept = Kept()
        live = Live((channel(exchange.url, per_symbol=per_symbol, **changes),), metadata)
        collector = ExchangeCollector("loop", live, Choice(), settings, Intake(kept), client, Random(5))

        async def beat():
            while True:
                collector.tick()
                await asyncio.sleep(0.02)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(collector.run()), group.create_task(beat())]
            yield Rig(exchange, kept, collector)
            for task in tasks:
                task.cancel()
        collector.tick()


def contracts(*symbols):
    return {
        symbol: Instrument("loop", symbol, f"{symbol}-USDT-PERP", symbol, "USDT", "USDT", "linear")
        for symbol in symbols
    }


def test_everything_arrives_in_order_under_one_connection_and_is_covered():
    async def scenario():
        async with rig() as one:
            await one.until_up()
            for number in range(50):
                await one.exchange.send("all", number=number)
            await one.until(lambda: len(one.kept.data()) == 50)
            await one.proof()
        return one

    one = asyncio.run(scenario())
    frames = [frame for frame in one.kept.frames if frame.channel == "trades"]
    assert [said["number"] for said in one.kept.data()] == list(range(50))
    assert {frame.connection for frame in frames} == {frames[0].connection}
    assert frames[0].connection.startswith("default/trades/")
    assert [frame.sequence for frame in frames] == list(range(len(frames)))
    times = [frame.received_time for frame in one.kept.frames]
    assert times == sorted(set(times))
    (span,) = one.kept.covered()
    data_times = [frame.received_time // 1000 for frame in frames if b'"data"' in frame.payload]
    assert span[0] <= data_times[0]
    assert data_times[-1] <= span[1]
    assert sum(beat.frames for beat in one.kept.beats()) == 50
    assert one.kept.beats()[-1].state == "down"
    assert one.kept.left == [("loop", "trades", frames[0].connection)]


def test_before_the_confirmation_nothing_is_covered():
    async def scenario():
        async with rig(settings={"confirm_s": 5.0}) as one:
            one.exchange.acknowledges = False
            await one.until(lambda: one.exchange.sockets and one.exchange.sockets[0].said)
            await asyncio.sleep(0.2)
        return one

    one = asyncio.run(scenario())
    assert one.kept.covered() == []
    assert {beat.state for beat in one.kept.beats()} == {"down"}


def test_before_all_contracts_are_known_nothing_is_covered_though_all_is_heard():
    async def scenario():
        async with rig(metadata=Metadata((), lambda _request, _answer: ())) as one:
            await one.until(lambda: len(one.kept.beats()) > 3)
            await one.until(lambda: one.exchange.sockets and one.exchange.sockets[0].topics)
            await one.exchange.send("all", number=1)
            await one.until(one.kept.data)
            one.collector.know(contracts("A"), is_whole=False)
            beats = len(one.kept.beats())
            await one.until(lambda: len(one.kept.beats()) > beats + 3)
            assert one.kept.covered() == []
            before_ms = one.collector._intake.now_ms()
            one.collector.know(contracts("A"))
            after_ms = one.collector._intake.next_ms()
            await one.proof()
            one.collector.know(contracts("A", "B"))
            await one.proof()
        return one, before_ms, after_ms

    one, before_ms, after_ms = asyncio.run(scenario())
    (span,) = one.kept.covered()
    assert before_ms < span[0] <= after_ms


def test_a_channel_of_contracts_is_covered_by_its_topics_alone():
    async def scenario():
        async with rig(metadata=Metadata((), lambda _request, _answer: ()), per_symbol=True) as one:
            one.collector.know(contracts("A"), is_whole=False)
            await one.until_up()
            await one.proof()
        return one

    assert asyncio.run(scenario()).kept.covered()


def test_a_subscription_without_an_answer_is_repeated():
    async def scenario():
        async with rig() as one:
            one.exchange.acknowledges = False
            await one.until(lambda: one.exchange.sockets and len(one.exchange.sockets[0].said) == 2)
            one.exchange.acknowledges = True
            await one.until_up()
            assert one.exchange.opened == 1
            assert one.listening.counts.unconfirmed >= 1

    asyncio.run(scenario())


def test_an_exchange_that_never_confirms_gets_another_connection():
    async def scenario():
        async with rig(settings={"confirm_s": 0.02}) as one:
            one.exchange.acknowledges = False
            await one.until(lambda: one.exchange.opened >= 3)
            assert one.listening.counts.lost >= 2
        return one

    assert asyncio.run(scenario()).kept.covered() == []


def test_one_refused_topic_of_a_request_does_not_take_the_others_along():
    async def scenario():
        async with rig(per_symbol=True) as one:
            one.exchange.refused.add("t.B")
            one.collector.know(contracts("A", "B", "C"))
            await one.until(lambda: one.listening.confirmed == 2)
            await one.until(lambda: one.listening.counts.refused == 2)
            one.exchange.refused.clear()
            await one.until(lambda: one.listening.confirmed == 3)
            assert one.exchange.opened == 1
        return one

    one = asyncio.run(scenario())
    states = [(said.symbol, said.state) for said in one.kept.statements(Subscription)]
    assert states[:3] == [("A", "down"), ("B", "down"), ("C", "down")]
    assert states[3:6] == [("A", "up"), ("C", "up"), ("B", "up")]


def test_a_cut_is_not_covered_and_what_was_sent_meanwhile_is_missing():
    async def scenario():
        async with rig(settings={"retry_first_s": 0.3, "retry_most_s": 0.3}) as one:
            await one.until_up()
            assert await one.exchange.send("all", number=0) == 1
            await one.proof()
            one.exchange.accepts = False
            cut_ms = one.collector._intake.now_ms()
            one.exchange.drop()
            await one.until(lambda: not one.listening.is_up)
            assert await one.exchange.send("all", number=1) == 0
            one.exchange.accepts = True
            accepted_ms = one.collector._intake.now_ms()
            await one.until_up()
            back_ms = one.collector._intake.now_ms()
            assert await one.exchange.send("all", number=2) == 1
            await one.until(lambda: len(one.kept.data()) == 2)
            await one.proof()
        return one, cut_ms, accepted_ms, back_ms

    one, cut_ms, accepted_ms, back_ms = asyncio.run(scenario())
    assert [said["number"] for said in one.kept.data()] == [0, 2]
    first, second = one.kept.covered()
    # Covered up to the last proof before the cut, and again from the confirmation on.
    assert cut_ms - 500 < first[1] <= cut_ms
    assert accepted_ms <= second[0] <= back_ms
    assert one.kept.covered_ms() == first[1] - first[0] + second[1] - second[0]


def test_a_network_that_swallows_everything_covers_nothing_from_its_last_sign_of_life_on():
    async def scenario():
        async with rig(silence_s=1.0) as one:
            await one.until_up()
            await one.proof()
            one.exchange.answers_pings = False
            dead_ms = one.collector._intake.now_ms()
            await one.until(lambda: not one.listening.is_up)
            assert one.exchange.opened == 1
            # The stalled connection is given up after `silence_s`, and another is made.
            await one.until(lambda: one.exchange.opened == 2)
            one.exchange.answers_pings = True
            await one.proof()
        return one, dead_ms

    one, dead_ms = asyncio.run(scenario())
    assert one.kept.covered()[0][1] <= dead_ms
    assert one.listening.counts.lost == 1


def test_a_stall_that_ends_is_a_hole_and_no_reason_to_connect_again():
    async def scenario():
        async with rig() as one:
            await one.until_up()
            await one.proof()
            one.exchange.reads = False
            await one.until(lambda: not one.listening.is_up)
            one.exchange.reads = True
            await one.until_up()
            await one.proof()
            assert one.exchange.opened == 1
        return one

    assert len(asyncio.run(scenario()).kept.covered()) == 2


def test_a_connection_is_replaced_before_its_age_without_a_gap_and_without_a_loss():
    async def scenario():
        async with rig(limits={"connection_age_s": 0.6}) as one:
            await one.until_up()
            number = 0
            while one.exchange.opened < 4:
                # Sent to all who listen; the identity of real events merges what two of them bring.
                assert await one.exchange.send("all", number=number) >= 1
                number += 1
                await asyncio.sleep(0.005)
            await one.proof()
            assert len(one.exchange.sockets) <= 2
        return one, number

    one, number = asyncio.run(scenario())
    assert len(one.kept.covered()) == 1
    assert {said["number"] for said in one.kept.data()} == set(range(number))
    assert one.listening.counts.lost == 0


def test_no_new_connection_is_trusted_before_it_is_confirmed():
    async def scenario():
        async with rig(limits={"connection_age_s": 0.4}, settings={"confirm_s": 60}) as one:
            await one.until_up()
            one.exchange.acknowledges = False
            await one.until(lambda: one.exchange.opened == 2)
            await asyncio.sleep(0.3)
            # The old one still stands and covers.
            assert await one.exchange.send("all", number=1) == 1
            await one.proof()
            assert len(one.exchange.sockets) == 2
        return one

    assert len(asyncio.run(scenario()).kept.covered()) == 1


def test_an_exchange_that_announces_its_end_is_left_in_time():
    async def scenario():
        async with rig() as one:
            await one.until_up()
            await one.exchange.sockets[0].response.send_str('{"bye": "maintenance"}')
            await one.until(lambda: one.exchange.opened == 2 and len(one.exchange.sockets) == 1)
            await one.proof()
        return one

    assert len(asyncio.run(scenario()).kept.covered()) == 1


def test_a_message_that_is_too_large_ends_the_connection_and_is_counted():
    async def scenario():
        async with rig(limits={"message_bytes": 10_000}) as one:
            await one.until_up()
            await one.exchange.send("all", text="x" * 20_000)
            await one.until(lambda: one.exchange.opened == 2)
            await one.until_up()
            await one.exchange.send("all", text="x" * 5_000)
            await one.until(one.kept.data)
            assert one.listening.counts.too_large == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "bytes_", [b"\x81\x7e\x10", b"\xff\xff\xff\xff", b"\x83\x02ab", b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff"]
)
def test_half_frames_and_rubbish_end_the_connection_and_nothing_else(bytes_):
    async def scenario():
        async with rig() as one:
            await one.until_up()
            first = one.exchange.sockets[0]
            first.send_raw(bytes_)
            await asyncio.sleep(0.02)
            first.transport.abort()
            await one.until(lambda: one.exchange.opened == 2)
            await one.until_up()
            await one.exchange.send("all", number=1)
            await one.until(one.kept.data)

    asyncio.run(scenario())


def test_what_is_no_text_is_kept_as_it_came():
    async def scenario():
        async with rig() as one:
            await one.until_up()
            await one.exchange.sockets[0].response.send_bytes(b"\x1f\x8b\x00\xff")
            one.exchange.sockets[0].send_raw(b"\x81\x02\xc3\x28")
            await one.until(lambda: len([f for f in one.kept.frames if f.channel == "trades"]) == 3)
        return one

    frames = [frame for frame in asyncio.run(scenario()).kept.frames if frame.channel == "trades"]
    assert [frame.payload for frame in frames[1:]] == [b"\x1f\x8b\x00\xff", b"\xc3\x28"]


def test_pings_are_answered():
    async def scenario():
        async with rig() as one:
            await one.until_up()
            await one.exchange.sockets[0].response.send_str('{"ping": 77}')
            await one.until(lambda: {"pong": 77} in one.exchange.sockets[0].said)

    asyncio.run(scenario())


def test_the_exchange_s_own_ping_is_sent_in_time():
    async def scenario():
        async with rig(ping_every_s=0.05) as one:
            await one.until_up()
            await one.until(lambda: sum("ping" in said for said in one.exchange.sockets[0].said) >= 3)
            numbers = [said.get("number", said.get("ping")) for said in one.exchange.sockets[0].said]
            assert numbers == list(range(1, len(numbers) + 1))

    asyncio.run(scenario())


def test_topics_are_spread_over_connections_and_each_is_covered_by_its_own():
    async def scenario():
        async with rig(per_symbol=True, limits={"topics_per_connection": 2, "topics_per_request": 1}) as one:
            one.collector.know(contracts("A", "B", "C", "D", "E"))
            await one.until(lambda: one.listening.confirmed == 5)
            assert one.exchange.opened == 3
            await one.proof()
            one.exchange.accepts = False
            victim = next(socket for socket in one.exchange.sockets if "t.C" in socket.topics)
            victim.transport.abort()
            await one.until(lambda: one.listening.confirmed == 3)
            await one.proof()
            assert one.listening.is_up
            one.exchange.accepts = True
            await one.until(lambda: one.listening.confirmed == 5)
        return one

    one = asyncio.run(scenario())
    by_symbol = {}
    for said in one.kept.statements(Subscription):
        by_symbol.setdefault(said.symbol, []).append((said.state, said.time))
    assert {symbol: [state for state, _ in said] for symbol, said in by_symbol.items()} == {
        **{symbol: ["down", "up", "down"] for symbol in "ABE"},
        **{symbol: ["down", "up", "down", "up", "down"] for symbol in "CD"},
    }
    for said in by_symbol.values():
        assert [time for _, time in said] == sorted(time for _, time in said)
    # The channel as a whole was never lost.
    assert len(one.kept.covered()) == 1


def test_a_contract_that_loses_its_connection_is_down_before_the_clock_passes():
    async def scenario():
        async with rig(per_symbol=True, limits={"topics_per_connection": 1}) as one:
            one.collector.know(contracts("A", "B"))
            await one.until(lambda: one.listening.confirmed == 2)
            await one.proof()
            next(socket for socket in one.exchange.sockets if "t.A" in socket.topics).transport.abort()
            await one.until(lambda: one.exchange.opened == 3)
        return one

    one = asyncio.run(scenario())
    clock = 0
    for frame in one.kept.frames:
        if frame.channel == STATEMENTS:
            for said in map_statements(frame):
                if isinstance(said, Heartbeat):
                    clock = max(clock, said.time) if said.state == "up" else clock
                elif said.state == "down" and clock:
                    assert said.time >= clock


def test_new_listings_are_subscribed_and_delisted_ones_left_without_another_connection():
    async def scenario():
        async with rig(per_symbol=True) as one:
            one.collector.know(contracts("A", "B"))
            await one.until(lambda: one.listening.confirmed == 2)
            one.collector.know(contracts("B", "NEW"))
            await one.until(lambda: "t.NEW" in one.exchange.sockets[0].topics)
            await one.until(lambda: one.listening.confirmed == 2)
            assert await one.exchange.send("t.NEW", number=1) == 1
            await one.until(one.kept.data)
            assert one.exchange.opened == 1
            # After a cut only what is listed is asked for.
            one.exchange.drop()
            await one.until(lambda: one.exchange.sockets and len(one.exchange.sockets[0].topics) == 2)
            assert sorted(one.exchange.sockets[0].topics) == ["t.B", "t.NEW"]
        return one

    said = [(one.symbol, one.state) for one in asyncio.run(scenario()).kept.statements(Subscription)]
    assert said[:4] == [("A", "down"), ("B", "down"), ("A", "up"), ("B", "up")]
    assert said[4:7] == [("NEW", "down"), ("A", "down"), ("NEW", "up")]


def test_without_contracts_a_channel_of_contracts_waits():
    async def scenario():
        async with rig(per_symbol=True) as one:
            await one.until(lambda: len(one.kept.beats()) > 3)
            assert one.exchange.opened == 0
        return one

    assert {beat.state for beat in asyncio.run(scenario()).kept.beats()} == {"down"}


def test_a_flood_waits_in_the_exchange_while_there_is_no_room():
    async def scenario():
        async with rig() as one:
            await one.proof()
            one.kept.has_room = False
            sent = 0
            socket = one.exchange.sockets[0]
            payload = json.dumps({"data": "all", "text": "x" * 1000})
            while True:
                try:
                    async with asyncio.timeout(0.5):
                        await socket.response.send_str(payload)
                except TimeoutError:
                    break
                sent += 1
            taken = len(one.kept.data())
            # The buffers of two sockets and a little of ours.
            assert taken <= 1
            assert sent * 1000 < 40_000_000
            one.kept.has_room = True
            await one.until(lambda: len(one.kept.data()) >= sent)
            await one.proof()
            assert one.listening.is_up
            assert one.exchange.opened == 1
        return one

    assert len(asyncio.run(scenario()).kept.covered()) == 1


def test_frames_that_are_lost_on_their_way_are_not_covered():
    async def scenario():
        async with rig() as one:
            await one.until_up()
            await one.proof()
            kept_ms = one.kept.covered()[-1][1] + 3
            one.collector.lose(kept_ms)
            await one.until(lambda: not one.listening.is_up)
            await asyncio.sleep(0.1)
            again_ms = one.collector._intake.now_ms()
            one.collector.regain(again_ms)
            await one.until_up()
            await one.proof()
        return one, kept_ms, again_ms

    one, kept_ms, again_ms = asyncio.run(scenario())
    first, second = one.kept.covered()
    assert first[1] <= kept_ms
    assert second[0] == again_ms


def test_what_a_kill_could_still_lose_is_not_covered():
    async def scenario():
        async with rig() as one:
            await one.proof()
            one.kept.unsafe = 10**9
            unsafe_ms = one.collector._intake.now_ms()
            await one.exchange.send("all", number=1)
            await one.until(one.kept.data)
            await asyncio.sleep(0.2)
            assert one.kept.covered()[-1][1] <= unsafe_ms
            one.kept.unsafe = 0
            await one.proof()
        return one

    assert len(asyncio.run(scenario()).kept.covered()) == 1


def test_a_fault_of_our_own_is_raised():
    async def scenario():
        async with rig() as one:
            await one.until_up()

            def broken(_frame):
                raise ZeroDivisionError

            one.collector._intake._take = broken
            await one.exchange.send("all", number=1)
            await asyncio.sleep(60)

    with pytest.raises(BaseExceptionGroup) as raised:
        asyncio.run(scenario())
    assert raised.group_contains(ZeroDivisionError)


def certificate(folder):
    """Return a server's context with a certificate of its own, and the certificate's path."""
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(folder / "key"), "-out", str(folder / "cert")]
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert", folder / "key")
    return context, folder / "cert"


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path):
    context, _ = certificate(tmp_path)

    async def scenario():
        async with rig(tls=context) as one:
            await one.until(lambda: one.listening.counts.lost >= 2)
            assert one.exchange.opened == 0

    asyncio.run(scenario())


def test_a_certificate_that_is_vouched_for_is_taken(tmp_path):
    context, path = certificate(tmp_path)

    async def scenario():
        trusting = ssl.create_default_context(cafile=str(path))
        async with rig(tls=context, session={"connector": aiohttp.TCPConnector(ssl=trusting)}) as one:
            await one.until_up()

    asyncio.run(scenario())


def test_another_address_and_a_proxy_are_used_where_they_are_set():
    asked, serving = [], []

    async def proxy(reader, writer):
        serving.append(asyncio.current_task())
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split(b"\r\n")[0])
        target = head.split()[1].rpartition(b"://")[2].partition(b"/")[0].decode()
        host, _, port = target.partition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        if head.startswith(b"CONNECT"):
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            far_writer.write(head)

        async def pipe(source, sink):
            try:
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            finally:
                sink.close()
                await sink.wait_closed()

        await asyncio.gather(pipe(reader, far_writer), pipe(far_reader, writer), return_exceptions=True)

    async def scenario():
        server = await asyncio.start_server(proxy, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with LoopbackExchange() as other:
            where = ExchangeSettings(urls={"TRADES": other.url}, proxy=f"http://127.0.0.1:{port}")
            async with rig(exchange_settings=where) as one:
                await one.until_up()
                assert other.opened == 1
                assert one.exchange.opened == 0
                assert await other.send("all", number=1) == 1
                await one.until(one.kept.data)
            await asyncio.gather(*serving)
        server.close()
        await server.wait_closed()

    asyncio.run(scenario())
    assert len(asked) >= 1


def test_a_topic_that_is_refused_for_good_does_not_keep_an_old_connection():
    async def scenario():
        async with rig(per_symbol=True, limits={"connection_age_s": 0.5}, settings={"refused_again_s": 60}) as one:
            one.exchange.refused.add("t.B")
            one.collector.know(contracts("A", "B"))
            await one.until(lambda: one.exchange.opened == 3)
            await one.proof()
        return one

    one = asyncio.run(scenario())
    assert len(one.kept.covered()) == 1
    assert one.listening.counts.lost == 0


def test_a_successor_with_less_does_not_take_over():
    async def scenario():
        async with rig(per_symbol=True, limits={"connection_age_s": 0.5}, settings={"refused_again_s": 60}) as one:
            one.collector.know(contracts("A", "B"))
            await one.until(lambda: one.listening.confirmed == 2)
            one.exchange.refused.add("t.B")
            await one.until(lambda: one.exchange.opened >= 4)
            first = one.exchange.sockets[0]
            assert sorted(first.topics) == ["t.A", "t.B"]
            one.exchange.refused.clear()
            await one.until(lambda: first not in one.exchange.sockets)
            await one.proof()
        return one

    one = asyncio.run(scenario())
    assert len(one.kept.covered()) == 1
    said = [(said.symbol, said.state) for said in one.kept.statements(Subscription)]
    assert said == [(symbol, state) for state in ("down", "up", "down") for symbol in "AB"]


def test_a_connection_whose_contracts_are_all_gone_covers_nothing_and_can_be_used_again():
    async def scenario():
        async with rig(per_symbol=True, limits={"connection_age_s": 0.5}) as one:
            one.collector.know(contracts("A"))
            await one.until_up()
            one.collector.know({})
            await one.until(lambda: not one.listening.is_up)
            await one.until(lambda: one.exchange.opened >= 3)
            one.collector.know(contracts("B"))
            await one.until_up()
            await one.until(lambda: len(one.exchange.sockets) == 1)

    asyncio.run(scenario())
