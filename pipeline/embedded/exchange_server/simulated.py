"""The market of `liquidations simulate`, told by the exchanges themselves, with connections that are cut in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from pipeline.embedded.exchange_server.faults import Fault
from pipeline.embedded.exchange_server.flow import Push
from pipeline.embedded.exchange_server.tape import Tape
from pipeline.embedded.simulator import START_MS, Truth, simulate_with_truth
from pipeline.embedded.simulator.market import crash_of
from pipeline.embedded.simulator.pushes import BINANCE, BYBIT_INVERSE, BYBIT_LINEAR, OKX
from pipeline.embedded.simulator.served_contracts import served_contracts
from pipeline.records import Frame

EXCHANGES = ("binance", "bybit", "okx")

_STREAMS = {
    ("binance", "forceOrder"): BINANCE,
    ("bybit", "linear"): BYBIT_LINEAR,
    ("bybit", "inverse"): BYBIT_INVERSE,
    ("okx", "SWAP"): OKX,
}
_CUTS_PER_HOUR = 0.5


class SimulatedSource:
    """What the frames of a recording hold, due when they were received.

    Answers to a client are left out, and so is what came again after the recording's own reconnections: here the
    exchanges answer and repeat by themselves.
    """

    has_trade = False

    def __init__(self, frames: Iterator[tuple[Frame, tuple[Truth, ...]]], start_ms: int) -> None:
        self.tape = Tape(served_contracts(), start_ms)
        self._pushes = self._read(frames)
        self._next = next(self._pushes, None)

    def until(self, now_us: int) -> Iterator[Push]:
        """Yield what is due by `now_us`, in order."""
        while self._next is not None and self._next.due_us <= now_us:
            push, self._next = self._next, next(self._pushes, None)
            yield push

    def next_us(self) -> int | None:
        """Return when the next message is due, None after the last."""
        return None if self._next is None else self._next.due_us

    @staticmethod
    def _read(frames: Iterator[tuple[Frame, tuple[Truth, ...]]]) -> Iterator[Push]:
        for order, (frame, rows) in enumerate(frames):
            if all(row.kind == "duplicate" for row in rows):
                continue
            usual = all(row.kind == "event" and row.timing == "on_time" for row in rows)
            stream = _STREAMS[frame.exchange, frame.channel]
            yield Push(frame.received_time, order, stream, frame.payload, rows, usual)


@dataclass(frozen=True, slots=True)
class SimulatedPlay:
    """`hours` of the market of `seed`, from its own beginning on, which is `before_s` after the server's.

    Each exchange cuts its connections now and then, and once in the crash, and sends the last minute's messages again
    to whoever subscribes.
    """

    seed: int
    hours: float
    before_s: float

    @property
    def faults(self) -> Sequence[Fault]:
        """Return the cuts and the repetitions."""
        rng = Random(f"cuts {self.seed}")  # noqa: S311 - a game, no secret
        seconds = round(self.hours * 3600)
        crash = crash_of(seconds)
        found = []
        for exchange in EXCHANGES:
            found.append(Fault("snapshot", exchange))
            times = [rng.random() * seconds for _ in range(round(self.hours * _CUTS_PER_HOUR))]
            times.append(crash.start + rng.random() * max(1, crash.bottom - crash.start))
            found += [Fault("drop", exchange, self.before_s + time_s) for time_s in times]
        return found

    def source(self, start_ms: int) -> SimulatedSource:
        """Return the market."""
        return SimulatedSource(simulate_with_truth(self.seed, self.hours, START_MS), start_ms)
