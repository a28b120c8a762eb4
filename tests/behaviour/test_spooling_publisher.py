"""The publisher of live collection while Kafka is well, slow, frozen, down or away from the start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from conftest import wait_until
from event_logs import BASE_MS, heartbeat, liquidation

from pipeline.codec import Codec
from pipeline.embedded.broker import EmbeddedBroker
from pipeline.ingest.spool import Spool, claim_spool
from pipeline.ingest.spooling_publisher import Loss, SpoolingPublisher
from pipeline.ingest.topic_admin import create_topics
from pipeline.kafka_client import KafkaUnavailableError, consumer_config
from pipeline.records import Frame
from pipeline.settings import Settings
from pipeline.topics import DEAD_LETTERS, EVENTS, FRAMES, topic_name

pytestmark = pytest.mark.timeout(240)

ROOT = Path(__file__).resolve().parents[2]
PARTITIONS = 3
PROGRAM = """
import sys, time
from pathlib import Path
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/tests", sys.argv[1] + "/tests/behaviour"]
from test_spooling_publisher import keep_publishing
keep_publishing(*sys.argv[2:])
"""


def frame(number, channel="forceOrder", size=100):
    payload = b"%d " % number + b"." * size
    return Frame("binance", channel, "one/c/1-0", number, (BASE_MS + number) * 1000, payload)


def publish(publisher, number, size=100):
    """Publish a frame with two events of different assets and, now and then, a heartbeat."""
    publisher.frame(frame(number, size=size))
    for asset in ("BTC", f"A{number % 7}"):
        publisher.event(replace(liquidation(number), asset=asset))
    if number % 50 == 0:
        publisher.heartbeat(heartbeat(BASE_MS + number))


def keep_publishing(address, prefix, folder, first, started):
    """Publish for ever, and write to the file `started` which frames would outlive a kill and which way they go."""
    settings = settings_of(address, prefix)
    publisher = SpoolingPublisher(settings, Codec(), claim_spool(Path(folder), 10**9), lambda _: None)
    number = int(first)
    while True:
        for _ in range(20):
            publish(publisher, number)
            number += 1
        publisher.hear()
        # Whole or not at all: the kill may come at any moment.
        said = Path(f"{started}.new")
        said.write_text(f"{publisher.way} {int(first) + publisher.safe_position}\n")
        said.rename(started)
        time.sleep(0.005)


def settings_of(address, prefix, **others):
    patience = {"spool_after_ms": 400, **others}
    return Settings(bootstrap_servers=address, topic_prefix=prefix, partitions=PARTITIONS, **patience)


@contextmanager
def publishing(address, prefix, folder, most_bytes=10**9, **settings):
    losses: list[Loss] = []
    spool = claim_spool(folder, most_bytes)
    publisher = SpoolingPublisher(settings_of(address, prefix, **settings), Codec(), spool, losses.append)
    publisher.losses = losses
    try:
        yield publisher
    finally:
        spool.close()


def hear_until(publisher, predicate, timeout_s=90):
    def heard():
        publisher.hear()
        return predicate()

    wait_until(heard, timeout_s=timeout_s, poll_s=0.01)


def is_through(publisher):
    return lambda: publisher.way == "direct" and not publisher.waiting and not publisher.spooled_bytes


def read(address, prefix, topic):
    """Return all records of a topic by partition, in order."""
    settings = settings_of(address, prefix)
    consumer = Consumer(consumer_config(settings, "test", "reader"))
    name = topic_name(topic, prefix)
    partitions = range(topic.partitions or PARTITIONS)
    consumer.assign([TopicPartition(name, partition, OFFSET_BEGINNING) for partition in partitions])
    codec = Codec()
    found = defaultdict(list)
    ended = set()
    while len(ended) < len(partitions):
        for message in consumer.consume(1_000, 1.0):
            if message.error() is None:
                found[message.partition()].append(codec.decode(message.value()))
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
            else:
                raise AssertionError(message.error())
    consumer.close()
    return found


def numbers(address, prefix):
    (found,) = read(address, prefix, FRAMES).values()
    return [one.sequence for one in found]


def assert_whole(address, prefix, count, twice=False):
    """Check that frames 0 to `count` and what belongs to them are there, in order, and once unless `twice`."""
    sent = numbers(address, prefix)
    if not twice:
        assert sent == list(range(count))
    assert list(dict.fromkeys(sent)) == list(range(count))
    by_asset = defaultdict(list)
    for partition in read(address, prefix, EVENTS).values():
        beats = []
        for record in partition:
            if hasattr(record, "event_id"):
                by_asset[record.asset].append(int.from_bytes(record.event_id, "big"))
                # The clock stands where it stood when the record came.
                if not twice:
                    expected = (record.event_id[-1] + 256 * record.event_id[-2] + 65536 * record.event_id[-3]) - 1
                    assert not beats or beats[-1] <= expected
            else:
                beats.append(record.time - BASE_MS)
        assert list(dict.fromkeys(beats)) == list(range(0, count, 50))
        assert twice or len(beats) == len(set(beats))
    assert list(dict.fromkeys(by_asset["BTC"])) == list(range(count))
    for asset in range(7):
        expected = list(range(asset, count, 7))
        assert list(dict.fromkeys(by_asset[f"A{asset}"])) == expected
        assert twice or by_asset[f"A{asset}"] == expected


@pytest.fixture
def own_tansu(tmp_path):
    with EmbeddedBroker(tmp_path / "tansu") as broker:
        yield broker


def test_with_kafka_at_hand_nothing_touches_the_disk(broker, topic_prefix, tmp_path):
    create_topics(settings_of(broker, topic_prefix))
    with publishing(broker, topic_prefix, tmp_path / "spool", spool_after_ms=20_000) as publisher:
        for number in range(3_000):
            publish(publisher, number)
        assert publisher.position == 3_000
        publisher.close()
        assert publisher.safe_position == 3_000
        assert publisher.way == "direct"
    assert list((tmp_path / "spool").rglob("*.spool")) == []
    assert_whole(broker, topic_prefix, 3_000)


@pytest.mark.parametrize("kind", ["tansu", pytest.param("kafka", marks=pytest.mark.kafka)])
def test_while_kafka_is_frozen_records_wait_on_the_disk_and_follow_in_order(kind, request, topic_prefix, tmp_path):
    if kind == "tansu":
        broker = request.getfixturevalue("own_tansu")
        child = broker._child
    else:
        broker = request.getfixturevalue("own_kafka")()
        child = broker._running()
    address = broker.bootstrap_servers
    create_topics(settings_of(address, topic_prefix))
    with publishing(address, topic_prefix, tmp_path / "spool") as publisher:
        for number in range(1_000):
            publish(publisher, number)
        hear_until(publisher, is_through(publisher))
        child.send_signal(signal.SIGSTOP)
        for number in range(1_000, 3_000):
            publish(publisher, number)
        hear_until(publisher, lambda: publisher.way == "spooling")
        assert publisher.safe_position == 3_000
        for number in range(3_000, 6_000):
            publish(publisher, number)
        publisher.hear()
        assert publisher.safe_position == 6_000
        child.send_signal(signal.SIGCONT)
        number = 6_000
        # More comes while the spool is read.
        while publisher.way != "direct":
            publish(publisher, number)
            number += 1
            publisher.hear()
        publish(publisher, number)
        hear_until(publisher, is_through(publisher))
        assert not publisher.losses
    assert_whole(address, topic_prefix, number + 1)
    assert list((tmp_path / "spool").rglob("*.spool")) == []


def test_kafka_that_is_stopped_and_started_again_twice(own_kafka, topic_prefix, tmp_path):
    broker = own_kafka()
    create_topics(settings_of(broker.bootstrap_servers, topic_prefix))
    number = 0
    with publishing(broker.bootstrap_servers, topic_prefix, tmp_path / "spool") as publisher:

        def some(count):
            nonlocal number
            for _ in range(count):
                publish(publisher, number)
                number += 1
                if number % 100 == 0:
                    publisher.hear()

        some(500)
        for _ in range(2):
            broker.kill()
            some(1_000)
            hear_until(publisher, lambda: publisher.way == "spooling")
            some(1_000)
            broker.start()
            hear_until(publisher, lambda: publisher.way != "spooling")
            some(1_000)
        hear_until(publisher, is_through(publisher))
        publisher.close()
    # A broker that is killed may have written what it could not confirm any more.
    assert_whole(broker.bootstrap_servers, topic_prefix, number, twice=True)


def test_ingest_that_is_killed_while_kafka_is_away_leaves_everything_to_the_next(own_kafka, topic_prefix, tmp_path):
    broker = own_kafka()
    address, folder = broker.bootstrap_servers, tmp_path / "spool"
    create_topics(settings_of(address, topic_prefix))
    first = 0
    for kills in range(3):
        said = tmp_path / f"said-{kills}"
        words = [sys.executable, "-c", PROGRAM, ROOT, address, topic_prefix, folder, str(first), said]
        child = subprocess.Popen(words)
        try:
            wait_until(lambda said=said: said.exists() and said.read_text().startswith("direct"), 60)
            broker.kill() if kills < 2 else broker.pause()
            wait_until(lambda said=said: said.read_text().startswith("spooling"), 60)
            time.sleep(0.5)
        finally:
            child.kill()
            child.wait()
        first = int(said.read_text().split()[1])
        broker.start() if kills < 2 else broker.resume()
        # What came after the last word about it may be there, too.
        with publishing(address, topic_prefix, folder) as publisher:
            assert publisher.way == "draining"
            hear_until(publisher, is_through(publisher))
        sent = sorted(set(numbers(address, topic_prefix)))
        assert sent == list(range(len(sent)))
        assert len(sent) >= first
        first = len(sent)
    assert_whole_between_kills(address, topic_prefix, first)


def assert_whole_between_kills(address, prefix, count):
    by_asset = defaultdict(list)
    for partition in read(address, prefix, EVENTS).values():
        for record in partition:
            if hasattr(record, "event_id"):
                by_asset[record.asset].append(int.from_bytes(record.event_id, "big"))
    assert list(dict.fromkeys(by_asset["BTC"])) == list(range(count))
    for asset in range(7):
        assert list(dict.fromkeys(by_asset[f"A{asset}"])) == list(range(asset, count, 7))


def test_kafka_that_is_away_from_the_start(own_kafka, topic_prefix, tmp_path):
    broker = own_kafka()
    create_topics(settings_of(broker.bootstrap_servers, topic_prefix))
    broker.stop()
    with publishing(broker.bootstrap_servers, topic_prefix, tmp_path / "spool") as publisher:
        for number in range(2_000):
            publish(publisher, number)
        hear_until(publisher, lambda: publisher.way == "spooling")
        broker.start()
        hear_until(publisher, is_through(publisher))
    assert_whole(broker.bootstrap_servers, topic_prefix, 2_000)


def test_stopping_while_kafka_is_away_is_quick_and_loses_nothing(own_tansu, topic_prefix, tmp_path):
    address = own_tansu.bootstrap_servers
    create_topics(settings_of(address, topic_prefix))
    with publishing(address, topic_prefix, tmp_path / "spool") as publisher:
        publish(publisher, 0)
        hear_until(publisher, is_through(publisher))
        own_tansu._child.send_signal(signal.SIGSTOP)
        for number in range(1, 1_500):
            publish(publisher, number)
        began = time.monotonic()
        # Sooner than Kafka would count as away.
        publisher.close(0.1)
        assert publisher.spooled_bytes > 0
        del publisher
    assert time.monotonic() - began < 30
    own_tansu._child.send_signal(signal.SIGCONT)
    with publishing(address, topic_prefix, tmp_path / "spool") as publisher:
        for number in range(1_500, 2_000):
            publish(publisher, number)
        publisher.close()
    # The frozen broker had the requests and may have written them when it woke up.
    assert_whole(address, topic_prefix, 2_000, twice=True)


def test_when_the_bound_is_reached_the_newest_are_lost_and_it_is_said(own_tansu, topic_prefix, tmp_path):
    address = own_tansu.bootstrap_servers
    create_topics(settings_of(address, topic_prefix))
    with publishing(address, topic_prefix, tmp_path / "spool", 2 * 1024 * 1024) as publisher:
        publish(publisher, 0)
        hear_until(publisher, is_through(publisher))
        own_tansu._child.send_signal(signal.SIGSTOP)
        publish(publisher, 1)
        hear_until(publisher, lambda: publisher.way == "spooling")
        number = 2
        while not publisher.lost_frames:
            publish(publisher, number, 2_000)
            number += 1
        publisher.hear()
        (began,) = publisher.losses
        last_kept = began.last_kept // 1000 - BASE_MS
        for _ in range(10):
            publish(publisher, number, 2_000)
            number += 1
        # What the collector says of itself still has room.
        publisher.frame(frame(number, "collector"))
        publisher.heartbeat(heartbeat(BASE_MS + number, state="down"))
        publisher.hear()
        assert len(publisher.losses) == 1
        assert publisher.spooled_bytes <= 2 * 1024 * 1024
        own_tansu._child.send_signal(signal.SIGCONT)
        hear_until(publisher, is_through(publisher))
        _, ended = publisher.losses
        lost = number - last_kept - 1
        assert ended.frames == publisher.lost_frames == lost
        assert ended.ended == (BASE_MS + number) * 1000
        again = number + 1
        for number in range(again, again + 100):
            publish(publisher, number)
        publisher.close()
    found = [one.sequence for part in read(address, topic_prefix, FRAMES).values() for one in part]
    assert sorted(found) == [*range(last_kept + 1), *range(last_kept + lost + 1, number + 1)]
    events = read(address, topic_prefix, EVENTS)
    # All of a frame is lost, or nothing.
    kept = {one.received_time // 1000 - BASE_MS for one in frames_of(address, topic_prefix, "forceOrder")}
    assert {
        int.from_bytes(e.event_id, "big") for part in events.values() for e in part if hasattr(e, "event_id")
    } == kept
    for part in events.values():
        assert [e.time - BASE_MS for e in part if getattr(e, "state", "") == "down"] == [last_kept + lost + 1]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"only root may mount a small file system: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.parametrize("first", ["the disk", "kafka"])
def test_a_full_disk_costs_the_newest_until_there_is_room_or_kafka_is_back(first, own_tansu, topic_prefix, small_disk):
    address = own_tansu.bootstrap_servers
    create_topics(settings_of(address, topic_prefix))
    filler = small_disk / "filler"
    with publishing(address, topic_prefix, small_disk / "spool") as publisher:
        publish(publisher, 0)
        hear_until(publisher, is_through(publisher))
        own_tansu._child.send_signal(signal.SIGSTOP)
        filler.write_bytes(b"x" * 3_500_000)
        publish(publisher, 1)
        hear_until(publisher, lambda: publisher.way == "spooling")
        number = 2
        while publisher.lost_frames < 10:
            publish(publisher, number, 1_000)
            number += 1
        publisher.hear()
        assert [loss.ended for loss in publisher.losses] == [None]
        again = number
        if first == "the disk":
            filler.unlink()
            hear_until(publisher, lambda: len(publisher.losses) == 2)
            for number in range(again, again + 50):
                publish(publisher, number)
        own_tansu._child.send_signal(signal.SIGCONT)
        hear_until(publisher, is_through(publisher))
        assert len(publisher.losses) == 2
        if first == "kafka":
            # The disk is as full as before, and nobody minds.
            for number in range(again, again + 50):
                publish(publisher, number)
        publisher.close()
        lost = publisher.lost_frames
    sent = numbers(address, topic_prefix)
    assert sent == [*range(again - lost), *range(again, again + 50)]


def frames_of(address, prefix, channel):
    return [one for part in read(address, prefix, FRAMES).values() for one in part if one.channel == channel]


def test_a_record_that_is_too_large_is_set_aside_and_the_rest_goes_on(kafka, topic_prefix, tmp_path):
    create_topics(settings_of(kafka, topic_prefix))
    chance = os.urandom(6 * 1024 * 1024)
    with publishing(kafka, topic_prefix, tmp_path / "spool") as publisher:
        publish(publisher, 0)
        # The broker takes 4 MB; librdkafka itself refuses 16 MB.
        for payload in (chance, chance * 3):
            publisher.frame(replace(frame(1), payload=payload))
        publish(publisher, 2)
        hear_until(publisher, lambda: publisher.refused_records == 2)
        publisher.close()
    assert numbers(kafka, topic_prefix) == [0, 2]
    letters = [letter for part in read(kafka, topic_prefix, DEAD_LETTERS).values() for letter in part]
    assert [letter.reason for letter in letters] == ["record_too_large"] * 2
    assert all(0 < len(letter.payload) <= 64 * 1024 for letter in letters)


def test_a_list_of_contracts_of_several_megabytes_goes_through(broker, topic_prefix, tmp_path):
    create_topics(settings_of(broker, topic_prefix))
    payload = b"".join(b'{"symbol":"COIN%dUSDT","status":"TRADING","filters":[]},' % n for n in range(80_000))
    with publishing(broker, topic_prefix, tmp_path / "spool") as publisher:
        publisher.frame(replace(frame(0), payload=payload))
        publisher.close()
    (found,) = read(broker, topic_prefix, FRAMES).values()
    assert [one.payload for one in found] == [payload]


def test_a_refusal_for_good_is_raised_and_what_was_refused_is_kept(kafka, topic_prefix, tmp_path):
    with publishing(kafka, topic_prefix, tmp_path / "spool") as publisher:
        # There are no topics.
        publish(publisher, 0)
        with pytest.raises(KafkaUnavailableError, match="refused a record"):
            hear_until(publisher, lambda: False)
    spool = claim_spool(tmp_path / "spool", 10**9)
    assert len([group for group, _ in spool.read() if group]) == 1
    spool.close()


def test_waiting_is_bounded_however_much_comes_at_once(own_tansu, topic_prefix, tmp_path):
    address = own_tansu.bootstrap_servers
    create_topics(settings_of(address, topic_prefix))
    with publishing(address, topic_prefix, tmp_path / "spool") as publisher:
        most = 0
        for number in range(60_000):
            publish(publisher, number, 10)
            most = max(most, publisher.waiting)
        assert most < 51_000
        hear_until(publisher, is_through(publisher))
    assert_whole(address, topic_prefix, 60_000)


def test_a_spool_of_a_process_that_was_killed_is_published_before_what_is_new(tansu, topic_prefix, tmp_path):
    create_topics(settings_of(tansu, topic_prefix))
    folder = tmp_path / "spool"
    left = Spool(folder / "0", 10**9)
    with publishing(tansu, topic_prefix, folder) as other:
        assert other._spool.folder == folder / "1"
        # As if away: into the spool only.
        other._way = "spooling"
        for number in range(500):
            publish(other, number)
        other.flush(0)
    left.close()
    with publishing(tansu, topic_prefix, folder) as publisher:
        for number in range(500, 900):
            publish(publisher, number)
        publisher.close()
    assert_whole(tansu, topic_prefix, 900)
