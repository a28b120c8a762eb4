"""One run of a scenario: what a collector receives, second by second, and the ledger of what was true."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pipeline.embedded.simulator.contracts import Contract
from pipeline.embedded.simulator.leverage.candles import CHANNELS as CANDLE_CHANNELS
from pipeline.embedded.simulator.leverage.candles import MINUTE_MS, Candles, candle_message
from pipeline.embedded.simulator.leverage.ledger import TrueLedger, TrueOrder
from pipeline.embedded.simulator.leverage.listings import CHANNELS, listings
from pipeline.embedded.simulator.leverage.market import STEP_S, Forced, steps
from pipeline.embedded.simulator.leverage.reporting import Reporting
from pipeline.embedded.simulator.leverage.scenarios import Scenario
from pipeline.embedded.simulator.market import Closure
from pipeline.feeds.statements import STATEMENTS, statements_connection, statements_payload
from pipeline.records import Candle, Frame, Heartbeat

COLLECTOR = "simulated"
# Where an exchange publishes the bankruptcy price.
_BANKRUPTCY = {"bybit", "okx", "gate", "htx"}
_SECOND_MS = 1_000

Item = Frame | Heartbeat | Candle


@dataclass(slots=True)
class Run:
    """A scenario played once from a seed; `ledger` is complete when `items` has come to its end.

    `heartbeat_s` is how often the collector says of each channel whether it was up.
    """

    scenario: Scenario
    seed: int = 7
    heartbeat_s: int = 1
    ledger: TrueLedger = field(init=False)

    def __post_init__(self) -> None:
        """Begin an empty ledger."""
        self.ledger = TrueLedger(self.scenario)

    def items(self) -> Iterator[Item]:
        """Yield frames, the collector's heartbeats and candles, in the order of their receipt."""
        scenario = self.scenario
        reporting = Reporting(scenario, self.seed)
        candles = Candles(scenario, self.seed)
        listening = _Listening(scenario)
        now_ms = scenario.start_ms
        for step in steps(scenario, self.seed):
            closed = [self.enter(forced) for forced in step.forced]
            reporting.write(step.start_ms, STEP_S, closed)
            candles.step(step.prices, closed)
            for second in range(STEP_S):
                now_ms = step.start_ms + (second + 1) * _SECOND_MS
                for frame, _ in reporting.receive(now_ms):
                    listening.hear(frame)
                    yield frame
                if now_ms // _SECOND_MS % self.heartbeat_s == 0:
                    yield from listening.beats(now_ms)
            if now_ms % MINUTE_MS == 0:
                yield from candles.end(now_ms - MINUTE_MS)
        for frame, _ in reporting.close(now_ms):
            second_ms = frame.received_time // 1000 - frame.received_time // 1000 % _SECOND_MS
            if second_ms > now_ms:
                now_ms = second_ms
                yield from listening.beats(now_ms)
            listening.hear(frame)
            yield frame
        yield from listening.beats(now_ms + _SECOND_MS)
        self.ledger.close()

    def enter(self, forced: Forced) -> tuple[Contract, Closure]:
        """Enter a forced order into the ledger, and return it with its contract."""
        closure = forced.closure
        contract = listings()[closure.contract]
        steps_of_price = closure.bankruptcy_steps if contract.exchange in _BANKRUPTCY else closure.price_steps
        self.ledger.add(
            TrueOrder(
                closure.time_ms,
                contract.exchange,
                contract.symbol,
                contract.instrument.asset,
                "long" if closure.long else "short",
                contract.notional_micros(steps_of_price, closure.quantity_steps),
                forced.caused,
            )
        )
        return contract, closure


def frames(items: Iterable[Item]) -> Iterator[Frame]:
    """Yield a run as a recording: frames, the candles' messages, and the collector's heartbeats as statements."""
    numbers: dict[tuple[str, str], int] = {}
    contracts = {(one.exchange, one.symbol): one for one in listings()}
    for item in items:
        if isinstance(item, Frame):
            yield item
            continue
        if isinstance(item, Heartbeat):
            channel, connection = STATEMENTS, statements_connection(item.collector)
            received_us, payload = item.time * 1000, statements_payload([item])
        else:
            channel, connection = CANDLE_CHANNELS[item.exchange], f"{item.exchange}-candles"
            received_us = item.received_time
            payload = candle_message(contracts[item.exchange, item.symbol], item)
        number = numbers[item.exchange, channel] = numbers.get((item.exchange, channel), -1) + 1
        yield Frame(item.exchange, channel, connection, number, received_us, payload)


class _Listening:
    """What the collector says of its channels."""

    def __init__(self, scenario: Scenario) -> None:
        self._down = [
            (outage.exchange, scenario.start_ms + outage.begin_s * 1000, scenario.start_ms + outage.end_s * 1000)
            for outage in scenario.outages
            if outage.kind == "down"
        ]
        self._frames = dict.fromkeys(CHANNELS, 0)
        self._last: dict[str, int] = {}

    def hear(self, frame: Frame) -> None:
        self._frames[frame.exchange] += 1
        self._last[frame.exchange] = frame.received_time

    def beats(self, now_ms: int) -> Iterator[Heartbeat]:
        """Yield a heartbeat of every channel: it speaks of the time since the one before."""
        for exchange, channel in CHANNELS.items():
            down = any(one == exchange and begin < now_ms <= end for one, begin, end in self._down)
            count, last_us = self._frames[exchange], self._last.get(exchange)
            self._frames[exchange] = 0
            yield Heartbeat(exchange, channel, COLLECTOR, now_ms, "down" if down else "up", count, last_us)
