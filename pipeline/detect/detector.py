"""The stateful part of a rule, as the engine runs it. `docs/adding_a_rule.md` tells how one is added."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.detect.bar_book import BarBook, TouchedBars
from pipeline.detect.candle_history import CandleHistory
from pipeline.detect.coverage_history import CoverageHistory, FeedKey, Feeds
from pipeline.detect.finding import Findings
from pipeline.detect.largest_events import LargestEvents
from pipeline.detect.rules import Rules
from pipeline.detect.tick_events import Contract, Numbering, TickEvents
from pipeline.records import Found, Pulse, Silence
from pipeline.windows.fold import CandleRow, Cell, LiquidationRow
from pipeline.windows.parameters import WindowParameters
from pipeline.windows.silence import ChannelKey


@dataclass(slots=True)
class AssetFeeds:
    """The feeds on which an asset's liquidations were seen: each channel and contract with its completeness, a rank.

    `channels` are the channels alone, sorted, as coverage is asked for them, without those that are switched off;
    `by_contract` names the feed on which a contract was seen first.
    """

    contracts: dict[FeedKey, int] = field(default_factory=dict)
    channels: Feeds = ()
    by_contract: dict[Contract, FeedKey] = field(default_factory=dict)

    def note(self, feed: FeedKey, rank: int, switched_off: Collection[ChannelKey] = ()) -> bool:
        """Take note of a feed; return whether that is news."""
        known = self.contracts.get(feed)
        if known is not None and known >= rank:
            return False
        self.contracts[feed] = rank
        self.by_contract.setdefault((feed[0], feed[2]), feed)
        self.count(switched_off)
        return True

    def count(self, switched_off: Collection[ChannelKey]) -> None:
        """Have `channels` leave out those that are switched off, unless nothing would remain."""
        channels = {(exchange, channel) for exchange, channel, _ in self.contracts}
        counted = channels.difference(switched_off) or channels
        self.channels = tuple(sorted((exchange, channel, "") for exchange, channel in counted))


@dataclass(slots=True)
class Facts:
    """What all detectors share.

    `watermark` (ms) is that of the tick; `touched` are the bars that its events changed, and `other_feeds` the assets
    that are seen on other channels since the tick before. `outputs` takes records other than anomalies, `pulses` what
    rules of the whole market read; `partition` is that of the log.
    """

    rules: Rules
    parameters: WindowParameters
    findings: Findings
    coverage: CoverageHistory
    candles: CandleHistory
    bars: BarBook
    largest: LargestEvents
    numbering: Numbering
    watermark: int = 0
    touched: list[TouchedBars] = field(default_factory=list)
    other_feeds: set[str] = field(default_factory=set)
    feeds: dict[str, AssetFeeds] = field(default_factory=dict)
    outputs: list[Found] = field(default_factory=list)
    pulses: list[Pulse] = field(default_factory=list)
    partition: int = 0


class Detector:
    """One rule over one partition of the log. Every method has a default that does nothing.

    The calls of one tick come in this order: `take_candles` for each asset with new candles, `take_tick` with all new
    liquidations, `take_events` for each asset that has some, `judge`. What is called, with which arguments and when, is
    a function of the log alone, and so must be what the detector does.

    `name` is the first part of the names of its cells: whatever later ticks depend on must be in them.
    """

    name = ""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    def take_tick(self, events: TickEvents) -> None:
        """Take all liquidations that were read since the tick before, of which there are some."""

    def take_events(self, asset: str, events: Sequence[LiquidationRow]) -> None:
        """Take those of one asset, by event time and id: simpler, and dearer."""

    def take_candles(self, asset: str, candles: Sequence[CandleRow]) -> None:
        """Take the closed candles of one asset that were read since the tick before; `facts.candles` has them."""

    def hear_silences(self, silences: Sequence[Silence]) -> None:
        """Hear silences that began or ended."""

    def judge(self) -> None:
        """Judge; every asset's new liquidations were given."""

    def cells(self) -> Iterable[Cell]:
        """Yield the cells that changed since the last call, by their names within the detector."""
        return ()

    def restore(self, cells: Mapping[str, bytes]) -> None:
        """Take in the cells of a checkpoint. `facts` are restored before, the detector's findings among them."""

    def abandon(self, cells: Mapping[str, bytes], rules_hash: str) -> None:
        """Say the last of what is open in the cells of other rules, apart from anomalies: those are closed already."""
