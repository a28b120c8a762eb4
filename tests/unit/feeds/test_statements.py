"""What a collector says of itself, as frames and back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pipeline.feeds import Mapping
from pipeline.feeds.statements import (
    INSTRUMENTS,
    INSTRUMENTS_PER_FRAME,
    STATEMENTS,
    collector_of,
    instruments_connection,
    instruments_payloads,
    nothing_known_payload,
    statements_connection,
    statements_payload,
)
from pipeline.records import DeadLetter, Frame, Heartbeat, Instrument, Liquidation, Subscription

NOW_MS = 1_767_225_601_000
BEATS = [
    Heartbeat("okx", "SWAP", "tokyo", NOW_MS, "up", 12, NOW_MS * 1000 - 7, -240),
    Heartbeat("okx", "FUTURES", "tokyo", NOW_MS - 3, "down", 0, None, None),
]
SUBSCRIPTIONS = [
    Subscription("okx", "SWAP", "BTC-USDT-SWAP", "BTC", "tokyo", NOW_MS - 900, "up"),
    Subscription("okx", "SWAP", "币安人生-USDT-SWAP", "币安人生", "tokyo", NOW_MS - 1, "down"),
]
SWAP = Instrument("okx", "BTC-USDT-SWAP", "BTC-USDT-PERP", "BTC", "USDT", "USDT", "linear", None, 0.01)
DATED = Instrument("okx", "BTC-USD-261225", "BTC-USD-20261225", "BTC", "USD", "BTC", "inverse", "2026-12-25", 100.0)
LIQUIDATION = {
    "arg": {"channel": "liquidation-orders", "instType": "SWAP"},
    "data": [
        {
            "instType": "SWAP",
            "instId": "BTC-USDT-SWAP",
            "uly": "BTC-USDT",
            "instFamily": "BTC-USDT",
            "details": [
                {
                    "side": "sell",
                    "posSide": "long",
                    "bkPx": "80000",
                    "sz": "3",
                    "bkLoss": "0",
                    "ccy": "",
                    "ts": str(NOW_MS),
                }
            ],
        }
    ],
}


def statements(payload, connection="tokyo/statements"):
    return Frame("okx", STATEMENTS, connection, 1, NOW_MS * 1000, payload)


def contracts(payload, collector="tokyo"):
    return Frame("okx", INSTRUMENTS, instruments_connection(collector), 1, NOW_MS * 1000, payload)


def message(collector):
    connection = f"{collector}/SWAP/{NOW_MS}-0"
    return Frame("okx", "SWAP", connection, 1, NOW_MS * 1000, json.dumps(LIQUIDATION).encode())


def mapped(mapping, *frames):
    return [one for frame in frames for one in mapping.map(frame)]


def test_what_is_said_comes_out_as_it_was():
    frame = statements(statements_payload(BEATS, SUBSCRIPTIONS))
    assert list(Mapping({}).map(frame)) == [*BEATS, *SUBSCRIPTIONS]


def test_the_collector_is_the_first_part_of_the_connection():
    assert statements_connection("tokyo-2") == "tokyo-2/statements"
    assert collector_of("tokyo-2/statements") == "tokyo-2"
    assert collector_of("tokyo-2/linear/1767225601000-3") == "tokyo-2"
    assert collector_of("recording.jsonl") == "recording.jsonl"
    found = list(Mapping({}).map(statements(statements_payload(BEATS[:1]), "paris/statements")))
    assert found == [replace(BEATS[0], collector="paris")]


BEAT = json.loads(statements_payload(BEATS[:1]))["heartbeats"][0]
SUBSCRIPTION = json.loads(statements_payload([], SUBSCRIPTIONS[:1]))["subscriptions"][0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"channel": ""}, "missing_field"),
        ({"channel": 3}, "unknown_word"),
        ({"time": NOW_MS // 1000}, "bad_time"),
        ({"time": None}, "missing_field"),
        ({"time": NOW_MS + 600_001}, "time_in_future"),
        ({"state": "UP"}, "unknown_word"),
        ({"state": ["up"]}, "unknown_word"),
        ({"frames": -1}, "bad_number"),
        ({"frames": True}, "bad_number"),
        ({"frames": 2**63}, "bad_number"),
        ({"frames": None}, "bad_number"),
        ({"last_frame_time": NOW_MS}, "bad_time"),
        ({"last_frame_time": 1.5}, "bad_number"),
        ({"clock_offset_ms": "3"}, "bad_number"),
    ],
)
def test_a_heartbeat_that_cannot_be_is_refused_alone(change, reason):
    payload = json.dumps({"heartbeats": [BEAT, BEAT | change, BEAT]}).encode()
    first, letter, last = Mapping({}).map(statements(payload))
    assert (first, last) == (BEATS[0], BEATS[0])
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.index) == (reason, 1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"symbol": ""}, "missing_field"),
        ({"asset": None}, "missing_field"),
        ({"state": "gone"}, "unknown_word"),
        ({"time": NOW_MS * 1000}, "bad_time"),
    ],
)
def test_a_subscription_that_cannot_be_is_refused_alone(change, reason):
    payload = json.dumps({"heartbeats": [BEAT], "subscriptions": [SUBSCRIPTION | change, SUBSCRIPTION]}).encode()
    beat, letter, last = Mapping({}).map(statements(payload))
    assert (beat, last) == (BEATS[0], SUBSCRIPTIONS[0])
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.index) == (reason, 1)


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"7", b'{"heartbeats": 3}', b'{"subscriptions": {}}'])
def test_what_is_no_statement_is_refused(payload):
    (letter,) = Mapping({}).map(statements(payload))
    assert isinstance(letter, DeadLetter)


def test_a_channel_of_an_exchange_may_have_these_names():
    frame = replace(message("tokyo"), channel=INSTRUMENTS)
    known = {("okx", SWAP.symbol): SWAP}
    assert [type(one) for one in Mapping(known).map(frame)] == [Liquidation]
    assert [type(one) for one in Mapping(known).map(replace(frame, channel=STATEMENTS))] == [Liquidation]


def test_frames_are_mapped_with_the_contracts_found_before_them():
    mapping = Mapping({})
    (payload,) = instruments_payloads([SWAP, DATED])
    before, after = mapped(mapping, message("tokyo"), contracts(payload), message("tokyo"))
    assert isinstance(before, DeadLetter)
    assert isinstance(after, Liquidation)
    assert after.quantity == 0.03
    assert mapping.instruments("tokyo") == {("okx", SWAP.symbol): SWAP, ("okx", DATED.symbol): DATED}


def test_a_changed_contract_counts_from_then_on_and_a_delisted_one_is_gone():
    mapping = Mapping({("okx", SWAP.symbol): SWAP})
    (changed,) = instruments_payloads([replace(SWAP, contract_size=0.1)])
    (gone,) = instruments_payloads([], [SWAP.symbol, "NEVER-SEEN"])
    frames = [message("tokyo"), contracts(changed), message("tokyo"), contracts(gone), message("tokyo")]
    first, second, third = mapped(mapping, *frames)
    assert (first.quantity, second.quantity) == (0.03, 0.3)
    assert isinstance(third, DeadLetter)


def test_a_collector_that_begins_anew_knows_no_contract_of_its_exchange():
    """Live it is another process: a replay must refuse what that one refused before it had the list."""
    other = replace(SWAP, exchange="gate", symbol="BTC_USDT")
    mapping = Mapping({("gate", other.symbol): other})
    (payload,) = instruments_payloads([SWAP])
    begun = contracts(nothing_known_payload())
    frames = [contracts(payload), message("tokyo"), begun, message("tokyo"), contracts(payload), message("tokyo")]
    known, unknown, again = mapped(mapping, *frames)
    assert isinstance(unknown, DeadLetter)
    assert unknown.reason == "unknown_contract_size"
    assert again == known
    assert set(mapping.instruments("tokyo").values()) == {SWAP, other}


def test_one_collector_does_not_map_with_what_another_found():
    """Live they are two processes, and a replay of both must give the rows of both."""
    mapping = Mapping({})
    (payload,) = instruments_payloads([SWAP])
    of_paris, of_tokyo = mapped(mapping, contracts(payload, "tokyo"), message("paris"), message("tokyo"))
    assert isinstance(of_paris, DeadLetter)
    assert isinstance(of_tokyo, Liquidation)


def test_contracts_come_in_pieces():
    many = [replace(SWAP, symbol=f"A{number}-USDT-SWAP") for number in range(INSTRUMENTS_PER_FRAME + 1)]
    payloads = list(instruments_payloads(many, ["B-USDT-SWAP"]))
    assert [len(payload.splitlines()) for payload in payloads] == [INSTRUMENTS_PER_FRAME, 2]
    mapping = Mapping({})
    assert mapped(mapping, *map(contracts, payloads)) == []
    assert set(mapping.instruments("tokyo").values()) == set(many)
    assert list(instruments_payloads([])) == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "bad_json"),
        (b"[]", "unexpected_message"),
        (b"{}", "missing_field"),
        (b'{"delisted": ""}', "missing_field"),
        (b'{"instrument": {"exchange": "okx"}}', "bad_instruments"),
        (json.dumps({"instrument": {"exchange": "bybit"}}).encode(), "bad_instruments"),
        (next(instruments_payloads([replace(SWAP, exchange="bybit")])), "bad_instruments"),
        (next(instruments_payloads([replace(SWAP, contract_size=0.0)])), "bad_instruments"),
    ],
)
def test_a_line_that_is_no_contract_is_refused_alone(line, reason):
    (good,) = instruments_payloads([SWAP])
    mapping = Mapping({})
    (letter,) = mapping.map(contracts(b"\n".join((line, good))))
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.index) == (reason, 0)
    assert mapping.instruments("tokyo") == {("okx", SWAP.symbol): SWAP}
