"""The sink between real brokers and the embedded ClickHouse."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from conftest import wait_until
from unit.warehouse.rows import (
    DAY,
    MINUTE,
    anomaly,
    bar,
    cascade,
    coverage,
    dead_letter,
    liquidation,
    silence,
    subscription,
    tally,
)

from pipeline.codec import HEADER_BYTES, Codec, frame_body
from pipeline.kafka_client import KafkaUnavailableError, producer_config
from pipeline.records import Heartbeat, Record
from pipeline.settings import Settings
from pipeline.topics import ANOMALIES, BARS, COVERAGE, DEAD_LETTERS, EVENTS, SINK_TOPICS, Topic, topic_name
from pipeline.warehouse.client import WarehouseError, connect
from pipeline.warehouse.lag import group_lag, sink_lag
from pipeline.warehouse.migrate import migrate
from pipeline.warehouse.sink import SinkCounts, run_sink

PARTITIONS = 3
CODEC = Codec()


@pytest.fixture(scope="module")
def own_warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = connect(f"chdb://{tmp_path_factory.mktemp('warehouse')}")
    yield client
    client.close()


@pytest.fixture
def warehouse(own_warehouse: Client) -> Client:
    own_warehouse.command("DROP DATABASE IF EXISTS liquidations")
    own_warehouse.command("DROP DATABASE IF EXISTS liquidations_data")
    migrate(own_warehouse)
    return own_warehouse


@pytest.fixture
def settings(broker: str, topic_prefix: str, warehouse: Client) -> Settings:
    return settings_of(broker, topic_prefix, f"chdb://{vars(warehouse)['path']}")


def settings_of(broker: str, prefix: str, url: str) -> Settings:
    made = Settings(
        bootstrap_servers=broker,
        topic_prefix=prefix,
        partitions=PARTITIONS,
        clickhouse_url=url,
        insert_interval_ms=20,
        session_timeout_ms=6_000,
    )
    admin = AdminClient({"bootstrap.servers": broker})
    topics = [
        NewTopic(topic_name(topic, prefix), topic.partitions or PARTITIONS, 1, config=topic.config)
        for topic in SINK_TOPICS
    ]
    for created in admin.create_topics(topics).values():
        created.result(30)
    return made


class Sink:
    """A sink in a thread; its error is raised where the test waits for it."""

    def __init__(self, settings: Settings, observe: Callable[[str], None] | None, client: Client | None) -> None:
        self._stop = threading.Event()
        self.counts: SinkCounts | None = None
        self.error: BaseException | None = None
        self._arguments = (settings, observe or (lambda _step: None), client)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        settings, observe, client = self._arguments
        try:
            self.counts = run_sink(settings, CODEC, self._stop, observe, client)
        except BaseException as error:
            self.error = error

    def join(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()

    def stop(self) -> SinkCounts:
        self._stop.set()
        self.join()
        if self.error is not None:
            raise self.error
        assert self.counts is not None
        return self.counts

    def end(self) -> None:
        self._stop.set()
        self.join()


@contextmanager
def running(
    settings: Settings, observe: Callable[[str], None] | None = None, client: Client | None = None
) -> Iterator[Sink]:
    sink = Sink(settings, observe, client)
    try:
        yield sink
    finally:
        sink.end()


def publish(settings: Settings, topic: Topic, records: list[Record | bytes], transaction: bool = False) -> None:
    config = producer_config(settings, "test")
    name = topic_name(topic, settings.topic_prefix)
    if transaction:
        config["transactional.id"] = settings.topic_prefix + name
    producer = Producer(config)
    if transaction:
        producer.init_transactions(30)
        producer.begin_transaction()
    for number, record in enumerate(records):
        value = record if isinstance(record, bytes) else CODEC.encode(record)
        producer.produce(name, value=value, partition=number % (topic.partitions or PARTITIONS))
    if transaction:
        producer.commit_transaction(30)
    assert producer.flush(30) == 0


def wait_for_rows(settings: Settings) -> None:
    wait_until(lambda: sink_lag(settings) == 0, 60)


def column(client: Client, query: str) -> list[object]:
    return [row[0] for row in client.query(query).result_rows]


def stored_notionals(client: Client) -> list[object]:
    return column(client, "SELECT notional_micros FROM liquidations.events ORDER BY notional_micros")


def test_records_of_all_topics_become_rows(settings, warehouse):
    heartbeat = Heartbeat("binance", "forceOrder", "tokyo", DAY, "up", 1, None)
    publish(settings, EVENTS, [*(liquidation(number) for number in range(1_000)), subscription()])
    publish(settings, EVENTS, [heartbeat] * PARTITIONS)
    publish(settings, BARS, [bar(revision=4), bar(DAY + MINUTE), bar(revision=7)], transaction=True)
    publish(settings, COVERAGE, [coverage(), tally(), silence()], transaction=True)
    publish(
        settings, ANOMALIES, [anomaly(), anomaly(revision=2, state="closed", ended=DAY), cascade()], transaction=True
    )
    publish(settings, DEAD_LETTERS, [dead_letter()])

    with running(settings) as sink:
        wait_for_rows(settings)
        counts = sink.stop()

    assert stored_notionals(warehouse) == [liquidation(number).notional_micros for number in range(1_000)]
    assert column(warehouse, "SELECT state FROM liquidations.anomalies") == ["closed"]
    assert column(warehouse, "SELECT revision FROM liquidations.bars_1m ORDER BY start") == [7, 3]
    assert column(warehouse, "SELECT alive_share FROM liquidations.coverage") == [1.0]
    assert column(warehouse, "SELECT events FROM liquidations.tallies") == [5]
    assert column(warehouse, "SELECT payload FROM liquidations.dead_letters") == ['{"e":"forceOrder"}']
    assert column(warehouse, "SELECT frames FROM liquidations.heartbeats") == [1]
    assert column(warehouse, "SELECT symbol FROM liquidations.subscriptions") == ["BTCUSDT"]
    assert column(warehouse, "SELECT ended FROM liquidations.silences") == [None]
    assert counts.rows == {
        "events": 1_000,
        "bars": 3,
        "coverage": 1,
        "tallies": 1,
        "silences": 1,
        "anomalies": 2,
        "cascades": 1,
        "subscriptions": 1,
        "heartbeats": 1,
        "dead_letters": 1,
    }
    assert (counts.skipped, counts.dead_letters) == (PARTITIONS - 1, 0)


def test_a_second_sink_goes_on_where_the_first_one_stopped(settings, warehouse):
    publish(settings, EVENTS, [liquidation(number) for number in range(30)])
    with running(settings) as first:
        wait_for_rows(settings)
        first.stop()
    publish(settings, EVENTS, [liquidation(number) for number in range(30, 50)])

    with running(settings) as second:
        wait_for_rows(settings)
        counts = second.stop()

    assert counts.rows == {"events": 20}
    assert len(stored_notionals(warehouse)) == 50


def test_broken_records_become_dead_letters_and_the_rest_goes_in(settings, warehouse):
    good = [CODEC.encode(liquidation(number)) for number in range(90)]
    broken = {
        10: (good[10][:-4], "truncated_record"),
        20: (frame_body(4_711, good[20][HEADER_BYTES:]), "unknown_schema"),
        30: (good[30][:HEADER_BYTES] + CODEC.encode(bar())[HEADER_BYTES:], "truncated_record"),
        40: (good[40] + b"more", "overlong_record"),
        50: (b'{"no": "avro"}', "not_framed"),
    }
    publish(settings, EVENTS, [broken[number][0] if number in broken else good[number] for number in range(90)])

    with running(settings) as sink:
        wait_until(lambda: len(column(warehouse, "SELECT reason FROM liquidations.dead_letters")) == len(broken))
        wait_for_rows(settings)
        sink.stop()

    letters = warehouse.query(
        "SELECT stage, channel, toInt64(connection), sequence, reason, if(payload_encoding = 'base64',"
        " base64Decode(payload), payload) FROM liquidations.dead_letters ORDER BY connection, sequence"
    ).result_rows
    expected = [
        ("sink", settings.topic_prefix + "events", number % PARTITIONS, number // PARTITIONS, reason)
        for number, (_value, reason) in broken.items()
    ]
    assert [letter[:5] for letter in letters] == sorted(expected, key=lambda e: e[2:4])
    assert stored_notionals(warehouse) == [
        liquidation(number).notional_micros for number in range(90) if number not in broken
    ]


def test_a_broken_dead_letter_is_stored_once_as_what_it_is(settings, warehouse):
    publish(settings, DEAD_LETTERS, [CODEC.encode(dead_letter())[:-2], dead_letter(1)])

    with running(settings) as sink:
        wait_until(lambda: len(column(warehouse, "SELECT reason FROM liquidations.dead_letters")) == 2)
        wait_for_rows(settings)
        counts = sink.stop()

    assert counts.dead_letters == 1
    assert sorted(column(warehouse, "SELECT stage FROM liquidations.dead_letters")) == ["mapping", "sink"]


def test_a_broken_record_as_large_as_a_message_may_be_still_becomes_a_dead_letter(settings, warehouse):
    publish(settings, EVENTS, [b"x" * 990_000])

    with running(settings) as sink:
        wait_until(lambda: column(warehouse, "SELECT reason FROM liquidations.dead_letters") == ["not_framed"])
        sink.stop()

    (message,) = column(warehouse, "SELECT message FROM liquidations.dead_letters")
    assert "of 990000 bytes" in str(message)


class HaltedError(Exception):
    """Stands for the end of the process: nothing after it runs."""


STEPS = [
    "grouped",
    "inserted events",
    "inserted bars",
    "published dead letters",
    "before commit",
    "committed",
]


def test_a_stop_between_any_two_steps_changes_no_row(settings, warehouse):
    for number, step in enumerate(STEPS):
        events: list[Record | bytes] = [liquidation(60 * number + event) for event in range(60)]
        events[33] = CODEC.encode(liquidation(60 * number + 33))[:-1]
        publish(settings, EVENTS, events)
        publish(settings, BARS, [bar(DAY + MINUTE * (9 * number + minute)) for minute in range(9)], transaction=True)

        with running(settings, halt_at(step)) as sink:
            sink.join()
            assert isinstance(sink.error, HaltedError), step

    with running(settings) as again:
        wait_until(lambda: len(column(warehouse, "SELECT reason FROM liquidations.dead_letters")) == len(STEPS))
        wait_for_rows(settings)
        again.stop()
    expected = [liquidation(number).notional_micros for number in range(60 * len(STEPS)) if number % 60 != 33]
    assert stored_notionals(warehouse) == expected
    assert column(warehouse, "SELECT count() FROM liquidations.bars_1m") == [9 * len(STEPS)]


def halt_at(step: str) -> Callable[[str], None]:
    def observe(reached: str) -> None:
        if reached == step:
            raise HaltedError

    return observe


class Refusing:
    """A client of ClickHouse that fails as often as it is told, then works."""

    def __init__(self, client: Client, errors: list[Exception]) -> None:
        self._client = client
        self.errors = errors
        self.tries = 0

    def raw_insert(self, *arguments: object, **named: object) -> object:
        self.tries += 1
        if self.errors:
            raise self.errors.pop(0)
        return self._client.raw_insert(*arguments, **named)  # type: ignore[arg-type]


def test_while_clickhouse_is_away_nothing_is_committed_and_nothing_is_lost(settings, warehouse):
    away = [
        OperationalError("connection refused"),
        DatabaseError("Code: 252. DB::Exception: Too many parts (TOO_MANY_PARTS)", code=252),
        DatabaseError("Code: 241. DB::Exception: Memory limit exceeded", code=241),
    ]
    refusing = Refusing(warehouse, away)
    publish(settings, EVENTS, [liquidation(number) for number in range(40)])
    behind: list[int] = []

    def observe(step: str) -> None:
        if step == "grouped" and refusing.tries:
            behind.append(sum(group_lag(settings, "sink", [EVENTS]).values()))

    with running(settings, observe, refusing) as sink:
        wait_until(lambda: refusing.tries == 2)
        publish(settings, EVENTS, [liquidation(number) for number in range(40, 55)])
        wait_for_rows(settings)
        counts = sink.stop()

    assert len(behind) >= 3
    assert set(behind[:3]) <= {40, 55}
    assert counts.pauses == 1
    assert counts.dead_letters == 0
    assert stored_notionals(warehouse) == [liquidation(number).notional_micros for number in range(55)]


def test_a_sink_stops_while_clickhouse_is_away(settings, warehouse):
    refusing = Refusing(warehouse, [OperationalError("connection refused")] * 1_000)
    publish(settings, EVENTS, [liquidation(number) for number in range(10)])

    with running(settings, client=refusing) as sink:
        wait_until(lambda: refusing.tries >= 2)
        sink.stop()

    assert sum(group_lag(settings, "sink", [EVENTS]).values()) == 10


def test_a_missing_table_stops_the_sink_with_nothing_committed(settings, warehouse):
    warehouse.command("DROP TABLE liquidations_data.bars_in")
    publish(settings, BARS, [bar()])

    with running(settings) as sink:
        sink.join()

    assert isinstance(sink.error, WarehouseError)
    assert "liquidations migrate" in str(sink.error)
    assert sum(group_lag(settings, "sink", [BARS]).values()) == 1


def test_two_sinks_share_the_work_and_one_takes_over(settings, warehouse):
    with running(settings) as first:
        publish(settings, EVENTS, [liquidation(number) for number in range(300)])
        wait_for_rows(settings)
        with running(settings) as second:
            for round_ in range(1, 6):
                publish(settings, EVENTS, [liquidation(number) for number in range(300 * round_, 300 * round_ + 300)])
            wait_for_rows(settings)
            first.stop()
            publish(settings, EVENTS, [liquidation(number) for number in range(1_800, 2_100)])
            wait_for_rows(settings)
            second.stop()

    assert stored_notionals(warehouse) == [liquidation(number).notional_micros for number in range(2_100)]


def test_the_lag_falls_to_zero_behind_the_markers_of_transactions(settings, warehouse):
    publish(settings, BARS, [bar()], transaction=True)
    assert sum(group_lag(settings, "sink", [BARS]).values()) >= 1

    with running(settings) as sink:
        wait_until(lambda: sink_lag(settings) == 0)
        sink.stop()

    assert column(warehouse, "SELECT count() FROM liquidations.bars_1m") == [1]


def test_missing_topics_and_silent_brokers_are_said_in_one_line(broker, topic_prefix, warehouse):
    nothing = Settings(bootstrap_servers=broker, topic_prefix=topic_prefix)
    with pytest.raises(KafkaUnavailableError, match="liquidations topics"):
        run_sink(nothing, CODEC, threading.Event(), client=warehouse)
    with pytest.raises(KafkaUnavailableError, match="liquidations topics"):
        sink_lag(nothing)


def test_rows_are_there_soon_after_the_append(settings, warehouse):
    with running(settings) as sink:
        publish(settings, EVENTS, [liquidation(0)])
        wait_until(lambda: stored_notionals(warehouse))
        appended = time.monotonic()
        publish(settings, EVENTS, [liquidation(1)])
        wait_until(lambda: len(stored_notionals(warehouse)) == 2, poll_s=0.005)
        sink.stop()

    assert time.monotonic() - appended < 30
