"""Frames per second into the spool and out of it again, and what the spool costs while Kafka is well.

The frames are simulated Binance, Bybit and OKX messages. *Write*: no broker; each frame is mapped, encoded and handed
to the operating system. *Drain*: a spool that was left is read and published until the broker has confirmed all of it.
*Direct*: the same frames through the plain publisher and through the one with a spool, in turns.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import structlog
from places import PARTITIONS, create_topics, delete_topics, fresh_folder, running_broker

from pipeline.codec import Codec
from pipeline.embedded.simulator import instruments, simulate
from pipeline.feeds import Mapping as FeedMapping
from pipeline.ingest.intake import Published
from pipeline.ingest.publisher import Publisher
from pipeline.ingest.spool import claim_spool
from pipeline.ingest.spooling_publisher import SpoolingPublisher
from pipeline.records import Frame
from pipeline.settings import Settings

NAMES = ("spool_write_frames_per_s", "spool_drain_frames_per_s", "spool_direct_ratio")
SEED = 1
HOURS = 6.0
# Nobody listens there.
_NOWHERE = "127.0.0.1:1"
_HEAR_EVERY = 200
_ROOM = 10 * 1024**3


def take(wanted: frozenset[str], records: int, repeats: int) -> tuple[dict[str, float], Mapping[str, Any]]:  # noqa: ARG001
    """Take all three measures `repeats` times and return their medians."""
    # That there is no broker is meant.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    frames = list(simulate(SEED, HOURS))
    written, drained, plain, direct = [], [], [], []
    megabytes = 0.0
    with running_broker("kafka-spool") as bootstrap:
        for number in range(repeats):
            folder = fresh_folder("spool")
            prefix = f"spool-{number}-"
            create_topics(bootstrap, prefix)
            away = Settings(bootstrap_servers=_NOWHERE, partitions=PARTITIONS, spool_after_ms=100)
            there = Settings(bootstrap_servers=bootstrap, topic_prefix=prefix, partitions=PARTITIONS)
            seconds, megabytes = _write(frames, away, folder)
            written.append(len(frames) / seconds)
            drained.append(len(frames) / _drain(there, folder))
            plain.append(len(frames) / _publish(frames, Publisher(there, Codec())))
            spool = claim_spool(folder, _ROOM)
            direct.append(len(frames) / _publish(frames, SpoolingPublisher(there, Codec(), spool, _no_loss)))
            spool.close()
            delete_topics(bootstrap, prefix)
    how = {
        "frames": len(frames),
        "spooled_megabytes": round(megabytes, 1),
        "write_frames_per_s": [round(rate) for rate in written],
        "drain_frames_per_s": [round(rate) for rate in drained],
        "plain_frames_per_s": [round(rate) for rate in plain],
        "direct_frames_per_s": [round(rate) for rate in direct],
    }
    values = {
        "spool_write_frames_per_s": median(written),
        "spool_drain_frames_per_s": median(drained),
        "spool_direct_ratio": median(direct) / median(plain),
    }
    return values, {"spool": how}


def _write(frames: Sequence[Frame], settings: Settings, folder: Path) -> tuple[float, float]:
    """Spool all frames; return the seconds that it took and the megabytes on the disk."""
    spool = claim_spool(folder, _ROOM)
    publisher = SpoolingPublisher(settings, Codec(), spool, _no_loss)
    while publisher.way != "spooling":
        publisher.frame(frames[0])
        publisher.hear()
        time.sleep(0.01)
    begun = time.perf_counter()
    _take_all(frames, publisher)
    publisher.hear()
    seconds = time.perf_counter() - begun
    megabytes = spool.bytes / 1e6
    publisher.close(0)
    return seconds, megabytes


def _drain(settings: Settings, folder: Path) -> float:
    spool = claim_spool(folder, _ROOM)
    publisher = SpoolingPublisher(settings, Codec(), spool, _no_loss)
    begun = time.perf_counter()
    publisher.flush(600)
    seconds = time.perf_counter() - begun
    publisher.close()
    return seconds


def _publish(frames: Sequence[Frame], publisher: Publisher) -> float:
    begun = time.perf_counter()
    _take_all(frames, publisher)
    publisher.flush()
    return time.perf_counter() - begun


def _take_all(frames: Sequence[Frame], publisher: Publisher) -> None:
    known = {(instrument.exchange, instrument.symbol): instrument for instrument in instruments()}
    published = Published(publisher, FeedMapping(known), lambda _: None)
    for number, frame in enumerate(frames):
        published.take(frame)
        if number % _HEAR_EVERY == 0:
            publisher.hear()


def _no_loss(loss: object) -> None:
    raise AssertionError(f"the spool has no room: {loss}")


if __name__ == "__main__":
    values, how = take(frozenset(NAMES), 0, 3)
    sys.stdout.write("".join(f"{name}: {value:,.2f}\n" for name, value in values.items()) + f"{how}\n")
