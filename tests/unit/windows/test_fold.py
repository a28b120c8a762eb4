"""Named cases of bars: revisions, lateness, corrections, duplicates, coverage."""

from __future__ import annotations

from event_logs import BASE_MS, CHANNELS, CONTRACTS, heartbeat, liquidation, run

from pipeline.windows.state import Counts


def bar_of(log, contract=CONTRACTS[0], start=BASE_MS):
    return run(log)[0].latest().bars.get((contract[0], contract[1], start))


def beats(first_ms, last_ms, channel=CHANNELS[0], step_ms=1_000):
    return [heartbeat(time, channel) for time in range(first_ms, last_ms + 1, step_ms)]


def test_an_open_bar_has_an_even_revision_and_exact_sums():
    bar = bar_of(
        [
            liquidation(1, micros=1, price=3.0),
            liquidation(2, BASE_MS + 59_999, position="short", micros=10**15, price=1.0),
            liquidation(3, BASE_MS + 60_000, micros=7),
        ]
    )
    assert (bar["long_micros"], bar["short_micros"], bar["long_count"], bar["short_count"]) == (1, 10**15, 1, 1)
    assert (bar["largest_micros"], bar["price_low"], bar["price_high"]) == (10**15, 1.0, 3.0)
    assert (bar["closed"], bar["revision"], bar["late_count"]) == (False, 4, 0)


def test_a_bar_closes_when_the_watermark_passes_its_end_by_the_lateness():
    event = liquidation()
    assert bar_of([event, *beats(BASE_MS, BASE_MS + 64_999, step_ms=64_999)])["closed"] is False
    assert bar_of([event, heartbeat(BASE_MS + 65_000)])["revision"] == 3


def test_a_late_event_corrects_a_closed_bar_and_is_counted():
    bar = bar_of([liquidation(1), heartbeat(BASE_MS + 65_000), liquidation(2, BASE_MS + 1)])
    assert (bar["long_count"], bar["late_count"], bar["closed"], bar["revision"]) == (2, 1, True, 5)


def test_a_late_event_makes_the_bar_that_was_missing():
    bar = bar_of([heartbeat(BASE_MS + 65_000), liquidation(1)])
    assert (bar["late_count"], bar["closed"], bar["revision"]) == (1, True, 3)


def test_an_event_after_the_time_for_corrections_is_too_late_for_its_bar_only():
    log = [heartbeat(BASE_MS + 60_000 + 5_000 + 120_000), liquidation(1), liquidation(1)]
    published, state = run(log)
    assert not published.bars
    assert state.tallies == {("BTC", "binance"): Counts(events=1, duplicates=1, late=0, too_late=1)}


def test_what_was_counted_is_said_when_the_watermark_leaves_the_minute():
    log = [heartbeat(BASE_MS + 1_000), liquidation(1), liquidation(1), heartbeat(BASE_MS + 59_999)]
    assert not run(log)[0].tallies
    (tally,) = run([*log, heartbeat(BASE_MS + 60_000)])[0].latest().tallies.values()
    assert (tally.start, tally.events, tally.duplicates, tally.revision) == (BASE_MS, 1, 1, 2)


def test_a_repetition_changes_nothing():
    once = bar_of([liquidation(1), liquidation(2)])
    assert bar_of([liquidation(1), liquidation(2), liquidation(1)]) == once


def test_an_event_without_a_time_of_the_exchange_counts_once_whenever_it_is_received():
    again = liquidation(1, BASE_MS + 130_000, time_kind="received")
    log = [liquidation(1, BASE_MS + 1_000, time_kind="received"), heartbeat(BASE_MS + 130_000), again]
    published, state = run(log)
    assert {start for _, _, start in published.latest().bars} == {BASE_MS}
    assert state.tallies["BTC", "binance"].duplicates == 1


def test_the_least_complete_feed_names_the_bar():
    assert (
        bar_of([liquidation(1, completeness="full"), liquidation(2, completeness="sampled")])["completeness"]
        == "sampled"
    )


def test_coverage_counts_the_time_between_heartbeats():
    log = [*beats(BASE_MS - 1_000, BASE_MS + 30_000), liquidation(1), *beats(BASE_MS + 31_000, BASE_MS + 66_000)]
    assert bar_of(log)["coverage"] == 1.0
    assert bar_of(log[:33])["coverage"] == 0.5
    coverage = run(log)[0].latest().coverage
    assert coverage["binance", "forceOrder", BASE_MS].alive_ms == 60_000


def test_time_that_no_heartbeat_vouches_for_is_not_covered():
    silent = [
        heartbeat(BASE_MS),
        heartbeat(BASE_MS + 40_000),
        liquidation(1),
        *beats(BASE_MS + 41_000, BASE_MS + 66_000),
    ]
    assert bar_of(silent)["coverage"] == 20 / 60
    down = [heartbeat(BASE_MS), heartbeat(BASE_MS + 10_000, state="down"), liquidation(1), heartbeat(BASE_MS + 66_000)]
    assert bar_of(down)["coverage"] == 0.0


def test_two_collectors_at_once_cover_once():
    log = [liquidation(1)]
    for time in range(BASE_MS, BASE_MS + 66_001, 1_000):
        log += [heartbeat(time, collector="one"), heartbeat(time, collector="two")]
    assert bar_of(log)["coverage"] == 1.0


def test_a_channel_of_another_exchange_does_not_cover_this_one():
    assert bar_of([liquidation(1), *beats(BASE_MS, BASE_MS + 66_000, CHANNELS[1])])["coverage"] == 0.0


def test_a_gap_of_days_settles_only_minutes_that_were_heard():
    log = [*beats(BASE_MS, BASE_MS + 2_000), *beats(BASE_MS + 86_400_000, BASE_MS + 86_400_000 + 70_000)]
    coverage = run(log)[0].latest().coverage
    assert {start - BASE_MS for _, _, start in coverage} == {0, 86_400_000}


def test_state_stays_as_small_as_the_minutes_that_can_change():
    log = []
    for minute in range(30):
        log += [liquidation(minute, BASE_MS + minute * 60_000), heartbeat(BASE_MS + minute * 60_000 + 59_000)]
    published, state = run(log, list(range(0, 60, 3)))
    assert len(state.minutes) <= 4
    cells = [key for key in published.cells if key.startswith((b"cell/", b"ids/"))]
    assert len(cells) <= 8
