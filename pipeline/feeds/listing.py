"""What is known of all feeds, as rows, as JSON, and as the page docs/mapping_rules.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pipeline.feeds.discovery import all_feeds
from pipeline.feeds.facts import Facts
from pipeline.feeds.unserved import UNSERVED

_HEAD: Final = """\
# Mapping rules

Made by `liquidations feeds --format markdown` from the tables that the mappings themselves read; a test compares.
The cases in [tests/conformance](../tests/conformance/README.md) show each rule with messages, so that other code can be
held against them.

`position` is the side of the position that was closed by force. A raw value outside the table is refused, never
guessed.
"""


def served() -> Mapping[str, Facts]:
    """Return the facts of every feed that has them, by exchange."""
    return {name: feed.facts for name, feed in sorted(all_feeds().items()) if feed.facts is not None}


def as_documents() -> list[dict[str, Any]]:
    """Return all that is known, one JSON object for each exchange; those without a feed have a `reason` only."""
    documents = [_document(exchange, facts) for exchange, facts in served().items()]
    documents += [
        {"exchange": exchange, "served": False, "reason": why.reason, "evidence": why.evidence}
        for exchange, why in UNSERVED.items()
    ]
    return documents


def as_markdown() -> str:
    """Return docs/mapping_rules.md."""
    return "\n".join((_HEAD, *_overview(), *_sections(), *_unserved()))


def _document(exchange: str, facts: Facts) -> dict[str, Any]:
    return {
        "exchange": exchange,
        "served": True,
        "markets": facts.markets,
        "completeness": facts.completeness,
        "eras": [
            {"since": era.since, "completeness": era.completeness, "meaning": era.meaning, "evidence": era.evidence}
            for era in facts.eras
        ],
        "price_kind": facts.price_kind,
        "delay": facts.delay,
        "since": facts.since,
        "positions": dict(facts.positions),
        "positions_proved": positions_proved(facts),
        "rules": [
            {"subject": rule.subject, "text": rule.text, "evidence": rule.evidence, "proved": rule.proved}
            for rule in facts.rules
        ],
        "caveats": facts.caveats,
    }


def positions_proved(facts: Facts) -> bool:
    """Tell whether the rule of the position rests on evidence."""
    return all(rule.proved for rule in facts.rules if rule.subject == "position")


def _overview() -> Iterator[str]:
    yield "| exchange | completeness | price | long was closed | short was closed | delay |"
    yield "|---|---|---|---|---|---|"
    for exchange, facts in served().items():
        words = [
            ", ".join(f"`{raw}`" for raw, position in facts.positions.items() if position == side)
            for side in ("long", "short")
        ]
        unproved = "" if positions_proved(facts) else " (unproved)"
        yield (
            f"| [{exchange}](#{exchange}) | {facts.completeness} | {facts.price_kind} | {_cell(words[0])}{unproved} |"
            f" {_cell(words[1])}{unproved} | {_cell(facts.delay)} |"
        )
    yield ""


def _sections() -> Iterator[str]:
    for exchange, facts in served().items():
        yield f"## {exchange}\n"
        yield f"Markets: {'; '.join(facts.markets)}. Feed since: {facts.since}. Delay: {facts.delay}.\n"
        yield "| raw value | position |\n|---|---|"
        yield from (f"| `{_cell(raw)}` | {position} |" for raw, position in facts.positions.items())
        yield "\n| from | completeness | meaning | evidence |\n|---|---|---|---|"
        yield from (
            f"| {era.since or 'the start'} | {era.completeness} | {_cell(era.meaning)} | {_cell(era.evidence)} |"
            for era in facts.eras
        )
        yield "\n| about | rule | evidence |\n|---|---|---|"
        for rule in facts.rules:
            unproved = "" if rule.proved else " **Unproved.**"
            yield f"| {rule.subject} | {_cell(rule.text)}{unproved} | {_cell(rule.evidence)} |"
        yield ""
        if facts.caveats:
            yield "Caveats:\n"
            yield from (f"- {caveat}" for caveat in facts.caveats)
            yield ""


def _unserved() -> Iterator[str]:
    yield "## Exchanges without a feed here\n"
    yield "| exchange | reason | evidence |\n|---|---|---|"
    yield from (f"| {name} | {_cell(why.reason)} | {_cell(why.evidence)} |" for name, why in UNSERVED.items())
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
