"""Bybit v5, linear and inverse. A request with one unknown topic is refused as a whole.

Source: `exchange_feeds` 3.2 and 5, and the documented answers of instruments-info, time, open-interest, account-ratio.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from pipeline.embedded.exchange_server.flow import Push
from pipeline.embedded.exchange_server.tape import Candle, Quote
from pipeline.embedded.exchange_server.venue import Client, Endpoint, Outgoing, Query, Venue, decimals, symbol_of
from pipeline.embedded.simulator.contracts import Contract
from pipeline.embedded.simulator.messages import decimal_text

_MOST_CHARACTERS = 21_000
_IDLE_MS = 600_000
_FUNDING_MS = 8 * 3_600_000
_TOPICS = ("allLiquidation", "kline.1", "tickers")


class Bybit(Venue):
    """Every answer carries the request's `req_id` and the connection's `conn_id`."""

    exchange = "bybit"
    sockets = ("/v5/public/linear", "/v5/public/inverse")

    def heard(self, client: Client, message: str) -> None:  # noqa: PLR0911 - one for each answer
        try:
            request = orjson.loads(message)
            operation, number = request["op"], str(request.get("req_id", ""))
            topics = [str(topic) for topic in request.get("args") or ()]
        except (ValueError, TypeError, KeyError, AttributeError):
            return client.say(_answer(client, False, "Invalid request", "", ""))
        if operation == "ping":
            return client.say(_answer(client, True, "pong", number, "ping"))
        if operation == "subscribe":
            unknown = [topic for topic in topics if not self._is_known(client, topic)]
            if unknown:
                words = f"error:handler not found,topic:{unknown[0]}"
                return client.say(_answer(client, False, words, number, "subscribe"))
            if sum(map(len, [*client.topics, *topics])) > _MOST_CHARACTERS:
                return client.say(_answer(client, False, "args size >21000", number, "subscribe"))
            return client.acknowledge(topics, _answer(client, True, "", number, "subscribe"))
        if operation == "unsubscribe":
            return client.unsubscribe(topics, _answer(client, True, "", number, "unsubscribe"))
        return client.say(_answer(client, False, f"unknown op {operation}", number, str(operation)))

    def payloads(self, client: Client, push: Push) -> Iterable[Outgoing]:
        if f"allLiquidation.{symbol_of(push)}" in client.topics:
            yield push.payload.decode()

    def market(self, client: Client, now_ms: int) -> Iterable[Outgoing]:
        for contract, quote in self.tape.of(self.exchange):
            if f"kline.1.{contract.symbol}" in client.topics:
                yield from _klines(client, contract, quote, now_ms)
            topic = f"tickers.{contract.symbol}"
            if topic in client.topics:
                first = topic not in client.memory
                client.memory[topic] = True
                yield _ticker(contract, quote, now_ms, first)

    def tick(self, client: Client, now_ms: int) -> None:
        if now_ms - client.heard_ms > _IDLE_MS:
            client.close("idle")

    def endpoints(self) -> Mapping[str, Endpoint]:
        return {
            "/v5/market/time": self._time,
            "/v5/market/instruments-info": self._instruments,
            "/v5/market/tickers": self._tickers,
            "/v5/market/open-interest": self._open_interest,
            "/v5/market/account-ratio": self._ratio,
        }

    def _is_known(self, client: Client, topic: str) -> bool:
        name, _, symbol = topic.rpartition(".")
        contract = self.contracts.get(symbol)
        return name in _TOPICS and contract is not None and client.path.endswith(contract.channel)

    def _answered(self, result: object, code: int = 0, words: str = "OK") -> object:
        return {"retCode": code, "retMsg": words, "result": result, "retExtInfo": {}, "time": self.now_ms()}

    def _time(self, _query: Query) -> object:
        now_ms = self.now_ms()
        return self._answered({"timeSecond": str(now_ms // 1000), "timeNano": str(now_ms * 1_000_000)})

    def _instruments(self, query: Query) -> object:
        category, limit = query.get("category", ""), int(query.get("limit", "500"))
        found = [contract for contract in self.contracts.values() if contract.channel == category]
        if not found:
            return self._answered({}, 10001, "params error: Category is invalid")
        first = int(query.get("cursor") or "0")
        page = found[first : first + limit]
        cursor = str(first + limit) if first + limit < len(found) else ""
        listed = [_instrument(contract) for contract in page]
        return self._answered({"category": category, "list": listed, "nextPageCursor": cursor})

    def _tickers(self, query: Query) -> object:
        category = query.get("category", "")
        found = [one for one in self.tape.of(self.exchange) if one[0].channel == category]
        if not found:
            return self._answered({}, 10001, "params error: Category is invalid")
        return self._answered({"category": category, "list": [_fields(*one, self.now_ms()) for one in found]})

    def _open_interest(self, query: Query) -> object:
        contract = self.contracts.get(query.get("symbol", ""))
        if contract is None:
            return self._answered({}, 10001, "params error: symbol invalid")
        quote = self.tape.quotes[self.exchange, contract.symbol]
        one_side = quote.open_base * (quote.price if contract.inverse else 1)
        period = self.now_ms() // 300_000 * 300_000
        row = {
            "openInterest": decimals(2 * one_side),
            "singleOpenInterest": decimals(one_side),
            "timestamp": str(period),
        }
        listed = {"symbol": contract.symbol, "category": contract.channel, "list": [row], "nextPageCursor": ""}
        return self._answered(listed)

    def _ratio(self, query: Query) -> object:
        period = self.now_ms() // 300_000 * 300_000
        symbol = query.get("symbol", "")
        row = {"symbol": symbol, "buyRatio": "0.6", "sellRatio": "0.4", "timestamp": str(period)}
        return self._answered({"list": [row] if symbol in self.contracts else [], "nextPageCursor": ""})


def _answer(client: Client, success: bool, words: str, number: str, operation: str) -> str:
    connection = f"00000000-0000-4000-8000-{client.number:012x}"
    answer = {"success": success, "ret_msg": words, "conn_id": connection, "req_id": number, "op": operation}
    return orjson.dumps(answer).decode()


def _klines(client: Client, contract: Contract, quote: Quote, now_ms: int) -> Iterable[str]:
    told: dict[str, int] = client.memory.setdefault("closed", {})
    if quote.closed is not None and told.get(contract.symbol) != quote.closed.start_ms:
        told[contract.symbol] = quote.closed.start_ms
        yield _kline(contract, quote.closed, True, now_ms)
    yield _kline(contract, quote.candle, False, now_ms)


def _kline(contract: Contract, candle: Candle, closed: bool, now_ms: int) -> str:
    volume, turnover = (candle.usd, candle.base) if contract.inverse else (candle.base, candle.usd)
    row = {
        "start": candle.start_ms,
        "end": candle.start_ms + 59_999,
        "interval": "1",
        "open": decimals(candle.open),
        "close": decimals(candle.close),
        "high": decimals(candle.high),
        "low": decimals(candle.low),
        "volume": decimals(volume),
        "turnover": decimals(turnover),
        "confirm": closed,
        "timestamp": now_ms,
    }
    message = {"topic": f"kline.1.{contract.symbol}", "data": [row], "ts": now_ms, "type": "snapshot"}
    return orjson.dumps(message).decode()


def _ticker(contract: Contract, quote: Quote, now_ms: int, first: bool) -> str:
    """Return everything at first, later only what moves."""
    data = _fields(contract, quote, now_ms)
    if not first:
        data = {name: data[name] for name in ("symbol", "lastPrice", "markPrice")}
    kind = "snapshot" if first else "delta"
    message = {"topic": f"tickers.{contract.symbol}", "type": kind, "data": data, "cs": now_ms, "ts": now_ms}
    return orjson.dumps(message).decode()


def _fields(contract: Contract, quote: Quote, now_ms: int) -> dict[str, str]:
    price = decimals(quote.price)
    one_side = quote.open_base * (quote.price if contract.inverse else 1)
    value = quote.open_base * (1 if contract.inverse else quote.price)
    return {
        "symbol": contract.symbol,
        "lastPrice": price,
        "markPrice": price,
        "indexPrice": price,
        "openInterest": decimals(2 * one_side),
        "openInterestValue": decimals(2 * value),
        "singleOpenInterest": decimals(one_side),
        "fundingRate": "0.0001",
        "nextFundingTime": str((now_ms // _FUNDING_MS + 1) * _FUNDING_MS),
    }


def _instrument(contract: Contract) -> dict[str, Any]:
    quote = contract.instrument.quote
    return {
        "symbol": contract.symbol,
        "contractType": "InversePerpetual" if contract.inverse else "LinearPerpetual",
        "status": "Trading",
        "baseCoin": contract.symbol.removesuffix(quote),
        "quoteCoin": quote,
        "launchTime": "1584230400000",
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": str(contract.price_decimals),
        "priceFilter": {"tickSize": decimal_text(1, contract.price_decimals)},
        "lotSizeFilter": {"qtyStep": decimal_text(1, contract.quantity_decimals)},
        "unifiedMarginTrade": True,
        "fundingInterval": 480,
        "settleCoin": contract.instrument.settle,
    }
