"""What people are told of a collector: a line a minute for each exchange."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from pipeline.ingest.exchange_collector import ExchangeCollector

_log = structlog.get_logger()


class Progress:
    """Remember what was told, and tell what has come since."""

    def __init__(self, collectors: Sequence[ExchangeCollector]) -> None:
        self._collectors = collectors
        self._told: dict[str, dict[str, int]] = {}

    def tell(self) -> None:
        """Log one line for each exchange."""
        for collector in self._collectors:
            counts = {**collector.counts(), "events": collector.events, "refusals": collector.refusals}
            told = self._told.get(collector.exchange, {})
            self._told[collector.exchange] = counts
            listenings = collector.listenings
            _log.info(
                "collected",
                exchange=collector.exchange,
                channels_up=f"{sum(one.is_up for one in listenings)}/{len(listenings)}",
                topics=f"{sum(one.confirmed for one in listenings)}/{sum(one.topics for one in listenings)}",
                **{word: count - told.get(word, 0) for word, count in counts.items()},
                clock_offset_ms=collector.clock_offset_ms,
            )
