"""The rules file: defaults, its hash, and errors that name the line."""

from __future__ import annotations

import pytest

from pipeline.detect.rules import Rules, RulesError, read_rules


def test_an_empty_file_is_the_default_rules():
    assert read_rules("") == Rules()
    rules = Rules()
    assert (rules.surge.k, rules.surge.period, rules.surge.min_value_usd) == (2.5, 30, 0)
    assert (rules.rolling_threshold.base_usd, rules.rolling_threshold.span_s) == (1_000_000, 3_600)
    assert rules.rolling_threshold.memory_s == 7_200
    assert (rules.cascade.gap_s, rules.cascade.least_events, rules.cascade.least_one_sidedness) == (20, 5, 0.65)
    assert rules.surge.least_coverage == 0.9


def test_the_hash_follows_the_meaning_not_the_writing():
    plain = read_rules("[surge]\nk = 3.0\nperiod = 20\n")
    other = read_rules("# a comment\n[surge]\nperiod = 20\nk = 3  # the same\n")
    assert plain.hash == other.hash
    assert plain.hash != Rules().hash
    assert len(plain.hash) == 16


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[surge]\nk = \n[cascade]", "line 2: not TOML: Invalid value"),
        ("[surge]\nk = 2\n[cascade", "line 3: not TOML: "),
        ("[surge]\n\nk = -1\n", "line 3: surge.k: Input should be greater than 0"),
        (
            "[surge]\nk = 2\n[cascade]\nperiod = 3\n",
            "line 4: cascade.period: no such parameter; there are enabled, when_blind, ",
        ),
        ("[surges]\nk = 2\n", "line 1: surges: no such rule; is it surge?"),
        ("[rolling_threshold]\nscopes = ['asset', 'planet']\n", "line 2: rolling_threshold.scopes.1"),
        ("[surge]\nintervals_s = [90]\n", "line 2: surge.intervals_s.0: Input should be 60, 300 or 3600"),
        ("[surge]\nperoid = 20\n", "line 2: surge.peroid: no such parameter; is it period?"),
        ("surge = 3\n", "line 1: surge"),
    ],
)
def test_a_mistake_is_told_with_its_line(text, said):
    with pytest.raises(RulesError, match=r"^line") as error:
        read_rules(text)
    assert said in str(error.value)


def test_all_mistakes_are_told_in_the_order_of_the_lines():
    with pytest.raises(RulesError) as error:
        read_rules("[surge]\nk = -1\nperiod = 1\n")
    assert [part.partition(":")[0] for part in str(error.value).split("; ")] == ["line 2", "line 3"]
