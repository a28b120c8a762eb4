"""Draw what each rule found on a simulated day beside what was true: `docs/rules/KIND.svg`.

Run as `python tests/bench/pictures.py [--kind KIND ...] [--folder FOLDER]`. The scenarios are played anew, so it takes
some minutes.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import vl_convert
from detection import HEARTBEAT_S, HISTORY_DAYS, QUIET_INTERVAL_MS
from scores import score_cascades
from truths import USD, hour_sums, quiet_periods, ratios
from watch import Sighting, Watched, watch

from pipeline.detect.rules import Rules
from pipeline.embedded.simulator.leverage import SCENARIOS, Run, TrueOrder

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "rules"
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
# Wide enough for a page, few enough marks for a small file.
_WIDTH, _HEIGHT, _ROW = 720, 170, 22
_COLOURS = {"long": "#c0392b", "short": "#2e7d5b", "both": "#5b6b7b"}
# A logarithmic axis has no zero.
_LEAST_USD = 100_000.0
_TRUE, _FOUND = "true", "found"
_SPANS = {"domain": [_TRUE, _FOUND], "range": ["#8d99a6", "#d98e04"]}

Json = dict[str, Any]


class Span(NamedTuple):
    """Something from `begin` to `end` (ms), in the row of what is true or what was found."""

    row: str
    begin: int
    end: int


def found_spans(sightings: Sequence[Sighting], least_ms: int) -> list[Span]:
    """Return the sightings as spans from the moment at which they were said, long enough to be seen."""
    return [Span(_FOUND, one.said, max(one.end, one.said + least_ms)) for one in sightings]


def cascade(watched: Watched) -> Json:
    """Return the forced orders around the largest cascade that was found."""
    ledger, found = watched.ledger, watched.of_kind("cascade")
    hit = [one for one in ledger.cascades if score_cascades([one], found).hit]
    largest = max(hit, key=lambda one: one.micros)
    begin, end = largest.begin - 20 * MINUTE_MS, largest.end + 30 * MINUTE_MS
    spans = [
        Span(_TRUE, one.begin, one.end)
        for one in ledger.cascades
        if (one.asset, one.position) == (largest.asset, largest.position)
    ]
    spans += found_spans(_of(found, largest.asset, largest.position), 2_000)
    orders = [one for one in ledger.orders if one.asset == largest.asset]
    title = f"{largest.asset}: forced orders, USD in 20 seconds, and cascades of {largest.position}s"
    return _whole(title, _bars(orders, begin, end, 20_000), _rows(spans, begin, end))


def surge(watched: Watched) -> Json:
    """Return the minutes of the asset with most surges, in the three hours with most of them."""
    found = [one for one in watched.of_kind("surge") if _is_surge_of_minute(one)]
    asset = Counter(one.last.asset for one in found).most_common(1)[0][0]
    own = [one for one in found if one.last.asset == asset]
    hours = Counter(one.begin // HOUR_MS for one in own)
    first = max(hours, key=lambda hour: sum(hours[hour + later] for later in range(3))) * HOUR_MS
    begin, end = first, first + 3 * HOUR_MS
    orders = [one for one in watched.ledger.orders if one.asset == asset]
    spans = [Span(_FOUND, one.begin, one.begin + MINUTE_MS) for one in own]
    title = f"{asset}: forced orders, USD by minute, and minutes that surge (both positions together)"
    return _whole(title, _bars(orders, begin, end, MINUTE_MS), _rows(spans, begin, end))


def rolling_threshold(watched: Watched) -> Json:
    """Return the true sum of the last hour of the asset with the highest level, and its fires."""
    found = [one for one in watched.of_kind("rolling_threshold") if one.last.asset]
    highest = max(found, key=lambda one: (one.last.level, one.last.value))
    asset = highest.last.asset
    begin, end = highest.begin - 3 * HOUR_MS, highest.begin + 4 * HOUR_MS
    own = [one for one in found if one.last.asset == asset and begin <= one.said < end]
    sums = hour_sums([one for one in watched.ledger.orders if one.asset == asset], HOUR_MS)[asset]
    line = [
        {"time": time, "usd": max(sums.most(time, time) / USD, _LEAST_USD)} for time in range(begin, end, 2 * MINUTE_MS)
    ]
    fires = [{"time": one.said, "usd": one.last.threshold, "level": str(one.last.level)} for one in own]
    upper = {
        "height": _HEIGHT,
        "layer": [
            {
                "data": {"values": line},
                "mark": {"type": "line", "color": _COLOURS["both"], "strokeWidth": 1.5},
                "encoding": {"x": _time(begin, end), "y": _hour_usd()},
            },
            {
                "data": {"values": fires},
                "mark": {"type": "point", "shape": "triangle-up", "size": 70, "filled": True, "color": "#d98e04"},
                "encoding": {"x": _time(begin, end), "y": _hour_usd()},
            },
            {
                "data": {"values": fires},
                "mark": {"type": "text", "align": "center", "dy": -11, "fontSize": 9, "color": "#333"},
                "encoding": {
                    "x": _time(begin, end),
                    "y": _hour_usd(),
                    "text": {"field": "level"},
                },
            },
        ],
    }
    return _whole(
        f"{asset}: true USD of the last hour, and levels when they were said to be passed, at their thresholds",
        upper,
        None,
    )


def silent_channel(watched: Watched) -> Json:
    """Return the forced orders of an exchange around the time in which it brought nothing."""
    outage = next(one for one in watched.ledger.outages if one.kind == "silent")
    begin, end = outage.begin - HOUR_MS, outage.end + HOUR_MS
    orders = [one for one in watched.ledger.orders if one.exchange == outage.exchange]
    own = [one for one in watched.of_kind("silent_channel") if one.last.exchange == outage.exchange]
    spans = [Span(_TRUE, outage.begin, outage.end), *found_spans(own, 10_000)]
    title = f"{outage.exchange}: forced orders, USD by minute, whether shown or not, and its silence"
    return _whole(title, _bars(orders, begin, end, MINUTE_MS), _rows(spans, begin, end))


def ratio(watched: Watched) -> Json:
    """Return the true ratios of the contract with most that are above the threshold, around the highest one found."""
    rule, found = Rules().ratio, watched.of_kind("ratio")
    length = found[0].last.interval_ms
    true = ratios(watched.ledger, watched.traded, length, rule.threshold, rule.floor_usd)
    above = Counter((exchange, symbol) for exchange, symbol, _, _ in true)
    highest = max(found, key=lambda one: (above[one.last.exchange, one.last.symbol], one.last.value, one.begin))
    exchange, symbol = highest.last.exchange, highest.last.symbol
    begin, end = highest.begin - 18 * length, highest.begin + 30 * length
    starts = sorted(start for *contract, start, _ in true if contract == [exchange, symbol])
    spans = [Span(_TRUE, start, start + length) for start in starts]
    spans += [
        Span(_FOUND, one.begin, one.begin + length)
        for one in found
        if (one.last.exchange, one.last.symbol) == (exchange, symbol)
    ]
    upper = {"height": _HEIGHT, "layer": [_shares(watched, exchange, symbol, (begin, end), length)]}
    upper["layer"] += [
        {
            "data": {"values": [{"share": bound}]},
            "mark": {"type": "rule", "strokeDash": [4, 3], "color": "#d98e04"},
            "encoding": {"y": {"field": "share", "type": "quantitative"}},
        }
        for bound in (rule.threshold, -rule.threshold)
    ]
    title = (
        f"{exchange} {symbol}: forced orders as a share of what was traded, by five minutes, and bars above"
        f" {rule.threshold:.0%}"
    )
    return _whole(title, upper, _rows(spans, begin, end))


def quiet(watched: Watched) -> Json:
    """Return the forced orders of the most active asset of which a quiet period was found, around the longest one."""
    found, rule, orders = watched.of_kind("quiet"), Rules().regime, watched.ledger.orders
    active = Counter(one.asset for one in orders)
    asset = max({one.last.asset for one in found}, key=lambda one: (active[one], one))
    own = [one for one in found if one.last.asset == asset]
    longest = max(own, key=lambda one: (one.end - one.begin, one.begin))
    begin, end = longest.begin - 12 * HOUR_MS, longest.end + 12 * HOUR_MS
    true = quiet_periods(watched.ledger, QUIET_INTERVAL_MS, rule.low, rule.quiet_bars, HISTORY_DAYS)
    spans = [Span(_TRUE, one.begin, one.end) for one in true if one.asset == asset]
    spans += [Span(_FOUND, one.said, max(one.end, one.said + QUIET_INTERVAL_MS)) for one in own]
    title = f"{asset}: forced orders, USD by five minutes, and quiet periods"
    chosen = [one for one in orders if one.asset == asset]
    return _whole(title, _bars(chosen, begin, end, QUIET_INTERVAL_MS), _rows(spans, begin, end))


# The picture of each rule, and the scenario that it is taken from.
PICTURES: dict[str, tuple[str, Callable[[Watched], Json]]] = {
    "cascade": ("stress", cascade),
    "surge": ("stress", surge),
    "rolling_threshold": ("stress", rolling_threshold),
    "silent_channel": ("stress", silent_channel),
    "ratio": ("crash", ratio),
    "quiet": ("calm", quiet),
}


def _of(found: Sequence[Sighting], asset: str, position: str) -> list[Sighting]:
    return [one for one in found if (one.last.asset, one.last.position) == (asset, position)]


def _is_surge_of_minute(sighting: Sighting) -> bool:
    last = sighting.last
    return (last.scope, last.measure, last.position, last.interval_ms) == ("asset", "usd", "both", MINUTE_MS)


def _bars(orders: Sequence[TrueOrder], begin: int, end: int, step_ms: int) -> Json:
    """Return true USD over time, longs above and shorts below the line."""
    sums: Counter[tuple[int, str]] = Counter()
    for one in orders:
        if begin <= one.time_ms < end:
            sums[one.time_ms - one.time_ms % step_ms, one.position] += one.micros
    rows = [
        {
            "time": time,
            "end": time + step_ms,
            "usd": micros / USD * (1 if position == "long" else -1),
            "position": position,
        }
        for (time, position), micros in sorted(sums.items())
    ]
    return {
        "height": _HEIGHT,
        "data": {"values": rows},
        "mark": {"type": "rect"},
        "encoding": {
            "x": _time(begin, end),
            "x2": {"field": "end"},
            "y": _usd("usd", "USD, shorts below"),
            "y2": {"datum": 0},
            "color": _position(),
        },
    }


def _shares(watched: Watched, exchange: str, symbol: str, span: tuple[int, int], length: int) -> Json:
    """Return what was truly forced of what was traded, longs above and shorts below the line.

    Where a minute has no candle nobody knows what was traded.
    """
    forced: Counter[tuple[int, str]] = Counter()
    volume: Counter[int] = Counter()
    minutes: Counter[int] = Counter()
    for one in watched.ledger.orders:
        if (one.exchange, one.symbol) == (exchange, symbol):
            forced[one.time_ms - one.time_ms % length, one.position] += one.micros
    for (of_exchange, of_symbol, minute), micros in watched.traded.items():
        if (of_exchange, of_symbol) == (exchange, symbol):
            volume[minute - minute % length] += micros
            minutes[minute - minute % length] += 1
    rows = [
        {
            "time": time,
            "end": time + length,
            "share": micros / volume[time] * (1 if position == "long" else -1),
            "position": position,
        }
        for (time, position), micros in sorted(forced.items())
        if span[0] <= time < span[1] and minutes[time] * MINUTE_MS == length
    ]
    return {
        "data": {"values": rows},
        "mark": {"type": "rect"},
        "encoding": {
            "x": _time(*span),
            "x2": {"field": "end"},
            "y": {
                "field": "share",
                "type": "quantitative",
                "title": "share, shorts below",
                "axis": {"format": ".0%"},
                "stack": None,
            },
            "y2": {"datum": 0},
            "color": _position(),
        },
    }


def _rows(spans: Sequence[Span], begin: int, end: int) -> Json:
    """Return spans in rows: what is true above what was found."""
    shown = [
        {"row": row, "time": max(first, begin), "end": min(last, end)}
        for row, first, last in spans
        if first < end and last > begin
    ]
    names = [name for name in (_TRUE, _FOUND) if any(one["row"] == name for one in shown)]
    return {
        "height": _ROW * max(1, len(names)),
        "data": {"values": shown},
        "mark": {"type": "bar", "height": {"band": 0.6}},
        "encoding": {
            "x": _time(begin, end),
            "x2": {"field": "end"},
            "y": {"field": "row", "type": "nominal", "title": None, "sort": names},
            "color": {"field": "row", "type": "nominal", "legend": None, "scale": _SPANS},
        },
    }


def _time(begin: int, end: int) -> Json:
    return {
        "field": "time",
        "type": "temporal",
        "title": None,
        "scale": {"type": "utc", "domain": [begin, end]},
        "axis": {"format": "%H:%M", "grid": False},
    }


def _usd(field: str, title: str) -> Json:
    return {"field": field, "type": "quantitative", "title": title, "axis": {"format": "~s"}, "stack": None}


def _hour_usd() -> Json:
    scale = {"type": "log", "domainMin": _LEAST_USD}
    return _usd("usd", "USD of the last hour") | {"scale": scale}


def _position() -> Json:
    scale = {"domain": ["long", "short"], "range": [_COLOURS["long"], _COLOURS["short"]]}
    return {"field": "position", "type": "nominal", "scale": scale, "legend": {"title": None, "orient": "top"}}


def _whole(title: str, upper: Json, lower: Json | None) -> Json:
    parts = [upper] if lower is None else [upper, lower]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "background": "white",
        "padding": 8,
        "title": {"text": title, "anchor": "start", "fontSize": 13},
        "vconcat": [part | {"width": _WIDTH} for part in parts],
        "spacing": 6,
        "resolve": {"scale": {"color": "independent"}},
        "config": {"view": {"stroke": None}, "font": "sans-serif"},
    }


def svg_of(picture: Json) -> str:
    """Return a picture as SVG."""
    return vl_convert.vegalite_to_svg(picture)


def main() -> None:
    """Draw the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", nargs="+", choices=list(PICTURES), default=list(PICTURES))
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    wanted = {kind: PICTURES[kind] for kind in options.kind}
    for scenario in dict.fromkeys(scenario for scenario, _ in wanted.values()):
        watched = watch(Run(SCENARIOS[scenario], 7, HEARTBEAT_S[scenario]), Rules())
        for kind, (of, draw) in wanted.items():
            if of == scenario:
                (options.folder / f"{kind}.svg").write_text(svg_of(draw(watched)))


if __name__ == "__main__":
    main()
