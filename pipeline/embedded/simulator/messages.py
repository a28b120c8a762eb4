"""Messages as the three exchanges write them: one function per kind, from numbers to bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.embedded.simulator.contracts import Contract
from pipeline.embedded.simulator.market import Closure


def decimal_text(steps: int, decimals: int) -> str:
    """Return a number of steps of `10 ** -decimals` with all its decimals."""
    if decimals == 0:
        return str(steps)
    digits = f"{steps:0{decimals + 1}d}"
    return f"{digits[:-decimals]}.{digits[-decimals:]}"


def short_text(steps: int, decimals: int) -> str:
    """Return the same without zeros at the end."""
    text = decimal_text(steps, decimals)
    return text.rstrip("0").rstrip(".") if decimals else text


def binance_order(contract: Contract, closure: Closure, last_fill: int, push_ms: int) -> bytes:
    """Return a `forceOrder` message; `last_fill` is the quantity of the order's last fill in steps."""
    quantity = short_text(closure.quantity_steps, contract.quantity_decimals)
    return binance_order_of_text(
        contract.symbol,
        contract.pair,
        2 if contract.inverse else 1,
        "SELL" if closure.long else "BUY",
        quantity,
        decimal_text(closure.bankruptcy_steps, contract.price_decimals),
        decimal_text(closure.price_steps, contract.price_decimals),
        short_text(last_fill, contract.quantity_decimals),
        closure.time_ms,
        push_ms,
    )


def binance_order_of_text(
    symbol: str,
    pair: str,
    market: int,
    order_word: str,
    quantity: str,
    order_price: str,
    average_price: str,
    last_fill: str,
    time_ms: int,
    push_ms: int,
) -> bytes:
    """Return a `forceOrder` message with these words in it, whatever they are."""
    return (
        f'{{"stream":"!forceOrder@arr","data":{{"e":"forceOrder","E":{push_ms},"o":{{"s":"{symbol}",'
        f'"S":"{order_word}","o":"LIMIT","f":"IOC","q":"{quantity}","p":"{order_price}","ap":"{average_price}",'
        f'"X":"FILLED","l":"{last_fill}","z":"{quantity}","T":{time_ms},"ps":"{pair}","st":{market}}}}}}}'
    ).encode()


def binance_subscribed(_connection_id: str) -> bytes:
    """Return the acknowledgement of a subscription, which names no connection."""
    return b'{"result":null,"id":1}'


def binance_subscriptions() -> bytes:
    """Return the answer to `LIST_SUBSCRIPTIONS`, which serves as a sign of life."""
    return b'{"result":["!forceOrder@arr"],"id":9}'


def bybit_row(contract: Contract, closure: Closure) -> str:
    """Return one row of an `allLiquidation` message: bankruptcy price, and the word for the position."""
    return bybit_row_of_text(
        contract.symbol,
        "Buy" if closure.long else "Sell",
        short_text(closure.quantity_steps, contract.quantity_decimals),
        decimal_text(closure.bankruptcy_steps, contract.price_decimals),
        closure.time_ms,
    )


def bybit_row_of_text(symbol: str, word: str, quantity: str, price: str, time_ms: int) -> str:
    """Return one row with these words in it, whatever they are."""
    return f'{{"T":{time_ms},"s":"{symbol}","S":"{word}","v":"{quantity}","p":"{price}"}}'


def bybit_rows(symbol: str, rows: Iterable[str], push_ms: int) -> bytes:
    """Return an `allLiquidation` message."""
    joined = ",".join(rows)
    return f'{{"topic":"allLiquidation.{symbol}","type":"snapshot","ts":{push_ms},"data":[{joined}]}}'.encode()


def bybit_subscribed(connection_id: str) -> bytes:
    """Return the acknowledgement of a subscription."""
    return (
        f'{{"success":true,"ret_msg":"","conn_id":"{_dashed(connection_id)}","req_id":"1","op":"subscribe"}}'.encode()
    )


def bybit_pong(connection_id: str) -> bytes:
    """Return the answer to a ping."""
    return f'{{"success":true,"ret_msg":"pong","conn_id":"{_dashed(connection_id)}","req_id":"","op":"ping"}}'.encode()


def okx_detail(contract: Contract, closure: Closure, net: bool) -> str:
    """Return one element of `details`; `net` writes it as for an account in one-way mode."""
    return okx_detail_of_text(
        decimal_text(closure.bankruptcy_steps, contract.price_decimals),
        "net" if net else "long" if closure.long else "short",
        "sell" if closure.long else "buy",
        short_text(closure.quantity_steps, contract.quantity_decimals),
        closure.time_ms,
    )


def okx_detail_of_text(price: str, position: str, order_word: str, contracts: str, time_ms: int) -> str:
    """Return one element of `details` with these words in it, whatever they are."""
    return (
        f'{{"bkLoss":"0","bkPx":"{price}","ccy":"","posSide":"{position}","side":"{order_word}",'
        f'"sz":"{contracts}","ts":"{time_ms}"}}'
    )


def okx_orders(entries: Sequence[tuple[str, str, Iterable[str]]]) -> bytes:
    """Return a `liquidation-orders` message from entries of instrument, pair and details."""
    joined = ",".join(
        f'{{"details":[{",".join(details)}],"instFamily":"{pair}","instId":"{symbol}",'
        f'"instType":"SWAP","uly":"{pair}"}}'
        for symbol, pair, details in entries
    )
    return f'{{"arg":{{"channel":"liquidation-orders","instType":"SWAP"}},"data":[{joined}]}}'.encode()


def okx_subscribed(connection_id: str) -> bytes:
    """Return the acknowledgement of a subscription."""
    return (
        f'{{"event":"subscribe","arg":{{"channel":"liquidation-orders","instType":"SWAP"}},"connId":"{connection_id[:8]}"}}'
    ).encode()


def okx_pong() -> bytes:
    """Return the answer to a ping, which is no JSON."""
    return b"pong"


def _dashed(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
