"""Live collection of a simulated market: exchanges on loopback tell it, ingest listens, both by the market's clock."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from random import Random

from pipeline.embedded.exchange_server import ExchangeServer, ServedLedger
from pipeline.embedded.exchange_server.addresses import addresses
from pipeline.embedded.exchange_server.simulated import EXCHANGES, SimulatedPlay
from pipeline.embedded.lockstep import LockStepLoop
from pipeline.embedded.simulator import START_MS
from pipeline.errors import OperationError
from pipeline.feeds.feed import Mapped
from pipeline.ingest.collect import first_of, listen, live_exchanges
from pipeline.ingest.exchange_collector import Choice, ExchangeCollector
from pipeline.ingest.intake import Intake
from pipeline.ingest.publisher import Publisher
from pipeline.ingest.replay import Progress, Replayed
from pipeline.ingest.unspooled import Unspooled
from pipeline.logs import logs_into
from pipeline.settings import ExchangeSettings, Settings

COLLECTOR = "demo"
# All subscriptions are confirmed when the market begins.
_BEFORE_S = 60
# Hours of heartbeats at every second of every channel would be most of the log.
_INTERVAL_S = 10.0
_HOUR_S = 3600
_MINUTE_S = 60


def collect_market(
    settings: Settings, publisher: Publisher, seed: int, hours: float, logs: Path, progress: Progress
) -> Replayed:
    """Publish everything that is heard of the market of `seed`, and return the counts.

    In the folder `logs` the exchanges write into `ledger.jsonl` what they really sent, and ingest its warnings into
    `ingest.log`. The same seed and hours give the same records in the same order.
    """
    run = settings.model_copy(
        update={
            "collector": COLLECTOR,
            "proof_interval_s": _INTERVAL_S,
            "heartbeat_interval_s": _INTERVAL_S,
            "stall_s": 2 * _INTERVAL_S,
        }
    )
    counts = Replayed()
    play = SimulatedPlay(seed, hours, _BEFORE_S)
    clock = partial(LockStepLoop, START_MS - _BEFORE_S * 1000)
    try:
        with logs_into(logs / "ingest.log", "pipeline.ingest"), asyncio.Runner(loop_factory=clock) as runner:
            runner.run(_collect(run, publisher, play, logs / "ledger.jsonl", counts, progress))
    except* OperationError as group:
        raise first_of(group) from group
    publisher.flush()
    progress(counts)
    return counts


async def _collect(
    settings: Settings,
    publisher: Publisher,
    play: SimulatedPlay,
    ledger_path: Path,
    counts: Replayed,
    progress: Progress,
) -> None:
    loop = asyncio.get_running_loop()
    if not isinstance(loop, LockStepLoop):
        raise TypeError("a market needs a clock of its own")
    collectors: dict[str, ExchangeCollector] = {}

    def observe(mapped: Mapped) -> None:
        collectors[mapped.exchange].observe(mapped)

    intake = Intake(Unspooled(publisher, observe, counts, progress), loop.now_ns)
    ledger = ServedLedger(ledger_path, now_ns=loop.now_ns)
    server = ExchangeServer(play, ledger, now_ns=loop.now_ns)
    stop = asyncio.Event()
    chance = Random(f"ingest {play.seed}")  # noqa: S311 - spreads attempts in time, keeps no secret
    await server.start()
    try:
        found = {name: ExchangeSettings(**place) for name, place in addresses(server.ports).items()}
        reached = settings.model_copy(update={"exchanges": found})
        lasts_s = _BEFORE_S + play.hours * _HOUR_S + _MINUTE_S + settings.lateness_ms / 1000 + 2 * _INTERVAL_S
        loop.call_later(lasts_s, stop.set)
        async with asyncio.TaskGroup() as group:
            failing = group.create_task(server.wait())
            choice = Choice(market_data=False)
            await listen(reached, live_exchanges(EXCHANGES), choice, intake, collectors, chance, stop)
            failing.cancel()
    finally:
        await server.stop()
        await loop.settle()
        ledger.close()
