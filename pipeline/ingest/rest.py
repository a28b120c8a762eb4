"""Questions over HTTP: GET only, within each host's budget, patient with faults, and every answer a frame."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from random import Random
from types import SimpleNamespace
from typing import Final

import aiohttp
from yarl import URL

from pipeline.errors import OperationError
from pipeline.feeds.live import Request
from pipeline.feeds.statements import REST
from pipeline.ingest.backoff import BackOff
from pipeline.ingest.limiter import HostLimits, LeftAloneError

# As `Intake.bring`: exchange, channel, connection, payload.
Bring = Callable[[str, str, str, bytes], object]

ANSWER_BYTES: Final = 12 * 1024 * 1024
_ATTEMPTS: Final = 4
_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 20.0
_CHUNK_BYTES: Final = 64 * 1024
_SHOWN_BYTES: Final = 200
_CONNECTIONS_PER_HOST: Final = 8
_TIMEOUT: Final = aiohttp.ClientTimeout(total=40.0, connect=15.0, sock_connect=10.0, sock_read=15.0)

# A host that says one of these and not for how long: too many requests, banned for them, refused for another reason.
_ALONE_S: Final = {HTTPStatus.TOO_MANY_REQUESTS: 30.0, 418: 300.0, HTTPStatus.FORBIDDEN: 300.0}


class RestError(OperationError):
    """A question without a usable answer; the message is one line that says which and why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The body of an answer, and when the question was sent and the answer began (ns since 1970, by our clock)."""

    body: bytes
    sent_ns: int
    received_ns: int


@dataclass(frozen=True, slots=True)
class Route:
    """How an exchange is reached: `base` (scheme://host[:port]) instead of its own hosts, `proxy` on the way there."""

    base: str | None = None
    proxy: str | None = None


def open_session() -> aiohttp.ClientSession:
    """Return a session for all exchanges. TLS certificates are checked, cookies are not kept."""
    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(_note_sent)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, limit_per_host=_CONNECTIONS_PER_HOST),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "liquidation-pipeline", "Accept": "application/json"},
        timeout=_TIMEOUT,
        trace_configs=[trace],
    )


class Rest:
    """Ask one exchange.

    `bring` takes every answer with status 200 before anybody reads it. Budgets are those of the exchange's own hosts,
    wherever the route leads. `answers` and `failures` count requests. `now_ns` is our clock (ns since 1970).
    """

    def __init__(
        self,
        exchange: str,
        collector: str,
        route: Route,
        session: aiohttp.ClientSession,
        limits: HostLimits,
        bring: Bring,
        random: Random,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.answers = 0
        self.failures = 0
        self._exchange = exchange
        self._collector = collector
        self._base = None if route.base is None else URL(route.base)
        self._proxy = route.proxy
        self._session = session
        self._limits = limits
        self._bring = bring
        self._random = random
        self._now_ns = now_ns

    async def get(self, request: Request) -> Answer:
        """Return the answer to `request`.

        An answer with status 429, 418 or 403 makes the host be left alone as long as it says. After it, after a status
        of 500 and more, and after a broken connection the question is asked again, four times in all. Raise
        `RestError` for what has no answer then, for another status and for an answer of more than `ANSWER_BYTES`.
        """
        # The exchanges' own spelling of their queries is kept.
        url = URL(request.url, encoded=True)
        host = url.host or ""
        waits = BackOff(_FIRST_WAIT_S, _LONGEST_WAIT_S, self._random)
        reason = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(waits.next_s())
            try:
                await self._limits.turn(host, request.weight)
                answer = await self._ask(url)
            except LeftAloneError as error:
                self.failures += 1
                raise RestError(f"{self._exchange} {request.name}: {error}") from error
            except _StatusError as error:
                reason = str(error)
                if error.status in _ALONE_S:
                    self._limits.leave_alone(host, error.alone_s)
                elif error.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                    break
            except _TooLargeError as error:
                reason = str(error)
                break
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                reason = str(error) or type(error).__name__
            else:
                self.answers += 1
                connection = f"{self._collector}{url.raw_path_qs}"
                self._bring(self._exchange, f"{REST}{request.name}", connection, answer.body)
                return answer
        self.failures += 1
        raise RestError(f"{self._exchange} {request.name}: no answer from {host}{url.raw_path}: {reason}")

    async def _ask(self, url: URL) -> Answer:
        there = url if self._base is None else self._base.join(url.relative())
        note = SimpleNamespace(now_ns=self._now_ns, sent_ns=self._now_ns())
        async with self._session.get(
            there, proxy=self._proxy, allow_redirects=False, trace_request_ctx=note
        ) as response:
            received_ns = self._now_ns()
            if response.status != HTTPStatus.OK:
                head = await response.content.read(_SHOWN_BYTES)
                raise _StatusError(response.status, response.headers.get("Retry-After"), head)
            body = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                body += chunk
                if len(body) > ANSWER_BYTES:
                    # Leaving now closes the connection; the rest is never read.
                    response.close()
                    raise _TooLargeError(f"the answer is larger than {ANSWER_BYTES} bytes")
        return Answer(bytes(body), note.sent_ns, received_ns)


class _StatusError(Exception):
    """An answer without content for us. `alone_s` is for how many seconds the host is to be left alone."""

    def __init__(self, status: int, retry_after: str | None, head: bytes) -> None:
        words = " ".join(head.decode("utf-8", "replace").split())
        super().__init__(f"HTTP status {status}: {words}" if words else f"HTTP status {status}")
        self.status = status
        self.alone_s = _seconds_of(retry_after, _ALONE_S.get(status, 0.0))


class _TooLargeError(Exception):
    """An answer that is larger than we take."""


def _seconds_of(retry_after: str | None, otherwise: float) -> float:
    """Return the seconds in a Retry-After header, a number or a date (RFC 9110, 10.2.3)."""
    if retry_after is None:
        return otherwise
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        until = parsedate_to_datetime(retry_after)
    except ValueError:
        return otherwise
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


async def _note_sent(
    _session: aiohttp.ClientSession, context: SimpleNamespace, _params: aiohttp.TraceRequestHeadersSentParams
) -> None:
    # Looking up the host, connecting and TLS are over: half the round trip from here is the way of the answer.
    note = context.trace_request_ctx
    note.sent_ns = note.now_ns()
