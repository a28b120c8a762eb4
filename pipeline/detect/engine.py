"""The engine: runs the detectors of all rules over what the fold of one partition finds.

Liquidations are put aside as they are folded. When the watermark comes into another second they are added up, for all
assets at once, and given to the detectors, which then judge: a tick. So what is found is a function of the log,
whatever the batches, and no order between two ticks matters.

State is kept in cells under `rules/`:

| key | value |
|---|---|
| `rules/engine` | version, hash of the rules, offset, epochs of coverage, channels that are switched off |
| `rules/pending/...` | liquidations since the last tick, in parts |
| `rules/candles_pending/...` | closed candles since the last tick, in parts |
| `rules/feeds/ASSET` | on which channels and contracts an asset was seen |
| `rules/coverage/...` | covered time of bars gone by |
| `rules/candles/...` | the closed candles of the last hour, by contract |
| `rules/bars/...`, `rules/largest/...` | bars gone by, and the largest events of the last minutes |
| `rules/finding/ID` | a finding that can still change |
| `rules/NAME/...` | what the detector of that name keeps |

Facts (feeds, coverage, candles, bars) do not depend on the rules and outlive a change of them. Findings and what
detectors keep do not: with other rules than the cells were made with, what is open is closed, and the detectors begin
anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

import numpy as np
import orjson

from pipeline.detect.bar_book import BarBook
from pipeline.detect.candle_history import REFERENCE_MINUTES, CandleHistory
from pipeline.detect.coverage_history import CoverageHistory
from pipeline.detect.detector import AssetFeeds, Detector, Facts
from pipeline.detect.detectors import DETECTORS
from pipeline.detect.detectors.pulses import PulsesDetector
from pipeline.detect.finding import Findings
from pipeline.detect.largest_events import LargestEvents
from pipeline.detect.pending import PendingCells, restored_row, stored_row
from pipeline.detect.rules import Rules
from pipeline.detect.tick_events import Integers, Numbering, TickEvents, grown
from pipeline.records import COMPLETENESS_RANKS, Coverage, Found, Pulse, Silence
from pipeline.windows.fold import CandleRow, Cell, LiquidationRow
from pipeline.windows.parameters import MINUTE_MS, WindowParameters
from pipeline.windows.silence import ChannelKey
from pipeline.windows.state import PartitionState

PREFIX: Final = "rules/"
_HEAD: Final = b"rules/engine"
_FACTS: Final = tuple(
    f"rules/{kind}/".encode()
    for kind in ("pending", "candles_pending", "feeds", "coverage", "candles", "bars", "largest")
)
_VERSION: Final = 4
_HOUR_MS: Final = 3_600_000
# Of which nothing was said for so long is collected no more, and tells nothing of how well an asset is covered.
_SWITCHED_OFF_MS: Final = 24 * _HOUR_MS
_BY_TIME: Callable[[LiquidationRow], Any] = itemgetter(8, 0)


class Engine:
    """All rules over one partition."""

    def __init__(self, rules: Rules, parameters: WindowParameters, partition: int = 0) -> None:
        self._rules = rules
        self._hash = rules.hash
        # A bar that can still be corrected must be kept, too.
        correctable = (parameters.lateness_ms + parameters.correction_ms) // MINUTE_MS + 3
        reach_bars = max(4 * rules.surge.period + 2, correctable)
        numbering = Numbering()
        self.facts = Facts(
            rules,
            parameters,
            Findings(self._hash),
            CoverageHistory(parameters, reach_bars),
            CandleHistory(_kept_ms(rules, parameters)),
            BarBook(numbering, parameters, reach_bars),
            LargestEvents(numbering, parameters),
            numbering,
        )
        self.facts.partition = partition
        self.detectors: list[Detector] = [
            build(self.facts) for name, build in DETECTORS.items() if getattr(rules, name).enabled
        ]
        if rules.has_market_rules:
            self.detectors.append(PulsesDetector(self.facts))
        self.accepted: list[LiquidationRow] = []
        self.candles: list[CandleRow] = []
        self._pending = PendingCells[LiquidationRow](stored_row, restored_row)
        self._candles_pending = PendingCells[CandleRow](list, lambda row: CandleRow(*row))
        self._by_asset = [one for one in self.detectors if type(one).take_events is not Detector.take_events]
        # By feed, the completeness that it is known to have.
        self._feed_ranks: Integers = np.zeros(0, dtype=np.int64)
        self._changed_feeds: set[str] = set()
        self._switched_off: list[ChannelKey] = []
        self._dropped: list[bytes] = []

    def settled(self, coverage: Sequence[Coverage], silences: Sequence[Silence]) -> None:
        """Hear coverage of closed minutes, and silences."""
        self.facts.coverage.settled(coverage)
        if silences:
            for detector in self.detectors:
                detector.hear_silences(silences)

    def tick(self, state: PartitionState) -> None:
        """Give the detectors what came since the last tick, and have them judge."""
        facts, detectors = self.facts, self.detectors
        if not detectors:
            self.accepted, self.candles = [], []
            return
        if state.watermark // _HOUR_MS > facts.watermark // _HOUR_MS:
            self._find_switched_off(state)
        facts.watermark = state.watermark
        facts.coverage.begin_tick(state)
        if self.candles:
            self._give_candles()
        if self.accepted:
            self._take_accepted()
        for detector in detectors:
            detector.judge()
        facts.bars.forget(state.watermark)
        facts.largest.forget(state.watermark)
        facts.touched, facts.other_feeds = [], set()

    def take(self, offset: int) -> tuple[list[Found], list[Pulse], list[Cell]]:
        """Return the records to publish and the cells that changed since the last call."""
        records: list[Found]
        anomalies, findings = self.facts.findings.take()
        records, self.facts.outputs = [*anomalies, *self.facts.outputs], []
        pulses, self.facts.pulses = self.facts.pulses, []
        cells: list[Cell] = [(key, None) for key in self._dropped]
        self._dropped = []
        head = [_VERSION, self._hash, offset, self.facts.coverage.epoch, self._switched_off]
        cells.append((_HEAD, orjson.dumps(head)))
        cells += _under("pending", self._pending.cells(self.accepted))
        cells += _under("candles_pending", self._candles_pending.cells(self.candles))
        for asset in sorted(self._changed_feeds):
            contracts = self.facts.feeds[asset].contracts
            cells.append((f"rules/feeds/{asset}".encode(), orjson.dumps([[*feed, r] for feed, r in contracts.items()])))
        self._changed_feeds = set()
        cells += _under("coverage", self.facts.coverage.cells())
        cells += _under("candles", self.facts.candles.cells())
        cells += _under("bars", self.facts.bars.cells())
        cells += _under("largest", self.facts.largest.cells())
        cells += _under("finding", findings)
        for detector in self.detectors:
            cells += _under(detector.name, detector.cells())
        return records, pulses, cells

    def restore(self, cells: Mapping[bytes, bytes], state: PartitionState) -> None:
        """Go on from the newest value of each key of a checkpoint, of which `state` was restored.

        Cells that another offset was reached with are of a time before the rules were switched off and on again: they
        are dropped.
        """
        own = {key: value for key, value in cells.items() if key.startswith(PREFIX.encode())}
        version, *head = orjson.loads(own.get(_HEAD, b"[0]"))
        rules_hash, offset, epoch, switched_off = head if version == _VERSION else ("", None, 0, [])
        if offset != state.offset:
            self._dropped = sorted(own.keys() - {_HEAD})
            return
        named: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
        for key, value in own.items():
            _, kind, *name = key.decode().split("/", 2)
            named[kind]["".join(name)] = value
        self._switched_off = [(exchange, channel) for exchange, channel in switched_off]
        for asset, value in named["feeds"].items():
            feeds = self.facts.feeds[asset] = AssetFeeds()
            for exchange, channel, symbol, rank in orjson.loads(value):
                feeds.note((exchange, channel, symbol), rank, self._switched_off)
        self.facts.coverage.restore(named["coverage"])
        self.facts.candles.restore(named["candles"])
        self.facts.bars.restore(named["bars"], state.watermark)
        self.facts.largest.restore(named["largest"])
        self.accepted = self._pending.restore(named["pending"])
        self.candles = self._candles_pending.restore(named["candles_pending"])
        self.facts.watermark = state.watermark
        self.facts.coverage.begin_tick(state)
        self.facts.coverage.epoch = epoch
        if rules_hash == self._hash:
            self.facts.findings.restore(named["finding"])
            for detector in self.detectors:
                detector.restore(named[detector.name])
        else:
            self._begin_anew(own, named, rules_hash, state.watermark)

    def _begin_anew(
        self, own: Mapping[bytes, bytes], named: Mapping[str, Mapping[str, bytes]], rules_hash: str, watermark: int
    ) -> None:
        former = Findings(rules_hash)
        former.restore(named["finding"])
        former.close_all(watermark)
        self.facts.outputs += former.take()[0]
        for name, build in DETECTORS.items():
            build(self.facts).abandon(named[name], rules_hash)
        facts = (_HEAD, *_FACTS)
        self._dropped = sorted(key for key in own if not key.startswith(facts))

    def _give_candles(self) -> None:
        by_asset: defaultdict[str, list[CandleRow]] = defaultdict(list)
        for candle in self.candles:
            by_asset[candle.asset].append(candle)
        self.candles = []
        self._candles_pending.take_all()
        for asset, candles in by_asset.items():
            self.facts.candles.take(asset, candles)
            for detector in self.detectors:
                detector.take_candles(asset, candles)

    def _find_switched_off(self, state: PartitionState) -> None:
        """Find the channels of which no collector has said anything for a day."""
        since = state.watermark - _SWITCHED_OFF_MS
        found = sorted(key for key, channel in state.channels.items() if channel.newest < since)
        if found != self._switched_off:
            self._switched_off = found
            for feeds in self.facts.feeds.values():
                feeds.count(found)
            self.facts.other_feeds.update(self.facts.feeds)

    def _take_accepted(self) -> None:
        """Add up what was read since the last tick, and have the detectors see it."""
        facts = self.facts
        accepted, self.accepted = self.accepted, []
        self._pending.take_all()
        events = facts.numbering.events(accepted)
        self._note_feeds(events)
        facts.touched = facts.bars.take_tick(events)
        facts.largest.take_tick(events)
        for detector in self.detectors:
            detector.take_tick(events)
        if self._by_asset:
            by_asset: defaultdict[str, list[LiquidationRow]] = defaultdict(list)
            for row in sorted(accepted, key=_BY_TIME):
                by_asset[row[4]].append(row)
            for asset, rows in by_asset.items():
                for detector in self._by_asset:
                    detector.take_events(asset, rows)

    def _note_feeds(self, events: TickEvents) -> None:
        """Take note of feeds that are new, or less complete than they were."""
        known = self._feed_ranks = grown(self._feed_ranks, self.facts.numbering.feeds, -1)
        is_news = events.ranks > known[events.feeds]
        if not is_news.any():
            return
        np.maximum.at(known, events.feeds, events.ranks)
        for place in np.flatnonzero(is_news).tolist():
            row = events.rows[place]
            asset, feed, rank = row[4], (row[1], row[12], row[2]), COMPLETENESS_RANKS[row[11]]
            feeds = self.facts.feeds.get(asset)
            if feeds is None:
                feeds = self.facts.feeds[asset] = AssetFeeds()
            if feeds.note(feed, rank, self._switched_off):
                self._changed_feeds.add(asset)
                self.facts.other_feeds.add(asset)


def _kept_ms(rules: Rules, parameters: WindowParameters) -> int:
    """Return how long candles are kept: for the reference contract, and while a bar of the ratio can be corrected."""
    corrected_ms = rules.ratio.interval_s * 1_000 + parameters.lateness_ms + parameters.correction_ms
    return max(REFERENCE_MINUTES * MINUTE_MS, corrected_ms) + 2 * MINUTE_MS


def _under(name: str, cells: Iterable[Cell]) -> list[Cell]:
    prefix = f"{PREFIX}{name}/".encode()
    return [(prefix + key, value) for key, value in cells]
