"""The worker is killed, frozen and cut off from its broker. The rows must be those of one plain fold of the log."""

from __future__ import annotations

import random
import signal
import time

import pytest
from brokers import KafkaBroker
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from conftest import wait_until
from fault_rig import BEGIN_MS, Rig, as_stored, differences, market_log, plain_fold

from pipeline.kafka_client import producer_config
from pipeline.records import Pulse, PulseSum
from pipeline.topics import EVENTS, PULSES, Topic, topic_name

pytestmark = [pytest.mark.faults, pytest.mark.timeout(420)]

WORKER_STEPS = (
    "claimed",
    "decoded",
    "folded",
    "taken",
    "begun",
    "outputs_produced",
    "cells_produced",
    "committed",
    "acknowledged",
)
MARKET_STEPS = tuple(f"market {step}" for step in WORKER_STEPS)


@pytest.fixture
def rig_on(tmp_path, topic_prefix):
    rigs = []

    def build(bootstrap_servers, **changes):
        rigs.append(Rig(bootstrap_servers, tmp_path / f"rig-{len(rigs)}", topic_prefix + str(len(rigs)), **changes))
        return rigs[-1]

    yield build
    for rig in rigs:
        rig.stop()


def has_begun(rig: Rig) -> bool:
    return next(iter(rig.published_rows().bars), None) is not None


def claimed(worker, topic: Topic) -> int:
    """Return how often a worker says that it has claimed a partition of `topic`."""
    lines = worker.rig_log.read_text().splitlines()
    return sum("partition_claimed" in line and f"{topic.name} " in line for line in lines)


def test_twenty_kills_of_three_workers_and_a_sink(kafka, rig_on):
    rig = rig_on(kafka)
    rig.migrate()
    log = market_log(seed=11, seconds=1_800, events_per_second=20)
    workers = [rig.start("worker") for _ in range(3)]
    sink = rig.start("sink")
    publishing = rig.publish(log, over_s=75)
    chance = random.Random(11)
    time.sleep(6)
    for _ in range(20):
        time.sleep(chance.uniform(0.3, 5.0))
        victim = chance.randrange(4)
        if victim == 3:
            sink.kill()
            sink.wait()
            sink = rig.start("sink")
        else:
            workers[victim].kill()
            workers[victim].wait()
            workers[victim] = rig.start("worker")
    publishing.join(120)
    rig.wait_for_worker()
    rig.wait_for_sink()
    sink.terminate()
    assert sink.wait(30) == 0
    expected = plain_fold(log, rig.settings)
    assert not differences(rig.published_rows(), expected)
    bars, coverage, events = rig.stored_rows()
    expected_bars, expected_coverage = as_stored(expected)
    assert bars == expected_bars
    assert coverage == expected_coverage
    assert events == len({record.event_id for record in log if hasattr(record, "event_id")})
    assert not rig.dead_letters()


def test_a_stop_between_every_two_steps_of_a_batch(kafka, rig_on):
    rig = rig_on(kafka, partitions=2)
    log = market_log(seed=12, seconds=600, events_per_second=20)
    share = len(log) // len(WORKER_STEPS)
    for number, step in enumerate(WORKER_STEPS):
        # Each of the two partitions has something to commit, so every step is taken twice at least.
        rig.publish(log[number * share : (number + 1) * share]).join(60)
        worker = rig.start("worker", step, 1 + number % 2)
        assert worker.wait(90) == -signal.SIGKILL, worker.rig_log.read_text()
    rig.publish(log[len(WORKER_STEPS) * share :]).join(60)
    rig.start("worker")
    rig.wait_for_worker()
    assert not differences(rig.published_rows(), plain_fold(log, rig.settings))


def test_a_stop_between_every_two_steps_of_the_market(kafka, rig_on):
    rig = rig_on(kafka, partitions=2)
    log = market_log(seed=19, seconds=600, events_per_second=20)
    share = len(log) // len(MARKET_STEPS)
    for number, step in enumerate(MARKET_STEPS):
        rig.publish(log[number * share : (number + 1) * share]).join(60)
        worker = rig.start("worker", step, 1)
        assert worker.wait(90) == -signal.SIGKILL, worker.rig_log.read_text()
    rig.publish(log[len(MARKET_STEPS) * share :]).join(60)
    rig.start("worker")
    rig.wait_for_worker()
    rows = rig.published_rows()
    assert not differences(rows, plain_fold(log, rig.settings))
    assert sum(row.scope == "market" for row in rows.anomalies.values()) > 5


def test_whoever_holds_the_pulses_is_killed_again_and_again(kafka, rig_on):
    rig = rig_on(kafka, partitions=3)
    log = market_log(seed=20, seconds=900, events_per_second=20)
    workers = [rig.start("worker") for _ in range(2)]
    publishing = rig.publish(log, over_s=40)
    for _ in range(5):
        # Whoever has claimed the pulses and is alive has them, or had them: then it is killed for nothing.
        wait_until(lambda: any(claimed(worker, PULSES) for worker in workers), timeout_s=60, poll_s=0.3)
        number = next(number for number, worker in enumerate(workers) if claimed(worker, PULSES))
        workers[number].kill()
        workers[number].wait()
        workers[number] = rig.start("worker")
    publishing.join(120)
    rig.wait_for_worker()
    rows = rig.published_rows()
    assert not differences(rows, plain_fold(log, rig.settings))
    assert sum(row.scope == "market" for row in rows.anomalies.values()) > 5
    assert not rig.dead_letters()


def test_pulses_of_a_transaction_that_was_given_up_are_not_read(kafka, rig_on):
    rig = rig_on(kafka, partitions=1)
    log = market_log(seed=21, seconds=120, events_per_second=10)
    first = rig.start("worker")
    rig.publish(log[: len(log) // 2]).join(60)
    rig.wait_for_worker()
    producer = Producer(
        {**producer_config(rig.settings, "vandal"), "transactional.id": f"{rig.settings.topic_prefix}v"}
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    second = BEGIN_MS + 100_000
    much = PulseSum(second, "okx", "", 10**15, 0, 1, 0, second, "full", 10**15, bytes(16))
    pulse = Pulse(0, 0, BEGIN_MS + 10**8, 0, False, [much], None)
    producer.produce(topic_name(PULSES, rig.settings.topic_prefix), value=rig.codec.encode(pulse), partition=0)
    assert producer.flush(30) == 0
    producer.abort_transaction(30)
    rig.publish(log[len(log) // 2 :]).join(60)
    rig.wait_for_worker()
    assert first.poll() is None
    assert not differences(rig.published_rows(), plain_fold(log, rig.settings))


def test_a_broker_that_stalls_and_then_a_kill(own_kafka, rig_on):
    broker: KafkaBroker = own_kafka()
    rig = rig_on(broker.bootstrap_servers, partitions=2)
    log = market_log(seed=13, seconds=600, events_per_second=30)
    worker = rig.start("worker")
    publishing = rig.publish(log, over_s=20)
    wait_until(lambda: has_begun(rig), timeout_s=60, poll_s=0.5)
    broker.pause()
    time.sleep(5)
    worker.kill()
    worker.wait()
    broker.resume()
    rig.start("worker")
    publishing.join(120)
    rig.wait_for_worker()
    assert not differences(rig.published_rows(), plain_fold(log, rig.settings))


def test_a_broker_that_restarts(own_kafka, rig_on):
    broker: KafkaBroker = own_kafka()
    rig = rig_on(broker.bootstrap_servers, partitions=2)
    log = market_log(seed=14, seconds=600, events_per_second=30)
    worker = rig.start("worker")
    publishing = rig.publish(log, over_s=20)
    wait_until(lambda: has_begun(rig), timeout_s=60, poll_s=0.5)
    broker.stop()
    time.sleep(2)
    broker.start()
    publishing.join(120)
    if worker.poll() is not None:
        rig.start("worker")  # a supervisor would
    rig.wait_for_worker()
    assert not differences(rig.published_rows(), plain_fold(log, rig.settings))


def test_a_frozen_worker_wakes_up_and_then_the_new_owner_dies(kafka, rig_on):
    rig = rig_on(kafka, partitions=2)
    log = market_log(seed=15, seconds=900, events_per_second=30)
    frozen = rig.start("worker")
    publishing = rig.publish(log, over_s=40)
    wait_until(lambda: has_begun(rig), timeout_s=60, poll_s=0.5)
    frozen.send_signal(signal.SIGSTOP)
    before = sum(rig.worker_lag().values())
    owner = rig.start("worker")
    # The new owner has both partitions once it commits what the frozen one had not.
    wait_until(lambda: (claimed(owner, EVENTS), claimed(owner, PULSES)) == (2, 1), timeout_s=60, poll_s=0.3)
    wait_until(lambda: sum(rig.worker_lag().values()) < max(before, 500), timeout_s=60, poll_s=0.3)
    frozen.send_signal(signal.SIGCONT)
    time.sleep(2)
    owner.kill()
    owner.wait()
    rig.start("worker")
    publishing.join(120)
    rig.wait_for_worker()
    assert not differences(rig.published_rows(), plain_fold(log, rig.settings))


def test_workers_come_and_go_in_the_middle_of_a_crash(kafka, rig_on):
    rig = rig_on(kafka)
    log = market_log(seed=16, seconds=240, events_per_second=150)
    first = rig.start("worker")
    publishing = rig.publish(log, over_s=25)
    wait_until(lambda: has_begun(rig), timeout_s=60, poll_s=0.5)
    others = [rig.start("worker"), rig.start("worker")]
    time.sleep(6)
    first.terminate()
    assert first.wait(30) == 0
    others[0].terminate()
    assert others[0].wait(30) == 0
    publishing.join(120)
    rig.wait_for_worker()
    assert not differences(rig.published_rows(), plain_fold(log, rig.settings))


def test_fetched_batches_that_never_reach_the_agent_are_read_again(kafka, rig_on):
    # Hundreds of batches: the wait below also ends only if the group's offset keeps up with batches, not seconds.
    rig = rig_on(kafka, partitions=2, max_batch_records=20)
    log = market_log(seed=17, seconds=120, events_per_second=30)
    worker = rig.start_forgetful_worker()
    rig.publish(log, over_s=4).join(60)
    rig.wait_for_worker()
    read_again = [line for line in worker.rig_log.read_text().splitlines() if "batch_out_of_order" in line]
    assert len(read_again) > 5
    assert any(topic_name(PULSES, rig.settings.topic_prefix) in line for line in read_again)
    assert not differences(rig.published_rows(), plain_fold(log, rig.settings))


def test_a_first_batch_of_one_record_does_not_hold_the_offset_of_the_group(kafka, rig_on):
    rig = rig_on(kafka, partitions=1)
    log = market_log(seed=19, seconds=60, events_per_second=10)
    rig.start("worker")
    for part in (log[:1], log[1:]):
        rig.publish(part).join(60)
        rig.wait_for_worker()
    assert not differences(rig.published_rows(), plain_fold(log, rig.settings))


def test_records_that_the_broker_deleted_unread_are_told_and_the_rest_is_folded(kafka, rig_on):
    rig = rig_on(kafka, partitions=1)
    log = market_log(seed=18, seconds=120, events_per_second=10)
    first, rest = log[:400], log[400:]
    rig.publish(first).join(60)
    stopped = rig.start("worker", "acknowledged", 1)
    assert stopped.wait(90) == -signal.SIGKILL
    rig.publish(rest).join(60)
    deleted = TopicPartition(topic_name(EVENTS, rig.settings.topic_prefix), 0, 600)
    admin = AdminClient({"bootstrap.servers": kafka})
    for done in admin.delete_records([deleted]).values():
        done.result(30)
    worker = rig.start("worker")
    rig.wait_for_worker()
    told = worker.rig_log.read_text()
    assert "records_deleted_unread" in told
    assert "expected=400 oldest=600" in told
    assert not differences(rig.published_rows(), plain_fold(log[:400] + log[600:], rig.settings))
