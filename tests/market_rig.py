"""Live collection within this process: exchanges with faults, real sockets, ingest, and what it publishes.

All of it goes by a clock that stands still while anything is under way, so hours take seconds and nothing depends on
how quick the machine is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TypeVar

import structlog
from fault_rig import Rows, plain_fold

from pipeline.embedded.exchange_server import ExchangeServer, Play, ServedLedger
from pipeline.embedded.exchange_server.addresses import addresses
from pipeline.embedded.lockstep import LockStepLoop
from pipeline.feeds.feed import Mapped
from pipeline.feeds.mapping import Mapping
from pipeline.ingest.collect import listen, live_exchanges
from pipeline.ingest.exchange_collector import Choice, ExchangeCollector
from pipeline.ingest.intake import Intake
from pipeline.records import DeadLetter, Frame, Heartbeat, Liquidation, Subscription
from pipeline.settings import Settings

# 2026-11-24 12:00:00 UTC.
NOON_MS = 1_795_521_600_000
_Result = TypeVar("_Result")
LIQUIDATIONS_ONLY = Choice(market_data=False)


async def _serving(play: Play, talk: Callable[[ExchangeServer], Awaitable[_Result]], ledger: ServedLedger) -> _Result:
    loop = running_loop()
    server = ExchangeServer(play, ledger, now_ns=loop.now_ns)
    await server.start()
    try:
        return await talk(server)
    finally:
        await server.stop()
        await loop.settle()


def talk_with_exchanges(
    play: Play,
    talk: Callable[[ExchangeServer], Awaitable[_Result]],
    ledger: ServedLedger | None = None,
    start_ms: int = NOON_MS,
) -> tuple[_Result, ServedLedger]:
    """Return what `talk` returns, which gets a server and shares its clock, and what the server really sent."""
    with asyncio.Runner(loop_factory=partial(LockStepLoop, start_ms)) as runner:
        kept = ServedLedger(now_ns=runner.get_loop().now_ns) if ledger is None else ledger
        return runner.run(_serving(play, talk, kept)), kept


def running_loop() -> LockStepLoop:
    """Return the loop whose clock stands still."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, LockStepLoop)
    return loop


@dataclass
class Collected:
    """What came in, what it means, what ingest logged, and what the exchanges really sent."""

    start_ms: int
    settings: Settings
    frames: list[Frame] = field(default_factory=list)
    records: list[Mapped] = field(default_factory=list)
    entries: list[dict] = field(default_factory=list)
    logs: list[dict] = field(default_factory=list)

    def of(self, kind: type, **fields: object) -> list:
        """Return the records of a kind whose fields have these values."""
        return [
            one
            for one in self.records
            if isinstance(one, kind) and all(getattr(one, name) == value for name, value in fields.items())
        ]

    def said(self, event: str, **words: object) -> list[dict]:
        """Return the log lines of an event with these words."""
        return [line for line in self.logs if line["event"] == event and words.items() <= line.items()]

    def what(self, what: str, exchange: str) -> list[dict]:
        """Return the entries of the exchanges' ledger."""
        return [entry for entry in self.entries if entry["what"] == what and entry["exchange"] == exchange]

    def second(self, time: float) -> float:
        """Return how many seconds after the beginning a time (ms) is."""
        return (time - self.start_ms) / 1000

    def covered(self, exchange: str, channel: str) -> list[tuple[float, float]]:
        """Return the seconds since the beginning for which heartbeats vouch."""
        spans: list[tuple[float, float]] = []
        before: float | None = None
        for beat in self.of(Heartbeat, exchange=exchange, channel=channel):
            now = self.second(beat.time)
            if beat.state == "up" and before is not None:
                if spans and spans[-1][1] == before:
                    spans[-1] = (spans[-1][0], now)
                else:
                    spans.append((before, now))
            before = now
        return spans

    def rows(self) -> Rows:
        """Return the worker's rows."""
        return rows_of(self.records, self.settings)


def rows_of(records: Iterable[Mapped], settings: Settings) -> Rows:
    """Return what the worker makes of records."""
    log = [one for one in records if isinstance(one, Liquidation | Heartbeat | Subscription)]
    return plain_fold(log, settings)


class _Kept:
    """An outlet that keeps and maps."""

    has_room = True

    def __init__(self, found: Collected, collectors: dict[str, ExchangeCollector]) -> None:
        self._found, self._collectors = found, collectors
        self._mapping = Mapping({})

    @property
    def position(self) -> int:
        return len(self._found.frames)

    @property
    def safe_position(self) -> int:
        return len(self._found.frames)

    async def room(self) -> None:
        return

    def take(self, frame: Frame) -> None:
        self._found.frames.append(frame)
        for mapped in self._mapping.map(frame):
            self._found.records.append(mapped)
            self._collectors[frame.exchange].observe(mapped)

    def leave(self, *connection: str) -> None:
        self._mapping.leave(*connection)


def collected(
    play: Play,
    exchanges: Sequence[str],
    seconds: float,
    *,
    start_ms: int = NOON_MS,
    choice: Choice = LIQUIDATIONS_ONLY,
    **changes: object,
) -> Collected:
    """Collect for so many seconds of the market that `play` begins at `start_ms`."""
    with (
        structlog.testing.capture_logs() as logs,
        asyncio.Runner(loop_factory=partial(LockStepLoop, start_ms)) as runner,
    ):
        found = runner.run(_collect(play, exchanges, seconds, start_ms, choice, changes))
    found.logs = logs
    return found


async def _collect(
    play: Play, exchanges: Sequence[str], seconds: float, start_ms: int, choice: Choice, changes: dict[str, object]
) -> Collected:
    loop = running_loop()
    found = Collected(start_ms, Settings())
    collectors: dict[str, ExchangeCollector] = {}
    intake = Intake(_Kept(found, collectors), loop.now_ns)
    ledger = ServedLedger(now_ns=loop.now_ns)
    found.entries = ledger.entries

    async def ingest(server: ExchangeServer) -> None:
        found.settings = Settings(**{"collector": "rig", **changes, "exchanges": addresses(server.ports)})
        stop = asyncio.Event()
        loop.call_later(seconds, stop.set)
        await listen(found.settings, live_exchanges(exchanges), choice, intake, collectors, Random(1), stop)

    await _serving(play, ingest, ledger)
    return found


def refusals(found: Iterable[Mapped]) -> list[str]:
    """Return why records were refused."""
    return [one.reason for one in found if isinstance(one, DeadLetter)]
