"""How dYdX v4 is listened to: the trades of every perpetual, one topic each.

Sources: dYdX documentation (Indexer WebSocket, Indexer HTTP API), the indexer's published source.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from pipeline.feeds.conversations.payloads import object_in, text_in
from pipeline.feeds.live import Budget, Channel, Clock, Heard, Limits, Live, Metadata, Outgoing, Request, Topic
from pipeline.feeds.numbers import decimal_of
from pipeline.feeds.rows import json_of, object_of
from pipeline.records import Instrument, check_time_ms

EXCHANGE: Final = "dydx"
TRADES: Final = "v4_trades"
QUOTE: Final = "USD"
# All markets are quoted in USD and settled in USDC (exchange_feeds 4).
SETTLE: Final = "USDC"

_HOST: Final = "indexer.dydx.trade"
# What a ticker puts behind the coin's name where its price comes from a pool on a chain: `COIN,POOL,ADDRESS-USD`.
_ORIGIN: Final = ","
_UPDATES: Final = (b'{"type":"channel_data"', b'{"type":"channel_batch_data"')
_NOT_TRADED: Final = ("FINAL_SETTLEMENT", "INITIALIZING")


def coin_of(ticker: str) -> str | None:
    """Return the coin in a ticker (`BTC-USD`, `COIN,POOL,ADDRESS-USD`), or None if it is not of that form."""
    listed, dash, quote = ticker.rpartition("-")
    coin = listed.partition(_ORIGIN)[0]
    return coin if dash and quote == QUOTE and coin else None


class _Conversation:
    """Requests name one market each; the answer with its recent trades is the confirmation."""

    def __init__(self) -> None:
        self._asked: set[str] = set()

    def open(self) -> Sequence[Outgoing]:
        return ()

    def subscribe(self, topics: Sequence[Topic], number: int) -> Outgoing:  # noqa: ARG002 - requests have no number
        (topic,) = topics
        self._asked.add(topic.name)
        request = {"type": "subscribe", "channel": TRADES, "id": topic.name, "batched": True}
        return orjson.dumps(request).decode()

    def ping(self, number: int, time_ms: int) -> Outgoing | None:  # noqa: ARG002 - a ping holds a number only
        return orjson.dumps({"type": "ping", "id": number}).decode()

    def hear(self, message: bytes) -> Heard:
        # Nearly all messages are trades; they are told without being read.
        if message.startswith(_UPDATES):
            return Heard(data=True)
        said = object_in(message)
        kind = said.get("type")
        if kind in ("channel_data", "channel_batch_data"):
            return Heard(data=True)
        if kind == "subscribed":
            topic = text_in(said.get("id"))
            self._asked.discard(topic)
            # The trades in it are history: they tell nothing of whether new ones come.
            return Heard(confirmed=(topic,)) if topic else Heard()
        if kind == "error":
            return self._refusal(said)
        return Heard()

    def _refusal(self, said: dict[str, Any]) -> Heard:
        # Errors name the market in their text only, behind the channel's name.
        words = text_in(said.get("message"))
        meant = [topic for topic in self._asked if f"{TRADES}-{topic}" in words or topic == said.get("id")]
        if not meant:
            return Heard()
        topic = max(meant, key=len)
        self._asked.discard(topic)
        return Heard(refused=((topic, words),))


def _read_markets(request: Request, answer: bytes) -> Sequence[Instrument]:  # noqa: ARG001 - one page of one kind
    markets = object_of("markets", object_of("answer", json_of(answer)).get("markets"))
    # A market that is not quoted in USD would be of a new kind; there has been none.
    return [
        perpetual(ticker, coin)
        for ticker, market in markets.items()
        if (coin := coin_of(ticker)) is not None and object_of(ticker, market).get("status") not in _NOT_TRADED
    ]


def perpetual(ticker: str, coin: str) -> Instrument:
    """Return the contract of a ticker: all are linear perpetuals, sized in coins."""
    return Instrument(EXCHANGE, ticker, f"{coin}-{QUOTE}-PERP", coin, QUOTE, SETTLE, "linear")


def _read_time(answer: bytes) -> int:
    # Seconds since 1970 with decimals.
    time_ms = int(decimal_of("epoch", object_of("answer", json_of(answer)).get("epoch")) * 1000)
    check_time_ms("epoch", time_ms)
    return time_ms


def _topics(instruments: Sequence[Instrument]) -> Sequence[Topic]:
    return [Topic(contract.symbol, contract.symbol) for contract in instruments if contract.exchange == EXCHANGE]


LIVE: Final = Live(
    channels=(
        Channel(
            name="trades",
            url=f"wss://{_HOST}/v4/ws",
            topics=_topics,
            begin=_Conversation,
            limits=Limits(topics_per_connection=32, topics_per_request=1, requests_per_s=4.0),
            ping_every_s=20.0,
            silence_s=60.0,
            per_symbol=True,
        ),
    ),
    metadata=Metadata((Request("markets", f"https://{_HOST}/v4/perpetualMarkets"),), _read_markets),
    clock=Clock(Request("time", f"https://{_HOST}/v4/time"), _read_time),
    budgets={_HOST: Budget(weight=100, per_s=10)},
)
