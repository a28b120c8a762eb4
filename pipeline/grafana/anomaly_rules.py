"""Alert rules on what the detection rules found: one row per asset for as long as it goes on.

The message says the value, its bound, what was usual,
    and the coverage: each is a query of its own with the same labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pipeline.grafana.alert import AlertGroup, AlertRule, Severity
from pipeline.grafana.boards.findings import ANOMALIES_UID
from pipeline.grafana.boards.shared import SYMBOL_UID
from pipeline.grafana.sql import BETWEEN

_HOUR_S: Final = 3_600
_WHY: Final = (
    "No row means that nothing of the kind goes on, so no data is OK; that the pipeline stands is told by rules of "
    "its own. "
    "An error is shown as an error."
)
_WHOSE: Final = "if(scope = 'market', 'market', asset) AS of"
_COVERAGE: Final = "min(coverage)"
_BEGAN: Final = "toUnixTimestamp64Milli(max({}))"
_OF_ASSET: Final = "&var-asset={{ $labels.asset }}"
_OF_EXCHANGE: Final = "{{ if $labels.exchange }}&var-exchange={{ $labels.exchange }}{{ end }}"
_OF_WHOSE: Final = '{{ if ne $labels.of "market" }}&var-asset={{ $labels.of }}{{ end }}'
_SAYS_COVERAGE: Final = "coverage {{ humanizePercentage $values.K.Value }}"


@dataclass(frozen=True, slots=True)
class _Rows:
    """What is found: labels, where, and by what it is grouped; a number makes it a query."""

    labels: str
    found: str
    grouped: str

    def of(self, number: str) -> str:
        return f"\nSELECT {self.labels}, toFloat64({number}) AS number\n{self.found}\n{self.grouped}\n"


def _open(kind: str, labels: str, grouped: str, more: str = "") -> _Rows:
    found = f"FROM anomalies\nWHERE $__timeFilter_ms(started) AND kind = '{kind}' AND state = 'open'{more}"
    return _Rows(labels, found, f"GROUP BY {grouped}")


_SURGE: Final = _open(
    "surge",
    "asset, position, concat(toString(intDiv(interval_ms, 60000)), ' min') AS bar",
    "asset, position, interval_ms",
    " AND scope = 'asset' AND measure = 'usd'",
)
_RATIO: Final = _open("ratio", "asset, exchange, symbol, position", "asset, exchange, symbol, position")
_CASCADES: Final = f"FROM cascades_between({BETWEEN})\nWHERE $__timeFilter_ms(begin) AND "
_CASCADE: Final = _Rows("asset, position", f"{_CASCADES}state = 'open'", "GROUP BY asset, position")
_SUBSIDED: Final = _Rows(
    "asset, position",
    f"{_CASCADES}state = 'closed' AND `end` >= $__toTime_ms - toIntervalMinute(10)",
    "GROUP BY asset, position",
)
_LEVELS: Final[tuple[tuple[str, Severity], ...]] = (
    ("notice", "info"),
    ("warning", "warning"),
    ("critical", "critical"),
    ("page", "critical"),
)


def _escalation(level: int) -> AlertRule:
    """Return the rule of one level of the rolling threshold; the last one is for all above, too."""
    name, severity = _LEVELS[level]
    is_last = level == len(_LEVELS) - 1
    having = f"GROUP BY scope, asset\nHAVING max(level) {'>=' if is_last else '='} {level}"
    found = "FROM anomalies\nWHERE $__timeFilter_ms(started) AND kind = 'rolling_threshold' AND state = 'open'"
    rows = _Rows(_WHOSE, found, having)
    return AlertRule(
        uid=f"liquidations-rolling-{level}",
        title=f"Liquidated in an hour: {name}",
        question=f"Has the last hour's sum passed the bound of level {level}{' or more' if is_last else ''}?",
        sql=rows.of("max(value)"),
        above=0,
        severity=severity,
        summary=f"{{{{ $labels.of }}}}: liquidations of an hour at level {level}{' or more' if is_last else ''}",
        description="{{ humanize $values.B.Value }} USD were liquidated within an hour, over the bound of "
        f"{{{{ humanize $values.T.Value }}}} USD; {_SAYS_COVERAGE}. The bound has doubled; the next message comes "
        f"there.",
        dashboard=SYMBOL_UID,
        panel=8,
        why=_WHY,
        looks_back_s=12 * _HOUR_S,
        labels=(("level", name),),
        facts=(
            ("T", rows.of("argMax(threshold, level)")),
            ("K", rows.of(_COVERAGE)),
            ("W", rows.of(_BEGAN.format("started"))),
        ),
        chooses=_OF_WHOSE,
        began="W",
    )


ANOMALIES: Final = AlertGroup(
    "anomalies",
    60,
    (
        AlertRule(
            uid="liquidations-surge",
            title="Surge of liquidations",
            question="Is far more being liquidated of an asset than in the bars before?",
            sql=_SURGE.of("max(value / greatest(threshold, 1))"),
            above=1,
            severity="warning",
            summary="{{ $labels.asset }}: surge of {{ $labels.position }} liquidations, bars of {{ $labels.bar }}",
            description="{{ humanize $values.V.Value }} USD in a bar, over the bound of {{ humanize $values.T.Value }} "
            "USD; "
            f"usual are {{{{ humanize $values.M.Value }}}} USD; {_SAYS_COVERAGE}.",
            dashboard=ANOMALIES_UID,
            panel=4,
            why=_WHY,
            looks_back_s=2 * _HOUR_S,
            facts=(
                ("V", _SURGE.of("max(value)")),
                ("T", _SURGE.of("max(threshold)")),
                ("M", _SURGE.of("max(ifNull(baseline_mean, 0.))")),
                ("K", _SURGE.of(_COVERAGE)),
                ("W", _SURGE.of(_BEGAN.format("started"))),
            ),
            chooses=_OF_ASSET,
            began="W",
        ),
        *(_escalation(level) for level in range(len(_LEVELS))),
        AlertRule(
            uid="liquidations-cascade-opened",
            title="Cascade",
            question="Does a run of forced orders go on that is large for its asset?",
            sql=_CASCADE.of("max(long_usd + short_usd)"),
            above=0,
            severity="critical",
            summary="{{ $labels.asset }}: cascade of {{ $labels.position }}s",
            description="{{ humanize $values.B.Value }} USD so far in {{ $values.N.Value }} liquidations on "
            f"{{{{ $values.E.Value }}}} exchanges; {_SAYS_COVERAGE}.",
            dashboard=ANOMALIES_UID,
            panel=6,
            why=_WHY,
            looks_back_s=6 * _HOUR_S,
            facts=(
                ("N", _CASCADE.of("max(long_count + short_count)")),
                ("E", _CASCADE.of("max(length(exchanges))")),
                ("K", _CASCADE.of(_COVERAGE)),
                ("W", _CASCADE.of(_BEGAN.format("begin"))),
            ),
            chooses=_OF_ASSET,
            began="W",
        ),
        AlertRule(
            uid="liquidations-cascade-subsided",
            title="Cascade has subsided",
            question="Has a cascade ended within the last ten minutes?",
            sql=_SUBSIDED.of("max(long_usd + short_usd)"),
            above=0,
            severity="info",
            summary="{{ $labels.asset }}: the cascade of {{ $labels.position }}s has subsided",
            description="{{ humanize $values.B.Value }} USD were liquidated in "
            f"{{{{ humanizeDuration $values.S.Value }}}}; {_SAYS_COVERAGE}. This message ends by itself.",
            dashboard=ANOMALIES_UID,
            panel=6,
            why=_WHY,
            looks_back_s=6 * _HOUR_S,
            facts=(
                ("S", _SUBSIDED.of("max(dateDiff('second', begin, assumeNotNull(`end`)))")),
                ("K", _SUBSIDED.of(_COVERAGE)),
                ("W", _SUBSIDED.of(_BEGAN.format("begin"))),
            ),
            chooses=_OF_ASSET,
            began="W",
        ),
        AlertRule(
            uid="liquidations-ratio",
            title="Liquidations are much of what is traded",
            question="Is an unusual share of a contract's traded value forced?",
            sql=_RATIO.of("max(value)"),
            above=0,
            severity="warning",
            summary="{{ $labels.asset }}{{ $labels.symbol }}: many {{ $labels.position }} liquidations for the trade",
            description="{{ humanizePercentage $values.B.Value }} of the traded value was forced, over the bound of "
            f"{{{{ humanizePercentage $values.T.Value }}}}; {_SAYS_COVERAGE}.",
            dashboard=SYMBOL_UID,
            panel=7,
            why=_WHY,
            looks_back_s=2 * _HOUR_S,
            facts=(
                ("T", _RATIO.of("max(threshold)")),
                ("K", _RATIO.of(_COVERAGE)),
                ("W", _RATIO.of(_BEGAN.format("started"))),
            ),
            chooses=_OF_ASSET + _OF_EXCHANGE,
            began="W",
        ),
    ),
)
