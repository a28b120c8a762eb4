"""Bitfinex's positions: one event each, however its price comes, and nothing that waits is lost silently."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.feeds import Mapping
from pipeline.feeds.bitfinex import FEED
from pipeline.records import DeadLetter, Frame, Instrument, Liquidation, identity

TIME = 1_790_000_000_000
RECEIVED_US = 1_790_000_002_000_000


def row(number=5001, amount=0.5, price=None, execution=0, time=TIME, symbol="tBTCF0:USTF0"):
    return ["pos", number, time, None, symbol, amount, 70000, None, execution, None, None, price]


def message(*rows, at=None):
    return [77, list(rows), *([] if at is None else [3, at])]


class Connection:
    """One connection, of which every message is kept in order."""

    def __init__(self, instruments=None):
        self.mapping = Mapping(instruments or {})
        self.sequence = 0

    def hear(self, document, connection="a/status/1-0"):
        payload = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.sequence += 1
        received_us = RECEIVED_US + self.sequence
        return list(self.mapping.map(Frame("bitfinex", "status", connection, self.sequence, received_us, payload)))


def event(found):
    (one,) = found
    assert isinstance(one, Liquidation), one
    return one


def reason(found):
    (one,) = found
    assert isinstance(one, DeadLetter), one
    return one.reason


def test_every_field_of_a_trigger_with_a_price():
    one = event(Connection().hear(message(row(amount=-0.25, price=64000, time=1790000000123.4502))))
    assert (one.exchange, one.symbol, one.instrument) == ("bitfinex", "tBTCF0:USTF0", "BTC-USDT-PERP")
    assert (one.asset, one.quote, one.margin) == ("BTC", "USDT", "linear")
    assert one.position == "short", "the amount is the position's"
    assert (one.price, one.price_kind, one.order_price) == (64000, "unknown", None)
    assert (one.quantity, one.notional_micros) == (0.25, 16_000_000_000)
    assert (one.event_time, one.event_time_kind) == (1_790_000_000_123, "exchange")
    assert (one.received_time, one.completeness) == (RECEIVED_US + 1, "full")
    assert (one.source.connection, one.source.sequence, one.source.index) == ("a/status/1-0", 1, 0)
    assert one.event_id == identity("bitfinex", "tBTCF0:USTF0", 5001, 1_790_000_000_123)


def test_the_recorded_messages(shared_dir):
    lines = (shared_dir / "reference" / "samples" / "bitfinex.jsonl").read_bytes().splitlines()
    connection = Connection()
    assert [connection.hear(line) for line in lines[:3]] == [[], [], []], "the third is margin trading of spot"
    one = event(connection.hear(lines[3]))
    assert (one.instrument, one.position, one.price, one.quantity) == ("BTC-USDT-PERP", "long", 9080, 0.00268657)
    assert (one.notional_micros, one.event_time) == (24_394_056, 1_593_522_802_742)


def test_a_refusal_that_waits_and_its_event_have_one_place():
    connection = Connection()
    (refused,) = connection.hear(message(row(1, price=64000), row(2)))[1:]
    assert (refused.reason, refused.sequence, refused.index) == ("awaiting_price", 1, 1)
    one = event(connection.hear(message(row(2, amount=0.1, price=63000, execution=1, time=TIME + 70))))
    assert (one.source.connection, one.source.sequence, one.source.index) == (refused.connection, 1, 1)
    assert (one.price, one.price_kind, one.quantity) == (63000, "fill", 0.5)
    assert one.event_time == TIME, "the trigger's time"
    assert one.received_time == RECEIVED_US + 2, "the price came with the second message"


def test_later_executions_add_nothing():
    connection = Connection()
    connection.hear(message(row()))
    assert event(connection.hear(message(row(price=63000, execution=1)))).price == 63000
    assert connection.hear(message(row(price=62000, execution=1), row(price=61000, execution=1))) == []


def test_an_execution_in_front_of_its_trigger_is_none_of_it():
    first, second = Connection().hear(message(row(price=63000, execution=1), row()))
    assert (first.reason, second.reason) == ("unknown_position", "awaiting_price")


def test_connections_know_nothing_of_each_other():
    connection = Connection()
    assert reason(connection.hear(message(row()), "a/status/1-0")) == "awaiting_price"
    assert reason(connection.hear(message(row(price=1, execution=1)), "a/status/2-0")) == "unknown_position"
    assert event(connection.hear(message(row(price=1, execution=1)), "a/status/1-0")).price == 1
    connection.mapping.leave("bitfinex", "status", "a/status/1-0")
    assert reason(connection.hear(message(row(price=1, execution=1)), "a/status/1-0")) == "unknown_position"


def test_the_same_trigger_on_another_connection_has_the_same_id():
    connection = Connection()
    first = event(connection.hear(message(row(price=64000)), "a/status/1-0"))
    second = event(connection.hear(message(row(price=64000), at=TIME + 43_200_000), "b/status/1-0"))
    assert first.event_id == second.event_id
    assert event(connection.hear(message(row(price=64000, time=TIME + 1)), "c/status/1-0")).event_id != first.event_id


def test_history_is_told_by_the_servers_clock_alone():
    old = row(price=64000, execution=1, time=TIME - 60_001)
    connection = Connection()
    assert connection.hear([77, "hb", 1, TIME]) == []
    assert connection.hear(message(old, at=TIME + 5)) == []
    assert reason(Connection().hear(message(old))) == "unknown_position", "no server's time, no history"
    recent = row(price=64000, execution=1, time=TIME - 60_000)
    assert reason(connection.hear(message(recent, at=TIME + 6))) == "unknown_position"


def test_a_contract_that_becomes_known_between_trigger_and_execution():
    odd = "tETHF0:BTCF0"
    table = {("bitfinex", odd): Instrument("bitfinex", odd, "ETH-USDT-PERP", "ETH", "USDT", "USDT", "linear")}
    mapping = FEED.begin()

    def hear(sequence, document, instruments):
        payload = json.dumps(document).encode()
        return list(mapping(Frame("bitfinex", "status", "a/1", sequence, RECEIVED_US, payload), instruments))

    assert reason(hear(1, message(row(price=0.03, symbol=odd)), {})) == "unknown_symbol"
    one = event(hear(2, message(row(price=0.04, symbol=odd, execution=1)), table))
    assert (one.asset, one.price, one.source.sequence) == ("ETH", 0.04, 1)


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr("pipeline.feeds.bitfinex._MOST_REMEMBERED", 3)
    connection = Connection()
    for number in range(5):
        assert reason(connection.hear(message(row(number)))) == "awaiting_price", "refused, so it may be forgotten"
    found = [connection.hear(message(row(number, price=1, execution=1))) for number in range(5)]
    assert [reason(one) for one in found[:2]] == ["unknown_position"] * 2
    assert [event(one).price for one in found[2:]] == [1, 1, 1]


@pytest.mark.parametrize(
    ("symbol", "instrument"), [("tETHF0:USTF0", "ETH-USDT-PERP"), ("tIOTF0:USTF0", "IOTA-USDT-PERP")]
)
def test_documented_names(symbol, instrument):
    assert event(Connection().hear(message(row(price=1, symbol=symbol)))).instrument == instrument


@pytest.mark.parametrize("symbol", ["tBTCF0:EURF0", "BTCF0:USTF0", "tBTC:USTF0", "tBTCF0USTF0", "F0"])
def test_a_symbol_of_no_documented_form_is_refused(symbol):
    assert reason(Connection().hear(message(row(price=1, symbol=symbol)))) == "unknown_symbol"


positions = st.lists(
    st.tuples(st.sampled_from([None, 0, 64000]), st.lists(st.sampled_from([None, 63000, 62000]), max_size=3)),
    min_size=1,
    max_size=5,
)


@given(positions=positions, data=st.data())
def test_each_trigger_is_one_event_or_a_refusal_however_rows_are_interleaved_and_packed(positions, data):
    queues = []
    for number, (price, executions) in enumerate(positions):
        trigger = row(number, amount=number + 1, price=price)
        queues.append([trigger, *(row(number, amount=0.1, price=fill, execution=1) for fill in executions)])
    rows = []
    while any(queues):
        rows.append(data.draw(st.sampled_from([queue for queue in queues if queue])).pop(0))
    connection, found, start = Connection(), [], 0
    while start < len(rows):
        end = data.draw(st.integers(start + 1, len(rows)))
        found += connection.hear(message(*rows[start:end], at=TIME + 1000))
        start = end
    events = {one.quantity: one for one in found if isinstance(one, Liquidation)}
    assert len(events) == sum(isinstance(one, Liquidation) for one in found), "no position twice"
    settled = {(one.source.sequence, one.source.index) for one in events.values()}
    waiting = [one for one in found if isinstance(one, DeadLetter) and one.reason == "awaiting_price"]
    for number, (price, executions) in enumerate(positions):
        prices = [one for one in [price, *executions] if one]
        assert (number + 1 in events) == bool(prices)
        if prices:
            assert events[number + 1].price == prices[0]
    assert len({(one.sequence, one.index) for one in waiting} - settled) == len(positions) - len(events)


values = st.one_of(
    st.sampled_from(["pos", "tBTCF0:USTF0", "1", "0", "-1", "1e99", TIME, 0, 1, 5001]),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.integers(0, 3), max_size=2),
)


@given(
    messages=st.lists(
        st.lists(st.dictionaries(st.integers(0, 11), values, max_size=2), max_size=3)
        | values
        | st.dictionaries(st.sampled_from(["event", "ts"]), values, max_size=2),
        max_size=4,
    ),
    behind=st.lists(values, max_size=2),
)
def test_rubbish_is_refused_never_raised(messages, behind):
    connection = Connection()
    for drawn in messages:
        document = drawn
        if isinstance(drawn, list) and all(isinstance(changes, dict) for changes in drawn):
            rows = [[changes.get(place, value) for place, value in enumerate(row(price=64000))] for changes in drawn]
            document = [77, rows, *behind]
        assert all(isinstance(one, Liquidation | DeadLetter) for one in connection.hear(document))


def test_each_connection_begins_anew():
    assert FEED.begin() is not FEED.begin()
