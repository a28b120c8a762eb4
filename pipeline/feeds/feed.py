"""What every exchange's file and every archive format's file provides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.feeds.facts import Facts
from pipeline.feeds.live import Live
from pipeline.records import Candle, DeadLetter, Frame, Heartbeat, Instrument, Liquidation, MarketMetric, Subscription

# Contracts by (exchange, symbol).
Instruments = Mapping[tuple[str, str], Instrument]
Mapped = Liquidation | Candle | MarketMetric | Heartbeat | Subscription | DeadLetter
# A frame and what metadata is known become any number of events and refusals. A frame without events (an
# acknowledgement, a pong) becomes nothing. Outside data never raises; a fault of our own does.
Map = Callable[[Frame, Instruments], Iterator[Mapped]]


@dataclass(frozen=True, slots=True)
class Feed:
    """One exchange's feed. Each `pipeline/feeds/EXCHANGE.py` has one as `FEED`.

    `begin()` returns the mapping of one connection, which may remember what came before on it (a table that is sent as
    changes); where nothing is remembered it is `stateless(map)`. `live` says how to listen, `facts` what the feed
    shows.
    """

    exchange: str
    begin: Callable[[], Map]
    facts: Facts | None = None
    live: Live | None = None


@dataclass(frozen=True, slots=True)
class Archive:
    """One archive format. Each `pipeline/feeds/archives/FORMAT.py` has one as `ARCHIVE`.

    `recognise(path, head)` tells from the file's name and its first 4096 (uncompressed) bytes whether it is in this
    format. `frames(path, chunks)` yields one frame per row; `chunks` are the uncompressed bytes of the file, to be read
    in any number of pieces. The frames' channel is `archive:NAME`, their connection the file's name, their sequence
    the row's number from 0; a row that cannot be read is a frame, too, and refused by `map`.
    """

    name: str
    recognise: Callable[[Path, bytes], bool]
    frames: Callable[[Path, Iterable[bytes]], Iterator[Frame]]
    map: Map

    @property
    def channel(self) -> str:
        """Return the channel of this archive's frames."""
        return f"archive:{self.name}"


def stateless(mapping: Map) -> Callable[[], Map]:
    """Return the `begin` of a feed whose frames each speak for themselves."""
    return lambda: mapping
