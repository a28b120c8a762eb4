"""The rules file: which rules run and with what parameters, and the hash of it that stands on every finding.

A rules file is TOML with a table per rule. What it leaves out has the default given here, so an empty file is the
default rules. Amounts are in USD, times in seconds.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import blake2b
from operator import attrgetter
from typing import Annotated, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from pipeline.errors import OperationError

Scope = Literal["instrument", "asset", "market"]
Measure = Literal["usd", "count"]
Closed = Literal["long", "short", "both"]
# What a rule does where its inputs are covered less than the limit: fire, marked as degraded, or wait.
WhenBlind = Literal["degrade", "wait"]
ScorerName = Literal["mean_sd", "median_mad", "quantile", "ewma", "count_tail"]

_Share = Annotated[float, Field(ge=0, le=1)]
_Usd = Annotated[float, Field(ge=0, le=1e12)]
_HEADER = re.compile(r"\s*\[\s*([A-Za-z0-9_]+)\s*\]")
_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)")
_ENTRY = re.compile(r"\s*([A-Za-z0-9_]+)\s*=")


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake in a rules file: its line (from 1), the entry (`surge.k`, or nothing) and what is wrong."""

    line: int
    entry: str
    said: str

    def __str__(self) -> str:
        return ": ".join(filter(None, (f"line {self.line}", self.entry, self.said)))


class RulesError(OperationError):
    """A rules file is wrong; the message names line and entry of every mistake, in the order of the lines."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("; ".join(map(str, mistakes)))


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class Rule(_Table):
    """What every rule has."""

    enabled: bool = Field(default=True, description="Whether the rule runs.")
    when_blind: WhenBlind = Field(
        default="degrade", description="What it does when blind: find, and mark as degraded, or wait."
    )
    least_coverage: _Share = Field(default=0.9, description="Below this share of covered time a rule is blind.")


class SurgeRule(Rule):
    """A bar far above the bars before it (requirements S28, S29, S37)."""

    scopes: tuple[Literal["instrument", "asset"], ...] = Field(
        default=("instrument", "asset"), description="Whose bars are judged."
    )
    intervals_s: tuple[Literal[60, 300, 3600], ...] = Field(
        default=(60, 300, 3600), description="Lengths of the bars, in seconds."
    )
    measures: tuple[Measure, ...] = Field(default=("usd", "count"), description="What is judged of a bar.")
    positions: tuple[Closed, ...] = Field(default=("long", "short", "both"), description="Of which positions.")
    scorer: ScorerName = Field(default="mean_sd", description="How the bound is found.")
    k: float = Field(default=2.5, gt=0, description="Deviations above the mean (mean_sd, ewma).")
    period: int = Field(default=30, ge=2, le=200, description="Bars of the baseline.")
    baseline: Literal["exclusive", "inclusive"] = Field(
        default="exclusive", description="Whether a bar is in its own baseline."
    )
    limit: float = Field(default=3.5, gt=0, description="Modified z score (median_mad).")
    q: float = Field(default=0.999, gt=0, lt=1, description="Which quantile (quantile).")
    last: int = Field(default=3_000, ge=2, le=3_000, description="Of so many bars that are not 0 (quantile).")
    probability: float = Field(
        default=1e-4, gt=0, lt=1, description="A count at least as high is less likely than this (count_tail)."
    )
    floor_usd: _Usd = Field(default=50_000.0, description="A bar of less USD never fires.")
    least_events: int = Field(default=3, ge=1, description="A bar of fewer events never fires.")
    min_value_usd: _Usd = Field(default=0.0, description="Events of less USD are left out before bars are made.")
    season: Literal["none", "hour_of_week"] = Field(
        default="none", description="Whether bars are taken beside what is usual at their hour of the week."
    )


class RollingThresholdRule(Rule):
    """USD of the last hour above a bound that doubles with each passing (requirements S77 to S81)."""

    scopes: tuple[Literal["asset", "market"], ...] = Field(
        default=("asset", "market"), description="Whose sums are judged."
    )
    base_usd: float = Field(
        default=1_000_000.0, gt=0, le=1e12, description="The threshold before anything has passed it."
    )
    span_s: int = Field(default=3_600, ge=60, le=86_400, description="The sum is over so many seconds.")
    memory_s: int = Field(
        default=7_200, ge=0, description="So long after the last anomaly the threshold is the base again."
    )
    calm_s: int = Field(default=1_800, ge=0, description="An incident is over after so long under half of the base.")


class CascadeRule(Rule):
    """A run of liquidations of one position that drives itself (requirements S31, S45)."""

    gap_s: float = Field(default=20.0, gt=0, le=600, description="Longest time between two events of a run.")
    sampled_gap_s: float = Field(default=30.0, gt=0, le=600, description="The same for sampled feeds.")
    settle_s: float = Field(
        default=2.0,
        ge=0,
        le=60,
        description="Events are put in the order of their times for so long before they are judged.",
    )
    least_events: int = Field(default=5, ge=2, description="A run of fewer events is no cascade.")
    least_one_sidedness: _Share = Field(default=0.65, description="Share of the run's position in the USD of its time.")
    floor_usd: _Usd = Field(default=100_000.0, description="A run of no more USD is no cascade.")
    quantile: _Share = Field(default=0.99, description="It must be above this quantile of the asset's runs.")
    history_days: int = Field(default=14, ge=1, le=90, description="Of so many days.")
    least_move_sd: float = Field(
        default=2.0, ge=0, description="Least price move with the flow, in deviations, where known."
    )
    end_gaps: float = Field(default=3.0, ge=1, description="It has subsided after so many gaps without an event.")
    end_rate: _Share = Field(default=0.1, description="Or when the rate is under this share of its peak.")


class RegimeRule(Rule):
    """What kind of bar it is, by the asset's own quantiles (requirements S34 to S36, S41)."""

    high: _Share = Field(default=0.9, description="High is above this quantile of the asset's bars.")
    low: _Share = Field(default=0.25, description="Low is at most this one.")
    history_bars: int = Field(default=2_016, ge=50, description="Five-minute bars: a week.")
    quiet_bars: int = Field(
        default=12, ge=1, description="A quiet period is as rare as so many bars in a row that are low."
    )


class RatioRule(Rule):
    """Liquidated USD beside traded USD of the same contract and bar (requirements S1 to S5)."""

    threshold: float = Field(default=0.2, gt=0, description="It fires above this share of the traded USD.")
    interval_s: Literal[60, 300, 3600] = Field(default=300, description="Length of the bars, in seconds.")
    floor_usd: _Usd = Field(default=50_000.0, description="A bar of less liquidated USD never fires.")


class SilentChannelRule(Rule):
    """A channel that is connected and brings nothing although data are likely (requirements S9, S10)."""


class Rules(_Table):
    """All rules."""

    surge: SurgeRule = SurgeRule()
    rolling_threshold: RollingThresholdRule = RollingThresholdRule()
    cascade: CascadeRule = CascadeRule()
    regime: RegimeRule = RegimeRule()
    ratio: RatioRule = RatioRule()
    silent_channel: SilentChannelRule = SilentChannelRule()

    @property
    def has_market_rules(self) -> bool:
        """Tell whether any rule looks at the whole market."""
        return self.rolling_threshold.enabled and "market" in self.rolling_threshold.scopes

    @property
    def hash(self) -> str:
        """Return 16 hexadecimal digits that change when any parameter does, and not with the way it is written."""
        text = orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
        return blake2b(text, digest_size=8).hexdigest()


def read_rules(text: str) -> Rules:
    """Return the rules in a file's text. Raise `RulesError` with all mistakes; where it is no TOML, with the first."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RulesError([_not_toml(text, str(error))]) from None
    try:
        return Rules.model_validate(document)
    except ValidationError as error:
        wrong = [
            Mistake(_line_of(text, found["loc"]), ".".join(map(str, found["loc"])), _said(found))
            for found in error.errors()
        ]
        raise RulesError(sorted(wrong, key=attrgetter("line", "entry"))) from None


def _not_toml(text: str, said: str) -> Mistake:
    placed = _PLACE.search(said)
    line = int(placed[1]) if placed and placed[1] else len(text.splitlines())
    return Mistake(line, "", f"not TOML: {_PLACE.sub('', said)}")


def _said(found: ErrorDetails) -> str:
    """Return what is wrong; of a name that does not exist, which ones do."""
    if found["type"] != "extra_forbidden":
        return found["msg"]
    *tables, name = map(str, found["loc"])
    model: type[BaseModel] = Rules
    for table in tables:
        annotation = model.model_fields[table].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    like = get_close_matches(name, model.model_fields, n=1)
    kind = "parameter" if tables else "rule"
    return f"no such {kind}; " + (f"is it {like[0]}?" if like else f"there are {', '.join(model.model_fields)}")


def _line_of(text: str, place: tuple[int | str, ...]) -> int:
    """Return the line (from 1) of the entry at `place`, of its table where the entry is not found, else 1."""
    table, found = "", 1
    for number, line in enumerate(text.splitlines(), start=1):
        header = _HEADER.match(line)
        if header:
            table = header[1]
            if place and table == place[0]:
                found = number
            continue
        entry = _ENTRY.match(line)
        if entry and ((table, entry[1]) == tuple(place[:2]) or (not table and place and entry[1] == place[0])):
            return number
    return found
