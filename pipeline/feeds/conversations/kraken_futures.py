"""How Kraken Futures is listened to: the trades of every contract, one topic each.

Source: Kraken Futures documentation (WebSocket v1: trade feed, subscriptions, ping; REST v3: instruments).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from pipeline.feeds.conversations.payloads import object_in, text_in
from pipeline.feeds.live import Budget, Channel, Clock, Heard, Limits, Live, Metadata, Outgoing, Request, Topic
from pipeline.feeds.naming import Names, day_of
from pipeline.feeds.numbers import iso_time_us, positive_or_none, shown, word
from pipeline.feeds.rows import json_of, list_of, object_of
from pipeline.records import Instrument, Margin, RefusedError

EXCHANGE: Final = "kraken_futures"
# The feed of single trades, and the one of recent trades that follows a subscription.
TRADE, SNAPSHOT = "trade", "trade_snapshot"

# Kraken calls Bitcoin XBT; it lists no multiples of a coin.
NAMES: Final = Names(EXCHANGE, {"XBT": ("BTC", 1)})
QUOTE: Final = "USD"
# How symbols begin (perpetual or fixed; inverse or of many collaterals), and how such contracts are margined.
PERPETUALS: Final[Mapping[str, Margin]] = {"PI": "inverse", "PF": "linear"}
FIXED: Final[Mapping[str, Margin]] = {"FI": "inverse", "FF": "linear"}

_REST: Final = "https://futures.kraken.com/derivatives/api/v3"


class _Conversation:
    """Each contract of a request is confirmed; an error names none."""

    def __init__(self) -> None:
        self._asked: set[str] = set()

    def open(self) -> Sequence[Outgoing]:
        return ()

    def subscribe(self, topics: Sequence[Topic], number: int) -> Outgoing:  # noqa: ARG002 - requests have no number
        names = [topic.name for topic in topics]
        self._asked.update(names)
        return orjson.dumps({"event": "subscribe", "feed": TRADE, "product_ids": names}).decode()

    def ping(self, number: int, time_ms: int) -> Outgoing | None:  # noqa: ARG002 - WebSocket pings are asked for
        return None

    def hear(self, message: bytes) -> Heard:
        said = object_in(message)
        event = said.get("event")
        if event is None:
            # Recent trades at the subscription prove nothing about what comes after it.
            return Heard(data=said.get("feed") == TRADE)
        if event == "subscribed" and said.get("feed") == TRADE:
            products = said.get("product_ids")
            confirmed = tuple(filter(None, map(text_in, products))) if isinstance(products, list) else ()
            self._asked.difference_update(confirmed)
            return Heard(confirmed=confirmed)
        if event in ("error", "subscribed_failed"):
            words = text_in(said.get("message")) or "refused"
            refused, self._asked = tuple(sorted(self._asked)), set()
            return Heard(refused=tuple((topic, words) for topic in refused))
        return Heard()


def _read_contracts(request: Request, answer: bytes) -> Sequence[Instrument]:  # noqa: ARG001 - one page
    page = object_of("answer", json_of(answer))
    if page.get("result") != "success":
        raise RefusedError("unexpected_message", f"result {shown(page.get('result'))}: {shown(page.get('error'))}")
    found = (_contract(object_of("contract", row)) for row in list_of("instruments", page.get("instruments")))
    return [contract for contract in found if contract is not None]


def _contract(row: Mapping[str, Any]) -> Instrument | None:
    symbol = word("symbol", row.get("symbol"))
    kind, _, pair = symbol.partition("_")
    margin = PERPETUALS.get(kind) or FIXED.get(kind)
    # Indices and reference rates are listed beside contracts, and not tradeable.
    if margin is None or row.get("tradeable") is not True:
        return None
    base, quote = _pair(row, pair.partition("_")[0])
    if quote != QUOTE:
        return None
    if kind in PERPETUALS:
        named = NAMES.perpetual(symbol, base, quote, margin)
    else:
        last = day_of(iso_time_us("lastTradingTime", word("lastTradingTime", row.get("lastTradingTime"))) // 1000)
        named = NAMES.dated(symbol, base, quote, margin, last)
    if named is None:
        return None
    size = positive_or_none("contractSize", row.get("contractSize"))
    return replace(named, contract_size=None if size is None else float(size))


def _pair(row: Mapping[str, Any], pair: str) -> tuple[str, str]:
    """Return base and quote, which older answers give in the symbol only."""
    base, quote = row.get("base"), row.get("quote")
    if base is None and quote is None and pair.endswith(QUOTE):
        return pair.removesuffix(QUOTE), QUOTE
    return word("base", base), word("quote", quote)


def _read_time(answer: bytes) -> int:
    server_time = word("serverTime", object_of("answer", json_of(answer)).get("serverTime"))
    return iso_time_us("serverTime", server_time) // 1000


def _topics(instruments: Sequence[Instrument]) -> Sequence[Topic]:
    return [Topic(contract.symbol, contract.symbol) for contract in instruments if contract.exchange == EXCHANGE]


LIVE: Final = Live(
    channels=(
        Channel(
            name=TRADE,
            url="wss://futures.kraken.com/ws/v1",
            topics=_topics,
            begin=_Conversation,
            # An error refuses its whole request, so requests stay small.
            limits=Limits(topics_per_connection=500, topics_per_request=25, requests_per_s=5),
            ping_every_s=30.0,
            silence_s=75.0,
            per_symbol=True,
        ),
    ),
    metadata=Metadata((Request("instruments", f"{_REST}/instruments"),), _read_contracts),
    # Every answer carries the time; that of one contract's ticker is short.
    clock=Clock(Request("time", f"{_REST}/tickers/PF_XBTUSD"), _read_time),
    budgets={"futures.kraken.com": Budget(weight=5, per_s=1)},
)
