"""Commands about the rules: what is in force, what a rules file says, what it would have found."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from pipeline.cli.options import CLICKHOUSE, DATA, UTC_TIME
from pipeline.cli.running import quiet
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


@rules.command()
@click.option("--rules", "file", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The rules.")
@click.option("--from", "begin", type=UTC_TIME, metavar="TIME", help="Findings from then on (2026-11-24T13:00), UTC.")
@click.option("--to", "end", type=UTC_TIME, metavar="TIME", help="Findings before then, UTC.")
@click.option(
    "--warm-up",
    "warm_up_hours",
    type=click.FloatRange(0, 2400),
    metavar="HOURS",
    help="Read so much before, to know what is usual; without: as far as the rules look back.",
)
@DATA
@CLICKHOUSE
@click.option("--keep", is_flag=True, help="Keep the database with all that was found.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else.")
@click.pass_obj
def preview(
    settings: Settings,
    file: Path,
    begin: datetime | None,
    end: datetime | None,
    warm_up_hours: float | None,
    data: Path,
    clickhouse_url: str | None,
    keep: bool,
    as_json: bool,
) -> None:
    """Run another rules file over what is recorded, and say how often each rule would have fired.

    Events, heartbeats and candles are read back from the tables and folded as the worker does it; what is found goes
    into a database preview_HASH, which is dropped in the end. docs/rules/README.md says what differs from live.
    """
    from pipeline.embedded.preview import Asked
    from pipeline.embedded.preview_command import as_document, preview_with_progress, print_preview
    from pipeline.worker.rules_file import rules_in_force

    quiet(settings)
    found = preview_with_progress(
        settings,
        rules_in_force(file),
        rules_in_force(settings.rules_file),
        data,
        clickhouse_url,
        Asked(_ms(begin), _ms(end), None if warm_up_hours is None else round(warm_up_hours * 3_600_000)),
        keep=keep,
        show=not as_json,
    )
    if as_json:
        click.echo(json.dumps(as_document(found)))
    else:
        print_preview(found)


def _ms(time: datetime | None) -> int | None:
    return None if time is None else round(time.replace(tzinfo=UTC).timestamp() * 1_000)


COMMANDS = (rules,)
