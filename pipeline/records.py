"""The records that travel through the pipeline.

Every record is a frozen dataclass with the fields of its Avro schema in `schemas/`, which documents them one by
one. Times are integers: milliseconds since 1970 (UTC) for `event_time`, `start`, `time` and those of a `Silence` and
an `Anomaly`, microseconds for `received_time` and `last_frame_time`. Money is whole micro-dollars (`*_micros`,
USD x 1e-6); prices and quantities are doubles.

Records built from outside data are checked with `check_liquidation` and its siblings; records decoded from our own
log are trusted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from hashlib import blake2b
from typing import Literal, NamedTuple, get_args

from pipeline.errors import OperationError

Margin = Literal["linear", "inverse", "quanto"]
Position = Literal["long", "short"]
PriceKind = Literal["average_fill", "fill", "bankruptcy", "order", "mark", "unknown"]
EventTimeKind = Literal["exchange", "received"]
Completeness = Literal["full", "sampled", "largest_per_second", "inferred", "unknown"]
ChannelState = Literal["up", "down"]
Stage = Literal["mapping", "worker", "sink"]
Scope = Literal["instrument", "asset", "market", "channel"]
Closed = Literal["long", "short", "both"]
AnomalyState = Literal["open", "closed"]
Metric = Literal[
    "open_interest_base",
    "open_interest_usd",
    "mark_price",
    "index_price",
    "funding_rate",
    "long_account_share",
    "short_account_share",
]

_MARGINS: tuple[str, ...] = get_args(Margin)
_POSITIONS: tuple[str, ...] = get_args(Position)
_PRICE_KINDS: tuple[str, ...] = get_args(PriceKind)
_EVENT_TIME_KINDS: tuple[str, ...] = get_args(EventTimeKind)

# From most to least complete; a bar carries the last of its events' classes.
COMPLETENESS_ORDER: tuple[Completeness, ...] = get_args(Completeness)
COMPLETENESS_RANKS: Mapping[str, int] = {name: rank for rank, name in enumerate(COMPLETENESS_ORDER)}

# The first exchange with perpetual contracts opened after 2009; the end leaves room. A time outside was read in the
# wrong unit.
EARLIEST_MS = 1_230_768_000_000
LATEST_MS = 4_102_444_800_000

_INT64_MAX = 2**63 - 1
# Clocks differ by seconds; an event of the far future would keep its bar open until then, and a heartbeat would carry
# the clock of the whole pipeline there.
_MOST_AHEAD_MS = 600_000


class RefusedError(OperationError):
    """Outside data that cannot be used, with a short `reason` for the dead letter and a message for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Frame:
    """One message as an exchange sent it."""

    exchange: str
    channel: str
    connection: str
    sequence: int
    received_time: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Source:
    """Where an event was read: the frame's channel, connection and sequence, and the index within it."""

    channel: str
    connection: str
    sequence: int
    index: int


@dataclass(frozen=True, slots=True)
class Liquidation:
    """One forced order or position closure."""

    event_id: bytes
    exchange: str
    symbol: str
    instrument: str
    asset: str
    quote: str
    margin: Margin
    position: Position
    price: float
    price_kind: PriceKind
    order_price: float | None
    quantity: float
    notional_micros: int
    event_time: int
    event_time_kind: EventTimeKind
    received_time: int
    completeness: Completeness
    source: Source
    position_proved: bool = True


@dataclass(frozen=True, slots=True)
class Candle:
    """One minute of trading on one contract."""

    exchange: str
    symbol: str
    instrument: str
    asset: str
    start: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    volume_micros: int
    taker_buy_micros: int | None
    trades: int | None
    closed: bool
    received_time: int


@dataclass(frozen=True, slots=True)
class MarketMetric:
    """One reading of a number that an exchange publishes about a contract."""

    exchange: str
    symbol: str
    instrument: str
    asset: str
    metric: Metric
    value: float
    time: int
    received_time: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a collector says of one channel: alive or not since the heartbeat before."""

    exchange: str
    channel: str
    collector: str
    time: int
    state: ChannelState
    frames: int
    last_frame_time: int | None
    clock_offset_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a collector says of one contract on a channel that is subscribed contract by contract, since `time`."""

    exchange: str
    channel: str
    symbol: str
    asset: str
    collector: str
    time: int
    state: ChannelState


@dataclass(frozen=True, slots=True)
class Bar:
    """The liquidations of one contract in one minute."""

    exchange: str
    symbol: str
    instrument: str
    asset: str
    start: int
    long_micros: int
    short_micros: int
    long_count: int
    short_count: int
    largest_micros: int
    price_low: float
    price_high: float
    late_count: int
    closed: bool
    coverage: float
    completeness: Completeness
    revision: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of one minute one channel was alive, or one contract on it where that differs: `symbol` is not empty."""

    exchange: str
    channel: str
    start: int
    alive_ms: int
    frames: int
    revision: int
    symbol: str = ""


@dataclass(frozen=True, slots=True)
class Silence:
    """A channel that was up and brought nothing although data were likely; times in milliseconds.

    `began` is the last data before it, `expected` the messages that were likely from then until `found`, `probability`
    how likely none was. Revision 1 says that it was found, 2 that it has ended.
    """

    exchange: str
    channel: str
    began: int
    found: int
    ended: int | None
    expected: float
    probability: float
    revision: int


@dataclass(frozen=True, slots=True)
class Tally:
    """What the worker counted of one exchange and asset in one minute of the watermark."""

    exchange: str
    asset: str
    start: int
    events: int
    duplicates: int
    late: int
    too_late: int
    revision: int


@dataclass(frozen=True, slots=True)
class Anomaly:
    """What a detection rule found. The highest revision of an `anomaly_id` is the valid one.

    `asset`, `exchange` and `symbol` are empty where the scope has none; a channel's name stands in `symbol`. `value`,
    `threshold` and baseline are in the unit of `measure`: USD, events, or a share. `contributors` are the ids of the
    largest events, at most ten, largest first.
    """

    anomaly_id: bytes
    kind: str
    scope: Scope
    asset: str
    exchange: str
    symbol: str
    position: Closed
    measure: str
    interval_ms: int
    state: AnomalyState
    level: int
    value: float
    threshold: float
    baseline_mean: float | None
    baseline_sd: float | None
    baseline_n: int
    coverage: float
    completeness: Completeness
    degraded: bool
    started: int
    updated: int
    ended: int | None
    details: Mapping[str, float]
    contributors: Sequence[bytes]
    rules_hash: str
    revision: int


@dataclass(frozen=True, slots=True)
class Cascade:
    """A run of liquidations of one position of one asset, across exchanges, that is large for the asset.

    It is told beside the `Anomaly` of the same id. The highest revision is the valid one. `begin`, `peak` and `end` are
    milliseconds; `exchanges` stand in the order of their first liquidation in it.
    """

    cascade_id: bytes
    asset: str
    position: Position
    state: AnomalyState
    begin: int
    peak: int
    end: int | None
    waves: int
    long_micros: int
    short_micros: int
    long_count: int
    short_count: int
    peak_second_micros: int
    exchanges: Sequence[str]
    price_before: float
    price_extreme: float
    coverage: float
    completeness: Completeness
    degraded: bool
    rules_hash: str
    revision: int


class PulseSum(NamedTuple):
    """Liquidations of one exchange with event times in one second; `second` is its start (ms).

    `asset` is empty: all assets of a partition are summed up together. `newest` is their latest event time (ms),
    `largest_id` the id of the largest of them.
    """

    second: int
    exchange: str
    asset: str
    long_micros: int
    short_micros: int
    long_count: int
    short_count: int
    newest: int
    completeness: Completeness
    largest_micros: int
    largest_id: bytes


class PulseChannel(NamedTuple):
    """Which share of the time that market rules look back on one channel was listened to."""

    exchange: str
    channel: str
    share: float


class PulseLargest(NamedTuple):
    """A large liquidation, in the minute of event time that starts at `minute` (ms)."""

    minute: int
    micros: int
    event_id: bytes


@dataclass(frozen=True, slots=True)
class Pulse:
    """What one partition of events brought until its watermark (ms) came into another second.

    `after` is the watermark of the partition's pulses before, 0 for the first; `part` counts those of one watermark
    from 0, and `follows` says that another one follows. `channels` are those of the partition's assets; None: as said
    before. `largest` are at most ten events of each minute, of all parts of the watermark.
    """

    partition: int
    after: int
    watermark: int
    part: int
    follows: bool
    sums: Sequence[PulseSum]
    channels: Sequence[PulseChannel] | None
    largest: Sequence[PulseLargest] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class MarketDelay:
    """How far the rules of the whole market are behind the partitions of events: a measurement of one run.

    `newest` is the watermark (ms) of the partition that is furthest ahead, `watermark` how far the market is, None
    before every partition has spoken. `most_ms` is the largest difference within the minute of `newest` from `start`.
    """

    start: int
    newest: int
    watermark: int | None
    most_ms: int
    held_by: int
    waiting: int
    revision: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What could not be used, and why."""

    dead_letter_id: bytes
    stage: Stage
    reason: str
    message: str
    exchange: str
    channel: str
    connection: str
    sequence: int
    index: int
    received_time: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Instrument:
    """What an exchange's metadata says of one contract."""

    exchange: str
    symbol: str
    instrument: str
    asset: str
    quote: str
    settle: str
    margin: Margin
    expiry: str | None = None
    contract_size: float | None = None
    asset_multiplier: float = 1.0


Event = Liquidation | Candle | MarketMetric | Heartbeat | Subscription
# What the rules of detection say.
Found = Anomaly | Cascade
Record = Frame | Event | Bar | Coverage | Silence | Tally | Found | Pulse | MarketDelay | DeadLetter | Instrument


def identity(*parts: str | int) -> bytes:
    """Return the 16-byte id of what `parts` name: BLAKE2b over the parts, separated so that no two lists collide.

    Numbers that an exchange writes as text go in through `number_text`, so that `0.10` and `0.1` are one number.
    """
    digest = blake2b(digest_size=16)
    for part in parts:
        text = str(part).encode()
        digest.update(len(text).to_bytes(4, "big"))
        digest.update(text)
    return digest.digest()


def number_text(number: Decimal) -> str:
    """Return the one spelling of a number: no exponent, no zeros at the end."""
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def micros(usd: Decimal) -> int:
    """Return USD as whole micro-dollars, half to even."""
    return int((usd * 1_000_000).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def check_liquidation(event: Liquidation) -> Liquidation:
    """Return `event`, or raise `RefusedError` for what no real liquidation can hold."""
    _check_words(event.exchange, event.symbol, event.instrument, event.asset, event.quote)
    _check_choice("margin", event.margin, _MARGINS)
    _check_choice("position", event.position, _POSITIONS)
    _check_choice("price_kind", event.price_kind, _PRICE_KINDS)
    _check_choice("event_time_kind", event.event_time_kind, _EVENT_TIME_KINDS)
    _check_choice("completeness", event.completeness, COMPLETENESS_ORDER)
    _check_positive("price", event.price)
    if event.order_price is not None:
        _check_positive("order_price", event.order_price)
    _check_positive("quantity", event.quantity)
    if not 0 <= event.notional_micros <= _INT64_MAX:
        raise RefusedError("bad_number", f"notional_micros {event.notional_micros} is not a sum of money")
    check_time_ms("event_time", event.event_time)
    check_time_ms("received_time", event.received_time // 1000)
    check_not_ahead("event_time", event.event_time, event.received_time)
    return event


def check_time_ms(name: str, time_ms: int) -> None:
    """Refuse a time that was plainly read in another unit than milliseconds since 1970."""
    if not EARLIEST_MS <= time_ms < LATEST_MS:
        raise RefusedError("bad_time", f"{name} {time_ms} is not in milliseconds since 1970")


def check_not_ahead(name: str, time_ms: int, received_us: int) -> None:
    """Refuse a time (ms) that is further ahead of the receive time (µs) than clocks differ."""
    if time_ms > received_us // 1000 + _MOST_AHEAD_MS:
        raise RefusedError("time_in_future", f"{name} {time_ms} is later than received_time {received_us} allows")


def dead_letter_of_frame(frame: Frame, index: int, reason: str, message: str) -> DeadLetter:
    """Return the dead letter for what a mapping refused in `frame`, at `index` within it."""
    return DeadLetter(
        dead_letter_id=identity("mapping", frame.exchange, frame.channel, frame.connection, frame.sequence, index),
        stage="mapping",
        reason=reason,
        message=message,
        exchange=frame.exchange,
        channel=frame.channel,
        connection=frame.connection,
        sequence=frame.sequence,
        index=index,
        received_time=frame.received_time,
        payload=frame.payload,
    )


def dead_letter_of_record(
    stage: Stage, topic: str, partition: int, offset: int, appended_ms: int, value: bytes, reason: str, message: str
) -> DeadLetter:
    """Return the dead letter for a record of a topic that `stage` could not read."""
    return DeadLetter(
        dead_letter_id=identity(stage, topic, partition, offset),
        stage=stage,
        reason=reason,
        message=message,
        exchange="",
        channel=topic,
        connection=str(partition),
        sequence=offset,
        index=0,
        received_time=appended_ms * 1000,
        payload=value,
    )


def _check_words(*words: str) -> None:
    if not all(words):
        raise RefusedError("empty_name", "exchange, symbol, instrument, asset and quote must not be empty")


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise RefusedError("bad_word", f"{name} is {value!r}, not one of {', '.join(allowed)}")


def _check_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise RefusedError("bad_number", f"{name} is {value}, not a positive number")
