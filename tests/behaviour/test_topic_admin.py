import os
import socket
import subprocess
import sys
import time

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic
from conftest import wait_until

from pipeline.ingest.topic_admin import (
    BrokerUnreachableError,
    TopicMismatchError,
    check_topics,
    create_topics,
    delete_topics,
)
from pipeline.settings import Settings
from pipeline.topics import DEAD_LETTERS, EVENTS, TOPICS, WORKER_STATE, topic_name

PARTITIONS = 3


def settings_of(broker, prefix, **others):
    return Settings(bootstrap_servers=broker, topic_prefix=prefix, **{"partitions": PARTITIONS, **others})


def names_of(prefix):
    return {topic_name(topic, prefix) for topic in TOPICS}


def topics_on(broker, prefix):
    """Return the partitions of the topics with that prefix, by name."""
    admin = AdminClient({"bootstrap.servers": broker})
    found = admin.list_topics(timeout=10).topics
    return {name: len(topic.partitions) for name, topic in found.items() if name.startswith(prefix)}


def config_of(broker, name):
    admin = AdminClient({"bootstrap.servers": broker})
    resource = ConfigResource(ConfigResource.Type.TOPIC, name)
    return {key: entry.value for key, entry in admin.describe_configs([resource])[resource].result(10).items()}


def create_and_wait(broker, prefix, **others):
    report = create_topics(settings_of(broker, prefix, **others))
    wait_until(lambda: names_of(prefix) <= set(topics_on(broker, prefix)))
    return report


def add_topic(broker, name, partitions, config):
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(10)
    wait_until(lambda: name in topics_on(broker, name))


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_every_topic_is_created_with_its_partitions(broker, topic_prefix):
    report = create_topics(settings_of(broker, topic_prefix))
    assert set(report.created) == names_of(topic_prefix)
    assert report.existing == report.corrected == ()
    wanted = {topic_name(topic, topic_prefix): topic.partitions or PARTITIONS for topic in TOPICS}
    wait_until(lambda: topics_on(broker, topic_prefix) == wanted)


def test_creating_twice_changes_nothing(broker, topic_prefix):
    create_and_wait(broker, topic_prefix)
    before = topics_on(broker, topic_prefix)
    report = create_topics(settings_of(broker, topic_prefix))
    assert report.created == report.corrected == ()
    assert set(report.existing) == names_of(topic_prefix)
    assert topics_on(broker, topic_prefix) == before


def test_topics_have_the_settings_that_keep_what_is_needed(kafka, topic_prefix):
    create_and_wait(kafka, topic_prefix)
    for topic in TOPICS:
        found = config_of(kafka, topic_name(topic, topic_prefix))
        assert found["message.timestamp.type"] == "LogAppendTime"
        assert {key: found[key] for key in topic.config} == topic.config
    assert config_of(kafka, topic_name(WORKER_STATE, topic_prefix))["cleanup.policy"] == "compact"


def test_topics_are_there_when_the_call_returns(broker, topic_prefix):
    """Whoever comes next, worker or sink, looks for them at once."""
    for attempt in range(5):
        prefix = f"{topic_prefix}{attempt}."
        create_topics(settings_of(broker, prefix))
        assert set(topics_on(broker, prefix)) == names_of(prefix)


def test_what_is_missing_is_added(broker, topic_prefix):
    name = topic_name(EVENTS, topic_prefix)
    add_topic(broker, name, PARTITIONS, EVENTS.config)
    report = create_topics(settings_of(broker, topic_prefix))
    assert set(report.created) == names_of(topic_prefix) - {name}
    assert report.existing == (name,)


def test_other_partitions_are_refused_before_anything_is_created(broker, topic_prefix):
    name = topic_name(DEAD_LETTERS, topic_prefix)
    add_topic(broker, name, 2, {})
    with pytest.raises(TopicMismatchError, match=f"topic {name} has 2 partitions, the settings say 1") as refused:
        create_topics(settings_of(broker, topic_prefix))
    assert "\n" not in str(refused.value)
    assert topics_on(broker, topic_prefix) == {name: 2}


def test_another_number_of_partitions_in_the_settings_is_refused(broker, topic_prefix):
    create_and_wait(broker, topic_prefix)
    with pytest.raises(TopicMismatchError, match="LIQUIDATIONS_PARTITIONS"):
        create_topics(settings_of(broker, topic_prefix, partitions=PARTITIONS + 1))


def test_settings_of_a_topic_that_is_there_are_corrected(kafka, topic_prefix):
    events, state = topic_name(EVENTS, topic_prefix), topic_name(WORKER_STATE, topic_prefix)
    add_topic(kafka, events, PARTITIONS, {"message.timestamp.type": "CreateTime", "max.message.bytes": "2000000"})
    add_topic(kafka, state, PARTITIONS, {"cleanup.policy": "delete", "retention.ms": "60000"})
    report = create_and_wait(kafka, topic_prefix)
    assert set(report.corrected) == {events, state}
    assert set(report.created) == names_of(topic_prefix) - {events, state}
    wait_until(lambda: config_of(kafka, events)["message.timestamp.type"] == "LogAppendTime")
    wait_until(lambda: config_of(kafka, state)["cleanup.policy"] == "compact")
    # What the pipeline says nothing about stays as somebody set it.
    assert config_of(kafka, events)["max.message.bytes"] == "2000000"
    assert set(create_topics(settings_of(kafka, topic_prefix)).existing) == names_of(topic_prefix)


def test_more_copies_than_brokers_are_refused(kafka, topic_prefix):
    with pytest.raises(TopicMismatchError, match=f"refuses topic {topic_prefix}"):
        create_topics(settings_of(kafka, topic_prefix, replication_factor=3))
    assert topics_on(kafka, topic_prefix) == {}


def test_only_the_topics_of_the_prefix_are_deleted(broker, topic_prefix):
    mine, others = settings_of(broker, f"{topic_prefix}a."), settings_of(broker, f"{topic_prefix}b.")
    for settings in (mine, others):
        create_and_wait(broker, settings.topic_prefix)
    assert set(delete_topics(mine)) == names_of(mine.topic_prefix)
    wait_until(lambda: topics_on(broker, mine.topic_prefix) == {})
    assert set(topics_on(broker, others.topic_prefix)) == names_of(others.topic_prefix)
    assert delete_topics(mine) == ()


def test_a_check_names_what_is_missing_and_makes_nothing(broker, topic_prefix):
    with pytest.raises(TopicMismatchError, match="run `liquidations topics` first"):
        check_topics(settings_of(broker, topic_prefix))
    assert topics_on(broker, topic_prefix) == {}
    create_and_wait(broker, topic_prefix)
    check_topics(settings_of(broker, topic_prefix))
    with pytest.raises(TopicMismatchError, match="partitions"):
        check_topics(settings_of(broker, topic_prefix, partitions=PARTITIONS + 1))


def test_a_broker_that_is_not_there_is_one_line():
    address = f"127.0.0.1:{closed_port()}"
    began = time.monotonic()
    with pytest.raises(BrokerUnreachableError, match=f"no Kafka broker answers at {address}") as unreachable:
        create_topics(settings_of(address, ""), timeout_s=1.0)
    assert time.monotonic() - began < 10
    assert "\n" not in str(unreachable.value)


def test_a_broker_that_is_silent_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(BrokerUnreachableError, match="LIQUIDATIONS_BOOTSTRAP_SERVERS"):
            create_topics(settings_of(address, ""), timeout_s=1.0)


def test_command_creates_topics_and_says_so(broker, topic_prefix):
    first = run_command(broker, topic_prefix)
    wait_until(lambda: names_of(topic_prefix) == set(topics_on(broker, topic_prefix)))
    second = run_command(broker, topic_prefix)
    assert first.returncode == second.returncode == 0
    assert set(first.stdout.splitlines()) == {f"{name}: created" for name in names_of(topic_prefix)}
    assert set(second.stdout.splitlines()) == {f"{name}: existing" for name in names_of(topic_prefix)}


def test_command_says_in_one_line_that_there_is_no_broker(topic_prefix):
    done = run_command(f"127.0.0.1:{closed_port()}", topic_prefix)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("liquidations: no Kafka broker answers at 127.0.0.1:")


def run_command(address, prefix):
    environment = {
        **os.environ,
        "LIQUIDATIONS_BOOTSTRAP_SERVERS": address,
        "LIQUIDATIONS_TOPIC_PREFIX": prefix,
        "LIQUIDATIONS_PARTITIONS": str(PARTITIONS),
    }
    command = [sys.executable, "-m", "pipeline", "topics"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
