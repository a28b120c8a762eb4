"""Rules as text: a file with a comment for every parameter, and the tables of parameters on the rules' pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import orjson
from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from pipeline.detect.rules import Rule, Rules

_REQUIREMENTS = re.compile(r" \(requirements? [^)]*\)")
# From here on `g` would write powers of ten.
_WRITTEN_OUT = 1e5

_HEAD = """\
# What the rules are told: these are the defaults. A rules file needs only what differs from them.
#   liquidations rules check FILE            finds mistakes, and says what differs
#   liquidations rules preview --rules FILE  says what it would have found
# LIQUIDATIONS_RULES_FILE=FILE puts it in force. docs/rules has a page on each rule.
"""


def as_toml(rules: Rules) -> str:
    """Return `rules` as a rules file: a table for each rule, every parameter with its meaning and what it may be."""
    return _HEAD + "".join(_table(name, getattr(rules, name)) for name in Rules.model_fields)


def as_markdown(rule: type[Rule]) -> str:
    """Return the parameters of a rule with their defaults, as a Markdown table."""
    rows = [
        f"| `{name}` | `{literal(field.get_default())}` | {_cell(_choice(field))} | {_cell(field.description or '')} |"
        for name, field in fields_of(rule).items()
    ]
    return "\n".join(("| parameter | default | may be | meaning |", "|---|---|---|---|", *rows, ""))


def fields_of(rule: type[Rule]) -> dict[str, FieldInfo]:
    """Return the parameters of a rule, its own first and then those that every rule has."""
    common = set(Rule.model_fields)
    return dict(sorted(rule.model_fields.items(), key=lambda item: item[0] in common))


def differences(rules: Rules) -> Iterator[tuple[str, str, str]]:
    """Yield the parameters that are not the defaults: `surge.k`, its value and the default, as in a rules file."""
    defaults = Rules()
    for table in Rules.model_fields:
        rule, default = getattr(rules, table), getattr(defaults, table)
        for name in type(rule).model_fields:
            if getattr(rule, name) != getattr(default, name):
                yield f"{table}.{name}", literal(getattr(rule, name)), literal(getattr(default, name))


def literal(value: Any) -> str:  # noqa: ANN401 - whatever a parameter can be
    """Return a parameter's value as TOML writes it."""
    if isinstance(value, tuple):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:_}"
    if isinstance(value, float) and value.is_integer():
        return f"{value:_}"
    return orjson.dumps(value).decode()


def _table(name: str, rule: Rule) -> str:
    said = _REQUIREMENTS.sub("", type(rule).__doc__ or "")
    lines = [f"\n# {said}", f"[{name}]"]
    for parameter, field in fields_of(type(rule)).items():
        lines.append("# " + " ".join(filter(None, (field.description, _choice(field).capitalize() + "."))))
        lines.append(f"{parameter} = {literal(getattr(rule, parameter))}")
    return "\n".join(lines) + "\n"


def _choice(field: FieldInfo) -> str:
    """Return what a parameter may be: `one of "exclusive", "inclusive"`, `from 2 to 200`."""
    kind, limits = field.annotation, list(field.metadata)
    origin = get_origin(kind)
    if origin is tuple:
        kind = get_args(kind)[0]
        return "any of " + ", ".join(map(literal, get_args(kind)))
    if origin is Literal:
        return "one of " + ", ".join(map(literal, get_args(kind)))
    if kind is bool:
        return "true or false"
    return _range(limits) or "a number"


def _range(limits: list[Any]) -> str:
    """Return `from 2 to 200`, `above 0, at most 600`, or nothing without a limit."""
    least = next((f"from {_plain(limit.ge)}" for limit in limits if isinstance(limit, Ge)), "")
    above = next((f"above {_plain(limit.gt)}" for limit in limits if isinstance(limit, Gt)), "")
    under = next((f"under {_plain(limit.lt)}" for limit in limits if isinstance(limit, Lt)), "")
    most = next((_plain(limit.le) for limit in limits if isinstance(limit, Le)), "")
    if least and most:
        return f"{least} to {most}"
    return ", ".join(filter(None, (least, above, under, most and f"at most {most}")))


def _plain(limit: Any) -> str:  # noqa: ANN401 - as the constraint holds it
    return f"{limit:,g}" if limit < _WRITTEN_OUT else f"{int(limit):,}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
