"""What holds for every log."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from event_logs import PARAMETERS, Record, log_of, logs, run, stretches
from hypothesis import given
from hypothesis import strategies as st

from pipeline.records import Candle, Heartbeat, Liquidation, Subscription
from pipeline.windows.channels import Channel, hear, next_watermark

RETAINED_MS = 60_000 + PARAMETERS.lateness_ms + PARAMETERS.correction_ms

cuts = st.lists(st.integers(0, 60), max_size=12)


long_cuts = st.lists(st.integers(0, 1_500), max_size=12)


@given(logs(), cuts, cuts)
def test_batches_do_not_matter(log, some, others):
    assert run(log, some)[0].latest() == run(log, others)[0].latest()


@given(logs(), cuts)
def test_a_restart_from_a_checkpoint_changes_nothing(log, some):
    plain, plain_state = run(log, some)
    restarted, restarted_state = run(log, some, restart=True)
    assert restarted.latest() == plain.latest()
    assert restarted.cells == plain.cells
    assert restarted_state.watermark == plain_state.watermark
    assert {start: minute.seen for start, minute in restarted_state.minutes.items() if minute.seen} == {
        start: minute.seen for start, minute in plain_state.minutes.items() if minute.seen
    }


@given(stretches, long_cuts)
def test_silences_depend_on_neither_batches_nor_restarts(found, some):
    log = log_of(found)
    plain, _ = run(log)
    restarted, _ = run(log, some, restart=True)
    assert restarted.latest() == plain.latest()
    for kind in ("coverage", "contracts", "silences"):
        assert getattr(restarted, kind) == getattr(plain, kind)


@given(stretches)
def test_nothing_is_covered_in_a_silence_and_everything_else_as_without_silences(found):
    log = log_of(found)
    published, _ = run(log)
    deaf, _ = run(log, parameters=replace(PARAMETERS, silence_probability=0.0))
    assert not deaf.silences
    silences = published.latest().silences.values()
    for key, row in published.latest().coverage.items():
        exchange, channel, start = key
        alive = deaf.latest().coverage[key].alive_ms
        lost = 0
        for silence in silences:
            if (silence.exchange, silence.channel) == (exchange, channel):
                ended = start + 60_000 if silence.ended is None else silence.ended
                lost += max(0, min(start + 60_000, ended) - max(start, silence.began))
        assert 0 <= row.alive_ms <= alive
        # What was not covered anyway, and who is heard a little earlier, take at most the rest.
        assert alive - lost <= row.alive_ms
        if lost == 60_000:
            assert row.alive_ms == 0


@given(logs(), cuts)
def test_going_back_to_an_older_checkpoint_repeats_the_same_rows(log, some):
    """A kill between two checkpoints: the batches after the last committed one are folded again, cut differently."""
    half = len(log) // 2
    first, _ = run(log[:half], some)
    again, _ = run(log, [half, *some], restart=True)
    for key, revisions in first.bars.items():
        for revision, bar in revisions.items():
            assert again.bars[key].get(revision, bar) == bar


@given(logs(), st.randoms(use_true_random=False))
def test_order_between_heartbeats_does_not_matter(log, random):
    shuffled: list[Record] = []
    run_of_events: list[Record] = []
    for record in [*log, None]:
        if isinstance(record, Liquidation):
            run_of_events.append(record)
            continue
        random.shuffle(run_of_events)
        shuffled += run_of_events
        run_of_events = []
        if record is not None:
            shuffled.append(record)
    # The first event's time stands in for the clock before the first heartbeat, so a log starts with one.
    if log and isinstance(log[0], Heartbeat):
        assert run(shuffled)[0].latest() == run(log)[0].latest()


@given(logs())
def test_nothing_is_lost_and_nothing_counted_twice(log):
    """Compare with a plain computation that knows no batches, state or channels' coverage."""
    channels: dict[tuple[str, str], Channel] = {}
    watermark = 0
    seen: dict[bytes, int] = {}  # id → the minute with which it is forgotten
    sums: dict[tuple[str, str, int, str], list[int]] = defaultdict(lambda: [0, 0])
    events = duplicates = late = too_late = 0
    for record in log:
        if isinstance(record, Subscription | Candle):
            continue
        if isinstance(record, Heartbeat):
            channel = channels.setdefault((record.exchange, record.channel), Channel())
            if hear(channel, record, 0, PARAMETERS.behind_ms):
                watermark = next_watermark(channels, watermark, PARAMETERS.behind_ms)
            continue
        start = record.event_time // 60_000 * 60_000
        expired = watermark >= start + RETAINED_MS
        home = seen.get(record.event_id)
        if home is not None and watermark < home + RETAINED_MS:
            duplicates += 1
            continue
        seen[record.event_id] = watermark // 60_000 * 60_000 if expired else start
        events += 1
        if expired:
            too_late += 1
            continue
        late += watermark >= start + 60_000 + PARAMETERS.lateness_ms
        total = sums[record.exchange, record.symbol, start, record.position]
        total[0] += 1
        total[1] += record.notional_micros
    published, state = run(log, [7, 20, 33])
    bars = published.latest().bars
    tallies = [*published.latest().tallies.values(), *state.tallies.values()]
    found = {}
    for (exchange, symbol, start), bar in bars.items():
        for position in ("long", "short"):
            if bar[f"{position}_count"]:
                found[exchange, symbol, start, position] = [bar[f"{position}_count"], bar[f"{position}_micros"]]
    assert found == dict(sums)
    counted = [sum(getattr(tally, name) for tally in tallies) for name in ("events", "late", "too_late")]
    assert counted == [events, late, too_late]
    assert sum(tally.events + tally.duplicates for tally in tallies) == events + duplicates
