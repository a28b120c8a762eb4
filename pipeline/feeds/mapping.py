"""Frames in the order in which they came become events: the one door from outside data into the pipeline.

Live collection, replays and `liquidations map` use the same object, so the same frames give the same events. It keeps
what frames themselves teach: the contracts that a collector has found, and what some exchanges' messages assume from
earlier ones on their connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from pipeline.feeds.discovery import archive_of, feed_of
from pipeline.feeds.feed import Instruments, Map, Mapped
from pipeline.feeds.statements import (
    REST,
    collector_of,
    has_instruments,
    has_statements,
    learn_instruments,
    map_statements,
)
from pipeline.records import Frame, Instrument, RefusedError, dead_letter_of_frame

_ARCHIVE_CHANNEL = "archive:"


class Mapping:
    """Maps frames; `instruments` are the contracts known beforehand."""

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        # The same and what each collector has found. One collector's frames are not mapped with what another one found:
        # live they would not be, if the two are two processes.
        self._found: dict[str, dict[tuple[str, str], Instrument]] = {}
        # The mapping of each connection by exchange, channel and connection; a new connection remembers nothing.
        self._begun: dict[tuple[str, str, str], Map] = {}

    def map(self, frame: Frame) -> Iterator[Mapped]:
        """Return the events and refusals in one frame.

        A frame whose channel is `archive:NAME` is a row of that archive format; statements and contracts are what a
        collector says itself (see `pipeline.feeds.statements`); answers with lists of contracts or the time are read by
        the collector and hold no events; every other one is a message of its exchange. Outside data never raises: what
        cannot be used is a dead letter.
        """
        if has_statements(frame):
            return map_statements(frame)
        collector = collector_of(frame.connection)
        if has_instruments(frame):
            found = self._found.get(collector)
            if found is None:
                found = self._found[collector] = dict(self._instruments)
            return iter(learn_instruments(frame, found))
        try:
            if frame.channel.startswith(REST) and frame.channel in _collectors_own(frame.exchange):
                return iter(())
            mapping = self._mapping_of(frame)
        except RefusedError as refusal:
            return iter((dead_letter_of_frame(frame, 0, refusal.reason, str(refusal)),))
        return mapping(frame, self.instruments(collector))

    def instruments(self, collector: str) -> Instruments:
        """Return the contracts with which frames of `collector` are mapped."""
        return self._found.get(collector, self._instruments)

    def leave(self, exchange: str, channel: str, connection: str) -> None:
        """Forget a connection that has ended."""
        self._begun.pop((exchange, channel, connection), None)

    def _mapping_of(self, frame: Frame) -> Map:
        if frame.channel.startswith(_ARCHIVE_CHANNEL):
            return archive_of(frame.channel.removeprefix(_ARCHIVE_CHANNEL)).map
        key = (frame.exchange, frame.channel, frame.connection)
        begun = self._begun.get(key)
        if begun is None:
            begun = self._begun[key] = feed_of(frame.exchange).begin()
        return begun


@cache
def _collectors_own(exchange: str) -> frozenset[str]:
    """Return the channels of answers that the collector reads itself: lists of contracts and the exchange's time."""
    live = feed_of(exchange).live
    if live is None:
        return frozenset()
    requests = [*(live.metadata.requests if live.metadata else ()), *((live.clock.request,) if live.clock else ())]
    return frozenset(f"{REST}{request.name}" for request in requests)


def map_frame(frame: Frame, instruments: Instruments) -> Iterator[Mapped]:
    """Map one frame as if it were the first on its connection."""
    return Mapping(instruments).map(frame)
