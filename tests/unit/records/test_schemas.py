"""Schemas: examples, versions and ids."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields

import fastavro
import pytest

from pipeline.codec import HEADER_BYTES, RECORD_TYPES, Codec, container, file_ids, load_schemas
from pipeline.locations import SCHEMAS
from pipeline.records import PulseChannel, PulseLargest, PulseSum, RefusedError, Source

EXAMPLES = sorted(SCHEMAS.glob("examples/*/*.json"))
CODEC = Codec()


def unhex(value):
    return [bytes.fromhex(one) for one in value] if isinstance(value, list) else bytes.fromhex(value)


def plain(row: dict[str, object]) -> dict[str, object]:
    return {key.removesuffix("_hex"): unhex(value) if key.endswith("_hex") else value for key, value in row.items()}


def record_of(name: str, row: dict[str, object]):
    values = plain(row)
    if "source" in values:
        values["source"] = Source(**values["source"])
    for listed, part in (("sums", PulseSum), ("channels", PulseChannel), ("largest", PulseLargest)):
        if values.get(listed):
            values[listed] = [part(**plain(one)) for one in values[listed]]
    return RECORD_TYPES[name](**values)


def test_every_version_has_examples():
    assert {path.parent.name for path in EXAMPLES} == set(load_schemas())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_today_reads_and_writes_the_example(path):
    """The bytes stand in the example, so a change of the format is seen even if writer and reader changed together."""
    example = json.loads(path.read_text())
    key = path.parent.name
    record = record_of(key.partition(".")[0], example["record"])
    body = bytes.fromhex(example["body_hex"])
    framed = b"\0" + CODEC.ids[key].to_bytes(4, "big") + body
    assert CODEC.decode(framed) == record
    if key == f"{key.partition('.')[0]}.v{CODEC.newest_version(key.partition('.')[0])}":
        assert CODEC.encode(record) == framed


@pytest.mark.parametrize("key", sorted(load_schemas()))
def test_fields_of_the_newest_version_are_those_of_the_dataclass(key):
    schema = load_schemas()[key]
    if schema.version == CODEC.newest_version(schema.name):
        assert [field["name"] for field in schema.document["fields"]] == [
            field.name for field in fields(RECORD_TYPES[schema.name])
        ]
        assert all(field.get("doc") for field in schema.document["fields"])


def test_a_released_schema_is_never_edited():
    released = json.loads((SCHEMAS / "released.json").read_text())
    assert {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in SCHEMAS.glob("*.avsc")} == released, (
        "a released schema was edited or a new version is not in released.json: a change is a new version"
    )


def test_new_fields_of_a_later_version_have_defaults():
    schemas = load_schemas()
    later = [schema for schema in schemas.values() if schema.version > 1]
    assert later
    for schema in later:
        old = {field["name"] for field in schemas[f"{schema.name}.v{schema.version - 1}"].document["fields"]}
        assert all("default" in field for field in schema.document["fields"] if field["name"] not in old)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("liquidation.v1", {"position_proved": True}),
        ("heartbeat.v1", {"clock_offset_ms": None}),
        ("coverage.v1", {"symbol": ""}),
        ("pulse.v1", {"largest": []}),
    ],
)
def test_new_code_reads_an_old_version(key, expected):
    name = key.partition(".")[0]
    assert CODEC.newest_version(name) > 1
    for path in (SCHEMAS / "examples" / key).glob("*.json"):
        example = json.loads(path.read_text())
        body = bytes.fromhex(example["body_hex"])
        record = CODEC.decode(b"\0" + CODEC.ids[key].to_bytes(4, "big") + body)
        assert {field: getattr(record, field) for field in expected} == expected
        assert CODEC.encode(record)[:HEADER_BYTES] == b"\0" + CODEC.ids[f"{name}.v2"].to_bytes(4, "big")
        # The writing of an old version is what the worker's blocks of old records end with.
        assert CODEC.body_of(record, CODEC.schemas[key]) == body


def test_ids_are_distinct_and_complete():
    ids = file_ids()
    assert set(ids) == set(load_schemas())
    assert len(set(ids.values())) == len(ids)
    with pytest.raises(LookupError, match=r"bar\.v1"):
        Codec({key: number for key, number in ids.items() if key != "bar.v1"})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda value: value[:4], "truncated_record"),
        (lambda value: b"\x01" + value[1:], "not_framed"),
        (lambda value: b"\0\0\0\xff\xff" + value[5:], "unknown_schema"),
        (lambda value: value[:-1], "truncated_record"),
        (lambda value: value + b"\0", "overlong_record"),
    ],
)
def test_damaged_bytes_are_refused_by_name(change, reason):
    example = json.loads((SCHEMAS / "examples/liquidation.v1/1.json").read_text())
    value = b"\0" + CODEC.ids["liquidation.v1"].to_bytes(4, "big") + bytes.fromhex(example["body_hex"])
    with pytest.raises(RefusedError) as refusal:
        CODEC.decode(change(value))
    assert refusal.value.reason == reason


def test_a_container_is_what_other_readers_of_avro_expect(tmp_path):
    paths = sorted((SCHEMAS / "examples/liquidation.v1").glob("*.json"))
    bodies = [bytes.fromhex(json.loads(path.read_text())["body_hex"]) for path in paths] * 100
    file = tmp_path / "block.avro"
    file.write_bytes(container(CODEC.schemas["liquidation.v1"].document, bodies))
    with file.open("rb") as opened:
        rows = list(fastavro.reader(opened))
    assert len(rows) == len(bodies)
    assert rows[0]["symbol"] == "BTCUSDT"
    assert rows[1]["event_time"].isoformat() == "2026-01-01T00:00:00.500000+00:00"
