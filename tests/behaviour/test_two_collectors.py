"""Two collectors of the same exchange: what one of them misses the other brings, and nothing counts twice."""

from __future__ import annotations

from market_rig import NOON_MS, Collected, collected, rows_of

from pipeline.embedded.exchange_server import Fault, Play
from pipeline.records import Heartbeat, Liquidation


def cut(collector: str, *faults: Fault) -> Collected:
    """Return the same market as `collector` heard it, with these faults on its own way."""
    return collected(Play(seed=3, speed=5.0, traps_per_hour=0.0, faults=faults), ("okx",), 400.0, collector=collector)


def ids(found: Collected) -> list[bytes]:
    return [one.event_id for one in found.of(Liquidation)]


def by_time(*collections: Collected) -> list:
    """Return the records of all in the order in which they came, as one log has them."""
    timed = []
    for found in collections:
        frames = {frame.received_time: frame for frame in found.frames}
        assert len(frames) == len(found.frames)
        for one in found.records:
            at_us = one.time * 1000 + 300_000 if isinstance(one, Heartbeat) else getattr(one, "received_time", 0)
            timed.append((at_us, one))
    return [one for _, one in sorted(timed, key=lambda pair: pair[0])]


def test_events_merge_by_id_and_a_moment_is_covered_if_one_listened():
    undisturbed = cut("one")
    one = cut("one", Fault("drop", "okx", 100, 30))
    two = cut("two", Fault("drop", "okx", 220, 40))
    assert len(one.covered("okx", "liquidation-orders")) == len(two.covered("okx", "liquidation-orders")) == 2
    only_one, only_two = set(ids(one)) - set(ids(two)), set(ids(two)) - set(ids(one))
    assert only_one
    assert only_two
    assert set(ids(one)) | set(ids(two)) == set(ids(undisturbed))

    both = rows_of(by_time(one, two), one.settings)
    whole = undisturbed.rows()
    closed_before_ms = NOON_MS + 360_000

    def bars(rows) -> dict:
        return {
            key: (bar.long_micros, bar.short_micros, bar.long_count, bar.short_count)
            for key, bar in rows.bars.items()
            if key[2] < closed_before_ms
        }

    assert len(bars(whole)) > 100
    assert bars(both) == bars(whole)
    alive = {key[2]: row.alive_ms for key, row in both.coverage.items() if NOON_MS < key[2] < closed_before_ms}
    assert set(alive.values()) == {60_000}
    # Tallies are settled by whole minutes.
    duplicates = sum(tally.duplicates for tally in both.tallies.values())
    assert 0.8 * len(set(ids(one)) & set(ids(two))) < duplicates < len(ids(one)) + len(ids(two))
