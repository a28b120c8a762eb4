"""How Aster is listened to: one stream of all forced orders. The protocol is a clone of Binance's, and so is the talk.

Source: Aster documentation (futures API, WebSocket market streams).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pipeline.feeds.conversations.binance import MULTIPLIED, STREAM, BinanceConversation
from pipeline.feeds.live import Budget, Channel, Clock, Limits, Live, Metadata, Request, Topic
from pipeline.feeds.naming import Names
from pipeline.feeds.numbers import time_ms_of, word
from pipeline.feeds.rows import json_of, list_of, object_of
from pipeline.records import Instrument

EXCHANGE: Final = "aster"

# The same listings of many units as Binance, in an instrument table of its own.
NAMES: Final = Names(EXCHANGE, MULTIPLIED)

_REST_HOST: Final = "fapi.asterdex.com"
_DAY_S: Final = 24 * 3600.0

# Quote assets that count as USD. A contract quoted in a coin would need another price.
_QUOTES: Final = ("USDT", "USDC", "USD1")
_PERPETUAL: Final = "PERPETUAL"
_NOT_TRADED: Final = ("CLOSE", "PENDING_TRADING")


def _read_symbols(request: Request, answer: bytes) -> Sequence[Instrument]:  # noqa: ARG001 - one page of one kind
    listed = list_of("symbols", object_of("answer", json_of(answer)).get("symbols"))
    found = (_perpetual(object_of("symbol", symbol)) for symbol in listed)
    return [contract for contract in found if contract is not None]


def _perpetual(symbol: Mapping[str, Any]) -> Instrument | None:
    quote = word("quoteAsset", symbol.get("quoteAsset"))
    if symbol.get("contractType") != _PERPETUAL or symbol.get("status") in _NOT_TRADED or quote not in _QUOTES:
        return None
    return NAMES.perpetual(
        word("symbol", symbol.get("symbol")), word("baseAsset", symbol.get("baseAsset")), quote, "linear"
    )


def _read_time(answer: bytes) -> int:
    return time_ms_of("serverTime", object_of("answer", json_of(answer)).get("serverTime"))


def _topics(instruments: Sequence[Instrument]) -> Sequence[Topic]:  # noqa: ARG001 - one stream for all of them
    return (Topic(STREAM),)


LIVE: Final = Live(
    channels=(
        Channel(
            name="forceOrder",
            url="wss://fstream.asterdex.com/ws",
            topics=_topics,
            begin=BinanceConversation,
            limits=Limits(topics_per_connection=200, topics_per_request=200, connection_age_s=_DAY_S),
            # The server's own pings are five minutes apart, and a quiet market sends nothing.
            ping_every_s=30.0,
            silence_s=90.0,
        ),
    ),
    metadata=Metadata((Request("exchangeInfo", f"https://{_REST_HOST}/fapi/v1/exchangeInfo"),), _read_symbols),
    clock=Clock(Request("time", f"https://{_REST_HOST}/fapi/v1/time"), _read_time),
    budgets={_REST_HOST: Budget(weight=2400, per_s=60)},
)
