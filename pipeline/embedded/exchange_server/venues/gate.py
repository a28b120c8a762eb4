"""Gate futures: one socket per settlement currency, channels with a list of contracts or `!all`.

Source: `exchange_feeds` 3.6, its recorded messages, and the documented answers of contracts and spot/time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from pipeline.embedded.exchange_server.flow import Push
from pipeline.embedded.exchange_server.venue import Client, Endpoint, Outgoing, Query, RestError, Venue, symbol_of
from pipeline.embedded.simulator.contracts import Contract
from pipeline.embedded.simulator.messages import decimal_text
from pipeline.embedded.simulator.served_messages import exact_text
from pipeline.embedded.simulator.served_pushes import GATE_INVERSE

_CHANNEL = "futures.public_liquidates"
_ALL = "!all"
# Nothing is settled in USD1 here.
_SETTLES = ("usdt", "btc", "usd1")
_LISTED = {"usdt": False, "btc": True}


class Gate(Venue):
    """A topic is a contract or `!all`."""

    exchange = "gate"
    sockets = tuple(f"/v4/ws/{settle}" for settle in _SETTLES)

    def heard(self, client: Client, message: str) -> None:
        try:
            request = orjson.loads(message)
            channel, event = request["channel"], request.get("event", "")
            names = [str(name) for name in request.get("payload") or ()]
        except (ValueError, TypeError, KeyError, AttributeError):
            return client.say(self._answer("", "", {"error": {"code": 1, "message": "invalid request body"}}))
        if channel == "futures.ping":
            return client.say(self._answer("futures.pong", "", {"result": None}))
        unknown = [name for name in names if name != _ALL and not self._is_listed(client, name)]
        if channel != _CHANNEL or unknown or not names:
            words = f"unknown contract {unknown[0]}" if unknown else f"unknown channel {channel}"
            refused = {"payload": names, "error": {"code": 2, "message": words}, "result": {"status": "fail"}}
            return client.say(self._answer(channel, event, refused))
        answer = self._answer(channel, event, {"payload": names, "result": {"status": "success"}})
        if event == "unsubscribe":
            return client.unsubscribe(names, answer)
        return client.acknowledge(names, answer)

    def payloads(self, client: Client, push: Push) -> Iterable[Outgoing]:
        if _LISTED.get(client.path.rpartition("/")[2]) != (push.stream == GATE_INVERSE):
            return
        if _ALL in client.topics or symbol_of(push) in client.topics:
            yield push.payload.decode()

    def endpoints(self) -> Mapping[str, Endpoint]:
        return {
            "/api/v4/spot/time": lambda _query: {"server_time": self.now_ms()},
            "/api/v4/futures/{settle}/contracts": self._contracts,
        }

    def _is_listed(self, client: Client, name: str) -> bool:
        contract = self.contracts.get(name)
        return contract is not None and contract.inverse == _LISTED.get(client.path.rpartition("/")[2])

    def _answer(self, channel: str, event: str, more: Mapping[str, object]) -> str:
        now_ms = self.now_ms()
        head = {"time": now_ms // 1000, "time_ms": now_ms, "channel": channel, "event": event}
        return orjson.dumps({**head, **more}).decode()

    def _contracts(self, query: Query) -> object:
        settle = query["settle"]
        if settle not in _SETTLES:
            raise RestError(400, {"label": "INVALID_PARAM_VALUE", "message": f"invalid settle {settle}"})
        found = [contract for contract in self.contracts.values() if contract.inverse == _LISTED.get(settle)]
        first, limit = int(query.get("offset", "0")), int(query.get("limit", "1000"))
        return [self._listing(contract) for contract in found[first : first + limit]]

    def _listing(self, contract: Contract) -> dict[str, Any]:
        price = self.tape.quotes[self.exchange, contract.symbol].price
        return {
            "name": contract.symbol,
            "type": "inverse" if contract.inverse else "direct",
            "quanto_multiplier": "0" if contract.inverse else exact_text(contract.contract_size),
            "order_price_round": decimal_text(1, contract.price_decimals),
            "mark_price": f"{price:.12g}",
            "funding_rate": "0.0001",
            "order_size_min": 1,
            "in_delisting": False,
            "status": "trading",
            "create_time": 1_514_764_800,
            "enable_decimal": False,
        }
