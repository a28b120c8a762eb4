"""What is told of all feeds: the page of mapping rules, the JSON lines, the table."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import commands
from pipeline.feeds import all_feeds
from pipeline.feeds.listing import as_markdown
from pipeline.feeds.unserved import UNSERVED

PAGE = Path(__file__).resolve().parents[3] / "docs" / "mapping_rules.md"


def told(*arguments):
    result = CliRunner().invoke(commands, ["feeds", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_the_page_is_the_tables():
    assert PAGE.read_text() == as_markdown(), (
        "make it again: liquidations feeds --format markdown > docs/mapping_rules.md"
    )
    assert told("--format", "markdown") == as_markdown()


def test_every_exchange_is_one_json_line():
    documents = [json.loads(line) for line in told("--json").splitlines()]
    assert {one["exchange"] for one in documents} == all_feeds().keys() | UNSERVED.keys()
    assert len(documents) == len(all_feeds()) + len(UNSERVED)
    binance = next(one for one in documents if one["exchange"] == "binance")
    assert (binance["completeness"], binance["positions"]) == ("sampled", {"SELL": "long", "BUY": "short"})
    assert binance["positions_proved"] is True
    assert all(one["reason"] and one["evidence"] for one in documents if not one["served"])


def test_the_table_fits_a_hundred_columns_and_keeps_the_names_whole():
    lines = told().splitlines()
    assert max(map(len, lines)) <= 100
    for exchange, feed in all_feeds().items():
        assert any(line.startswith(f"{exchange} ") and f" {feed.facts.completeness} " in line for line in lines)


def test_no_exchange_is_both_served_and_not():
    assert not all_feeds().keys() & UNSERVED.keys()


def test_an_unproved_rule_is_said():
    unproved = [name for name, feed in all_feeds().items() if any(not rule.proved for rule in feed.facts.rules)]
    table = " ".join(told().split())
    for exchange in unproved:
        assert f"{exchange}: Which position was closed is not proved." in table


@pytest.mark.parametrize("exchange", sorted(all_feeds()))
def test_facts_are_complete(exchange):
    facts = all_feeds()[exchange].facts
    subjects = {rule.subject for rule in facts.rules}
    assert {"position", "quantity", "price", "time", "identity", "instrument", "liveness"} <= subjects
    assert all(rule.text and rule.evidence for rule in facts.rules)
    assert all(era.evidence and era.meaning for era in facts.eras)
    assert [era.since for era in facts.eras] == sorted(era.since for era in facts.eras)
    assert facts.delay
    assert facts.since
    assert facts.markets
