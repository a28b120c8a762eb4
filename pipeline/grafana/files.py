"""All files from which Grafana provisions itself, as text by path. The same declarations give the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pipeline.errors import OperationError
from pipeline.grafana.alert_json import file_groups
from pipeline.grafana.alert_rules import GROUPS, RETIRED
from pipeline.grafana.boards import BOARDS
from pipeline.grafana.dashboard_json import dashboard_json
from pipeline.grafana.provisioning import contact_files, data_source, folder_of_dashboards
from pipeline.grafana.theme import Theme
from pipeline.grafana.yaml_text import yaml_text
from pipeline.settings import Settings

_HEAD: Final = "# Made by `liquidations grafana build`; change the declarations in pipeline/grafana instead.\n"
_CONTACTS: Final = "provisioning/alerting/contacts.yaml"


class BuildError(OperationError):
    """The files cannot be written; the message says why."""


def theme_of(settings: Settings) -> Theme:
    """Return the colours that are set."""
    return Theme(settings.long_colour, settings.short_colour, settings.gradient)


def json_text(document: Mapping[str, Any]) -> str:
    """Return JSON as it is written to files and compared."""
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def dashboards(source: str, theme: Theme) -> dict[str, dict[str, Any]]:
    """Return all dashboards by uid."""
    return {board.uid: dashboard_json(board, BOARDS, source, theme) for board in BOARDS}


def all_files(settings: Settings) -> dict[str, str]:
    """Return every file by its path below Grafana's folder, in the order of the paths."""
    source, folder = settings.grafana_datasource, settings.grafana_folder
    rules = file_groups(GROUPS, folder, source)
    if RETIRED:
        rules["deleteRules"] = [{"orgId": 1, "uid": uid} for uid in RETIRED]
    found = {
        "provisioning/datasources/clickhouse.yaml": _HEAD + yaml_text(data_source(source)),
        "provisioning/dashboards/liquidations.yaml": _HEAD + yaml_text(folder_of_dashboards(folder)),
        "provisioning/alerting/rules.yaml": _HEAD + yaml_text(rules),
    }
    if settings.alert_contacts:
        found[_CONTACTS] = _HEAD + yaml_text(contact_files(settings.alert_contacts))
    for uid, board in dashboards(source, theme_of(settings)).items():
        found[f"dashboards/{uid}.json"] = json_text(board)
    return dict(sorted(found.items()))


def write_files(files: Mapping[str, str], folder: Path) -> tuple[list[str], list[str]]:
    """Write what differs, remove files of ours that are no longer made, and return the paths of both."""
    written, removed = [], []
    try:
        for path, text in files.items():
            place = folder / path
            if place.is_file() and place.read_text() == text:
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
            written.append(path)
        ours = [*folder.glob("dashboards/liquidations-*.json"), *folder.glob(_CONTACTS)]
        for place in sorted(ours):
            path = place.relative_to(folder).as_posix()
            if path not in files:
                place.unlink()
                removed.append(path)
    except OSError as error:
        raise BuildError(f"cannot write Grafana's files to {folder}: {error.strerror}") from error
    return written, removed
