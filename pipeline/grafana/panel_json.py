"""Panels as Grafana's JSON: for each kind of picture its plugin, options and field settings."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any, Final

from pipeline.grafana.panel import (
    Candles,
    Chart,
    Column,
    Draw,
    Heat,
    Number,
    Panel,
    Picture,
    Rows,
    Series,
    Step,
    Strip,
    Words,
)
from pipeline.grafana.targets import source_json, target_json
from pipeline.grafana.theme import Theme

Json = dict[str, Any]

# Cells of a heatmap are times x levels, and the browser draws each of them.
_HEAT_POINTS: Final = 300
_FILLED: Final = 80


def panel_json(panel: Panel, source: str, theme: Theme) -> Json:
    """Return a panel without its id and place."""
    plugin, options, defaults, overrides = _parts(panel.picture, panel.unit, theme)
    found: Json = {
        "type": plugin,
        "title": panel.title,
        "description": panel.question + (f" Empty: {panel.empty}." if panel.empty else ""),
        "options": options,
        "targets": [
            target_json(query, string.ascii_uppercase[number], source) for number, query in enumerate(panel.queries)
        ],
    }
    if isinstance(panel.picture, Words):
        return found
    return found | {
        "datasource": source_json(source),
        "interval": panel.interval,
        "fieldConfig": {"defaults": defaults, "overrides": overrides},
        **({"maxDataPoints": _HEAT_POINTS} if isinstance(panel.picture, Heat) else {}),
    }


def _parts(picture: Picture, unit: str, theme: Theme) -> tuple[str, Json, Json, list[Json]]:
    """Return plugin, options, defaults of fields, and overrides."""
    match picture:
        case Chart(series=series):
            parts = "timeseries", _chart_options(), _chart_defaults(picture, unit, theme), _overrides(series, theme)
        case Candles(series=series):
            defaults = _chart_defaults(Chart("line"), unit, theme)
            parts = "candlestick", _candle_options(), defaults, _overrides(series, theme)
        case Heat():
            parts = "heatmap", _heat_options(picture, unit), {"custom": {"scaleDistribution": {"type": "linear"}}}, []
        case Strip():
            parts = "state-timeline", _strip_options(picture), _strip_defaults(picture, unit), []
        case Rows(columns=columns):
            parts = "table", _table_options(picture), _table_defaults(), [_column(column) for column in columns]
        case Number(joined=joined):
            sides = (Series("longs", "long"), Series("shorts", "short")) if joined else ()
            parts = "stat", _stat_options(picture), _stat_defaults(picture, unit), _overrides(sides, theme)
        case Words(text=text):
            parts = "text", {"mode": "markdown", "content": text}, {}, []
    return parts


# Values over time


def _chart_options() -> Json:
    return {
        "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def _chart_defaults(chart: Chart, unit: str, theme: Theme) -> Json:
    custom = {
        **_drawn(chart.draw, theme),
        "barAlignment": 0,
        "barWidthFactor": 0.9,
        "spanNulls": chart.joins_gaps,
        "pointSize": 5,
        "axisPlacement": "auto",
        "axisCenteredZero": chart.centred,
        "scaleDistribution": {"type": "log", "log": 10} if chart.logarithmic else {"type": "linear"},
        "stacking": {"mode": "normal" if chart.stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "line" if chart.steps else "off"},
    }
    found: Json = {"unit": unit, "custom": custom, "color": {"mode": "palette-classic"}, "noValue": "not known"}
    if chart.steps:
        found["thresholds"] = _thresholds(chart.steps)
    return found


def _drawn(draw: Draw, theme: Theme) -> Json:
    """Return how values are drawn."""
    gradient = "opacity" if theme.gradient > 0 else "none"
    if draw == "columns":
        fill = round(_FILLED * (1 - theme.gradient / 2))
        return {
            "drawStyle": "bars",
            "fillOpacity": fill,
            "lineWidth": 1,
            "gradientMode": gradient,
            "showPoints": "never",
        }
    if draw == "points":
        return {"drawStyle": "points", "fillOpacity": 0, "lineWidth": 0, "gradientMode": "none", "showPoints": "always"}
    return {
        "drawStyle": "line",
        "lineInterpolation": "stepAfter" if draw == "steps" else "linear",
        "fillOpacity": 25 if draw == "area" else 0,
        "lineWidth": 1,
        "gradientMode": "none",
        "showPoints": "auto",
    }


def _overrides(series: Sequence[Series], theme: Theme) -> list[Json]:
    return [
        {"matcher": {"id": "byName", "options": one.name}, "properties": _looks(one, theme)}
        for one in series
        if _looks(one, theme)
    ]


def _looks(series: Series, theme: Theme) -> list[Json]:
    found: list[tuple[str, object]] = []
    if series.colour is not None:
        colour = {"long": theme.long, "short": theme.short}.get(series.colour, series.colour)
        found.append(("color", {"mode": "fixed", "fixedColor": colour}))
    if series.draw is not None:
        found += [(f"custom.{name}", value) for name, value in _drawn(series.draw, theme).items()]
    if series.draw == "points":
        found.append(("custom.pointSize", 9))
    if series.opacity is not None:
        found.append(("custom.fillOpacity", series.opacity))
    if series.axis == "right":
        found.append(("custom.axisPlacement", "right"))
    if series.axis == "share":
        found += [("custom.axisPlacement", "hidden"), ("min", 0), ("max", 1), ("custom.lineWidth", 0)]
    if series.unit is not None:
        found.append(("unit", series.unit))
    if series.dashed:
        found.append(("custom.lineStyle", {"fill": "dash", "dash": [8, 6]}))
    if not series.stacked:
        found.append(("custom.stacking", {"mode": "none", "group": series.name}))
    return _properties(found)


def _candle_options() -> Json:
    return {
        "mode": "candles",
        "candleStyle": "candles",
        "colorStrategy": "open-close",
        # Rising prices hit shorts; a price is neither good nor bad, so candles bear the colours of nobody's position.
        "colors": {"up": "#94a3b8", "down": "#475569", "flat": "#64748b"},
        "fields": {"open": "open", "high": "high", "low": "low", "close": "close"},
        "includeAllFields": True,
        "legend": {"showLegend": False, "displayMode": "list", "placement": "bottom", "calcs": []},
        "tooltip": {"mode": "multi", "sort": "none"},
    }


# Cells


def _heat_options(heat: Heat, unit: str) -> Json:
    return {
        "calculate": False,
        "cellGap": 1,
        "cellValues": {"unit": unit, "decimals": 0},
        "color": {
            "mode": "scheme",
            "scheme": "Viridis",
            "fill": "dark-orange",
            "scale": "exponential",
            "exponent": 0.4,
            "steps": 64,
            "reverse": False,
            "min": 0,
        },
        # Cells that hold nothing stay empty.
        "filterValues": {"le": heat.least},
        "rowsFrame": {"layout": "ge", "value": "sum"},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "legend": {"show": True},
        "showValue": "never",
        "tooltip": {"mode": "single", "yHistogram": False, "showColorScale": True},
        "yAxis": {"axisPlacement": "left", "unit": heat.axis_unit},
    }


def _strip_options(strip: Strip) -> Json:
    return {
        "mergeValues": True,
        "rowHeight": 0.8,
        # Colours are never the only cue: states bear their names.
        "showValue": "auto" if strip.states else "never",
        "alignValue": "left",
        "legend": {"showLegend": False, "displayMode": "list", "placement": "bottom", "calcs": []},
        "tooltip": {"mode": "single", "sort": "none"},
    }


def _strip_defaults(strip: Strip, unit: str) -> Json:
    found: Json = {"unit": unit, "custom": {"fillOpacity": _FILLED, "lineWidth": 0}, "noValue": "not known"}
    if strip.steps:
        found |= {"color": {"mode": "thresholds"}, "thresholds": _thresholds(strip.steps)}
    if strip.states:
        states = {
            str(state.value): {"text": state.text, "color": state.colour, "index": index}
            for index, state in enumerate(strip.states)
        }
        found["mappings"] = [{"type": "value", "options": states}]
    return found


# Tables and numbers


def _table_options(rows: Rows) -> Json:
    return {
        "frameIndex": 0,
        "showHeader": True,
        "cellHeight": "sm",
        "enablePagination": True,
        "sortBy": [{"displayName": rows.sorted_by, "desc": True}] if rows.sorted_by else [],
    }


def _table_defaults() -> Json:
    return {"custom": {"cellOptions": {"type": "auto"}}, "noValue": "not known"}


def _column(column: Column) -> Json:
    found: list[tuple[str, object]] = []
    if column.unit is not None:
        found.append(("unit", column.unit))
    if column.decimals is not None:
        found.append(("decimals", column.decimals))
    if column.width is not None:
        found.append(("custom.width", column.width))
    if column.gauge is not None:
        # The number stands beside it: length is never the only cue.
        cell = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
        low, high = column.gauge
        found += [("custom.cellOptions", cell), ("min", low), ("max", high), ("color", {"mode": "continuous-cividis"})]
    if column.steps:
        found += [("custom.cellOptions", {"type": "color-text"}), ("thresholds", _thresholds(column.steps))]
        found.append(("color", {"mode": "thresholds"}))
    if column.link is not None and column.passes is not None:
        url = f"/d/{column.link}?${{__url_time_range}}&var-{column.passes}=${{__value.raw}}"
        found.append(("links", [{"title": f"Show this {column.passes}", "url": url, "targetBlank": False}]))
    return {"matcher": {"id": "byName", "options": column.name}, "properties": _properties(found)}


def _stat_options(number: Number) -> Json:
    return {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "area" if number.spark else "none",
        "justifyMode": "center",
        "orientation": "vertical",
        "textMode": "value_and_name" if number.joined else "value",
        "wideLayout": True,
        "showPercentChange": False,
        "percentChangeColorMode": "standard",
    }


def _stat_defaults(number: Number, unit: str) -> Json:
    found: Json = {"unit": unit, "noValue": "not known", "color": {"mode": "thresholds"}}
    found["thresholds"] = _thresholds(number.steps or (Step(None, "text"),))
    if number.decimals is not None:
        found["decimals"] = number.decimals
    return found


def _thresholds(steps: Sequence[Step]) -> Json:
    return {"mode": "absolute", "steps": [{"value": step.value, "color": step.colour} for step in steps]}


def _properties(pairs: Sequence[tuple[str, object]]) -> list[Json]:
    """Return properties of an override; of two for one name the later holds."""
    return [{"id": name, "value": value} for name, value in dict(pairs).items()]
