"""How Bybit is listened to: a topic for each contract, linear and inverse on hosts' paths of their own.

There is no topic for a whole market. Tickers are asked for once a minute, all of them in one answer: the topic pushes
ten times a second and contract what is kept once a minute.

Source: Bybit documentation (v5: connect, all liquidation, kline, tickers, instruments info, long short ratio),
`exchange_feeds` 3.2 and 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import orjson

from pipeline.feeds.conversations.listings import contracts_in
from pipeline.feeds.conversations.payloads import object_in, text_in
from pipeline.feeds.live import (
    Budget,
    Channel,
    Clock,
    Heard,
    Kind,
    Limits,
    Live,
    Metadata,
    Outgoing,
    Poll,
    Request,
    Topic,
)
from pipeline.feeds.naming import Multiplied, Names, day_of
from pipeline.feeds.numbers import shown, time_ms_of, word
from pipeline.feeds.rows import json_of, list_of, object_of
from pipeline.records import Instrument, Margin, RefusedError

EXCHANGE: Final = "bybit"

# Listings of many units (exchange_feeds 4, and the further ones in instruments-info's baseCoin); the factor may stand
# behind the name.
MULTIPLIED: Final[Multiplied] = {
    "1000BONK": ("BONK", 1000),
    "1000BTT": ("BTT", 1000),
    "1000CAT": ("CAT", 1000),
    "1000FLOKI": ("FLOKI", 1000),
    "1000LUNC": ("LUNC", 1000),
    "1000PEPE": ("PEPE", 1000),
    "1000RATS": ("RATS", 1000),
    "1000TURBO": ("TURBO", 1000),
    "1000X": ("X", 1000),
    "1000XEC": ("XEC", 1000),
    "10000SATS": ("SATS", 10_000),
    "1000000BABYDOGE": ("BABYDOGE", 1_000_000),
    "1000000CHEEMS": ("CHEEMS", 1_000_000),
    "1000000MOG": ("MOG", 1_000_000),
    "SHIB1000": ("SHIB", 1000),
}
NAMES: Final = Names(EXCHANGE, MULTIPLIED)

_HOST: Final = "api.bybit.com"
_QUOTES: Final = ("USDT", "USDC", "USD")
_PERPETUAL: Final[Mapping[str, Margin]] = {"LinearPerpetual": "linear", "InversePerpetual": "inverse"}
_DATED: Final[Mapping[str, Margin]] = {"LinearFutures": "linear", "InverseFutures": "inverse"}
_MARGINS: Final[tuple[Margin, ...]] = ("linear", "inverse")
_TRADED: Final = ("Trading", "Delivering", None)
_MINUTE_S: Final = 60.0


class BybitConversation:
    """Requests carry numbers as text. A request is accepted or refused as a whole."""

    def __init__(self) -> None:
        self._asked: dict[str, tuple[str, ...]] = {}

    def open(self) -> Sequence[Outgoing]:
        """Say nothing: the connection is ready."""
        return ()

    def subscribe(self, topics: Sequence[Topic], number: int) -> Outgoing:
        """Return the request `subscribe`."""
        names = tuple(topic.name for topic in topics)
        self._asked[str(number)] = names
        return orjson.dumps({"op": "subscribe", "req_id": str(number), "args": names}).decode()

    def ping(self, number: int, time_ms: int) -> Outgoing | None:  # noqa: ARG002 - a ping holds no time
        """Return the request `ping`."""
        return orjson.dumps({"op": "ping", "req_id": str(number)}).decode()

    def hear(self, message: bytes) -> Heard:
        """Tell data from answers; data are recognised by their first key, without reading them."""
        if message.startswith(b'{"topic":'):
            return Heard(data=True)
        said = object_in(message)
        if "topic" in said:
            return Heard(data=True)
        if said.get("op") != "subscribe":
            return Heard()
        names = self._asked.pop(text_in(said.get("req_id")), ())
        words = text_in(said.get("ret_msg"))
        # A topic that is subscribed to already is subscribed to.
        if said.get("success") is True or "already subscribed" in words:
            return Heard(confirmed=names)
        # The refusal names the topic at fault. The others of its request were not subscribed either.
        return Heard(refused=tuple((name, words) for name in names))


def _topics(prefix: str, margin: Margin, instruments: Sequence[Instrument]) -> Sequence[Topic]:
    return [Topic(f"{prefix}.{one.symbol}", one.symbol) for one in instruments if one.margin == margin]


def _channel(name: str, prefix: str, margin: Margin, kind: Kind) -> Channel:
    return Channel(
        name=name,
        url=f"wss://stream.bybit.com/v5/public/{margin}",
        topics=partial(_topics, prefix, margin),
        begin=BybitConversation,
        # No number of topics is documented but the length of their names; ten in a request is the careful habit. 500
        # connections in five minutes are allowed.
        limits=Limits(
            topics_per_connection=800,
            topics_per_request=10,
            request_characters=21_000,
            requests_per_s=10.0,
            connections_per_s=1.0,
        ),
        kind=kind,
        ping_every_s=20.0,
        silence_s=60.0,
        per_symbol=True,
    )


def _page(answer: bytes) -> dict[str, Any]:
    document = object_of("answer", json_of(answer))
    if document.get("retCode") != 0:
        raise RefusedError(
            "unexpected_message", f"retCode {shown(document.get('retCode'))}: {shown(document.get('retMsg'))}"
        )
    return object_of("result", document.get("result"))


def _read_contracts(request: Request, answer: bytes) -> Sequence[Instrument]:  # noqa: ARG001 - the rows say their kind
    return contracts_in(list_of("list", _page(answer).get("list")), _contract)


def _contract(row: Mapping[str, Any]) -> Instrument | None:
    kind = word("contractType", row.get("contractType"))
    margin = _PERPETUAL.get(kind, _DATED.get(kind))
    quote = word("quoteCoin", row.get("quoteCoin"))
    if margin is None or quote not in _QUOTES or row.get("status") not in _TRADED:
        return None
    symbol, base = word("symbol", row.get("symbol")), word("baseCoin", row.get("baseCoin"))
    if kind in _PERPETUAL:
        return NAMES.perpetual(symbol, base, quote, margin)
    return NAMES.dated(symbol, base, quote, margin, day_of(time_ms_of("deliveryTime", row.get("deliveryTime"))))


def _following(request: Request, answer: bytes) -> Request | None:
    cursor = text_in(_page(answer).get("nextPageCursor"))
    return Request(request.name, f"{request.url.partition('&cursor=')[0]}&cursor={cursor}") if cursor else None


def _read_time(answer: bytes) -> int:
    document = object_of("answer", json_of(answer))
    _page(answer)
    return time_ms_of("time", document.get("time"))


def _tickers(instruments: Sequence[Instrument]) -> Sequence[Request]:
    margins = {instrument.margin for instrument in instruments}
    return [
        Request("tickers", f"https://{_HOST}/v5/market/tickers?category={margin}")
        for margin in _MARGINS
        if margin in margins
    ]


def _account_ratios(instruments: Sequence[Instrument]) -> Sequence[Request]:
    """Return requests for perpetuals; those settled in USDC have no ratio."""
    return [
        Request(
            "account-ratio",
            f"https://{_HOST}/v5/market/account-ratio?category={one.margin}&symbol={one.symbol}&period=5min&limit=2",
        )
        for one in instruments
        if one.expiry is None and one.quote != "USDC"
    ]


LIVE: Final = Live(
    channels=(
        _channel("linear", "allLiquidation", "linear", "liquidations"),
        _channel("inverse", "allLiquidation", "inverse", "liquidations"),
        _channel("kline_linear", "kline.1", "linear", "market"),
        _channel("kline_inverse", "kline.1", "inverse", "market"),
    ),
    metadata=Metadata(
        tuple(
            Request("instruments-info", f"https://{_HOST}/v5/market/instruments-info?category={margin}&limit=1000")
            for margin in _MARGINS
        ),
        _read_contracts,
        _following,
    ),
    polls=(
        Poll("tickers", _MINUTE_S, _tickers),
        Poll("account-ratio", 5 * _MINUTE_S, _account_ratios),
    ),
    clock=Clock(Request("time", f"https://{_HOST}/v5/market/time"), _read_time),
    budgets={_HOST: Budget(weight=600, per_s=5)},
)
