"""How Binance is listened to: one stream of all forced orders, candles by contract, and readings that are asked for.

`!forceOrder@arr` carries the orders of USD-M and COIN-M on both hosts since 2026-06-30, so it is subscribed on the
USD-M host only: a second subscription would bring each order twice. Its path is `/market/ws`; the path without `market`
acknowledges and stays silent since 2026-04-23.

Mark and index price, funding and open interest change the numbers of a minute little: one answer for all contracts a
minute takes a thousandth of what the streams would send.

Source: Binance documentation (USD-M and COIN-M futures: market streams, market data), `exchange_feeds` 3.1 and 5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import orjson

from pipeline.feeds.conversations.listings import contracts_in
from pipeline.feeds.conversations.payloads import object_at, object_in, text_in
from pipeline.feeds.live import Budget, Channel, Clock, Heard, Limits, Live, Metadata, Outgoing, Poll, Request, Topic
from pipeline.feeds.naming import Multiplied, Names, day_of
from pipeline.feeds.numbers import positive, time_ms_of, word
from pipeline.feeds.rows import json_of, list_of, object_of
from pipeline.records import Instrument, Margin

EXCHANGE: Final = "binance"
STREAM: Final = "!forceOrder@arr"

# Quote assets of USD-M contracts in USD (exchangeInfo's quoteAsset); longest first is not needed, none ends another.
# BTC-quoted ETHBTC is left out on purpose: its value in USD needs another price.
QUOTES: Final = ("USDT", "USDC", "BUSD")

# Listings of many units (exchange_feeds 4, and the further ones in exchangeInfo's baseAsset, each the coin's own name
# behind the factor; `1000X` is a thousand X, `1INCH`, `0G` and `2Z` are coins).
MULTIPLIED: Final[Multiplied] = {
    "1000BONK": ("BONK", 1000),
    "1000BTTC": ("BTTC", 1000),
    "1000CAT": ("CAT", 1000),
    "1000CHEEMS": ("CHEEMS", 1000),
    "1000FLOKI": ("FLOKI", 1000),
    "1000LUNC": ("LUNC", 1000),
    "1000PEPE": ("PEPE", 1000),
    "1000RATS": ("RATS", 1000),
    "1000SATS": ("SATS", 1000),
    "1000SHIB": ("SHIB", 1000),
    "1000WHY": ("WHY", 1000),
    "1000X": ("X", 1000),
    "1000XEC": ("XEC", 1000),
    "1000000BOB": ("BOB", 1_000_000),
    "1000000MOG": ("MOG", 1_000_000),
    "1MBABYDOGE": ("BABYDOGE", 1_000_000),
}
NAMES: Final = Names(EXCHANGE, MULTIPLIED)

_USD_HOST: Final = "fapi.binance.com"
_COIN_HOST: Final = "dapi.binance.com"
_DAY_S: Final = 24 * 3600.0
_MINUTE_S: Final = 60.0
# A dated contract says CURRENT_QUARTER or NEXT_QUARTER; contracts on shares and metals have types of their own.
_PERPETUAL: Final = "PERPETUAL"
_DATED: Final = ("CURRENT_QUARTER", "NEXT_QUARTER")
_NOT_TRADED: Final = ("CLOSE", "DELIVERED", "PENDING_TRADING")
# Requests for the statistics of `/futures/data` have a limit of their own, 1000 in five minutes. As parts of the
# host's weights they never exceed it.
_STATISTICS_PER_MINUTE: Final = 200
# 2400 a minute and address, which both hosts share since 2026-06-30.
_USD_WEIGHT: Final = 2000
_COIN_WEIGHT: Final = 400


class BinanceConversation:
    """Requests carry numbers, and so do the answers.

    The ping asks for the list of streams: the server's own pings are minutes apart, a quiet market is silent, and a
    stream that is no longer listed ends the connection.
    """

    def __init__(self) -> None:
        self._asked: dict[int, tuple[str, ...]] = {}
        self._confirmed: set[str] = set()

    def open(self) -> Sequence[Outgoing]:
        """Say nothing: the connection is ready."""
        return ()

    def subscribe(self, topics: Sequence[Topic], number: int) -> Outgoing:
        """Return the request SUBSCRIBE."""
        names = tuple(topic.name for topic in topics)
        self._asked[number] = names
        return orjson.dumps({"method": "SUBSCRIBE", "params": names, "id": number}).decode()

    def ping(self, number: int, time_ms: int) -> Outgoing | None:  # noqa: ARG002 - the request holds no time
        """Return the request LIST_SUBSCRIPTIONS."""
        return orjson.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}).decode()

    def hear(self, message: bytes) -> Heard:
        """Tell events from answers; an event is recognised by its first key, without reading it."""
        if message.startswith((b'{"e":', b'{"stream":', b'[{"e":')):
            return Heard(data=True)
        said = object_in(message)
        if "e" in said or "stream" in said:
            return Heard(data=True)
        error = object_at(said.get("error")) or (said if "code" in said else {})
        number = said.get("id")
        names = self._asked.pop(number, ()) if isinstance(number, int) else ()
        if error:
            words = f"{error.get('code')} {text_in(error.get('msg'))}".strip()
            return Heard(refused=tuple((name, words) for name in names))
        streams = said.get("result")
        if isinstance(streams, list):
            lost = self._confirmed.difference(stream for stream in streams if isinstance(stream, str))
            return Heard(closing=f"no longer subscribed to {', '.join(sorted(lost))}") if lost else Heard()
        if "result" in said:
            self._confirmed.update(names)
            return Heard(confirmed=names)
        return Heard()


def _liquidation_topics(instruments: Sequence[Instrument]) -> Sequence[Topic]:  # noqa: ARG001 - one for all of them
    return (Topic(STREAM),)


def _candle_topics(margin: Margin, instruments: Sequence[Instrument]) -> Sequence[Topic]:
    return [Topic(f"{one.symbol.lower()}@kline_1m", one.symbol) for one in instruments if one.margin == margin]


def _read_symbols(request: Request, answer: bytes) -> Sequence[Instrument]:  # noqa: ARG001 - the rows say what they are
    return contracts_in(list_of("symbols", object_of("answer", json_of(answer)).get("symbols")), _contract)


def _contract(row: Mapping[str, Any]) -> Instrument | None:
    """Return one listed contract; None for kinds that the feed does not serve or that are not traded."""
    kind = word("contractType", row.get("contractType") or "none")
    # COIN-M says contractStatus.
    status = row.get("status", row.get("contractStatus"))
    if kind not in (_PERPETUAL, *_DATED) or status in _NOT_TRADED:
        return None
    symbol, base = word("symbol", row.get("symbol")), word("baseAsset", row.get("baseAsset"))
    quote = word("quoteAsset", row.get("quoteAsset"))
    inverse = "contractSize" in row
    if not inverse and quote not in QUOTES:
        return None
    margin: Margin = "inverse" if inverse else "linear"
    found = NAMES.perpetual(symbol, base, quote, margin)
    if kind != _PERPETUAL:
        delivered_ms = time_ms_of("deliveryDate", row.get("deliveryDate"))
        found = NAMES.dated(symbol, base, quote, margin, day_of(delivered_ms))
    if found is None or not inverse:
        return found
    return replace(found, contract_size=float(positive("contractSize", row["contractSize"])))


def _read_time(answer: bytes) -> int:
    return time_ms_of("serverTime", object_of("answer", json_of(answer)).get("serverTime"))


def _pages(instruments: Sequence[Instrument]) -> Sequence[Request]:
    """Return the requests for mark price, index price and funding: one for all contracts of a market."""
    margins = {instrument.margin for instrument in instruments}
    return [
        Request("premiumIndex", f"https://{host}/{path}/v1/premiumIndex", weight=10)
        for margin, host, path in (("linear", _USD_HOST, "fapi"), ("inverse", _COIN_HOST, "dapi"))
        if margin in margins
    ]


def _open_interest(instruments: Sequence[Instrument]) -> Sequence[Request]:
    requests = []
    for one in instruments:
        host, path = (_USD_HOST, "fapi") if one.margin == "linear" else (_COIN_HOST, "dapi")
        requests.append(Request("openInterest", f"https://{host}/{path}/v1/openInterest?symbol={one.symbol}"))
    return requests


def _statistics(name: str, instruments: Sequence[Instrument]) -> Sequence[Request]:
    """Return requests for the last two readings, each of five minutes; COIN-M has none that name a contract."""
    return [
        Request(
            name,
            f"https://{_USD_HOST}/futures/data/{name}?symbol={one.symbol}&period=5m&limit=2",
            weight=_USD_WEIGHT / _STATISTICS_PER_MINUTE,
        )
        for one in instruments
        if one.margin == "linear" and one.expiry is None
    ]


def _candles(name: str, url: str, margin: Margin) -> Channel:
    topics: Callable[[Sequence[Instrument]], Sequence[Topic]] = partial(_candle_topics, margin)
    return Channel(
        name,
        url,
        topics,
        BinanceConversation,
        _LIMITS,
        kind="market",
        ping_every_s=60.0,
        silence_s=150.0,
        per_symbol=True,
    )


# 1024 streams are allowed, 200 are the habit of careful users; ten client messages a second are allowed.
_LIMITS: Final = Limits(topics_per_connection=200, topics_per_request=50, requests_per_s=4.0, connection_age_s=_DAY_S)

LIVE: Final = Live(
    channels=(
        Channel(
            name="forceOrder",
            url="wss://fstream.binance.com/market/ws",
            topics=_liquidation_topics,
            begin=BinanceConversation,
            limits=_LIMITS,
            ping_every_s=30.0,
            silence_s=90.0,
        ),
        _candles("kline", "wss://fstream.binance.com/market/ws", "linear"),
        _candles("kline_coin", "wss://dstream.binance.com/ws", "inverse"),
    ),
    metadata=Metadata(
        (
            Request("exchangeInfo", f"https://{_USD_HOST}/fapi/v1/exchangeInfo"),
            Request("exchangeInfo", f"https://{_COIN_HOST}/dapi/v1/exchangeInfo"),
        ),
        _read_symbols,
    ),
    polls=(
        Poll("premiumIndex", _MINUTE_S, _pages),
        Poll("openInterest", _MINUTE_S, _open_interest),
        Poll("openInterestHist", 10 * _MINUTE_S, partial(_statistics, "openInterestHist")),
        Poll("globalLongShortAccountRatio", 10 * _MINUTE_S, partial(_statistics, "globalLongShortAccountRatio")),
    ),
    clock=Clock(Request("time", f"https://{_USD_HOST}/fapi/v1/time"), _read_time),
    budgets={_USD_HOST: Budget(_USD_WEIGHT, _MINUTE_S), _COIN_HOST: Budget(_COIN_WEIGHT, _MINUTE_S)},
)
