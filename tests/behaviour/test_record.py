"""`liquidations record` between real brokers and real files, and the way back into ClickHouse."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from conftest import wait_until

from pipeline.codec import Codec
from pipeline.embedded.parts import environment_of
from pipeline.embedded.simulator import simulate
from pipeline.feeds.frame_lines import line_of_frame
from pipeline.ingest.manifest import ManifestError
from pipeline.ingest.publisher import Publisher
from pipeline.ingest.record import run_record
from pipeline.ingest.recordings import read_recordings
from pipeline.ingest.topic_admin import create_topics, delete_topics
from pipeline.ingest.verify import missing_in, verify_recordings
from pipeline.kafka_client import KafkaUnavailableError, producer_config
from pipeline.records import Frame
from pipeline.settings import Settings
from pipeline.topics import FRAMES, topic_name
from pipeline.warehouse.client import connect

CODEC = Codec()
PARTITIONS = 3

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def settings(broker: str, topic_prefix: str) -> Settings:
    made = Settings(bootstrap_servers=broker, topic_prefix=topic_prefix, partitions=PARTITIONS, record_interval_ms=30)
    create_topics(made)
    return made


def frames(begin: int, end: int) -> list[Frame]:
    """Return frames of two collectors as a process of each would give them: the receive time rises with each."""
    chance = random.Random(begin)
    found = []
    for number in range(begin, end):
        exchange, channel = chance.choice(["binance", "okx"]), f"channel{chance.randrange(5)}"
        connection = f"{chance.choice(['default', 'second'])}/{channel}/1-0"
        # 90 s before midnight UTC, and over it.
        time_us = 1_763_942_310_000_000 + number * 100_000
        payload = os.urandom(20) if number % 5 == 0 else b'{"number": %d}' % number
        found.append(Frame(exchange, channel, connection, number, time_us, payload))
    return found


def publish(settings: Settings, published: list[Frame]) -> None:
    publisher = Publisher(settings, CODEC)
    for frame in published:
        publisher.frame(frame)
    publisher.flush()


def recorded(folder: Path) -> list[Frame]:
    return [item for item in read_recordings([folder]) if isinstance(item, Frame)]


def until_now(settings: Settings, folder: Path, **options: bool) -> int:
    return run_record(settings, CODEC, folder, threading.Event(), until_now=True, **options).frames


def test_what_was_published_is_what_is_recorded(settings, tmp_path):
    published = frames(0, 2_000)
    publish(settings, published[:1_500])
    assert until_now(settings, tmp_path) == 1_500
    assert recorded(tmp_path) == published[:1_500]
    publish(settings, published[1_500:])
    assert until_now(settings, tmp_path) == 500
    assert until_now(settings, tmp_path) == 0
    assert recorded(tmp_path) == published
    assert all(not found.wrong for found in verify_recordings(tmp_path))
    assert sum(found.frames for found in verify_recordings(tmp_path)) == 2_000
    assert list(missing_in(tmp_path)) == []


def test_from_now_leaves_out_what_was_there(settings, tmp_path):
    published = frames(0, 400)
    publish(settings, published[:300])
    assert until_now(settings, tmp_path, from_now=True) == 0
    publish(settings, published[300:])
    assert until_now(settings, tmp_path, from_now=True) == 100
    assert recorded(tmp_path) == published[300:]


def test_an_empty_log_is_recorded_at_once(settings, tmp_path):
    assert until_now(settings, tmp_path) == 0


def test_what_follows_is_recorded_until_it_is_stopped(settings, tmp_path):
    published = frames(0, 900)
    stop = threading.Event()
    thread = threading.Thread(target=run_record, args=(settings, CODEC, tmp_path, stop))
    thread.start()
    try:
        for begin in range(0, 900, 300):
            publish(settings, published[begin : begin + 300])
            wait_until(lambda end=begin + 300: count(tmp_path) == end)
    finally:
        stop.set()
        thread.join(30)
    assert recorded(tmp_path) == published


def count(folder: Path) -> int:
    return sum(json.loads(path.read_bytes())["frames"] for path in folder.rglob("[!.]*.manifest"))


def test_a_recorder_that_is_killed_again_and_again_loses_and_repeats_nothing(settings, tmp_path):
    published = frames(0, 6_000)
    chance = random.Random(7)
    folder, log = tmp_path / "recordings", tmp_path / "log"
    command = [sys.executable, "-m", "pipeline", "record", "--out", str(folder), "--follow"]
    kills = 0
    with log.open("wb") as out:
        for begin in range(0, 6_000, 500):
            child = subprocess.Popen(command, env=environment_of(settings), stderr=out)
            try:
                before = count(folder) if folder.exists() else 0
                for part in range(begin, begin + 500, 100):
                    publish(settings, published[part : part + 100])
                # Killed while it writes: some of it is in the files, and the rest is not.
                wait_until(lambda before=before, child=child: count(folder) > before or child.poll() is not None)
                time.sleep(chance.random() * 0.05)
                assert child.poll() is None, log.read_text()[-2000:]
            finally:
                child.kill()
                child.wait()
            kills += 1
    assert kills == 12
    assert all(not found.wrong for found in verify_recordings(folder))
    until_now(settings, folder)
    assert recorded(folder) == published
    assert all(not found.wrong for found in verify_recordings(folder))


def test_asked_to_stop_it_writes_what_it_has(settings, tmp_path):
    published = frames(0, 300)
    patient = settings.model_copy(update={"record_interval_ms": 3_600_000})
    publish(settings, published)
    command = [sys.executable, "-m", "pipeline", "record", "--out", str(tmp_path / "out")]
    with (tmp_path / "log").open("wb") as out:
        child = subprocess.Popen(command, env=environment_of(patient), stderr=out)
        wait_until(lambda: b"record_started" in (tmp_path / "log").read_bytes())
        time.sleep(1)
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0
    assert recorded(tmp_path / "out") == published


def test_a_topic_that_was_made_again_is_another_log(settings, tmp_path):
    publish(settings, frames(0, 100))
    until_now(settings, tmp_path)
    delete_topics(settings)
    again = settings.model_copy(update={"topic_prefix": settings.topic_prefix})
    wait_until(lambda: made_again(again))
    publish(again, frames(0, 10))
    with pytest.raises((ManifestError, KafkaUnavailableError), match="another log"):
        until_now(again, tmp_path)


def made_again(settings: Settings) -> bool:
    try:
        create_topics(settings)
    except Exception:
        return False
    return True


def test_what_is_no_frame_is_left_out_and_written_down(settings, tmp_path):
    published = frames(0, 100)
    publish(settings, published[:60])
    producer = Producer(producer_config(settings, "test"))
    producer.produce(topic_name(FRAMES, settings.topic_prefix), value=b"rubbish", key=b"k")
    producer.flush()
    publish(settings, published[60:])
    assert until_now(settings, tmp_path) == 100
    assert until_now(settings, tmp_path) == 0
    assert recorded(tmp_path) == published
    ((_, begin, end),) = missing_in(tmp_path)
    assert end - begin == 1


@pytest.mark.kafka
def test_what_the_broker_deleted_before_it_was_recorded_is_written_down(kafka, topic_prefix, tmp_path):
    from confluent_kafka import TopicPartition

    settings = Settings(bootstrap_servers=kafka, topic_prefix=topic_prefix, partitions=1)
    create_topics(settings)
    published = frames(0, 300)
    publish(settings, published[:100])
    until_now(settings, tmp_path)
    publish(settings, published[100:])
    admin = AdminClient({"bootstrap.servers": kafka})
    name = topic_name(FRAMES, topic_prefix)
    for deleted in admin.delete_records([TopicPartition(name, 0, 150)]).values():
        deleted.result(30)
    assert until_now(settings, tmp_path) == 150
    assert recorded(tmp_path) == published[:100] + published[150:]
    assert list(missing_in(tmp_path)) == [(0, 100, 150)]


def test_a_partition_that_is_added_is_recorded(settings, tmp_path, monkeypatch, request):
    if "kafka" not in request.node.callspec.params.values():
        pytest.skip("the embedded broker adds no partitions")
    from confluent_kafka.admin import NewPartitions

    monkeypatch.setattr("pipeline.ingest.record._LOOK_FOR_PARTITIONS_S", 0.2)
    published = frames(0, 200)
    publish(settings, published[:100])
    stop = threading.Event()
    thread = threading.Thread(target=run_record, args=(settings, CODEC, tmp_path, stop))
    thread.start()
    try:
        wait_until(lambda: count(tmp_path) == 100)
        name = topic_name(FRAMES, settings.topic_prefix)
        admin = AdminClient({"bootstrap.servers": settings.bootstrap_servers})
        for made in admin.create_partitions([NewPartitions(name, PARTITIONS + 2)]).values():
            made.result(30)
        publish(settings.model_copy(), published[100:])
        wait_until(lambda: count(tmp_path) == 200)
    finally:
        stop.set()
        thread.join(30)
    assert recorded(tmp_path) == published


def test_no_topic_and_no_broker_are_one_line(broker, topic_prefix, tmp_path):
    settings = Settings(bootstrap_servers=broker, topic_prefix=topic_prefix)
    with pytest.raises(KafkaUnavailableError, match=r"no topic .*run `liquidations topics`"):
        until_now(settings, tmp_path)


def liquidations(*words: object, check: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *map(str, words)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == check, done.stderr
    return done


def test_a_market_recorded_and_replayed_twice_gives_the_same_rows(settings, tmp_path):
    """Market, topic, files, pipeline: into one database straight, into another by way of the recording."""
    market = tmp_path / "market.jsonl"
    # As of one process of ingest, whose receive times rise.
    published = [
        replace(frame, received_time=frame.received_time + number) for number, frame in enumerate(simulate(7, 0.2))
    ]
    market.write_bytes(b"".join(map(line_of_frame, published)))
    contracts = tmp_path / "contracts.jsonl"
    contracts.write_text(liquidations("simulate", "--list-instruments").stdout)
    publish(settings, published)
    until_now(settings, tmp_path / "recordings")
    data = tmp_path / "data"
    options = ("--data", data, "--instruments", contracts)
    first = liquidations("replay", "--json", *options, "--database", "straight", market)
    second = liquidations("replay", "--json", *options, "--database", "recorded", tmp_path / "recordings")
    assert json.loads(first.stdout) == json.loads(second.stdout)
    assert json.loads(first.stdout)["events"] > 100
    compared = json.loads(liquidations("compare", "--json", "--data", data, "straight", "recorded").stdout)
    assert {table["table"]: table["equal"] for table in compared["tables"]}["events"] > 100
    client = connect(f"chdb://{data}/clickhouse")
    try:
        client.command(
            "INSERT INTO recorded_data.bars SELECT * REPLACE (long_micros + 1 AS long_micros, revision + 2 AS revision)"
            " FROM recorded_data.bars FINAL LIMIT 1"
        )
    finally:
        client.close()
    shown = liquidations("compare", "--data", data, "straight", "recorded", check=1)
    assert "straight and recorded differ" in shown.stderr
    assert "long_micros: " in shown.stdout
    assert "\nbars: " in shown.stdout
    refused = liquidations("replay", *options, "--database", "a; DROP", market, check=1)
    assert "cannot be the name of a database" in refused.stderr
