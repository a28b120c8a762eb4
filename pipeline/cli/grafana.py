"""Commands about Grafana's dashboards and alert rules."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from pipeline.settings import Settings

# Every command imports what it needs itself: `--help` and `map` should not wait for Faust, polars and ClickHouse.
# ruff: noqa: PLC0415


@click.group()
def grafana() -> None:
    """Dashboards and alert rules: build their files, compare them with a Grafana, push them."""


@grafana.command()
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("infra/grafana"),
    show_default=True,
    help="Folder of the files.",
)
@click.pass_obj
def build(settings: Settings, folder: Path) -> None:
    """Write the files from which Grafana provisions itself; nothing is written where nothing has changed."""
    from pipeline.grafana.files import all_files, write_files

    files = all_files(settings)
    written, removed = write_files(files, folder)
    for path in written:
        click.echo(f"{path}: written")
    for path in removed:
        click.echo(f"{path}: removed")
    click.echo(f"{len(files) - len(written)} of {len(files)} files were up to date")


@grafana.command()
@click.option("--exit-code", is_flag=True, help="Exit with 1 if anything differs.")
@click.pass_obj
def diff(settings: Settings, exit_code: bool) -> None:
    """Show what `grafana push` would change in the Grafana of the settings."""
    from pipeline.grafana.push import compare, connect

    with closing(connect(settings)) as server:
        differences = compare(server, settings)
    for difference in differences:
        if difference.state != "same":
            click.echo(f"{difference.kind} {difference.name}: {difference.state}")
        for line in difference.lines:
            click.echo(f"    {line}")
    differing = [difference for difference in differences if difference.state != "same"]
    if not differing:
        click.echo("nothing differs")
    if differing and exit_code:
        raise SystemExit(1)


@grafana.command(name="push")
@click.pass_obj
def push_command(settings: Settings) -> None:
    """Bring dashboards and alert rules of the Grafana of the settings up to date.

    What is the same is left alone. For a Grafana that does not read the files of `grafana build`: what comes from files
    cannot be pushed.
    """
    from pipeline.grafana.push import connect, push

    with closing(connect(settings)) as server:
        differences = push(server, settings)
    words = {"new": "made", "changed": "replaced", "removed": "no longer declared, left as it is"}
    for difference in differences:
        if difference.state in words:
            click.echo(f"{difference.kind} {difference.name}: {words[difference.state]}")
    if not any(difference.state in {"new", "changed"} for difference in differences):
        click.echo("nothing to do")


COMMANDS = (grafana,)
