"""The command line: read settings, call one function, turn errors into one line and an exit code."""

from pipeline.cli.entry import commands, main

__all__ = ["commands", "main"]
