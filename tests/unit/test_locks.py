import re
import tomllib

import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-bench.lock")


def locked(name):
    found = {}
    for entry in re.split(r"\n(?=\S)", (ROOT / name).read_text().strip()):
        requirement = Requirement(entry.split("\\")[0].strip())
        pinned = re.fullmatch(r"==(\S+)", str(requirement.specifier))
        assert pinned, entry
        assert "--hash=sha256:" in entry
        found.setdefault(canonicalize_name(requirement.name), set()).add(pinned[1])
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_lock_files_name_no_address(name):
    text = (ROOT / name).read_text()
    assert not re.search(r"https?:|://|--(index|find|extra|trusted)", text)


def test_lock_files_hold_what_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = {
        "requirements.lock": project["project"]["dependencies"],
        "requirements-dev.lock": [
            *project["project"]["dependencies"],
            *project["dependency-groups"]["dev"],
            *project["build-system"]["requires"],
        ],
        "requirements-bench.lock": project["dependency-groups"]["bench"],
    }
    for name in LOCKS:
        held = locked(name)
        for requirement in map(Requirement, asked[name]):
            versions = held.get(canonicalize_name(requirement.name), set())
            assert versions, f"{name} lacks {requirement}: make lock"
            assert all(requirement.specifier.contains(version) for version in versions), f"{requirement}: make lock"


def test_tests_run_with_the_versions_of_the_product():
    development = locked("requirements-dev.lock")
    for name, versions in locked("requirements.lock").items():
        assert development[name] == versions
