"""The rules that are in force: those of the file that the setting `rules_file` names, or the defaults."""

from __future__ import annotations

from pathlib import Path

from pipeline.detect.rules import Rules, RulesError, read_rules
from pipeline.errors import OperationError


class RulesFileError(OperationError):
    """A rules file cannot be read, or is wrong; the message names file, lines and entries."""


def rules_in_force(path: Path | None) -> Rules:
    """Return the rules in the file at `path`, the defaults without one. Raise `RulesFileError` with one line."""
    if path is None:
        return Rules()
    try:
        return read_rules(path.read_text())
    except RulesError as error:
        raise RulesFileError(f"{path}: {error}") from error
    except OSError as error:
        raise RulesFileError(f"cannot read rules from {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RulesFileError(f"{path} is no text: {error}") from error
