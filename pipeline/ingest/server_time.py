"""Our clock against the exchanges' clocks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from pipeline.feeds.live import Clock
from pipeline.ingest.rest import Answer, Rest, RestError
from pipeline.records import RefusedError

_log = structlog.get_logger()

_EVERY_S: Final = 60.0
_WARN_MS: Final = 2_000
# The error is at most half the round trip; a longer one says too little.
_LONGEST_TRIP_MS: Final = 2_000
# After so many looks without an answer nothing is known any more.
_FORGOTTEN_AFTER: Final = 5


def offset_ms(answer: Answer, server_ms: int) -> int | None:
    """Return the server's clock minus ours in milliseconds, at half the round trip; None if that took too long."""
    if answer.received_ns - answer.sent_ns > _LONGEST_TRIP_MS * 1_000_000:
        return None
    middle_ns = (answer.sent_ns + answer.received_ns) // 2
    return server_ms - round(middle_ns / 1_000_000)


class ServerTime:
    """Ask one exchange for its time every minute and hand the offset (ms) to `note`; None when it is not known."""

    def __init__(
        self, exchange: str, clock: Clock, rest: Rest, note: Callable[[int | None], None], every_s: float = _EVERY_S
    ) -> None:
        self._exchange = exchange
        self._clock = clock
        self._rest = rest
        self._note = note
        self._every_s = every_s
        self._failed = 0

    async def run(self) -> None:
        """Ask until cancelled. Faults of the exchange are logged, never raised."""
        while True:
            await self.look()
            await asyncio.sleep(self._every_s)

    async def look(self) -> None:
        """Ask once."""
        try:
            answer = await self._rest.get(self._clock.request)
            offset = offset_ms(answer, self._clock.read(answer.body))
        except (RestError, RefusedError) as error:
            offset, reason = None, str(error)
        else:
            reason = f"{self._exchange}: the answer took longer than {_LONGEST_TRIP_MS} ms"
        if offset is None:
            self._fail(reason)
            return
        self._failed = 0
        self._note(offset)
        if abs(offset) > _WARN_MS:
            _log.warning("clock_differs", exchange=self._exchange, offset_ms=offset)

    def _fail(self, reason: str) -> None:
        self._failed += 1
        _log.info("server_time_unknown", exchange=self._exchange, reason=reason)
        if self._failed == _FORGOTTEN_AFTER:
            self._note(None)
