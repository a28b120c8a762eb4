"""BitMEX: a greeting, the `liquidation` table as changes after a `partial`, and contracts with multipliers.

Source: `exchange_feeds` 3.4, its recorded messages, and the documented answers of instrument/active.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, NamedTuple

import orjson

from pipeline.embedded.exchange_server.flow import Push
from pipeline.embedded.exchange_server.tape import Tape
from pipeline.embedded.exchange_server.venue import Client, Endpoint, Outgoing, Query, Venue, symbol_of
from pipeline.embedded.simulator.contracts import Contract
from pipeline.embedded.simulator.served_messages import bitmex_row
from pipeline.embedded.simulator.truth import Truth
from pipeline.records import Position

_TABLE = "liquidation"
_SATOSHI = 100_000_000
_TYPES = {"orderID": "guid", "symbol": "symbol", "side": "symbol", "price": "float", "leavesQty": "long"}


class _Order(NamedTuple):
    """An order that is still open."""

    symbol: str
    word: str
    price: Fraction
    price_text: str
    quantity: int


class Bitmex(Venue):
    """A topic is `liquidation` or `liquidation:SYMBOL`."""

    exchange = "bitmex"
    sockets = ("/realtime",)

    def __init__(self, tape: Tape, now_ms: Callable[[], int]) -> None:
        super().__init__(tape, now_ms)
        self._open: dict[str, _Order] = {}

    def opened(self, client: Client) -> None:
        greeting = {
            "info": "Welcome to the BitMEX Realtime API.",
            "version": "2.0.0",
            "timestamp": self._timestamp(),
            "docs": "https://www.bitmex.com/app/wsAPI",
            "heartbeatEnabled": False,
            "limit": {"remaining": 719},
        }
        client.say(orjson.dumps(greeting).decode())
        self._subscribe(client, [topic for topic in client.query.get("subscribe", "").split(",") if topic], None)

    def heard(self, client: Client, message: str) -> None:
        if message == "ping":
            return client.say("pong")
        try:
            request = orjson.loads(message)
            operation, arguments = request["op"], request["args"]
            topics = [arguments] if isinstance(arguments, str) else list(map(str, arguments))
        except (ValueError, TypeError, KeyError):
            error = {"status": 400, "error": "Not valid JSON or no operation", "meta": {}, "request": message}
            return client.say(orjson.dumps(error).decode())
        if operation == "subscribe":
            return self._subscribe(client, topics, request)
        if operation == "unsubscribe":
            for topic in topics:
                answer = {"success": True, "unsubscribe": topic, "request": request}
                client.unsubscribe([topic], orjson.dumps(answer).decode())
            return None
        error = {"status": 400, "error": f"Unknown operation: {operation}", "meta": {}, "request": request}
        return client.say(orjson.dumps(error).decode())

    def sent(self, push: Push) -> None:
        row = _row_of(push.payload)
        if row is None:
            return
        action, values = row
        order = values.get("orderID", "")
        known = self._open.get(order)
        if action == "insert" and not order.startswith("trap"):
            text = _price_text(push.payload)
            self._open[order] = _Order(values["symbol"], values["side"], Fraction(text), text, values["leavesQty"])
        elif action == "update" and known is not None:
            text = _price_text(push.payload) if "price" in values else known.price_text
            quantity = values.get("leavesQty", known.quantity)
            self._open[order] = known._replace(price=Fraction(text), price_text=text, quantity=quantity)
        elif action == "delete":
            self._open.pop(order, None)

    def payloads(self, client: Client, push: Push) -> Iterable[Outgoing]:
        row = _row_of(push.payload)
        symbol = row[1].get("symbol", "") if row is not None else symbol_of(push)
        if _TABLE in client.topics or f"{_TABLE}:{symbol}" in client.topics:
            yield push.payload.decode()

    def endpoints(self) -> Mapping[str, Endpoint]:
        return {
            "/api/v1": lambda _query: {"name": "BitMEX API", "version": "2.0.0", "timestamp": self.now_ms()},
            "/api/v1/instrument/active": self._instruments,
            "/api/v1/instrument": self._instruments,
        }

    def _subscribe(self, client: Client, topics: list[str], request: object) -> None:
        for topic in topics:
            table, _, symbol = topic.partition(":")
            if table != _TABLE or (symbol and symbol not in self.contracts):
                error = {"status": 400, "error": f"Unknown table or symbol: {topic}", "meta": {}, "request": request}
                client.say(orjson.dumps(error).decode())
                continue
            answer = orjson.dumps({"success": True, "subscribe": topic, "request": request}).decode()
            client.acknowledge([topic], answer)
            if topic in client.topics:
                self._partial(client, symbol)

    def _partial(self, client: Client, symbol: str) -> None:
        found = {key: order for key, order in self._open.items() if symbol in ("", order.symbol)}
        rows = [bitmex_row(one.symbol, key, one.word, one.price_text, one.quantity) for key, one in found.items()]
        head = orjson.dumps({"table": _TABLE, "action": "partial", "keys": ["orderID"], "types": _TYPES, "filter": {}})
        truths = tuple(_truth(self.contracts[order.symbol], order) for order in found.values())
        client.bring(f'{head.decode()[:-1]},"data":[{",".join(rows)}]}}', truths)

    def _timestamp(self) -> str:
        now = datetime.fromtimestamp(self.now_ms() / 1000, UTC)
        return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _instruments(self, _query: Query) -> object:
        return [_instrument(contract) for contract in self.contracts.values()]


def _row_of(payload: bytes) -> tuple[str, dict[str, Any]] | None:
    try:
        message = orjson.loads(payload)
        return message["action"], message["data"][0]
    except (ValueError, TypeError, KeyError, IndexError):
        return None


def _price_text(payload: bytes) -> str:
    return payload.split(b'"price":')[1].split(b",")[0].decode()


def _truth(contract: Contract, order: _Order) -> Truth:
    """Return what an open order is worth to somebody who did not see it begin."""
    steps = int(order.price * contract.price_scale)
    micros = contract.notional_micros(steps, order.quantity)
    position: Position = "long" if order.word == "Sell" else "short"
    asset = contract.instrument.asset
    return Truth("event", contract.exchange, contract.symbol, asset, position, 0, micros, trap="partial")


def _instrument(contract: Contract) -> dict[str, Any]:
    inverse, asset = contract.inverse, "XBT" if contract.instrument.asset == "BTC" else contract.instrument.asset
    # How many contracts are one coin.
    per_coin = 1 / contract.contract_size
    shown = int(per_coin) if per_coin.denominator == 1 else float(per_coin)
    return {
        "symbol": contract.symbol,
        "rootSymbol": asset,
        "state": "Open",
        "typ": "FFWCSX",
        "expiry": None,
        "settle": None,
        "positionCurrency": "" if inverse else asset,
        "underlying": asset,
        "quoteCurrency": contract.instrument.quote,
        "settlCurrency": "XBt" if inverse else "USDt",
        "multiplier": -_SATOSHI if inverse else int(contract.contract_size * 1_000_000),
        "underlyingToPositionMultiplier": None if inverse else shown,
        "quoteToSettleMultiplier": None if inverse else 1_000_000,
        "isQuanto": False,
        "isInverse": inverse,
        "lotSize": 1,
        "tickSize": 1 / contract.price_scale,
    }
