"""The pages of the rules: each rule has one, with the parameters and defaults that it really has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.detect.rules import Rules, read_rules
from pipeline.detect.rules_text import as_markdown

PAGES = Path(__file__).resolve().parents[3] / "docs" / "rules"
# The rule of the regime finds quiet periods, and its page is named after the kind of its findings.
PAGE_OF = {name: PAGES / f"{name}.md" for name in Rules.model_fields} | {"regime": PAGES / "quiet.md"}

_TABLE = re.compile(r"<!-- parameters of (\w+) -->\n(.*?)<!-- end -->", re.DOTALL)
_SECTIONS = ("Definition", "Parameters", "Use cases", "Not for", "When it is blind", "Its cost in false alarms")


def test_every_page_is_of_a_rule_and_in_the_index():
    assert set(PAGES.glob("*.md")) == {PAGES / "README.md", *PAGE_OF.values()}
    index = (PAGES / "README.md").read_text()
    for page in PAGE_OF.values():
        assert f"]({page.name})" in index


@pytest.mark.parametrize("name", Rules.model_fields)
def test_a_page_has_the_parameters_of_its_rule(name):
    found = _TABLE.findall(PAGE_OF[name].read_text())
    table = as_markdown(type(getattr(Rules(), name)))
    assert found == [(name, table)], f"its table is what `liquidations rules parameters {name}` prints"


@pytest.mark.parametrize("name", Rules.model_fields)
def test_a_page_says_what_it_is_by_whom_and_what_for(name):
    lines = PAGE_OF[name].read_text().splitlines()
    assert lines[0].startswith("# ")
    assert re.match(r"By the liquidation-pipeline maintainers, \d{4}-\d\d-\d\d\. ", lines[2])
    headings = [line.removeprefix("## ") for line in lines if line.startswith("## ")]
    assert [heading for heading in headings if heading in _SECTIONS] == list(_SECTIONS)


def test_pages_link_to_what_exists():
    for page in PAGES.glob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (PAGES / target).exists(), (page.name, target)


def test_the_example_in_the_index_is_right():
    example = re.search(r"```toml\n(.*?)```", (PAGES / "README.md").read_text(), re.DOTALL)
    assert example is not None
    assert read_rules(example[1]).surge.k == 3.0
