"""The fold: the ordered records of one partition change its state, and nothing else does.

What comes out is a function of the log alone. It does not matter how the log is cut into batches, because bars are
identified by (key, revision) and the content of each revision is fixed by the log:

- the sums of a bar depend on its events only, and its revision counts them;
- the coverage of an open bar is that at its latest event, that of a closed one the coverage when it was closed, or at
  the event that corrected it;
- whether an event is late, too late or a duplicate depends on the watermark and the ids before it in the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from pipeline.records import (
    COMPLETENESS_RANKS,
    Candle,
    Coverage,
    Found,
    Heartbeat,
    Liquidation,
    Pulse,
    Silence,
    Subscription,
)
from pipeline.windows.channels import Channel, alive_ms, contract_alive_ms, hear, next_watermark
from pipeline.windows.judging import end_silence, judge_slots, settle
from pipeline.windows.parameters import MINUTE_MS, WindowParameters
from pipeline.windows.state import Counts, Minute, OpenBar, PartitionState
from pipeline.windows.subscriptions import Contract

SECOND_MS: Final = 1_000

# One record of the stored state; None deletes its key.
Cell = tuple[bytes, bytes | None]

# The part of a liquidation that the fold reads: event_id, exchange, symbol, instrument, asset, position, price,
# notional_micros, event_time, event_time_kind, received_time, completeness, channel.
LiquidationRow = tuple[bytes, str, str, str, str, str, float, int, int, str, int, str, str]


def liquidation_row(event: Liquidation) -> LiquidationRow:
    """Return what the fold reads of `event`."""
    return (
        event.event_id,
        event.exchange,
        event.symbol,
        event.instrument,
        event.asset,
        event.position,
        event.price,
        event.notional_micros,
        event.event_time,
        event.event_time_kind,
        event.received_time,
        event.completeness,
        event.source.channel,
    )


class CandleRow(NamedTuple):
    """The part of a closed candle that rules read."""

    exchange: str
    symbol: str
    asset: str
    start: int
    close: float
    volume_micros: int


def candle_row(candle: Candle) -> CandleRow:
    """Return what rules read of `candle`, which must be closed."""
    return CandleRow(candle.exchange, candle.symbol, candle.asset, candle.start, candle.close, candle.volume_micros)


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive records of one partition.

    `statements` of collectors and closed candles are given with the number of `liquidations` that come before them.
    `last_offset` is the offset of the batch's last record of any kind.
    """

    liquidations: Sequence[LiquidationRow]
    statements: Sequence[tuple[int, Heartbeat | Subscription | CandleRow]]
    last_offset: int


class Observer(Protocol):
    """What is told of everything that the fold finds, in the order of the log: the detection of anomalies.

    `accepted` takes the liquidations that were folded into a bar, each once, `candles` the closed candles. Whoever
    observes must remember them until the next tick, and have `take` give everything that later ticks depend on.
    """

    accepted: list[LiquidationRow]
    candles: list[CandleRow]

    def settled(self, coverage: Sequence[Coverage], silences: Sequence[Silence]) -> None:
        """Hear coverage of minutes that are closed, or revised, and silences that began or ended."""

    def tick(self, state: PartitionState) -> None:
        """Judge: the watermark has come into another second."""

    def take(self, offset: int) -> tuple[list[Found], list[Pulse], list[Cell]]:
        """Return the findings and pulses to publish, and the cells of the state that changed since the last call.

        `offset` is that of the last record folded.
        """
        ...


def fold(state: PartitionState, batch: Batch, parameters: WindowParameters, observer: Observer | None = None) -> None:
    """Fold `batch` into `state`, in the order of the log, and tell `observer` of it."""
    done = 0
    rows = batch.liquidations
    for before, statement in batch.statements:
        if before > done:
            _fold_liquidations(state, rows[done:before], parameters, observer)
            done = before
        if isinstance(statement, Heartbeat):
            _fold_heartbeat(state, statement, parameters, observer)
        elif isinstance(statement, Subscription):
            _fold_subscription(state, statement)
        elif observer is not None:
            observer.candles.append(statement)
    if done < len(rows):
        _fold_liquidations(state, rows[done:] if done else rows, parameters, observer)
    state.offset = batch.last_offset


def _fold_liquidations(
    state: PartitionState,
    rows: Iterable[LiquidationRow],
    parameters: WindowParameters,
    observer: Observer | None,
) -> None:
    """Fold liquidations between which no statement stands, so that one watermark holds for all of them."""
    watermark = state.watermark
    minutes, tallies, changed_tallies = state.minutes, state.tallies, state.changed_tallies
    touched: dict[int, OpenBar] = {}
    tally_minute = state.tally_minute
    accepted = None if observer is None else observer.accepted
    start, minute, closed, expired = -1, None, False, False
    for row in rows:
        (
            event_id,
            exchange,
            symbol,
            instrument,
            asset,
            position,
            price,
            micros,
            event_time,
            time_kind,
            received,
            kind,
            channel,
        ) = row
        if not tally_minute:
            # Before the first heartbeat the first event's own receive time stands in for the watermark.
            tally_minute = state.tally_minute = received // 1000 - received // 1000 % MINUTE_MS
        counts = tallies.get((asset, exchange))
        if counts is None:
            counts = tallies[asset, exchange] = Counts()
        changed_tallies.add(asset)

        own = event_time - event_time % MINUTE_MS
        if own != start or minute is None:
            start = own
            expired = parameters.is_expired(start, watermark)
            closed = parameters.is_closed(start, watermark)
            home = tally_minute if expired else start
            minute = minutes.get(home)
            if minute is None:
                minute = minutes[home] = Minute(closed=parameters.is_closed(home, watermark))
        # Where the exchange gives no time, one event has another time, and minute, for each collector that saw it.
        is_elsewhere = expired or time_kind == "received"
        if event_id in minute.seen or (is_elsewhere and _seen_anywhere(state, event_id)):
            counts.duplicates += 1
            continue
        minute.seen.add(event_id)
        minute.fresh.append(event_id)
        counts.events += 1
        if expired:
            counts.too_late += 1
            continue

        bar = minute.bars.get((exchange, symbol))
        if bar is None:
            rank = COMPLETENESS_RANKS[kind]
            bar = OpenBar(exchange, symbol, instrument, asset, start, channel, rank, price, price, closed=closed)
            minute.add(bar)
        else:
            if price < bar.price_low:
                bar.price_low = price
            elif price > bar.price_high:
                bar.price_high = price
            rank = COMPLETENESS_RANKS[kind]
            if rank > bar.completeness:
                bar.completeness = rank
        if position == "long":
            bar.long_micros += micros
            bar.long_count += 1
        else:
            bar.short_micros += micros
            bar.short_count += 1
        if micros > bar.largest_micros:
            bar.largest_micros = micros
        if accepted is not None:
            accepted.append(row)
        if closed:
            bar.late_count += 1
            counts.late += 1
        touched[id(bar)] = bar

    for bar in touched.values():
        bar.alive_ms = _alive_ms(state, bar)
        state.mark_changed(bar)


def _alive_ms(state: PartitionState, bar: OpenBar) -> int:
    key = bar.exchange, bar.channel
    channel, contracts = state.channels.get(key), state.contracts.get(key)
    if contracts is None:
        return alive_ms(channel, bar.start)
    return contract_alive_ms(channel, contracts.get(bar.symbol), bar.start)


def _seen_anywhere(state: PartitionState, event_id: bytes) -> bool:
    return any(event_id in minute.seen for minute in state.minutes.values())


def _fold_heartbeat(
    state: PartitionState, heartbeat: Heartbeat, parameters: WindowParameters, observer: Observer | None
) -> None:
    before, told = state.watermark, (len(state.settled_coverage), len(state.settled_silences))
    _hear_heartbeat(state, heartbeat, parameters)
    if observer is None:
        return
    coverage, silences = state.settled_coverage[told[0] :], state.settled_silences[told[1] :]
    if coverage or silences:
        observer.settled(coverage, silences)
    if state.watermark // SECOND_MS > before // SECOND_MS:
        observer.tick(state)


def _hear_heartbeat(state: PartitionState, heartbeat: Heartbeat, parameters: WindowParameters) -> None:
    key = heartbeat.exchange, heartbeat.channel
    channel = state.channels.get(key)
    if channel is None:
        channel = state.channels[key] = Channel()
    closed_before = parameters.closed_before(state.watermark)
    if not hear(channel, heartbeat, closed_before, parameters.behind_ms, state.judged_before):
        return
    if channel.silence is not None and heartbeat.frames > 0:
        end_silence(state, channel, heartbeat.time)
    watermark = next_watermark(state.channels, state.watermark, parameters.behind_ms)
    if watermark == state.watermark:
        return
    state.watermark = watermark
    judge_slots(state, parameters)
    now_closed_before = parameters.closed_before(watermark)
    if now_closed_before > closed_before:
        _close(state, closed_before, now_closed_before, parameters)
    tally_minute = watermark - watermark % MINUTE_MS
    if tally_minute > state.tally_minute:
        _settle_tallies(state)
        state.tally_minute = tally_minute


def _fold_subscription(state: PartitionState, subscription: Subscription) -> None:
    key = subscription.exchange, subscription.channel
    contracts = state.contracts.setdefault(key, {})
    contract = contracts.get(subscription.symbol)
    if contract is None:
        contract = contracts[subscription.symbol] = Contract()
    if contract.hear(subscription):
        state.changed_contracts.add((key, subscription.symbol))


def _settle_tallies(state: PartitionState) -> None:
    """Say what was counted in the minute of the watermark that is over."""
    state.settled_tallies.extend(
        counts.tally(exchange, asset, state.tally_minute) for (asset, exchange), counts in sorted(state.tallies.items())
    )
    state.tallies = {}
    state.changed_tallies = set()


def _close(state: PartitionState, closed_before: int, now_closed_before: int, parameters: WindowParameters) -> None:
    """Close the minutes from `closed_before` up to `now_closed_before`, and forget those past correction."""
    for start in sorted(state.minutes):
        minute = state.minutes[start]
        if start < now_closed_before and not minute.closed:
            minute.closed = True
            for bar in minute.bars.values():
                bar.closed = True
                bar.alive_ms = _alive_ms(state, bar)
                state.mark_changed(bar)
        if parameters.is_expired(start, state.watermark):
            del state.minutes[start]
            state.expired_cells.extend((start, asset) for asset in sorted(minute.written))
    kept_from = state.watermark - parameters.lateness_ms - parameters.correction_ms - MINUTE_MS
    for key, channel in sorted(state.channels.items()):
        for start in sorted(channel.minutes):
            if closed_before <= start < now_closed_before:
                settle(state, key, channel, start)
            if parameters.is_expired(start, state.watermark):
                del channel.minutes[start]
        channel.forget_before(kept_from)
    for key, contracts in state.contracts.items():
        for symbol, contract in list(contracts.items()):
            if contract.forget_before(kept_from):
                state.changed_contracts.add((key, symbol))
            if contract.is_given_up(state.watermark):
                del contracts[symbol]
                state.changed_contracts.add((key, symbol))
