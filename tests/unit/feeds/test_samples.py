"""Every recorded message of the three exchanges, with what it must become."""

import pytest

from pipeline.feeds import map_frame
from pipeline.records import Frame, Instrument

RECEIVED_US = 1_800_000_000_000_000

# Contract values as the feeds' notes give them: OKX linear ones per coin, Binance COIN-M 100 USD for BTC.
OKX_SIZES = {"BTC": 0.01, "IOST": 1000.0, "MINA": 1.0, "APT": 1.0}
TABLE = {
    ("okx", f"{coin}-USDT-SWAP"): Instrument(
        "okx", f"{coin}-USDT-SWAP", f"{coin}-USDT-PERP", coin, "USDT", "USDT", "linear", contract_size=size
    )
    for coin, size in OKX_SIZES.items()
} | {
    ("binance", "BTCUSD_200925"): Instrument(
        "binance", "BTCUSD_200925", "BTC-USD-20200925", "BTC", "USD", "BTC", "inverse", "2020-09-25", 100.0
    )
}

# By line of the sample: instrument, position, price, quantity, micro-dollars of each event, worked out by hand.
EXPECTED = {
    "binance": [
        [],
        [("ILV-USDT-PERP", "long", 3.85642, 116.5, 449_272_930)],
        [("XRP-USDT-PERP", "short", 1.4912, 127.2, 189_680_640)],
        [("BTC-USDT-PERP", "short", 83598.5, 0.001, 83_598_500)],
        [("STG-USDT-PERP", "long", 0.1355, 5, 677_500)],
        [("BTC-USDT-PERP", "long", 26245.1, 0.115, 3_018_186_500)],
        [("BTC-USDT-PERP", "long", 38986.5, 0.004, 155_946_000)],
        [("BTC-USDT-PERP", "short", 34959.7, 1.437, 50_237_088_900)],
        [("BTC-USDT-PERP", "long", 9910, 0.014, 138_740_000)],
        [("BTC-USD-20200925", "long", 9496.5, pytest.approx(100 / 9496.5, rel=1e-15), 100_000_000)],
    ],
    "bybit": [
        [],
        [("ROSE-USDT-PERP", "short", 0.04499, 20000, 899_800_000)],
        [
            ("BTC-USDT-PERP", "long", 82396.9, 0.006, 494_381_400),
            ("BTC-USDT-PERP", "long", 82394.3, 0.038, 3_130_983_400),
        ],
        [("STRK-USDT-PERP", "long", 0.05165, 2084.9, 107_685_085)],
        [("PIPPIN-USDT-PERP", "short", 0.02456, 2846, 69_897_760)],
        [("BTC-USDT-PERP", "short", 43511.7, 0.003, 130_535_100)],
        [("GALA-USDT-PERP", "long", 0.03803, 1637, 62_255_110)],
    ],
    "okx": [
        [],
        [("BTC-USDT-PERP", "long", 82655.7, 0.0855, 7_067_062_350)],
        [("IOST-USDT-PERP", "short", 0.007831, 13000, 101_803_000)],
        [("MINA-USDT-PERP", "short", 0.09859, 10975, 1_082_025_250)],
        ["unknown_contract_size"],
        [("APT-USDT-PERP", "long", 5.761, 86, 495_446_000)],
    ],
}


def messages(shared_dir, name):
    return (shared_dir / "reference" / "samples" / f"{name}.jsonl").read_bytes().splitlines()


def seen(one):
    if hasattr(one, "reason"):
        return one.reason
    return (one.instrument, one.position, one.price, one.quantity, one.notional_micros)


@pytest.mark.parametrize("exchange", sorted(EXPECTED))
def test_recorded_messages(shared_dir, exchange):
    found = []
    for number, payload in enumerate(messages(shared_dir, exchange)):
        frame = Frame(exchange, "sample", "sample", number, RECEIVED_US, payload)
        found.append([seen(one) for one in map_frame(frame, TABLE)])
    assert found == EXPECTED[exchange]


@pytest.mark.parametrize("exchange", sorted(EXPECTED))
def test_without_metadata_only_contract_sizes_are_missing(shared_dir, exchange):
    for number, payload in enumerate(messages(shared_dir, exchange)):
        frame = Frame(exchange, "sample", "sample", number, RECEIVED_US, payload)
        reasons = {one.reason for one in map_frame(frame, {}) if hasattr(one, "reason")}
        assert reasons <= {"unknown_contract_size"}, payload
