"""How every part of the pipeline talks to Kafka through librdkafka."""

from __future__ import annotations

from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException

from pipeline.errors import OperationError
from pipeline.settings import Settings

_log = structlog.get_logger()


class KafkaUnavailableError(OperationError):
    """The broker did not answer or refused for good; the message says what to do in one line."""


def client_config(settings: Settings, name: str) -> dict[str, Any]:
    """Return what every client is told. librdkafka's own lines about lost connections become log lines."""
    return {
        "bootstrap.servers": settings.bootstrap_servers,
        "client.id": f"liquidations-{name}",
        "error_cb": _log_error,
        "logger": _Quiet(),
    }


def producer_config(settings: Settings, name: str) -> dict[str, Any]:
    """Return the settings of a producer that loses nothing and repeats nothing.

    Keys are spread as Kafka's own clients do (librdkafka's default differs), so that any producer puts an asset's
    records into the same partition.
    """
    return {
        **client_config(settings, name),
        "enable.idempotence": True,
        "acks": "all",
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
        "linger.ms": 5,
        "batch.size": 1_000_000,
        "queue.buffering.max.messages": 500_000,
    }


def consumer_config(settings: Settings, name: str, group: str) -> dict[str, Any]:
    """Return the settings of a consumer that reads only what is final and commits only when told."""
    return {
        **client_config(settings, name),
        "group.id": settings.topic_prefix + group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "session.timeout.ms": settings.session_timeout_ms,
        "heartbeat.interval.ms": max(300, settings.session_timeout_ms // 6),
        "enable.partition.eof": True,
    }


def is_fenced(error: KafkaException) -> bool:
    """Return whether another process has taken over what the failed call was about."""
    code = error.args[0].code()
    return code in {
        KafkaError._FENCED,  # noqa: SLF001 - public constants of the client, named with an underscore
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
    }


class _Quiet:
    """A logger for librdkafka: its lines come at our level of detail, warnings as debug lines."""

    def log(self, level: int, message: str, *args: object) -> None:
        """Pass a line on; librdkafka repeats what the callers are told as errors, so it is for debugging only."""
        _log.debug("librdkafka", level=level, line=message % args if args else message)


def _log_error(error: KafkaError) -> None:
    if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001
        _log.warning("broker_unreachable", error=error.str())
    else:
        _log.debug("kafka_client", error=error.str())
