"""What is said to BitMEX and understood of its answers; its list of contracts; its clock."""

import orjson
import pytest

from pipeline.feeds.bitmex import FEED
from pipeline.feeds.live import Heard, Topic
from pipeline.records import Instrument, RefusedError

LIVE = FEED.live
(CHANNEL,) = LIVE.channels
(REQUEST,) = LIVE.metadata.requests


def heard(document):
    return CHANNEL.begin().hear(orjson.dumps(document))


def test_one_topic_holds_all_contracts():
    assert CHANNEL.topics([]) == [Topic("liquidation")]
    assert not CHANNEL.per_symbol
    assert CHANNEL.url == "wss://ws.bitmex.com/realtime"


def test_the_request_and_its_confirmation():
    conversation = CHANNEL.begin()
    assert conversation.open() == ()
    request = orjson.loads(conversation.subscribe([Topic("liquidation")], 1))
    assert request == {"op": "subscribe", "args": ["liquidation"]}
    assert heard({"success": True, "subscribe": "liquidation", "request": request}) == Heard(confirmed=("liquidation",))


def test_a_refusal_names_its_request():
    request = {"op": "subscribe", "args": ["liquidations"]}
    error = {"status": 400, "error": "Unknown table: liquidations", "meta": {}, "request": request}
    assert heard(error) == Heard(refused=(("liquidations", "400 Unknown table: liquidations"),))
    assert heard(error | {"request": {"op": "subscribe", "args": "liquidations"}}) == heard(error)
    assert heard({"status": 429, "error": "Rate limit exceeded"}) == Heard()


def test_changes_are_data_and_what_was_there_is_not():
    for action in ("insert", "update", "delete"):
        assert heard({"table": "liquidation", "action": action, "data": []}) == Heard(data=True)
    assert heard({"table": "liquidation", "action": "partial", "data": []}) == Heard()
    assert heard({"info": "Welcome to the BitMEX Realtime API.", "limit": {"remaining": 719}}) == Heard()


def test_the_ping_is_a_word_and_so_is_its_answer():
    assert CHANNEL.begin().ping(1, 0) == "ping"
    assert CHANNEL.begin().hear(b"pong") == Heard()


@pytest.mark.parametrize("said", [b"", b"{", b"[]", b'{"success":true}', b'{"error":7,"request":[]}', b"\xff"])
def test_rubbish_means_nothing(said):
    assert CHANNEL.begin().hear(said) == Heard()


def contract(**changes):
    fields = {
        "symbol": "XBTUSD",
        "typ": "FFWCSX",
        "expiry": None,
        "underlying": "XBT",
        "quoteCurrency": "USD",
        "settlCurrency": "XBt",
        "multiplier": -100_000_000,
        "underlyingToPositionMultiplier": None,
        "isQuanto": False,
        "isInverse": True,
    }
    return fields | changes


LINEAR = {
    "symbol": "XBTUSDT",
    "quoteCurrency": "USDT",
    "settlCurrency": "USDt",
    "multiplier": 1,
    "underlyingToPositionMultiplier": 1_000_000,
    "isInverse": False,
}


def read(*contracts):
    return LIVE.metadata.read(REQUEST, orjson.dumps(list(contracts)))


def test_contracts():
    found = read(
        contract(),
        contract(**LINEAR),
        contract(symbol="XBTM26", typ="FFCCSX", expiry="2026-06-26T12:00:00.000Z"),
        contract(symbol="ETHUSD", underlying="ETH", multiplier=100, isQuanto=True, isInverse=False),
    )
    assert found == [
        Instrument("bitmex", "XBTUSD", "BTC-USD-PERP", "BTC", "USD", "BTC", "inverse", None, 1.0),
        Instrument("bitmex", "XBTUSDT", "BTC-USDT-PERP", "BTC", "USDT", "USDT", "linear", None, 1e-6),
        Instrument("bitmex", "XBTM26", "BTC-USD-20260626", "BTC", "USD", "BTC", "inverse", "2026-06-26", 1.0),
        Instrument("bitmex", "ETHUSD", "ETH-USD-PERP", "ETH", "USD", "BTC", "quanto"),
    ]


def test_what_the_feed_does_not_serve_is_left_out():
    assert (
        read(
            contract(symbol="XBT_USDT", typ="IFXXXP"),
            contract(symbol=".BXBT", typ="MRCXXX"),
            contract(symbol="ETHM26", underlying="ETH", quoteCurrency="XBT"),
        )
        == []
    )


def test_a_size_that_the_row_does_not_tell_stays_unknown():
    (unknown,) = read(contract(settlCurrency="Gwei", underlying="ETH", symbol="ETHUSD_ETH"))
    assert (unknown.contract_size, unknown.settle) == (None, "Gwei")
    (unknown,) = read(contract(**LINEAR | {"underlyingToPositionMultiplier": None}))
    assert unknown.contract_size is None


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"<html>", "bad_json"),
        (b'{"error":{"message":"Not Found","name":"HTTPError"}}', "unexpected_message"),
        (orjson.dumps([7]), "unexpected_message"),
        (orjson.dumps([contract(symbol=None)]), "missing_field"),
        (orjson.dumps([contract(isInverse=None)]), "unknown_word"),
        (orjson.dumps([contract(expiry="soon")]), "bad_time"),
        (orjson.dumps([contract(multiplier="x")]), "bad_number"),
    ],
)
def test_what_is_no_list_of_contracts_is_refused(answer, expected):
    with pytest.raises(RefusedError) as refusal:
        LIVE.metadata.read(REQUEST, answer)
    assert refusal.value.reason == expected


def test_there_is_one_page():
    assert LIVE.metadata.following(REQUEST, orjson.dumps([contract()])) is None


def test_the_exchanges_clock():
    answer = b'{"name":"BitMEX API","version":"2.0.0","timestamp":1790000000123}'
    assert LIVE.clock.read(answer) == 1_790_000_000_123
    with pytest.raises(RefusedError):
        LIVE.clock.read(b"{}")
