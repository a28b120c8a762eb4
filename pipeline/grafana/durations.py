"""Durations as Grafana writes them."""

from __future__ import annotations

from typing import Final

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def in_seconds(duration: str) -> int | None:
    """Return a duration such as `1h2m` or `0s` in seconds, None for what is none."""
    total, digits = 0, ""
    for letter in duration:
        if letter.isdigit():
            digits += letter
        elif letter in _UNITS_S and digits:
            total += int(digits) * _UNITS_S[letter]
            digits = ""
        else:
            return None
    return None if digits else total
