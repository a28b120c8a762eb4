"""What is said to Binance and understood of its answers; its contracts; its requests and their budgets; its clock."""

import orjson
import pytest

from pipeline.feeds.binance import FEED
from pipeline.feeds.live import Heard, Request, Topic
from pipeline.records import Instrument, RefusedError

LIVE = FEED.live
ORDERS, CANDLES, COIN_CANDLES = LIVE.channels
USD_INFO, COIN_INFO = LIVE.metadata.requests
BTC = Instrument("binance", "BTCUSDT", "BTC-USDT-PERP", "BTC", "USDT", "USDT", "linear")
DATED = Instrument("binance", "BTCUSDT_261225", "BTC-USDT-20261225", "BTC", "USDT", "USDT", "linear", "2026-12-25")
COIN = Instrument("binance", "BTCUSD_PERP", "BTC-USD-PERP", "BTC", "USD", "BTC", "inverse", None, 100.0)


def heard(conversation, document):
    return conversation.hear(document if isinstance(document, bytes) else orjson.dumps(document))


def test_all_orders_of_both_markets_come_from_one_host_on_the_routed_path():
    assert (ORDERS.url, ORDERS.kind, ORDERS.per_symbol) == (
        "wss://fstream.binance.com/market/ws",
        "liquidations",
        False,
    )
    assert ORDERS.topics([]) == ORDERS.topics([BTC, COIN]) == (Topic("!forceOrder@arr"),)
    assert [channel.name for channel in LIVE.channels if channel.kind == "liquidations"] == ["forceOrder"]


def test_candles_are_subscribed_by_contract_each_on_its_markets_host():
    assert CANDLES.topics([BTC, COIN]) == [Topic("btcusdt@kline_1m", "BTCUSDT")]
    assert COIN_CANDLES.topics([BTC, COIN]) == [Topic("btcusd_perp@kline_1m", "BTCUSD_PERP")]
    assert CANDLES.url == "wss://fstream.binance.com/market/ws"
    assert COIN_CANDLES.url == "wss://dstream.binance.com/ws"
    assert CANDLES.kind == COIN_CANDLES.kind == "market"
    assert CANDLES.per_symbol


@pytest.mark.parametrize("channel", LIVE.channels, ids=lambda channel: channel.name)
def test_limits(channel):
    assert channel.limits.topics_per_connection <= 1024
    assert channel.limits.requests_per_s <= 10
    assert channel.limits.connection_age_s == 86_400
    assert channel.silence_s > 2 * channel.ping_every_s, "one answer may be lost"


def test_a_request_and_its_confirmation():
    conversation = ORDERS.begin()
    assert conversation.open() == ()
    request = orjson.loads(conversation.subscribe([Topic("a"), Topic("b")], 1))
    assert request == {"method": "SUBSCRIBE", "params": ["a", "b"], "id": 1}
    assert heard(conversation, {"result": None, "id": 1}) == Heard(confirmed=("a", "b"))
    assert heard(conversation, {"result": None, "id": 1}) == Heard(), "once"


def test_confirmations_are_told_apart_by_their_numbers():
    conversation = ORDERS.begin()
    conversation.subscribe([Topic("a")], 1)
    conversation.subscribe([Topic("b")], 2)
    assert heard(conversation, {"result": None, "id": 2}) == Heard(confirmed=("b",))
    assert heard(conversation, {"result": None, "id": 7}) == Heard()
    assert heard(conversation, {"result": None, "id": "1"}) == Heard()


@pytest.mark.parametrize(
    "answer",
    [{"error": {"code": 2, "msg": "Invalid request"}, "id": 1}, {"code": 2, "msg": "Invalid request", "id": 1}],
)
def test_a_refusal_names_the_topics_of_its_request(answer):
    conversation = ORDERS.begin()
    conversation.subscribe([Topic("a"), Topic("b")], 1)
    assert heard(conversation, answer) == Heard(refused=(("a", "2 Invalid request"), ("b", "2 Invalid request")))


def test_the_ping_asks_for_the_streams_and_ends_a_connection_that_has_lost_one():
    conversation = ORDERS.begin()
    conversation.subscribe([Topic("a"), Topic("b")], 1)
    assert orjson.loads(conversation.ping(2, 0)) == {"method": "LIST_SUBSCRIPTIONS", "id": 2}
    assert heard(conversation, {"result": [], "id": 2}) == Heard(), "nothing was confirmed yet"
    heard(conversation, {"result": None, "id": 1})
    assert heard(conversation, {"result": ["b", "a"], "id": 3}) == Heard()
    assert heard(conversation, {"result": ["b"], "id": 4}) == Heard(closing="no longer subscribed to a")


@pytest.mark.parametrize(
    "message",
    [
        b'{"e":"forceOrder","E":1,"o":{}}',
        b'{"stream":"!forceOrder@arr","data":{}}',
        b'{ "stream": "x", "data": {} }',
        b'{"E":1,"e":"kline"}',
        b'[{"e":"markPriceUpdate"}]',
    ],
)
def test_events_are_data(message):
    assert ORDERS.begin().hear(message) == Heard(data=True)


@pytest.mark.parametrize("message", [b"", b"not json", b"[]", b"7", b"\xff", b'{"id":1}', b'{"id":{}}', b'{"error":3}'])
def test_rubbish_means_nothing(message):
    assert ORDERS.begin().hear(message) == Heard()


def symbol(**changes):
    row = {"symbol": "BTCUSDT", "pair": "BTCUSDT", "contractType": "PERPETUAL", "status": "TRADING"}
    row |= {"deliveryDate": 4133404800000, "baseAsset": "BTC", "quoteAsset": "USDT", "marginAsset": "USDT"}
    return {key: value for key, value in (row | changes).items() if value is not ...}


def read(*rows, request=USD_INFO):
    return LIVE.metadata.read(request, orjson.dumps({"timezone": "UTC", "symbols": list(rows)}))


def test_contracts_of_usd_m():
    listed = [
        symbol(),
        symbol(symbol="1000PEPEUSDT", baseAsset="1000PEPE"),
        symbol(symbol="BTCUSDT_261225", contractType="CURRENT_QUARTER", deliveryDate=1_798_185_600_000),
        symbol(symbol="ETHBTC", baseAsset="ETH", quoteAsset="BTC"),
        symbol(symbol="OLDUSDT", baseAsset="OLD", status="CLOSE"),
        symbol(symbol="NEWUSDT", baseAsset="NEW", status="PENDING_TRADING"),
        symbol(symbol="TSLAUSDT", baseAsset="TSLA", contractType="TRADIFI_PERPETUAL"),
        symbol(symbol="GONEUSDT", baseAsset="GONE", contractType=""),
        symbol(symbol="牛来USDT", baseAsset="牛来", status="SETTLING"),
    ]
    assert read(*listed) == [
        BTC,
        Instrument(
            "binance", "1000PEPEUSDT", "PEPE-USDT-PERP", "PEPE", "USDT", "USDT", "linear", asset_multiplier=1000.0
        ),
        DATED,
        Instrument("binance", "牛来USDT", "牛来-USDT-PERP", "牛来", "USDT", "USDT", "linear"),
    ]


def test_contracts_of_coin_m_have_a_size():
    row = {"symbol": "BTCUSD_PERP", "contractType": "PERPETUAL", "contractStatus": "TRADING", "contractSize": 100}
    row |= {"baseAsset": "BTC", "quoteAsset": "USD", "marginAsset": "BTC", "deliveryDate": 4133404800000}
    closed = row | {"symbol": "XUSD_PERP", "baseAsset": "X", "contractStatus": "CLOSE"}
    assert read(row, closed, request=COIN_INFO) == [COIN]


@pytest.mark.parametrize("change", [{"symbol": ...}, {"baseAsset": ...}, {"quoteAsset": ...}])
def test_a_contract_without_a_name_is_left_out_and_a_page_of_such_is_refused(change):
    assert read(symbol(**change), symbol()) == [BTC]
    with pytest.raises(RefusedError):
        read(symbol(**change))


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b"{}", b'{"code":-1003,"msg":"Too many requests."}', b'{"symbols":[3]}']
)
def test_another_answer_is_no_list_of_contracts(answer):
    with pytest.raises(RefusedError):
        LIVE.metadata.read(USD_INFO, answer)


def test_a_list_has_one_page():
    assert LIVE.metadata.following(USD_INFO, b"{}") is None


def test_the_exchanges_clock():
    assert LIVE.clock.read(b'{"serverTime":1790000000000}') == 1_790_000_000_000
    for answer in (b"{}", b"x", b'{"serverTime":1790000000}'):
        with pytest.raises(RefusedError):
            LIVE.clock.read(answer)


def requests_of(name, *instruments):
    (poll,) = (poll for poll in LIVE.polls if poll.name == name)
    return poll.requests(instruments)


def test_requests_for_readings():
    assert requests_of("premiumIndex", BTC, DATED) == [
        Request("premiumIndex", "https://fapi.binance.com/fapi/v1/premiumIndex", 10)
    ]
    assert len(requests_of("premiumIndex", BTC, COIN)) == 2
    assert [request.url for request in requests_of("openInterest", BTC, COIN)] == [
        "https://fapi.binance.com/fapi/v1/openInterest?symbol=BTCUSDT",
        "https://dapi.binance.com/dapi/v1/openInterest?symbol=BTCUSD_PERP",
    ]
    for name in ("openInterestHist", "globalLongShortAccountRatio"):
        (request,) = requests_of(name, BTC, DATED, COIN)
        assert request.url == f"https://fapi.binance.com/futures/data/{name}?symbol=BTCUSDT&period=5m&limit=2"
    assert [poll.requests([]) for poll in LIVE.polls] == [[]] * len(LIVE.polls)


def test_six_hundred_contracts_stay_within_the_budget():
    instruments = [Instrument("binance", f"C{n}USDT", "", "", "USDT", "USDT", "linear") for n in range(600)]
    per_minute = sum(
        request.weight * 60 / poll.every_s for poll in LIVE.polls for request in poll.requests(instruments)
    )
    budget = LIVE.budgets["fapi.binance.com"]
    assert per_minute < budget.weight * 60 / budget.per_s
    assert sum(budget.weight for budget in LIVE.budgets.values()) <= 2400
    statistics = sum(300 / poll.every_s * len(poll.requests(instruments)) for poll in LIVE.polls[2:])
    assert statistics <= 1000, "requests for statistics in five minutes"
