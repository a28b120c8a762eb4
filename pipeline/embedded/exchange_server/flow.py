"""The market as it happens: which exchange sends which message when. Time comes in as an argument."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from random import Random
from typing import NamedTuple, Protocol

from pipeline.embedded.exchange_server.tape import Tape
from pipeline.embedded.simulator import market, pushes, served_pushes
from pipeline.embedded.simulator.contracts import Contract
from pipeline.embedded.simulator.market import Closure
from pipeline.embedded.simulator.pushes import Traps
from pipeline.embedded.simulator.served_contracts import served_contracts
from pipeline.embedded.simulator.truth import Truth

# Whose message it is, by the streams' numbers in `pushes` and `served_pushes`.
EXCHANGE_OF = ("binance", "bybit", "bybit", "okx", "bitmex", "htx", "htx", "gate", "gate", "deribit")
EXCHANGES = tuple(dict.fromkeys(EXCHANGE_OF))

_DAY_MS = 86_400_000
# Late rows may always be late: a served market has no end.
_FOREVER_MS = 3_650 * _DAY_MS


class Push(NamedTuple):
    """One message: when it is due (µs), on which stream, its text, what it holds, and whether it may come again."""

    due_us: int
    order: int
    stream: int
    payload: bytes
    rows: tuple[Truth, ...]
    resendable: bool

    @property
    def exchange(self) -> str:
        """Return whose message it is."""
        return EXCHANGE_OF[self.stream]


class Source(Protocol):
    """A market as the server plays it. Without `has_trade` the tape knows contracts only, and no market data come."""

    tape: Tape
    has_trade: bool

    def until(self, now_us: int) -> Iterator[Push]:
        """Yield what is due by `now_us`, in order."""
        ...

    def next_us(self) -> int | None:
        """Return when something is due, as far as that is known."""
        ...


class Flow:
    """A seeded market without end, from `start_ms` on.

    `speed` seconds of market happen in each second; their times are spread over that second, so that events carry the
    time at which they are sent. One market of `hours` follows the other, each with its crash at two thirds.
    """

    has_trade = True

    def __init__(self, seed: int, start_ms: int, speed: float, hours: float, traps_per_hour: float) -> None:
        self.tape = Tape(served_contracts(), start_ms)
        self._speed, self._seed, self._seconds = speed, seed, round(hours * 3600)
        self._start_ms = self._written_ms = start_ms
        self._due: list[Push] = []
        self._order = 0
        self._run = self._market_ms = 0
        self._market = self._next_market()
        rng = Random(f"server {seed} {start_ms}")  # noqa: S311 - a game, no secret
        count = round(traps_per_hour * 24)

        def traps(names: tuple[str, ...]) -> Traps:
            return Traps(rng, names if count else (), count, start_ms, _DAY_MS)

        served = served_pushes.SERVED_TRAPS
        self._binance = pushes.BinancePushes(rng, self, traps(pushes.BINANCE_TRAPS))
        self._bybit = pushes.BybitPushes(rng, self, traps(pushes.BYBIT_TRAPS))
        self._okx = pushes.OkxPushes(rng, self, traps(pushes.OKX_TRAPS), start_ms + _FOREVER_MS)
        self._bitmex = served_pushes.BitmexPushes(rng, self, traps(served))
        self._htx = served_pushes.HtxPushes(rng, self, traps(served))
        self._gate = served_pushes.GatePushes(rng, self, traps(served))
        self._deribit = served_pushes.DeribitPushes(rng, self, traps(served), start_ms)

    def send(
        self, received_us: int, stream: int, payload: bytes, rows: tuple[Truth, ...] = (), *, resendable: bool
    ) -> None:
        """Keep a message until it is due."""
        self._order += 1
        heapq.heappush(self._due, Push(received_us, self._order, stream, payload, rows, resendable))

    def until(self, now_us: int) -> Iterator[Push]:
        """Yield what is due by `now_us`, in order."""
        while self._written_ms * 1000 <= now_us:
            self._write_second()
        while self._due and self._due[0].due_us <= now_us:
            yield heapq.heappop(self._due)

    def next_us(self) -> int | None:
        """Return when something of the present second is due."""
        return self._due[0].due_us if self._due else None

    def _write_second(self) -> None:
        start_ms = self._written_ms
        self._written_ms += 1000
        by_exchange: dict[str, list[tuple[Contract, Closure]]] = {exchange: [] for exchange in EXCHANGES}
        for contract, closure in self._closures(self._written_ms - self._start_ms):
            by_exchange[contract.exchange].append((contract, closure))
            self.tape.trade(contract, closure)
        self.tape.second(start_ms)
        self._binance.write(by_exchange["binance"], self._written_ms)
        self._bybit.write(by_exchange["bybit"])
        self._okx.write(by_exchange["okx"])
        self._bitmex.write(by_exchange["bitmex"])
        self._htx.write(by_exchange["htx"])
        self._gate.write(by_exchange["gate"])
        self._deribit.write(by_exchange["deribit"])

    def _closures(self, until_ms: int) -> list[tuple[Contract, Closure]]:
        """Return what happens until so long after the start, in order of time, at the times at which it is sent."""
        listed = served_contracts()
        # As in the market itself, a contract closes at most one position of each kind in a millisecond.
        found: dict[tuple[int, int, bool], tuple[Contract, Closure]] = {}
        while (self._market_ms + 1000) / self._speed <= until_ms:
            second = next(self._market, None)
            if second is None:
                self._run += 1
                self._market = self._next_market()
                continue
            for closure in second.closures:
                inside_ms = self._market_ms + closure.time_ms - second.start_ms
                sent_ms = self._start_ms + int(inside_ms / self._speed)
                key = (sent_ms, closure.contract, closure.long)
                found[key] = (listed[closure.contract], closure._replace(time_ms=sent_ms))
            self._market_ms += 1000
        return [found[key] for key in sorted(found)]

    def _next_market(self) -> Iterator[market.Second]:
        rng = Random(f"market {self._seed} {self._run}")  # noqa: S311 - a game, no secret
        return market.seconds(rng, 0, self._seconds, served_contracts())
