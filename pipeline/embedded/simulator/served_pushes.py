"""How BitMEX, HTX, Gate and Deribit turn forced closures into messages, now and then broken ones."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import NamedTuple

from pipeline.embedded.simulator import served_messages as messages
from pipeline.embedded.simulator.contracts import Contract
from pipeline.embedded.simulator.market import Closure
from pipeline.embedded.simulator.pushes import Traps, refused_of, truth_of
from pipeline.embedded.simulator.truth import Truth
from pipeline.embedded.simulator.wire import Outlet

# They follow the streams in `pushes`.
BITMEX, HTX_LINEAR, HTX_INVERSE, GATE_LINEAR, GATE_INVERSE, DERIBIT = range(4, 10)

SERVED_TRAPS = ("cut_json", "unknown_word", "negative_size")

_HTX_BATCH_MS, _GATE_BATCH_MS, _DERIBIT_BATCH_MS = 200, 1000, 100

Closed = tuple[Contract, Closure]


class _Batch(NamedTuple):
    """Closures of one contract that leave together at `end_ms`."""

    contract: Contract
    closures: list[Closure]
    end_ms: int


def _batches(closures: Iterable[Closed], batch_ms: int) -> list[_Batch]:
    found: dict[tuple[int, int], _Batch] = {}
    for contract, closure in closures:
        number = closure.time_ms // batch_ms
        batch = found.setdefault((number, contract.index), _Batch(contract, [], (number + 1) * batch_ms))
        batch.closures.append(closure)
    return list(found.values())


def _cut(payload: bytes) -> bytes:
    return payload[: len(payload) * 3 // 5]


class BitmexPushes:
    """`liquidation`: a table of open orders. Some grow, most are filled in steps, all are deleted within seconds.

    An order's price is its limit, near the bankruptcy price. No message has a time: `event_time` in the truth is 0.
    """

    def __init__(self, rng: Random, outlet: Outlet, traps: Traps) -> None:
        self._rng, self._outlet, self._traps = rng, outlet, traps

    def write(self, closures: Iterable[Closed]) -> None:
        """Send the orders of one second, and what becomes of them."""
        for contract, closure in closures:
            self._order(contract, closure)

    def _order(self, contract: Contract, closure: Closure) -> None:
        draw = self._rng.random
        digits = f"{self._rng.getrandbits(128):032x}"
        order = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
        symbol, quantity = contract.symbol, closure.quantity_steps
        word, price = "Sell" if closure.long else "Buy", messages.price_text(contract, closure.bankruptcy_steps)
        at_us = closure.time_ms * 1000 + 4_000 + int(draw() * 20_000)
        trap = self._traps.take(closure.time_ms)
        if trap is not None:
            broken_word, sign = ("Close" if trap == "unknown_word" else word), (-1 if trap == "negative_size" else 1)
            broken = messages.bitmex_insert(symbol, f"trap{order[4:]}", broken_word, price, sign * quantity)
            refused = (refused_of(contract, closure, trap),)
            self._send(at_us - 90, _cut(broken) if trap == "cut_json" else broken, refused)
        self._send(
            at_us,
            messages.bitmex_insert(symbol, order, word, price, quantity),
            (_untimed(contract, closure, quantity),),
        )
        if draw() < 0.15:  # noqa: PLR2004 - some grow
            more = 1 + int(quantity * draw())
            quantity += more
            at_us += 1_000 + int(draw() * 200_000)
            payload = messages.bitmex_update(symbol, order, quantity, price)
            self._send(at_us, payload, (_untimed(contract, closure, more),))
        while draw() < 0.5 and quantity > 1:  # noqa: PLR2004 - fills
            quantity -= 1 + int((quantity - 1) * draw())
            if quantity == 0:
                break
            at_us += 1_000 + int(draw() * 200_000)
            self._send(at_us, messages.bitmex_update(symbol, order, quantity))
        self._send(at_us + 1_000 + int(draw() * 400_000), messages.bitmex_delete(symbol, order))

    def _send(self, at_us: int, payload: bytes, rows: tuple[Truth, ...] = ()) -> None:
        # An order that is sent again later would be alive again.
        self._outlet.send(at_us, BITMEX, payload, rows, resendable=False)


def _untimed(contract: Contract, closure: Closure, quantity: int) -> Truth:
    part = closure._replace(quantity_steps=quantity)
    return truth_of(contract, part, part.bankruptcy_steps)._replace(event_time=0)


class HtxPushes:
    """`liquidation_orders`: every closure at the bankruptcy price, one message per contract and 200 ms."""

    def __init__(self, rng: Random, outlet: Outlet, traps: Traps) -> None:
        self._rng, self._outlet, self._traps = rng, outlet, traps

    def write(self, closures: Iterable[Closed]) -> None:
        """Send the closures of one second."""
        for contract, batch, end_ms in _batches(closures, _HTX_BATCH_MS):
            stream = HTX_INVERSE if contract.inverse else HTX_LINEAR
            at_us = end_ms * 1000 + 5_000 + int(self._rng.random() * 30_000)
            rows = [messages.htx_row(contract, closure, "sell" if closure.long else "buy") for closure in batch]
            truths = tuple(truth_of(contract, closure, closure.bankruptcy_steps) for closure in batch)
            payload = messages.htx_orders(contract.symbol, rows, end_ms)
            self._outlet.send(at_us, stream, payload, truths, resendable=True)
            trap = None if contract.inverse else self._traps.take(end_ms)
            if trap is not None:
                self._outlet.send(
                    at_us + 90,
                    stream,
                    _broken_htx(trap, contract, batch[0], end_ms),
                    (refused_of(contract, batch[0], trap),),
                    resendable=False,
                )


def _broken_htx(trap: str, contract: Contract, closure: Closure, push_ms: int) -> bytes:
    word = "sell" if closure.long else "buy"
    row = messages.htx_row(contract, closure, "close" if trap == "unknown_word" else word)
    if trap == "negative_size":
        row = row.replace('"amount":', '"amount":-').replace('"volume":', '"volume":-')
    payload = messages.htx_orders(contract.symbol, [row], push_ms)
    return _cut(payload) if trap == "cut_json" else payload


class GatePushes:
    """`futures.public_liquidates`: every order at its price, in windows of a second per contract."""

    def __init__(self, rng: Random, outlet: Outlet, traps: Traps) -> None:
        self._rng, self._outlet, self._traps = rng, outlet, traps

    def write(self, closures: Iterable[Closed]) -> None:
        """Send the closures of one second."""
        for contract, batch, end_ms in _batches(closures, _GATE_BATCH_MS):
            stream = GATE_INVERSE if contract.inverse else GATE_LINEAR
            at_us = end_ms * 1000 + 2_000 + int(self._rng.random() * 60_000)
            rows = [messages.gate_row(contract, closure, _gate_size(closure)) for closure in batch]
            truths = tuple(truth_of(contract, closure, closure.bankruptcy_steps) for closure in batch)
            self._outlet.send(at_us, stream, messages.gate_orders(rows, end_ms), truths, resendable=True)
            trap = None if contract.inverse else self._traps.take(end_ms)
            if trap is not None:
                # A size of zero closes nothing, and its sign says nothing; negative sizes are forced sells.
                size = 0 if trap != "cut_json" else _gate_size(batch[0])
                broken = messages.gate_orders([messages.gate_row(contract, batch[0], size)], end_ms)
                self._outlet.send(
                    at_us + 90,
                    stream,
                    _cut(broken) if trap == "cut_json" else broken,
                    (refused_of(contract, batch[0], trap),),
                    resendable=False,
                )


def _gate_size(closure: Closure) -> int:
    return -closure.quantity_steps if closure.long else closure.quantity_steps


class DeribitPushes:
    """`trades`: fills of 100 ms per contract, most of them usual trades; the letter says who was closed by force."""

    def __init__(self, rng: Random, outlet: Outlet, traps: Traps, first_number: int) -> None:
        self._rng, self._outlet, self._traps, self._number = rng, outlet, traps, first_number

    def write(self, closures: Iterable[Closed]) -> None:
        """Send the closures of one second among other trades."""
        for contract, batch, end_ms in _batches(closures, _DERIBIT_BATCH_MS):
            at_us = end_ms * 1000 + 2_000 + int(self._rng.random() * 10_000)
            rows: list[str] = []
            truths: list[Truth] = []
            for closure in batch:
                self._trades(contract, closure, rows, truths)
            self._outlet.send(at_us, DERIBIT, messages.deribit_trades(rows), tuple(truths), resendable=True)
            trap = self._traps.take(end_ms)
            if trap is not None:
                self._outlet.send(
                    at_us + 90,
                    DERIBIT,
                    self._broken(trap, contract, batch[0]),
                    (refused_of(contract, batch[0], trap),),
                    resendable=False,
                )

    def _trades(self, contract: Contract, closure: Closure, rows: list[str], truths: list[Truth]) -> None:
        draw = self._rng.random
        while draw() < 0.5:  # noqa: PLR2004 - usual trades
            usual = closure._replace(quantity_steps=1 + int(draw() * 50))
            rows.append(self._trade(contract, usual, "buy" if draw() < 0.5 else "sell", None))  # noqa: PLR2004
        share = draw()
        if share < 0.75:  # noqa: PLR2004 - mostly the taker is closed
            rows.append(self._trade(contract, closure, "sell" if closure.long else "buy", "T"))
            truths.append(truth_of(contract, closure, closure.price_steps))
        elif share < 0.92:  # noqa: PLR2004 - a maker's order was the forced one: the taker is the other party
            rows.append(self._trade(contract, closure, "buy" if closure.long else "sell", "M"))
            truths.append(truth_of(contract, closure, closure.price_steps))
        else:
            direction = "sell" if closure.long else "buy"
            rows.append(self._trade(contract, closure, direction, "MT"))
            both = (closure._replace(long=long) for long in (True, False))
            truths.extend(truth_of(contract, one, closure.price_steps) for one in both)

    def _trade(self, contract: Contract, closure: Closure, direction: str, liquidation: str | None) -> str:
        self._number += 1
        return messages.deribit_trade(contract, closure, self._number, direction, liquidation)

    def _broken(self, trap: str, contract: Contract, closure: Closure) -> bytes:
        row = self._trade(contract, closure, "sell", "X" if trap == "unknown_word" else "T")
        if trap == "negative_size":
            row = row.replace('"amount":', '"amount":-')
        payload = messages.deribit_trades([row])
        return _cut(payload) if trap == "cut_json" else payload
