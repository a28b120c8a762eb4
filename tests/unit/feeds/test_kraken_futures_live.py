"""What is said to Kraken and understood of its answers; its list of contracts; its clock."""

import orjson
import pytest

from pipeline.feeds.kraken_futures import FEED
from pipeline.feeds.live import Heard, Topic
from pipeline.records import Instrument, RefusedError

LIVE = FEED.live
(CHANNEL,) = LIVE.channels
(REQUEST,) = LIVE.metadata.requests


def heard(conversation, document):
    return conversation.hear(orjson.dumps(document))


def asked(*symbols):
    conversation = CHANNEL.begin()
    conversation.subscribe([Topic(symbol, symbol) for symbol in symbols], 1)
    return conversation


def subscribed(*symbols):
    return {"event": "subscribed", "feed": "trade", "product_ids": list(symbols)}


def made(symbol, exchange="kraken_futures"):
    return Instrument(exchange, symbol, "x", "BTC", "USD", "USD", "linear")


def test_each_contract_is_a_topic_of_its_own():
    topics = CHANNEL.topics([made("PF_XBTUSD"), made("BTC-USD", "dydx"), made("PI_XBTUSD")])
    assert topics == [Topic("PF_XBTUSD", "PF_XBTUSD"), Topic("PI_XBTUSD", "PI_XBTUSD")]
    assert CHANNEL.per_symbol
    assert CHANNEL.url == "wss://futures.kraken.com/ws/v1"


def test_the_request_and_its_confirmations():
    conversation = CHANNEL.begin()
    assert conversation.open() == ()
    request = orjson.loads(conversation.subscribe([Topic("PF_XBTUSD"), Topic("PI_XBTUSD")], 1))
    assert request == {"event": "subscribe", "feed": "trade", "product_ids": ["PF_XBTUSD", "PI_XBTUSD"]}
    for symbol in ("PF_XBTUSD", "PI_XBTUSD"):
        assert heard(conversation, subscribed(symbol)) == Heard(confirmed=(symbol,))
    assert heard(conversation, {"event": "subscribed", "feed": "heartbeat"}) == Heard()


def test_an_error_names_no_contract_and_means_all_that_are_open():
    conversation = asked("PF_XBTUSD", "PF_NONEUSD", "PI_XBTUSD")
    heard(conversation, subscribed("PF_XBTUSD"))
    error = {"event": "error", "message": "Invalid product id"}
    assert heard(conversation, error) == Heard(
        refused=(("PF_NONEUSD", "Invalid product id"), ("PI_XBTUSD", "Invalid product id"))
    )
    assert heard(conversation, error) == Heard(), "once"


def test_trades_are_data_and_those_of_before_are_not():
    assert heard(CHANNEL.begin(), {"feed": "trade", "type": "fill"}) == Heard(data=True)
    assert heard(CHANNEL.begin(), {"feed": "trade_snapshot", "trades": []}) == Heard()
    assert heard(CHANNEL.begin(), {"event": "info", "version": 1}) == Heard()


def test_websocket_pings_keep_it_alive():
    assert CHANNEL.begin().ping(1, 0) is None
    assert CHANNEL.ping_every_s < 60


@pytest.mark.parametrize(
    "said", [b"", b"{", b"[]", b'{"event":"subscribed","feed":"trade","product_ids":[7]}', b'{"event":7}', b"\xff"]
)
def test_rubbish_means_nothing(said):
    assert CHANNEL.begin().hear(said) == Heard()


def contract(**changes):
    fields = {"symbol": "PF_XBTUSD", "type": "flexible_futures", "base": "XBT", "quote": "USD", "tradeable": True}
    fields |= {"contractSize": 1, "openingDate": "2022-01-01T00:00:00.000Z"}
    fields |= changes
    return {key: value for key, value in fields.items() if value is not ...}


def answer(*contracts, **changes):
    page = {"result": "success", "instruments": list(contracts), "serverTime": "2026-09-21T14:13:20.123Z"}
    return orjson.dumps(page | changes)


def read(*contracts):
    return LIVE.metadata.read(REQUEST, answer(*contracts))


def test_contracts():
    dated = {"symbol": "FI_XBTUSD_270326", "type": "futures_inverse", "lastTradingTime": "2027-03-26T16:00:00.000Z"}
    assert read(contract(), contract(symbol="PI_XBTUSD", type="futures_inverse"), contract(**dated)) == [
        Instrument("kraken_futures", "PF_XBTUSD", "BTC-USD-PERP", "BTC", "USD", "USD", "linear", None, 1.0),
        Instrument("kraken_futures", "PI_XBTUSD", "BTC-USD-PERP", "BTC", "USD", "BTC", "inverse", None, 1.0),
        Instrument(
            "kraken_futures",
            "FI_XBTUSD_270326",
            "BTC-USD-20270326",
            "BTC",
            "USD",
            "BTC",
            "inverse",
            "2027-03-26",
            1.0,
        ),
    ]


def test_older_answers_name_the_pair_in_the_symbol_only():
    (one,) = read(contract(base=..., quote=...))
    assert (one.asset, one.quote) == ("BTC", "USD")


def test_what_the_feed_does_not_serve_is_left_out():
    index = contract(symbol="in_xbtusd", type="spot index", tradeable=False, base=..., quote=...)
    assert read(index, contract(tradeable=False), contract(symbol="PF_XBTEUR", quote="EUR")) == []


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (b"<html>", "bad_json"),
        (answer(result="error", error="apiLimitExceeded"), "unexpected_message"),
        (answer(instruments=None), "missing_field"),
        (answer(contract(symbol=None)), "missing_field"),
        (answer(contract(symbol="FF_XBTUSD_270326")), "missing_field"),
        (answer(contract(contractSize="x")), "bad_number"),
        (answer(contract(base=None, quote="USD")), "missing_field"),
    ],
)
def test_what_is_no_list_of_contracts_is_refused(page, expected):
    with pytest.raises(RefusedError) as refusal:
        LIVE.metadata.read(REQUEST, page)
    assert refusal.value.reason == expected


def test_there_is_one_page():
    assert LIVE.metadata.following(REQUEST, answer()) is None


def test_the_exchanges_clock():
    assert LIVE.clock.read(answer()) == 1_790_000_000_123
    with pytest.raises(RefusedError):
        LIVE.clock.read(b'{"result":"success"}')
