"""`liquidations ingest` as a process, from the sockets of an exchange to the topics of a real broker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import Future
from itertools import pairwise
from pathlib import Path

import pytest
from aiohttp import WSMsgType, web
from confluent_kafka import Consumer, TopicPartition
from conftest import wait_until

from pipeline.codec import Codec
from pipeline.feeds import Mapping
from pipeline.ingest.topic_admin import create_topics
from pipeline.records import DeadLetter, Heartbeat, Liquidation
from pipeline.settings import Settings
from pipeline.topics import DEAD_LETTERS, EVENTS, FRAMES, topic_name
from pipeline.windows.channels import Channel, hear

pytestmark = pytest.mark.timeout(240)

ROOT = Path(__file__).resolve().parents[2]
PARTITIONS = 3
CLOCK_AHEAD_MS = 7_000
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT")
INFO = {
    "symbols": [
        {
            "symbol": symbol,
            "pair": symbol,
            "contractType": "PERPETUAL",
            "status": "TRADING",
            "baseAsset": symbol.removesuffix("USDT"),
            "quoteAsset": "USDT",
            "marginAsset": "USDT",
        }
        for symbol in SYMBOLS
    ]
}


class Binance:
    """Binance's forced orders, contracts and time on loopback, in a thread. `ledger` is what was sent while whom."""

    def __init__(self):
        self.sockets: list[web.WebSocketResponse] = []
        self.ledger: list[tuple[int, int, int]] = []  # number, time of sending in ms, listeners
        self.opened = 0
        self.accepts = True
        self._number = 0
        self._started: Future[int] = Future()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        port = self._started.result(10)
        self.url = f"ws://127.0.0.1:{port}/ws"
        self.rest_url = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, *error):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def send(self, count):
        """Send orders to all who listen."""
        return self.call(self._send(count))

    def keep_sending(self, seconds, per_s):
        async def sending():
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                await self._send(max(1, per_s // 100))
                await asyncio.sleep(0.01)

        return asyncio.run_coroutine_threadsafe(sending(), self._loop)

    def drop(self):
        async def cut():
            for socket in self.sockets:
                socket._req.transport.abort()

        self.call(cut())

    async def _send(self, count):
        for _ in range(count):
            self._number += 1
            text = order(self._number, int(time.time() * 1000))
            listeners = 0
            for socket in list(self.sockets):
                try:
                    await socket.send_str(text)
                    listeners += 1
                except ConnectionError:
                    pass
            self.ledger.append((self._number, int(time.time() * 1000), listeners))

    def _run(self):
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._main())
        self._loop.close()

    async def _main(self):
        self._stop = asyncio.Event()
        app = web.Application()
        app.router.add_get("/ws", self._serve)
        app.router.add_get("/{market}/v1/exchangeInfo", self._list)
        app.router.add_get("/fapi/v1/time", self._tell_time)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._started.set_result(site._server.sockets[0].getsockname()[1])
        await self._stop.wait()
        await runner.cleanup()

    async def _list(self, request):
        return web.json_response(INFO if request.match_info["market"] == "fapi" else {"symbols": []})

    async def _tell_time(self, _request):
        return web.json_response({"serverTime": int(time.time() * 1000) + CLOCK_AHEAD_MS})

    async def _serve(self, request):
        if not self.accepts:
            return web.Response(status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.opened += 1
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    said = json.loads(message.data)
                    if said["method"] == "SUBSCRIBE":
                        await socket.send_str(json.dumps({"result": None, "id": said["id"]}))
                        if "!forceOrder@arr" in said["params"]:
                            self.sockets.append(socket)
                    else:
                        await socket.send_str(json.dumps({"result": ["!forceOrder@arr"], "id": said["id"]}))
        finally:
            if socket in self.sockets:
                self.sockets.remove(socket)
        return socket


def order(number, time_ms):
    symbol = SYMBOLS[number % len(SYMBOLS)]
    words = {"s": symbol, "S": "SELL", "o": "LIMIT", "f": "IOC", "q": str(number), "p": "10", "ap": "10"}
    words |= {"X": "FILLED", "l": str(number), "z": str(number), "T": time_ms}
    return json.dumps({"e": "forceOrder", "E": time_ms, "o": words})


class Ingest:
    """The process, and the topics that it writes to."""

    def __init__(self, broker, prefix, binance, folder, **settings):
        self.prefix = prefix
        self.broker = broker
        self.log_path = folder / "ingest.log"
        values = {
            "bootstrap_servers": broker,
            "topic_prefix": prefix,
            "partitions": PARTITIONS,
            "spool_dir": folder / "spool",
            "retry_first_s": 0.05,
            "retry_most_s": 0.2,
            "exchanges__binance__urls__forceOrder": binance.url,
            "exchanges__binance__rest_url": binance.rest_url,
            **settings,
        }
        self._environment = {**os.environ, **{f"LIQUIDATIONS_{name}": str(value) for name, value in values.items()}}
        create_topics(Settings(bootstrap_servers=broker, topic_prefix=prefix, partitions=PARTITIONS))

    def start(self, *words):
        command = [sys.executable, "-m", "pipeline", "ingest", "--exchange", "binance", "--no-market-data", *words]
        with self.log_path.open("ab") as log:
            return subprocess.Popen(command, env=self._environment, cwd=ROOT, stdout=log, stderr=log)

    def read(self):
        """Return the records of each topic and partition, up to the present end."""
        consumer = Consumer({"bootstrap.servers": self.broker, "group.id": "reader", "enable.partition.eof": True})
        wanted = [
            TopicPartition(topic_name(topic, self.prefix), partition, 0)
            for topic in (FRAMES, EVENTS, DEAD_LETTERS)
            for partition in range(topic.partitions or PARTITIONS)
        ]
        codec = Codec()
        found: dict[str, list[list]] = {
            topic.name: [[] for _ in range(topic.partitions or PARTITIONS)] for topic in (FRAMES, EVENTS, DEAD_LETTERS)
        }
        consumer.assign(wanted)
        ends = set()
        while len(ends) < len(wanted):
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error():
                ends.add((message.topic(), message.partition()))
                continue
            found[message.topic().removeprefix(self.prefix)][message.partition()].append(codec.decode(message.value()))
        consumer.close()
        return found


def frames_of(found):
    """Return the frames in the order in which they were worked on."""
    return sorted((frame for frames in found["frames"] for frame in frames), key=lambda frame: frame.received_time)


def numbers_of(found):
    """Return the numbers of the orders whose events are there, with how often."""
    return Counter(
        round(event.quantity) for events in found["events"] for event in events if type(event) is Liquidation
    )


def covered_by(events, collector="default"):
    """Return the covered times in one partition (ms, from and until), as the worker reads them."""
    channel = Channel()
    spans = []
    for event in events:
        if type(event) is Heartbeat and event.channel == "forceOrder" and event.collector == collector:
            before = channel.collectors.get(collector)
            if hear(channel, event, 0, 30_000) and event.state == "up" and event.time - before[0] <= 30_000:
                spans.append((before[0], event.time))
    return spans


@pytest.fixture
def binance():
    with Binance() as server:
        yield server


def test_messages_become_frames_and_events_and_a_replay_of_the_frames_gives_the_same(
    broker, topic_prefix, binance, tmp_path
):
    ingest = Ingest(broker, topic_prefix, binance, tmp_path)
    process = ingest.start("--collector", "here")
    try:
        wait_until(lambda: binance.sockets)
        binance.send(40)
        binance.drop()
        wait_until(lambda: binance.sockets)
        binance.send(40)
        time.sleep(2.5)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, ingest.log_path.read_text()
    found = ingest.read()
    frames = frames_of(found)
    assert numbers_of(found) == Counter({number: 1 for number, _, listeners in binance.ledger if listeners})
    times = [frame.received_time for frame in frames]
    assert len(times) == len(set(times))
    assert {frame.connection.partition("/")[0] for frame in frames} == {"here"}
    assert {"collector", "forceOrder", "instruments", "rest:exchangeInfo", "rest:time"} <= {
        frame.channel for frame in frames
    }
    texts = [frame.payload for frame in frames if frame.channel == "forceOrder"]
    for number, _, listeners in binance.ledger:
        assert sum(f'"q": "{number}"'.encode() in text for text in texts) == (1 if listeners else 0)

    # What the frames mean when they are mapped again, partition by partition and in order, is what is in the topics.
    mapping = Mapping({})
    again: dict[str, list] = {"events": [], "dead": []}
    for frame in frames:
        for mapped in mapping.map(frame):
            again["dead" if isinstance(mapped, DeadLetter) else "events"].append(mapped)
    assert again["dead"] == [letter for letters in found["dead-letters"] for letter in letters]
    beats = [event for event in again["events"] if isinstance(event, Heartbeat)]
    for events in found["events"]:
        assert [event for event in events if isinstance(event, Heartbeat)] == beats
        here = [event for event in events if not isinstance(event, Heartbeat)]
        keys = {event.asset for event in here}
        assert here == [event for event in again["events"] if not isinstance(event, Heartbeat) and event.asset in keys]

    # The clock of the exchange is seven seconds ahead, and the collector said goodbye.
    assert abs(next(beat.clock_offset_ms for beat in reversed(beats) if beat.clock_offset_ms) - CLOCK_AHEAD_MS) < 500
    assert [beat.state for beat in beats if beat.channel == "forceOrder"][-1] == "down"
    log = ingest.log_path.read_text()
    for words in ("connection_opened", "subscriptions_confirmed", "connection_lost", "stopped"):
        assert words in log


def test_what_a_killed_collector_missed_is_not_covered(broker, topic_prefix, binance, tmp_path):
    ingest = Ingest(broker, topic_prefix, binance, tmp_path)
    sending = binance.keep_sending(seconds=11.0, per_s=400)
    for life_s in (3.1, 2.45, 3.7):
        process = ingest.start()
        wait_until(lambda: binance.sockets)
        time.sleep(life_s)
        process.kill()
        process.wait()
        wait_until(lambda: not binance.sockets)
    sending.result()
    process = ingest.start()
    wait_until(lambda: binance.sockets)
    binance.send(20)
    time.sleep(2.0)
    process.terminate()
    assert process.wait(30) == 0
    found = ingest.read()
    there = numbers_of(found)
    missing = [time_ms for number, time_ms, _ in binance.ledger if number not in there]
    # Something was missed, most was not, and it was covered for most of the time.
    assert missing
    assert len(there) > 500
    for events in found["events"]:
        spans = covered_by(events)
        assert sum(until - since for since, until in spans) > 3 * 1_000
        assert [time_ms for time_ms in missing for since, until in spans if since < time_ms < until] == []


@pytest.mark.kafka
def test_a_broker_that_is_frozen_and_restarted_loses_nothing(own_kafka, topic_prefix, binance, tmp_path):
    kafka = own_kafka()
    ingest = Ingest(kafka.bootstrap_servers, topic_prefix, binance, tmp_path, spool_after_ms=300)
    process = ingest.start()
    wait_until(lambda: binance.sockets and "contracts_known" in ingest.log_path.read_text())
    # What is covered begins with the next whole millisecond.
    time.sleep(0.01)
    sending = binance.keep_sending(seconds=9.0, per_s=400)
    time.sleep(1.5)
    kafka.pause()
    time.sleep(2.0)
    kafka.resume()
    time.sleep(1.0)
    kafka.restart()
    sending.result()
    time.sleep(3.0)
    process.terminate()
    assert process.wait(60) == 0, ingest.log_path.read_text()
    found = ingest.read()
    assert numbers_of(found).keys() == {number for number, _, _ in binance.ledger}
    sent = [time_ms for _, time_ms, _ in binance.ledger]
    for events in found["events"]:
        spans = covered_by(events)
        # One connection, proved all the time.
        assert all(before[1] == after[0] for before, after in pairwise(spans))
        assert spans[0][0] <= sent[0]
        assert sent[-1] <= spans[-1][1]
    assert binance.opened == 1


def test_two_collectors_bring_the_same_events(broker, topic_prefix, binance, tmp_path):
    ingest = Ingest(broker, topic_prefix, binance, tmp_path)
    processes = [ingest.start("--collector", name) for name in ("one", "two")]
    wait_until(lambda: len(binance.sockets) == 2)
    binance.send(30)
    time.sleep(1.0)
    for process in processes:
        process.terminate()
        assert process.wait(30) == 0
    found = ingest.read()
    events = [event for events in found["events"] for event in events if isinstance(event, Liquidation)]
    assert Counter(Counter(event.event_id for event in events).values()) == {2: 30}
    assert {event.source.connection.partition("/")[0] for event in events} == {"one", "two"}


def liquidations(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_an_exchange_without_a_live_feed_is_one_clear_line():
    done = liquidations("ingest", "--exchange", "nosuch")
    assert done.returncode == 1
    assert done.stderr.startswith("liquidations: no live feed of nosuch; there are aster, binance")
    assert done.stderr.count("\n") == 1


def test_missing_topics_are_one_clear_line(tansu, topic_prefix, tmp_path):
    done = liquidations(
        "ingest",
        "--exchange",
        "okx",
        LIQUIDATIONS_BOOTSTRAP_SERVERS=tansu,
        LIQUIDATIONS_TOPIC_PREFIX=topic_prefix,
        LIQUIDATIONS_SPOOL_DIR=str(tmp_path),
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "run `liquidations topics` first" in done.stderr


@pytest.mark.kafka
def test_without_a_broker_it_collects_onto_the_disk_and_publishes_later(own_kafka, topic_prefix, binance, tmp_path):
    kafka = own_kafka()
    ingest = Ingest(kafka.bootstrap_servers, topic_prefix, binance, tmp_path, spool_after_ms=300)
    kafka.stop()
    process = ingest.start()
    wait_until(lambda: binance.sockets)
    binance.send(30)
    time.sleep(2.0)
    process.kill()
    process.wait()
    kafka.start()
    process = ingest.start()
    wait_until(lambda: binance.sockets)
    binance.send(30)
    time.sleep(2.0)
    process.terminate()
    assert process.wait(60) == 0, ingest.log_path.read_text()
    assert numbers_of(ingest.read()).keys() == {number for number, _, _ in binance.ledger}


def test_a_collector_s_name_is_part_of_a_connection_s_name():
    done = liquidations("ingest", "--collector", "a/b")
    assert done.returncode == 2
    assert "--collector" in done.stderr


def test_a_wrong_setting_of_an_exchange_is_named():
    done = liquidations("ingest", LIQUIDATIONS_EXCHANGES__OKX__PORXY="http://127.0.0.1:1")
    assert done.returncode == 1
    assert "exchanges.okx.porxy" in done.stderr
