"""How BitMEX is listened to: one table for all contracts.

Source: BitMEX documentation (WebSocket API, instrument fields, rate limits), recorded messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

import orjson

from pipeline.feeds.conversations.payloads import object_at, object_in, text_in
from pipeline.feeds.live import Budget, Channel, Clock, Heard, Limits, Live, Metadata, Outgoing, Request, Topic
from pipeline.feeds.naming import Names, day_of
from pipeline.feeds.numbers import decimal_of, iso_time_us, positive_or_none, shown, time_ms_of, word
from pipeline.feeds.rows import json_of, list_of, object_of
from pipeline.records import Instrument, Margin, RefusedError

EXCHANGE: Final = "bitmex"
TABLE: Final = "liquidation"
# What a message of the table does: rows that are there, new ones, changed ones, gone ones.
PARTIAL, INSERT, UPDATE, DELETE = "partial", "insert", "update", "delete"

# BitMEX calls Bitcoin XBT. It lists no multiples of a coin: its contracts' sizes do that.
NAMES: Final = Names(EXCHANGE, {"XBT": ("BTC", 1)})
# Quotes counted as USD one for one. Contracts quoted in anything else (XBT) are left out: their value needs a price.
QUOTES: Final = ("USD", "USDT", "USDC")

_REST_HOST: Final = "www.bitmex.com"
# Types of contracts begin so (FFWCSX perpetual, FFCCSX future); IFXXXP is spot, MR... are indices.
_CONTRACT: Final = "FF"
# Settlement currencies by their smallest unit: the currency, and how many of the unit it has.
_SETTLEMENT: Final[Mapping[str, tuple[str, Decimal]]] = {
    "XBt": ("BTC", Decimal(10**8)),
    "USDt": ("USDT", Decimal(10**6)),
}


class _Conversation:
    """A subscription is confirmed by its name, refused with the request that it was in."""

    def open(self) -> Sequence[Outgoing]:
        return ()

    def subscribe(self, topics: Sequence[Topic], number: int) -> Outgoing:  # noqa: ARG002 - requests have no number
        return orjson.dumps({"op": "subscribe", "args": [topic.name for topic in topics]}).decode()

    def ping(self, number: int, time_ms: int) -> Outgoing | None:  # noqa: ARG002 - a ping is a bare word
        return "ping"

    def hear(self, message: bytes) -> Heard:
        said = object_in(message)
        if said.get("table") == TABLE:
            # What was there at the subscription proves nothing about what comes after it.
            return Heard(data=said.get("action") != PARTIAL)
        if said.get("success") is True:
            topic = text_in(said.get("subscribe"))
            return Heard(confirmed=(topic,)) if topic else Heard()
        if "error" in said:
            request = object_at(said.get("request"))
            asked = request.get("args") if request.get("op") == "subscribe" else None
            topics = asked if isinstance(asked, list) else [asked]
            words = f"{said.get('status', '')} {text_in(said['error'])}".strip()
            return Heard(refused=tuple((topic, words) for topic in topics if isinstance(topic, str)))
        return Heard()


def _read_contracts(request: Request, answer: bytes) -> Sequence[Instrument]:  # noqa: ARG001 - one page
    rows = (object_of("contract", row) for row in list_of("answer", json_of(answer)))
    found = (_contract(row) for row in rows if word("typ", row.get("typ")).startswith(_CONTRACT))
    return [contract for contract in found if contract is not None]


def _contract(row: Mapping[str, Any]) -> Instrument | None:
    quote = word("quoteCurrency", row.get("quoteCurrency"))
    if quote not in QUOTES:
        return None
    symbol, base = word("symbol", row.get("symbol")), word("underlying", row.get("underlying"))
    margin = _margin(row)
    expiry = row.get("expiry")
    if expiry is None:
        named = NAMES.perpetual(symbol, base, quote, margin)
    else:
        expired = day_of(iso_time_us("expiry", word("expiry", expiry)) // 1000)
        named = NAMES.dated(symbol, base, quote, margin, expired)
    if named is None:
        return None
    currency = word("settlCurrency", row.get("settlCurrency"))
    settle, units = _SETTLEMENT.get(currency, (currency, None))
    return replace(named, settle=settle, contract_size=_contract_size(margin, row, units))


def _margin(row: Mapping[str, Any]) -> Margin:
    for name in ("isQuanto", "isInverse"):
        if not isinstance(row.get(name), bool):
            raise RefusedError("unknown_word", f"{name} is {shown(row.get(name))}, not true or false")
    if row["isQuanto"]:
        return "quanto"
    return "inverse" if row["isInverse"] else "linear"


def _contract_size(margin: Margin, row: Mapping[str, Any], units: Decimal | None) -> float | None:
    """Return coins (linear) or USD (inverse) of one contract; None where the row does not tell.

    Linear: `underlyingToPositionMultiplier` contracts are one coin. Inverse: a contract is worth `-multiplier / price`
    of the smallest units of the settlement currency, so `-multiplier / units` USD.
    """
    if margin == "linear":
        contracts = positive_or_none("underlyingToPositionMultiplier", row.get("underlyingToPositionMultiplier"))
        return None if contracts is None else float(1 / contracts)
    multiplier = row.get("multiplier")
    if margin == "quanto" or units is None or multiplier is None:
        return None
    usd = -decimal_of("multiplier", multiplier) / units
    return float(usd) if usd > 0 else None


def _read_time(answer: bytes) -> int:
    return time_ms_of("timestamp", object_of("answer", json_of(answer)).get("timestamp"))


def _topics(instruments: Sequence[Instrument]) -> Sequence[Topic]:  # noqa: ARG001 - the table holds all contracts
    return [Topic(TABLE)]


LIVE: Final = Live(
    channels=(
        Channel(
            name=TABLE,
            url="wss://ws.bitmex.com/realtime",
            topics=_topics,
            begin=_Conversation,
            # 720 requests an hour from one address, connections among them.
            limits=Limits(topics_per_connection=20, topics_per_request=20, requests_per_s=1, connections_per_s=0.2),
            ping_every_s=20.0,
            silence_s=60.0,
        ),
    ),
    metadata=Metadata((Request("instruments", f"https://{_REST_HOST}/api/v1/instrument/active"),), _read_contracts),
    clock=Clock(Request("time", f"https://{_REST_HOST}/api/v1"), _read_time),
    # Without a login 30 requests a minute.
    budgets={_REST_HOST: Budget(weight=30, per_s=60)},
)
