"""The whole market: pulses in, findings out.

What is found is a function of the log of events: it does not depend on how the pulses of different partitions stand in
their topic, and not on batches. State is kept in cells:

| key | value |
|---|---|
| `market` | version, hash of the rules, offset, how far each partition is, the delay |
| `held/WATERMARK/PARTITION/PART` | a pulse that waits for another partition |
| `rolling/state` | level, incident and what else the rule remembers |
| `minute/START` | sums of one minute by second and exchange, and its largest events |
| `channels/PARTITION` | the channels that a partition last told |
| `finding/ID` | a finding that is open |
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from typing import Final

import orjson

from pipeline.detect.finding import Findings
from pipeline.detect.market.market_delay import DelayMeter
from pipeline.detect.market.market_threshold import MarketThreshold
from pipeline.detect.market.pulse_order import PulseOrder
from pipeline.detect.rules import Rules
from pipeline.records import Anomaly, MarketDelay, Pulse
from pipeline.windows.checkpoint import CheckpointError
from pipeline.windows.fold import Cell

MARKET_KEY: Final = b"market"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class MarketCheckpoint:
    """What leaves the market at one moment: records to publish, and the cells that make them final."""

    anomalies: list[Anomaly]
    delay: MarketDelay | None
    cells: list[Cell]


class Market:
    """The rules of the market over the pulses of `partitions` partitions.

    `offset` is that of the last pulse taken, for whoever reads them from a topic; -1 before the first.
    """

    def __init__(self, rules: Rules, partitions: int) -> None:
        self.offset = -1
        self.order = PulseOrder(partitions)
        self._hash = rules.hash
        self._findings = Findings(self._hash)
        self._former: list[Anomaly] = []
        self._dropped: list[bytes] = []
        self._threshold = MarketThreshold(rules.rolling_threshold, self._findings)
        self._meter = DelayMeter()

    def take_pulses(self, pulses: Iterable[Pulse], last_offset: int) -> None:
        """Take pulses in the order of their topic; judge every watermark that all partitions have passed now."""
        for pulse in pulses:
            self.order.take(pulse)
        self._meter.hear(self.order.newest)
        for watermark, together in self.order.passed_by_all():
            self._meter.measure(watermark)
            self._threshold.judge(watermark, together)
        self._meter.measure(self.order.passed)
        self.offset = last_offset

    def take(self) -> MarketCheckpoint:
        """Return everything that changed since the last call; the cell with the offset comes last."""
        anomalies, findings = self._findings.take()
        cells: list[Cell] = [(key, None) for key in self._dropped]
        cells += [(b"finding/" + key, value) for key, value in findings]
        cells += [(b"held/" + key, value) for key, value in self.order.cells()]
        cells += self._threshold.cells()
        delay = self._meter.say(self.order)
        head = [_VERSION, self._hash, self.offset, self.order.stored_progress(), astuple(self._meter)]
        cells.append((MARKET_KEY, orjson.dumps(head)))
        said, self._former, self._dropped = [*self._former, *anomalies], [], []
        return MarketCheckpoint(said, delay, cells)

    def restore(self, cells: Mapping[bytes, bytes]) -> None:
        """Go on from the newest value of each key; an empty mapping is a new market.

        With other rules than the cells were made with, what is open is closed, and the rules begin anew over the sums
        that are known. Raises `CheckpointError` for state of another version or another number of partitions.
        """
        if MARKET_KEY not in cells:
            return
        version, rules_hash, offset, progress, meter = orjson.loads(cells[MARKET_KEY])
        if version != _VERSION:
            raise CheckpointError(f"the market's state is of version {version}, this program's is {_VERSION}")
        if len(progress) != len(self.order.progress):
            raise CheckpointError(
                f"the market's state was made with {len(progress)} partitions, the settings say"
                f" {len(self.order.progress)}; use the former, or another topic prefix"
            )
        named: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
        for key, value in cells.items():
            kind, _, name = key.decode().partition("/")
            named[kind][name] = value
        self.offset = offset
        self.order.restore(progress, named["held"])
        self._meter = DelayMeter(*meter)
        self._threshold.restore(named, same_rules=rules_hash == self._hash)
        if rules_hash == self._hash:
            self._findings.restore(named["finding"])
        else:
            former = Findings(rules_hash)
            former.restore(named["finding"])
            former.close_all(self.order.passed)
            self._former = former.take()[0]
            self._dropped = [f"finding/{name}".encode() for name in named["finding"]]
