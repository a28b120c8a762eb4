"""OKX v5. One acknowledgement per argument; the server cuts after 30 s in which neither side said anything.

Source: `exchange_feeds` 3.3 and 5, and the documented answers of instruments, time, open-interest, funding-rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from pipeline.embedded.exchange_server.flow import Push
from pipeline.embedded.exchange_server.tape import Candle, Quote
from pipeline.embedded.exchange_server.venue import Client, Endpoint, Outgoing, Query, Venue, decimals
from pipeline.embedded.simulator.contracts import Contract
from pipeline.embedded.simulator.messages import decimal_text
from pipeline.embedded.simulator.served_messages import exact_text

_SILENCE_MS = 30_000
_FUNDING_MS = 8 * 3_600_000
_KINDS = ("SWAP", "FUTURES", "MARGIN", "OPTION")
_PUBLIC = ("liquidation-orders", "open-interest", "mark-price", "funding-rate")
_BUSINESS = ("candle1m",)
_OPEN_INTEREST_EVERY_S = 3


class Okx(Venue):
    """A topic is `channel:instType` or `channel:instId` here."""

    exchange = "okx"
    sockets = ("/ws/v5/public", "/ws/v5/business")

    def heard(self, client: Client, message: str) -> None:
        if message == "ping":
            return client.say("pong")
        connection = f"{client.number:08x}"
        try:
            request = orjson.loads(message)
            operation, arguments = request["op"], list(request["args"])
            topics = [(argument, self._topic(client, argument)) for argument in arguments]
        except (ValueError, TypeError, KeyError, AttributeError):
            error = {"event": "error", "code": "60012", "msg": f"Invalid request: {message}", "connId": connection}
            return client.say(orjson.dumps(error).decode())
        for argument, topic in topics:
            if topic is None:
                words = f"Wrong URL or channel:{argument.get('channel')},instId:{argument.get('instId')} doesn't exist."
                error = {"event": "error", "code": "60018", "msg": words, "connId": connection}
                client.say(orjson.dumps(error).decode())
                continue
            answer = orjson.dumps({"event": operation, "arg": argument, "connId": connection}).decode()
            if operation == "subscribe":
                client.acknowledge([topic], answer)
            else:
                client.unsubscribe([topic], answer)
        return None

    def payloads(self, client: Client, push: Push) -> Iterable[Outgoing]:
        if "liquidation-orders:SWAP" in client.topics:
            yield push.payload.decode()

    def market(self, client: Client, now_ms: int) -> Iterable[Outgoing]:
        for contract, quote in self.tape.of(self.exchange):
            symbol, topics = contract.symbol, client.topics
            if f"candle1m:{symbol}" in topics:
                yield from _candles(client, contract, quote)
            if f"mark-price:{symbol}" in topics:
                yield _data("mark-price", contract, {"markPx": decimals(quote.price), "ts": str(now_ms)})
            due = now_ms // 1000 % _OPEN_INTEREST_EVERY_S == 0
            if due and f"open-interest:{symbol}" in topics:
                yield _data("open-interest", contract, _open_interest(contract, quote, now_ms))
            if f"funding-rate:{symbol}" in topics and client.memory.get(f"funding:{symbol}") != now_ms // 60_000:
                client.memory[f"funding:{symbol}"] = now_ms // 60_000
                yield _data("funding-rate", contract, _funding(now_ms))

    def tick(self, client: Client, now_ms: int) -> None:
        if now_ms - max(client.heard_ms, client.said_ms) > _SILENCE_MS:
            client.close("no data within 30 s", 4004)

    def endpoints(self) -> Mapping[str, Endpoint]:
        return {
            "/api/v5/public/time": lambda _query: _answered([{"ts": str(self.now_ms())}]),
            "/api/v5/public/instruments": self._instruments,
            "/api/v5/public/open-interest": self._open_interest,
            "/api/v5/public/mark-price": self._mark_price,
            "/api/v5/public/funding-rate": self._funding_rate,
            "/api/v5/market/index-tickers": self._index,
            "/api/v5/rubik/stat/contracts/long-short-account-ratio": self._ratio,
            "/api/v5/rubik/stat/contracts/long-short-account-ratio-contract": self._ratio,
        }

    def _topic(self, client: Client, argument: Mapping[str, Any]) -> str | None:
        channel = str(argument["channel"])
        if channel not in (_BUSINESS if client.path.endswith("business") else _PUBLIC):
            return None
        if channel == "liquidation-orders":
            kind = argument.get("instType")
            return f"{channel}:{kind}" if kind in _KINDS else None
        symbol = argument.get("instId")
        return f"{channel}:{symbol}" if symbol in self.contracts else None

    def _wanted(self, query: Query) -> list[tuple[Contract, Quote]]:
        symbol = query.get("instId")
        return [found for found in self.tape.of(self.exchange) if symbol in (None, found[0].symbol)]

    def _instruments(self, query: Query) -> object:
        swaps = query.get("instType") == "SWAP"
        return _answered([_instrument(contract) for contract, _ in self._wanted(query)] if swaps else [])

    def _open_interest(self, query: Query) -> object:
        now_ms = self.now_ms()
        return _answered([_named(one, _open_interest(one, quote, now_ms)) for one, quote in self._wanted(query)])

    def _mark_price(self, query: Query) -> object:
        time = str(self.now_ms())
        rows = [(one, {"markPx": decimals(quote.price), "ts": time}) for one, quote in self._wanted(query)]
        return _answered([_named(one, row) for one, row in rows])

    def _index(self, query: Query) -> object:
        time = str(self.now_ms())
        found = [one for one in self.tape.of(self.exchange) if one[0].instrument.quote == query.get("quoteCcy")]
        return _answered([{"instId": one.pair, "idxPx": decimals(quote.price), "ts": time} for one, quote in found])

    def _funding_rate(self, query: Query) -> object:
        return _answered([_named(one, _funding(self.now_ms())) for one, _ in self._wanted(query)])

    def _ratio(self, _query: Query) -> object:
        return _answered([[str(self.now_ms() // 300_000 * 300_000), "1.5"]])


def _answered(data: list[Any]) -> object:
    return {"code": "0", "msg": "", "data": data}


def _named(contract: Contract, row: dict[str, str]) -> dict[str, str]:
    return {"instType": "SWAP", "instId": contract.symbol, **row}


def _data(channel: str, contract: Contract, row: dict[str, str]) -> str:
    argument = {"channel": channel, "instId": contract.symbol}
    return orjson.dumps({"arg": argument, "data": [_named(contract, row)]}).decode()


def _candles(client: Client, contract: Contract, quote: Quote) -> Iterable[str]:
    told: dict[str, int] = client.memory.setdefault("closed", {})
    if quote.closed is not None and told.get(contract.symbol) != quote.closed.start_ms:
        told[contract.symbol] = quote.closed.start_ms
        yield _candle(contract, quote.closed, "1")
    yield _candle(contract, quote.candle, "0")


def _candle(contract: Contract, candle: Candle, confirm: str) -> str:
    size = float(contract.contract_size)
    contracts = candle.usd / size if contract.inverse else candle.base / size
    prices = [decimals(price) for price in (candle.open, candle.high, candle.low, candle.close)]
    volumes = [decimals(contracts), decimals(candle.base), decimals(candle.usd)]
    row = [str(candle.start_ms), *prices, *volumes, confirm]
    return orjson.dumps({"arg": {"channel": "candle1m", "instId": contract.symbol}, "data": [row]}).decode()


def _open_interest(contract: Contract, quote: Quote, now_ms: int) -> dict[str, str]:
    size, usd = float(contract.contract_size), quote.open_base * quote.price
    contracts = usd / size if contract.inverse else quote.open_base / size
    return {"oi": decimals(contracts), "oiCcy": decimals(quote.open_base), "oiUsd": decimals(usd), "ts": str(now_ms)}


def _funding(now_ms: int) -> dict[str, str]:
    following = (now_ms // _FUNDING_MS + 1) * _FUNDING_MS
    return {
        "fundingRate": "0.0001",
        "fundingTime": str(following),
        "method": "current_period",
        "nextFundingRate": "",
        "nextFundingTime": str(following + _FUNDING_MS),
        "ts": str(now_ms),
    }


def _instrument(contract: Contract) -> dict[str, str]:
    instrument = contract.instrument
    return {
        "instType": "SWAP",
        "instId": contract.symbol,
        "uly": contract.pair,
        "instFamily": contract.pair,
        "baseCcy": "",
        "quoteCcy": "",
        "settleCcy": instrument.settle,
        "ctVal": exact_text(contract.contract_size),
        "ctMult": "1",
        "ctValCcy": "USD" if contract.inverse else instrument.asset,
        "ctType": "inverse" if contract.inverse else "linear",
        "listTime": "1611916800000",
        "expTime": "",
        "tickSz": decimal_text(1, contract.price_decimals),
        "lotSz": decimal_text(1, contract.quantity_decimals),
        "minSz": decimal_text(1, contract.quantity_decimals),
        "state": "live",
    }
