"""The exchanges on loopback: what the feeds say is understood there, and what they map is what was sent."""

from __future__ import annotations

import asyncio
import gzip
from dataclasses import replace
from urllib.parse import urlsplit

import aiohttp
import orjson
import pytest
from market_rig import NOON_MS, running_loop, talk_with_exchanges

from pipeline.embedded.exchange_server import EXCHANGES, Fault, Play, ServedLedger, read_ledger
from pipeline.embedded.exchange_server.addresses import addresses
from pipeline.feeds.discovery import feed_of
from pipeline.feeds.mapping import Mapping
from pipeline.records import DeadLetter, Frame, Liquidation

QUICK = Play(seed=3, speed=150.0, hours=1.0, traps_per_hour=3600.0)
LIQUIDATIONS = [
    (exchange, channel.name)
    for exchange in EXCHANGES
    for channel in feed_of(exchange).live.channels
    if channel.kind == "liquidations"
]
QUIET = {("htx", "coin_futures"), ("gate", "usd1")}


def text_of(message: aiohttp.WSMessage) -> str:
    return message.data if isinstance(message.data, str) else gzip.decompress(message.data).decode()


async def instruments_of(exchange: str, session: aiohttp.ClientSession, rest_url: str):
    metadata, found = feed_of(exchange).live.metadata, []
    for first in metadata.requests:
        request = first
        while request is not None:
            real = urlsplit(request.url)
            async with session.get(f"{rest_url}{real.path}?{real.query}") as response:
                assert response.status == 200, request.url
                answer = await response.read()
            found += metadata.read(request, answer)
            request = metadata.following(request, answer)
    return found


async def listen(exchange: str, name: str, ports, seconds: float):
    """Talk as the feed's own conversation does; return the frames and what it heard."""
    live = feed_of(exchange).live
    channel = next(channel for channel in live.channels if channel.name == name)
    place = addresses(ports)[exchange]
    frames, confirmed, refused, data = [], set(), [], 0
    async with aiohttp.ClientSession() as session:
        instruments = await instruments_of(exchange, session, place["rest_url"])
        topics = channel.topics(instruments)
        conversation = channel.begin()
        async with session.ws_connect(place["urls"][name]) as socket:

            async def say(message) -> None:
                await (socket.send_str(message) if isinstance(message, str) else socket.send_bytes(message))

            for message in conversation.open():
                await say(message)
            size = channel.limits.topics_per_request
            for number, first in enumerate(range(0, len(topics), size), 1):
                await say(conversation.subscribe(topics[first : first + size], number))
            ping = conversation.ping(1000, 1_795_000_000_000)
            if ping is not None:
                await say(ping)
            deadline = running_loop().time() + seconds
            while (left := deadline - running_loop().time()) > 0:
                try:
                    message = await socket.receive(left)
                except TimeoutError:
                    break
                assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
                payload = message.data.encode() if isinstance(message.data, str) else message.data
                now_us = running_loop().now_ns() // 1000
                frames.append(Frame(exchange, name, "c/1", len(frames), now_us, payload))
                heard = conversation.hear(payload)
                confirmed |= set(heard.confirmed)
                refused += heard.refused
                data += heard.data
                for reply in heard.replies:
                    await say(reply)
    return frames, instruments, {topic.name for topic in topics}, confirmed, refused, data


@pytest.mark.parametrize(("exchange", "name"), LIQUIDATIONS)
def test_what_a_feed_maps_is_what_was_sent(exchange, name):
    found, ledger = talk_with_exchanges(QUICK, lambda server: listen(exchange, name, server.ports, 2.0))
    frames, instruments, topics, confirmed, refused, data = found
    assert (confirmed, refused) == (topics, [])
    assert sum(entry["what"] == "opened" for entry in ledger.entries) == 1
    sent = [entry["rows"] for entry in ledger.entries if entry["what"] == "sent"]
    mapping = Mapping({(exchange, found.symbol): found for found in instruments})
    mapped = list(filter(None, (list(mapping.map(frame)) for frame in frames)))
    assert len(mapped) == len(sent)
    if (exchange, name) in QUIET:
        assert mapped == []
        return
    assert data > 0
    assert any(isinstance(found, Liquidation) for events in mapped for found in events)
    for events, rows in zip(mapped, sent, strict=True):
        assert sorted(map(seen, events)) == sorted(map(known, rows))


def seen(found: Liquidation | DeadLetter) -> tuple[object, ...]:
    if isinstance(found, DeadLetter):
        return ("refused",)
    time_ms = 0 if found.event_time_kind == "received" else found.event_time
    return ("event", found.symbol, found.asset, found.position, time_ms, found.notional_micros)


def known(row: dict) -> tuple[object, ...]:
    if row["kind"] == "refused":
        return ("refused",)
    return (row["kind"], row["symbol"], row["asset"], row["position"], row["event_time"], row["notional_micros"])


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_every_exchange_tells_its_time(exchange):
    clock = feed_of(exchange).live.clock

    async def read(server) -> int:
        await asyncio.sleep(12.5)
        real = urlsplit(clock.request.url)
        place = addresses(server.ports)[exchange]["rest_url"]
        async with aiohttp.ClientSession() as session, session.get(f"{place}{real.path}?{real.query}") as response:
            return clock.read(await response.read())

    told_ms, _ = talk_with_exchanges(Play(), read)
    assert told_ms in (NOON_MS + 12_500, NOON_MS + 12_000)


class Socket:
    """A client of its own, that only knows the exchange's documentation."""

    def __init__(self, ports, exchange: str, path: str) -> None:
        self._url = f"ws://127.0.0.1:{ports[exchange]}{path}"

    async def __aenter__(self):
        self._session = aiohttp.ClientSession()
        try:
            self.socket = await self._session.ws_connect(self._url)
        except aiohttp.ClientError:
            await self._session.close()
            raise
        return self

    async def __aexit__(self, *_):
        await self.socket.close()
        await self._session.close()

    async def ask(self, message: str) -> str:
        await self.socket.send_str(message)
        return text_of(await self.socket.receive(5))

    async def hear(self, seconds: float) -> list[aiohttp.WSMessage]:
        found, deadline = [], running_loop().time() + seconds
        while (left := deadline - running_loop().time()) > 0:
            try:
                message = await self.socket.receive(left)
            except TimeoutError:
                break
            found.append(message)
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                break
        return found


OKX_ALL = '{"op":"subscribe","args":[{"channel":"liquidation-orders","instType":"SWAP"}]}'
BINANCE_ALL = '{"method":"SUBSCRIBE","params":["!forceOrder@arr"],"id":1}'
ALL = {
    "okx": ("/ws/v5/public", OKX_ALL),
    "binance": ("/market/ws", BINANCE_ALL),
    "bitmex": ("/realtime", '{"op":"subscribe","args":["liquidation"]}'),
}


def faulty(fault: Fault | None, exchange: str, seconds: float = 4.0, speed: float = 60.0):
    """Subscribe to everything of an exchange with a fault; return what came after it and the ledger."""
    path, subscription = ALL[exchange]

    async def talk(server) -> list[aiohttp.WSMessage]:
        await asyncio.sleep(0.3)
        async with Socket(server.ports, exchange, path) as client:
            await client.socket.send_str(subscription)
            return await client.hear(seconds)

    play = Play(seed=3, speed=speed, hours=1.0, traps_per_hour=0.0, faults=() if fault is None else (fault,))
    return talk_with_exchanges(play, talk)


def test_silent_acknowledges_and_sends_nothing():
    messages, ledger = faulty(Fault("silent", "okx"), "okx")
    assert [orjson.loads(message.data)["event"] for message in messages] == ["subscribe"]
    what = {entry["what"] for entry in ledger.entries if entry["exchange"] == "okx"}
    assert "unheard" in what
    assert "sent" not in what


def test_deaf_never_acknowledges():
    messages, ledger = faulty(Fault("deaf"), "binance")
    assert messages == []
    assert "sent" not in {entry["what"] for entry in ledger.entries}


def test_drop_cuts_connections_and_new_ones_for_its_time():
    async def talk(server) -> None:
        async with Socket(server.ports, "okx", "/ws/v5/public") as client:
            await client.ask(OKX_ALL)
            server.switch_on(Fault("drop", "okx", 0, 1.0))
            assert (await client.hear(3))[-1].type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        with pytest.raises(aiohttp.ClientError):
            async with Socket(server.ports, "okx", "/ws/v5/public"):
                pass
        await asyncio.sleep(1.2)
        async with Socket(server.ports, "okx", "/ws/v5/public") as client:
            assert "subscribe" in await client.ask(OKX_ALL)

    talk_with_exchanges(replace(QUICK, traps_per_hour=0.0), talk)


def test_half_a_frame_ends_the_connection_and_is_in_no_count():
    async def talk(server) -> list[aiohttp.WSMessage]:
        async with Socket(server.ports, "binance", "/market/ws") as client:
            await client.ask(BINANCE_ALL)
            server.switch_on(Fault("half-frame", "binance"))
            return await client.hear(10)

    messages, ledger = talk_with_exchanges(replace(QUICK, traps_per_hour=0.0), talk)
    whole = [message for message in messages if message.type == aiohttp.WSMsgType.TEXT]
    assert messages[-1].type != aiohttp.WSMsgType.TEXT
    ours = [entry["what"] for entry in ledger.entries if entry["exchange"] == "binance"]
    assert ours.count("sent") == len(whole)
    assert ours.count("half") == 1


def test_flood_repeats_every_message():
    messages, _ = faulty(Fault("flood", "okx"), "okx", 2.0)
    data = [message.data for message in messages if '"data"' in message.data]
    assert len(data) >= 200
    assert len(set(data)) <= len(data) // 150


def test_snapshot_sends_again_what_came_before():
    async def talk(server) -> None:
        async with Socket(server.ports, "okx", "/ws/v5/public") as client:
            await client.ask(OKX_ALL)
            await client.hear(3)
        async with Socket(server.ports, "okx", "/ws/v5/public") as client:
            await client.socket.send_str(OKX_ALL)
            await client.hear(1)

    _, ledger = talk_with_exchanges(Play(seed=3, speed=60.0, hours=1.0, faults=(Fault("snapshot", "okx"),)), talk)
    sent = [(entry["socket"], orjson.dumps(entry["rows"])) for entry in ledger.entries if entry["what"] == "sent"]
    first, second = min(sent)[0], max(sent)[0]
    assert {rows for socket, rows in sent if socket == first} & {rows for socket, rows in sent if socket == second}


def test_wrong_json_follows_every_message():
    messages, _ = faulty(Fault("wrong-json", "okx"), "okx")
    wrong = [message.data for message in messages if not is_json(message.data)]
    assert len(wrong) == sum('"data"' in message.data and is_json(message.data) for message in messages) > 0


def is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except ValueError:
        return False
    return True


def test_a_slow_reader_answers_when_it_reads_again():
    async def talk(server) -> float:
        async with Socket(server.ports, "bitmex", "/realtime") as client:
            await client.hear(0.3)
            server.switch_on(Fault("slow-reader", "bitmex", 0, 1.0))
            began_s = running_loop().time()
            assert await client.ask("ping") == "pong"
            return running_loop().time() - began_s

    waited_s, _ = talk_with_exchanges(QUICK, talk)
    assert 1.0 <= waited_s < 1.02


@pytest.mark.parametrize(("kind", "status"), [("429", 429), ("5xx", 503)])
def test_rest_refuses(kind, status):
    async def ask(server) -> tuple[int, int]:
        control = f"http://127.0.0.1:{server.ports['control']}"
        time_url = f"http://127.0.0.1:{server.ports['okx']}/api/v5/public/time"
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{control}/faults", data=orjson.dumps({"kind": kind, "exchange": "okx"})) as on:
                assert (await on.json())["faults"] == [[kind, "okx"]]
            async with session.get(time_url) as refused:
                first = refused.status
            async with session.delete(f"{control}/faults"):
                pass
            async with session.get(time_url) as fine:
                return first, fine.status

    assert talk_with_exchanges(Play(), ask)[0] == (status, 200)


def test_an_unknown_fault_is_refused_while_it_runs():
    async def ask(server) -> tuple[int, str]:
        url = f"http://127.0.0.1:{server.ports['control']}/faults"
        async with aiohttp.ClientSession() as session, session.post(url, data=b'{"kind":"fire"}') as response:
            return response.status, (await response.json())["error"]

    (status, words), _ = talk_with_exchanges(Play(), ask)
    assert status == 400
    assert "silent" in words


def test_the_clock_may_be_wrong():
    async def ask(server) -> int:
        url = f"http://127.0.0.1:{server.ports['okx']}/api/v5/public/time"
        await asyncio.sleep(2)
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return int((await response.json())["data"][0]["ts"])

    told_ms, _ = talk_with_exchanges(Play(faults=(Fault("clock", "okx"),)), ask)
    assert told_ms == NOON_MS + 2_000 + 300_000


def test_the_retired_path_of_binance_acknowledges_and_stays_silent():
    async def talk(server) -> list[list[str]]:
        heard = []
        for path in ("/ws", "/market/stream"):
            async with Socket(server.ports, "binance", path) as client:
                await client.socket.send_str(BINANCE_ALL)
                heard.append([message.data for message in await client.hear(3)])
        return heard

    (retired, present), _ = talk_with_exchanges(QUICK, talk)
    assert retired == ['{"result":null,"id":1}']
    assert len(present) > 1


def test_htx_pings_and_cuts_those_who_do_not_answer():
    async def talk(server) -> list[aiohttp.WSMessage]:
        async with Socket(server.ports, "htx", "/notification") as client:
            return await client.hear(60)

    messages, _ = talk_with_exchanges(Play(), talk)
    pings = [orjson.loads(text_of(message))["op"] for message in messages[:-1]]
    assert pings == ["ping"] * 5
    assert messages[-1].type == aiohttp.WSMsgType.CLOSE


def test_wrong_requests_are_answered_in_each_exchange_own_words():
    asked = [
        ("binance", "/market/ws", '{"method":"LISTEN","id":3}', "Invalid request"),
        ("bybit", "/v5/public/linear", '{"op":"subscribe","args":["allLiquidation.NO"]}', "handler not found"),
        ("okx", "/ws/v5/public", '{"op":"subscribe","args":[{"channel":"books"}]}', "60018"),
        ("gate", "/v4/ws/usdt", '{"channel":"futures.public_liquidates","payload":["NO"]}', "unknown contract NO"),
        ("htx", "/notification", '{"op":"sub","topic":"public.NO.liquidation_orders"}', "invalid"),
        (
            "deribit",
            "/ws/api/v2",
            '{"id":1,"method":"public/subscribe","params":{"channels":["trades.future.BTC.raw"]}}',
            "13778",
        ),
    ]

    async def talk(server) -> list[tuple[str, str]]:
        answers = []
        for exchange, path, message, words in asked:
            async with Socket(server.ports, exchange, path) as client:
                answers.append((words, await client.ask(message)))
                # Rubbish is answered, too, and harms nobody.
                assert await client.ask("{rubbish")
        return answers

    answers, _ = talk_with_exchanges(Play(), talk)
    for words, answer in answers:
        assert words in answer


def test_the_ledger_in_a_file_is_what_is_in_memory(tmp_path):
    ledger = ServedLedger(tmp_path / "ledger.jsonl")
    talk_with_exchanges(QUICK, lambda _server: asyncio.sleep(2.5), ledger)
    ledger.close()
    entries = read_ledger(tmp_path / "ledger.jsonl")
    assert {entry["what"] for entry in entries} == {"unheard"}
    assert len(entries) == ledger.counts["unheard"] > 0
