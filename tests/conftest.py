"""Fixtures that every part of the suite shares."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import structlog
from brokers import COMMIT_LOCKS, KafkaBroker, KafkaMissingError, in_ci
from hypothesis import HealthCheck, settings

from pipeline.embedded.broker import EmbeddedBroker
from pipeline.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
KAFKA_FIXTURES = {"kafka", "own_kafka"}

# How quick an example is says how busy the machine is, not whether the code is right.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if KAFKA_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.kafka)


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """Let what a command sets for its logs end with the test that ran it.

    No logger is kept either: `capture_logs` hears nothing of one that was.
    """
    configure, before = structlog.configure, structlog.get_config()
    root, ours = logging.getLogger(), logging.getLogger("pipeline")
    handlers, levels = root.handlers, (root.level, ours.level)

    def configure_without_keeping(*arguments: Any, **named: Any) -> None:
        configure(*arguments, **{**named, "cache_logger_on_first_use": False})

    with mock.patch.object(structlog, "configure", configure_without_keeping):
        yield
    configure(**before)
    root.handlers = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def missing(reason: str) -> None:
    """Skip, except where nothing may be skipped."""
    if in_ci():
        pytest.fail(reason)
    pytest.skip(reason)


def wait_until(predicate: Callable[[], object], timeout_s: float = 30.0, poll_s: float = 0.02) -> None:
    """Return once `predicate` is true; fail after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not predicate():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout_s} s: {predicate}")
        time.sleep(poll_s)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of recorded data and samples beside the checkout."""
    path = (ROOT / ".." / "shared").resolve()
    if not path.is_dir():
        missing(f"recorded data are not there: {path}")
    return path


@pytest.fixture(scope="session")
def tansu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an embedded broker."""
    with EmbeddedBroker(tmp_path_factory.mktemp("tansu")) as broker:
        COMMIT_LOCKS[broker.bootstrap_servers] = broker.settings(Settings()).commit_lock_file
        yield broker.bootstrap_servers


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real Apache Kafka."""
    broker = build_kafka(tmp_path_factory.mktemp("kafka"))
    try:
        broker.start()
        yield broker.bootstrap_servers
    finally:
        broker.remove()


@pytest.fixture(params=["tansu", pytest.param("kafka", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest) -> str:
    """The address of each kind of broker in turn."""
    address: str = request.getfixturevalue(request.param)
    return address


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[Callable[[], KafkaBroker]]:
    """Start brokers that a test may kill, freeze and restart."""
    started: list[KafkaBroker] = []

    def start() -> KafkaBroker:
        kafka_broker = build_kafka(tmp_path / f"kafka-{len(started)}")
        started.append(kafka_broker)
        kafka_broker.start()
        return kafka_broker

    yield start
    for kafka_broker in started:
        kafka_broker.remove()


@pytest.fixture
def topic_prefix() -> str:
    """A prefix that keeps this test's topics and groups apart."""
    return f"test-{secrets.token_hex(4)}."


def build_kafka(folder: Path) -> KafkaBroker:
    try:
        return KafkaBroker(folder)
    except KafkaMissingError as reason:
        missing(str(reason))
        raise
