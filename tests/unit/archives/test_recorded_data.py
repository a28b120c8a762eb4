"""Every recorded file, mapped by us and reckoned again from the file alone: counts and USD by asset, position, day."""

import csv
import gzip
from collections import Counter, defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import polars as pl
import pytest

from pipeline.feeds import map_frame
from pipeline.ingest.recordings import read_recordings
from pipeline.records import DeadLetter, Frame, Instrument

FORCEORDER = "binance_forceorder_csv"
# Rows, distinct orders, broken rows. README: 1668 exact copies, and 5 further rows differ from another in the
# recorder's own usd_size only.
FORCEORDER_FILES = {
    "2024-06-20_part1.csv.gz": (102, 101, 1),
    "2024-06-20_part2.csv.gz": (162, 162, 0),
    "2024-08-17.csv.gz": (456, 456, 0),
    "2024-08-18.csv.gz": (385, 385, 0),
    "2025-01-26_2025-02-06.csv.gz": (3510, 1837, 0),
    "2025-06-23.csv.gz": (700, 700, 0),
}
THOUSANDS = {"PEPE", "BONK", "SATS", "FLOKI", "SHIB", "WHY", "RATS", "LUNC", "X", "XEC", "CHEEMS"}
OKX_SIZES = {"BTC": "0.01", "ETH": "0.1", "DOGE": "1000"}
OKX_TABLE = {
    ("okx", f"{coin}-USDT-SWAP"): Instrument(
        "okx", f"{coin}-USDT-SWAP", f"{coin}-USDT-PERP", coin, "USDT", "USDT", "linear", contract_size=float(size)
    )
    for coin, size in OKX_SIZES.items()
}


def frames_of(paths):
    return [one for one in read_recordings(paths) if isinstance(one, Frame)]


def lines(path):
    with gzip.open(path, "rt", newline="") as file:
        return [row for row in csv.reader(file) if row]


def micros(usd):
    """Micro-dollars of an exact number, half to even: reckoned with fractions."""
    return round(Fraction(usd) * 1_000_000)


def day_of_ms(time_ms):
    return datetime.fromtimestamp(int(time_ms) / 1000, UTC).date()


def replayed(path, instruments=None):
    """Return frames, distinct events and dead letters of one file, in order."""
    frames = frames_of([path])
    events, refused = {}, []
    duplicates = 0
    for frame in frames:
        mapped = list(map_frame(frame, instruments or {}))
        assert len(mapped) == 1, "every row is one event or one refusal"
        (one,) = mapped
        if isinstance(one, DeadLetter):
            refused.append(one)
        elif one.event_id in events:
            duplicates += 1
        else:
            events[one.event_id] = one
    assert len(frames) == len(events) + duplicates + len(refused)
    assert [frame.sequence for frame in frames] == list(range(len(frames)))
    return frames, list(events.values()), refused


def summed(events):
    sums = defaultdict(lambda: [0, 0])
    for one in events:
        found = sums[one.asset, one.position, day_of_ms(one.event_time)]
        found[0] += 1
        found[1] += one.notional_micros
    return dict(sums)


def add(sums, key, usd):
    sums[key][0] += 1
    sums[key][1] += micros(usd)


def asset_of(written):
    """The coin in a recorded symbol, with USDT taken out or not."""
    name = written.split("_")[0].removesuffix("USDT").removesuffix("USDC")
    if name.startswith("1000000"):
        return name.removeprefix("1000000")
    if name.startswith("1000") and name.removeprefix("1000") in THOUSANDS:
        return name.removeprefix("1000")
    return {"1MBABYDOGE": "BABYDOGE"}.get(name, name)


@pytest.mark.parametrize("name", sorted(FORCEORDER_FILES))
def test_forced_orders(shared_dir, name):
    path = shared_dir / "data" / FORCEORDER / name
    expected, seen = defaultdict(lambda: [0, 0]), set()
    for row in lines(path):
        if len(row) != 12:
            continue
        symbol, word, _, _, _, p, ap, _, _, z, time, _ = row
        price = Decimal(p if ap == "None" else ap)
        key = (symbol.removesuffix("USDT"), word, int(time), Decimal(z), price)
        if key not in seen:
            seen.add(key)
            position = {"SELL": "long", "BUY": "short"}[word]
            add(expected, (asset_of(symbol), position, day_of_ms(time)), Decimal(z) * price)
    frames, events, refused = replayed(path)
    assert (len(frames), len(events), len(refused)) == FORCEORDER_FILES[name]
    assert summed(events) == expected
    assert {one.completeness for one in events} == {"sampled"}
    assert all(one.received_time == 1000 * one.event_time for one in events)


def test_the_folder_of_forced_orders_as_one(shared_dir):
    frames = frames_of([shared_dir / "data" / FORCEORDER])
    assert len(frames) == sum(rows for rows, _, _ in FORCEORDER_FILES.values())
    assert [frame.connection for frame in frames if frame.sequence == 0] == sorted(FORCEORDER_FILES)


def test_the_line_that_is_no_row_is_refused_for_what_it_is(shared_dir):
    frames, _, (letter,) = replayed(shared_dir / "data" / FORCEORDER / "2024-06-20_part1.csv.gz")
    assert letter.reason == "bad_row"
    assert "2 columns" in letter.message
    assert letter.payload.startswith(b"<generator object")
    assert (letter.sequence, letter.exchange) == (0, "binance")
    assert letter.received_time == frames[1].received_time == 1718901133106000


def test_the_dated_contract_and_the_rows_that_kept_their_quote(shared_dir):
    folder = shared_dir / "data" / FORCEORDER
    symbols = {one.symbol for name in FORCEORDER_FILES for one in replayed(folder / name)[1]}
    assert {"ETHUSDT_250627", "BTCUSDT", "BTCUSDC", "1000PEPEUSDC", "NEIROETHUSDT", "1MBABYDOGEUSDT"} <= symbols
    assert all(symbol.split("_")[0].endswith(("USDT", "USDC")) for symbol in symbols)
    assert not any("USDTUSDT" in symbol or "USDCUSDT" in symbol for symbol in symbols)


def test_without_an_average_price_the_orders_price_is_used(shared_dir):
    _, events, _ = replayed(shared_dir / "data" / FORCEORDER / "2025-06-23.csv.gz")
    assert {(one.price_kind, one.order_price) for one in events} == {("order", None)}
    _, events, _ = replayed(shared_dir / "data" / FORCEORDER / "2024-08-17.csv.gz")
    assert {one.price_kind for one in events} == {"average_fill"}
    assert all(one.order_price is not None for one in events)


def test_two_layouts_in_one_file(shared_dir):
    path = shared_dir / "data" / "binance_btcusdt_2024-12" / "liquidation_orders.csv.gz"
    expected = defaultdict(lambda: [0, 0])
    words = Counter()
    for row in lines(path)[1:]:
        if len(row) == 12:
            position, price, filled, time = row[1], row[6], Decimal(row[9]), row[11]
        else:
            # Last filled plus the rest, which the recorder took as a difference of doubles: thousandths of a coin.
            position, price, time = row[1], row[2], row[0]
            filled = round(Decimal(row[4]) + Decimal(row[5]), 3)
        words[position] += 1
        position = {"SELL": "long", "Long Trade": "long", "BUY": "short", "Short Trade": "short"}[position]
        day = datetime.fromisoformat(time).astimezone(UTC).date()
        add(expected, ("BTC", position, day), filled * Decimal(price))
    frames, events, refused = replayed(path)
    assert (len(frames), len(events), len(refused)) == (2417, 2417, 0)
    assert (words["SELL"], words["BUY"]) == (729, 1115)
    assert summed(events) == expected
    assert Counter(one.price_kind for one in events) == {"average_fill": 1844, "order": 573}
    first, last = events[0], events[-1]
    assert (first.event_time, first.received_time) == (1733330785584, 1733330785587000)
    assert (last.event_time, last.received_time) == (1734092982664, 1734092982664000)
    largest_hour = [one for one in events if one.event_time // 3_600_000 == 1733428800000 // 3_600_000]
    assert len(largest_hour) == 234, "README's largest hour of the first part"


def test_three_venues_at_once(shared_dir):
    path = shared_dir / "data" / "multi_venue_small" / "eth_binance_bybit_okx_2026-04-03.csv.gz"
    expected = defaultdict(lambda: [0, 0])
    rows = [dict(zip(lines(path)[0], row, strict=True)) for row in lines(path)[1:]]
    for row in rows:
        size = Decimal(OKX_SIZES["ETH"]) if row["exchange"] == "okx" else 1
        usd = Decimal(row["qty"]) * size * Decimal(row["price"])
        add(expected, ("ETH", row["side"], day_of_ms(row["event_ts"])), usd)
    frames, events, refused = replayed(path, OKX_TABLE)
    assert (len(frames), len(events), refused) == (55, 55, [])
    assert summed(events) == expected
    assert Counter(one.exchange for one in events) == {"binance": 35, "bybit": 5, "okx": 15}
    assert {(one.exchange, one.completeness, one.price_kind) for one in events} == {
        ("binance", "sampled", "average_fill"),
        ("bybit", "full", "bankruptcy"),
        ("okx", "sampled", "bankruptcy"),
    }
    by_time = {one.event_time: one for one in events}
    assert by_time[1775223097178].received_time == 1775223097091000, "their clocks differ: received before it happened"
    assert {one.symbol for one in events if one.exchange == "okx"} == {"ETH-USDT-SWAP"}


def test_three_venues_without_metadata(shared_dir):
    path = shared_dir / "data" / "multi_venue_small" / "eth_binance_bybit_okx_2026-04-03.csv.gz"
    _, events, refused = replayed(path)
    assert Counter((one.exchange, one.reason) for one in refused) == {("okx", "unknown_contract_size"): 15}
    assert len(events) == 40


def test_aster(shared_dir):
    path = shared_dir / "data" / "multi_venue_small" / "aster_2025-10-15_2025-10-16.csv.gz"
    expected = defaultdict(lambda: [0, 0])
    rows = [dict(zip(lines(path)[0], row, strict=True)) for row in lines(path)[1:]]
    for row in rows:
        day = datetime.fromisoformat(row["timestamp"]).astimezone(UTC).date()
        position = {"SELL": "long", "BUY": "short"}[row["side"]]
        add(
            expected,
            (row["symbol"].removesuffix("USDT"), position, day),
            Decimal(row["price"]) * Decimal(row["quantity"]),
        )
    frames, events, refused = replayed(path)
    assert (len(frames), len(events), refused) == (106, 106, [])
    assert summed(events) == expected
    total = sum(one.notional_micros for one in events)
    assert total == pytest.approx(sum(float(row["value"]) for row in rows) * 1e6, abs=1e3)
    assert {(one.exchange, one.event_time_kind, one.price_kind) for one in events} == {
        ("aster", "received", "average_fill")
    }
    assert (events[0].event_time, events[0].received_time) == (1760564860760, 1760564860760171)


def test_okx_history(shared_dir):
    path = shared_dir / "data" / "okx_hyperliquid_2025_2026" / "liquidations.parquet"
    table = pl.read_parquet(path)
    sizes = pl.col("coin").replace_strict({coin: float(size) for coin, size in OKX_SIZES.items()})
    expected = (
        table.filter(pl.col("venue") == "okx")
        .with_columns(
            usd=pl.col("size_usd") * sizes,
            position=pl.col("side").replace_strict({"sell": "long", "buy": "short"}),
            day=pl.col("timestamp").dt.date(),
        )
        .group_by("coin", "position", "day")
        .agg(pl.len(), pl.col("usd").sum())
    )
    frames, events, refused = replayed(path, OKX_TABLE)
    assert len(frames) == table.height == 6015
    assert Counter((one.exchange, one.reason) for one in refused) == {("hyperliquid", "unknown_position"): 1350}
    found = summed(events)
    assert set(found) == {(coin, position, day) for coin, position, day, _, _ in expected.iter_rows()}
    for coin, position, day, count, usd in expected.iter_rows():
        assert found[coin, position, day][0] == count
        # The file's own products are doubles: half a micro-dollar a row, and their sum's last digits.
        assert found[coin, position, day][1] == pytest.approx(usd * 1e6, abs=count, rel=1e-12)
    assert len(events) == 4665
    assert all(one.received_time == 1000 * one.event_time for one in events)


def test_okx_history_without_metadata(shared_dir):
    path = shared_dir / "data" / "okx_hyperliquid_2025_2026" / "liquidations.parquet"
    _, events, refused = replayed(path)
    assert events == []
    assert Counter(one.reason for one in refused) == {"unknown_contract_size": 4665, "unknown_position": 1350}
