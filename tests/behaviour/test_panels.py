"""The SQL of every panel, variable and mark, on migrated tables: empty, and filled by a simulated market with a gap."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from clickhouse_connect.driver.client import Client
from unit.grafana import market

from pipeline.grafana.alert_json import annotations_of
from pipeline.grafana.alert_rules import GROUPS
from pipeline.grafana.boards import BOARDS
from pipeline.grafana.macros import TimeRange, expand, expand_macros
from pipeline.grafana.panel import Heat
from pipeline.grafana.variable import ALL, Choice, Listed, Typed
from pipeline.warehouse.client import connect
from pipeline.warehouse.migrate import migrate

RANGE = TimeRange(market.BEGIN, market.END - 1)
BUCKETS = round(market.HOURS * 60)
# What a user may choose: everything, nothing, one, several, and names with quotes.
CHOICES: dict[str, list[str | list[str]]] = {
    "asset": [ALL, [], ["BTC"], ["BTC", market.QUOTED]],
    "exchange": [ALL, [], ["okx"], ["o'kx", "binance"]],
    "symbol": [ALL, "", [f"{market.QUOTED}USDT", "BTCUSDT"]],
    "interval": ["0", "", "300", "3600"],
    "mode": ["usd", "count", ""],
    "min_value": ["0", "", "50000", "'; DROP"],
    "position": [ALL, [], ["long"], ["short"]],
    "anomalies": ["on", "off"],
    "threshold": ["2.5", "x"],
    "period": ["30", "0", ""],
    "bound": ["lower bound"],
    "kind": [ALL, [], ["surge"], ["ratio", "o'kind"]],
    "level": ["0", "1", ""],
    "anomaly": ["", "00", "o'clock"],
}
USUAL: dict[str, str | list[str]] = {name: values[0] for name, values in CHOICES.items()}
QUERIES = {
    **{
        f"{board.uid} {panel.number}{'ABCDEF'[index]}": (panel, query)
        for board in BOARDS
        for panel in board.panels
        for index, query in enumerate(panel.queries)
    },
}
LISTED = {
    f"{board.uid} {variable.name}": variable.sql
    for board in BOARDS
    for variable in board.variables
    if isinstance(variable, Listed)
}
MARKS = {f"{board.uid} {mark.name}": mark.sql for board in BOARDS for mark in board.marks}
ALL_SQL = {**{name: query.sql for name, (_, query) in QUERIES.items()}, **LISTED, **MARKS}

RULES = {rule.uid: rule for group in GROUPS for rule in group.rules}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Migrated tables. They are filled once the tests on empty ones have run: the engine opens one folder at a time."""
    client = connect(f"chdb://{tmp_path_factory.mktemp('panels')}")
    migrate(client)
    client.database = "liquidations"
    yield client
    client.close()


@pytest.fixture(scope="module")
def client(empty: Client) -> Client:
    market.fill(empty)
    return empty


def pairs_of_choices() -> list[dict[str, str | list[str]]]:
    """Return combinations in which every two choices meet, and the usual one."""
    found = [USUAL]
    for one, other in itertools.combinations(CHOICES, 2):
        found += [USUAL | {one: a, other: b} for a in CHOICES[one] for b in CHOICES[other]]
    return list({str(sorted(chosen.items())): chosen for chosen in found}.values())


def used(sql: str) -> set[str]:
    return set(re.findall(r"\$\{?(\w+)", sql)) & set(CHOICES)


def answers(client: Client, sql: str, values: dict[str, str | list[str]], of: TimeRange = RANGE):
    return client.query(expand(sql, of, values))


def numbers(rows: list[dict[str, object]], name: str) -> list[float]:
    return [float(row[name]) for row in rows if row[name] is not None]  # type: ignore[arg-type]


def named(client: Client, board: str, panel: int, letter: str = "A", **chosen: str | list[str]):
    sql = QUERIES[f"liquidations-{board} {panel}{letter}"][1].sql
    return list(answers(client, sql, USUAL | chosen).named_results())


def alerting(client: Client, uid: str, until: int) -> dict[tuple[str, ...], float]:
    """Return the labels and numbers that a rule finds at a time, where it fires."""
    rule = RULES[uid]
    of = TimeRange(until - rule.looks_back_s * 1_000, until)
    result = client.query(expand_macros(rule.sql.strip(), of))
    if not result.result_rows:
        return {}
    kinds = [kind.name for kind in result.column_types]
    numeric = [index for index, kind in enumerate(kinds) if "Int" in kind or "Float" in kind]
    assert len(numeric) == 1, "one number, the rest labels"
    assert not any("Date" in kind or "Array" in kind or "Bool" in kind for kind in kinds)
    assert numeric == [len(kinds) - 1]
    return {tuple(row[:-1]): row[-1] for row in result.result_rows if row[-1] is not None and row[-1] > rule.above}


# On empty tables


@pytest.mark.parametrize("uid", RULES)
def test_a_rule_runs_on_empty_tables_and_only_a_dead_pipeline_fires(empty, uid):
    fired = alerting(empty, uid, market.END)
    assert bool(fired) == (uid == "liquidations-no-rows")


@pytest.mark.parametrize("name", ALL_SQL)
def test_it_runs_on_empty_tables_and_claims_nothing(empty, name):
    result = answers(empty, ALL_SQL[name], USUAL)
    if name in LISTED or name in MARKS:
        assert [row for row in result.result_rows if row != ("nothing seen",)] == []
        return
    panel, query = QUERIES[name]
    if query.shape == "series":
        assert {value for row in result.result_rows for value in row[1:]} <= {None, 1.0}
    counted = {"silent now", "refused", "collectors"}
    shown = [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]
    known = [row for row in shown if any(row[column] is not None for column in row if column not in {*counted, "what"})]
    if query.shape == "table":
        assert known == [], panel.title


# On a market


@pytest.mark.parametrize("name", ALL_SQL)
def test_it_finds_something_in_a_market(client, name):
    found = answers(client, ALL_SQL[name], USUAL).result_rows
    assert [row for row in found if any(value is not None for value in row)], name


@pytest.mark.parametrize("name", ALL_SQL)
def test_it_runs_with_everything_that_may_be_chosen(client, name):
    sql = ALL_SQL[name]
    names = used(sql)
    expanded = {expand(sql, RANGE, values) for values in pairs_of_choices()} if names else {expand(sql, RANGE, USUAL)}
    for one in sorted(expanded):
        client.query(one)


@pytest.mark.parametrize("name", ALL_SQL)
def test_it_reads_no_row_outside_its_time_range(client, name):
    """An hour later there is nothing but gaps, states that last, and how old everything is."""
    later = TimeRange(RANGE.from_ms + 48 * 3_600_000, RANGE.to_ms + 48 * 3_600_000)
    sql = ALL_SQL[name]
    assert "$__timeFilter" in sql or "$__fromTime" in sql or "$__toTime" in sql
    lasting = {
        "Silences",
        "Silent channels",
        "Silences found",
        "Subscriptions of contracts",
        "Bytes per million liquidations",
    }
    if name in MARKS or (name in QUERIES and QUERIES[name][0].title in lasting):
        return
    rows = answers(client, sql, USUAL, later).result_rows
    values = {value for row in rows for value in (row[1:] if name in QUERIES else row) if not isinstance(value, str)}
    assert values <= {None, 0, 1.0}, name


@pytest.mark.parametrize("name", QUERIES)
def test_columns_have_the_types_that_the_plugin_turns_into_what_the_picture_needs(client, name):
    panel, query = QUERIES[name]
    result = answers(client, query.sql, USUAL)
    types = [re.sub(r"(?:Nullable|LowCardinality)\((.*)\)", r"\1", kind.name) for kind in result.column_types]
    if query.shape == "table":
        return
    assert types[0] == "DateTime", types
    times = [row[0] for row in result.result_rows]
    assert times == sorted(times), "long series must ascend"
    labels = types.count("String")
    values = [column for column, kind in zip(result.column_names[1:], types[1:], strict=True) if kind != "String"]
    assert labels <= 1
    assert all(re.match(r"U?Int|Float", kind) for kind in types[1:] if kind != "String"), types
    # Only then is a line called by its label alone.
    assert not labels or values == ["Value"]
    assert not isinstance(panel.picture, Heat) or labels == 1


# What the numbers say


def micros(client: Client, where: str = "1") -> tuple[int, int]:
    sql = f"""SELECT toInt64(sum(long_usd) * 1e6), toInt64(sum(short_usd) * 1e6) FROM bars_1m WHERE {where}"""  # noqa: S608
    longs, shorts = client.query(sql).result_rows[0]
    return longs, shorts


@pytest.mark.parametrize("interval", ["0", "300", "3600"])
def test_columns_add_up_to_the_bars_whatever_the_interval(client, interval):
    rows = named(client, "market", 5, interval=interval)
    longs = sum(numbers(rows, "longs")) + sum(numbers(rows, "longs, incomplete"))
    shorts = sum(numbers(rows, "shorts")) + sum(numbers(rows, "shorts, incomplete"))
    assert (longs, shorts) == pytest.approx([part / 1e6 for part in micros(client)], rel=1e-9)


def test_columns_of_counts_are_numbers_of_events(client):
    rows = named(client, "market", 5, mode="count", min_value="50000", position=["long"])
    (expected,) = client.query(
        "SELECT count() FROM events WHERE position = 'long' AND notional_usd >= 50000"
    ).result_rows
    assert sum(numbers(rows, "longs")) + sum(numbers(rows, "longs, incomplete")) == expected[0]
    assert sum(numbers(rows, "shorts")) + sum(numbers(rows, "shorts, incomplete")) == 0


def minute_of(time: object) -> int:
    assert isinstance(time, datetime)
    return round(time.replace(tzinfo=UTC).timestamp() * 1_000)


def test_columns_over_the_gap_are_incomplete_and_the_area_says_how_much_is_missing(client):
    in_gap = {time for time in range(*market.GAP, market.MINUTE)}  # noqa: C416 - a range has no set operations
    columns = named(client, "market", 5)
    incomplete = {minute_of(row["time"]) for row in columns if row["longs"] is None}
    assert incomplete == in_gap
    missing = {minute_of(row["time"]): row["not covered"] for row in named(client, "market", 5, "B")}
    assert len(missing) == BUCKETS
    assert {time for time, share in missing.items() if share} == in_gap
    assert {missing[time] for time in in_gap} == {0.25}
    # Somebody who asks for another exchange only is told of no gap.
    assert not any(row["longs"] is None for row in named(client, "market", 5, exchange=["bybit"]))


def test_the_strip_shows_the_gap_of_each_channel(client):
    rows = named(client, "market", 6)
    assert len(rows) == BUCKETS * len(market.CHANNELS)
    gap = {minute_of(row["time"]) for row in rows if row["Value"] == 0}
    assert {row["feed"] for row in rows if row["Value"] == 0} == {"okx SWAP"}
    assert gap == set(range(*market.GAP, market.MINUTE))


def test_the_share_of_the_time_listened_to(client):
    (row,) = named(client, "market", 2)
    assert row["covered"] == pytest.approx(1 - 20 / BUCKETS / len(market.CHANNELS))
    (row,) = named(client, "market", 2, exchange=["okx"])
    assert row["covered"] == pytest.approx(1 - 20 / BUCKETS)


def test_anomalies_are_marked_by_the_covered_bars_before_them(client):
    """Against the same rule over the columns in Python; the gap is left out, not taken for calm."""
    chosen = {"asset": ["BTC"], "period": "20", "threshold": "2"}
    columns = {
        minute_of(row["time"]): row["longs"] + row["shorts"]
        for row in named(client, "symbol", 4, **chosen)
        if row["longs"] is not None
    }
    covered = [time for time in range(market.BEGIN, market.END, market.MINUTE) if not market.silent_minute(time)]
    totals = [columns.get(time, 0.0) for time in covered]
    expected = {}
    for index in range(20, len(totals)):
        before = totals[index - 20 : index]
        mean = sum(before) / 20
        deviation = (sum((value - mean) ** 2 for value in before) / 19) ** 0.5
        if totals[index] > mean + 2 * deviation:
            expected[covered[index]] = totals[index]
    marked = {minute_of(row["time"]): row["anomaly"] for row in named(client, "symbol", 4, "C", **chosen)}
    assert marked == pytest.approx(expected)
    assert marked
    assert named(client, "symbol", 4, "C", **chosen, anomalies="off") == []


def test_the_rolling_hour_is_the_sum_of_sixty_minutes(client):
    rows = named(client, "symbol", 8, asset=["BTC"])
    last = rows[-1]
    since = minute_of(last["time"]) - 59 * market.MINUTE
    where = f"asset = 'BTC' AND start >= fromUnixTimestamp64Milli({since})"
    assert last["last hour"] == pytest.approx(sum(micros(client, where)) / 1e6)


@pytest.mark.parametrize(("panel", "position"), [(1, "long"), (2, "short")])
def test_cells_of_the_heatmap_hold_every_event_and_make_a_whole_grid(client, panel, position):
    rows = named(client, "heatmap", panel, asset=["BTC"])
    sql = f"SELECT sum(notional_usd) FROM events WHERE asset = 'BTC' AND position = '{position}'"  # noqa: S608
    assert sum(numbers(rows, "Value")) == pytest.approx(client.query(sql).result_rows[0][0])
    prices = sorted({row["price_from"] for row in rows})
    assert len(prices) == 48
    assert len(rows) == 48 * BUCKETS
    edges = [float(price) for price in prices]
    assert edges == sorted(edges)
    ratios = [after / before for before, after in itertools.pairwise(edges)]
    assert max(ratios) == pytest.approx(min(ratios), rel=1e-4)


def test_assets_and_their_change(client):
    rows = {row["asset"]: row for row in named(client, "market", 9)}
    half = TimeRange((market.BEGIN + market.END) // 2, market.END)
    sql = QUERIES["liquidations-market 9A"][1].sql
    of_half = {row["asset"]: row for row in answers(client, sql, USUAL, half).named_results()}
    assert rows["BTC"]["usd"] == pytest.approx(of_half["BTC"]["usd"] + of_half["BTC"]["before"])
    assert of_half["BTC"]["change"] == pytest.approx(of_half["BTC"]["usd"] / of_half["BTC"]["before"] - 1)
    assert rows["BTC"]["change"] is None
    assert market.QUOTED in rows


def test_titles_say_lower_bound_where_a_feed_shows_a_part_only(client):
    def bound(**chosen):
        return answers(client, LISTED["liquidations-market bound"], USUAL | chosen).result_rows[0][0]

    assert bound() == "lower bound"
    assert bound(exchange=["bybit"]) == "complete feeds"
    assert bound(exchange=["nobody"]) == "nothing seen"


def test_refused_messages_are_counted_and_explained(client):
    (total,) = named(client, "quality", 4)
    assert total["refused"] == sum(row["refused"] for row in named(client, "quality", 16)) > 0
    (ours,) = named(client, "pipeline", 4)
    assert ours["refused"] == 1


def test_quality_names_the_gap_the_silence_and_who_saw_what(client):
    feeds = {row["channel"]: row for row in named(client, "quality", 6)}
    assert feeds["SWAP"]["missed"] == 20 * 60
    assert feeds["forceOrder"]["covered"] == 1
    (silence,) = named(client, "quality", 7)
    assert (silence["channel"], silence["found after"], silence["lasted"]) == ("SWAP", 300, None)
    assert {row["collector"]: row["seen"] for row in named(client, "quality", 18)} == {"paris": 1, "tokyo": 1}


def test_every_variable_is_used_and_every_name_is_a_variable():
    for board in BOARDS:
        names = {variable.name for variable in board.variables}
        sql = "\n".join(
            [query.sql for panel in board.panels for query in panel.queries]
            + [variable.sql for variable in board.variables if isinstance(variable, Listed)]
            + [mark.sql for mark in board.marks]
        )
        assert used(sql) <= names
        assert {v.name for v in board.variables if isinstance(v, Listed | Choice | Typed)} == names
        for name, form in re.findall(r"\$\{(\w+)(?::(\w+))?\}", sql):
            assert form == "singlequote", (board.uid, name)


# Alert rules


@pytest.mark.parametrize(
    ("uid", "until", "expected"),
    [
        ("liquidations-silent-channel", market.END, {("okx", "SWAP")}),
        ("liquidations-coverage", market.GAP[1], {("okx", "SWAP")}),
        ("liquidations-coverage", market.END - 5 * market.MINUTE, set()),
        ("liquidations-coverage", market.END + 30 * market.MINUTE, {entry for entry in market.CHANNELS}),  # noqa: C416
        ("liquidations-no-rows", market.END, set()),
        ("liquidations-no-rows", market.END + 10 * market.MINUTE, {()}),
        ("liquidations-worker-behind", market.END, set()),
        ("liquidations-refused-by-us", market.BEGIN + 2 * market.MINUTE, {("sink", "refused")}),
        ("liquidations-refused-by-us", market.END, set()),
        ("liquidations-refused", market.END, set()),
        ("liquidations-rolling-0", market.CRASH + 30_000, {("BTC",)}),
        ("liquidations-rolling-0", market.END, set()),
        ("liquidations-rolling-1", market.END, {("BTC",)}),
        ("liquidations-rolling-2", market.END, set()),
        ("liquidations-surge", market.END, set()),
        ("liquidations-cascade-opened", market.END, {("ETH", "short")}),
        ("liquidations-cascade-subsided", market.CRASH + 14 * market.MINUTE, {("BTC", "long")}),
        ("liquidations-cascade-subsided", market.END, set()),
        ("liquidations-ratio", market.END, {("BTC", "", "", "long")}),
    ],
)
def test_a_rule_fires_when_it_should(client, uid, until, expected):
    assert set(alerting(client, uid, until)) == expected


def test_the_numbers_of_a_message_have_the_labels_of_its_alert(client):
    told = 0
    for rule in RULES.values():
        of = TimeRange(market.END - rule.looks_back_s * 1_000, market.END)
        alerts = {row[:-1] for row in client.query(expand_macros(rule.sql.strip(), of)).result_rows}
        for letter, sql in rule.facts:
            rows = client.query(expand_macros(sql.strip(), of)).result_rows
            assert {row[:-1] for row in rows} == alerts, (rule.uid, letter)
            told += len(rows)
        link = annotations_of(rule)["panel"]
        said = set(re.findall(r"\$values\.(\w+)\.Value", rule.summary + rule.description + link))
        assert said <= {"B", *(letter for letter, _ in rule.facts)}
    assert told > 0


@pytest.mark.parametrize(
    ("uid", "until", "address"),
    [
        ("liquidations-rolling-1", market.END, ("liquidations-symbol", "8", "BTC", market.CRASH + market.MINUTE)),
        (
            "liquidations-cascade-opened",
            market.END,
            ("liquidations-anomalies", "6", "ETH", market.END - 2 * market.MINUTE),
        ),
        ("liquidations-ratio", market.END, ("liquidations-symbol", "7", "BTC", market.CRASH)),
    ],
)
def test_a_message_leads_to_its_panel_asset_and_time(client, uid, until, address):
    """As Grafana's templates would make it: the fact of the begin, and the label of the asset, in the link."""
    rule = RULES[uid]
    of = TimeRange(until - rule.looks_back_s * 1_000, until)
    facts = dict(rule.facts)
    (row,) = client.query(expand_macros(facts[rule.began].strip(), of)).named_results()
    link = annotations_of(rule)["panel"].replace('{{ printf "%.0f" $values.W.Value }}', f"{row['number']:.0f}")
    label = row.get("asset", row.get("of"))
    board, panel, asset, began = address
    assert link.startswith(f"/d/{board}?viewPanel={panel}&time={began}&time.window=14400000")
    assert label == asset
    assert re.search(r"&var-asset=\{\{ \$labels\.(asset|of) \}\}", link)


def test_an_anomaly_is_explained_and_leads_to_its_events(client):
    rows = {(row["kind"], row["level"]): row for row in named(client, "anomalies", 4)}
    assert rows["rolling_threshold", 1]["explanation"] == (
        "rolling threshold: $3.00 million over $2.00 million, coverage 100 %, lower bound"
    )
    assert rows["surge", 0]["explanation"].endswith("degraded")
    contributors = named(client, "anomalies", 5)
    assert len(contributors) == 3
    assert {row["anomaly"] for row in contributors} == {rows["rolling_threshold", 1]["anomaly"]}
    other = named(client, "anomalies", 5, anomaly=rows["rolling_threshold", 0]["anomaly"])
    assert {row["anomaly"] for row in other} == {rows["rolling_threshold", 0]["anomaly"]}


def test_the_threshold_doubles_with_each_level_and_only_while_it_lasts(client):
    rows = named(client, "symbol", 8, "B", asset=["BTC"])
    lines = [(row["threshold"], row["level"]) for row in rows]
    assert lines[0] == (None, None)
    assert (2e6, 0) in lines
    assert lines[-1] == (4e6, 1)


def test_detections_keep_the_first_revision_whatever_comes_later_or_twice(client):
    (row,) = [row for row in named(client, "anomalies", 8) if row["kind"] == "surge"]
    assert row["worst"] == 30


def test_delays_of_the_pipeline_are_those_of_the_worst_minute(client):
    rows = named(client, "pipeline", 12, interval="300")
    assert [(row["p95"], row["longest"]) for row in rows] == [(pytest.approx(0.945, abs=0.02), 0.99)]
    (row,) = named(client, "pipeline", 13, interval="300")
    assert (row["behind, at most"], row["behind, at the end"], row["pulses waiting"]) == (9, 1, 7)


def test_room_is_told_by_table_for_each_million_liquidations(client):
    rows = {row["what"]: row for row in named(client, "pipeline", 14)}
    events = rows["events"]
    assert events["per million"] == pytest.approx(events["size"] / events["stored"] * 1e6)
    assert rows["all tables"]["size"] == sum(row["size"] for what, row in rows.items() if what != "all tables")
    year_before = TimeRange(RANGE.from_ms - 400 * 86_400_000, RANGE.to_ms - 400 * 86_400_000)
    assert answers(client, QUERIES["liquidations-pipeline 14A"][1].sql, USUAL, year_before).result_rows == []


def test_the_mean_size_is_that_of_the_events(client):
    rows = named(client, "market", 11, interval="3600", asset=["BTC"])
    expected = client.query(
        "SELECT avgIf(notional_usd, position = 'long'), avgIf(notional_usd, position = 'short') FROM events"
        " WHERE asset = 'BTC' GROUP BY toStartOfHour(event_time) ORDER BY toStartOfHour(event_time)"
    ).result_rows
    assert [(row["longs"], row["shorts"]) for row in rows] == [pytest.approx(pair, rel=0.02) for pair in expected]


def test_a_cascade_counts_where_it_began_with_what_it_forced(client):
    (found,) = client.query(
        "SELECT toStartOfHour(started) AS hour, value, details['events'] AS events FROM anomalies"
        " WHERE kind = 'cascade' AND position = 'long'"
    ).named_results()
    for mode, expected in (("usd", found["value"]), ("count", found["events"])):
        (row,) = named(client, "anomalies", 11, mode=mode, interval="3600")
        assert (row["time"], row["longs"], row["shorts"]) == (found["hour"], expected, 0)
    assert named(client, "anomalies", 11, position=["short"]) == []
