"""`liquidations rules preview`: what other rules would have found in what is recorded.

The engine of the worker is run over the events log as the tables tell it (`pipeline.warehouse.recorded_log`), in one
piece and not by partitions, which changes nothing in what is found. What it finds goes into a database of its
own, in which the same views are as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipeline.codec import Codec
from pipeline.detect.detectors import DETECTORS
from pipeline.detect.engine import Engine
from pipeline.detect.market.market import Market
from pipeline.detect.rules import Rules
from pipeline.detect.season import WEEK_MS, WEEKS
from pipeline.errors import OperationError
from pipeline.records import Anomaly, Found, Heartbeat, Liquidation, Subscription
from pipeline.warehouse.client import connect
from pipeline.warehouse.databases import Databases
from pipeline.warehouse.found import (
    FoundInSeries,
    FoundLargest,
    FoundOnDay,
    Span,
    found_by_day,
    found_by_series,
    found_largest,
)
from pipeline.warehouse.recorded_log import LogRecord, LogSlice, read_log, read_span
from pipeline.warehouse.scratch import scratch_database
from pipeline.windows.checkpoint import take
from pipeline.windows.fold import Batch, CandleRow, candle_row, fold, liquidation_row
from pipeline.windows.parameters import MINUTE_MS, WindowParameters
from pipeline.windows.state import PartitionState

_LARGEST = 10
# Where a rule's findings have another name than its table in the rules file.
_KINDS = {"regime": "quiet"}
_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000


class PreviewError(OperationError):
    """There is nothing to preview; the message says why."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """Where what is recorded lies: address of a ClickHouse, the login, and the databases there."""

    clickhouse_url: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    databases: Databases = field(default_factory=Databases)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked: the findings that began in a span (ms, the end excluded; None: all there is).

    Reading begins `warm_up_ms` before it, so that rules know what is usual; None: as long before as they look back.
    """

    begin_ms: int | None = None
    end_ms: int | None = None
    warm_up_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a preview is: from when until when it reads (ms), the time it has reached, and what was found so far."""

    begin_ms: int
    end_ms: int
    time_ms: int
    found: int


@dataclass(frozen=True, slots=True)
class Preview:
    """What would have been found from `begin_ms` until before `end_ms`, after reading from `read_from_ms` on.

    `kinds` are those of the rules that ran, `in_force` what the rules in force found in the same time, as far as that
    is stored. `database` has all findings, if it was kept.
    """

    rules_hash: str
    read_from_ms: int
    begin_ms: int
    end_ms: int
    events: int
    kinds: Sequence[str]
    by_day: Sequence[FoundOnDay]
    by_series: Sequence[FoundInSeries]
    largest: Sequence[FoundLargest]
    in_force: Sequence[FoundOnDay]
    database: str | None


Progress = Callable[[Reached], None]


def scratch_name(rules: Rules) -> Databases:
    """Return the databases of a preview of `rules`."""
    return Databases(f"preview_{rules.hash}")


def run_preview(
    recorded: Recorded,
    rules: Rules,
    rules_in_force: Rules,
    parameters: WindowParameters,
    asked: Asked,
    progress: Progress,
    *,
    keep: bool = False,
) -> Preview:
    """Run `rules` over what is recorded and count what they find.

    Raises `PreviewError` if nothing is recorded in the span, `WarehouseError` if ClickHouse refuses.
    """
    source = recorded.databases
    with closing(connect(recorded.clickhouse_url, recorded.user, recorded.password)) as client:
        known = read_span(client, source)
        if known is None:
            raise PreviewError(f"{source.name} has no heartbeats: nothing is recorded, or it was by an older version")
        begin = max(known[0], asked.begin_ms or 0)
        end = min(known[1], asked.end_ms or known[1])
        if begin >= end:
            raise PreviewError(f"nothing is recorded then: {source.name} has {_text(known[0])} to {_text(known[1])}")
        warm_up = look_back_ms(rules) if asked.warm_up_ms is None else asked.warm_up_ms
        read_from = max(known[0], begin - warm_up)
        read_until = min(known[1], end + look_ahead_ms(rules, parameters))
        with scratch_database(client, scratch_name(rules), Codec(), keep=keep) as scratch:
            found: set[bytes] = set()
            events = 0
            progress(Reached(read_from, read_until, read_from, 0))
            for folded in _fold(read_log(client, source, read_from, read_until), rules, parameters):
                scratch.insert(folded.found)
                found.update(record.anomaly_id for record in folded.found if isinstance(record, Anomaly))
                events += folded.events
                progress(Reached(read_from, read_until, folded.time_ms, len(found)))
            span = Span(rules.hash, begin, end)
            return Preview(
                rules_hash=rules.hash,
                read_from_ms=read_from,
                begin_ms=begin,
                end_ms=end,
                events=events,
                kinds=[_KINDS.get(name, name) for name in DETECTORS if getattr(rules, name).enabled],
                by_day=found_by_day(client, scratch.databases, span),
                by_series=found_by_series(client, scratch.databases, span),
                largest=found_largest(client, scratch.databases, span, _LARGEST),
                in_force=found_by_day(client, source, Span(rules_in_force.hash, begin, end)),
                database=scratch.databases.name if keep else None,
            )


def look_back_ms(rules: Rules) -> int:
    """Return how far the enabled rules look back."""
    reaches = [0]
    surge = rules.surge
    if surge.enabled:
        # Bars that are empty do not count for a quantile, so its last ones may lie further back than this.
        bars = surge.last if surge.scorer == "quantile" else 4 * surge.period
        reaches.append(bars * max(surge.intervals_s, default=0) * 1_000)
        if surge.season == "hour_of_week":
            reaches.append(WEEKS * WEEK_MS)
    if rules.rolling_threshold.enabled:
        reaches.append((rules.rolling_threshold.span_s + rules.rolling_threshold.memory_s) * 1_000)
    if rules.cascade.enabled:
        # The day on which it begins is no whole one.
        reaches.append((rules.cascade.history_days + 1) * _DAY_MS)
    if rules.regime.enabled:
        reaches.append(rules.regime.history_bars * 5 * MINUTE_MS)
    return max(reaches) + _HOUR_MS


def look_ahead_ms(rules: Rules, parameters: WindowParameters) -> int:
    """Return for how long after something has begun it is found, or corrected by late events."""
    quiet_ms = rules.regime.quiet_bars * 5 * MINUTE_MS if rules.regime.enabled else 0
    return max(quiet_ms, parameters.correction_ms) + parameters.lateness_ms + MINUTE_MS


@dataclass(frozen=True, slots=True)
class _Folded:
    time_ms: int
    found: Sequence[Found]
    events: int


def _fold(log: Iterable[LogSlice], rules: Rules, parameters: WindowParameters) -> Iterator[_Folded]:
    """Yield, slice by slice, the time reached, what is new or changed, and how many events were read."""
    state, engine, offset = PartitionState(), Engine(rules, parameters), 0
    market = Market(rules, partitions=1)
    for part in log:
        offset += len(part.records)
        batch = _batch(part.records, offset - 1)
        fold(state, batch, parameters, engine)
        taken = take(state, parameters, engine)
        market.take_pulses(taken.pulses, offset)
        found = [*taken.found, *market.take().anomalies]
        yield _Folded(part.end_ms, found, len(batch.liquidations))


def _batch(records: Sequence[LogRecord], last_offset: int) -> Batch:
    rows = []
    statements: list[tuple[int, Heartbeat | Subscription | CandleRow]] = []
    for record in records:
        if isinstance(record, Liquidation):
            rows.append(liquidation_row(record))
        elif isinstance(record, Heartbeat | Subscription):
            statements.append((len(rows), record))
        elif record.closed:
            statements.append((len(rows), candle_row(record)))
    return Batch(rows, statements, last_offset)


def _text(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1_000, UTC):%Y-%m-%d %H:%M} UTC"
