"""The topics: their names, keys, partitions and how long they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic.

    `partitions` is a fixed count, or None for the count of `events`, which is a setting. Records are stamped by the
    broker when they are appended: with event time as record time, retention by time would delete replayed history
    within minutes.
    """

    name: str
    partitions: int | None
    retention_ms: int | None
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, str]:
        """Return the broker's settings for this topic."""
        kept = {} if self.retention_ms is None else {"retention.ms": str(self.retention_ms)}
        return {"message.timestamp.type": "LogAppendTime", **kept, **self.extra}


FRAMES = Topic("frames", None, 7 * _DAY_MS)
EVENTS = Topic("events", None, 7 * _DAY_MS)
PULSES = Topic("pulses", 1, _DAY_MS)
BARS = Topic("bars", None, 7 * _DAY_MS)
ANOMALIES = Topic("anomalies", None, 7 * _DAY_MS)
COVERAGE = Topic("coverage", None, 7 * _DAY_MS)
DEAD_LETTERS = Topic("dead-letters", 1, 30 * _DAY_MS)
# Compacted to the last value of each key.
_COMPACTED = {"cleanup.policy": "compact", "segment.ms": "3600000", "min.cleanable.dirty.ratio": "0.1"}
# What the worker must remember, by partition of `events`.
WORKER_STATE = Topic("worker-state", None, None, _COMPACTED)
# What the rules of the whole market must remember. Apart, for a reader of `worker-state` has to wait for the
# transactions of whoever writes there.
MARKET_STATE = Topic("market-state", 1, None, _COMPACTED)

TOPICS = (FRAMES, EVENTS, PULSES, BARS, ANOMALIES, COVERAGE, DEAD_LETTERS, WORKER_STATE, MARKET_STATE)

# What the sink copies into tables.
SINK_TOPICS = (EVENTS, BARS, ANOMALIES, COVERAGE, DEAD_LETTERS)


def topic_name(topic: Topic, prefix: str) -> str:
    """Return the name on the broker; `prefix` keeps several pipelines apart on one broker."""
    return prefix + topic.name
