"""The command line: read settings, call one function, turn errors into one line and an exit code."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.settings import Settings, SettingsError, read_settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(path_type=Path), envvar="LIQUIDATIONS_CONFIG", help="Settings in TOML.")
@click.version_option(package_name="liquidation-pipeline")
@click.pass_context
def commands(context: click.Context, config: Path | None) -> None:
    """Crypto liquidations as exact, complete and reproducible data."""
    context.obj = read_settings(config)


@commands.command()
@click.pass_obj
def worker(settings: Settings) -> None:
    """Fold the events topic into bars and coverage, together with any other workers."""
    from pipeline.codec import Codec
    from pipeline.logs import configure_logs
    from pipeline.worker.application import run_worker

    configure_logs(settings)
    run_worker(settings, Codec())


def main() -> None:
    """Run the command line."""
    try:
        commands()
    except SettingsError as error:
        raise SystemExit(f"liquidations: {error}") from error
