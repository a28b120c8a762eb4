"""How Gate is listened to: one address for each settlement currency, on it one topic for all contracts.

Source: Gate documentation (futures WebSocket v4: public_liquidates, ping, error codes; REST v4: futures contracts,
server time).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from pipeline.feeds.conversations.payloads import object_at, object_in, text_in
from pipeline.feeds.live import Budget, Channel, Clock, Heard, Limits, Live, Metadata, Outgoing, Request, Topic
from pipeline.feeds.naming import Multiplied, Names
from pipeline.feeds.numbers import positive_or_none, time_ms_of, word
from pipeline.feeds.rows import json_of, list_of, object_of
from pipeline.records import Instrument, Margin

EXCHANGE: Final = "gate"
LIQUIDATIONS: Final = "futures.public_liquidates"

# Listings of many units. Gate's contract sizes do that elsewhere (a PEPE_USDT contract is 10 million PEPE).
MULTIPLIED: Final[Multiplied] = {"MBABYDOGE": ("BABYDOGE", 1_000_000)}
NAMES: Final = Names(EXCHANGE, MULTIPLIED)

# The currencies in which contracts settle, as addresses name them, and the quote of their contracts. All three quotes
# are counted as USD one for one.
QUOTES: Final[Mapping[str, str]] = {"usdt": "USDT", "btc": "USD", "usd1": "USD1"}
# The one coin whose contract in USD is settled in that coin.
INVERSE_COIN: Final = "BTC"

_REST: Final = "https://api.gateio.ws/api/v4"
_EVERY_CONTRACT: Final = "!all"
_PAGE_ROWS: Final = 1000
_CONTRACTS: Final = "instruments:"


class _Conversation:
    """The answer to a request says which event of which channel it is about; requests do not overlap."""

    def __init__(self) -> None:
        self._asked: list[str] = []
        self._time_s = 0

    def open(self) -> Sequence[Outgoing]:
        return ()

    def subscribe(self, topics: Sequence[Topic], number: int) -> Outgoing:
        names = [topic.name for topic in topics]
        self._asked.extend(name for name in names if name not in self._asked)
        request = {
            # The documentation's own examples send any number; it matters for signed requests only.
            "time": self._time_s or number,
            "channel": LIQUIDATIONS,
            "event": "subscribe",
            "payload": names,
        }
        return orjson.dumps(request).decode()

    def ping(self, number: int, time_ms: int) -> Outgoing | None:  # noqa: ARG002 - a ping has a time
        self._time_s = time_ms // 1000
        return orjson.dumps({"time": self._time_s, "channel": "futures.ping"}).decode()

    def hear(self, message: bytes) -> Heard:
        said = object_in(message)
        if said.get("type") == "service_upgrade":
            return Heard(closing=text_in(said.get("msg")) or "the server is about to be upgraded")
        if said.get("channel") != LIQUIDATIONS:
            return Heard()
        if said.get("event") == "update":
            return Heard(data=True)
        if said.get("event") != "subscribe":
            return Heard()
        asked, self._asked = tuple(self._asked), []
        error = object_at(said.get("error"))
        if error or object_at(said.get("result")).get("status") == "fail":
            words = f"{error.get('code')} {text_in(error.get('message'))}".strip()
            return Heard(refused=tuple((topic, words) for topic in asked))
        return Heard(confirmed=asked)


def _page(settle: str, offset: int) -> Request:
    query = f"limit={_PAGE_ROWS}&offset={offset}"
    return Request(f"{_CONTRACTS}{settle}", f"{_REST}/futures/{settle}/contracts?{query}")


def _following(request: Request, answer: bytes) -> Request | None:
    """Return the request for the next page: a page with as many rows as were asked for is not the last."""
    if len(list_of("answer", json_of(answer))) < _PAGE_ROWS:
        return None
    return _page(request.name.removeprefix(_CONTRACTS), int(request.url.rpartition("=")[2]) + _PAGE_ROWS)


def _read_contracts(request: Request, answer: bytes) -> Sequence[Instrument]:
    settle = request.name.removeprefix(_CONTRACTS)
    found = (_contract(settle, object_of("contract", row)) for row in list_of("answer", json_of(answer)))
    return [contract for contract in found if contract is not None]


def _contract(settle: str, row: Mapping[str, Any]) -> Instrument | None:
    symbol = word("name", row.get("name"))
    base, _, quote = symbol.partition("_")
    if quote != QUOTES[settle] or row.get("status") == "delisted":
        return None
    margin = margin_of(base, quote)
    named = NAMES.perpetual(symbol, base, quote, margin)
    if named is None:
        return None
    # Zero on the inverse contract, whose size the documentation gives instead.
    size = positive_or_none("quanto_multiplier", row.get("quanto_multiplier"))
    return replace(
        named,
        settle=settle.upper(),
        contract_size=float(size) if margin == "linear" and size is not None else None,
    )


def margin_of(base: str, quote: str) -> Margin:
    """Return the margin of a contract: those in USD settle in BTC, whatever their coin."""
    if quote != QUOTES["btc"]:
        return "linear"
    return "inverse" if base == INVERSE_COIN else "quanto"


def _read_time(answer: bytes) -> int:
    return time_ms_of("server_time", object_of("answer", json_of(answer)).get("server_time"))


def _topics(instruments: Sequence[Instrument]) -> Sequence[Topic]:  # noqa: ARG001 - the topic holds all contracts
    return [Topic(_EVERY_CONTRACT)]


LIVE: Final = Live(
    channels=tuple(
        Channel(
            name=settle,
            url=f"wss://fx-ws.gateio.ws/v4/ws/{settle}",
            topics=_topics,
            begin=_Conversation,
            limits=Limits(topics_per_connection=100, topics_per_request=100, requests_per_s=5),
            ping_every_s=15.0,
            silence_s=45.0,
        )
        for settle in QUOTES
    ),
    metadata=Metadata(tuple(_page(settle, 0) for settle in QUOTES), _read_contracts, _following),
    clock=Clock(Request("time", f"{_REST}/spot/time"), _read_time),
    budgets={"api.gateio.ws": Budget(weight=200, per_s=10)},
)
