"""What can go wrong outside of the program."""

from __future__ import annotations


class OperationError(Exception):
    """Something outside the program is not as it must be. The text is one line that says what, and what to do.

    The command line prints it and ends with code 1. Any other exception is a fault of our own and ends with a trace.
    """
