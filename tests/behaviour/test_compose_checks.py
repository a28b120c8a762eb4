"""What docker compose adds to the servers, on a real broker: the image's way with settings, and health checks."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading

import pytest
import yaml
from brokers import SHARED_SETTINGS, fetch_jars, find_java
from confluent_kafka.admin import AdminClient, NewTopic
from conftest import ROOT, build_kafka, wait_until

from pipeline.codec import Codec
from pipeline.ingest.publisher import Publisher
from pipeline.ingest.topic_admin import create_topics
from pipeline.records import Heartbeat
from pipeline.settings import Settings

ANSWERS = ROOT / "infra" / "kafka" / "answers.sh"
CHECK_INGEST = ROOT / "infra" / "compose" / "check_ingest.py"
CHECK_MEMBER = ROOT / "infra" / "compose" / "check_member.py"
# The image brings these two; their content does not matter here.
LOG_SETTINGS = "Configuration:\n  Appenders: {}\n  Loggers:\n    Root:\n      level: INFO\n    Logger: []\n"


def asks(address):
    host, _, port = address.partition(":")
    command = [shutil.which("bash"), ANSWERS, host, port]
    return subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0


def is_member(address, group, prefix=""):
    environment = {**os.environ, "LIQUIDATIONS_BOOTSTRAP_SERVERS": address, "LIQUIDATIONS_TOPIC_PREFIX": prefix}
    command = [sys.executable, CHECK_MEMBER, group]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)


@pytest.mark.kafka
def test_settings_that_the_image_makes_are_those_of_the_tests(tmp_path):
    """The image's own program merges the mounted file and the environment."""
    kafka = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["kafka"]
    folders = {name: tmp_path / name for name in ("defaults", "mounted", "final")}
    for folder in folders.values():
        folder.mkdir()
    for name in ("log4j2.yaml", "tools-log4j2.yaml"):
        (folders["defaults"] / name).write_text(LOG_SETTINGS)
    (folders["defaults"] / "server.properties").touch()
    (folders["mounted"] / "server.properties").write_text(SHARED_SETTINGS.read_text())
    environment = {**os.environ, **kafka["environment"], "KAFKA_LOG_DIRS": str(tmp_path / "data")}
    # `setup` also formats the data folder, which fails for settings that a broker would not start with.
    words = ["-cp", f"{fetch_jars()}/*", "kafka.docker.KafkaDockerWrapper", "setup"]
    places = ["-D", folders["defaults"], "-M", folders["mounted"], "-F", folders["final"]]
    made = subprocess.run([find_java(), *words, *places], env=environment, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    assert (tmp_path / "data" / "meta.properties").is_file()
    final = properties((folders["final"] / "server.properties").read_text())
    tests = properties((build_kafka(tmp_path / "kafka").folder / "server.properties").read_text())
    differing = {name for name in final.keys() | tests.keys() if final.get(name) != tests.get(name)}
    assert differing == {"listeners", "advertised.listeners", "controller.quorum.voters", "log.dirs"}


def properties(text):
    lines = (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def test_broker_is_well_only_while_it_answers(own_kafka):
    kafka_broker = own_kafka()
    assert asks(kafka_broker.bootstrap_servers)
    kafka_broker.pause()
    assert not asks(kafka_broker.bootstrap_servers)
    kafka_broker.resume()
    wait_until(lambda: asks(kafka_broker.bootstrap_servers))
    kafka_broker.kill()
    assert not asks(kafka_broker.bootstrap_servers)


def test_another_server_is_not_taken_for_a_broker():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(64)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        server = threading.Thread(target=serve)
        server.start()
        assert not asks(f"127.0.0.1:{listener.getsockname()[1]}")
        server.join(10)


def test_member_is_well_until_the_broker_misses_it(kafka, topic_prefix):
    topic = topic_prefix + "words"
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(10)
    program = (
        "import sys; from confluent_kafka import Consumer\n"
        "consumer = Consumer({'bootstrap.servers': sys.argv[1], 'group.id': sys.argv[2], 'session.timeout.ms': 6000})\n"
        "consumer.subscribe([sys.argv[3]])\n"
        "while True: consumer.poll(1.0)"
    )
    # A broker that has just begun looks for the group's coordinator first.
    wait_until(lambda: "is not among the members" in is_member(kafka, "sink", topic_prefix).stderr, poll_s=0.5)
    assert is_member(kafka, "sink", topic_prefix).returncode == 1
    command = [sys.executable, "-c", program, kafka, f"{topic_prefix}sink", topic]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as member:
        try:
            wait_until(lambda: is_member(kafka, "sink", topic_prefix).returncode == 0, poll_s=0.5)
            assert is_member(kafka, "worker", topic_prefix).returncode == 1
            # A process that hangs.
            member.send_signal(signal.SIGSTOP)
            wait_until(lambda: is_member(kafka, "sink", topic_prefix).returncode == 1, poll_s=0.5)
        finally:
            member.kill()


def test_member_of_an_absent_broker_is_not_well():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        absent = f"127.0.0.1:{probe.getsockname()[1]}"
    checked = is_member(absent, "sink")
    assert checked.returncode == 1
    assert "refused" in checked.stderr
    assert "Traceback" not in checked.stderr


def hears(address, collector, prefix="", lately_s=30):
    environment = {
        **os.environ,
        "LIQUIDATIONS_BOOTSTRAP_SERVERS": address,
        "LIQUIDATIONS_TOPIC_PREFIX": prefix,
        "LIQUIDATIONS_COLLECTOR": collector,
    }
    command = [sys.executable, CHECK_INGEST, str(lately_s)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)


def test_ingest_is_well_while_its_heartbeats_come(kafka, topic_prefix):
    settings = Settings(bootstrap_servers=kafka, topic_prefix=topic_prefix, partitions=2)
    create_topics(settings)
    publisher = Publisher(settings, Codec())
    assert "no heartbeat of the collector tokyo" in hears(kafka, "tokyo", topic_prefix).stderr
    # Down is a heartbeat, too: the process is well although the exchange is not.
    publisher.heartbeat(Heartbeat("bybit", "linear", "tokyo", 1_800_000_000_000, "down", 0, None))
    publisher.flush()
    assert hears(kafka, "tokyo", topic_prefix).returncode == 0
    assert hears(kafka, "paris", topic_prefix).returncode == 1
    # A process that hangs.
    wait_until(lambda: hears(kafka, "tokyo", topic_prefix, lately_s=1).returncode == 1)


def test_ingest_without_topics_or_broker_is_not_well(kafka, topic_prefix):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        absent = f"127.0.0.1:{probe.getsockname()[1]}"
    for address in (kafka, absent):
        checked = hears(address, "tokyo", topic_prefix)
        assert checked.returncode == 1
        assert "Traceback" not in checked.stderr
        assert "KafkaError" in checked.stderr
