"""Alert rules as Grafana's provisioning wants them: in files, and by its API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pipeline.grafana.alert import AlertGroup, AlertRule
from pipeline.grafana.panel import Query
from pipeline.grafana.targets import target_json

Json = dict[str, Any]

_EXPRESSION: Final = {"type": "__expr__", "uid": "__expr__"}
_ORGANISATION: Final = 1
# Two hours before the begin of what is told, and two after.
_WINDOW_MS: Final = 14_400_000


def file_groups(groups: Sequence[AlertGroup], folder: str, source: str) -> Json:
    """Return the file `provisioning/alerting/rules.yaml`; `folder` is a title."""
    return {
        "apiVersion": 1,
        "groups": [
            {
                "orgId": _ORGANISATION,
                "name": group.name,
                "folder": folder,
                "interval": f"{group.every_s}s",
                "rules": [_file_rule(rule, source) for rule in group.rules],
            }
            for group in groups
        ],
    }


def api_group(group: AlertGroup, folder_uid: str, source: str) -> Json:
    """Return the body that replaces a whole group by the API."""
    return {
        "title": group.name,
        "folderUid": folder_uid,
        "interval": group.every_s,
        "rules": [_api_rule(rule, group.name, folder_uid, source) for rule in group.rules],
    }


def _file_rule(rule: AlertRule, source: str) -> Json:
    return _common(rule, source) | {
        "dashboardUid": rule.dashboard,
        "panelId": rule.panel,
        "keepFiringFor": f"{rule.keeps_firing_s}s",
        # In annotations `$labels` stays as it is; Grafana reads only `${NAME}` there as an environment variable.
        "annotations": annotations_of(rule),
    }


def _api_rule(rule: AlertRule, group: str, folder_uid: str, source: str) -> Json:
    return _common(rule, source) | {
        "orgID": _ORGANISATION,
        "folderUID": folder_uid,
        "ruleGroup": group,
        "keep_firing_for": f"{rule.keeps_firing_s}s",
        "annotations": annotations_of(rule) | {"__dashboardUid__": rule.dashboard, "__panelId__": str(rule.panel)},
    }


def _common(rule: AlertRule, source: str) -> Json:
    return {
        "uid": rule.uid,
        "title": rule.title,
        "condition": "C",
        "data": _data(rule, source),
        "noDataState": rule.no_data,
        "execErrState": rule.on_error,
        "for": f"{rule.holds_s}s",
        "labels": {"severity": rule.severity, "product": "liquidations", **dict(rule.labels)},
        "isPaused": False,
    }


def annotations_of(rule: AlertRule) -> dict[str, str]:
    """Return what a message says, as templates of Grafana's, with the address of its panel."""
    # From when it is clicked on, `now` is another time; a time with a window is not.
    span = (
        f"from=now-{max(3_600, rule.looks_back_s)}s&to=now"
        if rule.began is None
        else f'time={{{{ printf "%.0f" $values.{rule.began}.Value }}}}&time.window={_WINDOW_MS}'
    )
    return {
        "summary": rule.summary,
        "description": rule.description,
        "question": rule.question,
        "panel": f"/d/{rule.dashboard}?viewPanel={rule.panel}&{span}{rule.chooses}",
    }


def _data(rule: AlertRule, source: str) -> list[Json]:
    span = {"from": rule.looks_back_s, "to": 0}
    condition: Json = {"evaluator": {"type": "gt", "params": [rule.above]}}
    if rule.recovers_at is not None:
        condition["unloadEvaluator"] = {"type": "lt", "params": [rule.recovers_at]}
    threshold = {
        "refId": "C",
        "type": "threshold",
        "datasource": _EXPRESSION,
        "expression": "B",
        "conditions": [condition],
    }
    return [
        *_reduced(rule.sql, "A", "B", span, source),
        {"refId": "C", "relativeTimeRange": span, "datasourceUid": "__expr__", "model": threshold},
        *(entry for letter, sql in rule.facts for entry in _reduced(sql, f"{letter}rows", letter, span, source)),
    ]


def _reduced(sql: str, rows: str, number: str, span: Json, source: str) -> list[Json]:
    """Return a query by the name `rows`, and its number of each label by the name `number`."""
    query = target_json(Query(sql, "table"), rows, source) | {"intervalMs": 60_000, "maxDataPoints": 1_000}
    reduce = {
        "refId": number,
        "type": "reduce",
        "datasource": _EXPRESSION,
        "expression": rows,
        "reducer": "last",
        "settings": {"mode": "dropNN"},
    }
    return [
        {"refId": rows, "relativeTimeRange": span, "datasourceUid": source, "model": query},
        {"refId": number, "relativeTimeRange": span, "datasourceUid": "__expr__", "model": reduce},
    ]
