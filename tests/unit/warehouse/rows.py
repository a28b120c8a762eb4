"""Records for the warehouse's tests, and messages as the sink gets them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from clickhouse_connect.driver.client import Client

from pipeline.codec import Codec
from pipeline.records import (
    Anomaly,
    Bar,
    Candle,
    Cascade,
    Coverage,
    DeadLetter,
    Heartbeat,
    Liquidation,
    MarketDelay,
    MarketMetric,
    Record,
    Silence,
    Source,
    Subscription,
    Tally,
    identity,
)
from pipeline.warehouse.grouping import Refusal, group, targets
from pipeline.warehouse.inserting import insert_block, insert_or_refuse

# 2024-12-05 00:00 UTC
DAY = 1_733_356_800_000
MINUTE = 60_000


@dataclass(frozen=True, slots=True)
class Kept:
    """A message as it would come from the broker."""

    kept: bytes | None
    at: int = 0
    on: str = "events"

    def topic(self) -> str:
        return self.on

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self.at

    def timestamp(self) -> tuple[int, int]:
        return 2, DAY

    def value(self) -> bytes | None:
        return self.kept


def liquidation(number: int = 0, **changes: Any) -> Liquidation:
    event_time = DAY + number * 1_000
    fields: dict[str, Any] = {
        "event_id": identity("test", number),
        "exchange": "binance",
        "symbol": "BTCUSDT",
        "instrument": "BTC-USDT-PERP",
        "asset": "BTC",
        "quote": "USDT",
        "margin": "linear",
        "position": "long" if number % 2 else "short",
        "price": 98_000.5 + number,
        "price_kind": "average_fill",
        "order_price": 98_001.5 if number % 3 else None,
        "quantity": 0.125,
        "notional_micros": 12_250_062_500 + number,
        "event_time": event_time,
        "event_time_kind": "exchange",
        "received_time": (event_time + 40) * 1_000 + 7,
        "completeness": "largest_per_second",
        "source": Source("forceOrder", "tokyo-1", number, 0),
    }
    return Liquidation(**fields | changes)


def bar(start: int = DAY, revision: int = 3, **changes: Any) -> Bar:
    fields: dict[str, Any] = {
        "exchange": "binance",
        "symbol": "BTCUSDT",
        "instrument": "BTC-USDT-PERP",
        "asset": "BTC",
        "start": start,
        "long_micros": 5_000_000,
        "short_micros": 0,
        "long_count": revision // 2,
        "short_count": 0,
        "largest_micros": 5_000_000,
        "price_low": 98_000.0,
        "price_high": 98_010.0,
        "late_count": 0,
        "closed": bool(revision % 2),
        "coverage": 1.0,
        "completeness": "largest_per_second",
        "revision": revision,
    }
    return Bar(**fields | changes)


def coverage(start: int = DAY, alive_ms: int = 60_000, **changes: Any) -> Coverage:
    fields: dict[str, Any] = {
        "exchange": "binance",
        "channel": "forceOrder",
        "start": start,
        "alive_ms": alive_ms,
        "frames": 12,
        "revision": 1,
    }
    return Coverage(**fields | changes)


def heartbeat(time: int = DAY, **changes: Any) -> Heartbeat:
    fields: dict[str, Any] = {
        "exchange": "binance",
        "channel": "forceOrder",
        "collector": "tokyo",
        "time": time,
        "state": "up",
        "frames": 1,
        "last_frame_time": time * 1_000 - 5,
        "clock_offset_ms": None,
    }
    return Heartbeat(**fields | changes)


def subscription(time: int = DAY, **changes: Any) -> Subscription:
    fields: dict[str, Any] = {
        "exchange": "bybit",
        "channel": "linear",
        "symbol": "BTCUSDT",
        "asset": "BTC",
        "collector": "tokyo",
        "time": time,
        "state": "up",
    }
    return Subscription(**fields | changes)


def silence(began: int = DAY, **changes: Any) -> Silence:
    fields: dict[str, Any] = {
        "exchange": "binance",
        "channel": "forceOrder",
        "began": began,
        "found": began + 200_000,
        "ended": None,
        "expected": 41.5,
        "probability": 1e-9,
        "revision": 1,
    }
    return Silence(**fields | changes)


def anomaly(started: int = DAY, revision: int = 1, **changes: Any) -> Anomaly:
    fields: dict[str, Any] = {
        "anomaly_id": identity("anomaly", started),
        "kind": "surge",
        "scope": "asset",
        "asset": "BTC",
        "exchange": "",
        "symbol": "",
        "position": "long",
        "measure": "usd",
        "interval_ms": MINUTE,
        "state": "open",
        "level": 0,
        "value": 1_250_000.5,
        "threshold": 900_000.0,
        "baseline_mean": 100_000.0,
        "baseline_sd": 320_000.0,
        "baseline_n": 30,
        "coverage": 0.995,
        "completeness": "sampled",
        "degraded": False,
        "started": started,
        "updated": started + 30_000,
        "ended": None,
        "details": {"events": 12.0},
        "contributors": [identity("event", 1), identity("event", 2)],
        "rules_hash": "0123456789abcdef",
        "revision": revision,
    }
    return Anomaly(**fields | changes)


def cascade(begin: int = DAY, revision: int = 1, **changes: Any) -> Cascade:
    fields: dict[str, Any] = {
        "cascade_id": identity("cascade", begin),
        "asset": "BTC",
        "position": "long",
        "state": "open",
        "begin": begin,
        "peak": begin + 4_000,
        "end": None,
        "waves": 2,
        "long_micros": 7_000_000_500_000,
        "short_micros": 250_000_000,
        "long_count": 112,
        "short_count": 3,
        "peak_second_micros": 900_000_000_000,
        "exchanges": ["okx", "bybit"],
        "price_before": 98_000.5,
        "price_extreme": 96_100.0,
        "coverage": 0.995,
        "completeness": "sampled",
        "degraded": True,
        "rules_hash": "0123456789abcdef",
        "revision": revision,
    }
    return Cascade(**fields | changes)


def market_delay(start: int = DAY, revision: int = 1, **changes: Any) -> MarketDelay:
    fields: dict[str, Any] = {
        "start": start,
        "newest": start + 5_000,
        "watermark": start + 4_000,
        "most_ms": 2_500,
        "held_by": 3,
        "waiting": 7,
        "revision": revision,
    }
    return MarketDelay(**fields | changes)


def live(collector: str, number: int = 0) -> Source:
    """Return where an event was read by a collector."""
    return Source("forceOrder", f"{collector}/forceOrder/{DAY}-0", number, 0)


def candle(start: int = DAY, **changes: Any) -> Candle:
    fields: dict[str, Any] = {
        "exchange": "binance",
        "symbol": "BTCUSDT",
        "instrument": "BTC-USDT-PERP",
        "asset": "BTC",
        "start": start,
        "open": 1.0,
        "high": 4.0,
        "low": 0.5,
        "close": 2.0,
        "volume": 10.0,
        "volume_micros": 15_500_000,
        "taker_buy_micros": None,
        "trades": 7,
        "closed": False,
        "received_time": (start + 1_000) * 1_000,
    }
    return Candle(**fields | changes)


def metric(time: int = DAY, **changes: Any) -> MarketMetric:
    fields: dict[str, Any] = {
        "exchange": "binance",
        "symbol": "BTCUSDT",
        "instrument": "BTC-USDT-PERP",
        "asset": "BTC",
        "metric": "mark_price",
        "value": 98_000.25,
        "time": time,
        "received_time": (time + 1_000) * 1_000,
    }
    return MarketMetric(**fields | changes)


def tally(start: int = DAY, events: int = 5, duplicates: int = 1, **changes: Any) -> Tally:
    fields: dict[str, Any] = {
        "exchange": "binance",
        "asset": "BTC",
        "start": start,
        "events": events,
        "duplicates": duplicates,
        "late": 1,
        "too_late": 0,
        "revision": events + duplicates,
    }
    return Tally(**fields | changes)


def dead_letter(number: int = 0, payload: bytes = b'{"e":"forceOrder"}', **changes: Any) -> DeadLetter:
    fields: dict[str, Any] = {
        "dead_letter_id": identity("dead", number),
        "stage": "mapping",
        "reason": "bad_number",
        "message": "price is nan",
        "exchange": "binance",
        "channel": "forceOrder",
        "connection": "tokyo-1",
        "sequence": number,
        "index": 0,
        "received_time": DAY * 1_000 + number,
        "payload": payload,
    }
    return DeadLetter(**fields | changes)


def store(client: Client, codec: Codec, records: Iterable[Record | bytes]) -> list[Refusal]:
    """Insert records, or values as they are on a topic, the way the sink does; return what was refused."""
    values = [record if isinstance(record, bytes) else codec.encode(record) for record in records]
    grouped = group([Kept(value, at) for at, value in enumerate(values)], targets(codec))
    refused = list(grouped.refused)
    for block in grouped.blocks:
        refused += insert_or_refuse(block, lambda part: insert_block(client, part), codec)
    return refused
