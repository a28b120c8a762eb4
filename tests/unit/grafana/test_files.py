"""The files for Grafana: what they must hold, that the repository has them, and that nothing is sent by default."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest
import yaml
from conftest import ROOT

from pipeline.grafana.alert_rules import GROUPS
from pipeline.grafana.boards import BOARDS
from pipeline.grafana.files import BuildError, all_files, write_files
from pipeline.grafana.targets import PLUGIN
from pipeline.settings import ContactSettings, Settings, read_settings

FILES = all_files(Settings())
JSONS = {path: json.loads(text) for path, text in FILES.items() if path.endswith(".json")}
YAMLS = {path: yaml.safe_load(text) for path, text in FILES.items() if path.endswith(".yaml")}
DASHBOARDS = {board["uid"]: board for board in JSONS.values()}
UID = re.compile(r"[A-Za-z0-9_-]{1,40}")
# Ids of Grafana's units; a wrong one would be printed behind the number.
UNITS = {"none", "short", "s", "ops", "percentunit", "currencyUSD", "decbytes", "locale", "time:YYYY-MM-DD HH:mm:ss"}


def data_panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] not in {"row", "text"}]


def test_the_files_in_the_repository_are_those_that_are_built():
    kept = {path: (ROOT / "infra" / "grafana" / path).read_text() for path in FILES}
    assert kept == FILES, "run `liquidations grafana build`"
    there = {path.name for path in (ROOT / "infra" / "grafana" / "dashboards").iterdir()}
    assert there == {f"{uid}.json" for uid in DASHBOARDS}


def test_uids_and_ids_are_unique_and_well_formed():
    uids = [board.uid for board in BOARDS] + [rule.uid for group in GROUPS for rule in group.rules]
    assert len(set(uids)) == len(uids)
    assert all(UID.fullmatch(uid) for uid in uids)
    for board in DASHBOARDS.values():
        ids = [panel["id"] for panel in board["panels"]]
        assert len(set(ids)) == len(ids), board["uid"]
        assert not {"id", "version"} & set(board)
        assert board["editable"] is False


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_panels_stand_on_the_page_and_do_not_overlap(uid):
    places = [panel["gridPos"] for panel in DASHBOARDS[uid]["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in itertools.combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_every_panel_says_what_it_answers(uid):
    for panel in data_panels(DASHBOARDS[uid]):
        assert panel["title"]
        assert "?" in panel["description"], panel["title"]
        letters = [target["refId"] for target in panel["targets"]]
        assert letters
        assert letters == sorted(set(letters))


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_units_are_grafanas(uid):
    text = json.dumps(DASHBOARDS[uid])
    assert set(re.findall(r'"unit": "([^"]*)"', text)) <= UNITS
    assert set(re.findall(r'\{"id": "unit", "value": "([^"]*)"', text)) <= UNITS


def test_quality_is_the_first_link_of_every_other_dashboard():
    for uid, board in DASHBOARDS.items():
        links = [link["url"].removeprefix("/d/") for link in board["links"]]
        assert set(links) == set(DASHBOARDS) - {uid}
        assert uid == "liquidations-quality" or links[0] == "liquidations-quality"
        assert all(link["keepTime"] and link["includeVars"] for link in board["links"])


def test_links_of_tables_lead_to_dashboards_that_take_what_they_pass():
    links = re.findall(r"/d/([\w-]+)\?\$\{__url_time_range\}&var-(\w+)=", json.dumps(list(DASHBOARDS.values())))
    assert links
    for uid, name in links:
        assert name in {variable["name"] for variable in DASHBOARDS[uid]["templating"]["list"]}


def test_colours_of_positions_are_set_in_one_place():
    text = json.dumps([all_files(Settings(long_colour="#2563eb", short_colour="#ea580c"))])
    assert "#2563eb" in text
    assert "#22c55e" not in text
    assert "#ef4444" not in text


# Alert rules


def rules() -> list[dict[str, Any]]:
    found = YAMLS["provisioning/alerting/rules.yaml"]["groups"]
    return [rule for group in found for rule in group["rules"]]


def test_rules_have_what_the_file_format_asks_for():
    for group in YAMLS["provisioning/alerting/rules.yaml"]["groups"]:
        assert set(group) == {"orgId", "name", "folder", "interval", "rules"}
    for rule in rules():
        assert {"uid", "title", "condition", "data", "noDataState", "execErrState", "for"} <= set(rule)
        assert rule["condition"] in {entry["refId"] for entry in rule["data"]}
        assert rule["execErrState"] in {"Error", "OK", "Alerting", "KeepLast"}
        assert int(rule["for"].removesuffix("s")) % 60 == 0, "a multiple of the evaluation's interval"
        sources = {entry["datasourceUid"] for entry in rule["data"]}
        assert sources == {"__expr__", "liquidations-clickhouse"}
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}


def test_rules_point_at_panels_that_are_there():
    for rule in rules():
        board = DASHBOARDS[rule["dashboardUid"]]
        assert rule["panelId"] in {panel["id"] for panel in data_panels(board)}
        address, _, span = rule["annotations"]["panel"].partition("&")
        assert address == f"/d/{rule['dashboardUid']}?viewPanel={rule['panelId']}"
        assert span.startswith(("from=now-", "time={{ printf"))
        chosen = set(re.findall(r"&var-(\w+)=", span))
        assert chosen <= {variable["name"] for variable in board["templating"]["list"]}


def test_rules_use_nothing_that_only_a_browser_expands():
    for group in GROUPS:
        for rule in group.rules:
            for sql in (rule.sql, *(sql for _, sql in rule.facts)):
                assert "$__conditionalAll" not in sql
            assert set(re.findall(r"\$(\w+)", rule.sql)) <= {
                "__timeFilter_ms",
                "__fromTime_ms",
                "__toTime_ms",
                "__toTime",
            }, rule.uid
            assert "$__timeFilter_ms" in rule.sql
            assert rule.why


def test_texts_of_rules_are_not_taken_for_environment_variables():
    for rule in rules():
        assert "$" not in rule["title"] + json.dumps(rule["labels"])
        assert "${" not in json.dumps(rule["annotations"])


# Provisioning


def test_the_data_source_is_read_by_its_own_user_and_has_no_secret_in_it():
    (source,) = YAMLS["provisioning/datasources/clickhouse.yaml"]["datasources"]
    assert source["type"] == PLUGIN
    assert source["jsonData"]["protocol"] == "http"
    assert source["jsonData"]["username"] == "liquidations_grafana"
    assert source["secureJsonData"] == {"password": "$LIQUIDATIONS_GRAFANA_PASSWORD"}
    assert "enableRowLimit" not in source["jsonData"]
    assert not source["editable"]


def test_nobody_is_told_by_default():
    assert not any("contact" in path for path in FILES)
    assert "contactPoints" not in json.dumps(YAMLS)


def test_contacts_come_from_settings(tmp_path):
    example = ROOT / "infra" / "grafana" / "examples" / "contacts.toml"
    files = all_files(read_settings(example))
    made = yaml.safe_load(files["provisioning/alerting/contacts.yaml"])
    receivers = {point["name"]: point["receivers"][0] for point in made["contactPoints"]}
    assert {receiver["type"] for receiver in receivers.values()} == {"webhook", "email"}
    assert receivers["liquidations-desk"]["settings"]["url"] == "$LIQUIDATIONS_ALERT_WEBHOOK"
    (tree,) = made["policies"]
    assert tree["receiver"] in receivers
    assert {route["receiver"] for route in tree["routes"]} == set(receivers)
    assert "asset" in tree["group_by"]
    write_files(files, tmp_path)
    _, removed = write_files(FILES, tmp_path)
    assert removed == ["provisioning/alerting/contacts.yaml"]


@pytest.mark.parametrize("wrong", [{"kind": "fax", "address": "1"}, {"kind": "email", "address": ""}])
def test_a_wrong_contact_is_refused(wrong):
    with pytest.raises(ValueError, match=r"kind|address"):
        ContactSettings(**wrong)


# Writing


def test_a_second_build_writes_nothing(tmp_path):
    assert write_files(FILES, tmp_path) == (list(FILES), [])
    assert write_files(FILES, tmp_path) == ([], [])


def test_a_dashboard_that_is_no_longer_declared_goes_and_what_is_not_ours_stays(tmp_path):
    write_files(FILES, tmp_path)
    (tmp_path / "dashboards" / "liquidations-old.json").write_text("{}")
    (tmp_path / "dashboards" / "own.json").write_text("{}")
    assert write_files(FILES, tmp_path) == ([], ["dashboards/liquidations-old.json"])
    assert (tmp_path / "dashboards" / "own.json").exists()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError, match="cannot write Grafana's files"):
        write_files(FILES, tmp_path / "file")
