"""Deribit: JSON-RPC, trades by instrument or by kind and currency, heartbeats that must be answered when asked for.

Source: `exchange_feeds` 3.5, its recorded message, and the documented answers of the public methods.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from pipeline.embedded.exchange_server.flow import Push
from pipeline.embedded.exchange_server.venue import Client, Endpoint, Outgoing, Query, RestError, Venue, symbol_of
from pipeline.embedded.simulator.contracts import Contract

_CURRENCIES = ("BTC", "ETH", "USDC", "USDT", "any")
_KINDS = ("future", "option", "spot", "future_combo", "option_combo", "any")
_INTERVALS = ("100ms", "agg2")
_PERPETUAL_MS = 32_503_708_800_000
_LEAST_HEARTBEAT_S = 10


class Deribit(Venue):
    """A topic is the channel as the client wrote it; unknown ones are left out of the answer."""

    exchange = "deribit"
    sockets = ("/ws/api/v2",)

    def heard(self, client: Client, message: str) -> None:  # noqa: PLR0911 - one for each answer
        try:
            request = orjson.loads(message)
            method, number, parameters = request["method"], request.get("id"), request.get("params") or {}
        except (ValueError, TypeError, KeyError, AttributeError):
            return client.say(self._answer(None, error={"code": -32700, "message": "Parse error"}))
        if method in ("public/subscribe", "public/unsubscribe"):
            return self._subscribe(client, method, number, parameters)
        if method == "public/set_heartbeat":
            if parameters.get("interval", 0) < _LEAST_HEARTBEAT_S:
                error = {"code": -32602, "message": "Invalid params", "data": {"param": "interval"}}
                return client.say(self._answer(number, error=error))
            client.memory["heartbeat_ms"] = parameters["interval"] * 1000
            client.memory["asked_ms"] = self.now_ms()
            return client.say(self._answer(number, result="ok"))
        if method == "public/test":
            client.memory["waiting"] = False
            return client.say(self._answer(number, result={"version": "1.2.26"}))
        if method == "public/get_time":
            return client.say(self._answer(number, result=self.now_ms()))
        return client.say(self._answer(number, error={"code": -32601, "message": "Method not found"}))

    def payloads(self, client: Client, push: Push) -> Iterable[Outgoing]:
        contract = self.contracts[symbol_of(push)] if push.rows else None
        if contract is None:
            return
        for topic in client.topics:
            if _holds(topic, contract):
                head = f'{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"{topic}","data":'
                yield head + push.payload.decode() + "}}"

    def tick(self, client: Client, now_ms: int) -> None:
        every_ms = client.memory.get("heartbeat_ms")
        if every_ms is None or now_ms - client.memory["asked_ms"] < every_ms:
            return
        if client.memory.get("waiting"):
            client.close("test_request without an answer")
            return
        client.memory["asked_ms"], client.memory["waiting"] = now_ms, True
        client.say('{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}')

    def endpoints(self) -> Mapping[str, Endpoint]:
        return {
            "/api/v2/public/get_time": lambda _query: self._result(self.now_ms()),
            "/api/v2/public/test": lambda _query: self._result({"version": "1.2.26"}),
            "/api/v2/public/get_instruments": self._instruments,
        }

    def _subscribe(self, client: Client, method: str, number: object, parameters: Mapping[str, Any]) -> None:
        channels = [str(channel) for channel in parameters.get("channels", ())]
        if any(channel.endswith(".raw") for channel in channels):
            words = "raw_subscriptions_not_available_for_unauthorized"
            return client.say(self._answer(number, error={"code": 13778, "message": words}))
        known = [channel for channel in channels if self._is_known(channel)]
        answer = self._answer(number, result=known)
        if method == "public/unsubscribe":
            return client.unsubscribe(known, answer)
        return client.acknowledge(known, answer)

    def _is_known(self, channel: str) -> bool:
        parts = channel.split(".")
        if parts[0] != "trades" or parts[-1] not in _INTERVALS:
            return False
        names = parts[1:-1]
        if len(names) == 1:
            return names[0] in self.contracts
        return len(names) == 2 and names[0] in _KINDS and names[1] in _CURRENCIES  # noqa: PLR2004

    def _result(self, result: object) -> dict[str, Any]:
        now_us = self.now_ms() * 1000
        return {"jsonrpc": "2.0", "result": result, "usIn": now_us, "usOut": now_us, "usDiff": 0, "testnet": False}

    def _answer(self, number: object, result: object = None, error: object = None) -> str:
        answer = self._result(result) | {"id": number}
        if error is not None:
            del answer["result"]
            answer["error"] = error
        return orjson.dumps(answer).decode()

    def _instruments(self, query: Query) -> object:
        currency, kind = query.get("currency", "any"), query.get("kind", "future")
        if currency not in _CURRENCIES:
            error = {"message": "Invalid params", "data": {"param": "currency"}, "code": -32602}
            raise RestError(400, {"jsonrpc": "2.0", "error": error, "testnet": False})
        found = [
            _instrument(contract)
            for contract in self.contracts.values()
            if kind in ("future", "any") and currency in ("any", _currency(contract))
        ]
        return self._result(found)


def _holds(topic: str, contract: Contract) -> bool:
    parts = topic.split(".")
    if parts[1] == contract.symbol:
        return True
    return len(parts) == 4 and parts[1] in ("future", "any") and parts[2] in ("any", _currency(contract))  # noqa: PLR2004


def _currency(contract: Contract) -> str:
    return contract.instrument.settle


def _instrument(contract: Contract) -> dict[str, Any]:
    asset, quote, inverse = contract.instrument.asset, contract.instrument.quote, contract.inverse
    return {
        "instrument_name": contract.symbol,
        "kind": "future",
        "future_type": "reversed" if inverse else "linear",
        "instrument_type": "reversed" if inverse else "linear",
        "base_currency": asset,
        "quote_currency": quote,
        "counter_currency": quote,
        "settlement_currency": contract.instrument.settle,
        "settlement_period": "perpetual",
        "price_index": f"{asset.lower()}_{quote.lower()}",
        "contract_size": float(contract.contract_size),
        "min_trade_amount": float(contract.contract_size),
        "tick_size": 1 / contract.price_scale,
        "is_active": True,
        "creation_timestamp": 1_534_242_287_000,
        "expiration_timestamp": _PERPETUAL_MS,
        "instrument_id": contract.index,
    }
