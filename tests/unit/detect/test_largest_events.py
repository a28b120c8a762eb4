"""The largest events of bars and of the last hour, from the few that are kept."""

from __future__ import annotations

import random

import pytest
from event_logs import CONTRACTS, liquidation

from pipeline.detect.finding import merge_largest
from pipeline.detect.largest_events import LargestEvents
from pipeline.detect.tick_events import Numbering
from pipeline.windows.fold import liquidation_row
from pipeline.windows.parameters import WindowParameters

PARAMETERS = WindowParameters()
MINUTE, HOUR = 60_000, 3_600_000
BEGIN = 1_788_739_200_000


def largest_of(events, contract, position, begin, end):
    chosen = [
        (-row[7], row[0])
        for row in events
        if begin <= row[8] < end and contract in (None, (row[1], row[2])) and position in (row[5], "both")
    ]
    return sorted(chosen)[:10]


def some_events(chance, now, number):
    """Return the next events by time; some come minutes late."""
    rows = []
    for one in range(chance.randrange(0, 12)):
        time = now + chance.randrange(MINUTE) - chance.choice((0, 0, 0, 4 * MINUTE))
        exchange, symbol, _, channel = CONTRACTS[chance.choice((0, 1, 1))]
        micros, position = round(chance.lognormvariate(9, 2) * 1_000_000), chance.choice(("long", "short"))
        event = liquidation(number + one, time, (exchange, symbol, "BTC", channel), position, micros)
        rows.append(liquidation_row(event))
    return sorted(rows, key=lambda row: (row[8], row[0]))


def questions(now):
    """Yield what may be asked at the end of the minute from `now` on."""
    hour = now - now % HOUR
    yield None, "both", now + MINUTE - HOUR, now + MINUTE
    for length in (MINUTE, 5 * MINUTE, HOUR):
        for contract in (None, CONTRACTS[0][:2]):
            yield contract, "long", now - now % length, now + MINUTE
            yield contract, "both", now - now % length, now + MINUTE
    # The hour before can be corrected for ten minutes.
    if hour > BEGIN and now + MINUTE < hour + 10 * MINUTE:
        yield None, "short", hour - HOUR, hour
        yield None, "both", hour - HOUR, hour


def written(kept, cells):
    for name, value in kept.cells():
        if value is None:
            cells.pop(name, None)
        else:
            cells[name] = value


@pytest.mark.parametrize("restart", [False, True])
def test_they_are_those_of_all_events(restart):
    chance = random.Random(2)
    numbering, cells, events = Numbering(), {}, []
    kept = LargestEvents(numbering, PARAMETERS)
    for minute in range(3 * 60 + 20):
        now = BEGIN + minute * MINUTE
        rows = some_events(chance, now, len(events) + 1)
        events += rows
        if rows:
            kept.take_tick(numbering.events(rows))
        kept.forget(now + MINUTE)
        written(kept, cells)
        if restart:
            numbering = Numbering()
            kept = LargestEvents(numbering, PARAMETERS)
            kept.restore({name.decode(): value for name, value in cells.items()})
            kept.forget(now + MINUTE)
        if minute % 7 == 0:
            for question in questions(now):
                assert kept.of("BTC", *question) == largest_of(events, *question), question
    assert sum(map(len, cells.values())) < 45_000


def test_nothing_is_left_of_an_asset_that_is_silent():
    numbering = Numbering()
    kept = LargestEvents(numbering, PARAMETERS)
    kept.take_tick(numbering.events([liquidation_row(liquidation(1, BEGIN))]))
    names = {name for name, _ in kept.cells()}
    for minute in range(150):
        kept.forget(BEGIN + minute * MINUTE)
        for name, value in kept.cells():
            names = names - {name} if value is None else names | {name}
    assert names == set()


def test_the_ten_largest_of_lists_that_overlap():
    chance = random.Random(5)
    for count in (0, 1, 3, 12, 40):
        # Of 60 events several lists have the same ones.
        lists = [
            sorted((-number % 17, b"%d" % number) for number in chance.sample(range(60), chance.randrange(11)))
            for _ in range(count)
        ]
        assert merge_largest(*lists) == sorted({one for events in lists for one in events})[:10]
