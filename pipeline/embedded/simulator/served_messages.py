"""Messages as BitMEX, HTX, Gate and Deribit write them: from numbers to text, before any compression."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from pipeline.embedded.simulator.contracts import Contract
from pipeline.embedded.simulator.market import Closure
from pipeline.embedded.simulator.messages import short_text

_DIGITS = 18


def exact_text(value: Fraction) -> str:
    """Return a decimal number without an exponent, cut after 18 decimals where it does not end before."""
    whole, rest = divmod(value.numerator * 10**_DIGITS // value.denominator, 10**_DIGITS)
    return f"{whole}.{rest:0{_DIGITS}d}".rstrip("0").rstrip(".")


def price_text(contract: Contract, steps: int) -> str:
    """Return a price as a JSON number."""
    return short_text(steps, contract.price_decimals)


def bitmex_insert(symbol: str, order: str, word: str, price: str, quantity: int) -> bytes:
    """Return the insertion of an order; `quantity` in contracts."""
    return (
        '{"table":"liquidation","action":"insert","data":[' + bitmex_row(symbol, order, word, price, quantity) + "]}"
    ).encode()


def bitmex_row(symbol: str, order: str, word: str, price: str, quantity: int) -> str:
    """Return a whole row of the table."""
    return f'{{"orderID":"{order}","symbol":"{symbol}","side":"{word}","price":{price},"leavesQty":{quantity}}}'


def bitmex_update(symbol: str, order: str, quantity: int, price: str | None = None) -> bytes:
    """Return a change of an order, which says only what changed."""
    changed = "" if price is None else f'"price":{price},'
    return (
        f'{{"table":"liquidation","action":"update","data":[{{"orderID":"{order}","symbol":"{symbol}",'
        f'{changed}"leavesQty":{quantity}}}]}}'
    ).encode()


def bitmex_delete(symbol: str, order: str) -> bytes:
    """Return the end of an order."""
    return (
        f'{{"table":"liquidation","action":"delete","data":[{{"orderID":"{order}","symbol":"{symbol}"}}]}}'
    ).encode()


def htx_row(contract: Contract, closure: Closure, word: str) -> str:
    """Return one order: contracts, coins and (USDT contracts) turnover, at the bankruptcy price."""
    price = Fraction(closure.bankruptcy_steps, contract.price_scale)
    value = closure.quantity_steps * contract.contract_size
    asset = contract.instrument.asset
    head = (
        f'{{"symbol":"{asset}","contract_code":"{contract.symbol}","direction":"{word}","offset":"close",'
        f'"volume":{closure.quantity_steps},"price":{price_text(contract, closure.bankruptcy_steps)},'
        f'"created_at":{closure.time_ms},'
    )
    if contract.inverse:
        return head + f'"amount":{exact_text(value / price)}}}'
    return (
        head + f'"amount":{exact_text(value)},"trade_turnover":{exact_text(value * price)},"contract_type":"swap",'
        f'"pair":"{contract.symbol}","business_type":"swap","trade_partition":"USDT"}}'
    )


def htx_orders(symbol: str, rows: Iterable[str], push_ms: int) -> bytes:
    """Return a notification, not yet compressed."""
    joined = ",".join(rows)
    return f'{{"op":"notify","topic":"public.{symbol}.liquidation_orders","ts":{push_ms},"data":[{joined}]}}'.encode()


def gate_row(contract: Contract, closure: Closure, size: int) -> str:
    """Return one order; `size` in contracts, negative for a forced sell."""
    return (
        f'{{"contract":"{contract.symbol}","price":"{price_text(contract, closure.bankruptcy_steps)}",'
        f'"time":{closure.time_ms},"size":{size}}}'
    )


def gate_orders(rows: list[str], push_ms: int) -> bytes:
    """Return an update: a single row as an object, several as a list."""
    result = rows[0] if len(rows) == 1 else f"[{','.join(rows)}]"
    return (
        f'{{"time":{push_ms // 1000},"time_ms":{push_ms},"channel":"futures.public_liquidates","event":"update",'
        f'"result":{result}}}'
    ).encode()


def deribit_trade(contract: Contract, closure: Closure, number: int, direction: str, liquidation: str | None) -> str:
    """Return one trade; `liquidation` names the parties that were closed by force, None for a usual trade."""
    price = price_text(contract, closure.price_steps)
    amount = exact_text(closure.quantity_steps * contract.contract_size)
    forced = "" if liquidation is None else f'"liquidation":"{liquidation}",'
    return (
        f'{{"trade_seq":{number % 100_000_000},"trade_id":"{number}","timestamp":{closure.time_ms},'
        f'"tick_direction":{number % 4},"price":{price},"mark_price":{price},{forced}'
        f'"instrument_name":"{contract.symbol}","index_price":{price},"direction":"{direction}",'
        f'"contracts":{closure.quantity_steps}.0,"amount":{amount}}}'
    )


def deribit_trades(rows: Iterable[str]) -> bytes:
    """Return the list of trades in a notification, without the envelope, which names the subscribed channel."""
    return f"[{','.join(rows)}]".encode()
