"""Live collection: one process listens to any number of exchanges until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Iterable, Sequence
from random import Random
from typing import Any, Final

import aiohttp
import structlog

from pipeline.codec import Codec
from pipeline.errors import OperationError
from pipeline.feeds import Mapping
from pipeline.feeds.discovery import all_feeds
from pipeline.feeds.feed import Mapped
from pipeline.feeds.live import Live
from pipeline.ingest.exchange_collector import Choice, ExchangeCollector
from pipeline.ingest.exchange_services import Listener, run_services
from pipeline.ingest.intake import Intake, Published
from pipeline.ingest.limiter import HostLimits
from pipeline.ingest.progress import Progress
from pipeline.ingest.rest import Rest, Route, open_session
from pipeline.ingest.spooling_publisher import Loss, SpoolingPublisher, open_spool
from pipeline.ingest.topic_admin import BrokerUnreachableError, check_topics
from pipeline.settings import Settings

_log = structlog.get_logger()

_BROKER_S: Final = 5.0
# Pings go out at whole seconds of the loop's clock. Their pongs are here by then, from most places of the world.
_BEAT_AFTER_PINGS_S: Final = 0.3
_LINE_S: Final = 60.0


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
    """Collect until SIGTERM or SIGINT, then say what is no longer covered, and have it all confirmed.

    Raise `TopicMismatchError` where the topics are not as they should be. Without a broker it begins all the same.
    """
    try:
        check_topics(settings, _BROKER_S)
    except BrokerUnreachableError as error:
        _log.warning("broker_unreachable", error=str(error))
    try:
        asyncio.run(_until_told(settings, codec, lives, choice))
    except* OperationError as group:
        raise first_of(group) from group


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

    def on_loss(loss: Loss) -> None:
        for collector in collectors.values():
            if loss.ended is None:
                collector.lose(loss.last_kept // 1000)
            else:
                collector.regain(intake.now_ms())

    publisher = SpoolingPublisher(settings, codec, open_spool(settings), on_loss)
    intake = Intake(Published(publisher, Mapping({}), observe))
    chance = random or Random()  # noqa: S311 - spreads attempts in time, keeps no secret
    try:
        await listen(settings, lives, choice, intake, collectors, chance, stop, (publisher.run(),))
    finally:
        publisher.close()
    _log.info("stopped", collector=settings.collector)


async def listen(
    settings: Settings,
    lives: dict[str, Live],
    choice: Choice,
    intake: Intake,
    collectors: dict[str, ExchangeCollector],
    random: Random,
    stop: asyncio.Event,
    beside: Iterable[Coroutine[Any, Any, None]] = (),
) -> None:
    """Let the exchanges in `lives` come in through `intake` until `stop` is set, and do what is `beside`.

    Their collectors are put into `collectors`, for whoever is behind the intake.
    """
    limits = HostLimits()
    async with _open_sockets() as sockets, open_session() as questions:
        for exchange, live in lives.items():
            collectors[exchange] = ExchangeCollector(exchange, live, choice, settings, intake, sockets, random)
            intake.on_new_day(collectors[exchange].repeat)
        _log.info("collecting", collector=settings.collector, exchanges=sorted(collectors))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in beside]
            tasks.append(group.create_task(_beat(list(collectors.values()), settings.heartbeat_interval_s)))
            for collector in collectors.values():
                tasks.append(group.create_task(collector.run()))
                asking = _ask(collector, lives[collector.exchange], choice, settings, intake, questions, limits, random)
                tasks.append(group.create_task(asking))
            await stop.wait()
            _log.info("stopping", collector=settings.collector)
            for task in tasks:
                task.cancel()
    for collector in collectors.values():
        collector.tick()


def _open_sockets() -> aiohttp.ClientSession:
    """Return a session for WebSockets. TLS certificates are checked, cookies are not kept."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "liquidation-pipeline"},
    )


async def _ask(
    collector: ExchangeCollector,
    live: Live,
    choice: Choice,
    settings: Settings,
    intake: Intake,
    session: aiohttp.ClientSession,
    limits: HostLimits,
    random: Random,
) -> None:
    """Keep asking the exchange for its contracts, its time and its market data."""
    exchange = collector.exchange
    reached = settings.exchange(exchange)
    rest = Rest(
        exchange,
        settings.collector,
        Route(reached.rest_url, reached.proxy),
        session,
        limits,
        intake.bring,
        random,
        intake.now_ns,
    )
    listener = Listener(collector.know, collector.unknown_symbol, collector.note_offset, collector.market_instruments)
    await run_services(
        exchange, settings.collector, live, rest, limits, intake.bring, listener, choice.market_data, random
    )


async def _beat(collectors: Sequence[ExchangeCollector], interval_s: float) -> None:
    """Say the heartbeats every `interval_s`, and tell people once a minute."""
    progress = Progress(collectors)
    loop = asyncio.get_running_loop()
    told_s = loop.time()
    while True:
        for collector in collectors:
            collector.tick()
        if loop.time() - told_s >= _LINE_S:
            told_s += _LINE_S
            progress.tell()
        # Rounded, since the rest of a division may fall short of nothing by a hair.
        await asyncio.sleep(round(interval_s - (loop.time() - _BEAT_AFTER_PINGS_S) % interval_s, 6) or interval_s)


def first_of(group: BaseExceptionGroup[OperationError]) -> OperationError:
    """Return the first error in nested groups: the user is told one thing at a time."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, OperationError):
        raise TypeError(f"not an error of the outside world: {error!r}")
    return error
