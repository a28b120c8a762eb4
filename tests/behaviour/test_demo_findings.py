"""The page of findings over real tables that hold a simulated half hour, against the simulator's own ledger."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console

from pipeline.codec import record_fields
from pipeline.embedded import findings
from pipeline.embedded.findings import money
from pipeline.embedded.simulator import START_MS, instruments, ledger, simulate_with_truth
from pipeline.feeds import map_frame
from pipeline.records import DeadLetter
from pipeline.warehouse.client import connect
from pipeline.warehouse.migrate import migrate

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BAR_COLUMNS = [
    "exchange",
    "symbol",
    "instrument",
    "asset",
    "start",
    "long_micros",
    "short_micros",
    "long_count",
    "short_count",
    "largest_micros",
    "price_low",
    "price_high",
    "late_count",
    "closed",
    "coverage",
    "completeness",
    "revision",
]


@pytest.fixture(scope="module")
def pairs():
    return list(simulate_with_truth(5, 0.5))


@pytest.fixture
def client(tmp_path):
    found = connect(f"chdb://{tmp_path}/tables")
    migrate(found)
    yield found
    found.close()


def query_of(client):
    return lambda sql: list(client.query(sql).named_results())


def printed(renderable, encoding="utf-8"):
    class Page(StringIO):
        @property
        def encoding(self):
            return encoding

    page = Page()
    Console(file=page, width=findings.WIDTH, no_color=True, force_terminal=False).print(renderable)
    return page.getvalue()


def insert(client, table, columns, rows):
    client.insert(f"liquidations_data.{table}", rows, column_names=columns, settings={"async_insert": 0})


def at_ms(time):
    return EPOCH + timedelta(milliseconds=time)


def fill(client, pairs):
    """Put into the tables what the pipeline would, by a plain reading of the ledger."""
    known = {(found.exchange, found.symbol): found for found in instruments()}
    events, refused, bars, tallies = {}, [], {}, Counter()
    for frame, rows in pairs:
        for found, row in zip(map_frame(frame, known), rows, strict=True):
            values = record_fields(found) | {"received_time": EPOCH + timedelta(microseconds=found.received_time)}
            if isinstance(found, DeadLetter):
                refused.append(values)
                continue
            tallies[found.exchange, "duplicates" if row.kind == "duplicate" else "events"] += 1
            if row.kind == "duplicate":
                continue
            tallies[found.exchange, row.timing] += 1
            source = found.source
            values["source"] = (source.channel, source.connection, source.sequence, source.index)
            events[found.event_id] = values | {"event_time": at_ms(found.event_time)}
            if row.timing != "too_late":
                key = (found.exchange, found.symbol, found.instrument, found.asset, found.event_time // 60_000 * 60_000)
                bar = bars.setdefault(key, [0, 0, 0, 0, 0])
                which = found.position == "short"
                bar[which] += found.notional_micros
                bar[2 + which] += 1
                bar[4] = max(bar[4], found.notional_micros)
    columns = list(next(iter(events.values())))
    insert(client, "events", columns, [[row[name] for name in columns] for row in events.values()])
    columns = list(refused[0])
    insert(client, "dead_letters", columns, [[row[name] for name in columns] for row in refused])
    insert(
        client,
        "bars",
        BAR_COLUMNS,
        [
            [*key[:4], at_ms(key[4]), *bar, 1.0, 1.0, 0, True, 1.0, "full", 2 * (bar[2] + bar[3]) + 1]
            for key, bar in bars.items()
        ],
    )
    kinds = ("events", "duplicates", "late", "too_late")
    insert(
        client,
        "tallies",
        ["exchange", "asset", "start", *kinds, "revision"],
        [
            [exchange, "BTC", at_ms(START_MS), *(tallies[exchange, kind] for kind in kinds), 1]
            for exchange in ("binance", "bybit", "okx")
        ],
    )
    insert(
        client,
        "coverage",
        ["exchange", "channel", "start", "alive_ms", "frames", "revision"],
        [["okx", "SWAP", at_ms(START_MS + minute * 60_000), 60_000 - 15_000 * minute, 12, 1] for minute in range(2)],
    )


def test_the_page_shows_what_the_ledger_knows(client, pairs):
    fill(client, pairs)
    query = query_of(client)
    rows = [row for _, rows in pairs for row in rows]
    known = ledger(rows)
    page = printed(findings.findings(query))
    assert max(map(len, page.splitlines())) <= findings.WIDTH

    counts = query(findings.COUNTS)
    for name in ("events", "duplicates", "late", "too_late"):
        assert sum(row[name] for row in counts) == getattr(known, name)
    assert sum(row["refused"] for row in counts) == sum(known.refused.values())
    assert sum(row["refused"] for row in query(findings.REFUSED)) == sum(known.refused.values())

    events = [row for row in rows if row.kind == "event"]
    for total in query(findings.TOTALS):
        longs = [row.notional_micros for row in events if (row.exchange, row.position) == (total["exchange"], "long")]
        assert total["long_count"] == len(longs)
        assert total["long_usd"] == sum(longs) / 1e6
        assert money(total["long_usd"]) in page
    largest = max(events, key=lambda row: row.notional_micros)
    assert query(findings.LARGEST_EVENTS)[0]["notional_usd"] == largest.notional_micros / 1e6

    minutes = Counter()
    for (_, _, start, _), sums in known.minutes.items():
        minutes[start] += sums.count
    peak = query(findings.PEAK)[0]
    assert peak["peak_events"] == max(minutes.values())
    assert peak["minutes"] == len(minutes)
    assert f"{max(minutes.values()):,} liquidations" in page
    largest_bar = query(findings.LARGEST_BARS)[0]
    assert largest_bar["long_usd"] + largest_bar["short_usd"] == pytest.approx(
        max(
            float(sums.usd + (other.usd if (other := known.minutes.get((*key[:3], "short"))) else 0))
            for key, sums in known.minutes.items()
            if key[3] == "long"
        )
    )
    [coverage] = [line.split() for line in page.splitlines() if line.split()[:2] == ["okx", "SWAP"]]
    assert coverage == ["okx", "SWAP", "06:00", "06:01", "2", "1", "24"]


def test_a_terminal_without_unicode_gets_plain_characters(client, pairs):
    fill(client, pairs)
    printed(findings.findings(query_of(client)), "ascii").encode("ascii")


def test_empty_tables_give_an_empty_page(client):
    assert "There are no bars." in printed(findings.findings(query_of(client)))


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (0, "$0"),
        (949.6, "$950"),
        (999.4, "$999"),
        (999.96, "$1.0K"),
        (12_345, "$12.3K"),
        (999_940, "$999.9K"),
        (999_960, "$1.0M"),
        (1_234_567, "$1.2M"),
        (1_051_000_000, "$1.05B"),
    ],
)
def test_money_is_short(usd, text):
    assert money(usd) == text
