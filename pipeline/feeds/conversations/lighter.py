"""How Lighter is listened to: the trades of every perpetual, one topic each.

Sources: Lighter documentation (WebSocket reference, market data), recorded messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from pipeline.feeds.conversations.payloads import object_at, object_in, text_in
from pipeline.feeds.live import Budget, Channel, Clock, Heard, Limits, Live, Metadata, Outgoing, Request, Topic
from pipeline.feeds.naming import Multiplied
from pipeline.feeds.numbers import decimal_of, shown, word
from pipeline.feeds.rows import json_of, list_of, object_of
from pipeline.records import Instrument, RefusedError, check_time_ms

EXCHANGE: Final = "lighter"
QUOTE: Final = "USDC"

_HOST: Final = "mainnet.zklighter.elliot.ai"
_CHANNEL: Final = "trade"
_UPDATE: Final = b'"type":"update/trade"'
_ALREADY_SUBSCRIBED: Final = 30003
_SECOND_MS: Final = 1000

# Listings of many units, as the exchange names them (metadata tells the name only).
MULTIPLIED: Final[Multiplied] = {
    "1000BONK": ("BONK", 1000),
    "1000FLOKI": ("FLOKI", 1000),
    "1000LUNC": ("LUNC", 1000),
    "1000NEIRO": ("NEIRO", 1000),
    "1000PEPE": ("PEPE", 1000),
    "1000SHIB": ("SHIB", 1000),
    "1000TOSHI": ("TOSHI", 1000),
}
# What `market_type` says of a perpetual; where it is missing the list itself is one of perpetuals.
_PERPETUAL: Final = ("perp", None)


class _Conversation:
    """Requests name one market each; the answer with its recent trades is the confirmation."""

    def __init__(self) -> None:
        self._asked: set[str] = set()

    def open(self) -> Sequence[Outgoing]:
        return ()

    def subscribe(self, topics: Sequence[Topic], number: int) -> Outgoing:  # noqa: ARG002 - requests have no number
        (topic,) = topics
        self._asked.add(topic.name)
        return orjson.dumps({"type": "subscribe", "channel": topic.name}).decode()

    def ping(self, number: int, time_ms: int) -> Outgoing | None:  # noqa: ARG002 - a ping is a bare word
        return '{"type":"ping"}'

    def hear(self, message: bytes) -> Heard:
        # Nearly all messages are trades; they are told without being read.
        if _UPDATE in message:
            return Heard(data=True)
        said = object_in(message)
        kind = said.get("type")
        if kind == f"update/{_CHANNEL}":
            return Heard(data=True)
        if kind == "ping":
            return Heard(replies=('{"type":"pong"}',))
        if kind == f"subscribed/{_CHANNEL}":
            # Requests write `trade/1`, answers `trade:1`. The trades in it are history.
            topic = text_in(said.get("channel")).replace(":", "/")
            self._asked.discard(topic)
            return Heard(confirmed=(topic,)) if topic else Heard()
        if "error" in said:
            return self._refusal(object_at(said["error"]))
        return Heard()

    def _refusal(self, error: dict[str, Any]) -> Heard:
        # Errors name the market at the end of their text, if at all: `Already Subscribed to : trade:1`.
        words = text_in(error.get("message"))
        topic = words.rpartition(" ")[2].replace(":", "/")
        if topic not in self._asked:
            return Heard()
        self._asked.discard(topic)
        if error.get("code") == _ALREADY_SUBSCRIBED:
            return Heard(confirmed=(topic,))
        return Heard(refused=((topic, f"{error.get('code')} {words}"),))


def _read_markets(request: Request, answer: bytes) -> Sequence[Instrument]:  # noqa: ARG001 - one page
    page = object_of("answer", json_of(answer))
    markets = (object_of("market", market) for market in list_of("order_book_details", page.get("order_book_details")))
    return [_perpetual(market) for market in markets if market.get("market_type") in _PERPETUAL]


def _perpetual(market: dict[str, Any]) -> Instrument:
    number = market.get("market_id")
    if not isinstance(number, int) or isinstance(number, bool):
        raise RefusedError("bad_number", f"market_id is {shown(number)}, not a whole number")
    listed = word("symbol", market.get("symbol"))
    asset, multiplier = MULTIPLIED.get(listed, (listed, 1))
    return Instrument(
        exchange=EXCHANGE,
        symbol=str(number),
        instrument=f"{asset}-{QUOTE}-PERP",
        asset=asset,
        quote=QUOTE,
        settle=QUOTE,
        margin="linear",
        asset_multiplier=float(multiplier),
    )


def _read_time(answer: bytes) -> int:
    # Whole seconds: half a second more is right on average.
    seconds = decimal_of("timestamp", object_of("answer", json_of(answer)).get("timestamp"))
    time_ms = int(seconds * _SECOND_MS) + _SECOND_MS // 2
    check_time_ms("timestamp", time_ms)
    return time_ms


def _topics(instruments: Sequence[Instrument]) -> Sequence[Topic]:
    return [
        Topic(f"{_CHANNEL}/{contract.symbol}", contract.symbol)
        for contract in instruments
        if contract.exchange == EXCHANGE
    ]


LIVE: Final = Live(
    channels=(
        Channel(
            name="trade",
            url=f"wss://{_HOST}/stream",
            topics=_topics,
            begin=_Conversation,
            # 100 topics per connection and 200 messages a minute from one address, over all its connections.
            limits=Limits(topics_per_connection=100, topics_per_request=1, requests_per_s=0.8),
            ping_every_s=30.0,
            silence_s=90.0,
            per_symbol=True,
        ),
    ),
    metadata=Metadata((Request("order_book_details", f"https://{_HOST}/api/v1/orderBookDetails"),), _read_markets),
    clock=Clock(Request("status", f"https://{_HOST}/"), _read_time),
    # A standard account's 60 requests a minute.
    budgets={_HOST: Budget(weight=60, per_s=60)},
)
