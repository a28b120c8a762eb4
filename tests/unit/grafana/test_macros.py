"""Macros and variables as the data source's plugin and Grafana replace them."""

import pytest

from pipeline.grafana.macros import MacroError, TimeRange, expand, expand_macros, expand_variables
from pipeline.grafana.variable import ALL

RANGE = TimeRange(1_733_356_800_000, 1_733_360_400_500, 90_000)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("$__timeFilter(start)", "start >= toDateTime(1733356800) AND start <= toDateTime(1733360400)"),
        (
            "$__timeFilter_ms(t)",
            "t >= fromUnixTimestamp64Milli(1733356800000) AND t <= fromUnixTimestamp64Milli(1733360400500)",
        ),
        ("$__fromTime, $__toTime", "toDateTime(1733356800), toDateTime(1733360400)"),
        ("$__fromTime_ms", "fromUnixTimestamp64Milli(1733356800000)"),
        ("$__timeInterval(t)", "toStartOfInterval(toDateTime(t), INTERVAL 90 second)"),
        ("$__interval_s", "90"),
    ],
)
def test_macros_of_the_plugin(sql, expected):
    assert expand_macros(sql, RANGE) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (ALL, "1=1"),
        ([ALL], "1=1"),
        ("", "1=1"),
        ([], "1=1"),
        (["BTC"], "asset IN ('BTC')"),
        (["BTC", "ETH"], "asset IN ('BTC','ETH')"),
        ("O'NEIL", "asset IN ('O\\'NEIL')"),
    ],
)
def test_a_condition_holds_only_where_something_is_chosen(value, expected):
    sql = "$__conditionalAll(asset IN (${asset:singlequote}), $asset)"
    assert expand_variables(sql, {"asset": value}) == expected


def test_a_condition_may_hold_commas_and_parentheses_in_quotes():
    sql = "$__conditionalAll(f('a),(b', x) IN (${asset:singlequote}), ${asset})"
    assert expand_variables(sql, {"asset": "c"}) == "f('a),(b', x) IN ('c')"


@pytest.mark.parametrize(
    "sql",
    [
        "$__unknown(x)",
        "$unknown",
        "${unknown:singlequote}",
        "IN (${asset:csv})",
        "IN (${everything:singlequote})",
        "$__conditionalAll(1, 2)",
        "$__timeFilter(x",
    ],
)
def test_what_nothing_would_replace_is_refused(sql):
    with pytest.raises(MacroError):
        expand(sql, RANGE, {"asset": "BTC", "everything": ALL})
