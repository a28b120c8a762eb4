"""Commands about the rules: what is in force, what a rules file says, what it would have found."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pipeline.errors import OperationError
from pipeline.settings import Settings

# Every command imports what it needs itself: `--help` and `map` should not wait for Faust, polars and ClickHouse.
# ruff: noqa: PLC0415


@click.group()
def rules() -> None:
    """Rules of detection: show those in force, check a file, preview what it would have found."""


@rules.command()
@click.option("--defaults", is_flag=True, help="The defaults instead, as a file to start from.")
@click.pass_obj
def show(settings: Settings, defaults: bool) -> None:
    """Print the rules in force as a rules file, with the meaning of each parameter."""
    from pipeline.detect.rules_text import as_toml
    from pipeline.worker.rules_file import rules_in_force

    path = None if defaults else settings.rules_file
    found = rules_in_force(path)
    click.echo(f"{path or 'the defaults'}, hash {found.hash}", err=True)
    click.echo(as_toml(found), nl=False)


@rules.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(file: Path, as_json: bool) -> None:
    """Check a rules FILE: print its hash, what differs from the defaults, and what does not do what one may expect.

    Of a wrong file, every mistake is told with its line, and the exit code is 1.
    """
    from pipeline.detect.rules_text import differences
    from pipeline.detect.rules_warnings import warnings
    from pipeline.worker.rules_file import rules_in_force

    found = rules_in_force(file)
    changed, warned = list(differences(found)), list(warnings(found))
    if as_json:
        differing = {name: {"value": value, "default": default} for name, value, default in changed}
        click.echo(json.dumps({"hash": found.hash, "differences": differing, "warnings": warned}))
        return
    click.echo(f"{file}: right, hash {found.hash}")
    for name, value, default in changed:
        click.echo(f"  {name} = {value} (default {default})")
    if not changed:
        click.echo("  nothing differs from the defaults")
    for said in warned:
        click.echo(f"warning: {said}")


@rules.command()
@click.argument("rule")
def parameters(rule: str) -> None:
    """Print the table of parameters of RULE as it stands on the rule's page in docs/rules."""
    from pipeline.detect.rules import Rules
    from pipeline.detect.rules_text import as_markdown

    if rule not in Rules.model_fields:
        raise OperationError(f"no such rule: {rule}; there are {', '.join(Rules.model_fields)}")
    click.echo(as_markdown(type(getattr(Rules(), rule))), nl=False)


COMMANDS = (rules,)
