"""The list of an exchange's contracts, kept fresh: at the start, hourly, and when an unknown symbol comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

import structlog

from pipeline.feeds.live import Metadata, Request
from pipeline.feeds.statements import INSTRUMENTS, instruments_connection, instruments_payloads
from pipeline.ingest.backoff import BackOff
from pipeline.ingest.rest import Bring, Rest, RestError
from pipeline.records import Instrument, RefusedError

_log = structlog.get_logger()

# Takes the contracts of the exchange, by symbol, and whether a whole list was ever read: False while pages of it are
# missing.
Know = Callable[[Mapping[str, Instrument], bool], None]

_EVERY_S: Final = 3_600.0
# Between two refreshes that unknown symbols have asked for.
_LEAST_S: Final = 60.0
_FIRST_WAIT_S: Final = 1.0
_MOST_WAIT_S: Final = 300.0
_MOST_PAGES: Final = 1_000
_SHOWN: Final = 20
# More than half of the contracts do not disappear at once; an exchange's fault is more likely.
_MOST_GONE: Final = 0.5
_FEW: Final = 10


@dataclass(frozen=True, slots=True)
class Times:
    """When the list is fetched: every `every_s`, and for unknown symbols at most every `least_s` seconds.

    After a failure the waits grow from `first_wait_s` to `most_wait_s`.
    """

    every_s: float = _EVERY_S
    least_s: float = _LEAST_S
    first_wait_s: float = _FIRST_WAIT_S
    most_wait_s: float = _MOST_WAIT_S


class ContractList:
    """Fetch the contracts of one exchange again and again.

    What is new, changed or gone is brought in as `instruments` frames, and then `know` gets all contracts, also when
    the first whole list has come. `unknown` is set by who meets a symbol that is not in it. `waiting` names the
    channels that cannot begin without the list. A list of which a page is missing adds contracts and takes none away.
    """

    def __init__(
        self,
        exchange: str,
        collector: str,
        metadata: Metadata,
        rest: Rest,
        bring: Bring,
        know: Know,
        unknown: asyncio.Event,
        waiting: Sequence[str],
        random: Random,
        times: Times | None = None,
    ) -> None:
        self._exchange = exchange
        self._connection = instruments_connection(collector)
        self._metadata = metadata
        self._rest = rest
        self._bring = bring
        self._know = know
        self._unknown = unknown
        self._waiting = list(waiting)
        self._random = random
        self._times = times or Times()
        self._known: dict[str, Instrument] = {}
        self._is_first = True
        self._was_whole = False
        # Contracts that seemed to be gone all at once, until a second look agrees.
        self._doubted: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Keep the list fresh until cancelled. Faults of the exchange are logged, never raised."""
        times = self._times
        failures = BackOff(times.first_wait_s, times.most_wait_s, self._random)
        unknown_s = times.least_s
        while True:
            complete, found_new = await self.refresh()
            if not complete:
                await asyncio.sleep(failures.next_s())
                continue
            failures.reset()
            if self._doubted:
                await asyncio.sleep(times.least_s)
                continue
            # A symbol that the exchange never lists is looked for ever more rarely.
            unknown_s = times.least_s if found_new else min(times.every_s, unknown_s * 2)
            await self._until_due(unknown_s)

    async def refresh(self) -> tuple[bool, bool]:
        """Fetch the list; return whether all of it came, and whether there is a contract in it that was not known."""
        self._unknown.clear()
        found, fault = await self._fetch()
        if fault is not None:
            _log.warning(
                "contracts_unavailable",
                exchange=self._exchange,
                reason=fault,
                known=len(self._known),
                waiting_channels=self._waiting if not self._known else [],
                uncovered=not self._was_whole,
            )
        new = [one for symbol, one in found.items() if symbol not in self._known]
        changed = [one for symbol, one in found.items() if self._known.get(symbol, one) != one]
        gone = [] if fault is not None else self._gone(found)
        self._take(new, changed, gone, fault is None)
        return fault is None, bool(new)

    def _gone(self, found: Mapping[str, Instrument]) -> list[str]:
        """Return what is listed no more; of half of the contracts or more only when a second look says the same."""
        gone = [symbol for symbol in self._known if symbol not in found]
        if len(gone) <= max(_FEW, len(self._known) * _MOST_GONE) or frozenset(gone) == self._doubted:
            self._doubted = frozenset()
            return gone
        self._doubted = frozenset(gone)
        _log.warning("contracts_doubtful", exchange=self._exchange, known=len(self._known), missing=len(gone))
        return []

    def _take(self, new: list[Instrument], changed: list[Instrument], gone: list[str], is_whole: bool) -> None:
        if not (new or changed or gone or is_whole > self._was_whole):
            return
        self._was_whole = self._was_whole or is_whole
        for payload in instruments_payloads([*new, *changed], gone):
            self._bring(self._exchange, INSTRUMENTS, self._connection, payload)
        self._known.update((one.symbol, one) for one in (*new, *changed))
        for symbol in gone:
            del self._known[symbol]
        self._know(dict(self._known), self._was_whole)
        if self._is_first:
            _log.info("contracts_known", exchange=self._exchange, contracts=len(self._known))
        else:
            if new:
                _log.info("contracts_listed", **self._facts([one.symbol for one in new]))
            if changed:
                _log.info("contracts_changed", **self._facts([one.symbol for one in changed]))
            if gone:
                _log.info("contracts_delisted", **self._facts(gone))
        self._is_first = False

    def _facts(self, symbols: list[str]) -> dict[str, object]:
        return {"exchange": self._exchange, "count": len(symbols), "symbols": symbols[:_SHOWN]}

    async def _fetch(self) -> tuple[dict[str, Instrument], str | None]:
        """Return the contracts of all pages that could be read, and why the list is not whole, if so."""
        found: dict[str, Instrument] = {}
        fault: str | None = None
        for first in self._metadata.requests:
            request: Request | None = first
            asked: set[str] = set()
            while request is not None:
                asked.add(request.url)
                try:
                    answer = await self._rest.get(request)
                    page = self._metadata.read(request, answer.body)
                    following = self._metadata.following(request, answer.body)
                except (RestError, RefusedError) as error:
                    fault = str(error)
                    break
                found.update((one.symbol, one) for one in page)
                if following is not None and (following.url in asked or len(asked) >= _MOST_PAGES):
                    fault = f"{self._exchange} {request.name}: the pages of {first.url} have no end"
                    break
                request = following
        return found, fault

    async def _until_due(self, unknown_s: float) -> None:
        """Return after an hour, or when an unknown symbol has come and the last look is `unknown_s` ago."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        # Drawn, so that many exchanges are not asked in the same second for ever.
        every_s = self._times.every_s * self._random.uniform(0.95, 1.0)
        try:
            async with asyncio.timeout(every_s):
                await self._unknown.wait()
        except TimeoutError:
            return
        await asyncio.sleep(max(0.0, min(unknown_s, every_s) - (loop.time() - began)))
