"""HTX: gzip for every message, pings by the server, and topics by contract or coin.

Source: `exchange_feeds` 3.7, its recorded messages, and the documented answers of the contract lists.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from pipeline.embedded.exchange_server.flow import Push
from pipeline.embedded.exchange_server.venue import Client, Endpoint, Outgoing, Query, Venue, symbol_of
from pipeline.embedded.simulator.contracts import Contract
from pipeline.embedded.simulator.served_pushes import HTX_LINEAR

_PING_EVERY_MS = 5_000
_MISSES = 5
_LINEAR, _COIN, _DATED = "/linear-swap-notification", "/swap-notification", "/notification"
_TOPIC = "public.{}.liquidation_orders"


class Htx(Venue):
    """A topic is what the client wrote; `public.*.liquidation_orders` is for all contracts of the socket."""

    exchange = "htx"
    sockets = (_LINEAR, _COIN, _DATED)

    def heard(self, client: Client, message: str) -> None:
        try:
            request = orjson.loads(message)
            operation = request["op"]
        except (ValueError, TypeError, KeyError):
            return client.say(_packed({"op": "error", "err-code": 2001, "err-msg": "invalid request"}))
        if operation == "pong":
            # The time must come back as it was sent: a text.
            if request.get("ts") == client.memory.get("ping"):
                client.memory["missed"] = 0
            return None
        if operation == "ping":
            return client.say(_packed({"op": "pong", "ts": request.get("ts")}))
        topic = str(request.get("topic"))
        answer = {"op": operation, "cid": request.get("cid"), "topic": topic, "ts": self.now_ms()}
        if not self._is_known(client, topic):
            return client.say(_packed({**answer, "err-code": 2014, "err-msg": f"topic {topic} is invalid"}))
        if operation == "sub":
            return client.acknowledge([topic], _packed({**answer, "err-code": 0}))
        return client.unsubscribe([topic], _packed({**answer, "err-code": 0}))

    def payloads(self, client: Client, push: Push) -> Iterable[Outgoing]:
        if client.path != (_LINEAR if push.stream == HTX_LINEAR else _COIN):
            return
        if any(_TOPIC.format(name) in client.topics for name in ("*", symbol_of(push))):
            yield gzip.compress(push.payload, 1, mtime=0)

    def tick(self, client: Client, now_ms: int) -> None:
        if now_ms - client.memory.get("pinged_ms", client.opened_ms) < _PING_EVERY_MS:
            return
        client.memory["pinged_ms"] = now_ms
        client.memory["missed"] = client.memory.get("missed", 0) + 1
        if client.memory["missed"] > _MISSES:
            client.close("five pings without an answer")
            return
        client.memory["ping"] = str(now_ms)
        client.say(_packed({"op": "ping", "ts": str(now_ms)}))

    def endpoints(self) -> Mapping[str, Endpoint]:
        return {
            "/api/v1/timestamp": lambda _query: {"status": "ok", "ts": self.now_ms()},
            "/linear-swap-api/v1/swap_contract_info": lambda query: self._listed(query, inverse=False),
            "/swap-api/v1/swap_contract_info": lambda query: self._listed(query, inverse=True),
            "/api/v1/contract_contract_info": lambda _query: {"status": "ok", "data": [], "ts": self.now_ms()},
        }

    def _is_known(self, client: Client, topic: str) -> bool:
        if client.path == _DATED:
            coins = {contract.instrument.asset for contract in self.contracts.values()}
            return topic in {_TOPIC.format(coin) for coin in coins}
        inverse = client.path == _COIN
        names = ["*", *(symbol for symbol, contract in self.contracts.items() if contract.inverse == inverse)]
        return topic in {_TOPIC.format(name) for name in names}

    def _listed(self, query: Query, inverse: bool) -> object:
        wanted = query.get("contract_code")
        found = [
            _listing(contract)
            for contract in self.contracts.values()
            if contract.inverse == inverse and wanted in (None, contract.symbol)
        ]
        return {"status": "ok", "data": found, "ts": self.now_ms()}


def _packed(message: Mapping[str, object]) -> bytes:
    return gzip.compress(orjson.dumps(message), 1, mtime=0)


def _listing(contract: Contract) -> dict[str, Any]:
    size = contract.contract_size
    found: dict[str, Any] = {
        "symbol": contract.instrument.asset,
        "contract_code": contract.symbol,
        "contract_size": int(size) if size.denominator == 1 else float(size),
        "price_tick": 1 / contract.price_scale,
        "delivery_time": "",
        "create_date": "20201021",
        "contract_status": 1,
        "settlement_date": "1789545600000",
    }
    if not contract.inverse:
        found |= {
            "delivery_date": "",
            "support_margin_mode": "all",
            "business_type": "swap",
            "pair": contract.symbol,
            "contract_type": "swap",
            "trade_partition": "USDT",
        }
    return found
