"""Rows of each archive format that the recorded files do not have: broken ones, and Tardis.dev's layout."""

from pathlib import Path

import pytest

from pipeline.feeds import all_archives, archive_of, map_frame
from pipeline.feeds.archives.binance_forceorder_csv import raw_symbol
from pipeline.records import EARLIEST_MS, DeadLetter, Instrument

TARDIS = b"exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
GOOD = b"BTC,SELL,LIMIT,IOC,0.1,60000,60100,FILLED,0.1,0.1,1718901133106,6000\n"
TIME_US = 1718901133106000
TABLE = {
    ("okx", "BTC-USDT-SWAP"): Instrument(
        "okx", "BTC-USDT-SWAP", "BTC-USDT-PERP", "BTC", "USDT", "USDT", "linear", contract_size=0.01
    ),
    ("binance", "BTCUSD_PERP"): Instrument(
        "binance", "BTCUSD_PERP", "BTC-USD-PERP", "BTC", "USD", "BTC", "inverse", contract_size=100.0
    ),
}


def frames(name, content, size=7, path="somewhere/file.csv"):
    """Frames of a content that arrives in pieces of `size` bytes."""
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    return list(archive_of(name).frames(Path(path), pieces))


def mapped(name, content, table=TABLE):
    found = [list(map_frame(frame, table)) for frame in frames(name, content)]
    assert all(len(one) == 1 for one in found)
    return [one for (one,) in found]


@pytest.mark.parametrize("size", [1, 3, 64, 10_000])
def test_rows_do_not_depend_on_the_pieces_in_which_they_are_read(size):
    content = GOOD + b"\r\n\n" + GOOD.replace(b"\n", b"\r\n") + GOOD.rstrip()
    found = frames("binance_forceorder_csv", content, size)
    assert [frame.payload for frame in found] == [GOOD.rstrip()] * 3
    assert [frame.sequence for frame in found] == [0, 1, 2]
    assert {(frame.channel, frame.connection) for frame in found} == {("archive:binance_forceorder_csv", "file.csv")}


def test_a_broken_row_has_the_time_of_the_row_before_or_of_the_first_good_one():
    later = GOOD.replace(b"1718901133106", b"1718901133200")
    found = frames("binance_forceorder_csv", b"x\ny\n" + GOOD + b"z\n" + later + b"\xff\xfe\n")
    assert [frame.received_time - TIME_US for frame in found] == [0, 0, 0, 0, 94000, 94000]
    assert [frame.payload for frame in found][:2] == [b"x", b"y"]
    assert {frame.exchange for frame in found} == {"binance"}


def test_not_one_good_row():
    assert [frame.received_time for frame in frames("binance_forceorder_csv", b"x\ny\n")] == [EARLIEST_MS * 1000] * 2


@pytest.mark.parametrize(
    ("written", "raw"),
    [
        ("BTC", "BTCUSDT"),
        ("BTCUSDT", "BTCUSDT"),
        ("BTCUSDC", "BTCUSDC"),
        ("USDC", "USDCUSDT"),
        ("ETH_250627", "ETHUSDT_250627"),
        ("ETHUSDT_250627", "ETHUSDT_250627"),
        ("BTCUSD_PERP", "BTCUSD_PERP"),
        ("NEIROETH", "NEIROETHUSDT"),
        ("1000PEPE", "1000PEPEUSDT"),
    ],
)
def test_symbols_get_their_quote_back(written, raw):
    assert raw_symbol(written) == raw


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"SELL", b"HOLD", "unknown_word"),
        (b"FILLED", b"NEW", "not_filled"),
        (b"60100", b"x", "bad_number"),
        (b",0.1,1718901133106", b",0,1718901133106", "bad_number"),
        (b"1718901133106", b"1718901133", "bad_time"),
        (b"BTC", b"", "unknown_symbol"),
        (b"BTC", b"BTCUSD_PERP ", "unknown_symbol"),
        (b",6000\n", b"\n", "bad_row"),
        (b"BTC", b"\xff", "bad_row"),
    ],
)
def test_broken_forced_orders(old, new, reason):
    first, second = mapped("binance_forceorder_csv", GOOD + GOOD.replace(old, new))
    assert first.symbol == "BTCUSDT"
    assert isinstance(second, DeadLetter)
    assert (second.reason, second.received_time) == (reason, TIME_US)


def test_a_part_fill_and_a_missing_average():
    part, missing, zero = mapped(
        "binance_forceorder_csv",
        GOOD.replace(b"FILLED", b"PARTIALLY_FILLED") + GOOD.replace(b"60100", b"None") + GOOD.replace(b"60100", b"0"),
    )
    assert (part.price, part.price_kind) == (60100, "average_fill")
    assert (missing.price, missing.price_kind) == (zero.price, zero.price_kind) == (60000, "order")


HEADED = (
    b"Symbol,Side,Order Type,Time in Force,Quantity,Price,Average Price,Order Status,"
    b"Last Filled Quantity,Filled Quantity,Event Time (IST),Trade Time (IST)\r\n"
)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"2024-12-06 23:45:11.043000+05:30,Short Trade,102067.86,0.041,0.041", "bad_row"),
        (b"2024-12-06 23:45:11.043000+05:30,Some Trade,102067.86,0.041,0.041,0.0", "unknown_word"),
        (b"2024-12-06 23:45:11.043000,Short Trade,102067.86,0.041,0.041,0.0", "bad_time"),
        (b"yesterday,Short Trade,102067.86,0.041,0.041,0.0", "bad_time"),
        (b"2024-12-06 23:45:11.043000+05:30,Short Trade,,0.041,0.041,0.0", "missing_field"),
        (b"2024-12-06 23:45:11.043000+05:30,Short Trade,102067.86,0.041,-0.041,0.0", "bad_number"),
        (HEADED.rstrip(), "not_filled"),
    ],
)
def test_broken_rows_of_the_two_layouts(row, reason):
    good = b"2024-12-06 23:45:11+05:30,Long Trade,102067.86,1.316,0.485,0.8310000000000001\r\n"
    first, second = mapped("binance_btcusdt_csv", HEADED + good + row + b"\r\n")
    assert (first.position, first.quantity, first.price_kind) == ("long", 1.316, "order")
    assert first.event_time == 1733508911000
    assert second.reason == reason


VENUES = b"id,exchange,symbol,side,raw_side,qty,price,mark_price,notional_usd,event_ts,inserted_ts\n"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"1,binance,ETHUSDT,long,BUY,1,2000,2000,2000,1775222290153,1775222290236", "contradictory_position"),
        (b"1,bybit,ETHUSDT,long,Sell,1,2000,2000,2000,1775222290153,1775222290236", "contradictory_position"),
        (b"1,okx,BTCUSDT,long,long:buy,1,2000,2000,2000,1775222290153,1775222290236", "contradictory_position"),
        (b"1,okx,BTCUSDT,long,sell,1,2000,2000,2000,1775222290153,1775222290236", "bad_row"),
        (b"1,okx,ETHUSDT,long,long:sell,1,2000,2000,2000,1775222290153,1775222290236", "unknown_contract_size"),
        (b"1,kraken,ETHUSDT,long,SELL,1,2000,2000,2000,1775222290153,1775222290236", "unknown_exchange"),
        (b"1,binance,ETHUSDT,long,SELL,1,2000,2000,2000,1775222290153", "bad_row"),
        (b"1,binance,ETHUSDT,long,SELL,1,2000,2000,2000,1775222290153,soon", None),
    ],
)
def test_broken_rows_of_several_venues(row, reason):
    good = b"1,binance,ETHUSDT,short,BUY,1,2000,2000,2000,1775222290153,1775222290236\n"
    first, second = mapped("multi_venue_csv", VENUES + good + row + b"\n")
    assert first.position == "short"
    assert getattr(second, "reason", None) == reason
    assert second.received_time == 1775222290236000


def test_tardis_rows_by_the_rule_of_their_exchange():
    rows = [
        b"binance-futures,BTCUSDT,1740787200123000,1740787200200456,,buy,85000.5,0.5",
        b"binance-delivery,BTCUSD_PERP,1740787200123000,1740787200300456,,sell,85000,3",
        b"bybit,BTCUSDT,1740787200123000,1740787200400456,,sell,84000,0.25",
        b"bybit,BTCUSD,1740787200123000,1740787200400456,,buy,84000,500",
        b"bybit,BTCUSDT,1740527999999000,1740527999999999,,sell,84000,0.25",
        b"okex-swap,BTC-USDT-SWAP,1740787200123000,1740787200500456,,sell,83000,7",
    ]
    found = mapped("tardis_liquidations_csv", TARDIS + b"\n".join(rows))
    assert [(one.exchange, one.position, one.notional_micros) for one in found] == [
        ("binance", "short", 42_500_250_000),
        ("binance", "long", 300_000_000),
        ("bybit", "long", 21_000_000_000),
        ("bybit", "short", 500_000_000),
        ("bybit", "long", 21_000_000_000),
        ("okx", "long", 5_810_000_000),
    ]
    assert [one.price_kind for one in found] == ["unknown", "unknown", *["bankruptcy"] * 4]
    assert [one.completeness for one in found] == ["sampled", "sampled", "full", "full", "sampled", "sampled"]
    assert (found[0].event_time, found[0].received_time) == (1740787200123, 1740787200200456)


@pytest.mark.parametrize(
    ("row", "reason", "exchange"),
    [
        (b"deribit,BTC-PERPETUAL,1740787200123000,1740787200200456,9,buy,85000,10", "unknown_exchange", "deribit"),
        (b"bitmex,XBTUSD,1740787200123000,1740787200200456,9,buy,85000,10", "unknown_exchange", "bitmex"),
        (b"okex-swap,ETH-USDT-SWAP,1740787200123000,1740787200200456,,buy,2000,10", "unknown_contract_size", "okx"),
        (b"binance-delivery,BTCUSDT,1740787200123000,1740787200200456,,buy,2000,10", "unknown_market", "binance"),
        (b"bybit,BTCUSDT,1740787200123000,1740787200200456,,unknown,2000,10", "unknown_word", "bybit"),
        (b"bybit,BTCUSDT,1740787200123,1740787200200456,,buy,2000,10", "bad_time", "bybit"),
        (b"bybit,BTCUSDT,1740787200123000,1740787200200456,,buy,2000,0", "bad_number", "bybit"),
        (b"bybit,BTCUSDT,1740787200123000,1740787200200456,,buy,2000", "bad_row", ""),
    ],
)
def test_tardis_rows_that_are_refused(row, reason, exchange):
    good = b"bybit,BTCUSDT,1740787200123000,1740787200200456,,buy,2000,10\n"
    _, letter = mapped("tardis_liquidations_csv", TARDIS + good + row)
    assert (letter.reason, letter.exchange) == (reason, exchange)
    assert letter.received_time == 1740787200200456


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("binance-futures_liquidations_2025-03-01_BTCUSDT.csv.gz", TARDIS, "tardis_liquidations_csv"),
        ("BTCUSDT.csv", TARDIS, "tardis_liquidations_csv"),
        ("binance-futures_trades_2025-03-01_BTCUSDT.csv.gz", TARDIS, None),
        ("trades/2025/03/01/BTCUSDT.csv.gz", TARDIS, None),
        ("x.csv", HEADED, "binance_btcusdt_csv"),
        ("x.csv", VENUES, "multi_venue_csv"),
        ("x.csv", b"<broken>\n" + GOOD, "binance_forceorder_csv"),
        ("x.csv", b"id,timestamp,symbol,side,price,quantity,value,time\n", "aster_csv"),
        ("x.csv", b"a,b,c\n1,2,3\n", None),
        ("x.parquet", b"PAR1 and nothing more", None),
        ("x.jsonl", b'{"e":"forceOrder"}\n', None),
        ("x", b"\x00\x01\x02\x03", None),
    ],
)
def test_a_file_is_of_one_format_or_none(tmp_path, name, content, expected):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    found = [archive.name for archive in all_archives().values() if archive.recognise(path, content[:4096])]
    assert found == ([expected] if expected else [])
