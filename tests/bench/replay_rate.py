"""Frames per second through mapping and publishing: simulated Binance, Bybit and OKX messages onto Kafka.

It is what `liquidations replay` does without worker and sink: each frame, its events, and the heartbeats of each second
that passes in the recording, into every partition.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import median
from typing import Any

from places import PARTITIONS, create_topics, delete_topics, running_broker

from pipeline.codec import Codec
from pipeline.embedded.simulator import instruments, simulate
from pipeline.ingest.publisher import Publisher
from pipeline.ingest.replay import replay
from pipeline.settings import Settings

NAMES = ("replay_frames_per_s",)
SEED = 1
HOURS = 6.0


def take(wanted: frozenset[str], records: int, repeats: int) -> tuple[dict[str, float], Mapping[str, Any]]:  # noqa: ARG001
    """Publish the same frames `repeats` times; the clock runs until the broker has confirmed all of it."""
    known = {(instrument.exchange, instrument.symbol): instrument for instrument in instruments()}
    frames = list(simulate(SEED, HOURS))
    rates: list[float] = []
    how: dict[str, Any] = {}
    with running_broker("kafka-replay") as bootstrap:
        for number in range(repeats):
            prefix = f"replay-{number}-"
            create_topics(bootstrap, prefix)
            settings = Settings(bootstrap_servers=bootstrap, topic_prefix=prefix, partitions=PARTITIONS)
            publisher = Publisher(settings, Codec())
            start = time.perf_counter()
            counts = replay(frames, known, publisher, settings.lateness_ms, lambda _: None)
            rates.append(len(frames) / (time.perf_counter() - start))
            how = {"frames": counts.frames, "events": counts.events, "dead_letters": counts.dead_letters}
            delete_topics(bootstrap, prefix)
    how |= {"simulated_hours": HOURS, "frames_per_s": [round(rate) for rate in rates]}
    return {"replay_frames_per_s": median(rates)}, {"replay": how}
