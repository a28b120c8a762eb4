"""What commands take from the settings and from the process that they run in."""

from __future__ import annotations

import signal
import threading
from types import FrameType

import click

from pipeline.feeds.feed import Instruments
from pipeline.settings import Settings

# Every command imports what it needs itself: `--help` and `map` should not wait for Faust, polars and ClickHouse.
# ruff: noqa: PLC0415


def login(settings: Settings) -> tuple[str | None, str | None]:
    """Return user and password for ClickHouse."""
    password = settings.clickhouse_password
    return settings.clickhouse_user, password.get_secret_value() if password else None


def quiet(settings: Settings) -> None:
    """Show warnings only: progress is shown otherwise."""
    from pipeline.logs import configure_logs

    configure_logs(settings.model_copy(update={"log_level": "warning"}))


def contracts_of(file: click.utils.LazyFile | None) -> Instruments:
    """Return the contracts in a file of `--instruments`, none without one."""
    from pipeline.feeds.map_lines import read_instruments

    return {} if file is None else read_instruments(file)


def stop_on_signals() -> threading.Event:
    """Return an event that SIGINT and SIGTERM set."""
    stop = threading.Event()

    def handle(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
    return stop
