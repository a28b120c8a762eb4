"""A week of a market of six contracts in calm and storm, as a log, for what is computed in the worker and in SQL."""

from __future__ import annotations

from random import Random

from event_logs import Record, heartbeat, liquidation, subscription
from unit.warehouse.rows import DAY

SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
DAYS = 7
CHANNELS = (("binance", "forceOrder"), ("bybit", "linear"), ("okx", "SWAP"))
# The contracts of Bybit are subscribed one by one.
CONTRACTS = (
    ("binance", "BTCUSDT", "BTC", "forceOrder"),
    ("binance", "ETHUSDT", "ETH", "forceOrder"),
    ("bybit", "BTCUSDT", "BTC", "linear"),
    ("bybit", "SOLUSDT", "SOL", "linear"),
    ("okx", "BTC-USDT-SWAP", "BTC", "SWAP"),
    ("okx", "SOL-USDT-SWAP", "SOL", "SWAP"),
)
# Hours of the week in which a channel is away, and in which a contract of Bybit is not subscribed.
AWAY = {("okx", "SWAP"): ((30.2, 31.9), (77.0, 77.4)), ("binance", "forceOrder"): ((50.5, 50.53), (100.0, 108.0))}
UNSUBSCRIBED = {"SOLUSDT": ((40.0, 43.5), (120.25, 120.4))}


def market_week() -> list[Record]:
    """A week in calm and storm; events are read within two seconds, and heartbeats come every ten."""
    rng = Random(11)
    log: list[tuple[int, int, Record]] = [
        (DAY, 0, subscription(DAY, contract)) for contract in CONTRACTS if contract[0] == "bybit"
    ]
    for symbol, spans in UNSUBSCRIBED.items():
        contract = next(one for one in CONTRACTS if one[1] == symbol)
        for span in spans:
            begin, end = (DAY + round(hour * HOUR) for hour in span)
            log += [(begin, 0, subscription(begin, contract, "down")), (end, 0, subscription(end, contract))]
    number = 0
    for minute in range(DAYS * 24 * 60):
        start = DAY + minute * MINUTE
        storm = rng.random() < 0.004
        for contract in CONTRACTS:
            exchange, symbol, _, channel = contract
            mean = 0.25 * (1 + minute % 1440 / 1440) * (rng.choice((20, 60)) if storm else 1)
            for _ in range(_poisson(rng, mean)):
                number += 1
                time = start + rng.randrange(MINUTE)
                gone = _is_in(AWAY.get((exchange, channel), ()), time)
                if gone and rng.random() < 0.9:
                    continue
                position, micros = rng.choice(("long", "long", "short")), round(rng.lognormvariate(8.5, 1.6) * 1e6)
                event = liquidation(number, time, contract, position, micros, completeness="full")
                log.append((time + rng.randrange(2_000), 1, event))
    for tick in range(DAYS * 24 * 60 * 6 + 12):
        time = DAY + tick * 10 * SECOND
        log += [(time, 2, heartbeat(time, channel)) for channel in CHANNELS if not _is_in(AWAY.get(channel, ()), time)]
    log.sort(key=lambda entry: entry[:2])
    return [record for _, _, record in log]


def _is_in(spans: tuple[tuple[float, float], ...], time: int) -> bool:
    return any(begin <= (time - DAY) / HOUR < end for begin, end in spans)


def _poisson(rng: Random, mean: float) -> int:
    count, left = 0, rng.expovariate(1.0)
    while left < mean:
        count += 1
        left += rng.expovariate(1.0)
    return count
