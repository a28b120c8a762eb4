"""How Bitget is listened to: one topic for each of its three kinds of futures.

Source: Bitget documentation (UTA v3: liquidation channel, instruments; common: server time, WebSocket limits).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from pipeline.feeds.conversations.payloads import object_at, object_in, text_in
from pipeline.feeds.live import Budget, Channel, Clock, Heard, Limits, Live, Metadata, Outgoing, Request, Topic
from pipeline.feeds.naming import Multiplied, Names
from pipeline.feeds.numbers import shown, time_ms_of, word
from pipeline.feeds.rows import json_of, list_of, object_of
from pipeline.records import Instrument, Margin, RefusedError

EXCHANGE: Final = "bitget"
TOPIC: Final = "liquidation"

# The exchange's words for its markets, and how their contracts are margined.
MARKETS: Final[Mapping[str, Margin]] = {"usdt-futures": "linear", "usdc-futures": "linear", "coin-futures": "inverse"}

# Listings of many units (baseCoin holds the listed name).
MULTIPLIED: Final[Multiplied] = {
    "1000BONK": ("BONK", 1000),
    "1000CAT": ("CAT", 1000),
    "1000CHEEMS": ("CHEEMS", 1000),
    "1000LUNC": ("LUNC", 1000),
    "1000RATS": ("RATS", 1000),
    "1000SATS": ("SATS", 1000),
    "1000TOSHI": ("TOSHI", 1000),
    "1000X": ("X", 1000),
    "1000XEC": ("XEC", 1000),
    "1000000MOG": ("MOG", 1_000_000),
    "1MBABYDOGE": ("BABYDOGE", 1_000_000),
}
NAMES: Final = Names(EXCHANGE, MULTIPLIED)

_REST_HOST: Final = "api.bitget.com"
_QUOTES: Final = ("USDT", "USDC", "USD")
_GOOD: Final = "00000"
# What stands for "no time" in deliveryTime.
_NO_TIME: Final = ("", "0", "-1", None)
_DAY_S: Final = 24 * 3600.0


class _Conversation:
    """Each topic of a request is confirmed by a message of its own; an error may name its topic."""

    def __init__(self) -> None:
        self._asked: set[str] = set()

    def open(self) -> Sequence[Outgoing]:
        return ()

    def subscribe(self, topics: Sequence[Topic], number: int) -> Outgoing:  # noqa: ARG002 - requests have no number
        names = [topic.name for topic in topics]
        self._asked.update(names)
        request = {"op": "subscribe", "args": [{"instType": name, "topic": TOPIC} for name in names]}
        return orjson.dumps(request).decode()

    def ping(self, number: int, time_ms: int) -> Outgoing | None:  # noqa: ARG002 - a ping is a bare word
        return "ping"

    def hear(self, message: bytes) -> Heard:
        said = object_in(message)
        kind = said.get("event")
        if kind is None:
            return Heard(data="data" in said)
        named = text_in(object_at(said.get("arg")).get("instType"))
        if kind == "subscribe":
            self._asked.discard(named)
            return Heard(confirmed=(named,)) if named else Heard()
        if kind == "error":
            words = f"{said.get('code')} {text_in(said.get('msg'))}".strip()
            # An error that names no topic is about the request, so about all that is not confirmed yet.
            refused = (named,) if named else tuple(sorted(self._asked))
            self._asked.difference_update(refused)
            return Heard(refused=tuple((topic, words) for topic in refused))
        return Heard()


def _read_contracts(request: Request, answer: bytes) -> Sequence[Instrument]:  # noqa: ARG001 - the rows say their kind
    page = object_of("answer", json_of(answer))
    if page.get("code") != _GOOD:
        raise RefusedError("unexpected_message", f"code {shown(page.get('code'))}: {shown(page.get('msg'))}")
    found = (_contract(object_of("contract", row)) for row in list_of("data", page.get("data")))
    return [contract for contract in found if contract is not None]


def _contract(row: Mapping[str, Any]) -> Instrument | None:
    margin = MARKETS.get(word("category", row.get("category")).lower())
    quote = word("quoteCoin", row.get("quoteCoin"))
    if margin is None or quote not in _QUOTES or row.get("status") == "offline":
        return None
    symbol, base = word("symbol", row.get("symbol")), word("baseCoin", row.get("baseCoin"))
    delivery = row.get("deliveryTime")
    if delivery in _NO_TIME:
        return NAMES.perpetual(symbol, base, quote, margin)
    delivered = datetime.fromtimestamp(time_ms_of("deliveryTime", delivery) / 1000, UTC).date()
    return NAMES.dated(symbol, base, quote, margin, delivered)


def _read_time(answer: bytes) -> int:
    data = object_of("data", object_of("answer", json_of(answer)).get("data"))
    return time_ms_of("serverTime", data.get("serverTime"))


def _topics(instruments: Sequence[Instrument]) -> Sequence[Topic]:  # noqa: ARG001 - a topic is a whole market
    return [Topic(market) for market in MARKETS]


LIVE: Final = Live(
    channels=(
        Channel(
            name="liquidation",
            url="wss://ws.bitget.com/v3/ws/public",
            topics=_topics,
            begin=_Conversation,
            limits=Limits(topics_per_connection=50, topics_per_request=10, connection_age_s=_DAY_S),
            ping_every_s=25.0,
            silence_s=75.0,
        ),
    ),
    metadata=Metadata(
        tuple(
            Request(
                f"instruments:{market}",
                f"https://{_REST_HOST}/api/v3/market/instruments?category={market.upper()}",
            )
            for market in MARKETS
        ),
        _read_contracts,
    ),
    clock=Clock(Request("time", f"https://{_REST_HOST}/api/v2/public/time"), _read_time),
    budgets={_REST_HOST: Budget(weight=20, per_s=1)},
)
