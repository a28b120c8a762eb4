"""What the fold remembers of one partition of the event log."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.records import COMPLETENESS_ORDER, Coverage, Silence, Tally
from pipeline.windows.channels import Channel
from pipeline.windows.parameters import MINUTE_MS
from pipeline.windows.silence import ChannelKey
from pipeline.windows.subscriptions import Contract

# Contracts and assets, as keys.
ContractKey = tuple[str, str]  # exchange, symbol
CellKey = tuple[int, str]  # minute's start, asset


@dataclass(slots=True)
class OpenBar:
    """A bar that can still change; sums in micro-dollars.

    `completeness` is a rank in `COMPLETENESS_ORDER`. `changed` says that the next checkpoint has it already.
    """

    exchange: str
    symbol: str
    instrument: str
    asset: str
    start: int
    channel: str
    completeness: int
    price_low: float
    price_high: float
    long_micros: int = 0
    short_micros: int = 0
    long_count: int = 0
    short_count: int = 0
    largest_micros: int = 0
    late_count: int = 0
    alive_ms: int = 0
    closed: bool = False
    changed: bool = False

    @property
    def revision(self) -> int:
        """Return twice the number of events, plus one once closed."""
        return 2 * (self.long_count + self.short_count) + self.closed

    def fields(self) -> dict[str, object]:
        """Return the fields of the `Bar` record."""
        return {
            "exchange": self.exchange,
            "symbol": self.symbol,
            "instrument": self.instrument,
            "asset": self.asset,
            "start": self.start,
            "long_micros": self.long_micros,
            "short_micros": self.short_micros,
            "long_count": self.long_count,
            "short_count": self.short_count,
            "largest_micros": self.largest_micros,
            "price_low": self.price_low,
            "price_high": self.price_high,
            "late_count": self.late_count,
            "closed": self.closed,
            "coverage": self.alive_ms / MINUTE_MS,
            "completeness": COMPLETENESS_ORDER[self.completeness],
            "revision": self.revision,
        }


@dataclass(slots=True)
class Minute:
    """One minute that can still change.

    `seen` holds the ids of its events, and of events too late for their own minute that were read during it. `fresh`
    holds those ids that no checkpoint has written yet. `by_asset` groups the bars as checkpoints write them, `written`
    names the assets of which one has.
    """

    bars: dict[ContractKey, OpenBar] = field(default_factory=dict)
    by_asset: dict[str, list[OpenBar]] = field(default_factory=dict)
    seen: set[bytes] = field(default_factory=set)
    fresh: list[bytes] = field(default_factory=list)
    written: set[str] = field(default_factory=set)
    closed: bool = False

    def add(self, bar: OpenBar) -> None:
        """Take a new bar in."""
        self.bars[bar.exchange, bar.symbol] = bar
        self.by_asset.setdefault(bar.asset, []).append(bar)


@dataclass(slots=True)
class Counts:
    """Liquidations of one exchange and asset read in one minute of the watermark."""

    events: int = 0
    duplicates: int = 0
    late: int = 0
    too_late: int = 0

    def tally(self, exchange: str, asset: str, start: int) -> Tally:
        """Return the record that says these counts of the minute from `start` (ms)."""
        return Tally(
            exchange=exchange,
            asset=asset,
            start=start,
            events=self.events,
            duplicates=self.duplicates,
            late=self.late,
            too_late=self.too_late,
            revision=self.events + self.duplicates,
        )


TallyKey = tuple[str, str]  # asset, exchange


@dataclass(slots=True)
class PartitionState:
    """Everything that later events can depend on.

    `offset` is that of the last record folded, -1 before the first. `tallies` are those of the present
    minute of the watermark. `contracts` holds the contracts of each channel that is subscribed contract by contract,
    by symbol; `judged_before` the start of the first slot that is not judged. `id_chunks` names the checkpoint records
    that hold event ids, each with the newest minute in it. `changed_*` (bars, assets with tallies, contracts),
    `habits_changed`, `expired_cells` and `settled_*` wait for the next checkpoint.
    """

    offset: int = -1
    watermark: int = 0
    tally_minute: int = 0
    judged_before: int = 0
    channels: dict[ChannelKey, Channel] = field(default_factory=dict)
    contracts: dict[ChannelKey, dict[str, Contract]] = field(default_factory=dict)
    minutes: dict[int, Minute] = field(default_factory=dict)
    tallies: dict[TallyKey, Counts] = field(default_factory=dict)
    id_chunks: dict[tuple[int, int], int] = field(default_factory=dict)
    changed_bars: list[OpenBar] = field(default_factory=list)
    changed_tallies: set[str] = field(default_factory=set)
    changed_contracts: set[tuple[ChannelKey, str]] = field(default_factory=set)
    habits_changed: bool = False
    expired_cells: list[CellKey] = field(default_factory=list)
    settled_coverage: list[Coverage] = field(default_factory=list)
    settled_silences: list[Silence] = field(default_factory=list)
    settled_tallies: list[Tally] = field(default_factory=list)

    def mark_changed(self, bar: OpenBar) -> None:
        """Have the next checkpoint write and publish `bar`."""
        if not bar.changed:
            bar.changed = True
            self.changed_bars.append(bar)
