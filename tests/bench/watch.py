"""Run all rules over a simulated market, as a worker does: mapping, fold, engine, second by second.

A finding's time is the watermark at which it was first said, so that delays are those of the log: what the exchanges
and the mapping take is in them, what Kafka takes is not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.detect.engine import Engine
from pipeline.detect.market.market import Market
from pipeline.detect.rules import Rules
from pipeline.embedded.simulator.leverage import Run, TrueLedger, listings
from pipeline.embedded.simulator.leverage.listings import CHANNELS
from pipeline.feeds import Mapping
from pipeline.records import Anomaly, Candle, Frame, Heartbeat, Liquidation
from pipeline.windows.checkpoint import take
from pipeline.windows.fold import Batch, CandleRow, candle_row, fold, liquidation_row
from pipeline.windows.parameters import WindowParameters
from pipeline.windows.state import PartitionState


@dataclass(slots=True)
class Sighting:
    """A finding: its last revision, and when (ms of the watermark) it was first said, and said to have ended."""

    last: Anomaly
    said: int
    said_end: int | None = None

    @property
    def begin(self) -> int:
        """Return when it began (ms)."""
        return self.last.started

    @property
    def end(self) -> int:
        """Return when it ended, or when it was last heard of."""
        return self.last.updated if self.last.ended is None else self.last.ended


@dataclass(slots=True)
class Watched:
    """What was found in a scenario, and what was true in it.

    `events` counts the distinct liquidations that were read, `micros` is what they are worth. `traded` has the
    micro-dollars of each candle by (exchange, symbol, start).
    """

    ledger: TrueLedger
    sightings: dict[bytes, Sighting] = field(default_factory=dict)
    events: int = 0
    micros: int = 0
    traded: dict[tuple[str, str, int], int] = field(default_factory=dict)

    def of_kind(self, kind: str) -> list[Sighting]:
        """Return the sightings of one rule, in order of their begin."""
        found = [one for one in self.sightings.values() if one.last.kind == kind]
        return sorted(found, key=lambda one: (one.begin, one.last.anomaly_id))

    def hear(self, anomaly: Anomaly, watermark: int) -> None:
        """Take one revision of a finding, said at `watermark`."""
        known = self.sightings.get(anomaly.anomaly_id)
        if known is None:
            known = self.sightings[anomaly.anomaly_id] = Sighting(anomaly, watermark)
        known.last = anomaly
        if anomaly.state == "closed" and known.said_end is None:
            known.said_end = watermark


def watch(run: Run, rules: Rules) -> Watched:
    """Play a scenario to its end under `rules`."""
    parameters = WindowParameters()
    watched = Watched(run.ledger)
    mapping = Mapping({(one.exchange, one.symbol): one.instrument for one in listings()})
    state, engine, market = PartitionState(), Engine(rules, parameters), Market(rules, 1)
    log: list[Liquidation] = []
    statements: list[tuple[int, Heartbeat | CandleRow]] = []
    beats = 0
    seen: set[bytes] = set()
    offset = -1
    for item in run.items():
        if isinstance(item, Frame):
            for event in mapping.map(item):
                assert isinstance(event, Liquidation), event
                log.append(event)
                if event.event_id not in seen:
                    seen.add(event.event_id)
                    watched.micros += event.notional_micros
        elif isinstance(item, Candle):
            watched.traded[item.exchange, item.symbol, item.start] = item.volume_micros
            statements.append((len(log), candle_row(item)))
        else:
            statements.append((len(log), item))
            beats += 1
            if beats % len(CHANNELS):
                continue
            offset += len(log) + len(statements)
            fold(state, Batch([liquidation_row(event) for event in log], statements, offset), parameters, engine)
            checkpoint = take(state, parameters, engine)
            market.take_pulses(checkpoint.pulses, offset)
            for found in (*checkpoint.found, *market.take().anomalies):
                if isinstance(found, Anomaly):
                    watched.hear(found, state.watermark)
            log, statements = [], []
    watched.events = len(seen)
    return watched
