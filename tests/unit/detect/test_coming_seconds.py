"""Liquidations wait for the end of their second, through restarts."""

from __future__ import annotations

from event_logs import BASE_MS, CONTRACTS, liquidation

from pipeline.detect.coming_seconds import ComingSeconds
from pipeline.detect.pending import ROWS_PER_PART
from pipeline.detect.tick_events import Numbering
from pipeline.windows.fold import liquidation_row

SECOND_MS = 1_000


class Kept:
    """Coming seconds, their cells, and the numbers of names."""

    def __init__(self):
        self.coming, self.numbering, self.cells = ComingSeconds(), Numbering(), {}

    def put(self, tick, *times, number=0):
        rows = [row_of(number + place, time) for place, time in enumerate(times)]
        late = self.coming.put(BASE_MS + tick * SECOND_MS, self.numbering.events(rows))
        return [] if late is None else [row[8] - BASE_MS for row in late.rows]

    def take(self, until):
        found = self.coming.take(BASE_MS + until * SECOND_MS)
        return {start - BASE_MS: [row[8] - BASE_MS for row in second.rows] for start, second in found}

    def write(self):
        """Write a checkpoint; return the names of the cells that it changed."""
        changed = dict(self.coming.cells())
        for name, value in changed.items():
            if value is None:
                del self.cells[name]
            else:
                self.cells[name] = value
        return sorted(changed)

    def restarted(self):
        again = Kept()
        again.cells, again.coming.settled = dict(self.cells), self.coming.settled
        parts = {}
        for name, value in self.cells.items():
            tick, part = name.decode().split("/")
            parts[int(tick), part] = value
        again.coming.restore(parts, again.numbering)
        return again


def row_of(number, time):
    return liquidation_row(
        liquidation(
            number, BASE_MS + time, CONTRACTS[number % 3], "short" if number % 2 else "long", price=100.0 + number
        )
    )


def test_seconds_are_given_out_once_they_are_over_in_their_order():
    kept = Kept()
    assert kept.put(1, 1_500, 200, 900) == []
    assert kept.put(2, 1_999, 2_000) == []
    assert kept.take(1) == {0: [200, 900]}
    assert kept.take(3) == {1_000: [1_500, 1_999], 2_000: [2_000]}
    assert kept.take(9) == {}


def test_what_comes_for_a_second_that_is_over_is_late():
    kept = Kept()
    kept.take(2)
    assert kept.put(4, 1_999, 2_000, 5) == [1_999, 5]
    assert kept.take(3) == {2_000: [2_000]}


def test_columns_are_those_of_the_rows():
    kept = Kept()
    kept.put(1, 1, 2, 3, 4)
    ((_, second),) = kept.coming.take(BASE_MS + SECOND_MS)
    names = kept.numbering
    for row, place, exchange, price, micros, time, rank in zip(
        second.rows, *second.numbers[:2].tolist(), second.prices.tolist(), *second.numbers[2:5].tolist(), strict=True
    ):
        assert names.asset_names[place // 2] == row[4]
        assert (place % 2 == 1) == (row[5] == "short")
        assert names.exchange_names[exchange] == row[1]
        assert price == (row[6] if row[5] == "short" else -row[6])
        assert (micros, time, rank) == (row[7], row[8], 1)


def test_a_tick_is_written_once_and_deleted_when_all_of_it_is_settled():
    kept = Kept()
    kept.put(1, 500, 1_500)
    first, second = (b"%d/0" % (BASE_MS + tick * SECOND_MS) for tick in (1, 2))
    assert kept.write() == [first]
    kept.put(2, 1_700)
    kept.take(1)
    assert kept.write() == [second]
    kept.take(2)
    assert kept.write() == [first, second]
    assert kept.cells == {}


def test_a_restart_goes_on_with_what_is_not_settled():
    kept = Kept()
    kept.put(1, 500, 1_500, 2_500)
    kept.put(2, *[2_600] * (ROWS_PER_PART + 1), number=10)
    kept.take(1)
    kept.write()
    assert len(kept.cells) == 3
    again = kept.restarted()
    assert again.take(2) == kept.take(2) == {1_000: [1_500]}
    assert again.take(3) == kept.take(3) == {2_000: [2_500, *[2_600] * (ROWS_PER_PART + 1)]}
    assert again.write() == kept.write()
    assert again.cells == {}
