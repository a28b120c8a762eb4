"""Measure how soon panels have their data, on 100 million liquidations of 5,000 contracts over a year.

Run as `python tests/bench/panel_speed.py [--events N] [--days D] [--repeats K] [--folder PATH]`: prints each panel, by
the clock and by processor time. The folder, `build/bench/panels-N-D` by default, is kept, because filling it takes
longer than measuring.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import panel_rows
from clickhouse_connect.driver.client import Client
from places import WORK
from rich.console import Console
from rich.table import Table

from pipeline.grafana.boards import BOARDS
from pipeline.grafana.dashboard import Dashboard
from pipeline.grafana.macros import TimeRange, Values, expand
from pipeline.grafana.variable import ALL, Choice, Listed, Typed
from pipeline.warehouse.client import connect
from pipeline.warehouse.migrate import migrate

NAMES = ("panel_p95_ms_1d", "panel_p95_ms_30d")
BY_PROCESSOR = "_by_processor"
IN_TURN = "_in_turn"
# What Grafana asks for on a wide screen, if the panel's own shortest bucket is not longer.
RANGES = {"1d": (86_400_000, 60_000), "30d": (30 * 86_400_000, 1_800_000)}


def take(_wanted: frozenset[str], _records: int, repeats: int) -> tuple[dict[str, float], Mapping[str, Any]]:
    """Return both percentiles, and each panel's milliseconds."""
    panels = measured(filled(panel_rows.EVENTS, panel_rows.DAYS), repeats)
    return summary(panels), {"panel_ms": panels, **summary(panels, IN_TURN), **summary(panels, BY_PROCESSOR)}


def summary(panels: Mapping[str, Mapping[str, float]], more: str = "") -> dict[str, float]:
    """Return the 95th percentile over all panels for each range, by the name of its measure.

    With `more` = `_in_turn` it is that of all queries of a panel, with `_by_processor` that of processor time, which
    other work on the machine changes less.
    """
    return {
        f"panel_p95_ms_{name}{more}": statistics.quantiles(
            [of[name + more] for of in panels.values()], n=20, method="inclusive"
        )[-1]
        for name in RANGES
    }


def filled(events: int, days: int, folder: Path | None = None) -> Client:
    """Return a client of the year's tables, which are filled where they are not there yet."""
    folder = folder or WORK / f"panels-{events}-{days}"
    folder.mkdir(parents=True, exist_ok=True)
    client = connect(f"chdb://{folder / 'clickhouse'}")
    migrate(client)
    panel_rows.fill(client, folder / "spans", events, days)
    client.database = "liquidations"
    return client


def measured(client: Client, repeats: int, **chosen: str) -> dict[str, dict[str, float]]:
    """Return the milliseconds of each panel, by its name and that of the range: the median of some rounds.

    Grafana sends the queries of a panel at once, and a server answers them side by side: a panel's time is that of its
    slowest query. Under `RANGE_in_turn` are those of all its queries one after the other, and with `_by_processor`
    behind the name processor time. The answer is fetched whole. `chosen` is put in place of what dashboards show when
    they are opened.
    """
    found: dict[str, dict[str, float]] = {}
    for board in BOARDS:
        values = {**usual(board), **chosen}
        for panel in board.panels:
            name = f"{board.uid.removeprefix('liquidations-')} {panel.number} {panel.title}"
            for range_name, (length_ms, usual_ms) in RANGES.items():
                interval_ms = max(usual_ms, panel.interval_ms)
                of = TimeRange(panel_rows.END_MS - length_ms, panel_rows.END_MS, interval_ms)
                queries = [expand(query.sql, of, values) for query in panel.queries]
                rounds = [[_ms(client, sql) for sql in queries] for _ in range(repeats)]
                of_panel = found.setdefault(name, {})
                for at, more in enumerate(("", BY_PROCESSOR)):
                    of_queries = [[times[at] for times in each] for each in rounds]
                    of_panel[range_name + more] = statistics.median(max(times) for times in of_queries)
                    of_panel[range_name + IN_TURN + more] = statistics.median(sum(times) for times in of_queries)
    return found


def usual(board: Dashboard) -> Values:
    """Return what a dashboard shows when it is opened: everything, or the largest asset."""
    return dict(_first(board))


def _first(board: Dashboard) -> Iterator[tuple[str, str]]:
    for variable in board.variables:
        match variable:
            case Listed(name="asset", many=False):
                yield variable.name, "BTC"
            case Listed() | Choice(many=True):
                yield variable.name, ALL if variable.name != "bound" else ""
            case Choice():
                yield variable.name, variable.options[0][0]
            case Typed():
                yield variable.name, variable.default


def _ms(client: Client, sql: str) -> tuple[float, float]:
    """Return the milliseconds of a query by the clock and of processor time."""
    begun, begun_processor = time.perf_counter(), time.process_time()
    client.raw_query(sql, fmt="Native")
    return (time.perf_counter() - begun) * 1_000, (time.process_time() - begun_processor) * 1_000


def main() -> None:
    """Measure and print each panel."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=panel_rows.EVENTS)
    parser.add_argument("--days", type=int, default=panel_rows.DAYS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--asset", default=ALL, help="an asset, where a dashboard would show all")
    options = parser.parse_args()
    chosen = {} if options.asset == ALL else {"asset": options.asset}
    panels = measured(filled(options.events, options.days, options.folder), options.repeats, **chosen)
    columns = [name + more for name in RANGES for more in ("", BY_PROCESSOR)]
    shown = Table("panel", *(f"ms, {column}" for column in columns))
    for panel, of in sorted(panels.items(), key=lambda entry: -entry[1]["30d"]):
        shown.add_row(panel, *(f"{of[column]:,.0f}" for column in columns))
    Console(width=150).print(shown)
    Console().print(summary(panels) | summary(panels, IN_TURN) | summary(panels, BY_PROCESSOR))


if __name__ == "__main__":
    main()
