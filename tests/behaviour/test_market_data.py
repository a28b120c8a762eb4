"""Candles and readings of Binance, Bybit and OKX as the exchanges on loopback serve them: asked for, heard, mapped."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import urlsplit

import aiohttp
import pytest

from pipeline.embedded.exchange_server import Play, ServedLedger
from pipeline.embedded.exchange_server.addresses import addresses
from pipeline.embedded.exchange_server.serving import served
from pipeline.feeds.discovery import feed_of
from pipeline.feeds.mapping import Mapping
from pipeline.records import Candle, DeadLetter, Frame, MarketMetric

EXCHANGES = ["binance", "bybit", "okx"]
CHANNELS = [
    (exchange, channel.name)
    for exchange in EXCHANGES
    for channel in feed_of(exchange).live.channels
    if channel.kind == "market"
]


@pytest.fixture(scope="module")
def ports():
    with served(Play(seed=3, speed=150.0, hours=1.0), ServedLedger()) as found:
        yield found.server.ports


async def asked(session, place, request):
    real = urlsplit(request.url)
    path = f"{real.path}?{real.query}" if real.query else real.path
    async with session.get(f"{place['rest_url']}{path}") as response:
        assert response.status == 200, request.url
        return path, await response.read()


async def contracts_of(session, place, live):
    found = []
    for first in live.metadata.requests:
        request = first
        while request is not None:
            _, answer = await asked(session, place, request)
            found += live.metadata.read(request, answer)
            request = live.metadata.following(request, answer)
    return found


def mapped(exchange, contracts, frames):
    mapping = Mapping({(exchange, one.symbol): one for one in contracts})
    found = []
    for sequence, (channel, connection, payload) in enumerate(frames):
        found += mapping.map(Frame(exchange, channel, connection, sequence, time.time_ns() // 1000, payload))
    assert [one.message for one in found if isinstance(one, DeadLetter)] == []
    return found


async def poll(exchange, ports):
    live, place = feed_of(exchange).live, addresses(ports)[exchange]
    async with aiohttp.ClientSession() as session:
        contracts = await contracts_of(session, place, live)
        frames = []
        for one in live.polls:
            for request in one.requests(contracts):
                path, answer = await asked(session, place, request)
                frames.append((f"rest:{request.name}", f"test{path}", answer))
        return contracts, frames


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_every_answer_holds_readings_of_every_contract(ports, exchange):
    contracts, frames = asyncio.run(poll(exchange, ports))
    found = mapped(exchange, contracts, frames)
    assert {type(one) for one in found} == {MarketMetric}
    metrics = {one.metric for one in found}
    # OKX gives its funding on a channel.
    expected = {"mark_price", "index_price", "open_interest_base", "open_interest_usd"}
    expected |= {"long_account_share", "short_account_share"} | ({"funding_rate"} if exchange != "okx" else set())
    assert metrics == expected
    assert {one.symbol for one in found} == {one.symbol for one in contracts}
    values = {(one.symbol, one.metric): one.value for one in found}
    for symbol in {one.symbol for one in contracts if one.margin == "linear"}:
        base, usd = values[symbol, "open_interest_base"], values[symbol, "open_interest_usd"]
        assert usd / base == pytest.approx(values[symbol, "mark_price"], rel=0.05), "both are of one side"


async def listen(exchange, name, ports, seconds):
    live, place = feed_of(exchange).live, addresses(ports)[exchange]
    channel = next(one for one in live.channels if one.name == name)
    frames, confirmed = [], set()
    async with aiohttp.ClientSession() as session:
        contracts = await contracts_of(session, place, live)
        topics, conversation = channel.topics(contracts), channel.begin()
        async with session.ws_connect(place["urls"][name]) as socket:
            size = channel.limits.topics_per_request
            for number, first in enumerate(range(0, len(topics), size), 1):
                await socket.send_str(conversation.subscribe(topics[first : first + size], number))
            deadline = time.monotonic() + seconds
            while (left := deadline - time.monotonic()) > 0:
                try:
                    message = await socket.receive(left)
                except TimeoutError:
                    break
                payload = message.data.encode()
                heard = conversation.hear(payload)
                assert heard.refused == ()
                confirmed |= set(heard.confirmed)
                frames.append((name, "test/market/1-0", payload))
    assert confirmed == {topic.name for topic in topics}
    return contracts, [topic.symbol for topic in topics], frames


@pytest.mark.parametrize(("exchange", "name"), CHANNELS)
def test_every_market_channel_brings_what_was_subscribed_to(ports, exchange, name):
    contracts, symbols, frames = asyncio.run(listen(exchange, name, ports, 5.0))
    found = mapped(exchange, contracts, frames)
    assert symbols
    assert {one.symbol for one in found} == set(symbols)
    if name == "funding-rate":
        assert {one.metric for one in found} == {"funding_rate"}
        return
    candles = [one for one in found if isinstance(one, Candle)]
    assert candles == found
    # A minute of the wall clock may end while we listen, or not.
    assert False in {one.closed for one in candles}
    traded = [one for one in candles if one.volume_micros]
    assert traded
    for one in traded:
        # What a unit cost on average lies between the lowest and the highest price, whatever the exchange counts in.
        assert one.low * 0.99 <= one.volume_micros / 1e6 / one.volume <= one.high * 1.01, one
