"""Checkpoints: small, complete, and not mistaken for those of other settings."""

from __future__ import annotations

import pytest
from event_logs import BASE_MS, PARAMETERS, batch, heartbeat, liquidation, run

from pipeline.windows.checkpoint import CheckpointError, restore, take
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
