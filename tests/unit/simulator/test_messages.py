"""The messages have the shape of the recorded ones, and keep the habits of their exchange."""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import pairwise

import orjson

NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")


def documents(pairs, exchange):
    """Yield what `exchange` sent as JSON, apart from unusable messages and bare pongs."""
    for frame, rows in pairs:
        usable = all(row.kind != "refused" for row in rows)
        if frame.exchange == exchange and usable and frame.payload != b"pong":
            yield frame, orjson.loads(frame.payload)


def recorded(shared_dir, exchange):
    return [
        orjson.loads(line) for line in (shared_dir / f"reference/samples/{exchange}.jsonl").read_text().splitlines()
    ]


def shape(document):
    """Return a document with its values replaced by what they look like."""
    if isinstance(document, dict):
        return {key: shape(value) for key, value in document.items()}
    if isinstance(document, list):
        return [shape(document[0])] if document else []
    if isinstance(document, str):
        return "number" if NUMBER.fullmatch(document) else "text"
    return type(document).__name__


def test_binance_messages_look_like_recorded_ones(six_hours, shared_dir):
    shapes = [shape(document) for document in recorded(shared_dir, "binance")]
    for _, document in documents(six_hours, "binance"):
        if "stream" in document:
            assert shape(document) in shapes
        else:
            assert document in ({"result": None, "id": 1}, {"result": ["!forceOrder@arr"], "id": 9})


def test_bybit_messages_look_like_recorded_ones(six_hours, shared_dir):
    shapes = [shape(document) for document in recorded(shared_dir, "bybit")]
    for _, document in documents(six_hours, "bybit"):
        if "topic" in document:
            assert shape(document) in shapes
        else:
            assert shape(document | {"ret_msg": "", "req_id": "1"}) in shapes


def test_okx_messages_look_like_recorded_ones(six_hours, shared_dir):
    shapes = [shape(document) for document in recorded(shared_dir, "okx")]
    for _, document in documents(six_hours, "okx"):
        assert shape(document) in shapes


def test_every_connection_starts_with_its_acknowledgement(six_hours):
    starts = {frame.exchange: frame.payload for frame, _ in six_hours if frame.sequence == 0}
    assert starts["binance"] == b'{"result":null,"id":1}'
    assert orjson.loads(starts["bybit"])["op"] == "subscribe"
    assert orjson.loads(starts["okx"])["event"] == "subscribe"
    assert sum(b'"pong"' in frame.payload for frame, _ in six_hours if frame.exchange == "bybit") > 1000


def test_okx_answers_pings_when_it_is_quiet(six_hours):
    assert any(frame.payload == b"pong" for frame, _ in six_hours if frame.exchange == "okx")


def test_binance_pushes_one_order_per_symbol_and_second(six_hours):
    pushes = defaultdict(list)
    lasts = []
    for _, document in documents(six_hours, "binance"):
        if "stream" not in document:
            continue
        order = document["data"]["o"]
        pushes[order["s"]].append((document["data"]["E"], order["T"]))
        assert 0 <= document["data"]["E"] - order["T"] <= 1_020
        lasts.append((float(order["l"]), float(order["z"])))
        forced_down = order["S"] == "SELL"
        assert (float(order["p"]) < float(order["ap"])) == forced_down
        assert order["st"] == (2 if order["s"].endswith("_PERP") else 1)
    for times in pushes.values():
        distinct = sorted(set(times))
        assert all(second[0] - first[0] >= 1_000 for first, second in pairwise(distinct))
    assert all(last <= filled for last, filled in lasts)
    assert any(last < filled for last, filled in lasts)


def test_bybit_batches_half_seconds(six_hours):
    batches = [
        (document["topic"], document["data"], document["ts"])
        for _, document in documents(six_hours, "bybit")
        if "topic" in document
    ]
    assert max(len(rows) for _, rows, _ in batches) >= 3
    assert any(first["T"] == second["T"] for _, rows, _ in batches for first, second in pairwise(rows))
    for topic, rows, pushed in batches:
        assert {row["s"] for row in rows} == {topic.removeprefix("allLiquidation.")}
        assert {row["T"] // 500 for row in rows} == {rows[0]["T"] // 500}
        assert all(0 <= pushed - row["T"] <= 520 for row in rows)
        assert {row["S"] for row in rows} <= {"Buy", "Sell"}


def test_inverse_contracts_have_their_own_bybit_channel(six_hours):
    topics = defaultdict(set)
    for frame, document in documents(six_hours, "bybit"):
        if "topic" in document:
            topics[frame.channel].add(document["topic"])
    assert topics["inverse"] == {f"allLiquidation.{asset}USD" for asset in ("BTC", "ETH", "SOL", "XRP", "DOGE")}
    assert all(topic.endswith("USDT") for topic in topics["linear"])


def test_okx_messages_hold_several_details_and_instruments(six_hours):
    entries = [document["data"] for _, document in documents(six_hours, "okx") if "data" in document]
    assert max(len(data) for data in entries) >= 2
    assert max(len(entry["details"]) for data in entries for entry in data) >= 3
    words = {(detail["posSide"], detail["side"]) for data in entries for entry in data for detail in entry["details"]}
    assert words == {("long", "sell"), ("short", "buy"), ("net", "sell"), ("net", "buy")}
