"""Candles as rules read them: the reference contract, the move of its price, and what was traded."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import stdev

import pytest

from pipeline.detect.candle_history import CandleHistory
from pipeline.windows.fold import CandleRow

MINUTE = 60_000
BEGIN = 1_700_000_040_000


def candles(closes, begin=BEGIN, exchange="okx", symbol="BTC-USDT-SWAP", micros=1_000):
    return [
        CandleRow(exchange, symbol, "BTC", begin + number * MINUTE, close, micros)
        for number, close in enumerate(closes)
    ]


def history(*rows, kept_minutes=72):
    found = CandleHistory(kept_minutes * MINUTE)
    for some in rows:
        found.take("BTC", some)
    return found


def test_the_reference_is_the_most_traded_of_the_hour_before():
    found = history(
        candles([1.0] * 60),
        candles([2.0] * 60, exchange="binance", symbol="BTCUSDT", micros=1_001),
        candles([3.0], BEGIN + 60 * MINUTE, "bybit", "BTCUSDT", 10**9),
    )
    now = BEGIN + 60 * MINUTE + 30_000
    assert found.reference("BTC", now) is found.contract("BTC", "binance", "BTCUSDT")
    assert found.reference("BTC", now + MINUTE) is found.contract("BTC", "bybit", "BTCUSDT")
    assert found.reference("BTC", BEGIN) is None
    assert found.reference("ETH", now) is None


def test_a_tie_goes_by_name():
    found = history(candles([1.0] * 5), candles([1.0] * 5, exchange="bybit", symbol="BTCUSDT"))
    assert found.reference("BTC", BEGIN + 5 * MINUTE) is found.contract("BTC", "okx", "BTC-USDT-SWAP")


def test_the_move_is_in_deviations_of_the_minutes_before():
    before = [100 + (number % 3) * 0.1 for number in range(31)]
    found = history(candles([*before, 99.0, 98.0]))
    begin = BEGIN + 31 * MINUTE + 20_000
    returns = [math.log(after / first) for first, after in pairwise(before)]
    expected = -math.log(98.0 / before[-1]) / (stdev(returns) * math.sqrt(2))
    assert found.moved_sd("BTC", "long", begin) == pytest.approx(expected)
    assert found.moved_sd("BTC", "short", begin) == pytest.approx(-expected)


@pytest.mark.parametrize(
    "closes",
    [
        [100 + (number % 3) * 0.1 for number in range(31)],  # no candle since the begin
        [100.0] * 33,  # it has not moved before
        [*[100 + (number % 3) * 0.1 for number in range(10)], 99.0],  # too short a past
    ],
)
def test_the_move_is_not_known_where_candles_do_not_tell_it(closes):
    found = history(candles(closes))
    assert found.moved_sd("BTC", "long", BEGIN + min(len(closes), 31) * MINUTE) is None


def test_the_volume_of_a_bar_is_known_only_with_every_minute():
    found = history(candles([1.0] * 4))
    contract = found.contract("BTC", "okx", "BTC-USDT-SWAP")
    assert contract.traded_micros(BEGIN, BEGIN + 5 * MINUTE) is None
    found.take("BTC", candles([1.0], BEGIN + 4 * MINUTE, micros=7))
    assert contract.traded_micros(BEGIN, BEGIN + 5 * MINUTE) == 4_007
    found.take("BTC", candles([1.0], BEGIN + 4 * MINUTE, micros=8))
    assert contract.traded_micros(BEGIN, BEGIN + 5 * MINUTE) == 4_008


def test_old_candles_are_forgotten_and_what_is_kept_comes_back_from_cells():
    found = history(candles([float(number + 1) for number in range(200)]), kept_minutes=72)
    assert len(found.contract("BTC", "okx", "BTC-USDT-SWAP").minutes) == 72
    cells = dict(found.cells())
    assert not dict(found.cells())
    again = CandleHistory(72 * MINUTE)
    again.restore({name.decode(): value for name, value in cells.items()})
    assert again.contract("BTC", "okx", "BTC-USDT-SWAP") == found.contract("BTC", "okx", "BTC-USDT-SWAP")
