"""The ledger: what really happened in a simulated market, whatever its exchanges showed of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Literal, NamedTuple

import orjson

from pipeline.embedded.simulator.leverage.chains import Chains, TrueCascade
from pipeline.embedded.simulator.leverage.listings import CHANNELS
from pipeline.embedded.simulator.leverage.scenarios import Scenario
from pipeline.records import Position

MINUTE_MS = 60_000


class TrueOrder(NamedTuple):
    """One forced order, at the value that its exchange would publish; `caused` by the pressure of earlier ones."""

    time_ms: int
    exchange: str
    symbol: str
    asset: str
    position: Position
    micros: int
    caused: bool


@dataclass(slots=True)
class TrueSums:
    """Micro-dollars and number of forced orders by position."""

    long_micros: int = 0
    short_micros: int = 0
    long_count: int = 0
    short_count: int = 0

    def add(self, position: Position, micros: int) -> None:
        """Count one order."""
        if position == "long":
            self.long_micros += micros
            self.long_count += 1
        else:
            self.short_micros += micros
            self.short_count += 1


@dataclass(frozen=True, slots=True)
class TrueOutage:
    """A channel brought nothing from `begin` to `end` (ms): it was `down` and said so, or up and `silent`."""

    exchange: str
    channel: str
    begin: int
    end: int
    kind: Literal["down", "silent"]


@dataclass(slots=True)
class TrueLedger:
    """Everything that a scenario holds; complete once its market has been played to the end.

    `minutes` are the sums of each asset by (asset, start in ms), `contract_minutes` those of each contract by
    (exchange, symbol, start).
    """

    scenario: Scenario
    orders: list[TrueOrder] = field(default_factory=list)
    minutes: dict[tuple[str, int], TrueSums] = field(default_factory=dict)
    contract_minutes: dict[tuple[str, str, int], TrueSums] = field(default_factory=dict)
    _chains: Chains = field(default_factory=Chains)

    @property
    def cascades(self) -> list[TrueCascade]:
        """Return the true cascades in order of their begin."""
        return self._chains.cascades

    @property
    def outages(self) -> list[TrueOutage]:
        """Return when channels brought nothing."""
        start_ms = self.scenario.start_ms
        return [
            TrueOutage(
                one.exchange,
                CHANNELS[one.exchange],
                start_ms + one.begin_s * 1000,
                start_ms + one.end_s * 1000,
                one.kind,
            )
            for one in self.scenario.outages
        ]

    def add(self, order: TrueOrder) -> None:
        """Take the next forced order, in order of time."""
        self.orders.append(order)
        minute = order.time_ms - order.time_ms % MINUTE_MS
        self.minutes.setdefault((order.asset, minute), TrueSums()).add(order.position, order.micros)
        contract = (order.exchange, order.symbol, minute)
        self.contract_minutes.setdefault(contract, TrueSums()).add(order.position, order.micros)
        self._chains.add(order.time_ms, order.asset, order.position, order.exchange, order.micros, order.caused)

    def close(self) -> None:
        """Say that nothing more comes."""
        self._chains.close()


def ledger_lines(ledger: TrueLedger) -> Iterator[bytes]:
    """Yield the ledger as JSON lines: outages, cascades, and the minutes of each asset; money in micro-dollars."""
    for outage in ledger.outages:
        yield _line({**asdict(outage), "outage": outage.kind, "kind": "outage"})
    for cascade in ledger.cascades:
        yield _line({"kind": "cascade", **asdict(cascade)})
    for (asset, start), sums in sorted(ledger.minutes.items(), key=lambda found: (found[0][1], found[0][0])):
        yield _line({"kind": "minute", "asset": asset, "start": start, **asdict(sums)})


def _line(row: dict[str, object]) -> bytes:
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
