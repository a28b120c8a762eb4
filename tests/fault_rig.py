"""A pipeline of real processes that tests may kill, and what its rows must be in the end.

The expected rows come from one plain fold of the published log, which knows no processes, partitions or batches.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from brokers import COMMIT_LOCKS
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from event_logs import Record, batch, candle, heartbeat, liquidation, subscription

from pipeline.codec import Codec
from pipeline.detect.engine import Engine
from pipeline.detect.market.market import Market
from pipeline.embedded.child import end_child, start_child
from pipeline.ingest.publisher import Publisher
from pipeline.ingest.topic_admin import create_topics
from pipeline.kafka_client import consumer_config
from pipeline.records import Anomaly, Bar, Cascade, Coverage, DeadLetter, Heartbeat, MarketDelay, Silence, Tally
from pipeline.settings import Settings
from pipeline.topics import ANOMALIES, BARS, COVERAGE, DEAD_LETTERS, Topic, topic_name
from pipeline.warehouse.client import connect
from pipeline.warehouse.lag import sink_lag, worker_lag
from pipeline.warehouse.migrate import migrate
from pipeline.windows.checkpoint import take
from pipeline.windows.fold import fold
from pipeline.windows.parameters import WindowParameters
from pipeline.windows.state import PartitionState
from pipeline.worker.rules_file import rules_in_force

SELF_STOPPING = Path(__file__).with_name("self_stopping.py")
FORGETFUL_WORKER = Path(__file__).with_name("forgetful_worker.py")
BEGIN_MS = 1_700_000_040_000
ASSETS = 40
CHANNELS = {"binance": "forceOrder", "bybit": "linear"}


def market_log(seed: int, seconds: int, events_per_second: int) -> list[Record]:
    """Return a log that starts with heartbeats, with repetitions, late and too late events.

    In every fourth minute longs of few assets are closed, one after the other; of these assets there are candles.
    """
    chance = random.Random(seed)
    log: list[Record] = []
    past = []
    number = 0
    for second in range(seconds):
        now = BEGIN_MS + second * 1_000
        log.extend(heartbeat(now, channel, frames=events_per_second) for channel in CHANNELS.items())
        is_crash = second // 60 % 4 == 3
        if second % 60 == 5:
            log.extend(minute_candles(now - 65_000, chance))
        for _ in range(events_per_second):
            number += 1
            kind = chance.random()
            if kind < 0.03 and past:
                log.append(chance.choice(past[-2_000:]))
                continue
            age_ms = chance.randrange(900) if kind < 0.95 else chance.choice((30_000, 90_000, 400_000, 1_500_000))
            asset = f"A{min(int(chance.expovariate(1.0 if is_crash else 0.1)), ASSETS - 1)}"
            exchange = chance.choice(sorted(CHANNELS))
            event = liquidation(
                number,
                max(BEGIN_MS - 60_000, now - age_ms),
                (exchange, f"{asset}USDT", asset, CHANNELS[exchange]),
                "long" if is_crash and chance.random() < 0.9 else chance.choice(("long", "short")),
                chance.randrange(10**11 if is_crash else 10**10),
                round(chance.uniform(1, 100), 2),
            )
            event = replace(event, received_time=now * 1000)
            past.append(event)
            log.append(event)
    end = BEGIN_MS + seconds * 1_000
    log.extend(heartbeat(end, channel) for channel in CHANNELS.items())
    log.extend(heartbeat(end + 80_000, channel, "down") for channel in CHANNELS.items())
    return log


def minute_candles(start: int, chance: random.Random) -> list[Record]:
    """Return the candles of five assets in the minute from `start`, few of which are not closed."""
    contracts = [(exchange, f"A{n}USDT", f"A{n}", channel) for exchange, channel in CHANNELS.items() for n in range(5)]
    return [
        candle(start, contract, chance.uniform(90, 100), chance.randrange(10**12), chance.random() < 0.95)
        for contract in contracts
    ]


def log_with_a_silence(seed: int) -> list[Record]:
    """Return the log of 40 minutes in which Binance stays up and sends nothing for 10, and one contract is given up."""
    chance = random.Random(seed)
    contracts = [("bybit", f"A{number}USDT", f"A{number}", "linear") for number in range(5)]
    log: list[Record] = [subscription(BEGIN_MS - 1_000, contract) for contract in contracts]
    for second in range(2_400):
        now = BEGIN_MS + second * 1_000
        for number, channel in enumerate(CHANNELS.items()):
            frames = int(chance.random() < 0.6)
            is_silent = channel[0] == "binance" and 1_500 <= second < 2_100
            log.append(heartbeat(now, channel, frames=0 if is_silent else frames))
            if frames and not is_silent:
                asset = f"A{chance.randrange(5)}"
                event = liquidation(second * 2 + number, now - 300, (channel[0], f"{asset}USDT", asset, channel[1]))
                log.append(event)
        if second % 400 == 200:
            log.append(subscription(now, contracts[1], "down" if second % 800 == 200 else "up"))
    return log


@dataclass(frozen=True)
class Rows:
    """The newest revision of everything that the worker says."""

    bars: dict[tuple[str, str, int], Bar]
    coverage: dict[tuple[str, ...], Coverage]  # exchange, channel, start, symbol or nothing
    tallies: dict[tuple[str, str, int], Tally]
    silences: dict[tuple[str, str, int], Silence]
    anomalies: dict[tuple[bytes], Anomaly]
    cascades: dict[tuple[bytes], Cascade]


def differences(found: Rows, expected: Rows) -> list[str]:
    """Return what rows differ in, a line for each of the first ones: whole rows would fill a log."""
    told = []
    for kind in fields(Rows):
        had, wanted = getattr(found, kind.name), getattr(expected, kind.name)
        for key in sorted(had.keys() | wanted.keys(), key=repr):
            if key not in had:
                told.append(f"{kind.name} {key} is missing: {wanted[key]}")
            elif key not in wanted:
                told.append(f"{kind.name} {key} is not expected: {had[key]}")
            elif had[key] != wanted[key]:
                pairs = {
                    one.name: (getattr(had[key], one.name), getattr(wanted[key], one.name)) for one in fields(had[key])
                }
                unequal = {name: (one, other) for name, (one, other) in pairs.items() if one != other}
                told.append(f"{kind.name} {key}: {unequal}")
    return [*told[:20], f"{len(told)} rows differ"] if told else []


Said = Bar | Coverage | Tally | Silence | Anomaly | Cascade


def key_of(record: Said) -> tuple[object, ...]:
    """Return what has revisions."""
    if isinstance(record, Bar):
        return record.exchange, record.symbol, record.start
    if isinstance(record, Tally):
        return record.exchange, record.asset, record.start
    if isinstance(record, Silence):
        return record.exchange, record.channel, record.began
    if isinstance(record, Anomaly):
        return (record.anomaly_id,)
    if isinstance(record, Cascade):
        return (record.cascade_id,)
    return record.exchange, record.channel, record.start, record.symbol


class Revisions:
    """Keep the newest revisions, and check that none has two contents."""

    def __init__(self) -> None:
        self._seen: dict[object, object] = {}
        kinds = (Bar, Coverage, Tally, Silence, Anomaly, Cascade)
        self._newest: dict[type, dict[tuple[object, ...], Said]] = {kind: {} for kind in kinds}

    def add(self, record: Said) -> None:
        """Take a record in."""
        key = key_of(record)
        assert self._seen.setdefault((type(record), key, record.revision), record) == record
        known = self._newest[type(record)].get(key)
        if known is None or record.revision > known.revision:
            self._newest[type(record)][key] = record

    def rows(self) -> Rows:
        """Return the newest of each kind."""
        return Rows(*self._newest.values())


def plain_fold(log: list[Record], settings: Settings) -> Rows:
    parameters = WindowParameters(settings.lateness_ms, settings.correction_ms, settings.behind_ms)
    rules = rules_in_force(settings.rules_file)
    state, engine, market = PartitionState(), Engine(rules, parameters), Market(rules, 1)
    fold(state, batch(log, 0), parameters, engine)
    taken = take(state, parameters, engine)
    market.take_pulses(taken.pulses, len(taken.pulses))
    bars = [Bar(**fields) for fields in taken.bars]
    anomalies = [*taken.found, *market.take().anomalies]
    found = Revisions()
    for record in (*bars, *taken.coverage, *taken.tallies, *taken.silences, *anomalies):
        found.add(record)
    return found.rows()


class Rig:
    """One pipeline under its own prefix on a broker."""

    def __init__(
        self, bootstrap_servers: str, folder: Path, prefix: str, partitions: int = 6, **changes: object
    ) -> None:
        self.folder = folder
        self.codec = Codec()
        changes.setdefault("commit_lock_file", COMMIT_LOCKS.get(bootstrap_servers))
        self.settings = Settings(
            bootstrap_servers=bootstrap_servers,
            topic_prefix=prefix,
            partitions=partitions,
            clickhouse_url=f"chdb://{folder}/clickhouse",
            **changes,
        )
        self._children = []
        self._started = 0
        self.failure: BaseException | None = None
        create_topics(self.settings)

    def start(self, role: str, *stop_at: str | int):
        """Start a worker or a sink, with a step at which it kills itself if given."""
        return self._start(role, SELF_STOPPING, role, *map(str, stop_at))

    def start_forgetful_worker(self):
        """Start a worker that loses some of its fetched batches."""
        return self._start("forgetful", FORGETFUL_WORKER)

    def _start(self, name: str, *command: str | Path):
        self._started += 1
        environment = {
            **os.environ,
            **{
                f"LIQUIDATIONS_{name.upper()}": str(value)
                for name, value in self.settings.model_dump(exclude_none=True).items()
            },
        }
        child = start_child(
            [sys.executable, *command],
            self.folder / f"{name}-{self._started}.log",
            environment,
        )
        child.rig_log = self.folder / f"{name}-{self._started}.log"
        self._children.append(child)
        return child

    def migrate(self) -> None:
        client = connect(self.settings.clickhouse_url)
        migrate(client)
        client.close()

    def publish(self, log: list[Record], over_s: float = 0.0) -> threading.Thread:
        """Publish the log in its order, spread over about `over_s`; join the thread to know that it is confirmed."""

        def work() -> None:
            try:
                publisher = Publisher(self.settings, self.codec)
                began = time.monotonic()
                for number, record in enumerate(log):
                    if isinstance(record, Heartbeat):
                        publisher.heartbeat(record)
                    else:
                        publisher.event(record)
                    if over_s and number % 200 == 0:
                        time.sleep(max(0.0, over_s * number / len(log) - (time.monotonic() - began)))
                publisher.flush(180)
            except BaseException as error:
                self.failure = error

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    def worker_lag(self) -> dict[str, int]:
        """Return how many records the worker has not committed yet, by topic; empty if there are none."""
        if self.failure is not None:
            raise self.failure
        return {topic: left for topic, left in worker_lag(self.settings).items() if left}

    def wait_for_worker(self, timeout_s: float = 120.0, meanwhile: Callable[[], None] = lambda: None) -> None:
        def lag() -> dict[str, int]:
            meanwhile()
            return self.worker_lag()

        self._wait(lag, timeout_s)

    def wait_for_sink(self, timeout_s: float = 120.0) -> None:
        self._wait(lambda: sink_lag(self.settings), timeout_s)

    def _wait(self, lag, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while left := lag():
            assert time.monotonic() < deadline, f"records are left: {left}; {self.last_words()}"
            time.sleep(0.3)

    def last_words(self) -> str:
        return "; ".join(
            f"{child.rig_log.name}: {child.poll()} {child.rig_log.read_text()[-300:]}" for child in self._children[-4:]
        )

    def records(self, topic: Topic) -> Iterator[object]:
        """Yield every committed record of a topic."""
        return map(self.codec.decode, self.values(topic))

    def values(self, topic: Topic) -> Iterator[bytes]:
        """Yield every committed value of a topic."""
        name = topic_name(topic, self.settings.topic_prefix)
        consumer = Consumer(consumer_config(self.settings, "reader", "reader"))
        partitions = consumer.list_topics(name, timeout=10).topics[name].partitions
        consumer.assign([TopicPartition(name, partition, OFFSET_BEGINNING) for partition in partitions])
        ended = set()
        while len(ended) < len(partitions):
            for message in consumer.consume(5_000, 1.0):
                if message.error() is None:
                    yield message.value()
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
        consumer.close()

    def published_rows(self) -> Rows:
        """Return the newest revisions on the topics, and check that no revision was published with two contents."""
        found = Revisions()
        for topic in (BARS, COVERAGE, ANOMALIES):
            for record in self.records(topic):
                if not isinstance(record, MarketDelay):
                    found.add(record)
        return found.rows()

    def dead_letters(self) -> list[DeadLetter]:
        return list(self.records(DEAD_LETTERS))

    def stored_rows(self) -> tuple[list[dict], list[dict], int]:
        """Return bars and coverage as the views show them, and the number of events. The sink must have ended."""
        client = connect(self.settings.clickhouse_url)
        try:
            bars = client.query(
                "SELECT exchange, symbol, asset, toUnixTimestamp64Milli(start) AS start, long_usd, short_usd,"
                " long_count, short_count, largest_usd, price_low, price_high, late_count, closed, coverage, revision"
                " FROM liquidations.bars_1m ORDER BY exchange, symbol, start"
            )
            coverage = client.query(
                "SELECT exchange, channel, toUnixTimestamp64Milli(start) AS start, alive_ms"
                " FROM liquidations.coverage ORDER BY exchange, channel, start"
            )
            events = client.query("SELECT count(), uniqExact(event_id) FROM liquidations.events").first_row
            assert events[0] == events[1]
            return list(bars.named_results()), list(coverage.named_results()), events[0]
        finally:
            client.close()

    def query(self, text: str) -> list[tuple]:
        """Return the rows of a query on the stored data. The sink must have ended."""
        client = connect(self.settings.clickhouse_url)
        try:
            return [tuple(row) for row in client.query(text).result_rows]
        finally:
            client.close()

    def stop(self) -> None:
        for child in self._children:
            if child.poll() is None:
                child.send_signal(signal.SIGCONT)
                end_child(child, patience_s=15.0)


def as_stored(rows: Rows) -> tuple[list[dict], list[dict]]:
    """Return what the views must show for these rows."""
    bars = [
        {
            "exchange": bar.exchange,
            "symbol": bar.symbol,
            "asset": bar.asset,
            "start": bar.start,
            "long_usd": bar.long_micros / 1e6,
            "short_usd": bar.short_micros / 1e6,
            "long_count": bar.long_count,
            "short_count": bar.short_count,
            "largest_usd": bar.largest_micros / 1e6,
            "price_low": bar.price_low,
            "price_high": bar.price_high,
            "late_count": bar.late_count,
            "closed": bar.closed,
            "coverage": bar.coverage,
            "revision": bar.revision,
        }
        for _, bar in sorted(rows.bars.items())
    ]
    coverage = [
        {key: value for key, value in asdict(one).items() if key in {"exchange", "channel", "start", "alive_ms"}}
        for _, one in sorted(rows.coverage.items())
        if not one.symbol
    ]
    return bars, coverage
