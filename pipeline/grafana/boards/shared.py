"""Panels and looks that several dashboards have."""

from __future__ import annotations

from typing import Final

from pipeline.grafana.panel import Chart, Column, Number, Panel, Query, Rows, Series, Step, Strip
from pipeline.grafana.sql import AGE, CHANNEL_STRIP, COLUMNS, COVERED, NOT_COVERED
from pipeline.grafana.theme import ANOMALY, BAD, GOOD, NEUTRAL, WORST

MARKET_UID: Final = "liquidations-market"
SYMBOL_UID: Final = "liquidations-symbol"
HEATMAP_UID: Final = "liquidations-heatmap"
QUALITY_UID: Final = "liquidations-quality"
PIPELINE_UID: Final = "liquidations-pipeline"

LONG_AND_SHORT: Final = (
    Series("longs", "long"),
    Series("shorts", "short"),
    Series("longs, incomplete", "long", opacity=15),
    Series("shorts, incomplete", "short", opacity=15),
    Series("anomaly", ANOMALY, "points", stacked=False),
    Series("not covered", NEUTRAL, "steps", 25, "share", "percentunit", stacked=False),
)
# Of a share of time that was covered.
SHARE_STEPS: Final = (Step(None, WORST), Step(0.9, BAD), Step(0.999, GOOD))
AGE_STEPS: Final = (Step(None, GOOD), Step(120, BAD), Step(600, WORST))

RESTS_ON = (
    "Faded columns are incomplete: the bar is still open, or somebody did not listen for a part of it. The grey "
    "area is the "
    "share of the time in which nobody listened: there a missing column does not mean that nothing happened. "
    "'Lower bound' in the title: at least one of the chosen feeds shows only a part of its exchange's liquidations."
)


def columns_panel(number: int, width: int = 24, height: int = 10, more: tuple[Query, ...] = ()) -> Panel:
    """Return the classic pane: longs and shorts as columns."""
    return Panel(
        number,
        "Liquidated longs and shorts, $mode: ${bound}",
        f"How much was liquidated, and on which side? {RESTS_ON}",
        Chart("columns", LONG_AND_SHORT, stacked=True),
        (Query(COLUMNS), Query(NOT_COVERED), *more),
        unit="short",
        width=width,
        height=height,
    )


def covered_panel(number: int, width: int = 4) -> Panel:
    """Return the share of the time that was listened to."""
    return Panel(
        number,
        "Time listened to",
        "What share of the time range were the chosen exchanges listened to, up to the last minute judged? "
        "Mean over the channels that bring liquidations.",
        Number(SHARE_STEPS, decimals=2),
        (Query(COVERED, "table"),),
        unit="percentunit",
        width=width,
        height=4,
    )


def age_panel(number: int, width: int = 4) -> Panel:
    """Return the age of what is shown."""
    return Panel(
        number,
        "Age of the data",
        "How long ago did the last minute end that the pipeline has judged? Old data look calm: read this first.",
        Number(AGE_STEPS, decimals=0),
        (Query(AGE, "table"),),
        unit="s",
        width=width,
        height=4,
    )


def strip_panel(number: int, width: int = 24, height: int = 6) -> Panel:
    """Return when each channel was listened to."""
    return Panel(
        number,
        "When each feed was listened to",
        "Which exchange was listened to when? One line per channel that brings liquidations; the number is the "
        "share of "
        "the bucket that was covered. Where a line is not at 1, sums are too small.",
        Strip(SHARE_STEPS),
        (Query(CHANNEL_STRIP),),
        unit="percentunit",
        width=width,
        height=height,
    )


def events_table(extra: tuple[Column, ...] = ()) -> Rows:
    """Return the look of a table of events."""
    return Rows(
        (
            Column("time", "time:YYYY-MM-DD HH:mm:ss", width=165),
            Column("asset", link=SYMBOL_UID, passes="asset"),
            Column("usd", "currencyUSD", 0),
            Column("price", "locale"),
            *extra,
        )
    )
