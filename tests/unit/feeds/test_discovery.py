"""Which exchanges and formats there are, and where a frame goes."""

import pytest

from pipeline.feeds import all_archives, all_feeds, archive_of, feed_of, map_frame
from pipeline.records import Frame, RefusedError

RECEIVED_US = 1_791_565_601_500_000


def test_what_is_there():
    assert {"binance", "bybit", "okx"} <= set(all_feeds())
    assert {
        "aster_csv",
        "binance_btcusdt_csv",
        "binance_forceorder_csv",
        "frames",
        "multi_venue_csv",
        "okx_hyperliquid_parquet",
        "tardis_liquidations_csv",
    } <= set(all_archives())


def test_each_is_found_under_its_own_name():
    assert all(feed_of(exchange).exchange == exchange for exchange in all_feeds())
    assert all(archive_of(name).channel == f"archive:{name}" for name in all_archives())


def test_an_unknown_exchange_is_refused_with_the_known_ones():
    with pytest.raises(RefusedError, match=r"'mtgox'; known are .*binance.*bybit.*okx") as refusal:
        feed_of("mtgox")
    assert refusal.value.reason == "unknown_exchange"


@pytest.mark.parametrize(
    ("exchange", "channel", "expected"),
    [
        ("mtgox", "trades", "unknown_exchange"),
        ("", "x", "unknown_exchange"),
        ("okx", "archive:nowhere", "unknown_archive"),
    ],
)
def test_a_frame_from_nowhere_is_a_dead_letter(exchange, channel, expected):
    frame = Frame(exchange, channel, "c", 3, RECEIVED_US, b"{}")
    (letter,) = map_frame(frame, {})
    assert (letter.reason, letter.stage, letter.payload) == (expected, "mapping", b"{}")
