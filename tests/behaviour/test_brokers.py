import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from brokers import answers
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from conftest import wait_until

from pipeline.embedded.broker import EmbeddedBroker, EmbeddedBrokerError


def make_topic(bootstrap_servers, name):
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(10)


def produce(bootstrap_servers, topic, values):
    producer = Producer({"bootstrap.servers": bootstrap_servers, "enable.idempotence": True})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(20) == 0


def consume(bootstrap_servers, topic, count):
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": topic})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    found = []
    deadline = time.monotonic() + 30
    while len(found) < count and time.monotonic() < deadline:
        found += [message.value() for message in consumer.consume(100, 0.2) if message.error() is None]
    consumer.close()
    return found


def test_what_is_written_is_read(broker, topic_prefix):
    make_topic(broker, topic_prefix + "words")
    produce(broker, topic_prefix + "words", [b"one", b"two"])
    assert consume(broker, topic_prefix + "words", 2) == [b"one", b"two"]


def test_embedded_broker_takes_the_port_that_it_is_given(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with EmbeddedBroker(tmp_path, port=port) as embedded:
        assert embedded.bootstrap_servers == f"127.0.0.1:{port}"
        assert answers(embedded.bootstrap_servers)
    assert not answers(f"127.0.0.1:{port}")


def test_embedded_broker_says_that_a_port_is_taken(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(EmbeddedBrokerError, match=f"port {port} on 127.0.0.1 is taken"):
            EmbeddedBroker(tmp_path, port=port).start()


def test_two_embedded_brokers_live_side_by_side(tmp_path):
    with EmbeddedBroker(tmp_path / "a") as one, EmbeddedBroker(tmp_path / "b") as two:
        assert one.bootstrap_servers != two.bootstrap_servers
        make_topic(one.bootstrap_servers, "only-here")
        topics = AdminClient({"bootstrap.servers": two.bootstrap_servers}).list_topics(timeout=5).topics
        assert "only-here" not in topics


def test_embedded_broker_stops_twice_and_has_no_address_then(tmp_path):
    embedded = EmbeddedBroker(tmp_path)
    embedded.start()
    embedded.stop()
    embedded.stop()
    with pytest.raises(EmbeddedBrokerError, match="not running"):
        _ = embedded.bootstrap_servers


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills the child of a killed parent")
def test_embedded_broker_dies_with_a_killed_parent(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from pipeline.embedded.broker import EmbeddedBroker\n"
        "broker = EmbeddedBroker(Path(sys.argv[1])); broker.start()\n"
        "print(broker.bootstrap_servers, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        address = parent.stdout.readline().strip()
        assert answers(address)
        os.kill(parent.pid, signal.SIGKILL)
    wait_until(lambda: not answers(address), timeout_s=5)


def test_kafka_keeps_its_data_and_port_over_a_kill(own_kafka):
    kafka_broker = own_kafka()
    address = kafka_broker.bootstrap_servers
    make_topic(address, "kept")
    produce(address, "kept", [b"before"])
    kafka_broker.kill()
    assert not answers(address)
    kafka_broker.start()
    assert kafka_broker.bootstrap_servers == address
    produce(address, "kept", [b"after"])
    assert consume(address, "kept", 2) == [b"before", b"after"]


def test_kafka_is_frozen_and_woken(own_kafka):
    kafka_broker = own_kafka()
    kafka_broker.pause()
    assert not answers(kafka_broker.bootstrap_servers)
    kafka_broker.resume()
    wait_until(lambda: answers(kafka_broker.bootstrap_servers))
    kafka_broker.restart()
    assert answers(kafka_broker.bootstrap_servers)
