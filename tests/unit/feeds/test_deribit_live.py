"""What is said to Deribit and understood of its answers; its list of contracts; its clock."""

import orjson
import pytest

from pipeline.feeds.deribit import FEED
from pipeline.feeds.live import Heard, Topic
from pipeline.records import Instrument, RefusedError

LIVE = FEED.live
(CHANNEL,) = LIVE.channels
(REQUEST,) = LIVE.metadata.requests
TOPIC = "trades.future.any.100ms"


def heard(conversation, document):
    return conversation.hear(orjson.dumps(document))


def asked(*topics, number=1):
    conversation = CHANNEL.begin()
    conversation.subscribe([Topic(topic) for topic in topics], number)
    return conversation


def test_one_topic_holds_all_perpetuals_and_futures():
    assert CHANNEL.topics([]) == [Topic(TOPIC)]
    assert not CHANNEL.per_symbol
    assert CHANNEL.url == "wss://www.deribit.com/ws/api/v2"


def test_heartbeats_are_asked_for_and_answered():
    conversation = CHANNEL.begin()
    (opening,) = map(orjson.loads, conversation.open())
    assert (opening["jsonrpc"], opening["method"]) == ("2.0", "public/set_heartbeat")
    assert opening["params"]["interval"] >= 10, "the least that is documented"
    assert CHANNEL.silence_s > 2 * opening["params"]["interval"]
    asks = {"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": "test_request"}}
    answer = heard(conversation, asks)
    assert [orjson.loads(reply)["method"] for reply in answer.replies] == ["public/test"]
    tells = {"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": "heartbeat"}}
    assert heard(conversation, tells) == Heard()
    assert conversation.ping(1, 0) is None


def test_the_request_and_its_confirmation():
    conversation = CHANNEL.begin()
    request = orjson.loads(conversation.subscribe([Topic(TOPIC)], 3))
    assert request == {
        "jsonrpc": "2.0",
        "id": 3,
        "method": "public/subscribe",
        "params": {"channels": [TOPIC]},
    }
    assert heard(conversation, {"jsonrpc": "2.0", "id": 0, "result": "ok"}) == Heard(), "the heartbeat's answer"
    assert heard(conversation, {"jsonrpc": "2.0", "id": 3, "result": [TOPIC]}) == Heard(confirmed=(TOPIC,))
    assert heard(conversation, {"jsonrpc": "2.0", "id": 3, "result": [TOPIC]}) == Heard(), "once"


def test_a_channel_left_out_of_the_answer_is_refused():
    answer = heard(asked(TOPIC, "trades.nothing.any.100ms"), {"jsonrpc": "2.0", "id": 1, "result": [TOPIC]})
    assert answer == Heard(confirmed=(TOPIC,), refused=(("trades.nothing.any.100ms", "left out of the answer"),))


def test_an_error_refuses_all_of_its_request():
    conversation = asked(TOPIC, "trades.option.any.100ms")
    conversation.subscribe([Topic("trades.future.BTC.100ms")], 2)
    error = {"jsonrpc": "2.0", "id": 1, "error": {"code": 10028, "message": "too_many_requests"}}
    assert heard(conversation, error) == Heard(
        refused=((TOPIC, "10028 too_many_requests"), ("trades.option.any.100ms", "10028 too_many_requests"))
    )
    confirmed = {"jsonrpc": "2.0", "id": 2, "result": ["trades.future.BTC.100ms"]}
    assert heard(conversation, confirmed) == Heard(confirmed=("trades.future.BTC.100ms",))


def test_trades_are_data_whether_forced_or_not():
    notice = {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": TOPIC, "data": [{"price": 1}]}}
    assert heard(CHANNEL.begin(), notice) == Heard(data=True)
    notice["params"]["channel"] = "ticker.BTC-PERPETUAL.100ms"
    assert heard(CHANNEL.begin(), notice) == Heard()


@pytest.mark.parametrize(
    "said", [b"", b"{", b"[]", b'{"id":[],"result":7}', b'{"id":1,"error":7}', b'{"method":"heartbeat"}', b"\xff"]
)
def test_rubbish_means_nothing(said):
    assert CHANNEL.begin().hear(said) == Heard()


def contract(**changes):
    fields = {
        "instrument_name": "BTC-PERPETUAL",
        "kind": "future",
        "instrument_type": "reversed",
        "base_currency": "BTC",
        "quote_currency": "USD",
        "counter_currency": "USD",
        "settlement_currency": "BTC",
        "settlement_period": "perpetual",
        "expiration_timestamp": 32_503_708_800_000,
        "contract_size": 10,
    }
    return fields | changes


LINEAR = {"instrument_type": "linear", "quote_currency": "USDC", "settlement_currency": "USDC"}


def read(*contracts):
    return LIVE.metadata.read(REQUEST, orjson.dumps({"jsonrpc": "2.0", "result": list(contracts)}))


def test_contracts():
    found = read(
        contract(),
        contract(instrument_name="SOL_USDC-PERPETUAL", base_currency="SOL", contract_size=0.1, **LINEAR),
        contract(instrument_name="BTC-26MAR27", settlement_period="month", expiration_timestamp=1_806_048_000_000),
    )
    assert found == [
        Instrument("deribit", "BTC-PERPETUAL", "BTC-USD-PERP", "BTC", "USD", "BTC", "inverse", None, 10.0),
        Instrument("deribit", "SOL_USDC-PERPETUAL", "SOL-USDC-PERP", "SOL", "USDC", "USDC", "linear", None, 0.1),
        Instrument("deribit", "BTC-26MAR27", "BTC-USD-20270326", "BTC", "USD", "BTC", "inverse", "2027-03-26", 10.0),
    ]


def test_what_the_feed_does_not_serve_is_left_out():
    option = contract(instrument_name="BTC-26MAR27-60000-C", kind="option")
    euro = contract(instrument_name="BTC_EURR-PERPETUAL", quote_currency="EURR")
    assert read(option, euro, contract(instrument_type="quanto")) == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"<html>", "bad_json"),
        (b'{"jsonrpc":"2.0","error":{"code":10028,"message":"too_many_requests"}}', "missing_field"),
        (b'{"result":[7]}', "unexpected_message"),
        (orjson.dumps({"result": [contract(instrument_name=None)]}), "missing_field"),
        (orjson.dumps({"result": [contract(settlement_period="month")]}), "bad_time"),
    ],
)
def test_what_is_no_list_of_contracts_is_refused(answer, expected):
    with pytest.raises(RefusedError) as refusal:
        LIVE.metadata.read(REQUEST, answer)
    assert refusal.value.reason == expected


def test_there_is_one_page():
    assert LIVE.metadata.following(REQUEST, b"{}") is None


def test_the_exchanges_clock():
    assert LIVE.clock.read(b'{"jsonrpc":"2.0","result":1790000000123,"testnet":false}') == 1_790_000_000_123
    with pytest.raises(RefusedError):
        LIVE.clock.read(b'{"result":"soon"}')
