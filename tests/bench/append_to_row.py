"""How long an event takes from its append to the rows that SQL shows, at 10,000 events a second.

A process appends events whose times are the present, and notes when it handed each to the producer. The worker is a
process of its own; the sink runs in a thread here, beside the embedded ClickHouse, as in embedded mode. SQL is polled
for what is visible: in `events` the newest sequence number of each asset (an asset's events keep their order), in
`bars` the number of events that each bar holds. Polling makes the times longer, never shorter.
"""

from __future__ import annotations

import os
import pickle
import random
import shutil
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.client import Client
from confluent_kafka import Producer
from market import MINUTE_MS, BarKey, contracts, heartbeats, liquidation
from places import PARTITIONS, BenchError, create_topics, fresh_folder, last_lines, running_broker
from race import WORKER, worker_environment

from pipeline.codec import Codec
from pipeline.embedded.child import end_child, start_child
from pipeline.kafka_client import producer_config
from pipeline.settings import Settings
from pipeline.topics import EVENTS, topic_name
from pipeline.warehouse.client import connect
from pipeline.warehouse.migrate import migrate
from pipeline.warehouse.sink import run_sink

NAMES = ("append_to_row_p99_ms",)
RATE_PER_S = 10_000
SECONDS = 30
# Times and first deliveries of a fresh group are no part of a running system.
LEAD_IN_S = 5
CONTRACTS = 500
PREFIX = "live-"

# Looking costs time that the sink would use; looking rarely makes every latency longer by half the pause.
_POLL_S = 0.1
_LOOK = """
SELECT '' AS exchange, asset AS name, toInt64(0) AS start, max(source.sequence) AS place
FROM liquidations_data.events WHERE event_time >= now64(3) - toIntervalSecond(40) GROUP BY asset
UNION ALL
SELECT exchange, symbol, toUnixTimestamp64Milli(start), max(long_count + short_count)
FROM liquidations_data.bars WHERE start >= now64(3) - toIntervalSecond(100) GROUP BY exchange, symbol, start
"""
_SLICE_S = 0.01
_READY_TIMEOUT_S = 60.0
_DRAIN_TIMEOUT_S = 30.0


@dataclass(slots=True)
class Waiting:
    """Events in the order in which they become visible, with the time of their append, and how many have been seen."""

    places: list[int]
    appended: list[float]
    seen: int = 0

    def reach(self, place: int, now: float) -> Iterator[float]:
        """Yield how long each event up to `place` took to become visible by `now`."""
        while self.seen < len(self.places) and self.places[self.seen] <= place:
            yield now - self.appended[self.seen]
            self.seen += 1


def take(wanted: frozenset[str], records: int, repeats: int) -> tuple[dict[str, float], Mapping[str, Any]]:  # noqa: ARG001
    """Run for 30 s once and return the 99th percentile from append to bar."""
    folder = fresh_folder("append-to-row")
    data = tempfile.mkdtemp(prefix="bench-live-")
    with running_broker("kafka-live") as bootstrap:
        create_topics(bootstrap, PREFIX)
        settings = Settings(bootstrap_servers=bootstrap, topic_prefix=PREFIX, partitions=PARTITIONS)
        worker_log = folder / "log"
        worker = start_child(WORKER.program, worker_log, os.environ | worker_environment(bootstrap, PREFIX))
        client = connect(f"chdb://{data}")
        migrate(client)
        stop = threading.Event()
        sink_client = connect(f"chdb://{data}")
        sink = threading.Thread(
            target=run_sink, args=(settings, Codec(), stop), kwargs={"client": sink_client}, daemon=True
        )
        sink.start()
        schedule_path = folder / "schedule.pickle"
        source = get_context("spawn").Process(target=append_on_time, args=(settings, schedule_path), daemon=True)
        source.start()
        try:
            polls = _poll_until_drained(client, schedule_path, lambda: worker.poll() is None)
        except BenchError as error:
            raise BenchError(f"{error}\n{last_lines(worker_log)}") from error
        finally:
            stop.set()
            sink.join(20)
            source.kill()
            source.join()
            end_child(worker)
            client.close()
            sink_client.close()
            shutil.rmtree(data, ignore_errors=True)
    events, bars = _latencies(read_sent(schedule_path), polls)
    how = {
        "append_to_bar_ms": _percentiles(bars),
        "append_to_event_ms": _percentiles(events),
        "events": len(bars),
        "polls": len(polls),
        "rate_per_s": RATE_PER_S,
    }
    return {"append_to_row_p99_ms": how["append_to_bar_ms"]["p99"]}, {"append_to_row": how}


# What was appended: for each event its asset, its bar, and when it was handed to the producer (None: lead-in).
Sent = list[tuple[str, BarKey, float | None]]
# One look at the tables: when it was done, the newest sequence by asset, the events in each bar.
Poll = tuple[float, dict[str, int], dict[BarKey, int]]


def append_on_time(settings: Settings, schedule_path: Path) -> None:
    """Append events and heartbeats when they are due, then write down when each was appended."""
    codec = Codec()
    randomness = random.Random(3)
    market = contracts(CONTRACTS)
    topic = topic_name(EVENTS, settings.topic_prefix)
    producer = Producer(producer_config(settings, "bench"))
    # Encoded beforehand: the time it takes here is not the pipeline's.
    encoding_s = 3 + RATE_PER_S * (SECONDS + LEAD_IN_S) / 15_000
    start_ms = (int(time.time() + encoding_s) // 1 + 1) * 1000
    total = RATE_PER_S * (SECONDS + LEAD_IN_S)
    planned = []
    for number in range(total):
        contract = randomness.choice(market)
        time_ms = start_ms + number * 1000 // RATE_PER_S
        event = liquidation(contract, number, time_ms, randomness)
        bar = (contract.exchange, contract.symbol, time_ms - time_ms % MINUTE_MS)
        planned.append((codec.encode(event), contract.asset, bar))
    sent: Sent = []
    per_slice = int(RATE_PER_S * _SLICE_S)
    begun = max(time.time(), start_ms / 1000)
    for first in range(0, total, per_slice):
        due = begun + first / RATE_PER_S
        while (left := due - time.time()) > 0:
            producer.poll(left)
        if first % RATE_PER_S == 0:
            for beat in heartbeats(start_ms + first * 1000 // RATE_PER_S):
                for partition in range(settings.partitions):
                    producer.produce(topic, codec.encode(beat), partition=partition)
        for value, asset, bar in planned[first : first + per_slice]:
            counted = first >= RATE_PER_S * LEAD_IN_S
            sent.append((asset, bar, time.time() if counted else None))
            producer.produce(topic, value, asset)
    producer.flush(30)
    partial = schedule_path.with_suffix(".partial")
    with partial.open("wb") as file:
        pickle.dump(sent, file)
    partial.rename(schedule_path)


def read_sent(schedule_path: Path) -> Sent:
    """Return what was appended, as the appending process wrote it down."""
    with schedule_path.open("rb") as file:
        sent: Sent = pickle.load(file)  # noqa: S301 - written by our own child
    return sent


def _poll_until_drained(client: Client, schedule_path: Path, alive: Callable[[], bool]) -> list[Poll]:
    """Look at both tables again and again until they hold every event."""
    total = RATE_PER_S * (SECONDS + LEAD_IN_S)
    deadline = time.monotonic() + _READY_TIMEOUT_S + total / 10_000 + SECONDS + LEAD_IN_S + _DRAIN_TIMEOUT_S
    polls: list[Poll] = []
    last_of_asset: dict[str, int] = {}
    seen_events: dict[str, int] = {}
    seen_bars: dict[BarKey, int] = {}
    while True:
        for exchange, name, start, place in client.query(_LOOK).result_rows:
            if exchange:
                seen_bars[exchange, name, start] = place
            else:
                seen_events[name] = place
        now = time.time()
        polls.append((now, dict(seen_events), dict(seen_bars)))
        if not last_of_asset and schedule_path.exists():
            last_of_asset = {asset: number for number, (asset, _, _) in enumerate(read_sent(schedule_path))}
        if last_of_asset and seen_events == last_of_asset and sum(seen_bars.values()) >= total:
            return polls
        if not alive():
            raise BenchError("the worker ended")
        if time.monotonic() > deadline:
            raise BenchError(f"{sum(seen_bars.values())} of {total} events are in a bar")
        time.sleep(_POLL_S)


def _latencies(sent: Sent, polls: list[Poll]) -> tuple[list[float], list[float]]:
    """Return each event's seconds from append to its row in `events` and to its bar."""
    by_asset: defaultdict[str, Waiting] = defaultdict(lambda: Waiting([], []))
    by_bar: defaultdict[BarKey, Waiting] = defaultdict(lambda: Waiting([], []))
    held: defaultdict[BarKey, int] = defaultdict(int)
    for sequence, (asset, bar, appended) in enumerate(sent):
        held[bar] += 1
        if appended is None:
            continue
        for waiting, place in ((by_asset[asset], sequence), (by_bar[bar], held[bar])):
            waiting.places.append(place)
            waiting.appended.append(appended)
    events: list[float] = []
    bars: list[float] = []
    for now, seen_events, seen_bars in polls:
        for asset, sequence in seen_events.items():
            events += by_asset[asset].reach(sequence, now)
        for bar, count in seen_bars.items():
            bars += by_bar[bar].reach(count, now)
    counted = sum(1 for _, _, appended in sent if appended is not None)
    if (len(events), len(bars)) != (counted, counted):
        raise BenchError(f"{counted} events were appended, {len(events)} rows and {len(bars)} bars were seen")
    return events, bars


def _percentiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        f"p{share}": round(ordered[min(len(ordered) - 1, len(ordered) * share // 100)] * 1000, 1)
        for share in (50, 90, 99, 100)
    }
