"""All files from which Grafana provisions itself, as text by path. The same declarations give the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipeline.grafana.boards import BOARDS
from pipeline.grafana.dashboard_json import dashboard_json
from pipeline.grafana.theme import Theme


def json_text(document: Mapping[str, Any]) -> str:
    """Return JSON as it is written to files and compared."""
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def dashboards(source: str, theme: Theme) -> dict[str, dict[str, Any]]:
    """Return all dashboards by uid."""
    return {board.uid: dashboard_json(board, BOARDS, source, theme) for board in BOARDS}
