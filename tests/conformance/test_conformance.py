"""Walks the conformance kits: messages in, events and refusals out. The kits' form is described in README.md."""

import json
from base64 import b64decode
from pathlib import Path

import pytest

from pipeline.feeds import Mapping, all_feeds
from pipeline.feeds.map_lines import read_instruments
from pipeline.records import Candle, DeadLetter, Frame, Liquidation, MarketMetric

KITS = Path(__file__).parent
RECEIVED_US = 1_800_000_000_000_000
KINDS = {"liquidation": Liquidation, "candle": Candle, "metric": MarketMetric}
# What an expected event must say, so that no case passes by saying little.
TOLD = {
    "liquidation": {
        *("symbol", "instrument", "asset", "position", "price", "price_kind", "quantity", "notional_micros"),
        *("event_time", "event_time_kind", "completeness"),
    },
    "candle": {"symbol", "start", "open", "high", "low", "close", "volume", "volume_micros", "closed"},
    "metric": {"symbol", "metric", "value", "time"},
}
CASE_KEYS = {"case", "messages", "expected", "received_time", "channel", "ids"}


def lines_of(path):
    with path.open("rb") as file:
        return [json.loads(line) for line in file if line.strip()]


def frames_of(exchange, case):
    """Return the case's messages as frames; each connection counts its own."""
    sequences = {}
    for message in case["messages"]:
        given = message if isinstance(message, dict) else {"text": message}
        assert given.keys() <= {"text", "base64", "connection", "channel"}, given.keys()
        connection = given.get("connection", "a")
        sequence = sequences[connection] = sequences.get(connection, -1) + 1
        payload = b64decode(given["base64"], validate=True) if "base64" in given else given["text"].encode()
        received_us = case.get("received_time", RECEIVED_US)
        channel = given.get("channel", case.get("channel", "messages"))
        yield Frame(exchange, channel, connection, sequence, received_us, payload)


def mapped_by(exchange, case, instruments):
    mapping = Mapping(instruments)
    return [one for frame in frames_of(exchange, case) for one in mapping.map(frame)]


def differences(expected, found):
    """Return what is wrong with one event or refusal, in words."""
    if "error" in expected:
        told = found.reason if isinstance(found, DeadLetter) else f"a {type(found).__name__}"
        return [] if told == expected["error"] else [f"refused as {expected['error']} expected, found {told}"]
    kind = KINDS[expected["kind"]]
    if not isinstance(found, kind):
        told = f"refusal {found.reason}: {found.message}" if isinstance(found, DeadLetter) else type(found).__name__
        return [f"{expected['kind']} expected, found {told}"]
    return [
        f"{name} {value!r} expected, found {getattr(found, name)!r}"
        for name, value in expected.items()
        if name != "kind" and not same(value, getattr(found, name))
    ]


def same(expected, found):
    """Whole numbers, words and truths are equal exactly, doubles to the twelfth digit."""
    if isinstance(found, float) and isinstance(expected, int | float):
        return found == pytest.approx(expected, rel=1e-12, abs=0)
    return type(expected) is type(found) and expected == found


def wrong_with(exchange, case, instruments):
    expected, found = case["expected"], mapped_by(exchange, case, instruments)
    if len(expected) != len(found):
        told = [one.reason if isinstance(one, DeadLetter) else type(one).__name__ for one in found]
        return [f"{len(expected)} expected, found {len(found)}: {', '.join(told)}"]
    wrong = [
        f"{number}: {difference}"
        for number, (one, other) in enumerate(zip(expected, found, strict=True))
        for difference in differences(one, other)
    ]
    if "ids" in case:
        ids = [one.event_id for one in found if isinstance(one, Liquidation)]
        numbers = {event_id: number for number, event_id in reversed(list(enumerate(dict.fromkeys(ids))))}
        shared = [numbers[event_id] for event_id in ids]
        if shared != case["ids"]:
            wrong.append(f"ids {case['ids']} expected, found {shared}")
    return wrong


def kits():
    return sorted(path.name.removesuffix(".jsonl") for path in KITS.glob("*.jsonl") if path.name.count(".") == 1)


def instruments_of(exchange):
    with (KITS / f"{exchange}.instruments.jsonl").open("rb") as file:
        return read_instruments(file)


@pytest.mark.parametrize("exchange", kits())
def test_every_case(exchange):
    instruments = instruments_of(exchange)
    failed = [
        f"{case['case']}: {wrong}"
        for case in lines_of(KITS / f"{exchange}.jsonl")
        for wrong in wrong_with(exchange, case, instruments)
    ]
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("exchange", kits())
def test_a_kit_is_well_formed(exchange):
    cases = lines_of(KITS / f"{exchange}.jsonl")
    names = [case["case"] for case in cases]
    assert len(set(names)) == len(names)
    for case in cases:
        assert {"case", "messages", "expected"} <= case.keys() <= CASE_KEYS, case["case"]
        for one in case["expected"]:
            if "error" in one:
                assert one.keys() == {"error"}, case["case"]
            else:
                assert TOLD[one["kind"]] <= one.keys(), case["case"]
    assert {exchange} == {key[0] for key in instruments_of(exchange)}


@pytest.mark.parametrize("exchange", kits())
def test_a_kit_covers_what_every_exchange_has(exchange):
    cases = lines_of(KITS / f"{exchange}.jsonl")
    expected = [one for case in cases for one in case["expected"]]
    assert {one.get("position") for one in expected} >= {"long", "short"}
    assert any(not case["expected"] for case in cases), "nothing shows what maps to nothing"
    assert "bad_json" in {one.get("error") for one in expected}
    assert {"unknown_word", "missing_field"} & {one.get("error") for one in expected}
    sizes = {len(case["expected"]) for case in cases}
    assert {1, 2} <= sizes
    assert max(sizes) >= 50


def test_every_feed_has_facts_a_live_side_and_a_kit():
    feeds = all_feeds()
    assert kits() == sorted(feeds)
    assert [name for name, feed in feeds.items() if feed.facts is None] == []
    assert [name for name, feed in feeds.items() if feed.live is None] == []


def test_the_kits_positions_are_those_of_the_facts():
    for feed in all_feeds().values():
        assert feed.facts is not None
        assert set(feed.facts.positions.values()) == {"long", "short"}, feed.exchange


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"position": "short"}, "position 'short' expected"),
        ({"notional_micros": 1}, "notional_micros 1 expected"),
        ({"price": 1.0}, "price 1.0 expected"),
        ({"event_time": 1}, "event_time 1 expected"),
        ({"completeness": "full"}, "completeness 'full' expected"),
    ],
)
def test_a_wrong_expectation_is_found(change, wrong):
    """The walker can fail: each field that is compared is compared."""
    order = {"s": "BTCUSDT", "S": "SELL", "z": "1", "ap": "60000", "T": 1_790_000_000_000}
    case = {"case": "", "messages": [json.dumps({"e": "forceOrder", "o": order})]}
    case["expected"] = [{"kind": "liquidation", "position": "long", "notional_micros": 60_000_000_000}]
    assert wrong_with("binance", case, {}) == []
    case["expected"][0].update(change)
    (found,) = wrong_with("binance", case, {})
    assert wrong in found


def test_a_wrong_number_of_events_and_a_wrong_reason_are_found():
    case = {"case": "", "messages": ["nonsense"], "expected": []}
    assert wrong_with("binance", case, {}) == ["0 expected, found 1: bad_json"]
    case["expected"] = [{"error": "missing_field"}]
    assert wrong_with("binance", case, {}) == ["0: refused as missing_field expected, found bad_json"]
