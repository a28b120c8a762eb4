"""Queries as the data source's plugin wants them."""

from __future__ import annotations

from typing import Any, Final

from pipeline.grafana.panel import Query

PLUGIN: Final = "grafana-clickhouse-datasource"
PLUGIN_VERSION: Final = "4.20.0"

_FORMATS: Final = {"series": ("timeseries", 0), "table": ("table", 1)}


def source_json(uid: str) -> dict[str, str]:
    """Return a reference to the data source."""
    return {"type": PLUGIN, "uid": uid}


def target_json(query: Query, ref_id: str, source: str) -> dict[str, Any]:
    """Return one query. Without its version the editor takes it for one of an old plugin and rewrites it."""
    query_type, number = _FORMATS[query.shape]
    return {
        "refId": ref_id,
        "datasource": source_json(source),
        "pluginVersion": PLUGIN_VERSION,
        "editorType": "sql",
        "queryType": query_type,
        "format": number,
        "rawSql": query.sql.strip(),
    }
