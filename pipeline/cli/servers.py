"""Commands for whoever runs Kafka and ClickHouse: topics, tables, users, and how far behind the parts are."""

from __future__ import annotations

import json

import click

from pipeline.cli.options import DATABASE
from pipeline.cli.running import login
from pipeline.settings import Settings

# Every command imports what it needs itself: `--help` and `map` should not wait for Faust, polars and ClickHouse.
# ruff: noqa: PLC0415


@click.command()
@click.pass_obj
def topics(settings: Settings) -> None:
    """Create the topics that are missing on the broker."""
    from pipeline.ingest.topic_admin import create_topics

    report = create_topics(settings)
    for state in ("created", "corrected", "existing"):
        for name in getattr(report, state):
            click.echo(f"{name}: {state}")


@click.command()
@DATABASE
@click.pass_obj
def migrate(settings: Settings, database: str | None) -> None:
    """Bring ClickHouse's tables and views up to date."""
    from pipeline.warehouse.client import connect
    from pipeline.warehouse.databases import Databases
    from pipeline.warehouse.migrate import migrate

    client = connect(settings.clickhouse_url, *login(settings))
    try:
        applied = migrate(client, databases=Databases(database or settings.clickhouse_database))
    finally:
        client.close()
    for migration in applied:
        click.echo(f"{migration.version:04d} {migration.name}: applied")
    if not applied:
        click.echo("nothing to do")


@click.command()
@click.pass_obj
def users(settings: Settings) -> None:
    """Make ClickHouse's four users, or set their rights and passwords again.

    The passwords come from LIQUIDATIONS_MIGRATE_PASSWORD, LIQUIDATIONS_WRITE_PASSWORD, LIQUIDATIONS_READ_PASSWORD and
    LIQUIDATIONS_GRAFANA_PASSWORD.
    """
    from pipeline.warehouse.client import connect
    from pipeline.warehouse.users import Passwords, apply_users

    passwords = Passwords.from_environment()
    client = connect(settings.clickhouse_url, *login(settings))
    try:
        for name in apply_users(client, passwords):
            click.echo(f"{name}: ready")
    finally:
        client.close()


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def status(settings: Settings, as_json: bool) -> None:
    """Show how far worker and sink are behind: records of each topic that they have not committed."""
    from pipeline.topics import SINK_TOPICS
    from pipeline.warehouse.lag import group_lag, worker_lag

    sink = group_lag(settings, "sink", SINK_TOPICS)
    behind = {
        "worker": worker_lag(settings),
        "sink": {
            topic.name: sum(lag for (name, _), lag in sink.items() if name == topic.name) for topic in SINK_TOPICS
        },
    }
    if as_json:
        click.echo(json.dumps(behind))
        return
    for group, by_topic in behind.items():
        for name, lag in by_topic.items():
            click.echo(f"{group:8} {name:14} {lag:>12,} behind")


@click.command(name="settings")
@click.pass_obj
def settings_command(settings: Settings) -> None:
    """List every setting with its present value and meaning."""
    for name, field in type(settings).model_fields.items():
        click.echo(f"LIQUIDATIONS_{name.upper()}={getattr(settings, name)}\n    {field.description}")


COMMANDS = (topics, migrate, users, status, settings_command)
