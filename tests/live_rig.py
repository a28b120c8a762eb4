"""A whole live pipeline of processes against the exchanges on loopback, and what its rows must be.

The expected rows come from the exchanges' own ledger. What was sent while a heartbeat vouches for its channel must be
there, once; what nobody heard must not be there, and no heartbeat may vouch for its time. Between a message that left
the exchange and a collector's next sign of life lies what a kill may take or leave. A message counts as sent while its
channel was vouched for only if that holds from before it was handed to the system until afterwards.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from conftest import wait_until
from fault_rig import Rig
from last_seen import Event, last_seen

from pipeline.embedded.child import end_child, start_child
from pipeline.embedded.exchange_server import EXCHANGES, Play, ServedLedger
from pipeline.embedded.exchange_server.addresses import addresses
from pipeline.embedded.exchange_server.serving import ServedExchanges, served
from pipeline.embedded.parts import environment_of
from pipeline.records import Heartbeat, Subscription
from pipeline.settings import Settings
from pipeline.topics import EVENTS
from pipeline.warehouse.client import connect

# Bybit's topics are contracts: only their subscriptions tell what is covered.
PER_SYMBOL = {("bybit", "linear"), ("bybit", "inverse")}


def channel_of(row: dict) -> tuple[str, str]:
    """Return exchange and channel that carry a row, by the contract's name."""
    exchange, symbol = row["exchange"], row["symbol"]
    if exchange == "bybit":
        return exchange, "linear" if symbol.endswith("USDT") else "inverse"
    if exchange == "htx":
        return exchange, "linear" if symbol.endswith("USDT") else "coin_swap"
    if exchange == "gate":
        return exchange, "usdt" if symbol.endswith("USDT") else "btc"
    names = {"binance": "forceOrder", "okx": "liquidation-orders", "bitmex": "liquidation", "deribit": "trades"}
    return exchange, names[exchange]


def event_of(row: dict) -> Event:
    return row["exchange"], row["symbol"], row["position"], row["event_time"], row["notional_micros"]


@dataclass
class Covered:
    """Times (ms) for which heartbeats, and the subscriptions of contracts, vouch."""

    channels: dict[tuple[str, str], list[tuple[int, int]]]
    contracts: dict[tuple[str, str, str], list[tuple[int, int]]]

    def holds(self, row: dict, from_ms: float, until_ms: float) -> bool:
        """Tell whether all of a time is vouched for."""
        exchange, channel = channel_of(row)
        if not _inside(self.channels.get((exchange, channel), []), from_ms, until_ms):
            return False
        if (exchange, channel) not in PER_SYMBOL:
            return True
        return _inside(self.contracts.get((exchange, channel, row["symbol"]), []), from_ms, until_ms)

    def alive_ms(self, channel: tuple[str, str], start_ms: int) -> int:
        end_ms = start_ms + 60_000
        return sum(max(0, min(end, end_ms) - max(begin, start_ms)) for begin, end in self.channels.get(channel, []))


def _inside(spans: list[tuple[int, int]], from_ms: float, until_ms: float) -> bool:
    return any(begin < from_ms and until_ms <= end for begin, end in spans)


def covered_by(records: list[object]) -> Covered:
    """Return what the heartbeats and subscriptions of one collector, in the log's order, say."""
    channels = defaultdict(list)
    last: dict[tuple[str, str], Heartbeat] = {}
    contracts = defaultdict(list)
    begun: dict[tuple[str, str, str], int] = {}
    latest = 0
    for record in records:
        if isinstance(record, Heartbeat):
            key = (record.exchange, record.channel)
            latest = max(latest, record.time)
            if record.state == "up" and key in last and last[key].time < record.time:
                spans = channels[key]
                if spans and spans[-1][1] == last[key].time:
                    spans[-1] = (spans[-1][0], record.time)
                else:
                    spans.append((last[key].time, record.time))
            last[key] = record
        elif isinstance(record, Subscription):
            name = (record.exchange, record.channel, record.symbol)
            if record.state == "up":
                begun.setdefault(name, record.time)
            elif name in begun:
                contracts[name].append((begun.pop(name), record.time))
    for name, begin in begun.items():
        contracts[name].append((begin, latest))
    return Covered(channels, contracts)


class LiveRig:
    """Exchanges, ingest, worker and sink; `rig` has the settings and the worker and the sink."""

    def __init__(self, rig: Rig, exchanges: ServedExchanges, ledger: ServedLedger, folder: Path) -> None:
        self.rig, self.exchanges, self.ledger = rig, exchanges, ledger
        self._folder = folder
        self._started = 0
        self._children = []
        self._worker = rig.start("worker")

    def settings_of_ingest(self) -> Settings:
        return Settings(
            **{
                **self.rig.settings.model_dump(),
                "exchanges": addresses(self.exchanges.server.ports),
                "spool_dir": self._folder / "spool",
                "retry_first_s": 0.2,
            }
        )

    def start_ingest(self, *words: str):
        self._started += 1
        log = self._folder / f"ingest-{self._started}.log"
        chosen = [word for exchange in EXCHANGES for word in ("--exchange", exchange)]
        command = [sys.executable, "-m", "pipeline", "ingest", *chosen, "--no-market-data", *words]
        child = start_child(command, log, environment_of(self.settings_of_ingest()))
        child.rig_log = log
        self._children.append(child)
        return child

    def wait_for_topics(self) -> None:
        """Wait until all but the quiet channels have subscribed and the last topics are confirmed."""
        wait_until(lambda: len(self._subscribed_paths()) >= 9, 60.0)
        seen = -1
        while seen != (seen := self._topics()):
            time.sleep(1.5)

    def _topics(self) -> int:
        return sum(len(client.topics) for client in self.exchanges.server._every())

    def _subscribed_paths(self) -> set[tuple[str, str]]:
        return {(client.exchange, client.path) for client in self.exchanges.server._every() if client.topics}

    def _keep_worker(self) -> None:
        """Start the worker again if it gave up on the broker, as compose does; nothing else may end it."""
        code = self._worker.poll()
        if code is not None:
            said = self._worker.rig_log.read_text()
            assert code == 1, (code, said[-2000:])
            assert "KafkaUnavailableError" in said.rstrip().rpartition("\n")[2], said[-2000:]
            self._worker = self.rig.start("worker")

    def kill(self, child) -> None:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()

    def stop(self) -> None:
        for child in self._children:
            if child.poll() is None:
                end_child(child, 20.0)

    def check(self, least: int = 100) -> Covered:
        """Compare rows with the ledger. Everything must have ended but worker and sink, which catch up first."""
        self.rig.wait_for_worker(meanwhile=self._keep_worker)
        self.rig.wait_for_sink()
        self.rig.stop()
        covered = covered_by(self._partition_zero())
        required, possible, unheard = self._expected(covered)
        stored = self._stored_events()
        assert sum(required.values()) >= least, required
        missing = required - stored
        assert not missing, f"{len(missing)} vouched for and lost, such as {self._last_seen(missing)}"
        invented = stored - possible
        assert not invented, f"{len(invented)} never sent, or twice, such as {list(invented.items())[:3]}"
        claimed = [row for row, time_ms in unheard if covered.holds(row, time_ms, time_ms)]
        assert not claimed, f"{len(claimed)} heard by nobody in covered time, such as {claimed[:3]}"
        self._check_coverage(covered)
        return covered

    def _expected(self, covered: Covered) -> tuple[Counter[Event], Counter[Event], list[tuple[dict, float]]]:
        """Return the events that must be there, those that may, and what nobody heard, with its time (ms)."""
        by_socket: dict[int, Counter[Event]] = defaultdict(Counter)
        surely: dict[int, Counter[Event]] = defaultdict(Counter)
        unheard = []
        for entry in self.ledger.entries:
            if entry["what"] not in ("sent", "unheard"):
                continue
            time_ms = entry["time_us"] / 1000
            begun_ms = entry.get("begun_us", entry["time_us"]) / 1000
            for row in entry["rows"]:
                if row["kind"] == "refused":
                    continue
                if entry["what"] == "unheard":
                    unheard.append((row, time_ms))
                    continue
                # Repetitions of a message are written as such; an exchange sends the same row twice as two events.
                if row["kind"] == "event":
                    by_socket[entry["socket"]][event_of(row)] += 1
                    surely[entry["socket"]][event_of(row)] += covered.holds(row, begun_ms, time_ms)
        possible: Counter[Event] = Counter()
        required: Counter[Event] = Counter()
        for counts in by_socket.values():
            possible |= counts
        for counts in surely.values():
            required |= counts
        return +required, possible, unheard

    def _last_seen(self, missing: Counter[Event]) -> list[tuple[Event, str]]:
        return [(event, last_seen(self.rig, event)) for event in list(missing)[:3]]

    def _stored_events(self) -> Counter[Event]:
        client = connect(self.rig.settings.clickhouse_url)
        try:
            rows = client.query(
                "SELECT exchange, symbol, position, if(event_time_kind = 'received', 0,"
                " toUnixTimestamp64Milli(event_time)), notional_micros FROM liquidations.events"
            ).result_rows
        finally:
            client.close()
        return Counter(tuple(row) for row in rows)

    def _check_coverage(self, covered: Covered) -> None:
        """Every closed minute in `coverage` holds what the heartbeats vouch for, of channels without silences."""
        client = connect(self.rig.settings.clickhouse_url)
        try:
            rows = client.query(
                "SELECT exchange, channel, toUnixTimestamp64Milli(start), alive_ms FROM liquidations.coverage"
            ).result_rows
            bars = client.query(
                "SELECT sum(toInt128(round((long_usd + short_usd) * 1e6))), sum(long_count + short_count)"
                " FROM liquidations.bars_1m"
            ).first_row
            events = client.query("SELECT sum(toInt128(notional_micros)), count() FROM liquidations.events").first_row
        finally:
            client.close()
        wrong = [
            (*row, covered.alive_ms((row[0], row[1]), row[2]))
            for row in rows
            if covered.alive_ms((row[0], row[1]), row[2]) != row[3]
        ]
        assert not wrong, wrong
        assert tuple(bars) == tuple(events)

    def _partition_zero(self) -> list[object]:
        """Return heartbeats of one partition, which all have, and the subscriptions of all."""
        found: dict[object, object] = {}
        # A heartbeat is in every partition; the first copy keeps the order of its partition.
        for record in self.rig.records(EVENTS):
            if isinstance(record, Heartbeat | Subscription):
                found.setdefault(record, record)
        return sorted(found, key=lambda record: record.time)


@contextmanager
def live_rig(
    bootstrap_servers: str, folder: Path, prefix: str, play: Play, partitions: int = 2, **changes: object
) -> Iterator[LiveRig]:
    """Start exchanges, worker and sink; ingest is the test's to start."""
    folder.mkdir(parents=True, exist_ok=True)
    ledger = ServedLedger()
    rig = Rig(bootstrap_servers, folder, prefix, partitions, **changes)
    rig.migrate()
    live: LiveRig | None = None
    with served(play, ledger) as exchanges:
        try:
            rig.start("sink")
            live = LiveRig(rig, exchanges, ledger, folder)
            yield live
        finally:
            if live is not None:
                live.stop()
            rig.stop()
