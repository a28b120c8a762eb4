"""How Deribit is listened to: the trades of all futures and perpetuals as one topic.

Source: Deribit documentation (trades.{kind}.{currency}.{interval}, set_heartbeat, get_instruments, get_time, rate
limits).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from pipeline.feeds.conversations.payloads import object_at, object_in, text_in
from pipeline.feeds.live import Budget, Channel, Clock, Heard, Limits, Live, Metadata, Outgoing, Request, Topic
from pipeline.feeds.naming import Names, day_of
from pipeline.feeds.numbers import positive_or_none, time_ms_of, word
from pipeline.feeds.rows import json_of, list_of, object_of
from pipeline.records import Instrument, Margin

EXCHANGE: Final = "deribit"
# Channels of trades begin so; `future` holds perpetuals, too, and `any` every currency in which contracts settle.
TRADES: Final = "trades."
TOPIC: Final = "trades.future.any.100ms"

# Deribit lists no multiples of a coin.
NAMES: Final = Names(EXCHANGE, {})
# Quotes counted as USD one for one; contracts quoted in anything else are left out.
QUOTES: Final = ("USD", "USDC", "USDT")

_REST: Final = "https://www.deribit.com/api/v2/public"
_MARGINS: Final[Mapping[str, Margin]] = {"linear": "linear", "reversed": "inverse"}
_HEARTBEAT_S: Final = 20
# The number of requests that are no subscriptions; those count from 1.
_NO_NUMBER: Final = 0


def _call(number: int, method: str, parameters: Mapping[str, object]) -> str:
    request = {"jsonrpc": "2.0", "id": number, "method": method, "params": parameters}
    return orjson.dumps(request).decode()


class _Conversation:
    """JSON-RPC: an answer carries its request's number, and names the channels that were subscribed to."""

    def __init__(self) -> None:
        self._asked: dict[int, tuple[str, ...]] = {}

    def open(self) -> Sequence[Outgoing]:
        return (_call(_NO_NUMBER, "public/set_heartbeat", {"interval": _HEARTBEAT_S}),)

    def subscribe(self, topics: Sequence[Topic], number: int) -> Outgoing:
        names = tuple(topic.name for topic in topics)
        self._asked[number] = names
        return _call(number, "public/subscribe", {"channels": names})

    def ping(self, number: int, time_ms: int) -> Outgoing | None:  # noqa: ARG002 - the server asks by itself
        return None

    def hear(self, message: bytes) -> Heard:
        said = object_in(message)
        method = said.get("method")
        if method == "subscription":
            return Heard(data=text_in(object_at(said.get("params")).get("channel")).startswith(TRADES))
        if method == "heartbeat":
            asks = object_at(said.get("params")).get("type") == "test_request"
            return Heard(replies=(_call(_NO_NUMBER, "public/test", {}),)) if asks else Heard()
        number = said.get("id")
        asked = self._asked.pop(number, ()) if isinstance(number, int) else ()
        if not asked:
            return Heard()
        error = object_at(said.get("error"))
        words = f"{error.get('code')} {text_in(error.get('message'))}".strip() if error else "left out of the answer"
        # An unknown channel is no error: it is left out of the list of those subscribed to.
        result = said.get("result")
        taken = result if isinstance(result, list) else []
        return Heard(
            confirmed=tuple(topic for topic in asked if topic in taken),
            refused=tuple((topic, words) for topic in asked if topic not in taken),
        )


def _read_contracts(request: Request, answer: bytes) -> Sequence[Instrument]:  # noqa: ARG001 - one page
    rows = list_of("result", object_of("answer", json_of(answer)).get("result"))
    found = (_contract(object_of("contract", row)) for row in rows)
    return [contract for contract in found if contract is not None]


def _contract(row: Mapping[str, Any]) -> Instrument | None:
    quote = word("quote_currency", row.get("quote_currency"))
    margin = _MARGINS.get(word("instrument_type", row.get("instrument_type")))
    if row.get("kind") != "future" or margin is None or quote not in QUOTES:
        return None
    symbol, base = word("instrument_name", row.get("instrument_name")), word("base_currency", row.get("base_currency"))
    if row.get("settlement_period") == "perpetual":
        named = NAMES.perpetual(symbol, base, quote, margin)
    else:
        expiry_ms = time_ms_of("expiration_timestamp", row.get("expiration_timestamp"))
        named = NAMES.dated(symbol, base, quote, margin, day_of(expiry_ms))
    if named is None:
        return None
    size = positive_or_none("contract_size", row.get("contract_size"))
    return replace(
        named,
        settle=word("settlement_currency", row.get("settlement_currency")),
        contract_size=None if size is None else float(size),
    )


def _read_time(answer: bytes) -> int:
    return time_ms_of("result", object_of("answer", json_of(answer)).get("result"))


def _topics(instruments: Sequence[Instrument]) -> Sequence[Topic]:  # noqa: ARG001 - the topic holds all contracts
    return [Topic(TOPIC)]


LIVE: Final = Live(
    channels=(
        Channel(
            name="trades",
            url="wss://www.deribit.com/ws/api/v2",
            topics=_topics,
            begin=_Conversation,
            limits=Limits(topics_per_connection=500, topics_per_request=100, requests_per_s=3),
            ping_every_s=float(_HEARTBEAT_S),
            silence_s=60.0,
        ),
    ),
    metadata=Metadata(
        (Request("instruments", f"{_REST}/get_instruments?currency=any&kind=future", weight=5.0),), _read_contracts
    ),
    clock=Clock(Request("time", f"{_REST}/get_time"), _read_time),
    # Without a login 20 requests a second, of get_instruments one. Over ten seconds, so that the heavy one fits in.
    budgets={"www.deribit.com": Budget(weight=50, per_s=10)},
)
