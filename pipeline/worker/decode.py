"""The bytes of a batch become what the fold reads.

The bodies of all liquidations in a batch are joined into one Avro block and decoded in one call, which is several times
faster than one by one. A damaged body would shift all that follow it, and a block does not say where its records
end: so a sentinel record closes each block, and only if it comes out whole is the block trusted. Otherwise the records
are read one by one, and the damaged ones are told by name.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import polars as pl

from pipeline.blocks import read_block
from pipeline.codec import HEADER_BYTES, Codec, Schema
from pipeline.records import (
    Candle,
    DeadLetter,
    Heartbeat,
    Liquidation,
    Record,
    RefusedError,
    Source,
    Subscription,
    dead_letter_of_record,
)
from pipeline.windows.fold import Batch, CandleRow, LiquidationRow, candle_row, liquidation_row
from pipeline.worker.partition_fold import LogRecord
from pipeline.worker.shared_names import SharedNames

_SENTINEL = Liquidation(
    event_id=b"\xff" * 16,
    exchange="sentinel",
    symbol="S",
    instrument="S",
    asset="S",
    quote="S",
    margin="quanto",
    position="short",
    price=1.5,
    price_kind="unknown",
    order_price=2.5,
    quantity=3.5,
    notional_micros=4_611_686_018_427_387_904,
    event_time=1,
    event_time_kind="received",
    received_time=2,
    completeness="unknown",
    source=Source("sentinel", "sentinel", 4_611_686_018_427_387_904, 1_073_741_824),
)
_VALUES = ["event_id", "price", "notional_micros", "event_time", "received_time"]
_NAMES = ["exchange", "symbol", "instrument", "asset", "position", "event_time_kind", "completeness"]
_COLUMNS = [*_VALUES, *_NAMES, "source"]
_CANDLE_COLUMNS = [*CandleRow._fields, "closed"]
# Events that the fold does not read; the sink copies them.
_PASSED_OVER = frozenset({"market_metric"})
_T = TypeVar("_T")
_HEARTBEAT_SENTINEL = Heartbeat("sentinel", "sentinel", "sentinel", 4_611_686_018_427_387_904, "down", 1, 2)
_SUBSCRIPTION_SENTINEL = Subscription("sentinel", "sentinel", "S", "S", "sentinel", 4_611_686_018_427_387_904, "down")
_CANDLE_SENTINEL = Candle(
    exchange="sentinel",
    symbol="S",
    instrument="S",
    asset="S",
    start=4_611_686_018_427_387_904,
    open=1.5,
    high=2.5,
    low=0.5,
    close=1.25,
    volume=3.5,
    volume_micros=4_611_686_018_427_387_903,
    taker_buy_micros=1,
    trades=2,
    closed=True,
    received_time=3,
)
_SENTINELS: dict[str, Record] = {
    "liquidation": _SENTINEL,
    "candle": _CANDLE_SENTINEL,
    "heartbeat": _HEARTBEAT_SENTINEL,
    "subscription": _SUBSCRIPTION_SENTINEL,
}
Statement = Heartbeat | Subscription | CandleRow


@dataclass(frozen=True, slots=True)
class Decoded:
    """A batch for the fold, and what in it could not be read."""

    batch: Batch
    dead_letters: list[DeadLetter]


class Decoder:
    """Decode batches of one topic's records."""

    def __init__(self, codec: Codec, topic: str) -> None:
        self._codec = codec
        self._topic = topic
        self._names = SharedNames()
        self._sentinels = {
            schema.key: codec.body_of(_SENTINELS[schema.name], schema)
            for schema in codec.schemas.values()
            if schema.name in _SENTINELS
        }

    def decode(self, partition: int, records: Sequence[LogRecord]) -> Decoded:
        """Return the batch in `records`, which must not be empty; other events than the fold's are passed over."""
        values = [record.value or b"" for record in records]
        by_header: dict[bytes, list[int]] = {}
        for position, value in enumerate(values):
            header = value[:HEADER_BYTES]
            if header in by_header:
                by_header[header].append(position)
            else:
                by_header[header] = [position]

        liquidations: _Found[LiquidationRow] = _Found([], [])
        statements: _Found[Statement] = _Found([], [])
        dead_letters: list[DeadLetter] = []
        readers = {"heartbeat": self._heartbeats, "subscription": self._subscriptions, "candle": self._candles}
        for header, positions in by_header.items():
            schema = self._schema(header)
            name = None if schema is None else schema.name
            of_schema = values if len(by_header) == 1 else [values[position] for position in positions]
            if schema is not None and name == "liquidation" and (rows := self._liquidations(schema, of_schema)):
                liquidations.add(positions, rows)
            elif schema is not None and name in readers and (found := readers[name](schema, of_schema)):
                told = [(place, one) for place, one in zip(positions, found, strict=True) if one is not None]
                statements.add([place for place, _ in told], [one for _, one in told])
            elif name not in _PASSED_OVER:
                for position in positions:
                    letter = self._one(partition, records[position], position, liquidations, statements)
                    if letter is not None:
                        dead_letters.append(letter)
        rows = liquidations.in_order()
        said = statements.in_order()
        places = _places(statements.positions, liquidations.positions)
        return Decoded(
            Batch(rows, list(zip(places, said, strict=True)), records[-1].offset),
            dead_letters,
        )

    def _schema(self, header: bytes) -> Schema | None:
        if len(header) < HEADER_BYTES or header[0] != 0:
            return None
        return self._codec.by_id.get(int.from_bytes(header[1:], "big"))

    def _block(self, schema: Schema, values: Sequence[bytes], columns: list[str] | None) -> pl.DataFrame | None:
        """Return the rows of `values` and of the sentinel behind them, or None if the block does not come out whole."""
        return read_block(schema, [*(value[HEADER_BYTES:] for value in values), self._sentinels[schema.key]], columns)

    def _liquidations(self, schema: Schema, values: Sequence[bytes]) -> list[LiquidationRow] | None:
        block = self._block(schema, values, _COLUMNS)
        if block is None:
            return None
        source = block["source"].struct
        last_source = source.field("index")[-1], source.field("sequence")[-1]
        # A block that did not come out whole has no names to learn.
        if last_source != (_SENTINEL.source.index, _SENTINEL.source.sequence):
            return None
        event_ids, prices, micros, times, received = (block[name].to_list() for name in _VALUES)
        names = [*(block[name] for name in _NAMES), source.field("channel")]
        *contract, positions, time_kinds, kinds, channels = self._names.columns(names)
        facts = event_ids, *contract, positions, prices, micros, times, time_kinds, received, kinds, channels
        rows: list[LiquidationRow] = list(zip(*facts, strict=True))
        return rows if rows.pop() == liquidation_row(_SENTINEL) else None

    def _heartbeats(self, schema: Schema, values: Sequence[bytes]) -> Sequence[Statement | None] | None:
        block = self._block(schema, values, None)
        if block is None:
            return None
        names = ("exchange", "channel", "collector", "time", "state", "frames", "last_frame_time")
        beats: list[Statement] = [
            Heartbeat(*row) for row in zip(*(block[name].to_list() for name in names), strict=True)
        ]
        return beats if beats.pop() == _HEARTBEAT_SENTINEL else None

    def _subscriptions(self, schema: Schema, values: Sequence[bytes]) -> Sequence[Statement | None] | None:
        block = self._block(schema, values, None)
        if block is None:
            return None
        names = ("exchange", "channel", "symbol", "asset", "collector", "time", "state")
        said: list[Statement] = [
            Subscription(*row) for row in zip(*(block[name].to_list() for name in names), strict=True)
        ]
        return said if said.pop() == _SUBSCRIPTION_SENTINEL else None

    def _candles(self, schema: Schema, values: Sequence[bytes]) -> Sequence[Statement | None] | None:
        """Return the candles that are closed, and None in the place of those that are not."""
        block = self._block(schema, values, _CANDLE_COLUMNS)
        if block is None:
            return None
        *columns, closed = (block[name].to_list() for name in _CANDLE_COLUMNS)
        rows = [CandleRow(*row) if is_closed else None for is_closed, *row in zip(closed, *columns, strict=True)]
        return rows if rows.pop() == candle_row(_CANDLE_SENTINEL) else None

    def _one(
        self,
        partition: int,
        record: LogRecord,
        position: int,
        liquidations: _Found[LiquidationRow],
        statements: _Found[Statement],
    ) -> DeadLetter | None:
        value = record.value or b""
        try:
            found = self._codec.decode(value)
            if isinstance(found, Liquidation):
                liquidations.add([position], [liquidation_row(found)])
            elif isinstance(found, Heartbeat | Subscription):
                statements.add([position], [found])
            elif isinstance(found, Candle):
                if found.closed:
                    statements.add([position], [candle_row(found)])
            else:
                raise RefusedError("wrong_record_type", f"a {type(found).__name__} is no record of {self._topic}")
        except RefusedError as error:
            return dead_letter_of_record(
                "worker", self._topic, partition, record.offset, record.timestamp, value, error.reason, str(error)
            )
        return None


@dataclass(slots=True)
class _Found(Generic[_T]):
    """Records of one kind, with their positions in the batch."""

    positions: list[int]
    found: list[_T]
    sorted: bool = True

    def add(self, positions: list[int], found: list[_T]) -> None:
        if not positions:
            return
        if not self.positions:
            self.positions, self.found = positions, found
        else:
            self.sorted = self.sorted and positions[0] > self.positions[-1]
            self.positions = self.positions + positions
            self.found = self.found + found

    def in_order(self) -> list[_T]:
        if not self.sorted:
            order = sorted(range(len(self.positions)), key=self.positions.__getitem__)
            self.positions = [self.positions[at] for at in order]
            self.found = [self.found[at] for at in order]
            self.sorted = True
        return self.found


def _places(statements: list[int], liquidations: list[int]) -> list[int]:
    """Return for each statement's position how many of the liquidations' positions come before it; both rise."""
    return [bisect_left(liquidations, position) for position in statements]
