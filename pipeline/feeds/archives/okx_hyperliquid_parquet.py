"""A Parquet table of OKX and Hyperliquid liquidations: timestamp, venue, coin, side, size_usd, price.

- OKX: from the public REST history. `side` is the order's (sell closes a long), `price` the bankruptcy price.
  `size_usd` is contracts x price without the contract value, whatever it is called; contracts = size_usd / price. The
  coins' contracts are the USDT swaps (`BTC-USDT-SWAP`). `posSide` was not kept.
- Hyperliquid: `side` is `S` in every row whatever the market did, so the position is not known: refused.

There is no receive clock: `received_time` is the time of the event. A row's frame holds it as JSON, the timestamp in µs
since 1970.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl

from pipeline.feeds import okx
from pipeline.feeds.archives.lines import Origin, row_frames
from pipeline.feeds.feed import Archive, Instruments, Mapped
from pipeline.feeds.numbers import choice, positive, shown, word
from pipeline.feeds.rows import json_of, map_rows, object_of
from pipeline.records import Frame, Liquidation, RefusedError, check_time_ms

NAME: Final = "okx_hyperliquid_parquet"
COLUMNS: Final = {"timestamp", "venue", "coin", "side", "size_usd", "price"}
_MAGIC: Final = b"PAR1"
_HYPERLIQUID: Final = "hyperliquid"
# OKX sizes have at most 8 places; the quotient of two doubles is off in the sixteenth.
_SMALLEST: Final = Decimal("1e-8")


def _recognise(path: Path, head: bytes) -> bool:
    """Tell by the columns, which a Parquet file keeps at its end."""
    if not head.startswith(_MAGIC):
        return False
    try:
        return set(pl.read_parquet_schema(path)) == COLUMNS
    except (OSError, pl.exceptions.PolarsError):
        return False


def _frames(path: Path, chunks: Iterable[bytes]) -> Iterator[Frame]:
    try:
        table = pl.read_parquet(BytesIO(b"".join(chunks)))
        table = table.with_columns(pl.col("timestamp").dt.epoch("us"))
    except pl.exceptions.PolarsError as error:
        raise RefusedError("bad_archive", f"not a table of {NAME}: {error}") from error
    rows = (orjson.dumps(row) for row in table.iter_rows(named=True))
    return row_frames(ARCHIVE.channel, path, rows, _origin)


def _origin(row: bytes) -> Origin:
    fields = object_of("row", json_of(row))
    return word("venue", fields.get("venue")), _time_us(fields)


def _map(frame: Frame, instruments: Instruments) -> Iterator[Mapped]:
    def event_of(index: int, row: dict[str, Any]) -> Liquidation:
        venue = word("venue", row.get("venue"))
        if venue == _HYPERLIQUID:
            raise RefusedError(
                "unknown_position", f"side is {shown(row.get('side'))} in all rows of Hyperliquid, long or short"
            )
        if venue != okx.FEED.exchange:
            raise RefusedError("unknown_exchange", f"no rule for rows of {shown(venue)} in this format")
        return okx.liquidation_of(frame, index, _okx_row(row), instruments)

    return map_rows(frame, lambda payload: (object_of("row", json_of(payload)),), event_of)


def _okx_row(row: dict[str, Any]) -> okx.LiquidationOrder:
    order = word("side", row.get("side"))
    price = positive("price", row.get("price"))
    contracts = (positive("size_usd", row.get("size_usd")) / price).quantize(_SMALLEST)
    return okx.LiquidationOrder(
        symbol=f"{word('coin', row.get('coin'))}-USDT-SWAP",
        position_word="",
        order=order,
        position=choice("side", order, okx.CLOSES),
        contracts=positive("contracts", str(contracts)),
        price=price,
        event_time=_time_us(row) // 1000,
    )


def _time_us(row: dict[str, Any]) -> int:
    timestamp = row.get("timestamp")
    if not isinstance(timestamp, int) or isinstance(timestamp, bool):
        raise RefusedError("bad_time", f"timestamp is {shown(timestamp)}, not µs since 1970")
    check_time_ms("timestamp", timestamp // 1000)
    return timestamp


ARCHIVE = Archive(NAME, _recognise, _frames, _map)
