"""What is said to Gate and understood of its answers; its lists of contracts; its clock."""

import orjson
import pytest

from pipeline.feeds.gate import FEED
from pipeline.feeds.live import Heard, Topic
from pipeline.records import Instrument, RefusedError

LIVE = FEED.live
CHANNEL = LIVE.channels[0]
USDT_LIST, BTC_LIST, USD1_LIST = LIVE.metadata.requests
LIQUIDATIONS = "futures.public_liquidates"


def heard(conversation, document):
    return conversation.hear(orjson.dumps(document))


def asked():
    conversation = CHANNEL.begin()
    conversation.subscribe([Topic("!all")], 1)
    return conversation


def test_an_address_for_each_settlement_and_one_topic_for_all_contracts():
    assert [channel.url for channel in LIVE.channels] == [
        "wss://fx-ws.gateio.ws/v4/ws/usdt",
        "wss://fx-ws.gateio.ws/v4/ws/btc",
        "wss://fx-ws.gateio.ws/v4/ws/usd1",
    ]
    for channel in LIVE.channels:
        assert channel.topics([]) == [Topic("!all")]
        assert not channel.per_symbol


def test_the_request_and_its_confirmation():
    conversation = CHANNEL.begin()
    assert conversation.open() == ()
    request = orjson.loads(conversation.subscribe([Topic("!all")], 1))
    assert (request["channel"], request["event"], request["payload"]) == (LIQUIDATIONS, "subscribe", ["!all"])
    assert isinstance(request["time"], int), "the field must be there"
    answer = {"time": 1_790_000_000, "channel": LIQUIDATIONS, "event": "subscribe", "result": {"status": "success"}}
    assert heard(conversation, answer) == Heard(confirmed=("!all",))
    assert heard(conversation, answer) == Heard(), "once"
    assert heard(asked(), answer | {"error": None}) == Heard(confirmed=("!all",))


def test_a_refusal():
    error = {"code": 2, "message": "unknown contract"}
    answer = {"time": 1, "channel": LIQUIDATIONS, "event": "subscribe", "error": error, "result": None}
    assert heard(asked(), answer) == Heard(refused=(("!all", "2 unknown contract"),))
    failed = answer | {"error": None, "result": {"status": "fail"}}
    assert [topic for topic, _ in heard(asked(), failed).refused] == ["!all"]


def test_a_repeated_request_is_answered_once():
    conversation = asked()
    conversation.subscribe([Topic("!all")], 2)
    answer = {"channel": LIQUIDATIONS, "event": "subscribe", "result": {"status": "success"}}
    assert heard(conversation, answer) == Heard(confirmed=("!all",))


def test_the_ping_carries_the_time_in_seconds_and_so_do_requests_after_it():
    conversation = CHANNEL.begin()
    ping = orjson.loads(conversation.ping(1, 1_790_000_000_999))
    assert ping == {"time": 1_790_000_000, "channel": "futures.ping"}
    assert heard(conversation, {"time": 1_790_000_000, "channel": "futures.pong", "event": ""}) == Heard()
    assert orjson.loads(conversation.subscribe([Topic("!all")], 2))["time"] == 1_790_000_000
    assert 10 <= CHANNEL.ping_every_s <= 20


def test_rows_are_data():
    assert heard(asked(), {"channel": LIQUIDATIONS, "event": "update", "result": []}) == Heard(data=True)
    assert heard(asked(), {"channel": "futures.trades", "event": "update", "result": []}) == Heard()


def test_the_server_says_that_it_closes():
    notice = {"type": "service_upgrade", "msg": "The connection will soon be closed for server maintenance."}
    assert heard(asked(), notice).closing == notice["msg"]
    assert heard(asked(), {"type": "service_upgrade"}).closing


@pytest.mark.parametrize("said", [b"", b"{", b"[]", b'{"channel":7}', b"\xff"])
def test_rubbish_means_nothing(said):
    assert asked().hear(said) == Heard()


def contract(**changes):
    return {"name": "BTC_USDT", "type": "direct", "quanto_multiplier": "0.0001", "status": "trading"} | changes


def read(request, *contracts):
    return LIVE.metadata.read(request, orjson.dumps(list(contracts)))


def test_contracts_of_each_list():
    assert read(USDT_LIST, contract(), contract(name="MBABYDOGE_USDT", quanto_multiplier="100")) == [
        Instrument("gate", "BTC_USDT", "BTC-USDT-PERP", "BTC", "USDT", "USDT", "linear", None, 0.0001),
        Instrument(
            "gate",
            "MBABYDOGE_USDT",
            "BABYDOGE-USDT-PERP",
            "BABYDOGE",
            "USDT",
            "USDT",
            "linear",
            contract_size=100.0,
            asset_multiplier=1_000_000.0,
        ),
    ]
    assert read(
        BTC_LIST,
        contract(name="BTC_USD", type="inverse", quanto_multiplier="0"),
        contract(name="ETH_USD", quanto_multiplier="0.000001"),
    ) == [
        Instrument("gate", "BTC_USD", "BTC-USD-PERP", "BTC", "USD", "BTC", "inverse"),
        Instrument("gate", "ETH_USD", "ETH-USD-PERP", "ETH", "USD", "BTC", "quanto"),
    ]
    assert read(USD1_LIST, contract(name="SOL_USD1", quanto_multiplier="0.1")) == [
        Instrument("gate", "SOL_USD1", "SOL-USD1-PERP", "SOL", "USD1", "USD1", "linear", None, 0.1)
    ]


def test_what_is_gone_or_of_another_settlement_is_left_out_and_a_size_that_is_not_told_stays_unknown():
    assert read(USDT_LIST, contract(status="delisted"), contract(name="BTC_USD"), contract(name="BTC")) == []
    (unknown,) = read(USDT_LIST, contract(quanto_multiplier="0"))
    assert unknown.contract_size is None


def test_pages_follow_until_one_is_not_full():
    full = orjson.dumps([contract()] * 1000)
    second = LIVE.metadata.following(USDT_LIST, full)
    assert second is not None
    assert second.name == USDT_LIST.name
    assert second.url == USDT_LIST.url.replace("offset=0", "offset=1000")
    third = LIVE.metadata.following(second, full)
    assert third is not None
    assert third.url.endswith("/futures/usdt/contracts?limit=1000&offset=2000")
    assert LIVE.metadata.following(second, orjson.dumps([contract()] * 999)) is None


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"<html>", "bad_json"),
        (b'{"label":"TOO_MANY_REQUESTS","message":"slow down"}', "unexpected_message"),
        (b"[7]", "unexpected_message"),
        (orjson.dumps([contract(name=None)]), "missing_field"),
        (orjson.dumps([contract(quanto_multiplier="x")]), "bad_number"),
    ],
)
def test_what_is_no_list_of_contracts_is_refused(answer, expected):
    with pytest.raises(RefusedError) as refusal:
        LIVE.metadata.read(USDT_LIST, answer)
    assert refusal.value.reason == expected


def test_the_exchanges_clock():
    assert LIVE.clock.read(b'{"server_time":1790000000123}') == 1_790_000_000_123
    with pytest.raises(RefusedError):
        LIVE.clock.read(b'{"server_time":1790000000}')
