"""How each exchange turns forced closures into messages: throttled, batched, late, and now and then broken."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random

from pipeline.embedded.simulator import messages
from pipeline.embedded.simulator.contracts import Contract
from pipeline.embedded.simulator.market import Closure
from pipeline.embedded.simulator.truth import Timing, Truth
from pipeline.embedded.simulator.wire import Outlet

BINANCE, BYBIT_LINEAR, BYBIT_INVERSE, OKX = range(4)

BINANCE_TRAPS = ("cut_json", "unknown_word", "unknown_contract_size", "negative_size", "not_a_number")
BYBIT_TRAPS = ("cut_json", "unknown_word", "negative_size", "not_a_number", "bad_row")
OKX_TRAPS = ("cut_json", "unknown_word", "unknown_contract_size", "negative_size", "bad_row")

_WINDOW_MS = 1000
_BATCH_MS = 500

# Shares of OKX rows that come late, and too late for any correction.
_LATE = 0.012
_TOO_LATE = 0.0012
_NET = 0.3

# A coin that no metadata knows: nothing says what one contract of it is.
_UNLISTED = "NEWCOIN"


def truth_of(contract: Contract, closure: Closure, price_steps: int, timing: Timing = "on_time") -> Truth:
    """Return what a closure is worth at the price that its exchange publishes."""
    return Truth(
        "event",
        contract.exchange,
        contract.symbol,
        contract.instrument.asset,
        "long" if closure.long else "short",
        closure.time_ms,
        contract.notional_micros(price_steps, closure.quantity_steps),
        timing,
    )


def refused_of(contract: Contract, closure: Closure, trap: str) -> Truth:
    """Return that a row is unusable, and why."""
    return Truth(
        "refused",
        contract.exchange,
        contract.symbol,
        contract.instrument.asset,
        "long" if closure.long else "short",
        closure.time_ms,
        0,
        "on_time",
        trap,
    )


class Traps:
    """Unusable messages of one exchange, each due at a second and sent with the next message after it."""

    def __init__(self, rng: Random, names: Sequence[str], count: int, start_ms: int, length_ms: int) -> None:
        due = sorted(start_ms + int(rng.random() * length_ms * 0.98) for _ in range(max(count, len(names))))
        self._due = deque((time, names[number % len(names)]) for number, time in enumerate(due))

    def take(self, time_ms: int) -> str | None:
        """Return the next trap if it is due."""
        if self._due and self._due[0][0] <= time_ms:
            return self._due.popleft()[1]
        return None


@dataclass(slots=True)
class _Window:
    """One second of one symbol on Binance, and the latest order in it."""

    end_ms: int
    contract: Contract
    closure: Closure


class BinancePushes:
    """`forceOrder`: of all orders of a symbol within a second from the first, the latest is pushed at its end."""

    def __init__(self, rng: Random, wire: Outlet, traps: Traps) -> None:
        self._rng, self._wire, self._traps = rng, wire, traps
        self._open: dict[int, _Window] = {}
        self._ends: deque[_Window] = deque()

    def write(self, closures: Iterable[tuple[Contract, Closure]], end_ms: int) -> None:
        """Take the closures of a second that ends at `end_ms`, in order of time, and send what is due."""
        for contract, closure in closures:
            self._push_before(closure.time_ms)
            window = self._open.get(contract.index)
            if window is None:
                window = _Window(closure.time_ms + _WINDOW_MS, contract, closure)
                self._open[contract.index] = window
                self._ends.append(window)
            else:
                window.closure = closure
        self._push_before(end_ms)

    def _push_before(self, time_ms: int) -> None:
        while self._ends and self._ends[0].end_ms <= time_ms:
            window = self._ends.popleft()
            del self._open[window.contract.index]
            self._push(window)

    def _push(self, window: _Window) -> None:
        contract, closure = window.contract, window.closure
        # The same for every push of a symbol, so that two are never less than a second apart.
        push_ms = window.end_ms + 3 + contract.index % 7
        draw = self._rng.random
        received_us = push_ms * 1000 + 8_000 + int(draw() * 30_000)
        whole_fill = draw() < 0.4  # noqa: PLR2004 - filled at once
        last_fill = closure.quantity_steps if whole_fill else max(1, int(closure.quantity_steps * draw()))
        payload = messages.binance_order(contract, closure, last_fill, push_ms)
        row = truth_of(contract, closure, closure.price_steps)
        self._wire.send(received_us, BINANCE, payload, (row,), resendable=True)
        trap = self._traps.take(push_ms)
        if trap is not None:
            broken = payload[: len(payload) * 3 // 5]
            if trap != "cut_json":
                broken = _broken_binance_order(trap, contract, closure, push_ms)
            self._wire.send(received_us + 90, BINANCE, broken, (refused_of(contract, closure, trap),), resendable=False)


def _broken_binance_order(trap: str, contract: Contract, closure: Closure, push_ms: int) -> bytes:
    quantity = messages.short_text(closure.quantity_steps, contract.quantity_decimals)
    price = messages.decimal_text(closure.price_steps, contract.price_decimals)
    symbol, pair, market = contract.symbol, contract.pair, 2 if contract.inverse else 1
    word = "SELL" if closure.long else "BUY"
    if trap == "unknown_word":
        word = "CLOSE"
    elif trap == "unknown_contract_size":
        symbol, pair, market = f"{_UNLISTED}USD_PERP", f"{_UNLISTED}USD", 2
    elif trap == "negative_size":
        quantity = f"-{quantity}"
    else:
        quantity = "NaN"
    return messages.binance_order_of_text(
        symbol, pair, market, word, quantity, price, price, quantity, closure.time_ms, push_ms
    )


class BybitPushes:
    """`allLiquidation`: every closure, at the bankruptcy price, in one message per symbol and 500 ms."""

    def __init__(self, rng: Random, wire: Outlet, traps: Traps) -> None:
        self._rng, self._wire, self._traps = rng, wire, traps

    def write(self, closures: Iterable[tuple[Contract, Closure]]) -> None:
        """Send the closures of one second."""
        batches: dict[tuple[int, int], list[tuple[Contract, Closure]]] = {}
        for contract, closure in closures:
            key = (closure.time_ms // _BATCH_MS, contract.index)
            batches.setdefault(key, []).append((contract, closure))
        for (number, _), batch in batches.items():
            self._push(batch, (number + 1) * _BATCH_MS)

    def _push(self, batch: list[tuple[Contract, Closure]], end_ms: int) -> None:
        draw = self._rng.random
        contract = batch[0][0]
        rows, truths = [], []
        for _, closure in batch:
            # A large position is often closed in two orders at once: same time, same price, other size.
            sizes = [closure.quantity_steps]
            if closure.quantity_steps > 5 and draw() < 0.04:  # noqa: PLR2004 - steps, share
                first = closure.quantity_steps * 2 // 3 + 1
                sizes = [first, closure.quantity_steps - first]
            for size in sizes:
                part = closure._replace(quantity_steps=size)
                rows.append(messages.bybit_row(contract, part))
                truths.append(truth_of(contract, part, part.bankruptcy_steps))
        stream = BYBIT_INVERSE if contract.inverse else BYBIT_LINEAR
        push_ms = end_ms + 2 + int(draw() * 6)
        received_us = push_ms * 1000 + 6_000 + int(draw() * 40_000)
        trap = None if contract.inverse else self._traps.take(push_ms)
        if trap == "bad_row":
            rows.insert(len(rows) // 2, _broken_bybit_row("negative_size", contract, batch[0][1]))
            truths.insert(len(truths) // 2, refused_of(contract, batch[0][1], trap))
        payload = messages.bybit_rows(contract.symbol, rows, push_ms)
        self._wire.send(received_us, stream, payload, tuple(truths), resendable=trap != "bad_row")
        if trap is not None and trap != "bad_row":
            broken = payload[: len(payload) * 3 // 5]
            if trap != "cut_json":
                row = _broken_bybit_row(trap, contract, batch[0][1])
                broken = messages.bybit_rows(contract.symbol, [row], push_ms)
            refused = (refused_of(contract, batch[0][1], trap),)
            self._wire.send(received_us + 90, stream, broken, refused, resendable=False)


def _broken_bybit_row(trap: str, contract: Contract, closure: Closure) -> str:
    quantity = messages.short_text(closure.quantity_steps, contract.quantity_decimals)
    price = messages.decimal_text(closure.bankruptcy_steps, contract.price_decimals)
    word = "Buy" if closure.long else "Sell"
    if trap == "unknown_word":
        word = "Long"
    elif trap == "negative_size":
        quantity = f"-{quantity}"
    else:
        price = "NaN"
    return messages.bybit_row_of_text(contract.symbol, word, quantity, price, closure.time_ms)


@dataclass(frozen=True, slots=True, order=True)
class _Waiting:
    """A late row that comes along with the first message after `due_ms`."""

    due_ms: int
    order: int
    symbol: str
    pair: str
    detail: str
    row: Truth


class OkxPushes:
    """`liquidation-orders`: details of several orders and instruments in a message, in contracts, some of them late."""

    def __init__(self, rng: Random, wire: Outlet, traps: Traps, end_ms: int) -> None:
        self._rng, self._wire, self._traps, self._end_ms = rng, wire, traps, end_ms
        self._waiting: list[_Waiting] = []
        self._order = 0

    def write(self, closures: Iterable[tuple[Contract, Closure]]) -> None:
        """Send the closures of one second, apart from those that come late."""
        draw = self._rng.random
        entries: dict[int, tuple[Contract, list[Closure]]] = {}
        for contract, closure in closures:
            share = draw()
            if share < _LATE and self._delay(contract, closure, share < _TOO_LATE):
                continue
            entries.setdefault(contract.index, (contract, []))[1].append(closure)
        message: list[tuple[Contract, list[Closure]]] = []
        for entry in entries.values():
            message.append(entry)
            if draw() < 0.7:  # noqa: PLR2004 - the rest waits for another instrument's orders
                self._push(message)
                message = []
        if message:
            self._push(message)

    def close(self) -> None:
        """Send the late rows that found no message to come along with."""
        while self._waiting:
            waiting = heappop(self._waiting)
            payload = messages.okx_orders([(waiting.symbol, waiting.pair, [waiting.detail])])
            received_us = max(waiting.due_ms, self._end_ms) * 1000
            self._wire.send(received_us, OKX, payload, (waiting.row,), resendable=False)

    def _delay(self, contract: Contract, closure: Closure, too_late: bool) -> bool:
        """Send a row much later, if the run lasts long enough for it."""
        draw = self._rng.random
        timing: Timing = "too_late" if too_late else "late"
        delay_ms = 720_000 + int(draw() * 480_000) if too_late else 75_000 + int(draw() * 330_000)
        due_ms = closure.time_ms + delay_ms
        if due_ms >= self._end_ms - 60_000:
            return False
        row = truth_of(contract, closure, closure.bankruptcy_steps, timing)
        detail = messages.okx_detail(contract, closure, draw() < _NET)
        if not too_late and draw() < 0.5:  # noqa: PLR2004 - half of them come along with new rows
            self._order += 1
            heappush(self._waiting, _Waiting(due_ms, self._order, contract.symbol, contract.pair, detail, row))
        else:
            payload = messages.okx_orders([(contract.symbol, contract.pair, [detail])])
            self._wire.send(due_ms * 1000 + int(draw() * 1000), OKX, payload, (row,), resendable=False)
        return True

    def _push(self, message: list[tuple[Contract, list[Closure]]]) -> None:
        draw = self._rng.random
        entries: list[tuple[str, str, list[str]]] = []
        truths: list[Truth] = []
        for contract, found in message:
            if draw() < 0.2:  # noqa: PLR2004 - the rows of a message are in no order
                found.reverse()
            details = [messages.okx_detail(contract, closure, draw() < _NET) for closure in found]
            entries.append((contract.symbol, contract.pair, details))
            truths += [truth_of(contract, closure, closure.bankruptcy_steps) for closure in found]
        push_ms = max(closure.time_ms for _, found in message for closure in found) + 40 + int(draw() * 800)
        resendable = True
        while self._waiting and self._waiting[0].due_ms <= push_ms:
            waiting = heappop(self._waiting)
            entries.append((waiting.symbol, waiting.pair, [waiting.detail]))
            truths.append(waiting.row)
            resendable = False
        received_us = push_ms * 1000 + 5_000 + int(draw() * 60_000)
        trap = self._traps.take(push_ms)
        contract, closure = message[0][0], message[0][1][0]
        if trap == "bad_row":
            entries[0][2].insert(1, _broken_okx_detail("negative_size", contract, closure))
            truths.insert(1, refused_of(contract, closure, trap))
        payload = messages.okx_orders(entries)
        self._wire.send(received_us, OKX, payload, tuple(truths), resendable=resendable and trap != "bad_row")
        if trap is not None and trap != "bad_row":
            broken = payload[: len(payload) * 3 // 5]
            if trap != "cut_json":
                symbol, pair = contract.symbol, contract.pair
                if trap == "unknown_contract_size":
                    symbol, pair = f"{_UNLISTED}-USDT-SWAP", f"{_UNLISTED}-USDT"
                broken = messages.okx_orders([(symbol, pair, [_broken_okx_detail(trap, contract, closure)])])
            refused = (refused_of(contract, closure, trap),)
            self._wire.send(received_us + 90, OKX, broken, refused, resendable=False)


def _broken_okx_detail(trap: str, contract: Contract, closure: Closure) -> str:
    quantity = messages.short_text(closure.quantity_steps, contract.quantity_decimals)
    price = messages.decimal_text(closure.bankruptcy_steps, contract.price_decimals)
    position, word = ("long", "sell") if closure.long else ("short", "buy")
    if trap == "unknown_word":
        position, word = "both", "close"
    elif trap == "negative_size":
        quantity = f"-{quantity}"
    return messages.okx_detail_of_text(price, position, word, quantity, closure.time_ms)
