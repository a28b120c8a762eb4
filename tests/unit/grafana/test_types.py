"""The dashboards against the types that Grafana publishes, by the TypeScript compiler."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, missing

from pipeline.grafana.files import dashboards
from pipeline.grafana.theme import Theme

HERE = Path(__file__).parent / "types"
INSTALLED = ROOT / "build" / "grafana-types"
OPTIONS = [
    "--strict",
    "--noEmit",
    "--skipLibCheck",
    "--module",
    "esnext",
    "--moduleResolution",
    "bundler",
    "--target",
    "es2022",
]


@pytest.fixture(scope="session")
def compiler() -> Path:
    """A folder with the compiler and Grafana's types, installed once."""
    npm = shutil.which("npm")
    if npm is None:
        missing("npm is not installed: Grafana's types cannot be checked")
        raise AssertionError
    lock = (HERE / "package-lock.json").read_text()
    done = INSTALLED / "installed.json"
    if not done.is_file() or done.read_text() != lock:
        INSTALLED.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, INSTALLED / name)
        words = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        ran = subprocess.run(words, cwd=INSTALLED, capture_output=True, text=True, check=False)
        if ran.returncode:
            missing(f"Grafana's types cannot be installed: {ran.stderr.strip()[-300:]}")
        done.write_text(lock)
    return INSTALLED


def declarations(boards: dict[str, dict[str, Any]]) -> str:
    """Return TypeScript that holds the dashboards as typed constants."""
    lines = []
    for number, board in enumerate(boards.values()):
        lines.append(f"export const board{number}: Board = {json.dumps(board)};")
        for panel in board["panels"]:
            if panel["type"] == "row":
                continue
            name = f"{number}_{panel['id']}"
            picture = f"Pictures['{panel['type']}']"
            lines.append(f"export const options{name}: {picture}[0] = {json.dumps(panel['options'])};")
            fields = panel["fieldConfig"]
            custom = fields["defaults"].get("custom", {})
            lines.append(f"export const custom{name}: {picture}[1] = {json.dumps(custom)};")
            for index, override in enumerate(fields["overrides"]):
                own = {
                    one["id"].removeprefix("custom."): one["value"]
                    for one in override["properties"]
                    if one["id"].startswith("custom.")
                }
                lines.append(f"export const own{name}_{index}: {picture}[1] = {json.dumps(own)};")
    return "\n".join(lines)


def complaints(compiler: Path, folder: str, boards: dict[str, dict[str, Any]]) -> list[str]:
    place = compiler / folder
    place.mkdir(exist_ok=True)
    (place / "check.ts").write_text((HERE / "head.ts").read_text() + declarations(boards))
    words = [shutil.which("node"), str(compiler / "node_modules" / "typescript" / "bin" / "tsc"), *OPTIONS]
    ran = subprocess.run([*words, str(place / "check.ts")], capture_output=True, text=True, check=False)  # type: ignore[list-item]
    return [line for line in ran.stdout.splitlines() if "error TS" in line]


@pytest.fixture(scope="module")
def boards() -> dict[str, dict[str, Any]]:
    return dashboards("clickhouse", Theme())


def test_dashboards_have_grafanas_types(compiler, boards):
    assert complaints(compiler, "whole", boards) == []


def test_colours_and_gradients_of_ones_own_have_them_too(compiler):
    assert complaints(compiler, "own", dashboards("other", Theme("#2563eb", "#ea580c", 0.5))) == []


def test_the_check_finds_what_is_wrong(compiler, boards):
    """Each of these was once possible to write without anything complaining."""
    broken: dict[str, dict[str, Any]] = {}

    def breaking(name: str) -> dict[str, Any]:
        broken[name] = copy.deepcopy(boards["liquidations-market"])
        found: dict[str, Any] = broken[name]
        return found

    def chart(board: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = next(panel for panel in board["panels"] if panel["type"] == "timeseries")
        return found

    chart(breaking("enum"))["fieldConfig"]["defaults"]["custom"]["drawStyle"] = "column"
    chart(breaking("option"))["options"]["legends"] = {}
    breaking("root")["colour"] = "red"
    chart(breaking("title"))["title"] = 7
    del chart(breaking("format"))["targets"][0]["format"]
    breaking("id")["id"] = 7
    chart(breaking("pair"))["targets"][0]["format"] = 1
    for name, board in broken.items():
        assert complaints(compiler, "broken", {name: board}), name
