"""How Pacifica is listened to: the trades of every perpetual, one topic each.

Sources: Pacifica documentation (WebSocket, trades, market info, market symbols, rate limits); a published client's test
of the answers to requests, which the documentation does not show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import orjson

from pipeline.feeds.conversations.listings import contracts_in
from pipeline.feeds.conversations.payloads import object_at, object_in, text_in
from pipeline.feeds.live import Budget, Channel, Heard, Limits, Live, Metadata, Outgoing, Request, Topic
from pipeline.feeds.naming import Multiplied, Names
from pipeline.feeds.numbers import shown, word
from pipeline.feeds.rows import json_of, list_of, object_of
from pipeline.records import Instrument, RefusedError

EXCHANGE: Final = "pacifica"
TRADES: Final = "trades"
# All contracts are linear perpetuals with USDC as their margin.
QUOTE: Final = "USDC"

# Listings of many units, by symbol. All other symbols are in capitals.
MULTIPLIED: Final[Multiplied] = {"kBONK": ("BONK", 1000), "kPEPE": ("PEPE", 1000)}
NAMES: Final = Names(EXCHANGE, MULTIPLIED)

_REST_HOST: Final = "api.pacifica.fi"
_PERPETUAL: Final = "perpetual"
_UPDATE: Final = b'{"channel":"trades"'
_DAY_S: Final = 24 * 3600.0


@lru_cache(maxsize=16_384)
def named(symbol: str) -> Instrument | None:
    """Return the perpetual of a symbol, which is the coin's name; None if it is neither in capitals nor in the table.

    A small letter stands for a number of units (`kBONK`), which form alone does not tell.
    """
    if symbol not in MULTIPLIED and symbol != symbol.upper():
        return None
    return NAMES.perpetual(symbol, symbol, QUOTE, "linear")


class _Conversation:
    """Requests name one market each, and so do their confirmations; refusals name none."""

    def __init__(self) -> None:
        self._asked: set[str] = set()

    def open(self) -> Sequence[Outgoing]:
        return ()

    def subscribe(self, topics: Sequence[Topic], number: int) -> Outgoing:  # noqa: ARG002 - requests have no number
        (topic,) = topics
        self._asked.add(topic.name)
        request = {"method": "subscribe", "params": {"source": TRADES, "symbol": topic.name}}
        return orjson.dumps(request).decode()

    def ping(self, number: int, time_ms: int) -> Outgoing | None:  # noqa: ARG002 - a ping holds nothing
        return '{"method":"ping"}'

    def hear(self, message: bytes) -> Heard:
        # Nearly all messages are trades; they are told without being read.
        if message.startswith(_UPDATE):
            return Heard(data=True)
        said = object_in(message)
        channel = said.get("channel")
        if channel == TRADES:
            return Heard(data=True)
        if channel == "subscribe":
            asked = object_at(said.get("data"))
            topic = text_in(asked.get("symbol"))
            if asked.get("source") != TRADES or not topic:
                return Heard()
            self._asked.discard(topic)
            return Heard(confirmed=(topic,))
        return self._refusal(said)

    def _refusal(self, said: Mapping[str, Any]) -> Heard:
        words = f"{said.get('code') or ''} {text_in(said.get('error')) or text_in(said.get('err'))}".strip()
        # Which of several open requests is meant is not said: they stay unconfirmed and are asked for again.
        if not ("error" in said or "err" in said) or len(self._asked) != 1:
            return Heard()
        return Heard(refused=((self._asked.pop(), words),))


def _read_markets(request: Request, answer: bytes) -> Sequence[Instrument]:  # noqa: ARG001 - one page
    page = object_of("answer", json_of(answer))
    if page.get("success") is not True:
        raise RefusedError("unexpected_message", f"code {shown(page.get('code'))}: {shown(page.get('error'))}")
    return contracts_in(list_of("data", page.get("data")), _perpetual)


def _perpetual(market: Mapping[str, Any]) -> Instrument | None:
    # The kind was not told before there were others.
    if market.get("instrument_type", _PERPETUAL) != _PERPETUAL:
        return None
    symbol = word("symbol", market.get("symbol"))
    found = named(symbol)
    if found is None:
        raise RefusedError("unknown_symbol", f"{shown(symbol)} is of no documented form")
    return found


def _topics(instruments: Sequence[Instrument]) -> Sequence[Topic]:
    return [Topic(contract.symbol, contract.symbol) for contract in instruments if contract.exchange == EXCHANGE]


LIVE: Final = Live(
    channels=(
        Channel(
            name="trades",
            url="wss://ws.pacifica.fi/ws",
            topics=_topics,
            begin=_Conversation,
            # No pace of subscriptions is documented; published clients send all of theirs at once.
            limits=Limits(topics_per_connection=20, topics_per_request=1, requests_per_s=1.0, connection_age_s=_DAY_S),
            ping_every_s=20.0,
            silence_s=60.0,
            per_symbol=True,
        ),
    ),
    metadata=Metadata((Request("info", f"https://{_REST_HOST}/api/v1/info"),), _read_markets),
    budgets={_REST_HOST: Budget(weight=100, per_s=60)},
)
