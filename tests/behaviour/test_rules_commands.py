"""`liquidations rules`: what is in force, and what is wrong with a file."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from pipeline.cli import commands
from pipeline.detect.rules import Rules, read_rules
from pipeline.errors import OperationError
from pipeline.locations import INFRA


def run(*words: object, **options: object):
    return CliRunner().invoke(commands, list(map(str, words)), catch_exceptions=True, **options)


def test_the_defaults_are_in_force_without_a_file():
    shown = run("rules", "show")
    assert shown.stdout == (INFRA / "rules.toml").read_text()
    assert Rules().hash in shown.stderr


def test_what_is_shown_is_what_the_settings_name(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text("[surge]\nk = 3\n")
    shown = run("rules", "show", env={"LIQUIDATIONS_RULES_FILE": str(file)})
    assert read_rules(shown.stdout) == read_rules(file.read_text())
    assert str(file) in shown.stderr
    assert (
        run("rules", "show", "--defaults", env={"LIQUIDATIONS_RULES_FILE": str(file)}).stdout
        == run("rules", "show").stdout
    )


def test_a_right_file(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text("[surge]\nbaseline = 'inclusive'\nperiod = 8\n")
    checked = run("rules", "check", file)
    assert checked.exit_code == 0
    assert f"right, hash {read_rules(file.read_text()).hash}" in checked.stdout
    assert "surge.period = 8 (default 30)" in checked.stdout
    assert "warning: surge: a bar in its own baseline of 8" in checked.stdout
    document = json.loads(run("rules", "check", file, "--json").stdout)
    assert document["hash"] == read_rules(file.read_text()).hash
    assert document["differences"]["surge.period"] == {"value": "8", "default": "30"}
    assert len(document["warnings"]) == 1


def test_the_shipped_file_differs_in_nothing():
    checked = run("rules", "check", INFRA / "rules.toml")
    assert "nothing differs from the defaults" in checked.stdout
    assert "warning" not in checked.stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[surge]\nk = -1\nperoid = 3\n", "line 2: surge.k: Input should be greater than 0; line 3: surge.peroid"),
        (b"[surge\n", "line 1: not TOML"),
        (b"\xff\xfe", "is no text"),
        (None, "No such file"),
    ],
)
def test_a_wrong_file(tmp_path, content, said):
    file = tmp_path / "own.toml"
    if content is not None:
        file.write_bytes(content)
    checked = run("rules", "check", file)
    assert isinstance(checked.exception, OperationError)
    assert str(file) in str(checked.exception)
    assert said in str(checked.exception)


def test_parameters_of_a_rule_that_does_not_exist():
    asked = run("rules", "parameters", "surges")
    assert "there are surge, rolling_threshold" in str(asked.exception)
