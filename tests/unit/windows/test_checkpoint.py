"""Checkpoints: small, complete, and not mistaken for those of other settings."""

from __future__ import annotations

import orjson
import pytest
from event_logs import BASE_MS, PARAMETERS, batch, heartbeat, liquidation, run

from pipeline.windows.checkpoint import PARTITION_KEY, CheckpointError, restore, take
from pipeline.windows.fold import fold
from pipeline.windows.parameters import WindowParameters


def test_a_checkpoint_writes_only_what_changed():
    log = [
        liquidation(number, contract=("binance", f"A{number}USDT", f"A{number}", "forceOrder")) for number in range(100)
    ]
    log.append(liquidation(1_000, contract=("binance", "A7USDT", "A7", "forceOrder")))
    published, _ = run(log, [100])
    assert sum(key.startswith(b"cell/") for key in published.cells) == 100
    state = run(log[:100], [100])[1]
    fold(state, batch(log[100:], 100), PARAMETERS)
    written = [key.split(b"/")[0] for key, _ in take(state, PARAMETERS).cells]
    assert sorted(written) == [b"cell", b"ids", b"partition", b"tally"]


def test_the_partition_comes_last_and_names_the_offset():
    published, state = run([liquidation(1), heartbeat(BASE_MS)])
    assert state.offset == 1
    assert list(published.cells)[-1] == b"partition"
    assert restore(published.cells, PARAMETERS).offset == 1


def test_nothing_stored_is_a_new_partition():
    assert restore({}, PARAMETERS).offset == -1


def test_state_of_other_settings_is_refused():
    published, _ = run([liquidation(1)])
    with pytest.raises(CheckpointError, match="settings"):
        restore(published.cells, WindowParameters(lateness_ms=1))


def test_many_ids_are_split_over_records_below_the_brokers_limit():
    log = [liquidation(number) for number in range(70_000)]
    published, _ = run(log)
    chunks = [value for key, value in published.cells.items() if key.startswith(b"ids/")]
    assert len(chunks) == 3
    assert max(map(len, chunks)) < 900_000
    assert len(restore(published.cells, PARAMETERS).minutes[BASE_MS].seen) == 70_000


def first_version(cells):
    """Return what the first version of the program would have written."""
    found = orjson.loads(cells[PARTITION_KEY])
    found |= {"version": 1, "parameters": found["parameters"][:3]}
    found["channels"] = [values[:5] for values in found["channels"]]
    del found["judged_before"], found["by_contract"]
    kept = {key: value for key, value in cells.items() if not key.startswith((b"habits", b"contract/"))}
    return {**kept, PARTITION_KEY: orjson.dumps(found)}


def test_state_of_the_first_version_is_gone_on_with():
    log = [liquidation(1), *(heartbeat(BASE_MS + at) for at in range(0, 40_001, 1_000))]
    rest = [heartbeat(BASE_MS + at) for at in range(41_000, 70_001, 1_000)]
    published, state = run(log)
    restored = restore(first_version(published.cells), PARAMETERS)
    fold(restored, batch(rest, len(log)), PARAMETERS)
    fold(state, batch(rest, len(log)), PARAMETERS)
    gone_on, expected = take(restored, PARAMETERS), take(state, PARAMETERS)
    assert (gone_on.bars, gone_on.coverage) == (expected.bars, expected.coverage)
    assert expected.coverage[0].alive_ms == 60_000


def second_version(cells):
    """Return what the second version would have written: other sums of habits, and other parameters of silences."""
    found = orjson.loads(cells[PARTITION_KEY])
    found |= {"version": 2, "parameters": [*found["parameters"][:3], 1e-9, found["parameters"][4]]}
    habits = [
        [exchange, name, [*sums[:3], 0.5, 0.0, sums[7], sums[8]]]
        for exchange, name, sums in orjson.loads(cells[b"habits"])
    ]
    return {**cells, PARTITION_KEY: orjson.dumps(found), b"habits": orjson.dumps(habits)}


def test_habits_of_the_second_version_are_gone_on_with():
    log = [heartbeat(BASE_MS + at) for at in range(0, 1_200_001, 1_000)]
    rest = [heartbeat(BASE_MS + at, frames=0) for at in range(1_201_000, 1_500_001, 1_000)]
    published, _ = run(log)
    restored = restore(second_version(published.cells), PARAMETERS)
    fold(restored, batch(rest, len(log)), PARAMETERS)
    checkpoint = take(restored, PARAMETERS)
    assert [silence.began for silence in checkpoint.silences] == [BASE_MS + 1_200_000]
    assert orjson.loads(checkpoint.cells[-1][1])["version"] == 3


def test_habits_are_written_once_in_a_slot():
    state = run([heartbeat(BASE_MS + at) for at in range(0, 30_001, 1_000)])[1]
    fold(state, batch([heartbeat(BASE_MS + 31_000)], 100), PARAMETERS)
    assert b"habits" not in dict(take(state, PARAMETERS).cells)
    fold(state, batch([heartbeat(BASE_MS + 41_000)], 101), PARAMETERS)
    assert b"habits" in dict(take(state, PARAMETERS).cells)
