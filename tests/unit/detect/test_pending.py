"""What waits for the next tick is stored in parts, and only what is new of it is written."""

from __future__ import annotations

import random

import pytest

from pipeline.detect.pending import ROWS_PER_PART, PendingCells


def cells_of_numbers():
    return PendingCells[int](lambda number: [number], lambda row: row[0])


def test_a_full_part_is_written_once():
    pending, rows = cells_of_numbers(), list(range(ROWS_PER_PART + 10))
    assert [name for name, _ in pending.cells(rows)] == [b"0", b"1"]
    assert list(pending.cells(rows)) == []
    rows.append(7)
    assert [name for name, _ in pending.cells(rows)] == [b"1"]


def test_what_a_tick_took_is_deleted():
    pending = cells_of_numbers()
    list(pending.cells(list(range(3 * ROWS_PER_PART))))
    pending.take_all()
    assert list(pending.cells([1])) == [(b"0", b"[[1]]"), (b"1", None), (b"2", None)]
    pending.take_all()
    assert list(pending.cells([2])) == [(b"0", b"[[2]]")]
    pending.take_all()
    assert list(pending.cells([])) == [(b"0", None)]
    assert list(pending.cells([])) == []


@pytest.mark.parametrize("seed", range(5))
def test_the_rows_come_back_whenever_they_are_asked_for(seed):
    chance, pending, rows, stored = random.Random(seed), cells_of_numbers(), [], {}
    for step in range(60):
        if chance.random() < 0.2:
            rows = []
            pending.take_all()
        rows += range(step, step + chance.choice((0, 1, 1_500, 5_000)))
        for name, value in pending.cells(rows):
            if value is None:
                del stored[name.decode()]
            else:
                stored[name.decode()] = value
        if chance.random() < 0.3:
            pending = cells_of_numbers()
            rows = pending.restore(stored)
        assert cells_of_numbers().restore(stored) == rows
        assert all(len(value) < 20 * ROWS_PER_PART for value in stored.values())
