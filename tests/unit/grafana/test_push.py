"""The push and the comparison, over real sockets, with a server that answers as Grafana documents it."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from unit.grafana.grafana_server import TOKEN, GrafanaServer, serving

from pipeline.cli import commands
from pipeline.grafana.alert_rules import GROUPS
from pipeline.grafana.boards import BOARDS
from pipeline.grafana.client import Grafana, GrafanaError
from pipeline.grafana.push import FOLDER_UID, compare, connect, push
from pipeline.settings import Settings

DECLARED = len(BOARDS) + len(GROUPS)
SAVE = "/api/dashboards/db"


@pytest.fixture
def server() -> Iterator[GrafanaServer]:
    with serving() as found:
        yield found


@pytest.fixture
def settings(server: GrafanaServer) -> Settings:
    return Settings(grafana_url=server.url, grafana_token=TOKEN)


@pytest.fixture
def grafana(server: GrafanaServer) -> Iterator[Grafana]:
    found = Grafana(server.url, TOKEN, 5, wait=lambda _: None)
    yield found
    found.close()


def states(differences):
    return [difference.state for difference in differences]


def test_a_second_push_changes_nothing_and_says_so(server, grafana, settings):
    assert states(push(grafana, settings)) == ["new"] * DECLARED
    assert set(server.boards) == {board.uid for board in BOARDS}
    assert {folder for folder, _ in server.groups} == {FOLDER_UID}
    done = len(server.changes)
    assert states(push(grafana, settings)) == ["same"] * DECLARED
    assert len(server.changes) == done
    assert states(compare(grafana, settings)) == ["same"] * DECLARED


def test_a_changed_panel_is_shown_before_it_is_pushed_and_only_it_is_replaced(server, grafana, settings):
    push(grafana, settings)
    server.boards["liquidations-market"]["dashboard"]["panels"][1]["title"] = "By hand"
    server.groups[FOLDER_UID, "pipeline"]["rules"][0]["for"] = "9m"
    done = len(server.changes)
    changed = {found.name: found.lines for found in compare(grafana, settings) if found.state == "changed"}
    assert set(changed) == {"liquidations-market", "pipeline"}
    assert any(line.startswith("-") and "By hand" in line for line in changed["liquidations-market"])
    assert any(line.startswith("-") and "540" in line for line in changed["pipeline"])
    assert len(server.changes) == done
    push(grafana, settings)
    assert [path.rsplit("/", 1)[1] for _, path in server.changes[done:]] == ["db", "pipeline"]
    assert server.boards["liquidations-market"]["dashboard"]["panels"][1]["title"] != "By hand"


def test_a_dashboard_that_is_no_longer_declared_is_named_and_stays(server, grafana, settings):
    push(grafana, settings)
    old = copy.deepcopy(server.boards["liquidations-market"])
    old["dashboard"]["uid"] = "liquidations-old"
    server.boards["liquidations-old"] = old
    elsewhere = copy.deepcopy(old)
    elsewhere["dashboard"]["uid"] = "somebodys"
    elsewhere["meta"]["folderUid"] = "theirs"
    server.boards["somebodys"] = elsewhere
    (removed,) = [found for found in push(grafana, settings) if found.state == "removed"]
    assert removed.name == "liquidations-old"
    assert "liquidations-old" in server.boards


def test_nothing_is_changed_where_the_data_source_is_missing(server, grafana, settings):
    server.sources.clear()
    with pytest.raises(GrafanaError, match="no data source with the uid liquidations-clickhouse"):
        push(grafana, settings)
    assert server.changes == []


# What goes wrong


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, {"message": "Cannot save provisioned dashboard"}, "Cannot save provisioned dashboard"),
        (401, {"message": "Invalid API key"}, "token is not accepted"),
        (403, {"message": "You'll need additional permissions", "accessErrorId": "ACE1"}, "needs the role Editor"),
        (404, {"message": "Not found"}, "no such thing"),
        (409, {"message": "alert rule group conflict"}, "another form"),
        (412, {"message": "The dashboard has been changed", "status": "version-mismatch"}, "changed by somebody else"),
        (422, [{"fieldNames": ["title"]}], "refuses"),
        (500, 7, "it fails"),
        (502, "<html>Bad Gateway</html>", "Bad Gateway"),
        (503, "", "it fails"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(server, grafana, status, body, words):
    """Whatever its body is: the library falls over numbers, texts and lists."""
    server.fail("POST", SAVE, *[(status, body)] * 5)
    with pytest.raises(GrafanaError, match=words) as caught:
        grafana.put_dashboard({"uid": "x", "tags": []}, FOLDER_UID, "")
    assert caught.value.status == status
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_passing_failure_is_asked_again_where_that_is_harmless(server, grafana, status):
    server.fail("POST", SAVE, (status, "later"), (status, "later"))
    grafana.put_dashboard({"uid": "x", "tags": []}, FOLDER_UID, "")
    assert server.boards["x"]["dashboard"]["version"] == 1
    server.fail("POST", "/api/folders", (status, "later"))
    with pytest.raises(GrafanaError):
        grafana.create_folder("f", "F")
    assert server.calls.count(("POST", "/api/folders")) == 1


@pytest.mark.parametrize("status", [200, 202, 204])
def test_an_answer_without_a_body_is_an_answer(server, grafana, status):
    server.folders["f"] = {}
    server.fail("PUT", "/api/v1", (status, ""))
    grafana.put_rule_group({"title": "g", "folderUid": "f", "rules": []})


def test_a_missing_group_has_no_body_and_is_none(grafana):
    assert grafana.rule_group("f", "a group/with a slash") is None


def test_names_are_quoted_on_their_way(server, grafana):
    server.folders["f"] = {}
    grafana.put_rule_group({"title": "a/b c?d", "folderUid": "f", "rules": []})
    assert server.groups["f", "a/b c?d"]["title"] == "a/b c?d"


def test_a_redirect_is_an_error_and_not_a_get(server, grafana):
    server.fail("POST", SAVE, (301, "https://grafana.example/api/dashboards/db"))
    with pytest.raises(GrafanaError, match=r"sends us to https://grafana\.example"):
        grafana.put_dashboard({"uid": "x", "tags": []}, FOLDER_UID, "")
    assert ("GET", SAVE) not in server.calls


def test_a_page_of_another_server_is_no_missing_dashboard(server, grafana):
    server.fail("GET", "/api/dashboards", (404, "<html>nginx</html>"))
    with pytest.raises(GrafanaError, match="is no Grafana"):
        grafana.dashboard("x")


def test_a_slow_grafana_is_not_waited_for_for_ever(server):
    server.slow_s = 0.6
    grafana = Grafana(server.url, TOKEN, 0.05, wait=lambda _: None)
    with pytest.raises(GrafanaError, match="no answer in time"):
        grafana.folder("x")
    grafana.close()
    assert len(server.calls) == 3


def test_nobody_at_the_address():
    grafana = Grafana("http://127.0.0.1:1", TOKEN, 1, wait=lambda _: None)
    with pytest.raises(GrafanaError, match="is it running"):
        grafana.folder("x")
    grafana.close()


@pytest.mark.parametrize("url", ["grafana:3000", "ftp://grafana", ""])
def test_an_address_that_is_none(url):
    with pytest.raises(GrafanaError, match="no address of Grafana"):
        Grafana(url, TOKEN, 1)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://h:3000", "http://h:3000/api"),
        ("https://h/grafana/", "https://h/grafana/api"),
        ("https://h/a/b", "https://h/a/b/api"),
    ],
)
def test_grafana_may_live_below_a_path(url, base):
    assert Grafana(url, TOKEN, 1)._api.url == base


def test_without_a_token_nothing_is_asked(server):
    with pytest.raises(GrafanaError, match="LIQUIDATIONS_GRAFANA_TOKEN"):
        connect(Settings(grafana_url=server.url))
    assert server.calls == []


# The commands


def run(server: GrafanaServer, *words: str, token: str = TOKEN):
    environment = {"LIQUIDATIONS_GRAFANA_URL": server.url, "LIQUIDATIONS_GRAFANA_TOKEN": token}
    return CliRunner(env=environment).invoke(commands, ["grafana", *words])


def test_commands_show_and_push(server):
    shown = run(server, "diff", "--exit-code")
    assert shown.exit_code == 1
    assert "dashboard liquidations-market: new" in shown.output
    assert server.changes == []
    assert "rules pipeline: made" in run(server, "push").output
    assert run(server, "push").output == "nothing to do\n"
    same = run(server, "diff", "--exit-code")
    assert (same.exit_code, same.output) == (0, "nothing differs\n")


def test_a_wrong_token_is_said(server):
    failed = run(server, "push", token="wrong")  # noqa: S106 - a wrong one
    assert isinstance(failed.exception, GrafanaError)
    assert "wrong" not in str(failed.exception).replace("not accepted", "")
