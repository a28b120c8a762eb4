"""Everything that is asked of one exchange over REST: contracts, server time, market data."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from pipeline.feeds.live import Live
from pipeline.ingest.limiter import HostLimits
from pipeline.ingest.metadata import ContractList, Know
from pipeline.ingest.polls import Polling
from pipeline.ingest.rest import Bring, Rest
from pipeline.ingest.server_time import ServerTime
from pipeline.records import Instrument


@dataclass(frozen=True, slots=True)
class Listener:
    """Whom the services tell and ask.

    `know` takes the contracts by symbol and whether the list was ever whole, `unknown` is set when a symbol came that
    is not among them, `note_offset` takes the exchange's clock minus ours (ms), `market_instruments()` returns whose
    market data are wanted.
    """

    know: Know
    unknown: asyncio.Event
    note_offset: Callable[[int | None], None]
    market_instruments: Callable[[], Sequence[Instrument]]


async def run_services(
    exchange: str,
    collector: str,
    live: Live,
    rest: Rest,
    limits: HostLimits,
    bring: Bring,
    listener: Listener,
    market_data: bool,
    random: Random,
) -> None:
    """Run until cancelled. Nothing that the exchange does is raised; a fault of our own is."""
    limits.know(live.budgets)
    async with asyncio.TaskGroup() as group:
        if live.metadata is not None:
            waiting = [channel.name for channel in live.channels if channel.per_symbol]
            contracts = ContractList(
                exchange,
                collector,
                live.metadata,
                rest,
                bring,
                listener.know,
                listener.unknown,
                waiting,
                random,
            )
            group.create_task(contracts.run())
        if live.clock is not None:
            group.create_task(ServerTime(exchange, live.clock, rest, listener.note_offset).run())
        if market_data:
            for poll in live.polls:
                polling = Polling(exchange, poll, rest, limits, listener.market_instruments)
                group.create_task(polling.run())
