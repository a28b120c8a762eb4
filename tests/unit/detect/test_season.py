"""The season of the week: hours, weeks, and what an hour is beside the others."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipeline.detect.season import DAY_MS, HOUR_MS, WEEK_MS, WEEKS, HoursOfWeeks, hour_of_week, week_of

MONDAY = round(datetime(2026, 9, 7, tzinfo=UTC).timestamp()) * 1_000


def weeks(count, usd_of_hour):
    known = HoursOfWeeks()
    for week in range(count):
        for hour in range(168):
            usd = usd_of_hour(hour)
            known.note(MONDAY + week * WEEK_MS + hour * HOUR_MS, usd, usd // 10)
    return known


def test_a_week_begins_on_monday():
    assert (week_of(MONDAY), hour_of_week(MONDAY)) == (MONDAY, 0)
    assert (week_of(MONDAY - 1), hour_of_week(MONDAY - 1)) == (MONDAY - WEEK_MS, 167)


def test_an_hour_is_drawn_towards_all_hours_until_it_is_known_for_long():
    busy = weeks(2, lambda hour: 900 if hour == 30 else 100)
    assert busy.factors(MONDAY + 2 * WEEK_MS, 0)[30] == pytest.approx((2 * 900 + 4 * 100) / (6 * 100))
    assert busy.factors(MONDAY + 2 * WEEK_MS, 1)[30] == pytest.approx((2 * 90 + 4 * 10) / (6 * 10))
    eight = weeks(8, lambda hour: 900 if hour == 30 else 100).factors(MONDAY + 8 * WEEK_MS, 0)
    assert (eight[29], eight[30]) == (1, pytest.approx((8 * 900 + 4 * 100) / (12 * 100)))


def test_an_hour_without_liquidations_counts_and_no_factor_is_zero():
    factors = weeks(8, lambda hour: 0 if hour == 5 else 100).factors(MONDAY + 8 * WEEK_MS, 0)
    assert factors[5] == pytest.approx(4 / 12)


def test_where_most_hours_are_empty_there_is_no_season():
    assert set(weeks(8, lambda hour: 500 if hour < 80 else 0).factors(MONDAY + 8 * WEEK_MS, 0)) == {1.0}
    assert set(HoursOfWeeks().factors(MONDAY, 0)) == {1.0}


def test_hours_of_the_day_itself_do_not_count_and_old_weeks_are_forgotten():
    known = weeks(1, lambda _hour: 100)
    before = known.factors(MONDAY + WEEK_MS, 0)
    for hour in range(24):
        assert known.note(MONDAY + WEEK_MS + hour * HOUR_MS, 10**6, 1) == []
    assert known.factors(MONDAY + WEEK_MS, 0) == before
    assert known.factors(MONDAY + WEEK_MS + DAY_MS, 0)[3] > 1_000
    assert known.note(MONDAY + (WEEKS + 1) * WEEK_MS, 1, 1) == [MONDAY]
