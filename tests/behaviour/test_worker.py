"""The worker on both brokers: the same rows whatever the batches, the processes and the broker."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer
from conftest import wait_until
from fault_rig import Rig, differences, log_with_a_silence, market_log, plain_fold

from pipeline.kafka_client import producer_config
from pipeline.records import Coverage, Heartbeat, MarketDelay, Pulse
from pipeline.topics import BARS, COVERAGE, EVENTS, PULSES, topic_name

pytestmark = pytest.mark.timeout(240)

LOG = market_log(seed=5, seconds=400, events_per_second=6)


@pytest.fixture
def rig(broker, tmp_path, topic_prefix, request):
    built = Rig(broker, tmp_path, topic_prefix, partitions=3, **getattr(request, "param", {}))
    yield built
    built.stop()


@pytest.mark.parametrize("rig", [{"max_batch_records": size} for size in (1, 100, 5_000)], indirect=True)
def test_batch_sizes_do_not_matter(rig):
    rig.start("worker")
    rig.publish(LOG).join(60)
    rig.wait_for_worker()
    assert not differences(rig.published_rows(), plain_fold(LOG, rig.settings))


def test_what_the_rules_find_does_not_depend_on_batches_and_is_the_same_in_both_tables(rig):
    rig.migrate()
    rig.start("worker")
    sink = rig.start("sink")
    rig.publish(LOG).join(60)
    rig.wait_for_worker()
    rig.wait_for_sink()
    sink.terminate()
    assert sink.wait(30) == 0
    rows = rig.published_rows()
    expected = plain_fold(LOG, rig.settings)
    assert not differences(rows, expected)
    assert {row.kind for row in rows.anomalies.values()} >= {"cascade", "ratio", "rolling_threshold"}
    cascades = rig.query(
        "SELECT cascade_id, long_usd, long_count, state, revision FROM liquidations.cascades ORDER BY 1"
    )
    assert cascades == [
        (one.cascade_id.hex(), one.long_micros / 1e6, one.long_count, one.state, one.revision)
        for _, one in sorted(rows.cascades.items())
    ]
    anomalies = rig.query("SELECT anomaly_id, kind, value, state, revision FROM liquidations.anomalies ORDER BY 1")
    assert anomalies == [
        (one.anomaly_id.hex(), one.kind, one.value, one.state, one.revision)
        for _, one in sorted(rows.anomalies.items())
    ]
    priced = rig.query("SELECT count() FROM liquidations.cascades WHERE isNotNull(price_after_1m)")
    assert priced[0][0] > 0


def test_what_a_transaction_holds_back_is_a_lag(rig):
    producer = Producer({**producer_config(rig.settings, "slow"), "transactional.id": f"{rig.settings.topic_prefix}s"})
    producer.init_transactions(30)
    bars = topic_name(BARS, rig.settings.topic_prefix)
    held_back = []
    for number in range(1, 7):
        producer.begin_transaction()
        producer.produce(bars, value=b"a bar", partition=number % 3)
        assert producer.flush(30) == 0
        if number == 1:
            held_back.append(rig.worker_lag()["outputs"])
        producer.commit_transaction(30)
        # The markers of a committed transaction are written a little after it is said to be committed.
        wait_until(lambda: not rig.worker_lag(), poll_s=0.01)
        assert sum(1 for _ in rig.values(BARS)) == number
    assert held_back == [1]


def test_three_workers_are_as_good_as_one(rig):
    for _ in range(3):
        rig.start("worker")
    rig.publish(LOG).join(60)
    rig.wait_for_worker()
    assert not differences(rig.published_rows(), plain_fold(LOG, rig.settings))


def test_the_market_is_watched_across_partitions(rig):
    for _ in range(2):
        rig.start("worker")
    rig.publish(LOG).join(60)
    rig.wait_for_worker()
    rows = rig.published_rows()
    expected = plain_fold(LOG, rig.settings)
    assert rows.anomalies == expected.anomalies
    market = sorted((row for row in rows.anomalies.values() if row.scope == "market"), key=lambda row: row.started)
    assert [row.level for row in market] == list(range(len(market)))
    assert len(market) > 2
    delays = [record for record in rig.records(COVERAGE) if isinstance(record, MarketDelay)]
    last = max(delays, key=lambda delay: (delay.start, delay.revision))
    assert last.newest == last.watermark == max(record.time for record in LOG if isinstance(record, Heartbeat))
    assert last.waiting == 0


def test_what_is_no_pulse_goes_to_the_dead_letters_and_a_hole_is_told(rig):
    rig.publish(LOG).join(60)
    first = rig.start("worker")
    rig.wait_for_worker()
    first.terminate()
    assert first.wait(30) == 0
    topic = topic_name(PULSES, rig.settings.topic_prefix)
    end = max(record.time for record in LOG if isinstance(record, Heartbeat))
    bad = {
        "wrong_record_type": rig.codec.encode(Coverage("binance", "forceOrder", 0, 1, 1, 1)),
        "wrong_partition": rig.codec.encode(Pulse(7, 0, end, 0, False, [], None)),
        "truncated_record": rig.codec.encode(Pulse(0, 0, end, 0, False, [], None))[:-1],
    }
    producer = Producer(producer_config(rig.settings, "vandal"))
    for value in bad.values():
        producer.produce(topic, value=value, partition=0)
    for partition in range(3):
        hole = Pulse(partition, end + 1_000, end + 2_000, 0, False, [], None)
        producer.produce(topic, value=rig.codec.encode(hole), partition=0)
    assert producer.flush(30) == 0
    second = rig.start("worker")
    rig.wait_for_worker()
    assert {letter.reason: letter.payload for letter in rig.dead_letters()} == bad
    assert "records_deleted_unread" in second.rig_log.read_text()
    assert not differences(rig.published_rows(), plain_fold(LOG, rig.settings))


def test_silences_and_contracts_come_once_from_whichever_partition(rig):
    log = log_with_a_silence(seed=3)
    rig.start("worker")
    rig.publish(log).join(60)
    rig.wait_for_worker()
    rows = rig.published_rows()
    assert not differences(rows, plain_fold(log, rig.settings))
    (silence,) = rows.silences.values()
    assert (silence.exchange, silence.revision) == ("binance", 2)
    assert {one.symbol for one in rows.coverage.values()} == {"", "A1USDT"}


def test_what_cannot_be_read_goes_to_the_dead_letters_and_nothing_else_does(rig):
    good = rig.codec.encode(next(record for record in LOG if hasattr(record, "event_id")))
    bad = {
        "truncated_record": good[:-3],
        "overlong_record": good + b"\0",
        "unknown_schema": b"\0\0\0\x27\x0f" + good[5:],
        "wrong_record_type": rig.codec.encode(Coverage("binance", "forceOrder", 0, 1, 1, 1)),
        "not_framed": b"\x07" + good[1:],
    }
    rig.publish(LOG[:500]).join(60)
    producer = Producer(producer_config(rig.settings, "vandal"))
    for value in bad.values():
        producer.produce(topic_name(EVENTS, rig.settings.topic_prefix), value=value, partition=1)
    assert producer.flush(30) == 0
    rig.start("worker")
    rig.publish(LOG[500:]).join(60)
    rig.wait_for_worker()
    assert not differences(rig.published_rows(), plain_fold(LOG, rig.settings))
    letters = {letter.reason: letter for letter in rig.dead_letters()}
    assert {reason: letter.payload for reason, letter in letters.items()} == bad
    assert {(letter.stage, letter.connection) for letter in letters.values()} == {("worker", "1")}
