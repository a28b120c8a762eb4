"""Questions over HTTP to a real server on loopback: refused, slow, cut, oversized, wrong, in pages, too many."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from random import Random

import pytest
import structlog
from aiohttp import web

from pipeline.feeds import Mapping
from pipeline.feeds.live import Budget, Channel, Clock, Limits, Live, Metadata, Poll, Request
from pipeline.ingest import rest as rest_module
from pipeline.ingest.exchange_services import Listener, run_services
from pipeline.ingest.limiter import HostLimits
from pipeline.ingest.metadata import ContractList, Times
from pipeline.ingest.polls import Polling
from pipeline.ingest.rest import Answer, Rest, RestError, Route, open_session
from pipeline.ingest.server_time import ServerTime, offset_ms
from pipeline.records import Frame, Instrument, RefusedError

HOST = "api.example.com"
BUDGETS = {HOST: Budget(weight=10_000, per_s=1)}


class Exchange:
    """A server whose answers a test sets by path, and the frames that came of them."""

    def __init__(self):
        self.answers = {}
        self.asked = defaultdict(list)  # loop times by path
        self.frames = []
        self.base = ""
        self.session = None
        self.limits = HostLimits()
        self.limits.know(BUDGETS)

    def rest(self, **routes):
        route = Route(self.base, **routes)
        return Rest("binance", "one", route, self.session, self.limits, self.bring, Random(1))

    def bring(self, exchange, channel, connection, payload):
        number = len(self.frames) + 1
        self.frames.append(Frame(exchange, channel, connection, number, 1_700_000_000_000_000 + number, payload))

    async def answer(self, request):
        self.asked[request.path].append(asyncio.get_running_loop().time())
        answer = self.answers[request.path]
        if callable(answer):
            answer = answer(request)
            if asyncio.iscoroutine(answer):
                answer = await answer
        if isinstance(answer, web.StreamResponse):
            return answer
        return web.Response(body=answer if isinstance(answer, bytes) else json.dumps(answer).encode())


@asynccontextmanager
async def exchange(**answers):
    server = Exchange()
    server.answers = {f"/{path}": answer for path, answer in answers.items()}
    application = web.Application()
    application.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    server.base = f"http://127.0.0.1:{port}"
    try:
        async with open_session() as session:
            server.session = session
            yield server
    finally:
        await runner.cleanup()


def ask(path, query="", weight=1.0):
    return Request(path, f"https://{HOST}/{path}{query}", weight)


def lines(logs, name):
    return [line for line in logs if line["event"] == name]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(rest_module, "_FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(rest_module, "_LONGEST_WAIT_S", 0.02)


@pytest.fixture
def logs():
    with structlog.testing.capture_logs() as captured:
        yield captured


def test_an_answer_is_a_frame_before_it_is_read():
    async def run():
        async with exchange(time=b'{"serverTime": 1}') as server:
            rest = server.rest()
            answer = await rest.get(ask("time", "?symbols=%5B%22BTC%22%2C%22ETH%22%5D&x=a,b"))
            assert answer.body == b'{"serverTime": 1}'
            assert answer.sent_ns <= answer.received_ns
            (frame,) = server.frames
            assert (frame.exchange, frame.channel) == ("binance", "rest:time")
            assert frame.connection == "one/time?symbols=%5B%22BTC%22%2C%22ETH%22%5D&x=a,b"
            assert frame.payload == answer.body
            assert rest.answers == 1

    asyncio.run(run())


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_server_in_trouble_is_asked_again(status):
    async def run():
        left = [status, status]
        async with exchange(a=lambda _: web.Response(status=left.pop()) if left else b"[]") as server:
            assert (await server.rest().get(ask("a"))).body == b"[]"
            assert len(server.asked["/a"]) == 3
            assert len(server.frames) == 1

    asyncio.run(run())


def test_after_four_attempts_the_reason_is_said():
    async def run():
        async with exchange(a=lambda _: web.Response(status=500, text="down for\nmaintenance")) as server:
            rest = server.rest()
            with pytest.raises(RestError, match=r"binance a: no answer from api.example.com/a: .* 500: down for maint"):
                await rest.get(ask("a"))
            assert len(server.asked["/a"]) == 4
            assert server.frames == []
            assert rest.failures == 1

    asyncio.run(run())


@pytest.mark.parametrize("status", [301, 302, 400, 401, 404, 451])
def test_other_answers_are_final_and_redirections_are_not_followed(status):
    async def run():
        headers = {"Location": "/b"} if status < 400 else {}
        async with exchange(a=lambda _: web.Response(status=status, headers=headers), b=b"[]") as server:
            with pytest.raises(RestError, match=f"HTTP status {status}"):
                await server.rest().get(ask("a"))
            assert {path: len(times) for path, times in server.asked.items()} == {"/a": 1}

    asyncio.run(run())


@pytest.mark.parametrize("status", [429, 418, 403])
def test_a_host_that_wants_to_be_left_alone_is_left_alone_by_everybody(status, logs):
    async def run():
        left = [status]

        def refuse_once(_):
            return web.Response(status=left.pop(), headers={"Retry-After": "1"}) if left else b"[]"

        async with exchange(a=refuse_once, b=b"[]") as server:
            first = asyncio.create_task(server.rest().get(ask("a")))
            await until(lambda: server.limits.left_alone_s(HOST))
            await asyncio.gather(first, server.rest().get(ask("b")))
            refused, again = server.asked["/a"]
            assert again - refused >= 0.99
            assert server.asked["/b"][0] - refused >= 0.99

    asyncio.run(run())
    assert [line["host"] for line in lines(logs, "host_left_alone")] == [HOST]


@pytest.mark.parametrize("after", [None, "date", "120", "rubbish"])
def test_nobody_waits_for_a_host_that_wants_minutes(after):
    async def run():
        words = {"date": format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)}.get(after, after)
        headers = {} if words is None else {"Retry-After": words}
        async with exchange(a=lambda _: web.Response(status=418, headers=headers)) as server:
            with pytest.raises(RestError, match="left alone for"):
                await server.rest().get(ask("a"))
            with pytest.raises(RestError, match="left alone for"):
                await server.rest().get(ask("a"))
            assert len(server.asked["/a"]) == 1
            assert 90 < server.limits.left_alone_s(HOST) <= 300

    asyncio.run(run())


def test_a_connection_that_breaks_in_the_middle_of_the_answer():
    async def run():
        cuts = 2

        async def cut(request):
            nonlocal cuts
            if not cuts:
                return b"[1]"
            cuts -= 1
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            await response.prepare(request)
            await response.write(b"[")
            request.transport.abort()
            return response

        async with exchange(a=cut) as server:
            assert (await server.rest().get(ask("a"))).body == b"[1]"
            assert [frame.payload for frame in server.frames] == [b"[1]"]

    asyncio.run(run())


def test_a_server_that_is_not_there():
    async def run():
        async with exchange() as server:
            server.base = "http://127.0.0.1:1"
            with pytest.raises(RestError, match="Connect call failed"):
                await server.rest().get(ask("a"))

    asyncio.run(run())


def test_a_slow_answer_is_given_up(monkeypatch):
    monkeypatch.setattr(rest_module, "_TIMEOUT", rest_module.aiohttp.ClientTimeout(total=0.1))

    async def run():
        async def late(_):
            await asyncio.sleep(5)
            return b"[]"

        async with exchange(a=late) as server:
            with pytest.raises(RestError, match="no answer"):
                await server.rest().get(ask("a"))
            assert len(server.asked["/a"]) == 4

    asyncio.run(run())


@pytest.mark.parametrize("compressed", [False, True])
def test_an_answer_without_end_is_not_read_to_its_end(compressed):
    async def run():
        sent = 0

        async def flood(request):
            nonlocal sent
            response = web.StreamResponse()
            if compressed:
                response.enable_compression()
            await response.prepare(request)
            for _ in range(400):
                await response.write(b" " * 1024 * 1024)
                sent += 1
            return response

        async with exchange(a=flood) as server:
            with pytest.raises(RestError, match="larger than"):
                await server.rest().get(ask("a"))
            assert server.frames == []
            assert len(server.asked["/a"]) == 1
        assert sent < 400

    asyncio.run(run())


def test_a_proxy_is_asked_for_the_exchange():
    async def run():
        async with exchange(**{"where/it/is": b"[]"}) as server:
            proxy, server.base = server.base, "http://elsewhere.example.com:99"
            await server.rest(proxy=proxy).get(ask("where/it/is"))
            assert list(server.asked) == ["/where/it/is"]

    asyncio.run(run())


def test_certificates_are_checked():
    async def run():
        async with exchange(a=b"[]") as server:
            server.base = server.base.replace("http://", "https://")
            with pytest.raises(RestError, match=r"(?i)ssl"):
                await server.rest().get(ask("a"))
            assert not server.asked

    asyncio.run(run())


# Contracts


def instrument(symbol, size=1.0):
    return Instrument("binance", symbol, f"{symbol}-PERP", symbol, "USDT", "USDT", "linear", None, size)


def read_page(_request, answer):
    try:
        document = json.loads(answer)
        return [instrument(symbol, size) for symbol, size in document["contracts"].items()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RefusedError("bad_contracts", f"no list of contracts: {error!r}") from error


def next_page(_request, answer):
    cursor = json.loads(answer).get("next")
    return ask("contracts", f"?cursor={cursor}") if cursor else None


METADATA = Metadata((ask("contracts"),), read_page, next_page)


def contract_list(server, known, unknown=None, whole=None, **times):
    whole = [] if whole is None else whole
    return ContractList(
        "binance",
        "one",
        METADATA,
        server.rest(),
        server.bring,
        lambda contracts, is_whole: known.append(dict(contracts)) or whole.append(is_whole),
        unknown or asyncio.Event(),
        ["linear"],
        Random(1),
        Times(**{"least_s": 0.05, "first_wait_s": 0.01, "most_wait_s": 0.02, **times}),
    )


def instrument_frames(server):
    return [frame for frame in server.frames if frame.channel == "instruments"]


def learnt(server):
    """Return what a mapping knows that got all frames."""
    mapping = Mapping({})
    for frame in instrument_frames(server):
        assert list(mapping.map(frame)) == []
    return {symbol: one.contract_size for (_, symbol), one in mapping.instruments("one").items()}


def page(*names, size=1.0, following=None):
    return {"contracts": dict.fromkeys(names, size), "next": following}


def test_all_pages_are_read_and_only_what_is_new_becomes_a_frame(logs):
    async def run():
        names = [f"S{n}" for n in range(1_200)]

        def pages(request):
            begin = int(request.query.get("cursor", 0))
            return page(*names[begin : begin + 500], following=begin + 500 if begin + 500 < len(names) else None)

        async with exchange(contracts=pages) as server:
            known = []
            contracts = contract_list(server, known)
            assert await contracts.refresh() == (True, True)
            assert list(known[-1]) == names
            frames = instrument_frames(server)
            assert [len(frame.payload.splitlines()) for frame in frames] == [500, 500, 200]
            assert {frame.connection for frame in frames} == {"one/instruments"}
            assert await contracts.refresh() == (True, False)
            assert len(instrument_frames(server)) == 3
            assert len(known) == 1
            names[:3] = ["NEW"]
            assert await contracts.refresh() == (True, True)
            assert len(instrument_frames(server)) == 4
            assert list(known[-1].keys()) == [*(f"S{n}" for n in range(3, 1_200)), "NEW"]
            assert learnt(server).keys() == known[-1].keys()

    asyncio.run(run())
    assert [line["contracts"] for line in lines(logs, "contracts_known")] == [1_200]
    assert [line["symbols"] for line in lines(logs, "contracts_listed")] == [["NEW"]]
    assert [line["symbols"] for line in lines(logs, "contracts_delisted")] == [["S0", "S1", "S2"]]


def test_a_changed_size_is_told(logs):
    async def run():
        async with exchange(contracts=page("A", "B")) as server:
            known = []
            contracts = contract_list(server, known)
            await contracts.refresh()
            server.answers["/contracts"] = {"contracts": {"A": 1.0, "B": 0.1}}
            assert await contracts.refresh() == (True, False)
            assert known[-1]["B"].contract_size == 0.1
            assert learnt(server) == {"A": 1.0, "B": 0.1}

    asyncio.run(run())
    assert [line["symbols"] for line in lines(logs, "contracts_changed")] == [["B"]]


@pytest.mark.parametrize("rubbish", [b"<html>", b"", b"{}", b"[1]", b"\xff\xfe", b'{"contracts": 5}'])
def test_an_answer_that_is_no_list_takes_nothing_away(rubbish, logs):
    async def run():
        async with exchange(contracts=page("A", "B")) as server:
            known = []
            contracts = contract_list(server, known)
            await contracts.refresh()
            server.answers["/contracts"] = rubbish
            assert await contracts.refresh() == (False, False)
            assert len(known) == 1
            assert learnt(server) == {"A": 1.0, "B": 1.0}

    asyncio.run(run())
    assert [line["known"] for line in lines(logs, "contracts_unavailable")] == [2]


def test_a_page_that_fails_adds_what_the_others_bring_and_takes_nothing_away():
    async def run():
        async with exchange(contracts=page("A", "B", "C")) as server:
            known = []
            contracts = contract_list(server, known)
            await contracts.refresh()
            server.answers["/contracts"] = lambda request: (
                web.Response(status=404) if request.query else page("B", "D", following=2)
            )
            assert await contracts.refresh() == (False, True)
            assert sorted(known[-1]) == ["A", "B", "C", "D"]

    asyncio.run(run())


def test_it_is_told_once_the_list_was_whole_even_if_its_last_page_brings_nothing(logs):
    async def run():
        async with exchange() as server:
            known, whole = [], []
            contracts = contract_list(server, known, whole=whole)
            server.answers["/contracts"] = lambda request: (
                web.Response(status=404) if request.query else page("A", following=2)
            )
            await contracts.refresh()
            assert whole == [False]
            server.answers["/contracts"] = lambda request: page() if request.query else page("A", following=2)
            await contracts.refresh()
            assert known == [known[0], known[0]]
            assert whole == [False, True]
            await contracts.refresh()
            server.answers["/contracts"] = lambda request: (
                web.Response(status=404) if request.query else page("A", "B", following=2)
            )
            await contracts.refresh()
            assert whole == [False, True, True], "what was known once is not forgotten"

    asyncio.run(run())
    assert [line["uncovered"] for line in lines(logs, "contracts_unavailable")] == [True, False]


def test_an_exchange_without_contracts_has_a_whole_list_too():
    async def run():
        async with exchange(contracts=page()) as server:
            known, whole = [], []
            await contract_list(server, known, whole=whole).refresh()
            assert (known, whole) == ([{}], [True])

    asyncio.run(run())


def test_pages_without_end_are_noticed(logs):
    async def run():
        async with exchange(contracts=page("A", following=7)) as server:
            assert await contract_list(server, []).refresh() == (False, True)
            assert len(server.asked["/contracts"]) == 2

    asyncio.run(run())
    assert "have no end" in lines(logs, "contracts_unavailable")[0]["reason"]


def test_half_of_all_contracts_are_gone_only_when_a_second_look_agrees(logs):
    async def run():
        names = [f"S{n}" for n in range(100)]
        async with exchange(contracts=page(*names)) as server:
            known = []
            contracts = contract_list(server, known)
            await contracts.refresh()
            server.answers["/contracts"] = page()
            await contracts.refresh()
            assert len(known) == 1
            server.answers["/contracts"] = page(*names[:20])
            await contracts.refresh()
            assert len(known) == 1
            await contracts.refresh()
            assert list(known[-1]) == names[:20]
            assert learnt(server).keys() == set(names[:20])

    asyncio.run(run())
    assert [line["missing"] for line in lines(logs, "contracts_doubtful")] == [100, 80]


async def until(predicate):
    while not predicate():  # noqa: ASYNC110 - what is waited for happens on the other side of a socket
        await asyncio.sleep(0.005)


def test_until_the_list_can_be_fetched_it_is_tried_again_and_said_who_waits(logs):
    async def run():
        async with exchange(contracts=lambda _: web.Response(status=404)) as server:
            known = []
            task = asyncio.create_task(contract_list(server, known).run())
            await until(lambda: len(server.asked["/contracts"]) >= 3)
            server.answers["/contracts"] = page("A")
            await until(lambda: known)
            task.cancel()

    asyncio.run(run())
    assert lines(logs, "contracts_unavailable")[0]["waiting_channels"] == ["linear"]


def test_an_unknown_symbol_brings_a_look_and_one_that_is_never_listed_ever_fewer(logs):
    async def run():
        async with exchange(contracts=page("A")) as server:
            known, unknown = [], asyncio.Event()
            task = asyncio.create_task(contract_list(server, known, unknown, least_s=0.1).run())
            await until(lambda: known)
            server.answers["/contracts"] = page("A", "NEW")
            unknown.set()
            unknown.set()
            await until(lambda: len(known) == 2)
            times = server.asked["/contracts"]
            assert times[1] - times[0] >= 0.099
            for _ in range(3):
                count = len(times)
                unknown.set()
                await until(lambda count=count: len(times) > count)
            waits = [later - earlier for earlier, later in pairwise(times[1:])]
            assert waits[0] >= 0.099
            assert waits[1] >= 0.199
            assert waits[2] >= 0.399
            task.cancel()

    asyncio.run(run())
    assert [line["symbols"] for line in lines(logs, "contracts_listed")] == [["NEW"]]


def test_the_list_is_fetched_again_after_its_time():
    async def run():
        async with exchange(contracts=page("A")) as server:
            known = []
            task = asyncio.create_task(contract_list(server, known, every_s=0.05).run())
            await until(lambda: len(server.asked["/contracts"]) >= 4)
            assert len(known) == 1
            task.cancel()

    asyncio.run(run())


# Server time


def read_time(answer):
    try:
        return int(json.loads(answer)["time"])
    except (ValueError, KeyError, TypeError) as error:
        raise RefusedError("bad_time", f"no time: {error!r}") from error


def test_the_offset_is_taken_in_the_middle_of_the_way():
    second = 1_000_000_000
    assert offset_ms(Answer(b"", 10 * second, 10 * second + 400_000_000), 10_200 + 7) == 7
    assert offset_ms(Answer(b"", 10 * second, 12 * second + 1), 10_000) is None


@pytest.mark.parametrize(("ahead_ms", "warned"), [(0, False), (1_500, False), (3_000, True), (-240_000, True)])
def test_the_clock_of_the_exchange_is_compared(ahead_ms, warned, logs):
    async def run():
        async with exchange(time=lambda _: {"time": time.time_ns() // 1_000_000 + ahead_ms}) as server:
            offsets = []
            await ServerTime("binance", Clock(ask("time"), read_time), server.rest(), offsets.append).look()
            assert abs(offsets[0] - ahead_ms) < 400

    asyncio.run(run())
    assert bool(lines(logs, "clock_differs")) is warned


def test_without_answers_the_offset_is_forgotten_after_a_while(logs):
    async def run():
        async with exchange(time=b'{"time": "soon"}') as server:
            offsets = []
            server_time = ServerTime("binance", Clock(ask("time"), read_time), server.rest(), offsets.append)
            for _ in range(4):
                await server_time.look()
            assert offsets == []
            await server_time.look()
            await server_time.look()
            assert offsets == [None]

    asyncio.run(run())
    assert len(lines(logs, "server_time_unknown")) == 6


# Polls


def interest(instruments):
    return [ask("interest", f"?symbol={one.symbol}", weight=2.0) for one in instruments]


def test_a_round_is_spread_over_its_interval(logs):
    async def run():
        async with exchange(interest=b"{}") as server:
            wanted = [instrument(f"S{n}") for n in range(10)]
            polling = Polling("binance", Poll("interest", 0.5, interest), server.rest(), server.limits, lambda: wanted)
            began = asyncio.get_running_loop().time()
            task = asyncio.create_task(polling.run())
            await until(lambda: len(server.frames) >= 20)
            task.cancel()
            for number, at in enumerate(server.asked["/interest"]):
                assert at - began >= number * 0.05 - 0.001
            queries = [frame.connection for frame in server.frames[:10]]
            assert queries == [f"one/interest?symbol=S{n}" for n in range(10)]

    asyncio.run(run())
    (planned,) = lines(logs, "poll_planned")
    assert (planned["requests"], planned["round_s"]) == (10, 0.5)


def test_nobody_wanted_is_nobody_asked_and_who_comes_later_is_asked(monkeypatch):
    monkeypatch.setattr("pipeline.ingest.polls._NOBODY_S", 0.01)

    async def run():
        async with exchange(interest=b"{}") as server:
            wanted = []
            polling = Polling("binance", Poll("interest", 0.2, interest), server.rest(), server.limits, lambda: wanted)
            task = asyncio.create_task(polling.run())
            await asyncio.sleep(0.1)
            assert not server.asked
            wanted.append(instrument("A"))
            await until(lambda: server.frames)
            task.cancel()

    asyncio.run(run())


def test_a_round_that_does_not_fit_into_the_budget_takes_longer_and_says_so(logs):
    async def run():
        async with exchange() as server:
            limits = HostLimits()
            limits.know({HOST: Budget(weight=100, per_s=1)})
            few, many = [instrument("A")] * 20, [instrument("A")] * 120
            one = Polling("binance", Poll("one", 1.0, interest), server.rest(), limits, lambda: few)
            two = Polling("binance", Poll("two", 2.0, interest), server.rest(), limits, lambda: many)
            # 80 of a weight of 100 a second may be used: 40 by the first, 120 by the second.
            assert one.interval_s(interest(few)) == 1.0
            assert two.interval_s(interest(many)) == pytest.approx(4.0)
            assert one.interval_s(interest(few)) == pytest.approx(2.0)
            assert two.interval_s([]) == 2.0
            assert one.interval_s(interest(few)) == 1.0

    asyncio.run(run())
    slowed = lines(logs, "poll_slowed")
    assert [(line["poll"], line["round_s"], line["least_s"]) for line in slowed] == [
        ("two", 4.0, 3.0),
        ("one", 2.0, 0.5),
    ]


def test_failures_of_a_round_are_one_line_and_the_next_round_goes_on(logs):
    async def run():
        def some(request):
            return web.Response(status=404) if request.query["symbol"] in "BC" else b"{}"

        async with exchange(interest=some) as server:
            wanted = [instrument(symbol) for symbol in "ABCD"]
            polling = Polling("binance", Poll("interest", 0.1, interest), server.rest(), server.limits, lambda: wanted)
            await polling.round(interest(wanted), 0.1)
            assert len(server.frames) == 2

    asyncio.run(run())
    (line,) = lines(logs, "poll_incomplete")
    assert (line["failed"], line["skipped"], line["requests"]) == (2, 0, 4)
    assert "404" in line["reason"]


def test_a_host_that_is_left_alone_makes_the_rest_of_the_round_be_skipped(logs):
    async def run():
        refusal = lambda _: web.Response(status=429, headers={"Retry-After": "100"})  # noqa: E731
        async with exchange(interest=refusal) as server:
            wanted = [instrument(f"S{n}") for n in range(50)]
            polling = Polling("binance", Poll("interest", 1.0, interest), server.rest(), server.limits, lambda: wanted)
            await polling.round(interest(wanted), 1.0)
            assert len(server.asked["/interest"]) < 10

    asyncio.run(run())
    (line,) = lines(logs, "poll_incomplete")
    assert line["failed"] + line["skipped"] == 50


# All together


def test_all_services_of_an_exchange_run_and_end_together():
    async def run():
        async with exchange(
            contracts=page("A", "B"), time=lambda _: {"time": time.time_ns() // 1_000_000}, interest=b"{}"
        ) as server:
            channel = Channel("linear", "wss://x", lambda _: (), lambda: None, Limits(), per_symbol=True)
            live = Live(
                (channel,), METADATA, (Poll("interest", 0.1, interest),), Clock(ask("time"), read_time), BUDGETS
            )
            known, offsets = [], []
            listener = Listener(
                lambda contracts, _is_whole: known.append(contracts),
                asyncio.Event(),
                offsets.append,
                lambda: list(known[-1].values()) if known else [],
            )
            services = run_services(
                "binance", "one", live, server.rest(), server.limits, server.bring, listener, True, Random(1)
            )
            task = asyncio.create_task(services)
            await until(lambda: known and offsets and len(server.asked["/contracts"]) == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())


def test_a_fault_of_our_own_is_not_swallowed():
    async def run():
        async with exchange(contracts=page("A"), time={"time": 1}) as server:

            def broken(_request, _answer):
                raise ZeroDivisionError

            live = Live((), Metadata((ask("contracts"),), broken), (), None, BUDGETS)
            listener = Listener(print, asyncio.Event(), print, list)
            await run_services(
                "binance", "one", live, server.rest(), server.limits, server.bring, listener, True, Random(1)
            )

    with pytest.raises(ExceptionGroup) as raised:
        asyncio.run(run())
    assert raised.group_contains(ZeroDivisionError)
