"""Market data that must be asked for: spread evenly over their interval, within the hosts' budgets."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from yarl import URL

from pipeline.feeds.live import Poll, Request
from pipeline.ingest.limiter import HostLimits
from pipeline.ingest.rest import Rest, RestError
from pipeline.records import Instrument

_log = structlog.get_logger()

_AT_ONCE: Final = 8
# Nobody to ask for yet: look again soon.
_NOBODY_S: Final = 5.0


class Polling:
    """Ask for one kind of market data of one exchange, round after round.

    `instruments()` returns whose are wanted. Where the budgets of the hosts do not suffice for a round every
    `poll.every_s`, counted over all polls of the process, rounds take longer and a warning says how long. Each answer
    becomes a frame and is not read here.
    """

    def __init__(
        self,
        exchange: str,
        poll: Poll,
        rest: Rest,
        limits: HostLimits,
        instruments: Callable[[], Sequence[Instrument]],
    ) -> None:
        self._exchange = exchange
        self._poll = poll
        self._rest = rest
        self._limits = limits
        self._instruments = instruments
        self._told: tuple[int, float] = (0, 0.0)

    async def run(self) -> None:
        """Ask until cancelled. Faults of the exchange are logged, never raised."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            requests = self._poll.requests(self._instruments())
            interval_s = self.interval_s(requests)
            if requests:
                await self.round(requests, interval_s)
            else:
                interval_s = min(interval_s, _NOBODY_S)
            await asyncio.sleep(max(0.0, began + interval_s - loop.time()))

    def interval_s(self, requests: Sequence[Request]) -> float:
        """Return how long a round of these requests is to take, and say so when it changes."""
        weights: defaultdict[str, float] = defaultdict(float)
        for request in requests:
            weights[URL(request.url).host or ""] += request.weight
        every_s = self._poll.every_s
        user = f"{self._exchange}/{self._poll.name}"
        load = self._limits.plan(user, {host: weight / every_s for host, weight in weights.items()})
        interval_s = every_s * max(1.0, load)
        told = (len(requests), round(interval_s, 1))
        if told != self._told:
            self._told = told
            least_s = max((self._limits.least_s(host, weight) for host, weight in weights.items()), default=0.0)
            facts = {
                "exchange": self._exchange,
                "poll": self._poll.name,
                "requests": len(requests),
                "least_s": round(least_s, 1),
                "every_s": every_s,
                "round_s": round(interval_s, 1),
            }
            if interval_s > every_s:
                _log.warning("poll_slowed", **facts)
            else:
                _log.info("poll_planned", **facts)
        return interval_s

    async def round(self, requests: Sequence[Request], interval_s: float) -> None:
        """Ask everything once, one request after the other at even distances over `interval_s`."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        failed: list[str] = []
        turns = asyncio.Semaphore(_AT_ONCE)

        async def ask(request: Request) -> None:
            try:
                await self._rest.get(request)
            except RestError as error:
                failed.append(str(error))
            finally:
                turns.release()

        skipped = 0
        async with asyncio.TaskGroup() as group:
            for index, request in enumerate(requests):
                await asyncio.sleep(max(0.0, began + index * interval_s / len(requests) - loop.time()))
                await turns.acquire()
                late = loop.time() - began >= interval_s
                alone = self._limits.left_alone_s(URL(request.url).host or "") > interval_s
                if late or alone:
                    turns.release()
                    skipped += 1
                    continue
                group.create_task(ask(request))
        if failed or skipped:
            _log.warning(
                "poll_incomplete",
                exchange=self._exchange,
                poll=self._poll.name,
                requests=len(requests),
                failed=len(failed),
                skipped=skipped,
                reason=failed[0] if failed else "no time left in this round",
            )
