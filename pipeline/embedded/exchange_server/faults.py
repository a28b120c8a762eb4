"""What can go wrong at an exchange, switched on and off: by a schedule on the command line, or while it runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from pipeline.errors import OperationError

KINDS: Final = {
    "silent": "acknowledges and answers pings, but sends no data",
    "deaf": "never acknowledges a subscription, and sends no data for it",
    "drop": "cuts every connection without a word, and new ones at once",
    "half-frame": "sends half of the next message on every connection, then cuts it",
    "flood": "sends every message 200 times",
    "snapshot": "sends what came in the last minute again after a subscription",
    "wrong-json": "sends a cut copy after every message",
    "slow-reader": "does not read what clients send",
    "clock": "its own time is five minutes ahead",
    "429": "answers REST requests with 429 and `Retry-After: 2`",
    "5xx": "answers REST requests with 503",
}
EVERY: Final = "*"
_PARTS = 4


class FaultError(OperationError):
    """There is no such fault; the message names those there are."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`kind` at `exchange` (`*`: at all), from `after_s` after the start, for `for_s` (None: for ever)."""

    kind: str
    exchange: str = EVERY
    after_s: float = 0.0
    for_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse a kind that does not exist."""
        if self.kind not in KINDS:
            raise FaultError(f"there is no fault {self.kind!r}: {', '.join(KINDS)}")


def fault_of(text: str, exchanges: Iterable[str]) -> Fault:
    """Read `KIND[:EXCHANGE[:AFTER_S[:FOR_S]]]`; an empty part is left at its default. Raise `FaultError`."""
    known = [EVERY, *exchanges]
    parts = [*text.split(":"), "", "", ""]
    if any(parts[_PARTS:]):
        raise FaultError(f"{text!r} is no fault: KIND[:EXCHANGE[:AFTER_S[:FOR_S]]]")
    kind, exchange, after_s, for_s = parts[:_PARTS]
    if exchange and exchange not in known:
        raise FaultError(f"{exchange!r} is not simulated: {', '.join(known)}")
    try:
        return Fault(kind, exchange or EVERY, float(after_s or 0), float(for_s) if for_s else None)
    except ValueError as error:
        raise FaultError(f"{text!r} is no fault: seconds must be numbers") from error


@dataclass(slots=True)
class Faults:
    """The faults that are on, by kind and exchange, and until when (seconds of the caller's clock)."""

    _until: dict[tuple[str, str], float] = field(default_factory=dict)

    def switch_on(self, fault: Fault, now_s: float) -> None:
        """Let `fault` begin now, whatever its `after_s`."""
        self._until[fault.kind, fault.exchange] = float("inf") if fault.for_s is None else now_s + fault.for_s

    def clear(self) -> None:
        """Let everything work again."""
        self._until.clear()

    def is_on(self, kind: str, exchange: str, now_s: float) -> bool:
        """Return whether `kind` is on at `exchange`."""
        until = self._until
        return until.get((kind, exchange), 0.0) > now_s or until.get((kind, EVERY), 0.0) > now_s

    def take(self, kind: str, exchange: str, now_s: float) -> bool:
        """Return whether `kind` is on at `exchange`, and switch it off there: it happens once."""
        if not self.is_on(kind, exchange, now_s):
            return False
        self._until.pop((kind, exchange), None)
        return True

    def on(self, now_s: float) -> list[tuple[str, str]]:
        """Return kind and exchange of all that is on."""
        return sorted(key for key, until in self._until.items() if until > now_s)
