"""BitMEX's open forced orders: inserts and increases count, by connection; receipt is the only time."""

import json
from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.feeds import Mapping, map_frame
from pipeline.records import DeadLetter, Frame, Instrument, Liquidation

RECEIVED_US = 1_790_000_002_000_456
TABLE = {
    ("bitmex", "XBTUSD"): Instrument(
        "bitmex", "XBTUSD", "BTC-USD-PERP", "BTC", "USD", "BTC", "inverse", contract_size=1.0
    ),
    ("bitmex", "XBTUSDT"): Instrument(
        "bitmex", "XBTUSDT", "BTC-USDT-PERP", "BTC", "USDT", "USDT", "linear", contract_size=1e-6
    ),
}
ID = "3f1f6ff5-0001-4000-8000-0242ac120002"


def row(**changes):
    fields = {"orderID": ID, "symbol": "XBTUSD", "side": "Sell", "price": 64000, "leavesQty": 3200}
    fields.update(changes)
    return {key: value for key, value in fields.items() if value is not ...}


def table(action, *rows):
    return {"table": "liquidation", "action": action, "data": list(rows)}


class Collection:
    """Frames as a collector brings them, through the one mapping."""

    def __init__(self):
        self.mapping = Mapping(TABLE)
        self.sequence = 0

    def hear(self, document, connection="a/liquidation/1-0"):
        self.sequence += 1
        payload = document if isinstance(document, bytes) else json.dumps(document).encode()
        frame = Frame("bitmex", "liquidation", connection, self.sequence, RECEIVED_US, payload)
        return list(self.mapping.map(frame))


def one_of(mapped):
    (one,) = mapped
    assert isinstance(one, Liquidation), one
    return one


def test_every_field_of_a_row():
    one = one_of(Collection().hear(table("insert", row())))
    assert (one.exchange, one.symbol, one.instrument) == ("bitmex", "XBTUSD", "BTC-USD-PERP")
    assert (one.asset, one.quote, one.margin) == ("BTC", "USD", "inverse")
    assert one.position == "long", "the order sells"
    assert (one.price, one.price_kind, one.order_price) == (64000, "order", None)
    assert (one.quantity, one.notional_micros) == (0.05, 3_200_000_000)
    assert (one.event_time, one.event_time_kind) == (1_790_000_002_000, "received")
    assert (one.received_time, one.completeness, one.position_proved) == (RECEIVED_US, "full", True)
    assert (one.source.sequence, one.source.index) == (1, 0)


def test_the_recorded_messages(shared_dir):
    collection = Collection()
    lines = (shared_dir / "reference" / "samples" / "bitmex.jsonl").read_bytes().splitlines()
    found = [[seen(one) for one in collection.hear(line)] for line in lines]
    expected = [[] for _ in lines]
    expected[3] = [("BTC-USDT-PERP", "short", 87785.3, 0.0397, 3_485_076_410)]
    expected[5] = [("BTC-USD-PERP", "short", 88303.7, pytest.approx(50900 / 88303.7), 50_900_000_000)]
    expected[9] = [("BTC-USD-PERP", "short", 88635.6, pytest.approx(12900 / 88635.6), 12_900_000_000)]
    expected[10] = [("BTC-USD-PERP", "short", 88753.4, pytest.approx(8700 / 88753.4), 8_700_000_000)]
    expected[12] = [("BTC-USD-PERP", "long", 90927.1, pytest.approx(876800 / 90927.1), 876_800_000_000)]
    expected[13] = [("BTC-USD-PERP", "short", 6705, pytest.approx(3 / 6705), 3_000_000)]
    assert found == expected


def seen(one):
    assert isinstance(one, Liquidation), one
    return (one.instrument, one.position, one.price, one.quantity, one.notional_micros)


def test_a_reconnection_counts_nothing_twice():
    collection = Collection()
    first = one_of(collection.hear(table("insert", row()), "a/liquidation/1-0"))
    again = one_of(collection.hear(table("partial", row(leavesQty=1200)), "a/liquidation/2-0"))
    assert again.event_id == first.event_id, "what is left of an order seen before is the same event"
    raised = one_of(collection.hear(table("update", row(side=..., leavesQty=2200)), "a/liquidation/2-0"))
    assert (raised.notional_micros, raised.position) == (1_000_000_000, "long")
    assert raised.event_id != first.event_id


def test_a_connection_knows_its_own_orders_only():
    collection = Collection()
    collection.hear(table("insert", row()), "a/liquidation/1-0")
    (refused,) = collection.hear(table("update", row(side=..., leavesQty=9000)), "a/liquidation/2-0")
    assert isinstance(refused, DeadLetter)
    assert refused.reason == "unknown_order"


def test_an_order_is_forgotten_when_it_ends():
    collection = Collection()
    collection.hear(table("insert", row()))
    collection.hear(table("delete", {"orderID": ID, "symbol": "XBTUSD"}))
    (refused,) = collection.hear(table("update", row(side=..., leavesQty=9000)))
    assert refused.reason == "unknown_order"


def test_a_refused_order_is_understood_in_its_updates():
    collection = Collection()
    (first,) = collection.hear(table("insert", row(symbol="ETHUSD")))
    (raised,) = collection.hear(table("update", row(symbol="ETHUSD", side=..., leavesQty=9000)))
    assert (first.reason, raised.reason) == ("unsupported_margin", "unsupported_margin")
    (first,) = collection.hear(table("insert", row(orderID="b", price=None)))
    assert first.reason == "missing_field"
    raised = one_of(collection.hear(table("update", {"orderID": "b", "price": 50000, "leavesQty": 3700})))
    assert (raised.notional_micros, raised.quantity) == (500_000_000, 0.01)


@given(sizes=st.lists(st.integers(1, 9).map(lambda size: size * 100), min_size=1, max_size=12))
def test_what_is_counted_is_the_order_and_its_increases(sizes):
    collection = Collection()
    events = [one_of(collection.hear(table("insert", row(leavesQty=sizes[0]))))]
    for size in sizes[1:]:
        events += collection.hear(table("update", {"orderID": ID, "symbol": "XBTUSD", "leavesQty": size}))
    rises = [after - before for before, after in pairwise(sizes) if after > before]
    assert [one.notional_micros for one in events] == [size * 1_000_000 for size in [sizes[0], *rises]]
    assert len({one.event_id for one in events}) == len(events)


def test_the_id_is_the_orders():
    first = one_of(Collection().hear(table("insert", row())))
    assert one_of(Collection().hear(table("insert", row(price=1, leavesQty=5)))).event_id == first.event_id
    assert one_of(Collection().hear(table("insert", row(orderID="b")))).event_id != first.event_id


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("XBTUSDT", "unknown_contract_size"),
        ("XBTUSD", "unknown_contract_size"),
        ("XBTM26", "unknown_contract_size"),
        ("ETHUSD", "unsupported_margin"),
        ("ETHM26", "unknown_symbol"),
        ("XBTA26", "unknown_symbol"),
        ("USDT", "unknown_symbol"),
        ("XBT_USDT", "unknown_symbol"),
    ],
)
def test_a_name_never_tells_a_contracts_size(symbol, expected):
    payload = orjson.dumps(table("insert", row(symbol=symbol)))
    (refused,) = map_frame(Frame("bitmex", "liquidation", "a/1", 0, RECEIVED_US, payload), {})
    assert refused.reason == expected


values = st.one_of(
    st.sampled_from(["Sell", "Buy", "1", "0", "-1", "1e99", "1e-99", "XBTUSD", "ETHUSD", ID, "insert", "update"]),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.lists(st.integers(0, 3), max_size=2),
    st.dictionaries(st.sampled_from(["orderID", "side"]), st.text(max_size=3), max_size=2),
)
rows = st.fixed_dictionaries(
    {},
    optional={
        "orderID": st.sampled_from([ID, "b"]) | values,
        "symbol": st.just("XBTUSD") | values,
        "side": st.sampled_from(["Buy", "Sell"]) | values,
        "price": st.integers(1, 9) | values,
        "leavesQty": st.integers(0, 9) | values,
    },
)
actions = st.sampled_from(["partial", "insert", "update", "delete"]) | values


@given(
    documents=st.lists(
        st.fixed_dictionaries(
            {"table": st.just("liquidation")}, optional={"action": actions, "data": st.lists(rows | values) | values}
        ),
        max_size=6,
    )
)
def test_whatever_comes_is_an_event_or_a_refusal(documents):
    collection = Collection()
    for document in documents:
        mapped = collection.hear(document)
        assert all(isinstance(one, Liquidation | DeadLetter) for one in mapped)
        indices = [one.index if isinstance(one, DeadLetter) else one.source.index for one in mapped]
        assert len(set(indices)) == len(indices)
