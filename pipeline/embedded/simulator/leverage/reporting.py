"""What the exchanges show of the forced orders: throttled, batched, late, twice after a reconnect, or not at all.

Each writes its own messages by the same code as in the usual recordings; Bitget, which is only here, shows the largest
order of a contract, position and second. OKX shows one order of a contract and second, as its documentation says of a
sampled feed; some of its rows come minutes late.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from pipeline.embedded.simulator import messages, pushes, served_pushes
from pipeline.embedded.simulator.contracts import Contract
from pipeline.embedded.simulator.leverage.listings import CHANNELS
from pipeline.embedded.simulator.leverage.scenarios import Outage, Scenario
from pipeline.embedded.simulator.market import Closure
from pipeline.embedded.simulator.pushes import BinancePushes, BybitPushes, OkxPushes, Traps, truth_of
from pipeline.embedded.simulator.served_messages import exact_text
from pipeline.embedded.simulator.served_pushes import GatePushes, HtxPushes
from pipeline.embedded.simulator.truth import Truth
from pipeline.embedded.simulator.wire import Outlet, Stream, Wire
from pipeline.records import Frame

BITGET = served_pushes.DERIBIT + 1
# The stream that each exchange's orders travel on.
STREAMS = {
    "binance": pushes.BINANCE,
    "bybit": pushes.BYBIT_LINEAR,
    "okx": pushes.OKX,
    "bitget": BITGET,
    "gate": served_pushes.GATE_LINEAR,
    "htx": served_pushes.HTX_LINEAR,
}
_RECONNECTS_PER_DAY = 3
_DAY_S = 86_400
_SECOND_MS = 1_000

Closed = tuple[Contract, Closure]


@dataclass(frozen=True, slots=True)
class Lossy:
    """A wire that loses what would be received during an outage: exchanges do not send it again."""

    wire: Wire
    outages: Sequence[tuple[int, int, int]]  # stream, begin and end in µs

    def send(
        self, received_us: int, stream: int, payload: bytes, rows: tuple[Truth, ...] = (), *, resendable: bool
    ) -> None:
        """Put a message on its way, if there is a way."""
        if not any(stream == one and begin <= received_us < end for one, begin, end in self.outages):
            self.wire.send(received_us, stream, payload, rows, resendable=resendable)


class BitgetPushes:
    """`liquidation`: once per second, of each contract and position the order with the most USD."""

    def __init__(self, rng: Random, outlet: Outlet) -> None:
        self._rng, self._outlet = rng, outlet

    def write(self, closures: Iterable[Closed]) -> None:
        """Send what is shown of one second."""
        largest: dict[tuple[int, bool], tuple[int, Contract, Closure]] = {}
        for contract, closure in closures:
            micros = contract.notional_micros(closure.price_steps, closure.quantity_steps)
            key = contract.index, closure.long
            if key not in largest or micros > largest[key][0]:
                largest[key] = micros, contract, closure
        for _, contract, closure in largest.values():
            push_ms = closure.time_ms - closure.time_ms % _SECOND_MS + _SECOND_MS
            received_us = push_ms * 1000 + 5_000 + int(self._rng.random() * 40_000)
            row = truth_of(contract, closure, closure.price_steps)
            self._outlet.send(received_us, BITGET, bitget_order(contract, closure, push_ms), (row,), resendable=True)


def bitget_order(contract: Contract, closure: Closure, push_ms: int) -> bytes:
    """Return a `liquidation` message; `amount` is money: price times size, exactly."""
    price = messages.decimal_text(closure.price_steps, contract.price_decimals)
    amount = closure.price_steps * closure.quantity_steps * contract.contract_size
    amount /= contract.price_scale * 10**contract.quantity_decimals
    return (
        f'{{"data":[{{"symbol":"{contract.symbol}","side":"{"buy" if closure.long else "sell"}","price":"{price}",'
        f'"amount":"{exact_text(amount)}","ts":"{closure.time_ms}"}}],"arg":{{"instType":"usdt-futures",'
        f'"topic":"liquidation"}},"action":"update","ts":{push_ms}}}'
    ).encode()


def bitget_subscribed(connection_id: str) -> bytes:
    """Return the acknowledgement of a subscription."""
    return (
        '{"event":"subscribe","arg":{"instType":"usdt-futures","topic":"liquidation"},'
        f'"connId":"{connection_id[:8]}"}}'
    ).encode()


def gate_subscribed(_connection_id: str) -> bytes:
    """Return the acknowledgement of a subscription."""
    return b'{"channel":"futures.public_liquidates","event":"subscribe","result":{"status":"success"}}'


def htx_subscribed(_connection_id: str) -> bytes:
    """Return the acknowledgement of a subscription, as HTX sends it before compression."""
    return b'{"op":"sub","cid":"1","topic":"public.*.liquidation_orders","ts":0,"err-code":0}'


class Reporting:
    """The exchanges of one run, from forced orders to frames."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        rng = Random(f"reporting {scenario.name} {seed}")  # noqa: S311 - a game, no secret
        end_ms = scenario.start_ms + scenario.seconds * 1000
        self._wire = Wire(rng, _streams())
        outlet = Lossy(self._wire, [_lost(outage, scenario.start_ms) for outage in scenario.outages])
        none = Traps(rng, (), 0, scenario.start_ms, 1)
        self._binance = BinancePushes(rng, outlet, none)
        self._bybit = BybitPushes(rng, outlet, none)
        self._okx = OkxPushes(rng, outlet, none, end_ms)
        self._bitget = BitgetPushes(rng, outlet)
        self._gate = GatePushes(rng, outlet, none)
        self._htx = HtxPushes(rng, outlet, none)
        self._connects = _connects(rng, scenario)

    def write(self, start_ms: int, seconds: int, closures: Sequence[Closed]) -> None:
        """Take the forced orders of so many seconds from `start_ms` on, in order of time."""
        while self._connects and self._connects[-1][0] < start_ms + seconds * _SECOND_MS:
            time_ms, stream = self._connects.pop()
            self._wire.connect(stream, time_ms)
        by_second: dict[int, dict[str, list[Closed]]] = {}
        for contract, closure in closures:
            second_ms = closure.time_ms - closure.time_ms % _SECOND_MS
            by_second.setdefault(second_ms, {}).setdefault(contract.exchange, []).append((contract, closure))
        for second_ms, by_exchange in sorted(by_second.items()):
            self._binance.write(by_exchange.get("binance", ()), second_ms + _SECOND_MS)
            self._bybit.write(by_exchange.get("bybit", ()))
            self._okx.write(_latest(by_exchange.get("okx", ())))
            self._bitget.write(by_exchange.get("bitget", ()))
            self._gate.write(by_exchange.get("gate", ()))
            self._htx.write(by_exchange.get("htx", ()))
        self._binance.write((), start_ms + seconds * _SECOND_MS)

    def receive(self, until_ms: int) -> Iterator[tuple[Frame, tuple[Truth, ...]]]:
        """Yield what is received before `until_ms`."""
        return self._wire.receive(until_ms)

    def close(self, end_ms: int) -> Iterator[tuple[Frame, tuple[Truth, ...]]]:
        """Yield what is still on its way when the market ends."""
        self._binance.write((), end_ms + _SECOND_MS)
        self._okx.close()
        return self._wire.receive(None)


def _latest(closures: Iterable[Closed]) -> list[Closed]:
    """Return the last order of each contract."""
    return list({contract.index: (contract, closure) for contract, closure in closures}.values())


def _lost(outage: Outage, start_ms: int) -> tuple[int, int, int]:
    begin_us, end_us = ((start_ms + second * 1000) * 1000 for second in (outage.begin_s, outage.end_s))
    return STREAMS[outage.exchange], begin_us, end_us


def _streams() -> list[Stream]:
    """Return the streams at the numbers that `pushes` and `served_pushes` give them; those not here stay unused."""
    written = {
        "binance": messages.binance_subscribed,
        "bybit": messages.bybit_subscribed,
        "okx": messages.okx_subscribed,
        "bitget": bitget_subscribed,
        "gate": gate_subscribed,
        "htx": htx_subscribed,
    }
    found = [Stream("", "", messages.binance_subscribed) for _ in range(BITGET + 1)]
    for exchange, stream in STREAMS.items():
        found[stream] = Stream(exchange, CHANNELS[exchange], written[exchange])
    return found


def _connects(rng: Random, scenario: Scenario) -> list[tuple[int, int]]:
    """Return when (ms) which stream connects: at the start, now and then, and after it was down; the last one first."""
    found = [(scenario.start_ms, stream) for stream in STREAMS.values()]
    quiet = [(outage.begin_s - 60, outage.end_s + 60, STREAMS[outage.exchange]) for outage in scenario.outages]
    for stream in STREAMS.values():
        for _ in range(round(_RECONNECTS_PER_DAY * scenario.seconds / _DAY_S)):
            second = int(rng.random() * scenario.seconds)
            if not any(one == stream and begin <= second < end for begin, end, one in quiet):
                found.append((scenario.start_ms + second * 1000, stream))
    found += [
        (scenario.start_ms + outage.end_s * 1000, STREAMS[outage.exchange])
        for outage in scenario.outages
        if outage.kind == "down"
    ]
    return sorted(found, reverse=True)
