"""The Faust application: it decides who reads which partition, and delivers the batches.

Faust keeps the membership of the group, the assignment of partitions and the offsets. State and outputs are written by
`pipeline.worker.owned_partition` in transactions of Kafka's own.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import faust
import structlog
from faust.types import TP
from mode.supervisors import CrashingSupervisor

from pipeline.codec import Codec
from pipeline.detect.rules import Rules
from pipeline.settings import Settings
from pipeline.topics import EVENTS, MARKET_STATE, PULSES, WORKER_STATE, topic_name
from pipeline.worker.committing import Committing, Load
from pipeline.worker.decode import Decoder
from pipeline.worker.events_fold import EventsFold
from pipeline.worker.market_fold import MarketFold
from pipeline.worker.owned_partition import FencedError, Observe, OwnedPartition, Place
from pipeline.worker.parameters import window_parameters
from pipeline.worker.partition_fold import PartitionFold
from pipeline.worker.rules_file import rules_in_force

_log = structlog.get_logger()

# A partition that is taken away waits this long for its last transaction.
_RELEASE_PATIENCE_S = 4.0
_COMMIT_THREADS = 16


class Raw(faust.Schema):  # type: ignore[type-arg]
    """Hand the batch to the agent as the transport made it."""

    def loads_key(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> Any:  # noqa: ANN401, ARG002
        """Return no key."""
        return None

    def loads_value(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> Any:  # noqa: ANN401, ARG002
        """Return the batch."""
        return message.value


@dataclass(frozen=True, slots=True)
class Source:
    """A topic that an agent reads, how its partitions are folded, and where their state lies.

    Topics are named as on the broker; `owner` and a partition's number make the name of its transactions.
    """

    agent: str
    topic: str
    partitions: int
    owner: str
    cells: str
    fold: Callable[[int], PartitionFold]
    observe: Observe


class Worker:
    """The agents, and the partitions they hold."""

    def __init__(self, settings: Settings, codec: Codec, observe: Observe, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        rules = rules_in_force(settings.rules_file)
        sources = [_events_source(settings, codec, rules, observe)]
        if rules.has_market_rules:
            sources.append(_pulses_source(settings, codec, rules, observe))
        self._sources = {source.topic: source for source in sources}
        self._executor = ThreadPoolExecutor(_COMMIT_THREADS, thread_name_prefix="commit")
        self._assigned: set[TP] = set()
        # By topic: pulses come as long as checkpoints of events are taken, and are no reason to wait with these.
        self._loads = {source.topic: Load() for source in sources}
        self._held: dict[TP, asyncio.Future[Committing]] = {}
        self.failure: BaseException | None = None
        self.app = self._application()

    def _application(self) -> faust.App:
        settings = self._settings
        session_s = settings.session_timeout_ms / 1000
        app = faust.App(
            f"{settings.topic_prefix}worker",
            broker=[f"batches://{server}" for server in settings.bootstrap_servers.split(",")],
            store="memory://",
            web_enabled=False,
            topic_disable_leader=True,
            topic_allow_declare=False,
            stream_wait_empty=False,
            # Acknowledged batches are committed by time only: the default count would be reached at every batch.
            broker_commit_interval=0.5,
            broker_commit_every=1_000_000_000,
            broker_max_poll_records=settings.max_batch_records,
            consumer_max_fetch_size=4 * 1024 * 1024,
            consumer_auto_offset_reset="earliest",
            broker_session_timeout=session_s,
            broker_heartbeat_interval=session_s / 6,
            broker_rebalance_timeout=session_s / 2,
            broker_request_timeout=max(30.0, session_s * 2),
            agent_supervisor=CrashingSupervisor,
            autodiscover=False,
            loghandlers=[],
            logging_config={"version": 1, "disable_existing_loggers": False},
            datadir=str(self._folder),
        )
        for source in self._sources.values():
            topic = app.topic(source.topic, schema=Raw(), acks=True, partitions=source.partitions)
            app.agent(topic, name=source.agent, concurrency=1)(self._consume)
        app.on_partitions_assigned.connect(self._on_assigned)
        app.on_partitions_revoked.connect(self._on_revoked)
        return app

    async def _consume(self, stream: Any) -> None:  # noqa: ANN401 - Faust's stream
        async for event in stream.noack().events():
            place = event.message.tp
            if place not in self._assigned:
                continue  # taken away while this batch was on its way; its new owner reads it
            held = self._hold(place)
            try:
                committing = await asyncio.shield(held)
                await committing.room()
            except asyncio.CancelledError:
                if held.cancelled():
                    continue
                raise
            if await self._follows(committing, event.message) and self._held.get(place) is held:
                committing.fold(event.message.value.records, event.ack)
                # A fold takes milliseconds; heartbeats and commits of other partitions run in between.
                await asyncio.sleep(0)

    async def _follows(self, committing: Committing, message: Any) -> bool:  # noqa: ANN401 - Faust's message
        """Tell whether the batch follows what is folded; if not, read again from there.

        A rebalance can take a fetched batch away between the consumer and this agent; the next one then arrives with
        records missing before it. Only the log itself knows whether it still has them.
        """
        fetched, place = message.value, message.tp
        missing = committing.missing_before(fetched)
        if missing is None:
            return True
        loop, owned = asyncio.get_running_loop(), committing.owned
        present = await loop.run_in_executor(self._executor, owned.next_offset, missing)
        first = fetched.records[0].offset
        if present >= first:
            _log.error("records_deleted_unread", **_named(place), expected=missing, oldest=present)
            return True
        _log.warning("batch_out_of_order", **_named(place), expected=missing, got=first)
        await self.app.consumer.seek(place, missing)
        return False

    def _hold(self, place: TP) -> asyncio.Future[Committing]:
        held = self._held.get(place)
        if held is None:
            held = self._held[place] = asyncio.ensure_future(self._claim(place))
        return held

    async def _claim(self, place: TP) -> Committing:
        source, partition = self._sources[place.topic], place.partition
        fold = source.fold(partition)
        owned = OwnedPartition(
            Place(place.topic, partition, f"{source.owner}-{partition}", source.cells), self._settings, source.observe
        )
        told = await asyncio.get_running_loop().run_in_executor(self._executor, lambda: fold.restore(owned.claim()))
        _log.info("partition_claimed", **_named(place), **told)
        interval_s = self._settings.commit_interval_ms / 1000
        committing = Committing(owned, fold, self._executor, interval_s, source.observe, self._loads[place.topic])
        task = asyncio.ensure_future(committing.run())
        task.add_done_callback(lambda done: self._on_committing_done(place, done))
        return committing

    def _on_committing_done(self, place: TP, done: asyncio.Future[None]) -> None:
        error = None if done.cancelled() else done.exception()
        if error is None:
            return
        if isinstance(error, FencedError) and place not in self._assigned:
            return  # it was taken away in the middle of a transaction, and the new owner was quicker
        self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self.failure is None:
            self.failure = error
            asyncio.ensure_future(self.app.crash(error))  # noqa: RUF006 - the process ends with it

    async def _on_assigned(self, *signal: Any, **_: Any) -> None:  # noqa: ANN401 - Faust's signal: sender, partitions
        _, assigned = signal
        self._assigned = {place for place in assigned if place.topic in self._sources}
        self._count_partitions()
        _log.info("partitions_assigned", partitions=_listed(self._assigned))
        for place in self._assigned:
            self._hold(place).add_done_callback(self._on_claimed)

    def _on_claimed(self, done: asyncio.Future[Committing]) -> None:
        error = None if done.cancelled() else done.exception()
        if error is not None:
            self._fail(error)

    def _count_partitions(self) -> None:
        for topic, load in self._loads.items():
            load.partitions = sum(place.topic == topic for place in self._assigned)

    async def _on_revoked(self, *signal: Any, **_: Any) -> None:  # noqa: ANN401 - as above
        _, revoked = signal
        gone = {place for place in revoked if place.topic in self._sources}
        self._assigned -= gone
        self._count_partitions()
        if gone:
            _log.info("partitions_revoked", partitions=_listed(gone))
        await asyncio.gather(*(self._release(place) for place in gone))

    async def _release(self, place: TP) -> None:
        held = self._held.pop(place, None)
        if held is None:
            return
        await asyncio.wait({held}, timeout=_RELEASE_PATIENCE_S)
        if held.done() and not held.cancelled() and held.exception() is None:
            await held.result().release(_RELEASE_PATIENCE_S)
        else:
            held.cancel()


def _events_source(settings: Settings, codec: Codec, rules: Rules, observe: Observe) -> Source:
    parameters = window_parameters(settings)
    topic = topic_name(EVENTS, settings.topic_prefix)
    decoder = Decoder(codec, topic)
    return Source(
        agent="bars",
        topic=topic,
        partitions=settings.partitions,
        owner="worker",
        cells=topic_name(WORKER_STATE, settings.topic_prefix),
        fold=lambda partition: EventsFold(partition, settings, codec, decoder, parameters, rules, observe),
        observe=observe,
    )


def _pulses_source(settings: Settings, codec: Codec, rules: Rules, observe: Observe) -> Source:
    def observe_market(step: str) -> None:
        observe(f"market {step}")

    return Source(
        agent="market",
        topic=topic_name(PULSES, settings.topic_prefix),
        partitions=1,
        owner="market",
        cells=topic_name(MARKET_STATE, settings.topic_prefix),
        fold=lambda _partition: MarketFold(settings, codec, rules, observe_market),
        observe=observe_market,
    )


def _named(place: TP) -> dict[str, object]:
    return {"topic": place.topic, "partition": place.partition}


def _listed(places: Iterable[TP]) -> list[str]:
    return [f"{place.topic}/{place.partition}" for place in sorted(places)]


def run_worker(settings: Settings, codec: Codec, observe: Observe = lambda _step: None) -> None:
    """Run until told to stop by a signal; raise what stopped it otherwise.

    `observe` is called with the name of each step of a batch, in order, from whichever thread takes it; tests use it
    to stop the process there.
    """
    # The heap holds many long-lived tuples and few cycles: collect rarely.
    gc.set_threshold(200_000, 20, 20)
    code = 0
    # Faust wants a folder, and keeps nothing in it that we would miss.
    with TemporaryDirectory(prefix="liquidations-worker-") as folder:
        worker = Worker(settings, codec, observe, Path(folder))
        runner = faust.Worker(worker.app, loglevel="WARNING", override_logging=False, redirect_stdouts=False)
        runner.spinner = None
        try:
            runner.execute_from_commandline()
        except SystemExit as stopped:
            code = stopped.code if isinstance(stopped.code, int) else 1
    if worker.failure is not None:
        raise worker.failure
    if code:
        raise RuntimeError(f"the worker's Faust application ended with code {code}")
