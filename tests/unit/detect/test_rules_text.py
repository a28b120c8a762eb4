"""The rules file with the defaults, the tables of parameters, and warnings about rules that mislead."""

from __future__ import annotations

import math
import tomllib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.detect.rules import CascadeRule, Rule, Rules, SurgeRule, read_rules
from pipeline.detect.rules_text import as_markdown, as_toml, differences
from pipeline.detect.rules_warnings import highest_inclusive_z, warnings
from pipeline.detect.scorers import MeanAndDeviation
from pipeline.locations import INFRA

FILE = INFRA / "rules.toml"


def test_the_file_in_infra_is_the_defaults_with_every_parameter():
    text = FILE.read_text()
    assert text == as_toml(Rules()), "make it again: liquidations rules show --defaults > infra/rules.toml"
    assert read_rules(text) == Rules()
    document = tomllib.loads(text)
    assert {name: set(table) for name, table in document.items()} == {
        name: set(type(getattr(Rules(), name)).model_fields) for name in Rules.model_fields
    }


def test_every_parameter_has_a_comment():
    for name in Rules.model_fields:
        for parameter, field in type(getattr(Rules(), name)).model_fields.items():
            assert field.description, (name, parameter)
    lines = FILE.read_text().splitlines()
    for before, line in pairwise(lines):
        assert before.startswith("# ") or " = " not in line or line.startswith("#"), line


@pytest.mark.parametrize(
    "rules",
    [
        Rules(surge=SurgeRule(intervals_s=(60,), k=3.25, probability=1e-7, floor_usd=0.5, scorer="ewma")),
        Rules(cascade=CascadeRule(enabled=False, gap_s=0.125, floor_usd=1e12)),
    ],
)
def test_rules_that_are_written_are_read_again(rules):
    assert read_rules(as_toml(rules)) == rules
    assert read_rules(as_toml(rules)).hash == rules.hash


def test_what_differs():
    rules = read_rules("[surge]\nk = 3\nmeasures = ['usd']\n[ratio]\nfloor_usd = 50000\nenabled = false\n")
    assert sorted(differences(rules)) == [
        ("ratio.enabled", "false", "true"),
        ("surge.k", "3.0", "2.5"),
        ("surge.measures", '["usd"]', '["usd", "count"]'),
    ]
    assert list(differences(Rules())) == []


def test_a_table_of_parameters_has_them_all_the_common_ones_last():
    table = as_markdown(SurgeRule).splitlines()
    names = [line.split("`")[1] for line in table[2:]]
    assert sorted(names) == sorted(SurgeRule.model_fields)
    assert names[-len(Rule.model_fields) :] == list(Rule.model_fields)
    assert "| `period` | `30` | from 2 to 200 | Bars of the baseline. |" in table


def test_the_defaults_give_no_warning():
    assert list(warnings(Rules())) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[surge]\nbaseline = 'inclusive'\nperiod = 8", "own baseline of 8 is at most 2.475"),
        ("[surge]\nbaseline = 'inclusive'\nperiod = 30\nk = 6", "own baseline of 30 is at most 5.295"),
        ("[surge]\nscorer = 'ewma'\nperiod = 4", "ewma judges after 5 bars"),
        ("[surge]\nscorer = 'quantile'\nlast = 900", "quantile of 900 bars is their highest"),
        ("[surge]\nscorer = 'count_tail'", "count_tail is for counts"),
        ("[surge]\nfloor_usd = 0\nleast_events = 1", "every event after a calm time"),
        ("[surge]\nmin_value_usd = 60_000", "min_value_usd is above floor_usd"),
        ("[surge]\npositions = []", "surge: positions is empty"),
        ("[ratio]\nleast_coverage = 0", "ratio: with least_coverage = 0"),
        ("[cascade]\nenabled = false", "cascade: it is off"),
        ("[cascade]\ngap_s = 40", "sampled_gap_s is shorter"),
        ("[cascade]\ngap_s = 1\nsampled_gap_s = 1", "runs fall apart"),
        ("[rolling_threshold]\nmemory_s = 600", "memory_s = 600 is shorter than span_s = 3600"),
        ("[regime]\nlow = 0.9", "low is not under high"),
        ("[ratio]\nthreshold = 1", "only where a feed is wrong"),
    ],
)
def test_a_warning(text, said):
    found = list(warnings(read_rules(text)))
    assert len(found) == 1, found
    assert said in found[0]


@pytest.mark.parametrize("text", ["baseline = 'inclusive'\nperiod = 9", "period = 8", "scorer = 'quantile'"])
def test_no_warning(text):
    assert list(warnings(read_rules(f"[surge]\n{text}"))) == []


def test_a_rule_that_is_off_is_warned_of_once():
    assert list(warnings(read_rules("[surge]\nenabled = false\nmin_value_usd = 60_000\npositions = []"))) == [
        "surge: it is off"
    ]


@given(st.lists(st.floats(0, 1e9), min_size=2, max_size=40))
def test_no_value_of_n_is_further_from_their_mean_than_the_bound(values):
    judged = MeanAndDeviation(highest_inclusive_z(len(values))).judge(values)
    assert judged.threshold is not None
    assert max(values) <= judged.threshold * (1 + 1e-9) + 1e-9


def test_the_bound_is_reached_by_one_value_among_equals():
    for n, at_most in ((8, 2.475), (9, 2.667), (30, 5.295)):
        assert highest_inclusive_z(n) == pytest.approx(at_most, abs=5e-4)
        judged = MeanAndDeviation().judge([0.0] * (n - 1) + [1.0])
        assert math.isclose((1.0 - judged.mean) / judged.sd, highest_inclusive_z(n))
