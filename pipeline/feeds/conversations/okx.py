"""How OKX is listened to: one topic for all swaps and one for all futures; candles and funding by contract.

Mark and index price and open interest are asked for once a minute, all contracts in one answer: the channels push
several times a second and contract what is kept once a minute.

A topic's name is its channel and what it is about: `liquidation-orders:SWAP`, `candle1m:BTC-USDT-SWAP`.

Source: OKX documentation (v5: WebSocket overview, public data, market data, trading statistics), `exchange_feeds` 3.3
and 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import orjson

from pipeline.feeds.conversations.listings import contracts_in
from pipeline.feeds.conversations.payloads import object_at, object_in, text_in
from pipeline.feeds.live import Budget, Channel, Clock, Heard, Limits, Live, Metadata, Outgoing, Poll, Request, Topic
from pipeline.feeds.naming import Names, day_of
from pipeline.feeds.numbers import positive, shown, time_ms_of, word
from pipeline.feeds.rows import json_of, list_of, object_of
from pipeline.records import Instrument, Margin, RefusedError

EXCHANGE: Final = "okx"
ORDERS: Final = "liquidation-orders"
CONTRACT_TYPES: Final = ("SWAP", "FUTURES")
CANDLES: Final = "candle1m"
FUNDING: Final = "funding-rate"

# OKX multiplies no listings; its contract values do that.
NAMES: Final = Names(EXCHANGE, {})

_HOST: Final = "www.okx.com"
_MARGINS: Final[Mapping[str, Margin]] = {"linear": "linear", "inverse": "inverse"}
_QUOTES: Final = ("USDT", "USDC", "USD")
_TRADED: Final = ("live", "suspend", None)
_MINUTE_S: Final = 60.0
# Each address has a limit of its own, of 20, 10 or 5 requests in two seconds: 20, with weights of 1, 2 and 4.
_BUDGET: Final = Budget(weight=20, per_s=2)


class OkxConversation:
    """Each topic of a request is confirmed by a message of its own; a refusal repeats the request's number."""

    def __init__(self) -> None:
        self._asked: dict[str, set[str]] = {}

    def open(self) -> Sequence[Outgoing]:
        """Say nothing: the connection is ready."""
        return ()

    def subscribe(self, topics: Sequence[Topic], number: int) -> Outgoing:
        """Return the request `subscribe`."""
        self._asked[str(number)] = {topic.name for topic in topics}
        args = [_argument(topic.name) for topic in topics]
        return orjson.dumps({"id": str(number), "op": "subscribe", "args": args}).decode()

    def ping(self, number: int, time_ms: int) -> Outgoing | None:  # noqa: ARG002 - a ping is a bare word
        """Return the word that the server answers with `pong`."""
        return "ping"

    def hear(self, message: bytes) -> Heard:
        """Tell data from answers; data are recognised by their first key, without reading them."""
        if message.startswith(b'{"arg":') and b'"data":' in message:
            return Heard(data=True)
        said = object_in(message)
        event = said.get("event")
        if event is None:
            return Heard(data="data" in said)
        if event == "subscribe":
            name = _name(object_at(said.get("arg")))
            for names in self._asked.values():
                names.discard(name)
            return Heard(confirmed=(name,))
        words = f"{said.get('code')} {text_in(said.get('msg'))}".strip()
        if event == "error":
            return Heard(refused=tuple((name, words) for name in self._refused(said)))
        # A notice says that the connection will be closed for an upgrade.
        return Heard(closing=words) if event == "notice" else Heard()

    def _refused(self, said: Mapping[str, Any]) -> Sequence[str]:
        """Return what an error is about: its topic or its request, without either all that is not confirmed."""
        name = _name(object_at(said.get("arg")))
        number = text_in(said.get("id"))
        if name != ":":
            numbers, names = list(self._asked), {name}
        else:
            numbers = [number] if number in self._asked else list(self._asked)
            names = set().union(*(self._asked[number] for number in numbers))
        for number in numbers:
            self._asked[number] -= names
        return sorted(names)


def _argument(name: str) -> dict[str, str]:
    channel, _, about = name.partition(":")
    return {"channel": channel, "instType" if channel == ORDERS else "instId": about}


def _name(argument: Mapping[str, Any]) -> str:
    about = argument.get("instId") or argument.get("instType")
    return f"{text_in(argument.get('channel'))}:{text_in(about)}"


def _order_topics(instruments: Sequence[Instrument]) -> Sequence[Topic]:  # noqa: ARG001 - a topic is a whole market
    return [Topic(f"{ORDERS}:{kind}") for kind in CONTRACT_TYPES]


def _contract_topics(channel: str, instruments: Sequence[Instrument]) -> Sequence[Topic]:
    """Return a topic for each contract; dated contracts have no funding."""
    return [
        Topic(f"{channel}:{one.symbol}", one.symbol) for one in instruments if channel != FUNDING or one.expiry is None
    ]


def _rows(answer: bytes) -> list[Any]:
    document = object_of("answer", json_of(answer))
    if document.get("code") != "0":
        raise RefusedError("unexpected_message", f"code {shown(document.get('code'))}: {shown(document.get('msg'))}")
    return list_of("data", document.get("data"))


def _read_contracts(request: Request, answer: bytes) -> Sequence[Instrument]:  # noqa: ARG001 - the rows say their kind
    return contracts_in(_rows(answer), _contract)


def _contract(row: Mapping[str, Any]) -> Instrument | None:
    """Return one listed contract; None where the kind is not served or the values' currency is not as documented."""
    kind, margin = row.get("instType"), _MARGINS.get(text_in(row.get("ctType")))
    base, _, quote = text_in(row.get("uly") or row.get("instFamily")).partition("-")
    if kind not in CONTRACT_TYPES or margin is None or quote not in _QUOTES or row.get("state") not in _TRADED:
        return None
    if row.get("ctValCcy") != (base if margin == "linear" else quote):
        return None
    symbol = word("instId", row.get("instId"))
    found = NAMES.perpetual(symbol, base, quote, margin)
    if kind != "SWAP":
        found = NAMES.dated(symbol, base, quote, margin, day_of(time_ms_of("expTime", row.get("expTime"))))
    size = positive("ctVal", row.get("ctVal")) * positive("ctMult", row.get("ctMult"))
    settle = word("settleCcy", row.get("settleCcy"))
    return None if found is None else replace(found, contract_size=float(size), settle=settle)


def _read_time(answer: bytes) -> int:
    rows = _rows(answer)
    return time_ms_of("ts", object_of("time", rows[0] if rows else None).get("ts"))


def _kinds(instruments: Sequence[Instrument]) -> Sequence[str]:
    dated = {instrument.expiry is not None for instrument in instruments}
    return [kind for kind in CONTRACT_TYPES if (kind == "FUTURES") in dated]


def _mark_prices(instruments: Sequence[Instrument]) -> Sequence[Request]:
    return [
        Request("mark-price", f"https://{_HOST}/api/v5/public/mark-price?instType={kind}", weight=2)
        for kind in _kinds(instruments)
    ]


def _index_prices(instruments: Sequence[Instrument]) -> Sequence[Request]:
    quotes = {instrument.quote for instrument in instruments}
    return [
        Request("index-tickers", f"https://{_HOST}/api/v5/market/index-tickers?quoteCcy={quote}")
        for quote in _QUOTES
        if quote in quotes
    ]


def _open_interest(instruments: Sequence[Instrument]) -> Sequence[Request]:
    return [
        Request("open-interest", f"https://{_HOST}/api/v5/public/open-interest?instType={kind}")
        for kind in _kinds(instruments)
    ]


def _account_ratios(instruments: Sequence[Instrument]) -> Sequence[Request]:
    address = f"https://{_HOST}/api/v5/rubik/stat/contracts/long-short-account-ratio-contract"
    return [
        Request("long-short-account-ratio-contract", f"{address}?instId={one.symbol}&period=5m&limit=2", weight=4)
        for one in instruments
        if one.expiry is None
    ]


# 480 requests to subscribe an hour and connection, at most 64 KB each.
_LIMITS: Final = Limits(topics_per_connection=400, topics_per_request=100, requests_per_s=2.0, connections_per_s=1.0)


def _contracts(name: str, path: str, channel: str) -> Channel:
    return Channel(
        name=name,
        url=f"wss://ws.okx.com:8443/ws/v5/{path}",
        topics=partial(_contract_topics, channel),
        begin=OkxConversation,
        limits=_LIMITS,
        kind="market",
        ping_every_s=15.0,
        silence_s=45.0,
        per_symbol=True,
    )


LIVE: Final = Live(
    channels=(
        Channel(
            name=ORDERS,
            url="wss://ws.okx.com:8443/ws/v5/public",
            topics=_order_topics,
            begin=OkxConversation,
            limits=_LIMITS,
            # The server cuts after 30 s without a message.
            ping_every_s=15.0,
            silence_s=45.0,
        ),
        _contracts(CANDLES, "business", CANDLES),
        _contracts(FUNDING, "public", FUNDING),
    ),
    metadata=Metadata(
        tuple(
            Request("instruments", f"https://{_HOST}/api/v5/public/instruments?instType={kind}")
            for kind in CONTRACT_TYPES
        ),
        _read_contracts,
    ),
    polls=(
        Poll("mark-price", _MINUTE_S, _mark_prices),
        Poll("index-tickers", _MINUTE_S, _index_prices),
        Poll("open-interest", _MINUTE_S, _open_interest),
        Poll("long-short-account-ratio-contract", 5 * _MINUTE_S, _account_ratios),
    ),
    clock=Clock(Request("time", f"https://{_HOST}/api/v5/public/time", weight=2), _read_time),
    budgets={_HOST: _BUDGET},
)
