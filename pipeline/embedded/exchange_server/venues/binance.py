"""Binance USD-M and COIN-M.

On the USD-M host live data come under `/market` only: the old paths acknowledge and stay silent. The COIN-M host's
paths stand behind `/dstream` here.

Source: `exchange_feeds` 3.1 and 5, and the documented answers of exchangeInfo, time, klines and openInterest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import orjson

from pipeline.embedded.exchange_server.flow import Push
from pipeline.embedded.exchange_server.tape import Candle, Quote
from pipeline.embedded.exchange_server.venue import (
    Client,
    Endpoint,
    Outgoing,
    Query,
    RestError,
    Venue,
    decimals,
    symbol_of,
)
from pipeline.embedded.simulator.contracts import Contract
from pipeline.embedded.simulator.messages import decimal_text

_ALL = "!forceOrder@arr"
_ALL_MARKS = "!markPrice@arr@1s"
_LIVE = ("/market", "/dstream")
_ENVELOPE = b'{"stream":"!forceOrder@arr","data":'
_MOST_STREAMS = 1024
_PERPETUAL_MS = 4_133_404_800_000
_FUNDING_MS = 8 * 3_600_000
_MINUTE_MS = 60_000
_CANDLE_EVERY_S = 2


class Binance(Venue):
    """Streams are named in lower case; an answer carries the request's `id`."""

    exchange = "binance"
    sockets = tuple(host + path for host in ("/market", "/dstream", "") for path in ("/ws", "/ws/{stream}", "/stream"))

    def opened(self, client: Client) -> None:
        named = client.query.get("stream") or client.query.get("streams", "")
        if named:
            client.acknowledge(stream for stream in named.split("/") if stream)

    def heard(self, client: Client, message: str) -> None:
        try:
            request = orjson.loads(message)
            method, number = request["method"], request.get("id")
            streams = [str(stream) for stream in request.get("params") or ()]
        except (ValueError, TypeError, KeyError, AttributeError):
            return client.say('{"error":{"code":3,"msg":"Invalid JSON: expected value"},"id":null}')
        done = orjson.dumps({"result": None, "id": number}).decode()
        if method == "SUBSCRIBE":
            if len(client.topics) + len(streams) > _MOST_STREAMS:
                return client.close("too many streams", 1008)
            return client.acknowledge(streams, done)
        if method == "UNSUBSCRIBE":
            return client.unsubscribe(streams, done)
        if method == "LIST_SUBSCRIPTIONS":
            return client.say(orjson.dumps({"result": list(client.topics), "id": number}).decode())
        error = {"code": 2, "msg": f"Invalid request: unknown variant {method}"}
        return client.say(orjson.dumps({"error": error, "id": number}).decode())

    def payloads(self, client: Client, push: Push) -> Iterable[Outgoing]:
        if not client.path.startswith(_LIVE):
            return
        body = push.payload[len(_ENVELOPE) :].decode()
        # A cut message has no closing brace of the envelope.
        if push.payload.endswith(b"}}}"):
            body = body[:-1]
        for stream in (_ALL, f"{symbol_of(push).lower()}@forceOrder"):
            if stream in client.topics:
                yield self._enveloped(client, stream, body)

    def market(self, client: Client, now_ms: int) -> Iterable[Outgoing]:
        if not client.path.startswith(_LIVE):
            return
        for contract, quote in self.tape.of(self.exchange):
            name = contract.symbol.lower()
            candles = f"{name}@kline_1m"
            if candles in client.topics:
                for candle, closed in _candles(client, contract.symbol, quote, now_ms):
                    yield self._enveloped(client, candles, _text(_kline(contract, candle, closed, now_ms)))
            for marks in (f"{name}@markPrice@1s", f"{name}@markPrice"):
                if marks in client.topics:
                    yield self._enveloped(client, marks, _text(_mark(contract, quote, now_ms)))
        if _ALL_MARKS in client.topics:
            every = [_mark(contract, quote, now_ms) for contract, quote in self.tape.of(self.exchange)]
            yield self._enveloped(client, _ALL_MARKS, _text(every))

    def endpoints(self) -> Mapping[str, Endpoint]:
        found: dict[str, Endpoint] = {
            "/futures/data/openInterestHist": self._open_interest_history,
            "/futures/data/globalLongShortAccountRatio": self._ratio,
            "/futures/data/topLongShortAccountRatio": self._ratio,
            "/futures/data/topLongShortPositionRatio": self._ratio,
        }
        for market, inverse in (("fapi", False), ("dapi", True)):
            found[f"/{market}/v1/exchangeInfo"] = partial(self._info, inverse)
            found[f"/{market}/v1/time"] = lambda _query: {"serverTime": self.now_ms()}
            found[f"/{market}/v1/ping"] = lambda _query: {}
            found[f"/{market}/v1/openInterest"] = self._open_interest
            found[f"/{market}/v1/premiumIndex"] = self._premium
            found[f"/{market}/v1/klines"] = self._klines
        return found

    def _enveloped(self, client: Client, stream: str, body: str) -> str:
        return f'{{"stream":"{stream}","data":{body}}}' if client.path.endswith("/stream") else body

    def _info(self, inverse: bool, _query: Query) -> object:
        symbols = [_symbol(contract) for contract in self.contracts.values() if contract.inverse == inverse]
        return {"timezone": "UTC", "serverTime": self.now_ms(), "rateLimits": [], "symbols": symbols}

    def _named(self, query: Query) -> tuple[Contract, Quote]:
        contract = self.contracts.get(query.get("symbol", query.get("pair", "")))
        if contract is None:
            raise RestError(400, {"code": -1121, "msg": "Invalid symbol."})
        return contract, self.tape.quotes[self.exchange, contract.symbol]

    def _open_interest(self, query: Query) -> object:
        contract, quote = self._named(query)
        amount = quote.open_base
        if contract.inverse:
            amount = round(quote.open_base * quote.price / float(contract.contract_size))
        return {"symbol": contract.symbol, "openInterest": decimals(amount), "time": self.now_ms()}

    def _open_interest_history(self, query: Query) -> object:
        contract, quote = self._named(query)
        row = {
            "symbol": contract.symbol,
            "sumOpenInterest": decimals(quote.open_base),
            "sumOpenInterestValue": decimals(quote.open_base * quote.price),
            "timestamp": self.now_ms() // 300_000 * 300_000,
        }
        return [row]

    def _ratio(self, query: Query) -> object:
        contract, _ = self._named(query)
        period = self.now_ms() // 300_000 * 300_000
        return [
            {
                "symbol": contract.symbol,
                "longShortRatio": "1.5000",
                "longAccount": "0.6000",
                "shortAccount": "0.4000",
                "timestamp": period,
            }
        ]

    def _premium(self, query: Query) -> object:
        if "symbol" not in query:
            return [_premium_of(*found, self.now_ms()) for found in self.tape.of(self.exchange)]
        return _premium_of(*self._named(query), self.now_ms())

    def _klines(self, query: Query) -> object:
        contract, quote = self._named(query)
        rows = [candle for candle in (quote.closed, quote.candle) if candle is not None]
        return [_row(contract, candle) for candle in rows[-int(query.get("limit", "500")) :]]


def _text(document: object) -> str:
    return orjson.dumps(document).decode()


def _candles(client: Client, symbol: str, quote: Quote, now_ms: int) -> list[tuple[Candle, bool]]:
    """Return the candles to be sent: the last one once when it is closed, the present one every other second."""
    found = []
    told: dict[str, int] = client.memory.setdefault("closed", {})
    if quote.closed is not None and told.get(symbol) != quote.closed.start_ms:
        told[symbol] = quote.closed.start_ms
        found.append((quote.closed, True))
    if now_ms // 1000 % _CANDLE_EVERY_S == 0:
        found.append((quote.candle, False))
    return found


def _volumes(contract: Contract, candle: Candle) -> tuple[str, str, str, str]:
    """Return v, q, V and Q: base and quote; contracts and base on COIN-M."""
    if contract.inverse:
        size = float(contract.contract_size)
        contracts = (str(round(candle.usd / size)), str(round(candle.bought_usd / size)))
        return contracts[0], decimals(candle.base), contracts[1], decimals(candle.bought_base)
    return decimals(candle.base), decimals(candle.usd), decimals(candle.bought_base), decimals(candle.bought_usd)


def _kline(contract: Contract, candle: Candle, closed: bool, now_ms: int) -> dict[str, Any]:
    volume, quote_volume, bought, bought_quote = _volumes(contract, candle)
    kline = {
        "t": candle.start_ms,
        "T": candle.start_ms + _MINUTE_MS - 1,
        "s": contract.symbol,
        "i": "1m",
        "f": 1,
        "L": 2,
        "o": decimals(candle.open),
        "c": decimals(candle.close),
        "h": decimals(candle.high),
        "l": decimals(candle.low),
        "v": volume,
        "n": 100,
        "x": closed,
        "q": quote_volume,
        "V": bought,
        "Q": bought_quote,
        "B": "0",
    }
    return {"e": "kline", "E": now_ms, "s": contract.symbol, "k": kline}


def _row(contract: Contract, candle: Candle) -> list[object]:
    volume, quote_volume, bought, bought_quote = _volumes(contract, candle)
    prices = [decimals(price) for price in (candle.open, candle.high, candle.low, candle.close)]
    end_ms = candle.start_ms + _MINUTE_MS - 1
    return [candle.start_ms, *prices, volume, end_ms, quote_volume, 100, bought, bought_quote, "0"]


def _mark(contract: Contract, quote: Quote, now_ms: int) -> dict[str, Any]:
    price = decimals(quote.price)
    return {
        "e": "markPriceUpdate",
        "E": now_ms,
        "s": contract.symbol,
        "p": price,
        "ap": price,
        "P": price,
        "i": price,
        "r": "0.00010000",
        "T": (now_ms // _FUNDING_MS + 1) * _FUNDING_MS,
        "st": 2 if contract.inverse else 1,
    }


def _premium_of(contract: Contract, quote: Quote, now_ms: int) -> dict[str, Any]:
    price = decimals(quote.price)
    return {
        "symbol": contract.symbol,
        "markPrice": price,
        "indexPrice": price,
        "lastFundingRate": "0.00010000",
        "nextFundingTime": (now_ms // _FUNDING_MS + 1) * _FUNDING_MS,
        "time": now_ms,
    }


def _symbol(contract: Contract) -> dict[str, Any]:
    quote = contract.instrument.quote
    base = contract.pair.removesuffix(quote)
    status = {"contractStatus": "TRADING"} if contract.inverse else {"status": "TRADING"}
    size = {"contractSize": int(contract.contract_size)} if contract.inverse else {}
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": decimal_text(1, contract.price_decimals)},
        {"filterType": "LOT_SIZE", "stepSize": decimal_text(1, contract.quantity_decimals)},
    ]
    return {
        "symbol": contract.symbol,
        "pair": contract.pair,
        "contractType": "PERPETUAL",
        "deliveryDate": _PERPETUAL_MS,
        "onboardDate": 1_569_398_400_000,
        **status,
        **size,
        "baseAsset": base,
        "quoteAsset": quote,
        "marginAsset": contract.instrument.settle,
        "pricePrecision": contract.price_decimals,
        "quantityPrecision": contract.quantity_decimals,
        "underlyingType": "COIN",
        "filters": filters,
    }
