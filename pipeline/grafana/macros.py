"""SQL as the data source's plugin would send it: variables and macros replaced.

Grafana replaces variables and `$__conditionalAll` in the browser, the plugin (grafana-clickhouse-datasource 4.20) the
other macros on the server. Here both are done, for the report and for tests. What neither would replace is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.errors import OperationError
from pipeline.grafana.variable import ALL

Values = Mapping[str, str | Sequence[str]]

_CONDITIONAL: Final = "$__conditionalAll"
_NAME: Final = re.compile(r"\$(?:\{(\w+)(?::(\w+))?\}|(\w+))")
_BARE: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


class MacroError(OperationError):
    """A query holds a macro or variable that nothing would replace."""


@dataclass(frozen=True, slots=True)
class TimeRange:
    """What a panel shows: from and to in ms since 1970, both included, and the length of a bucket in ms."""

    from_ms: int
    to_ms: int
    interval_ms: int = 60_000


def expand(sql: str, time_range: TimeRange, values: Values) -> str:
    """Return `sql` with variables and macros replaced; raise `MacroError` for what is unknown."""
    return expand_macros(expand_variables(sql, values), time_range)


def expand_variables(sql: str, values: Values) -> str:
    """Do what Grafana does in the browser.

    `$__conditionalAll(condition, $name)` is `1=1` where all or nothing is chosen, else the condition.
    `${name:singlequote}` puts each value in quotes and a backslash before quotes in it, with commas between; `$name`
    and `${name}` are the value as it is.
    """
    while (begin := sql.find(_CONDITIONAL + "(")) >= 0:
        arguments, end = _arguments(sql, begin + len(_CONDITIONAL))
        named = _BARE.fullmatch(arguments[1]) if len(arguments) == 2 else None  # noqa: PLR2004
        if named is None:
            raise MacroError(f"{_CONDITIONAL} takes a condition and one variable, not {', '.join(arguments)}")
        chosen = _listed(values, named[1] or named[2])
        everything = not [value for value in chosen if value] or ALL in chosen
        sql = sql[:begin] + ("1=1" if everything else arguments[0]) + sql[end:]
    return _NAME.sub(lambda found: _interpolated(found, values), sql)


def expand_macros(sql: str, time_range: TimeRange) -> str:
    """Do what the plugin does on the server, for alert rules too."""
    macros = _macros(time_range)
    # Longer names first: one may begin with another.
    for name in sorted(macros, key=len, reverse=True):
        while (found := re.search(rf"\$__{name}\b", sql)) is not None:
            arguments, end = _arguments(sql, found.end()) if sql[found.end() :].startswith("(") else ([], found.end())
            sql = sql[: found.start()] + macros[name](*arguments) + sql[end:]
    left = re.search(r"\$\w+|\$\{\w+", sql)
    if left is not None:
        raise MacroError(f"nothing replaces {left[0]}")
    return sql


def _macros(of: TimeRange) -> dict[str, Callable[..., str]]:
    begin, end = (f"toDateTime({ms // 1000})" for ms in (of.from_ms, of.to_ms))
    begin_ms, end_ms = (f"fromUnixTimestamp64Milli({ms})" for ms in (of.from_ms, of.to_ms))
    interval_s = max(1, of.interval_ms // 1000)
    return {
        "timeFilter": lambda column: f"{column} >= {begin} AND {column} <= {end}",
        "timeFilter_ms": lambda column: f"{column} >= {begin_ms} AND {column} <= {end_ms}",
        "fromTime": lambda: begin,
        "toTime": lambda: end,
        "fromTime_ms": lambda: begin_ms,
        "toTime_ms": lambda: end_ms,
        "timeInterval": lambda column: f"toStartOfInterval(toDateTime({column}), INTERVAL {interval_s} second)",
        "interval_s": lambda: str(interval_s),
    }


def _interpolated(found: re.Match[str], values: Values) -> str:
    name, form = found[1] or found[3], found[2]
    if name.startswith("__"):
        return found[0]
    chosen = _listed(values, name)
    if ALL in chosen:
        raise MacroError(f"all values of {name} would be written out: put the condition into {_CONDITIONAL}")
    if form == "singlequote":
        return ",".join("'" + value.replace("'", "\\'") + "'" for value in chosen) or "''"
    if form is not None:
        raise MacroError(f"the form {form} of the variable {name} is not known")
    return ",".join(chosen)


def _listed(values: Values, name: str) -> list[str]:
    if name not in values:
        raise MacroError(f"nothing replaces the variable {name}")
    value = values[name]
    return [value] if isinstance(value, str) else list(value)


def _arguments(sql: str, opening: int) -> tuple[list[str], int]:
    """Return the arguments in the parentheses that open at `opening`, and where they end."""
    arguments, depth, quoted, begin = [], 0, False, opening + 1
    for position in range(opening, len(sql)):
        letter = sql[position]
        if letter == "'":
            quoted = not quoted
        elif quoted:
            continue
        elif letter in "([":
            depth += 1
        elif letter in ")]":
            depth -= 1
        if not quoted and ((letter == "," and depth == 1) or depth == 0):
            arguments.append(sql[begin:position].strip())
            begin = position + 1
        if depth == 0:
            return arguments, position + 1
    raise MacroError(f"parentheses do not close: {sql[opening - 20 : opening + 40]}")
