"""Frames per second from loopback sockets through one ingest process onto Kafka, and how long a message takes.

A process of its own speaks Binance, Bybit and OKX: their contracts over REST (2,000 of them on Bybit, each a topic of
its own), and liquidations over their sockets in the proportions of a crash minute. *Rate*: it sends as fast as it is
read; the clock runs from the first message to the moment at which the broker has appended the last frame. *Delay*: at
an even rate, from the sending of a message, whose time is in it, to the moment at which ingest knows from the broker's
acknowledgement that its frame is safe (`acknowledged_ingest.py`, a process of its own, so that its notes cost the rate
nothing). *Memory*: resident, with all topics subscribed and after the flood.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from acknowledged_ingest import SENT, VARIABLE
from aiohttp import WSMsgType, web
from confluent_kafka import Consumer, TopicPartition
from places import (
    OUR_PYTHON,
    PARTITIONS,
    ROOT,
    BenchError,
    cpu_seconds,
    create_topics,
    fresh_folder,
    last_lines,
    resident_mb,
    running_broker,
)

from pipeline.topics import FRAMES, topic_name

NAMES = ("ingest_frames_per_s", "ingest_delay_p50_ms", "ingest_delay_p99_ms", "ingest_rss_mb_2000_symbols")
SYMBOLS = 2_000
FLOOD_FRAMES = 300_000
WARM_FRAMES = 60_000
EVEN_FRAMES = 40_000
EVEN_PER_S = 5_000
# Of a hundred messages in a simulated crash.
SHARES = {"binance": 37, "bybit": 42, "okx": 21}
PREFIX = "ingest-"
_CHUNK = 50


def take(wanted: frozenset[str], records: int, repeats: int) -> tuple[dict[str, float], Mapping[str, Any]]:  # noqa: ARG001
    """Take all measures once: the flood is long enough to even out what the machine does beside it."""
    folder = fresh_folder("ingest")
    with running_broker("kafka-ingest") as bootstrap:
        create_topics(bootstrap, PREFIX)
        exchange = _start([str(OUR_PYTHON), __file__, "--serve", str(folder / "port")], folder / "exchange.log")
        try:
            address = f"http://127.0.0.1:{_read_port(folder / 'port')}"
            delays = _delays(folder, bootstrap, address)
            with _ingest(folder / "ingest.log", bootstrap, address, ["-m", "pipeline"]) as pid:
                return _measure(bootstrap, address, pid, delays)
        finally:
            exchange.terminate()
            exchange.wait(20)


def _delays(folder: Path, bootstrap: str, address: str) -> list[int]:
    """Return for messages at an even rate how long each took until it was acknowledged (ms)."""
    noted = folder / "acknowledged"
    command = [str(Path(__file__).with_name("acknowledged_ingest.py"))]
    with _ingest(folder / "acknowledged.log", bootstrap, address, command, {VARIABLE: str(noted)}):
        # A broker that has just started is slow.
        _run(bootstrap, address, WARM_FRAMES, 0)
        _until(lambda: len(noted.read_bytes().splitlines()) == WARM_FRAMES)
        _run(bootstrap, address, EVEN_FRAMES, EVEN_PER_S)
        _until(lambda: len(noted.read_bytes().splitlines()) == WARM_FRAMES + EVEN_FRAMES)
    lines = [line.split() for line in noted.read_text().splitlines()[WARM_FRAMES:]]
    return [int(safe_ms) - int(sent_ms) for sent_ms, safe_ms in lines]


@contextmanager
def _ingest(
    log: Path, bootstrap: str, address: str, command: list[str], more: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Run an ingest that has everything subscribed, and give its process id."""
    process = _start([str(OUR_PYTHON), *command, "ingest", *_words()], log, bootstrap, address, more)
    try:
        _until(lambda: _ask(address, "/topics") >= SYMBOLS + 2)
        time.sleep(3.0)
        yield process.pid
    except BenchError as error:
        raise BenchError(f"{error}\n{last_lines(log)}") from error
    finally:
        process.terminate()
        process.wait(60)
        _ask(address, "/forget")


def _measure(bootstrap: str, address: str, pid: int, delays: list[int]) -> tuple[dict[str, float], Mapping[str, Any]]:
    rss_mb = resident_mb(pid)
    _run(bootstrap, address, WARM_FRAMES, 0)
    cpu_s = cpu_seconds(pid)
    begun_ms, ended_ms = _run(bootstrap, address, FLOOD_FRAMES, 0)
    cpu_s = cpu_seconds(pid) - cpu_s
    cuts = quantiles(delays, n=100)
    rate = FLOOD_FRAMES / ((ended_ms - begun_ms) / 1000)
    values = {
        "ingest_frames_per_s": rate,
        "ingest_delay_p50_ms": cuts[49],
        "ingest_delay_p99_ms": cuts[98],
        "ingest_rss_mb_2000_symbols": rss_mb,
    }
    how = {
        "flood_frames": FLOOD_FRAMES,
        "even_per_s": EVEN_PER_S,
        "cpu_us_per_frame": round(cpu_s / FLOOD_FRAMES * 1e6, 1),
        "rss_mb_after_flood": round(resident_mb(pid)),
        "largest_delay_ms": max(delays),
    }
    return values, {"ingest": how}


def _run(bootstrap: str, address: str, frames: int, per_s: int) -> tuple[int, int]:
    """Have `frames` messages sent; return when the first was sent and when the last was appended (ms)."""
    topic = topic_name(FRAMES, PREFIX)
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench", "log_level": 2})
    parts = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    consumer.assign([TopicPartition(topic, one.partition, consumer.get_watermark_offsets(one, 30)[1]) for one in parts])
    begun_ms = int(time.time() * 1000)
    _ask(address, f"/send?frames={frames}&per_s={per_s}")
    arrived = ended_ms = 0
    deadline = time.monotonic() + 600
    while arrived < frames:
        if time.monotonic() > deadline:
            raise BenchError(f"only {arrived} of {frames} frames arrived")
        for message in consumer.consume(5_000, 1.0):
            if SENT.search(message.value()):
                arrived += 1
                ended_ms = max(ended_ms, message.timestamp()[1])
    consumer.close()
    return begun_ms, ended_ms


def _words() -> list[str]:
    return ["--no-market-data", *(word for exchange in SHARES for word in ("--exchange", exchange))]


def _start(
    command: list[str], log: Path, bootstrap: str = "", address: str = "", more: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        **(more or {}),
        "LIQUIDATIONS_BOOTSTRAP_SERVERS": bootstrap,
        "LIQUIDATIONS_TOPIC_PREFIX": PREFIX,
        "LIQUIDATIONS_PARTITIONS": str(PARTITIONS),
        "LIQUIDATIONS_SPOOL_DIR": str(log.parent / "spool"),
    }
    for exchange in SHARES:
        key = f"LIQUIDATIONS_EXCHANGES__{exchange.upper()}__"
        environment[f"{key}REST_URL"] = address
        environment[f"{key}URLS__*"] = f"{address.replace('http', 'ws')}/ws/{exchange}"
    with log.open("wb") as output:
        return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=output, stderr=output)


def _read_port(path: Path) -> int:
    _until(path.is_file)
    return int(path.read_text())


def _ask(address: str, path: str) -> int:
    with urllib.request.urlopen(f"{address}{path}", timeout=30) as answer:  # noqa: S310 - loopback
        return int(answer.read())


def _until(predicate: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not predicate():
        if time.monotonic() > deadline:
            raise BenchError(f"not within a minute: {predicate}")
        time.sleep(0.05)


class _Exchanges:
    """The other side: answers, and sends ready-made WebSocket frames with the present time written into them."""

    def __init__(self) -> None:
        self._sockets: dict[str, list[asyncio.Transport]] = {exchange: [] for exchange in SHARES}
        self._topics = 0
        self._number = 0
        self._sending: asyncio.Task[None] | None = None

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/ws/{exchange}", self._listen)
        app.router.add_get("/topics", self._count)
        app.router.add_get("/send", self._send)
        app.router.add_get("/forget", self._forget)
        app.router.add_get("/{path:.*}", self._list)
        return app

    async def _listen(self, request: web.Request) -> web.WebSocketResponse:
        exchange = request.match_info["exchange"]
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is not WSMsgType.TEXT or not message.data.startswith("{"):
                continue
            said = json.loads(message.data)
            if said.get("method") == "SUBSCRIBE":
                self._topics += len(said["params"])
                await socket.send_json({"result": None, "id": said["id"]})
            elif said.get("op") == "subscribe" and exchange == "bybit":
                self._topics += len(said["args"])
                await socket.send_json({"success": True, "op": "subscribe", "req_id": said["req_id"]})
            elif said.get("op") == "subscribe":
                for argument in said["args"]:
                    self._topics += 1
                    await socket.send_json({"event": "subscribe", "arg": argument})
            else:
                continue
            if request.transport not in self._sockets[exchange]:
                self._sockets[exchange].append(request.transport)
        return socket

    async def _count(self, _request: web.Request) -> web.Response:
        return web.Response(text=str(self._topics))

    async def _forget(self, _request: web.Request) -> web.Response:
        """Begin anew: whoever was subscribed has gone."""
        self._sockets = {exchange: [] for exchange in SHARES}
        self._topics = 0
        return web.Response(text="0")

    async def _send(self, request: web.Request) -> web.Response:
        frames, per_s = int(request.query["frames"]), int(request.query["per_s"])
        self._sending = asyncio.create_task(self._flood(frames, per_s))
        return web.Response(text=str(frames))

    async def _list(self, request: web.Request) -> web.Response:
        path = request.path
        if path == "/v5/market/instruments-info" and request.query["category"] == "linear":
            rows = [_bybit_contract(f"A{number}USDT") for number in range(SYMBOLS)]
            return web.json_response({"retCode": 0, "result": {"list": rows, "nextPageCursor": ""}})
        if path.startswith("/v5/market/instruments-info"):
            return web.json_response({"retCode": 0, "result": {"list": [], "nextPageCursor": ""}})
        if path.startswith("/api/v5/public/instruments"):
            rows = [_okx_contract(f"A{number}") for number in range(200)] if request.query["instType"] == "SWAP" else []
            return web.json_response({"code": "0", "data": rows})
        if path.endswith("/exchangeInfo"):
            return web.json_response({"symbols": []})
        return web.Response(status=404)

    async def _flood(self, frames: int, per_s: int) -> None:
        order = [exchange for exchange, share in SHARES.items() for _ in range(share)]
        order = [order[index * 37 % len(order)] for index in range(len(order))]
        makers = {"binance": _binance, "bybit": _bybit, "okx": _okx}
        begun_s = time.monotonic()
        sent = 0
        while sent < frames:
            if per_s and (ahead_s := begun_s + sent / per_s - time.monotonic()) > 0:
                await asyncio.sleep(ahead_s)
            now_ms = int(time.time() * 1000)
            count = min(_CHUNK if not per_s else 10, frames - sent)
            chunks: dict[asyncio.Transport, list[bytes]] = {}
            for _ in range(count):
                self._number += 1
                exchange = order[self._number % len(order)]
                sockets = self._sockets[exchange]
                chunks.setdefault(sockets[self._number % len(sockets)], []).append(
                    makers[exchange](self._number, now_ms)
                )
            for transport, payloads in chunks.items():
                transport.write(b"".join(map(_framed, payloads)))
            sent += count
            while any(  # noqa: ASYNC110 - whoever reads slowest sets the pace
                one.get_write_buffer_size() > 500_000 for all_ in self._sockets.values() for one in all_
            ):
                await asyncio.sleep(0.002)
            if not per_s:
                await asyncio.sleep(0)


def _framed(payload: bytes) -> bytes:
    size = len(payload)
    head = struct.pack("!BB", 0x81, size) if size < 126 else struct.pack("!BBH", 0x81, 126, size)
    return head + payload


def _binance(number: int, now_ms: int) -> bytes:
    return (
        b'{"e":"forceOrder","E":%d,"o":{"s":"A%dUSDT","S":"SELL","o":"LIMIT","f":"IOC","q":"%d.014","p":"9910.5",'
        b'"ap":"9911.25","X":"FILLED","l":"0.014","z":"%d.014","T":%d}}'
        % (now_ms, number % 400, number % 977, number % 977, now_ms)
    )


def _bybit(number: int, now_ms: int) -> bytes:
    symbol = number % SYMBOLS
    return (
        b'{"topic":"allLiquidation.A%dUSDT","type":"snapshot","ts":%d,"sent":%d,"data":[{"T":%d,"s":"A%dUSDT",'
        b'"S":"Sell","v":"%d.5","p":"0.04499"}]}' % (symbol, now_ms, now_ms, now_ms, symbol, number % 20_011)
    )


def _okx(number: int, now_ms: int) -> bytes:
    base = number % 200
    return (
        b'{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"sent":%d,"data":[{"details":[{"bkLoss":"0",'
        b'"bkPx":"0.007831","ccy":"","posSide":"short","side":"buy","sz":"%d","ts":"%d"}],"instFamily":"A%d-USDT",'
        b'"instId":"A%d-USDT-SWAP","instType":"SWAP","uly":"A%d-USDT"}]}'
        % (now_ms, 1 + number % 997, now_ms, base, base, base)
    )


def _bybit_contract(symbol: str) -> dict[str, Any]:
    base = symbol.removesuffix("USDT")
    return {
        "symbol": symbol,
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": base,
        "quoteCoin": "USDT",
        "settleCoin": "USDT",
        "deliveryTime": "0",
    }


def _okx_contract(base: str) -> dict[str, Any]:
    return {
        "instId": f"{base}-USDT-SWAP",
        "instType": "SWAP",
        "ctType": "linear",
        "ctVal": "10",
        "ctMult": "1",
        "ctValCcy": base,
        "settleCcy": "USDT",
        "instFamily": f"{base}-USDT",
        "uly": f"{base}-USDT",
        "state": "live",
        "expTime": "",
    }


async def _serve(port_file: Path) -> None:
    runner = web.AppRunner(_Exchanges().application(), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port_file.with_suffix(".new").write_text(str(runner.addresses[0][1]))
    port_file.with_suffix(".new").rename(port_file)
    await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(_serve(Path(sys.argv[2])))
    else:
        print(json.dumps(take(frozenset(NAMES), 0, 1), indent=2))  # noqa: T201
