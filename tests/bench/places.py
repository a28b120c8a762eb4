"""Topics and processes of one benchmark run."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from brokers import KafkaBroker
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from market import LogRecord

from pipeline.topics import TOPICS, topic_name

ROOT = Path(__file__).resolve().parents[2]
ENGINES = Path(__file__).resolve().parent / "engines"
NO_RULES = Path(__file__).resolve().parent / "no_rules.toml"
WORK = ROOT / "build" / "bench"
OUR_PYTHON = Path(sys.executable)
PEERS_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
PARTITIONS = 4

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class BenchError(RuntimeError):
    """A measure could not be taken; the message says why."""


@contextmanager
def running_broker(name: str) -> Iterator[str]:
    """Run an Apache Kafka of our own and yield its address."""
    folder = fresh_folder(name)
    broker = KafkaBroker(folder)
    try:
        broker.start()
        yield broker.bootstrap_servers
    finally:
        broker.remove()


def fresh_folder(name: str) -> Path:
    """Return an empty folder below `build/bench`."""
    folder = WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def create_topics(bootstrap: str, prefix: str, partitions: int = PARTITIONS) -> None:
    """Create the pipeline's topics, as it configures them, under `prefix`."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    wanted = [
        NewTopic(topic_name(topic, prefix), topic.partitions or partitions, 1, config=topic.config) for topic in TOPICS
    ]
    for created in admin.create_topics(wanted).values():
        created.result(30)


def delete_topics(bootstrap: str, prefix: str) -> None:
    """Delete every topic whose name begins with `prefix`, changelogs of the engines included."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    names = [name for name in admin.list_topics(timeout=10).topics if name.startswith(prefix)]
    for deleted in admin.delete_topics(names).values() if names else ():
        deleted.result(30)


def append(bootstrap: str, topic: str, records: Iterable[LogRecord], partitions: int = PARTITIONS) -> None:
    """Append `records` in order, heartbeats to every partition, and wait until the broker has them all."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            "linger.ms": 20,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 1_048_576,
            "log_level": 2,
        }
    )
    for number, record in enumerate(records):
        if record.key is None:
            for partition in range(partitions):
                producer.produce(topic, record.value, partition=partition)
        else:
            producer.produce(topic, record.value, record.key)
        if number % 10_000 == 0:
            producer.poll(0)
    if producer.flush(120):
        raise BenchError(f"the broker did not take all records of {topic}")


def cpu_seconds(pid: int) -> float:
    """Return the processor time that process `pid` has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def resident_mb(pid: int) -> float:
    """Return the resident memory of process `pid` in MB (10^6 bytes)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES / 1e6


def last_lines(log: Path, count: int = 15) -> str:
    """Return the end of a process's log, for an error's message."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
