"""Dashboards as Grafana's classic JSON, schema version 42."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from pipeline.grafana.dashboard import COLUMNS, Dashboard, Mark
from pipeline.grafana.panel import Panel, Query
from pipeline.grafana.panel_json import panel_json
from pipeline.grafana.targets import source_json, target_json
from pipeline.grafana.theme import Theme
from pipeline.grafana.variable import ALL, Choice, Listed, Variable

Json = dict[str, Any]

SCHEMA_VERSION: Final = 42
TAG: Final = "liquidations"
_REFRESH: Final = "30s"


def dashboard_json(board: Dashboard, boards: Sequence[Dashboard], source: str, theme: Theme) -> Json:
    """Return one dashboard with links to the other `boards`, in their order; `source` is the data source's uid.

    No id and no version: those are Grafana's.
    """
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.question,
        "tags": [TAG],
        "schemaVersion": SCHEMA_VERSION,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "utc",
        "refresh": _REFRESH,
        "time": {"from": board.since, "to": "now"},
        "timepicker": {},
        "links": [_link(other) for other in boards if other.uid != board.uid],
        "templating": {"list": [_variable(variable, source) for variable in board.variables]},
        "annotations": {"list": [_mark(mark, source) for mark in board.marks]},
        "panels": list(_panels(board, source, theme)),
    }


def _link(board: Dashboard) -> Json:
    return {
        "type": "link",
        "title": board.title.removeprefix("Liquidations: ").capitalize(),
        "url": f"/d/{board.uid}",
        "tooltip": board.question,
        "icon": "dashboard",
        "tags": [],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
    }


def _variable(variable: Variable, source: str) -> Json:
    common: Json = {"name": variable.name, "label": variable.label, "skipUrlSync": False}
    every = {"text": ["All"], "value": [ALL]}
    if isinstance(variable, Listed):
        query = {
            "refId": variable.name,
            "datasource": source_json(source),
            "queryType": "sql",
            "rawSql": variable.sql.strip(),
        }
        return {
            **common,
            "type": "query",
            "datasource": source_json(source),
            "query": query,
            "refresh": 2,
            "regex": "",
            "sort": 0,
            "hide": 2 if variable.hidden else 0,
            "multi": variable.many,
            "includeAll": variable.many,
            "options": [],
            **({"current": every} if variable.many else {}),
        }
    if isinstance(variable, Choice):
        value, text = variable.options[0]
        return {
            **common,
            "type": "custom",
            "hide": 0,
            "query": ", ".join(f"{text} : {value}" for value, text in variable.options),
            "multi": variable.many,
            "includeAll": variable.many,
            "current": every if variable.many else {"text": text, "value": value},
            "options": [],
        }
    return {
        **common,
        "type": "textbox",
        "hide": 0,
        "query": variable.default,
        "current": {"text": variable.default, "value": variable.default},
        "options": [],
    }


def _mark(mark: Mark, source: str) -> Json:
    return {
        "name": mark.name,
        "enable": mark.shown,
        "hide": False,
        "iconColor": mark.colour,
        "datasource": source_json(source),
        "target": target_json(Query(mark.sql, "table"), "Anno", source),
    }


def _panels(board: Dashboard, source: str, theme: Theme) -> Iterator[Json]:
    top = 0
    for section in board.sections:
        yield {
            "type": "row",
            "id": section.number,
            "title": section.title,
            "collapsed": False,
            "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1},
            "panels": [],
        }
        top += 1
        for line in _lines(section.panels):
            left = 0
            for panel in line:
                place = {"x": left, "y": top, "w": panel.width, "h": panel.height}
                yield {"id": panel.number, "gridPos": place, **panel_json(panel, source, theme)}
                left += panel.width
            top += max(panel.height for panel in line)


def _lines(panels: Sequence[Panel]) -> Iterator[list[Panel]]:
    """Yield the panels that stand beside one another."""
    line: list[Panel] = []
    for panel in panels:
        if line and sum(one.width for one in line) + panel.width > COLUMNS:
            yield line
            line = []
        line.append(panel)
    if line:
        yield line
