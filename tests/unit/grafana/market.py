"""Rows of a simulated market with a gap, as the worker would make them, without a broker."""

from __future__ import annotations

from clickhouse_connect.driver.client import Client
from unit.warehouse.rows import (
    anomaly,
    bar,
    candle,
    cascade,
    dead_letter,
    heartbeat,
    liquidation,
    live,
    market_delay,
    metric,
    silence,
    store,
    subscription,
)

from pipeline.codec import Codec
from pipeline.embedded.simulator import START_MS, instruments, simulate
from pipeline.feeds.mapping import Mapping
from pipeline.records import Bar, DeadLetter, Heartbeat, Liquidation, Record, identity
from pipeline.windows.checkpoint import take
from pipeline.windows.fold import Batch, fold, liquidation_row
from pipeline.windows.parameters import WindowParameters
from pipeline.windows.state import PartitionState

HOURS = 1.5
MINUTE = 60_000
BEGIN = START_MS
END = START_MS + round(HOURS * 60) * MINUTE
CHANNELS = (("binance", "forceOrder"), ("bybit", "linear"), ("bybit", "inverse"), ("okx", "SWAP"))
# Nobody listened to OKX in these minutes.
GAP = (BEGIN + 20 * MINUTE, BEGIN + 40 * MINUTE)
QUOTED = "O'NEIL"
# When the findings begin.
CRASH = BEGIN + 60 * MINUTE


def records() -> list[Record]:
    """Return events, what is folded from them, and what an exchange and a collector say beside."""
    known = {(one.exchange, one.symbol): one for one in instruments()}
    mapping = Mapping(known)
    mapped = [found for frame in simulate(7, HOURS) for found in mapping.map(frame)]
    letters = [one for one in mapped if isinstance(one, DeadLetter)]
    events = [one for one in mapped if isinstance(one, Liquidation) and not in_gap(one)]
    before = [event for event in events if event.event_time < CRASH]
    largest = sorted((event for event in before if event.asset == "BTC"), key=lambda event: -event.notional_micros)
    return [
        *events,
        *letters,
        *heartbeats(MINUTE // 6),
        *folded(events),
        *beside([event.event_id for event in largest[:3]]),
    ]


def in_gap(event: Liquidation) -> bool:
    return event.exchange == "okx" and GAP[0] <= event.received_time // 1000 < GAP[1]


def heartbeats(every_ms: int) -> list[Heartbeat]:
    return [
        Heartbeat(exchange, channel, "tokyo", time, "down" if silent(exchange, time) else "up", 1, time, -3)
        for time in range(BEGIN, END + MINUTE, every_ms)
        for exchange, channel in CHANNELS
    ]


def silent(exchange: str, time: int) -> bool:
    return exchange == "okx" and GAP[0] < time <= GAP[1]


def silent_minute(start: int) -> bool:
    return GAP[0] <= start < GAP[1]


def folded(events: list[Liquidation]) -> list[Record]:
    log = sorted([(event.received_time // 1000, 1, event) for event in events], key=lambda entry: entry[0])
    said = [(one.time, 0, one) for one in heartbeats(1_000)]
    state, parameters = PartitionState(), WindowParameters(5_000, 600_000, 30_000)
    rows, statements = [], []
    for _, _, record in sorted([*log, *said], key=lambda entry: entry[:2]):
        if isinstance(record, Heartbeat):
            statements.append((len(rows), record))
        else:
            rows.append(liquidation_row(record))
    fold(state, Batch(rows, statements, len(rows) + len(statements) - 1), parameters)
    checkpoint = take(state, parameters)
    return [*(Bar(**fields) for fields in checkpoint.bars), *checkpoint.coverage, *checkpoint.tallies]


def beside(largest: list[bytes]) -> list[Record]:
    """Return readings of a few contracts, and rows that a calm market would not have."""
    found: list[Record] = []
    for exchange, symbol, price in (("binance", "BTCUSDT", 98_000.0), ("bybit", "ETHUSDT", 3_900.0)):
        for start in range(BEGIN, END, MINUTE):
            moved = price * (1 + (start // MINUTE % 50) / 1_000)
            found.append(
                candle(
                    exchange=exchange,
                    symbol=symbol,
                    asset=symbol[:3],
                    start=start,
                    open=moved,
                    high=moved * 1.002,
                    low=moved * 0.998,
                    close=moved * 1.001,
                    received_time=start * 1_000,
                    closed=True,
                )
            )
            readings = {"open_interest_usd": 1e9, "funding_rate": 1e-4, "long_account_share": 0.6, "mark_price": moved}
            found += [
                metric(exchange=exchange, symbol=symbol, asset=symbol[:3], metric=name, value=value, time=start)
                for name, value in readings.items()
            ]
    quoted = {"asset": QUOTED, "symbol": f"{QUOTED}USDT", "instrument": f"{QUOTED}-USDT-PERP"}
    found += [
        *(
            liquidation(
                900_001, event_time=BEGIN + MINUTE, received_time=(BEGIN + 62_000) * 1_000, source=source, **quoted
            )
            for source in (live("tokyo", 1), live("paris", 1))
        ),
        bar(BEGIN + MINUTE, **quoted),
        heartbeat(BEGIN, collector="paris"),
        subscription(BEGIN, exchange="bybit", channel="linear"),
        silence(began=GAP[0], found=GAP[0] + 5 * MINUTE, exchange="okx", channel="SWAP"),
        dead_letter(received_time=(BEGIN + MINUTE) * 1_000),
        market_delay(BEGIN + MINUTE),
        market_delay(BEGIN + 2 * MINUTE, watermark=None, most_ms=9_000),
    ]
    found += findings(largest)
    found += [dead_letter(stage="sink", reason="refused", received_time=(BEGIN + MINUTE) * 1_000, sequence=9)]
    return found


def findings(largest: list[bytes]) -> list[Record]:
    """Return what rules would find, the first fires with these events: doublings, a surge, a cascade, and more."""
    ids = [identity("finding", number) for number in range(6)]
    fires = [
        anomaly(
            CRASH + level * MINUTE,
            anomaly_id=ids[level],
            contributors=largest,
            kind="rolling_threshold",
            position="both",
            interval_ms=0,
            level=level,
            threshold=1e6 * 2**level,
            value=1.5e6 * 2**level,
            baseline_mean=None,
            baseline_sd=None,
            baseline_n=0,
            details={"incident": 1.0, "next_threshold_usd": 2e6 * 2**level},
        )
        for level in range(2)
    ]
    surge = {"anomaly_id": ids[2], "contributors": [], "degraded": True}
    ended = {"state": "closed", "ended": CRASH + 5 * MINUTE}
    return [
        *fires,
        anomaly(CRASH, **surge),
        anomaly(CRASH, 2, updated=CRASH + MINUTE, **surge, **ended),
        anomaly(CRASH, anomaly_id=ids[3], kind="cascade", interval_ms=0, **ended),
        cascade(CRASH, cascade_id=ids[3], state="closed", end=CRASH + 5 * MINUTE),
        cascade(END - 2 * MINUTE, asset="ETH", position="short"),
        anomaly(CRASH, anomaly_id=ids[4], kind="ratio", measure="share", value=0.04, threshold=0.02),
        anomaly(
            GAP[0] + 5 * MINUTE,
            anomaly_id=ids[5],
            kind="silent_channel",
            scope="channel",
            asset="",
            exchange="okx",
            symbol="SWAP",
            position="both",
            measure="count",
            contributors=[],
        ),
    ]


def fill(client: Client) -> None:
    """Put the market into migrated tables."""
    store(client, Codec(), records())
    # Rows arrive when they are inserted; these are as if that had been while the market was.
    client.command(
        "INSERT INTO liquidations_data.arrivals"
        " SELECT fromUnixTimestamp64Milli({begin:Int64} + 60000 * intDiv(number, 100),"
        " 'UTC') AS start, count(), max(ms), quantilesTDigestState(0.5, 0.95)(ms)"
        " FROM (SELECT number, toInt64(number % 100 * 10) AS ms FROM numbers(500)) GROUP BY start",
        parameters={"begin": BEGIN},
    )
