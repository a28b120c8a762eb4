"""Create the topics, or find that they are there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic

from pipeline.errors import OperationError
from pipeline.kafka_client import client_config
from pipeline.settings import Settings
from pipeline.topics import TOPICS, Topic, topic_name

_TIMEOUT_S = 10.0
_LOOK_AGAIN_S = 0.05


class BrokerUnreachableError(OperationError):
    """No broker answers at the given address; the message is one line that says what to do."""


class TopicMismatchError(OperationError):
    """A topic is there with another number of partitions, or the broker refuses it; the message is one line."""


@dataclass(frozen=True, slots=True)
class TopicsReport:
    """What `create_topics` did, by full topic name.

    `corrected` topics were there with other settings than ours, which matter: with event time as record time or
    without compaction the broker deletes what is still needed.
    """

    created: tuple[str, ...]
    existing: tuple[str, ...]
    corrected: tuple[str, ...]


def create_topics(settings: Settings, timeout_s: float = _TIMEOUT_S) -> TopicsReport:
    """Create every topic that is not there yet, with its partitions and settings; doing so twice changes nothing.

    Topics that are there get our settings where theirs differ. Raise `BrokerUnreachableError` if the broker does not
    answer within `timeout_s` seconds. Raise `TopicMismatchError`, before anything is created, if a topic has
    another number of partitions: an asset's records would be spread over two partitions.
    """
    admin = AdminClient(client_config(settings, "admin"))
    wanted = {topic_name(topic, settings.topic_prefix): topic for topic in TOPICS}
    try:
        found = admin.list_topics(timeout=timeout_s).topics
        existing = {name: len(found[name].partitions) for name in wanted if name in found}
        _refuse_other_partitions(wanted, existing, settings)
        missing = [name for name in wanted if name not in existing]
        _create(admin, {name: wanted[name] for name in missing}, settings, timeout_s)
        _wait_until_known(admin, missing, timeout_s)
        corrected = _correct(admin, {name: wanted[name] for name in existing}, timeout_s)
    except KafkaException as error:
        raise _unreachable(settings.bootstrap_servers, timeout_s) from error
    return TopicsReport(
        created=tuple(missing),
        existing=tuple(name for name in existing if name not in corrected),
        corrected=tuple(corrected),
    )


def check_topics(settings: Settings, timeout_s: float = _TIMEOUT_S) -> None:
    """Raise `TopicMismatchError` if a topic is missing or has another number of partitions, and change nothing.

    Whoever writes to a topic that is missing may have the broker make it, with partitions and settings of its own.
    Raise `BrokerUnreachableError` if no broker answers.
    """
    admin = AdminClient(client_config(settings, "admin"))
    wanted = {topic_name(topic, settings.topic_prefix): topic for topic in TOPICS}
    try:
        found = admin.list_topics(timeout=timeout_s).topics
    except KafkaException as error:
        raise _unreachable(settings.bootstrap_servers, timeout_s) from error
    missing = [name for name in wanted if name not in found]
    if missing:
        raise TopicMismatchError(f"the broker has no topic {', '.join(missing)}: run `liquidations topics` first")
    _refuse_other_partitions(wanted, {name: len(found[name].partitions) for name in wanted}, settings)


def delete_topics(settings: Settings, timeout_s: float = _TIMEOUT_S) -> tuple[str, ...]:
    """Delete every topic of ours that is there and return their names. Raise as `create_topics` does."""
    admin = AdminClient(client_config(settings, "admin"))
    try:
        found = admin.list_topics(timeout=timeout_s).topics
        names = [name for name in (topic_name(topic, settings.topic_prefix) for topic in TOPICS) if name in found]
        if names:
            for deleted in admin.delete_topics(names, request_timeout=timeout_s).values():
                deleted.result(timeout_s)
    except KafkaException as error:
        raise _unreachable(settings.bootstrap_servers, timeout_s) from error
    return tuple(names)


def _refuse_other_partitions(wanted: Mapping[str, Topic], existing: Mapping[str, int], settings: Settings) -> None:
    for name, partitions in existing.items():
        ours = wanted[name].partitions or settings.partitions
        if partitions != ours:
            raise TopicMismatchError(
                f"topic {name} has {partitions} partitions, the settings say {ours}: set LIQUIDATIONS_PARTITIONS, or"
                " another topic prefix"
            )


def _create(admin: AdminClient, missing: Mapping[str, Topic], settings: Settings, timeout_s: float) -> None:
    new = [
        NewTopic(name, topic.partitions or settings.partitions, settings.replication_factor, config=topic.config)
        for name, topic in missing.items()
    ]
    if not new:
        return
    for name, created in admin.create_topics(new, operation_timeout=timeout_s, request_timeout=timeout_s).items():
        try:
            created.result(timeout_s)
        except KafkaException as error:
            cause = error.args[0]
            # Another process was quicker; both want the same.
            if cause.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                continue
            if cause.retriable() or cause.code() in _NO_ANSWER:
                raise
            raise TopicMismatchError(f"the broker refuses topic {name}: {cause.str()}") from error


def _wait_until_known(admin: AdminClient, created: list[str], timeout_s: float) -> None:
    """Return when the broker names the new topics to clients, which takes a moment after it has made them."""
    deadline = time.monotonic() + timeout_s
    while True:
        known = admin.list_topics(timeout=timeout_s).topics
        if all(name in known and known[name].partitions for name in created):
            return
        if time.monotonic() > deadline:
            raise TopicMismatchError(f"the broker made {', '.join(created)} and does not show them")
        time.sleep(_LOOK_AGAIN_S)


def _correct(admin: AdminClient, existing: Mapping[str, Topic], timeout_s: float) -> list[str]:
    """Set what differs from ours on the topics that are there, and return their names."""
    resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in existing]
    if not resources:
        return []
    changed = []
    for resource, described in admin.describe_configs(resources, request_timeout=timeout_s).items():
        found = described.result(timeout_s)
        entries = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
            for key, value in existing[resource.name].config.items()
            if key in found and found[key].value != value
        ]
        if entries:
            changed.append(ConfigResource(ConfigResource.Type.TOPIC, resource.name, incremental_configs=entries))
    if changed:
        for altered in admin.incremental_alter_configs(changed, request_timeout=timeout_s).values():
            altered.result(timeout_s)
    return [resource.name for resource in changed]


def _unreachable(bootstrap_servers: str, timeout_s: float) -> BrokerUnreachableError:
    return BrokerUnreachableError(
        f"no Kafka broker answers at {bootstrap_servers} within {timeout_s:g} s: start one, or set"
        " LIQUIDATIONS_BOOTSTRAP_SERVERS"
    )


_NO_ANSWER = {KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}  # noqa: SLF001 - public constants
