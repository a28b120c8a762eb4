from __future__ import annotations

import random
from dataclasses import replace

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError
from unit.warehouse.rows import DAY, MINUTE, Kept, bar, coverage, liquidation, store

from pipeline.codec import HEADER_BYTES, container, frame_body
from pipeline.warehouse.client import WarehouseError
from pipeline.warehouse.failures import AwayError, RecordsRefusedError, insert_failure
from pipeline.warehouse.grouping import Block, group, targets
from pipeline.warehouse.inserting import MOST_REFUSALS, insert_or_refuse

EVENTS = "liquidations_data.events"


def rows(client, columns="notional_micros", table=EVENTS):
    return client.query(f"SELECT {columns} FROM {table} ORDER BY ALL").result_rows  # noqa: S608 - names of our own


def broken(codec, number):
    """Values that are framed as a liquidation and are none, by what is wrong with them."""
    value = codec.encode(liquidation(number))
    bar_body = codec.encode(bar())[HEADER_BYTES:]
    return {
        "last byte cut": value[:-1],
        "cut to half": value[: len(value) // 2],
        "no body": value[:HEADER_BYTES],
        "a byte too many": value + b"\0",
        "twice": value + value[HEADER_BYTES:],
        "first byte of the body missing": value[:HEADER_BYTES] + value[HEADER_BYTES + 1 :],
        "a bar": frame_body(codec.ids["liquidation.v2"], bar_body),
        "huge length": value[: HEADER_BYTES + 16]
        + b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f"
        + value[HEADER_BYTES + 16 :],
        "negative length": value[: HEADER_BYTES + 16] + b"\x01" + value[HEADER_BYTES + 17 :],
    }


KINDS = [
    "last byte cut",
    "cut to half",
    "no body",
    "a byte too many",
    "twice",
    "first byte of the body missing",
    "a bar",
    "huge length",
    "negative length",
]


@pytest.mark.parametrize("place", [0, 50, 99])
@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_record_is_refused_and_its_neighbours_go_in(client, codec, kind, place):
    values = [codec.encode(liquidation(number)) for number in range(100)]
    values[place] = broken(codec, place)[kind]

    refused = store(client, codec, values)

    assert [refusal.message.offset() for refusal in refused] == [place]
    assert refused[0].reason in {"truncated_record", "overlong_record"}
    expected = sorted(liquidation(number).notional_micros for number in range(100) if number != place)
    assert [row[0] for row in rows(client)] == expected


def test_bytes_moved_from_one_record_to_its_neighbour_make_no_rows(client, codec):
    values = [codec.encode(liquidation(number)) for number in range(20)]
    values[7], values[8] = values[7] + b"\0", values[8][:-1]
    values[12] = values[12][:-1]
    values[13] = values[13][:HEADER_BYTES] + b"\0" + values[13][HEADER_BYTES:]

    refused = store(client, codec, values)

    assert [refusal.message.offset() for refusal in refused] == [7, 8, 12, 13]
    assert len(rows(client)) == 16


def test_bars_whose_bodies_could_be_read_shifted_make_no_rows(client, codec):
    # A bar's body starts with text, so an empty text before it could pass for the exchange.
    values = [codec.encode(bar(start=1_733_356_800_000 + 60_000 * number)) for number in range(50)]
    values[10] = values[10][:HEADER_BYTES] + b"\0" + values[10][HEADER_BYTES:]

    refused = store(client, codec, values)

    assert [refusal.message.offset() for refusal in refused] == [10]
    assert rows(client, "DISTINCT exchange, symbol, asset", "liquidations_data.bars") == [("binance", "BTCUSDT", "BTC")]
    assert rows(client, "count()", "liquidations_data.bars") == [(49,)]


@pytest.mark.parametrize("seed", range(20))
def test_random_damage_never_changes_the_good_rows(client, codec, seed):
    dice = random.Random(seed)
    values = [codec.encode(liquidation(number)) for number in range(60)]
    damaged = dice.sample(range(60), k=dice.randint(1, 6))
    for place in damaged:
        value = bytearray(values[place])
        match dice.choice(["cut", "grow", "drop"]):
            case "cut":
                del value[dice.randint(HEADER_BYTES, len(value) - 1) :]
            case "grow":
                value += dice.randbytes(dice.randint(1, 30))
            case "drop":
                del value[dice.randint(HEADER_BYTES, len(value) - 1)]
        values[place] = bytes(value)

    refused = store(client, codec, values)

    refused_places = {refusal.message.offset() for refusal in refused}
    assert refused_places <= set(damaged)
    good = {liquidation(number).notional_micros for number in range(60) if number not in damaged}
    found = [row[0] for row in rows(client)]
    assert good <= set(found)
    assert len(found) == 60 - len(refused)


def test_unframed_and_unknown_values_are_refused_with_their_reason(client, codec):
    values = [b"", b"\0\0", b"{}{}{}", frame_body(4_000, b"x"), codec.encode(coverage())]

    refused = store(client, codec, values)

    assert [refusal.reason for refusal in refused] == [
        "truncated_record",
        "truncated_record",
        "not_framed",
        "unknown_schema",
    ]
    assert rows(client, "count()", "liquidations_data.coverage") == [(1,)]


def test_a_record_without_value_is_refused(codec):
    grouped = group([Kept(None)], targets(codec))

    assert [refusal.reason for refusal in grouped.refused] == ["truncated_record"]


@pytest.mark.parametrize("table", [EVENTS, f"{EVENTS}_in"])
def test_containers_of_our_schemas_go_in_untouched(client, codec, table):
    bodies = [codec.encode(liquidation(number))[HEADER_BYTES:] for number in range(10)]
    block = container(codec.schemas["liquidation.v2"].document, bodies)

    client.raw_insert(table, insert_block=block, fmt="Avro")

    assert len(rows(client)) == 10


def test_records_of_old_and_new_versions_go_in_together(client, codec):
    def in_version(record, key):
        return frame_body(codec.ids[key], codec.body_of(record, codec.schemas[key]))

    unproved = replace(liquidation(2), position_proved=False)
    contract = replace(coverage(alive_ms=7), symbol="BTCUSDT")
    values = [
        in_version(liquidation(1), "liquidation.v1"),
        in_version(unproved, "liquidation.v2"),
        in_version(coverage(DAY), "coverage.v1"),
        in_version(contract, "coverage.v2"),
        in_version(coverage(DAY + MINUTE), "coverage.v2"),
    ]

    assert store(client, codec, values) == []

    assert rows(client, "source.sequence, position_proved") == [(1, True), (2, False)]
    starts = rows(client, "toUnixTimestamp64Milli(start)", "liquidations_data.coverage")
    assert starts == [(DAY,), (DAY + MINUTE,)]
    assert rows(client, "symbol, alive_ms", "liquidations_data.contract_coverage") == [("BTCUSDT", 7)]


def test_every_field_arrives_as_it_was(client, codec):
    event = liquidation(3, order_price=None)
    store(client, codec, [event])

    (found,) = client.query("SELECT * FROM liquidations_data.events").named_results()

    assert bytes(found["event_id"]) == event.event_id
    for name in ("exchange", "symbol", "instrument", "asset", "quote", "margin", "position", "price", "price_kind"):
        assert found[name] == getattr(event, name)
    assert found["order_price"] is None
    assert (found["quantity"], found["notional_micros"]) == (event.quantity, event.notional_micros)
    assert found["event_time"].timestamp() * 1_000 == event.event_time
    assert round(found["received_time"].timestamp() * 1_000_000) == event.received_time
    assert found["source"] == {"channel": "forceOrder", "connection": "tokyo-1", "sequence": 3, "index": 0}


def test_a_well_formed_record_that_is_refused_is_found_by_halving(codec):
    messages = [Kept(codec.encode(liquidation(number)), number) for number in range(64)]
    taken = []

    def insert(block):
        if any(message.offset() in {5, 40} for message in block.messages):
            raise RecordsRefusedError("no")
        taken.extend(message.offset() for message in block.messages)

    (block,) = group(messages, targets(codec)).blocks
    refused = insert_or_refuse(block, insert, codec)

    assert [(refusal.message.offset(), refusal.reason) for refusal in refused] == [
        (5, "refused_by_clickhouse"),
        (40, "refused_by_clickhouse"),
    ]
    assert sorted(taken) == [number for number in range(64) if number not in {5, 40}]


def test_a_table_that_refuses_everything_stops_the_sink_instead_of_filling_the_dead_letters(codec):
    messages = [Kept(codec.encode(liquidation(number)), number) for number in range(MOST_REFUSALS * 3)]
    (block,) = group(messages, targets(codec)).blocks

    def insert(_block: Block) -> None:
        raise RecordsRefusedError("no")

    with pytest.raises(WarehouseError, match="one well-formed record after the other"):
        insert_or_refuse(block, insert, codec)


def test_an_outage_is_passed_on_unless_a_broken_record_is_behind_it(codec):
    whole = [Kept(codec.encode(liquidation(number)), number) for number in range(4)]
    cut = Kept(codec.encode(liquidation(9))[:-3], 9)
    inserted = []

    def insert(block):
        if any(message is cut for message in block.messages):
            raise AwayError("memory limit exceeded", answered=True)
        inserted.append(len(block.messages))

    def away(_block):
        raise AwayError("connection refused", answered=False)

    (block,) = group([*whole, cut], targets(codec)).blocks
    assert [refusal.message.offset() for refusal in insert_or_refuse(block, insert, codec)] == [9]
    assert inserted == [4]
    with pytest.raises(AwayError):
        insert_or_refuse(block, away, codec)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DatabaseError("Code: 117. DB::Exception: bad. (INCORRECT_DATA)", code=117), RecordsRefusedError),
        (DatabaseError("Code: 469. DB::Exception: bad", code=469), RecordsRefusedError),
        (
            DatabaseError("Code: 1001. std::exception, type: avro::Exception, EOF reached", code=1001),
            RecordsRefusedError,
        ),
        (DatabaseError("Code: 1001. std::exception, type: std::filesystem_error: no space", code=1001), AwayError),
        (DatabaseError("Code: 252. DB::Exception: Too many parts", code=252), AwayError),
        (DatabaseError("Code: 241. DB::Exception: Memory limit exceeded", code=241), AwayError),
        (DatabaseError("Code: 242. DB::Exception: Table is in readonly mode", code=242), AwayError),
        (DatabaseError("Code: 243. DB::Exception: Cannot reserve 1.00 MiB, not enough space", code=243), AwayError),
        (OperationalError("Error HTTPConnectionPool: connection refused"), AwayError),
        (DatabaseError("HTTP driver received HTTP status 503, server response: busy"), AwayError),
        (OSError(28, "No space left on device"), AwayError),
        (DatabaseError("Code: 60. DB::Exception: no such table", code=60), WarehouseError),
        (DatabaseError("Code: 497. DB::Exception: Not enough privileges", code=497), WarehouseError),
        (DatabaseError("Code: 16. DB::Exception: No such column", code=16), WarehouseError),
    ],
)
def test_failures_are_told_apart(error, kind):
    assert isinstance(insert_failure(error), kind)
