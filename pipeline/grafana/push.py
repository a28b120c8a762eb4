"""Compare the declarations with a Grafana, and bring it up to date."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pipeline.grafana.alert_json import api_group
from pipeline.grafana.alert_rules import GROUPS
from pipeline.grafana.client import Grafana, GrafanaError
from pipeline.grafana.dashboard_json import TAG
from pipeline.grafana.durations import in_seconds
from pipeline.grafana.files import dashboards, json_text, theme_of
from pipeline.settings import Settings

FOLDER_UID: Final = "liquidations"

State = Literal["new", "changed", "same", "removed"]

# What Grafana adds to what it was given.
_GRAFANAS_OWN: Final = {
    *("id", "version", "iteration", "preload", "apiVersion", "gnetId"),
    *("provenance", "updated", "guid", "record", "missingSeriesEvalsToResolve"),
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One dashboard or group of rules: its state, and the lines that differ as a unified diff.

    `removed`: it is in Grafana, and no longer declared.
    """

    kind: Literal["dashboard", "rules"]
    name: str
    state: State
    lines: tuple[str, ...] = ()


def connect(settings: Settings) -> Grafana:
    """Return the Grafana of the settings; raise `GrafanaError` without a token."""
    if settings.grafana_token is None:
        raise GrafanaError("there is no token for Grafana: set LIQUIDATIONS_GRAFANA_TOKEN")
    return Grafana(settings.grafana_url, settings.grafana_token.get_secret_value(), settings.grafana_timeout_s)


def compare(grafana: Grafana, settings: Settings) -> list[Difference]:
    """Return declared dashboards and groups compared with Grafana's, and dashboards that are no longer declared."""
    return [difference for difference, _ in _compared(grafana, settings)]


def push(grafana: Grafana, settings: Settings) -> list[Difference]:
    """Make Grafana's dashboards and rules equal to the declarations, and return what differed before.

    What is the same is not touched, so a second push changes nothing. Dashboards that are no longer declared are named
    and stay: somebody may look at them. Raises `GrafanaError` if the data source is not there, before anything is
    changed.
    """
    source = settings.grafana_datasource
    if grafana.data_source(source) is None:
        raise GrafanaError(
            f"Grafana has no data source with the uid {source}: provision "
            f"infra/grafana/provisioning/datasources, or set "
            "LIQUIDATIONS_GRAFANA_DATASOURCE to the uid of one that reads ClickHouse"
        )
    compared = list(_compared(grafana, settings))
    if grafana.folder(FOLDER_UID) is None:
        grafana.create_folder(FOLDER_UID, settings.grafana_folder)
    for difference, document in compared:
        if difference.state in {"same", "removed"}:
            continue
        if difference.kind == "dashboard":
            grafana.put_dashboard(document, FOLDER_UID, "liquidations grafana push")
        else:
            grafana.put_rule_group(document)
    return [difference for difference, _ in compared]


def _compared(grafana: Grafana, settings: Settings) -> Iterator[tuple[Difference, dict[str, Any]]]:
    source = settings.grafana_datasource
    declared = dashboards(source, theme_of(settings))
    for uid, board in declared.items():
        found = grafana.dashboard(uid)
        yield _difference("dashboard", uid, None if found is None else found["dashboard"], board), board
    for group in GROUPS:
        body = api_group(group, FOLDER_UID, source)
        yield _difference("rules", group.name, grafana.rule_group(FOLDER_UID, group.name), body), body
    for other in sorted(grafana.dashboards_tagged(TAG), key=lambda entry: str(entry["uid"])):
        if other["uid"] not in declared and other.get("folderUid") == FOLDER_UID:
            yield Difference("dashboard", str(other["uid"]), "removed"), {}


def _difference(
    kind: Literal["dashboard", "rules"], name: str, found: Mapping[str, Any] | None, declared: Mapping[str, Any]
) -> Difference:
    if found is None:
        return Difference(kind, name, "new")
    before, after = (json_text(_comparable(one, declared)).splitlines() for one in (found, declared))
    lines = tuple(difflib.unified_diff(before, after, "in Grafana", "declared", lineterm="", n=2))
    return Difference(kind, name, "changed" if lines else "same", lines)


def _comparable(found: Any, declared: Any) -> Any:  # noqa: ANN401 - JSON
    """Return what Grafana holds without what it added itself.

    Durations are brought into one form: Grafana answers `2m` where it was given `120s`.
    """
    if isinstance(found, Mapping):
        other = declared if isinstance(declared, Mapping) else {}
        return {
            key: _seconds(value) if key in {"for", "keep_firing_for"} else _comparable(value, other.get(key))
            for key, value in found.items()
            if key not in _GRAFANAS_OWN or key in other
        }
    if isinstance(found, Sequence) and not isinstance(found, str):
        others = declared if isinstance(declared, list) else []
        return [_comparable(value, others[index] if index < len(others) else None) for index, value in enumerate(found)]
    return found


def _seconds(duration: object) -> object:
    """Return a duration in seconds, anything else as it is."""
    seconds = in_seconds(duration) if isinstance(duration, str) else None
    return duration if seconds is None else seconds
