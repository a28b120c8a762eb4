"""A seeded stretch of liquidations for the benchmarks, and the bars that it must become.

The log has three parts. *Warm-up*: two minutes with two events per contract and minute, so that an engine can show
that it runs. *Main*: the records that are timed. *Closing*: one event per contract, two minutes after the last,
because engines that publish only closed windows close one when its key moves on. Between warm-up and main lie
`GAP_MINUTES` of event time: engines whose clock follows the wall while a key is quiet would otherwise call the first
main events late.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.codec import Codec
from pipeline.records import Heartbeat, Liquidation, Source, identity

EXCHANGES = ("binance", "bybit", "okx")
CHANNEL = "liquidations"
MINUTE_MS = 60_000
# 2025-10-10 20:00 UTC, a full minute.
START_MS = 1_760_126_400_000
WARM_UP_MINUTES = 2
GAP_MINUTES = 20
# Less than every engine's lateness of 5 s, so that no event is late anywhere.
DISORDER_MS = 1_500
LATENESS_MS = 5_000

# Exchange, symbol, start (ms).
BarKey = tuple[str, str, int]
# Micro-dollars of longs and of shorts, count of longs and of shorts, largest, lowest and highest price.
BarValue = tuple[int, int, int, int, int, float, float]


@dataclass(frozen=True, slots=True)
class Contract:
    """One contract of the simulated market."""

    exchange: str
    asset: str
    price: float

    @property
    def symbol(self) -> str:
        """Return the contract's name at its exchange."""
        return f"{self.asset}USDT"


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One record of the log: a liquidation with its key, or a heartbeat for every partition (`key` is None)."""

    key: bytes | None
    value: bytes


@dataclass(frozen=True, slots=True)
class Log:
    """What goes into the topic, and what must come out: the last value of each bar."""

    warm_up: Sequence[LogRecord]
    main: Sequence[LogRecord]
    warm_up_bars: dict[BarKey, BarValue]
    main_bars: dict[BarKey, BarValue]
    warm_up_liquidations: int
    main_liquidations: int


def contracts(count: int, listings: int = len(EXCHANGES), seed: int = 7) -> list[Contract]:
    """Return `count` contracts: each asset is listed on `listings` exchanges, the last one on what is left."""
    randomness = random.Random(seed)
    prices = [round(10 ** randomness.uniform(-2, 4.5), 4) for _ in range(-(-count // listings))]
    return [
        Contract(EXCHANGES[i % len(EXCHANGES)], f"A{i // listings:04d}", prices[i // listings]) for i in range(count)
    ]


def liquidation(contract: Contract, number: int, time_ms: int, randomness: random.Random) -> Liquidation:
    """Return event `number` of the log at `time_ms`: prices within 1 %, sizes with a long tail."""
    price = round(contract.price * randomness.uniform(0.99, 1.01), 6)
    notional_micros = int(randomness.lognormvariate(7.5, 1.6) * 1_000_000)
    return Liquidation(
        event_id=identity("bench", contract.exchange, contract.symbol, number),
        exchange=contract.exchange,
        symbol=contract.symbol,
        instrument=f"{contract.asset}-USDT-PERP",
        asset=contract.asset,
        quote="USDT",
        margin="linear",
        position="long" if randomness.random() < 0.7 else "short",
        price=price,
        price_kind="average_fill",
        order_price=round(price * 0.995, 6),
        quantity=round(notional_micros / 1e6 / price, 6),
        notional_micros=notional_micros,
        event_time=time_ms,
        event_time_kind="exchange",
        received_time=(time_ms + 20) * 1000,
        completeness="full",
        source=Source(CHANNEL, "bench-1", number, 0),
    )


def heartbeats(time_ms: int) -> Iterator[Heartbeat]:
    """Yield one heartbeat per exchange at `time_ms`."""
    for exchange in EXCHANGES:
        yield Heartbeat(exchange, CHANNEL, "bench", time_ms, "up", 10, time_ms * 1000)


def fold(bars: dict[BarKey, BarValue], event: Liquidation) -> None:
    """Add `event` to its one-minute bar, the plain way: this is what every engine is held against."""
    key = (event.exchange, event.symbol, event.event_time - event.event_time % MINUTE_MS)
    money, price = event.notional_micros, event.price
    before = bars.get(key, (0, 0, 0, 0, 0, price, price))
    long = event.position == "long"
    bars[key] = (
        before[0] + money * long,
        before[1] + money * (not long),
        before[2] + long,
        before[3] + (not long),
        max(before[4], money),
        min(before[5], price),
        max(before[6], price),
    )


def build_log(
    records: int, contract_count: int = 500, minutes: int = 15, listings: int = len(EXCHANGES), seed: int = 11
) -> Log:
    """Return a log of `records` liquidations, closing ones included, beside the warm-up and the heartbeats."""
    codec = Codec()
    randomness = random.Random(seed)
    market = contracts(contract_count, listings)
    number = 0

    def stretch(
        start_ms: int, end_ms: int, count: int, bars: dict[BarKey, BarValue], *, in_turn: bool
    ) -> Iterator[LogRecord]:
        """Yield `count` liquidations spread over the stretch, and heartbeats at each of its seconds."""
        nonlocal number
        second = start_ms
        for i in range(count):
            now = start_ms + (end_ms - start_ms) * i // count
            while second <= now:
                yield from (LogRecord(None, codec.encode(beat)) for beat in heartbeats(second))
                second += 1000
            contract = market[i % len(market)] if in_turn else randomness.choice(market)
            time_ms = max(start_ms, now - randomness.randrange(DISORDER_MS))
            event = liquidation(contract, number, time_ms, randomness)
            number += 1
            fold(bars, event)
            yield LogRecord(event.asset.encode(), codec.encode(event))

    warm_up_bars: dict[BarKey, BarValue] = {}
    warm_up = []
    for minute in range(WARM_UP_MINUTES):
        begin = START_MS + minute * MINUTE_MS
        # The last seconds stay empty, the first are the contract's own: every bar closes with the next minute's.
        warm_up += stretch(begin + 20_000, begin + 55_000, 2 * contract_count, warm_up_bars, in_turn=True)
    main_start = START_MS + (WARM_UP_MINUTES + GAP_MINUTES) * MINUTE_MS
    main_end = main_start + minutes * MINUTE_MS
    main_bars: dict[BarKey, BarValue] = {}
    main = list(stretch(main_start, main_end, records - contract_count, main_bars, in_turn=False))
    main += stretch(main_end + MINUTE_MS, main_end + 2 * MINUTE_MS, contract_count, {}, in_turn=True)
    first_minute = {key: bar for key, bar in warm_up_bars.items() if key[2] == START_MS}
    return Log(warm_up, main, first_minute, main_bars, number - records, records)
