"""The root of the commands, and the way from errors to exit codes."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console

from pipeline.cli import embedded, feeds, grafana, parts, report, rows, rules, servers, top
from pipeline.errors import OperationError
from pipeline.settings import read_settings


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--config", type=click.Path(path_type=Path), envvar="LIQUIDATIONS_CONFIG", help="Settings in TOML.")
@click.version_option(package_name="liquidation-pipeline")
@click.pass_context
def commands(context: click.Context, config: Path | None) -> None:
    """Crypto liquidations as exact, complete and reproducible data.

    Start with `liquidations demo`. Settings come from the environment (LIQUIDATIONS_BOOTSTRAP_SERVERS, ...) or from a
    TOML file; `liquidations settings` lists them.
    """
    context.obj = read_settings(config)


for _command in (
    *embedded.COMMANDS,
    *rows.COMMANDS,
    *report.COMMANDS,
    *top.COMMANDS,
    *feeds.COMMANDS,
    *parts.COMMANDS,
    *servers.COMMANDS,
    *grafana.COMMANDS,
    *rules.COMMANDS,
):
    commands.add_command(_command)


def main() -> None:
    """Run the command line.

    Exit codes: 0 when all went well, 1 for what can go wrong outside, 2 for wrong usage, 130 for Ctrl-C.
    """
    try:
        commands(standalone_mode=False)
    except click.Abort:
        raise SystemExit(_say("stopped", 130)) from None
    except KeyboardInterrupt:
        raise SystemExit(_say("stopped", 130)) from None
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    except BrokenPipeError:
        # Whoever read our output has had enough.
        sys.stderr.close()
        raise SystemExit(0) from None
    except OperationError as error:
        raise SystemExit(_say(str(error), 1)) from None


def _say(line: str, code: int) -> int:
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"liquidations: {line}", markup=False)
    return code
