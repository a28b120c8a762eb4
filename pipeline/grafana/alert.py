"""What an alert rule is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["info", "warning", "critical"]
# What a rule does when its query gives no row, or fails.
NoData = Literal["OK", "NoData", "Alerting", "KeepLast"]
OnError = Literal["OK", "Error", "Alerting", "KeepLast"]


@dataclass(frozen=True, slots=True)
class AlertRule:
    """SQL that gives one row per alert: text columns become labels, and the one number is compared with `above`.

    The last text columns may be words for the message only if they do not change from one evaluation to the next. The
    rule fires when the number is above `above` for `holds_s`, and rests once it is at or under `recovers_at`.
    `looks_back_s` is the time range of the query; it is wider than the delay of the pipeline. `no_data` and `on_error`
    are chosen on purpose, `why` says why. `facts` are further numbers for the message, by a capital letter: queries
    with the same labels, read as `$values.LETTER.Value`. The message links to its panel: with what `chooses` adds to
    the address, a template, and around the time in ms that the fact `began` holds, without one up to now.
    """

    uid: str
    title: str
    question: str
    sql: str
    above: float
    severity: Severity
    summary: str
    description: str
    dashboard: str
    panel: int
    why: str
    looks_back_s: int = 900
    recovers_at: float | None = None
    holds_s: int = 0
    keeps_firing_s: int = 0
    no_data: NoData = "OK"
    on_error: OnError = "Error"
    labels: tuple[tuple[str, str], ...] = field(default=())
    facts: tuple[tuple[str, str], ...] = ()
    chooses: str = ""
    began: str | None = None


@dataclass(frozen=True, slots=True)
class AlertGroup:
    """Rules that are evaluated together, every `every_s` seconds."""

    name: str
    every_s: int
    rules: tuple[AlertRule, ...]
