"""True cascades: forced orders of one asset and position that made each other, known from their causes.

An order belongs to the chain before it when it comes within `LINK_MS` of the chain's last order. A chain is a cascade
when it is worth speaking of (`LEAST_COUNT`, `LEAST_MICROS`) and at least one in `CAUSED_OF` of its orders was caused by
the pressure of others. Nothing here looks at what a rule would see.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.records import Position

LINK_MS = 60_000
LEAST_COUNT = 5
LEAST_MICROS = 100_000_000_000
CAUSED_OF = 3
_SECOND_MS = 1_000


@dataclass(frozen=True, slots=True)
class TrueCascade:
    """A cascade as it was: first and last order (ms), the second with the most USD, and sums over all exchanges."""

    asset: str
    position: Position
    begin: int
    peak: int
    end: int
    micros: int
    count: int
    caused: int
    exchanges: tuple[str, ...]


@dataclass(slots=True)
class _Chain:
    begin: int
    last: int
    second: int = 0
    second_micros: int = 0
    peak: int = 0
    peak_micros: int = 0
    micros: int = 0
    count: int = 0
    caused: int = 0
    exchanges: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Chains:
    """Chains under way by asset and position, and the cascades that are over."""

    cascades: list[TrueCascade] = field(default_factory=list)
    _open: dict[tuple[str, Position], _Chain] = field(default_factory=dict)

    def add(self, time_ms: int, asset: str, position: Position, exchange: str, micros: int, caused: bool) -> None:
        """Take the next order; those of one asset and position come in order of time."""
        key = asset, position
        chain = self._open.get(key)
        if chain is None or time_ms - chain.last > LINK_MS:
            self._end(key)
            chain = self._open[key] = _Chain(time_ms, time_ms)
        chain.last = max(chain.last, time_ms)
        chain.micros += micros
        chain.count += 1
        chain.caused += caused
        if exchange not in chain.exchanges:
            chain.exchanges.append(exchange)
        second = time_ms - time_ms % _SECOND_MS
        chain.second_micros = micros if second != chain.second else chain.second_micros + micros
        chain.second = second
        if chain.second_micros > chain.peak_micros:
            chain.peak, chain.peak_micros = second, chain.second_micros

    def close(self) -> None:
        """End what is under way, as nothing more comes."""
        for key in list(self._open):
            self._end(key)
        self.cascades.sort(key=lambda cascade: (cascade.begin, cascade.asset, cascade.position))

    def _end(self, key: tuple[str, Position]) -> None:
        chain = self._open.pop(key, None)
        if chain is None or chain.count < LEAST_COUNT or chain.micros < LEAST_MICROS:
            return
        if CAUSED_OF * chain.caused < chain.count:
            return
        asset, position = key
        self.cascades.append(
            TrueCascade(
                asset,
                position,
                chain.begin,
                chain.peak,
                chain.last,
                chain.micros,
                chain.count,
                chain.caused,
                tuple(chain.exchanges),
            )
        )
