"""Live collection: one process listens to any number of exchanges until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from random import Random
from typing import Final

import aiohttp
import structlog

from pipeline.codec import Codec
from pipeline.errors import OperationError
from pipeline.feeds import Mapping
from pipeline.feeds.discovery import all_feeds
from pipeline.feeds.feed import Mapped
from pipeline.feeds.live import Live
from pipeline.ingest.exchange_collector import Choice, ExchangeCollector
from pipeline.ingest.intake import Intake, Published
from pipeline.ingest.progress import Progress
from pipeline.ingest.publisher import Publisher
from pipeline.settings import Settings

_log = structlog.get_logger()

_BEAT_S: Final = 1.0
# Pings go out at whole seconds of the loop's clock. Their pongs are here by then, from most places of the world.
_BEAT_AFTER_PINGS_S: Final = 0.3
_HEAR_S: Final = 0.02
_BEATS_PER_LINE: Final = 60


class NothingToCollectError(OperationError):
    """The exchanges that were asked for cannot be collected; the message names those that can."""


def live_exchanges(names: Sequence[str] = ()) -> dict[str, Live]:
    """Return how to listen to the exchanges of these names, to all that can be if there are none."""
    found = {name: feed.live for name, feed in all_feeds().items() if feed.live is not None}
    unknown = [name for name in names if name not in found]
    if unknown:
        raise NothingToCollectError(f"no live feed of {', '.join(unknown)}; there are {', '.join(sorted(found))}")
    return {name: found[name] for name in names} if names else found


def run_ingest(settings: Settings, codec: Codec, lives: dict[str, Live], choice: Choice) -> None:
    """Collect until SIGTERM or SIGINT, then say what is no longer covered, and have it all confirmed."""
    try:
        asyncio.run(_until_told(settings, codec, lives, choice))
    except* OperationError as group:
        raise _first_of(group) from group


async def _until_told(settings: Settings, codec: Codec, lives: dict[str, Live], choice: Choice) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await collect(settings, codec, lives, choice, stop)


async def collect(
    settings: Settings,
    codec: Codec,
    lives: dict[str, Live],
    choice: Choice,
    stop: asyncio.Event,
    random: Random | None = None,
) -> None:
    """Listen to the exchanges in `lives` until `stop` is set. A fault of our own is raised, in an exception group."""
    collectors: dict[str, ExchangeCollector] = {}

    def observe(mapped: Mapped) -> None:
        collectors[mapped.exchange].observe(mapped)

    publisher = Publisher(settings, codec)
    intake = Intake(Published(publisher, Mapping({}), observe))
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        for exchange, live in lives.items():
            chance = random or Random()  # noqa: S311 - spreads attempts in time, keeps no secret
            collectors[exchange] = ExchangeCollector(exchange, live, choice, settings, intake, session, chance)
        _log.info("collecting", collector=settings.collector, exchanges=sorted(collectors))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(collector.run()) for collector in collectors.values()]
            tasks.append(group.create_task(_beat(list(collectors.values()))))
            tasks.append(group.create_task(_hear(publisher)))
            await stop.wait()
            _log.info("stopping", collector=settings.collector)
            for task in tasks:
                task.cancel()
        for collector in collectors.values():
            collector.tick()
    publisher.flush()
    _log.info("stopped", collector=settings.collector)


async def _beat(collectors: Sequence[ExchangeCollector]) -> None:
    """Say the heartbeats once a second, and tell people once a minute."""
    progress = Progress(collectors)
    loop = asyncio.get_running_loop()
    beats = 0
    while True:
        for collector in collectors:
            collector.tick()
        beats += 1
        if beats % _BEATS_PER_LINE == 0:
            progress.tell()
        await asyncio.sleep(_BEAT_S - (loop.time() - _BEAT_AFTER_PINGS_S) % _BEAT_S)


async def _hear(publisher: Publisher) -> None:
    """Take the broker's confirmations."""
    while True:
        publisher.hear()
        await asyncio.sleep(_HEAR_S)


def _first_of(group: BaseExceptionGroup[OperationError]) -> OperationError:
    """Return the first error in nested groups: the user is told one thing at a time."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, OperationError):
        raise TypeError(f"not an error of the outside world: {error!r}")
    return error
