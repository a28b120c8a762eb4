"""Small random logs of one partition, for property tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from hypothesis import strategies as st

from pipeline.detect.engine import Engine
from pipeline.detect.rules import Rules
from pipeline.records import (
    Anomaly,
    Candle,
    Cascade,
    Coverage,
    Heartbeat,
    Liquidation,
    Pulse,
    Silence,
    Source,
    Subscription,
    Tally,
)
from pipeline.windows.checkpoint import Checkpoint, restore, take
from pipeline.windows.fold import Batch, candle_row, fold, liquidation_row
from pipeline.windows.parameters import WindowParameters
from pipeline.windows.state import PartitionState

PARAMETERS = WindowParameters(lateness_ms=5_000, correction_ms=120_000, behind_ms=30_000)
BASE_MS = 1_700_000_040_000  # a whole minute
CHANNELS = (("binance", "forceOrder"), ("bybit", "linear"), ("okx", "SWAP"))
CONTRACTS = (
    ("binance", "BTCUSDT", "BTC", "forceOrder"),
    ("binance", "ETHUSDT", "ETH", "forceOrder"),
    ("bybit", "BTCUSDT", "BTC", "linear"),
    ("okx", "BTC-USDT-SWAP", "BTC", "SWAP"),
)

Record = Liquidation | Heartbeat | Subscription | Candle


def liquidation(
    number: int = 1,
    event_ms: int = BASE_MS,
    contract: tuple[str, str, str, str] = CONTRACTS[0],
    position: str = "long",
    micros: int = 1_000_000,
    price: float = 2.0,
    completeness: str = "sampled",
    time_kind: str = "exchange",
) -> Liquidation:
    exchange, symbol, asset, channel = contract
    return Liquidation(
        event_id=number.to_bytes(16, "big"),
        exchange=exchange,
        symbol=symbol,
        instrument=f"{asset}-USDT-PERP",
        asset=asset,
        quote="USDT",
        margin="linear",
        position=position,
        price=price,
        price_kind="average_fill",
        order_price=None,
        quantity=1.0,
        notional_micros=micros,
        event_time=event_ms,
        event_time_kind=time_kind,
        received_time=event_ms * 1000,
        completeness=completeness,
        source=Source(channel, "c", number, 0),
    )


def heartbeat(
    time_ms: int, channel: tuple[str, str] = CHANNELS[0], state: str = "up", collector: str = "one", frames: int = 1
) -> Heartbeat:
    return Heartbeat(channel[0], channel[1], collector, time_ms, state, frames, None)


def subscription(
    time_ms: int,
    contract: tuple[str, str, str, str] = CONTRACTS[2],
    state: str = "up",
    collector: str = "one",
) -> Subscription:
    exchange, symbol, asset, channel = contract
    return Subscription(exchange, channel, symbol, asset, collector, time_ms, state)


def candle(
    start_ms: int = BASE_MS,
    contract: tuple[str, str, str, str] = CONTRACTS[0],
    close: float = 2.0,
    micros: int = 1_000_000,
    closed: bool = True,
) -> Candle:
    exchange, symbol, asset, _ = contract
    return Candle(
        exchange=exchange,
        symbol=symbol,
        instrument=f"{asset}-USDT-PERP",
        asset=asset,
        start=start_ms,
        open=close,
        high=close,
        low=close,
        close=close,
        volume=1.0,
        volume_micros=micros,
        taker_buy_micros=None,
        trades=None,
        closed=closed,
        received_time=start_ms * 1000,
    )


@st.composite
def logs(draw: st.DrawFn) -> list[Record]:
    """Return a log in which time mostly goes on, events come late or twice, and channels fall silent."""
    log: list[Record] = []
    now = BASE_MS
    events: list[Liquidation] = []
    for number in range(draw(st.integers(1, 60))):
        kind = draw(st.integers(0, 9))
        if kind <= 4:
            channel = draw(st.sampled_from(CHANNELS))
            now += draw(st.sampled_from((0, 400, 1_000, 9_000, 31_000, 65_000, 200_000)))
            state = "down" if draw(st.integers(0, 7)) == 0 else "up"
            collector = draw(st.sampled_from(("one", "two")))
            log.append(heartbeat(now - draw(st.sampled_from((0, 0, 700))), channel, state, collector))
        elif kind == 5 and events:
            log.append(draw(st.sampled_from(events)))
        elif kind == 6:
            time = now - draw(st.sampled_from((0, 300, 20_000, 70_000)))
            contract, state = draw(st.sampled_from(CONTRACTS[2:])), draw(st.sampled_from(("up", "up", "down")))
            log.append(subscription(time, contract, state, draw(st.sampled_from(("one", "two")))))
        elif kind == 7:
            start = now - now % 60_000 - draw(st.sampled_from((60_000, 60_000, 120_000, 600_000)))
            close, micros = draw(st.floats(1.0, 2.0)), draw(st.integers(0, 10**12))
            log.append(candle(start, draw(st.sampled_from(CONTRACTS)), close, micros, draw(st.booleans())))
        else:
            age = draw(st.sampled_from((0, 100, 3_000, 20_000, 70_000, 150_000, 900_000)))
            event = liquidation(
                number,
                now - age,
                draw(st.sampled_from(CONTRACTS)),
                draw(st.sampled_from(("long", "short"))),
                draw(st.integers(0, 10**12)),
                draw(st.floats(0.001, 1e6)),
                draw(st.sampled_from(("full", "sampled", "unknown"))),
            )
            events.append(event)
            log.append(event)
    return log


def batch(log: list[Record], first_offset: int) -> Batch:
    rows = [liquidation_row(record) for record in log if isinstance(record, Liquidation)]
    statements = []
    before = 0
    for record in log:
        if isinstance(record, Liquidation):
            before += 1
        elif not isinstance(record, Candle):
            statements.append((before, record))
        elif record.closed:
            statements.append((before, candle_row(record)))
    return Batch(rows, statements, first_offset + len(log) - 1)


# Ten-second steps, channels that bring nothing, channels that are down, collectors.
Stretch = tuple[int, frozenset[tuple[str, str]], frozenset[tuple[str, str]], tuple[str, ...]]
stretches: st.SearchStrategy[list[Stretch]] = st.lists(
    st.tuples(
        st.sampled_from((1, 40, 90)),
        st.frozensets(st.sampled_from(CHANNELS), max_size=2),
        st.frozensets(st.sampled_from(CHANNELS), max_size=1),
        st.sampled_from((("one",), ("one", "two"))),
    ),
    min_size=2,
    max_size=5,
)


def log_of(found: list[Stretch]) -> list[Record]:
    """Return a log in which busy channels go quiet, down, or on with another collector."""
    log: list[Record] = []
    now = BASE_MS
    number = 0
    for steps, quiet, down, collectors in found:
        for _ in range(steps):
            now += 10_000
            for channel in CHANNELS:
                for collector in collectors:
                    frames = 0 if channel in quiet else 1 + number % 3
                    state = "down" if channel in down else "up"
                    log.append(heartbeat(now - (collector == "two") * 400, channel, state, collector, frames))
            number += 1
            if number % 7 == 0:
                log.append(liquidation(number, now - 20_000 * (number % 3), CONTRACTS[number % 4]))
            if number % 23 == 0:
                log.append(subscription(now, state="down" if number % 2 else "up", collector=collectors[-1]))
    return log


class Latest(NamedTuple):
    """The newest revision of everything that was published, by key."""

    bars: dict[tuple[str, str, int], dict[str, object]]
    coverage: dict[tuple[str, str, int], Coverage]
    contracts: dict[tuple[str, str, int, str], Coverage]
    silences: dict[tuple[str, str, int], Silence]
    tallies: dict[tuple[str, str, int], Tally]
    anomalies: dict[bytes, Anomaly]
    cascades: dict[bytes, Cascade]


@dataclass
class Published:
    """Everything that checkpoints published, by key and revision."""

    bars: dict[tuple[str, str, int], dict[int, dict[str, object]]] = field(default_factory=dict)
    coverage: dict[tuple[str, str, int], dict[int, Coverage]] = field(default_factory=dict)
    contracts: dict[tuple[str, str, int, str], dict[int, Coverage]] = field(default_factory=dict)
    silences: dict[tuple[str, str, int], dict[int, Silence]] = field(default_factory=dict)
    tallies: dict[tuple[str, str, int], dict[int, Tally]] = field(default_factory=dict)
    anomalies: dict[bytes, dict[int, Anomaly]] = field(default_factory=dict)
    cascades: dict[bytes, dict[int, Cascade]] = field(default_factory=dict)
    pulses: list[Pulse] = field(default_factory=list)
    cells: dict[bytes, bytes] = field(default_factory=dict)

    def add(self, checkpoint: Checkpoint) -> None:
        for bar in checkpoint.bars:
            revisions = self.bars.setdefault((bar["exchange"], bar["symbol"], bar["start"]), {})
            assert revisions.setdefault(bar["revision"], bar) == bar, "one revision, two contents"
        for settled in checkpoint.coverage:
            key = (settled.exchange, settled.channel, settled.start)
            if settled.symbol:
                revisions = self.contracts.setdefault((*key, settled.symbol), {})
            else:
                revisions = self.coverage.setdefault(key, {})
            assert revisions.setdefault(settled.revision, settled) == settled, "one revision, two contents"
        for silence in checkpoint.silences:
            revisions = self.silences.setdefault((silence.exchange, silence.channel, silence.began), {})
            assert revisions.setdefault(silence.revision, silence) == silence, "one revision, two contents"
        for tally in checkpoint.tallies:
            revisions = self.tallies.setdefault((tally.exchange, tally.asset, tally.start), {})
            assert revisions.setdefault(tally.revision, tally) == tally, "one revision, two contents"
        for found in checkpoint.found:
            if isinstance(found, Cascade):
                revisions = self.cascades.setdefault(found.cascade_id, {})
            else:
                revisions = self.anomalies.setdefault(found.anomaly_id, {})
            assert revisions.setdefault(found.revision, found) == found, "one revision, two contents"
        self.pulses += checkpoint.pulses
        for key, value in checkpoint.cells:
            if value is None:
                self.cells.pop(key, None)
            else:
                self.cells[key] = value

    def latest(self) -> Latest:
        def last(by_key: dict) -> dict:
            return {key: revisions[max(revisions)] for key, revisions in by_key.items()}

        kinds = (
            self.bars,
            self.coverage,
            self.contracts,
            self.silences,
            self.tallies,
            self.anomalies,
            self.cascades,
        )
        return Latest(*map(last, kinds))


def run(
    log: list[Record],
    cuts: list[int] | None = None,
    restart: bool = False,
    parameters: WindowParameters = PARAMETERS,
    rules: Rules | None = None,
) -> tuple[Published, PartitionState]:
    """Fold `log` cut at `cuts` with a checkpoint at each; with `restart`, go on from its cells each time."""
    published = Published()
    state = PartitionState()
    engine = None if rules is None else Engine(rules, parameters)
    edges = sorted({0, len(log), *(cut for cut in cuts or () if cut <= len(log))})
    for begin, end in pairwise(edges):
        fold(state, batch(log[begin:end], begin), parameters, engine)
        published.add(take(state, parameters, engine))
        if restart:
            state = restore(published.cells, parameters)
            if rules is not None:
                engine = Engine(rules, parameters)
                engine.restore(published.cells, state)
    return published, state
