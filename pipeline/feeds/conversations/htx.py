"""How HTX is listened to: three addresses for its three kinds of contracts; every message is gzip.

Source: HTX documentation (linear swap, coin-margined swap, coin-margined futures: notification addresses, contract
information, server time).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Final

import orjson

from pipeline.feeds.conversations.payloads import object_in, text_in
from pipeline.feeds.gzipped import unpacked
from pipeline.feeds.live import Budget, Channel, Clock, Heard, Limits, Live, Metadata, Outgoing, Request, Topic
from pipeline.feeds.naming import Names, compact_date
from pipeline.feeds.numbers import positive_or_none, shown, time_ms_of, word
from pipeline.feeds.rows import json_of, list_of, object_of
from pipeline.records import Instrument, RefusedError

EXCHANGE: Final = "htx"
# Topics of liquidations end so.
LIQUIDATIONS: Final = ".liquidation_orders"

# HTX lists no multiples of a coin: its contracts' sizes do that.
NAMES: Final = Names(EXCHANGE, {})
# Quotes of linear contracts counted as USD one for one; contracts quoted in anything else are left out.
QUOTES: Final = ("USDT", "USDC")

_HOST: Final = "api.hbdm.com"
_LINEAR, _COIN_SWAP, _COIN_FUTURES = "instruments:linear", "instruments:coin_swap", "instruments:coin_futures"
_REPEATED_SUBSCRIPTION: Final = 2014


class _Conversation:
    """One topic a request; the answer repeats it. The server asks whether we are there, every 5 s."""

    def open(self) -> Sequence[Outgoing]:
        return ()

    def subscribe(self, topics: Sequence[Topic], number: int) -> Outgoing:
        (topic,) = topics
        return orjson.dumps({"op": "sub", "cid": str(number), "topic": topic.name}).decode()

    def ping(self, number: int, time_ms: int) -> Outgoing | None:  # noqa: ARG002 - the server asks by itself
        return None

    def hear(self, message: bytes) -> Heard:
        try:
            said = object_in(unpacked(message))
        except RefusedError:
            return Heard()
        operation = said.get("op")
        if operation == "notify":
            return Heard(data=text_in(said.get("topic")).endswith(LIQUIDATIONS))
        if operation == "ping":
            # The same value in the same type, text or number.
            return Heard(replies=(orjson.dumps({"op": "pong", "ts": said.get("ts")}).decode(),))
        if operation == "sub":
            return _answer(said)
        if operation == "close":
            return Heard(closing="the server closes the connection")
        return Heard()


def _answer(said: Mapping[str, Any]) -> Heard:
    topic, code = text_in(said.get("topic")), said.get("err-code")
    if not topic:
        return Heard()
    if code in (0, _REPEATED_SUBSCRIPTION):
        return Heard(confirmed=(topic,))
    return Heard(refused=((topic, f"{code} {text_in(said.get('err-msg'))}".strip()),))


def _read_contracts(request: Request, answer: bytes) -> Sequence[Instrument]:
    page = object_of("answer", json_of(answer))
    if page.get("status") != "ok":
        raise RefusedError("unexpected_message", f"status {shown(page.get('status'))}: {shown(page.get('err_msg'))}")
    contract = _CONTRACTS[request.name]
    found = (contract(object_of("contract", row)) for row in list_of("data", page.get("data")))
    return [instrument for instrument in found if instrument is not None]


def _linear(row: Mapping[str, Any]) -> Instrument | None:
    symbol, coin = word("contract_code", row.get("contract_code")), word("symbol", row.get("symbol"))
    quote = row.get("trade_partition") or "USDT"
    if quote not in QUOTES:
        return None
    expiry = _expiry(row)
    if expiry is None:
        return _sized(NAMES.perpetual(symbol, coin, quote, "linear"), row)
    return _sized(NAMES.dated(symbol, coin, quote, "linear", expiry), row)


def _coin_swap(row: Mapping[str, Any]) -> Instrument | None:
    symbol, coin = word("contract_code", row.get("contract_code")), word("symbol", row.get("symbol"))
    return _sized(NAMES.perpetual(symbol, coin, "USD", "inverse"), row)


def _coin_futures(row: Mapping[str, Any]) -> Instrument | None:
    symbol, coin = word("contract_code", row.get("contract_code")), word("symbol", row.get("symbol"))
    expiry = _expiry(row)
    if expiry is None:
        raise RefusedError("missing_field", f"delivery_date of {shown(symbol)} is missing")
    return _sized(NAMES.dated(symbol, coin, "USD", "inverse", expiry), row)


def _sized(named: Instrument | None, row: Mapping[str, Any]) -> Instrument | None:
    if named is None:
        return None
    size = positive_or_none("contract_size", row.get("contract_size"))
    return replace(named, contract_size=None if size is None else float(size))


def _expiry(row: Mapping[str, Any]) -> date | None:
    """Return the day in `delivery_date` (`20211210`), None for a contract without."""
    text = row.get("delivery_date")
    if text in (None, ""):
        return None
    # Two digits of the century more than in the contracts' names.
    found = compact_date(text[2:]) if isinstance(text, str) and text.startswith("20") else None
    if found is None:
        raise RefusedError("bad_time", f"delivery_date is {shown(text)}, not yyyymmdd")
    return found


_CONTRACTS: Final[Mapping[str, Callable[[Mapping[str, Any]], Instrument | None]]] = {
    _LINEAR: _linear,
    _COIN_SWAP: _coin_swap,
    _COIN_FUTURES: _coin_futures,
}


def _read_time(answer: bytes) -> int:
    return time_ms_of("ts", object_of("answer", json_of(answer)).get("ts"))


def _every_contract(instruments: Sequence[Instrument]) -> Sequence[Topic]:  # noqa: ARG001 - the topic holds all
    return [Topic(f"public.*{LIQUIDATIONS}")]


def _every_coin(instruments: Sequence[Instrument]) -> Sequence[Topic]:
    """Return a topic for each coin with dated contracts, since that address takes coins and no asterisk."""
    coins = {
        contract.asset
        for contract in instruments
        if contract.exchange == EXCHANGE and contract.margin == "inverse" and contract.expiry is not None
    }
    return [Topic(f"public.{coin}{LIQUIDATIONS}") for coin in sorted(coins)]


def _channel(name: str, path: str, topics: Callable[[Sequence[Instrument]], Sequence[Topic]]) -> Channel:
    return Channel(
        name=name,
        url=f"wss://{_HOST}/{path}",
        topics=topics,
        begin=_Conversation,
        limits=Limits(topics_per_connection=200, topics_per_request=1, requests_per_s=10),
        ping_every_s=15.0,
        # Five pings of the server, after which it would close, too.
        silence_s=30.0,
    )


LIVE: Final = Live(
    channels=(
        _channel("linear", "linear-swap-notification", _every_contract),
        _channel("coin_swap", "swap-notification", _every_contract),
        _channel("coin_futures", "notification", _every_coin),
    ),
    metadata=Metadata(
        (
            Request(_LINEAR, f"https://{_HOST}/linear-swap-api/v1/swap_contract_info?business_type=all"),
            Request(_COIN_SWAP, f"https://{_HOST}/swap-api/v1/swap_contract_info"),
            Request(_COIN_FUTURES, f"https://{_HOST}/api/v1/contract_contract_info"),
        ),
        _read_contracts,
    ),
    clock=Clock(Request("time", f"https://{_HOST}/api/v1/timestamp"), _read_time),
    # The documented bound for public data is far higher; nothing here needs it.
    budgets={_HOST: Budget(weight=20, per_s=1)},
)
