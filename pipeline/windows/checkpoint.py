"""A partition's state as small keyed records, and back.

A checkpoint writes what changed since the one before it, so that its size is in proportion to the assets that changed:

| key | value |
|---|---|
| `partition` | offset, watermark, tally minute, channels, the list of id chunks, the parameters |
| `cell/START/ASSET` | the bars of one asset in one minute |
| `tally/ASSET` | what was counted of one asset in the present tally minute |
| `ids/OFFSET/PART` | the event ids first seen since the checkpoint before, by minute |

A value of None deletes its key. The records of one checkpoint must become visible together or not at all.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from typing import Any

import orjson

from pipeline.errors import OperationError
from pipeline.records import Coverage, Tally
from pipeline.windows.channels import Channel, Listening
from pipeline.windows.parameters import WindowParameters
from pipeline.windows.state import Counts, Minute, OpenBar, PartitionState

PARTITION_KEY = b"partition"
_VERSION = 1
_ID_BYTES = 16
# A record of this many ids stays well below the broker's usual limit of one megabyte.
_IDS_PER_CHUNK = 32_768
_CHUNK_MINUTE = struct.Struct(">qi")


class CheckpointError(OperationError):
    """Stored state cannot be used by this program with these parameters."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What leaves the fold at one moment: rows to publish, and the state records that make them final.

    `bars` are the fields of `Bar` records, as they go into the encoder.
    """

    bars: list[dict[str, object]]
    coverage: list[Coverage]
    tallies: list[Tally]
    cells: list[tuple[bytes, bytes | None]]
    offset: int


def take(state: PartitionState, parameters: WindowParameters) -> Checkpoint:
    """Return everything that changed since the last call, and mark it as taken."""
    bars = [bar.fields() for bar in state.changed_bars]
    cells: list[tuple[bytes, bytes | None]] = [*_bar_cells(state), *_tally_cells(state), *_id_cells(state)]
    cells.append((PARTITION_KEY, _partition_value(state, parameters)))
    for bar in state.changed_bars:
        bar.changed = False
    state.changed_bars = []
    state.changed_tallies = set()
    coverage, state.settled_coverage = state.settled_coverage, []
    tallies, state.settled_tallies = state.settled_tallies, []
    return Checkpoint(bars, coverage, tallies, cells, state.offset)


def restore(cells: Mapping[bytes, bytes], parameters: WindowParameters) -> PartitionState:
    """Return the state that the newest value of each key describes; an empty mapping is a new partition.

    Raises `CheckpointError` for state of another version of this program or made with other parameters: going on with
    it would make rows that depend on when the change was made.
    """
    state = PartitionState()
    if PARTITION_KEY not in cells:
        return state
    _restore_partition(state, orjson.loads(cells[PARTITION_KEY]), parameters)
    for key, value in sorted(cells.items()):
        kind, _, name = key.decode().partition("/")
        if kind == "cell":
            _restore_bars(state, name, orjson.loads(value), parameters)
        elif kind == "tally":
            _restore_tally(state, name, orjson.loads(value))
        elif kind == "ids":
            _restore_ids(state, value, parameters)
    return state


def _bar_cells(state: PartitionState) -> Iterator[tuple[bytes, bytes | None]]:
    for start, asset in sorted({(bar.start, bar.asset) for bar in state.changed_bars}):
        minute = state.minutes.get(start)
        if minute is not None:
            minute.written.add(asset)
            yield _cell_key(start, asset), orjson.dumps([_bar_values(bar) for bar in minute.by_asset[asset]])
    for start, asset in state.expired_cells:
        yield _cell_key(start, asset), None
    state.expired_cells = []


def _tally_cells(state: PartitionState) -> Iterator[tuple[bytes, bytes | None]]:
    by_asset: dict[str, dict[str, list[int]]] = {asset: {} for asset in sorted(state.changed_tallies)}
    for (asset, exchange), counts in state.tallies.items():
        if asset in by_asset:
            by_asset[asset][exchange] = [counts.events, counts.duplicates, counts.late, counts.too_late]
    for asset, by_exchange in by_asset.items():
        yield f"tally/{asset}".encode(), orjson.dumps([state.tally_minute, by_exchange])


def _id_cells(state: PartitionState) -> Iterator[tuple[bytes, bytes | None]]:
    for part, chunk in enumerate(_chunks(state)):
        state.id_chunks[state.offset, part] = max(start for start, _ in chunk)
        yield _ids_key(state.offset, part), b"".join(_ids_value(chunk))
    for offset, part in [key for key, newest in state.id_chunks.items() if newest not in state.minutes]:
        del state.id_chunks[offset, part]
        yield _ids_key(offset, part), None


def _chunks(state: PartitionState) -> Iterator[list[tuple[int, list[bytes]]]]:
    """Yield the fresh ids by minute, in pieces of at most `_IDS_PER_CHUNK`, and take them as written."""
    chunk: list[tuple[int, list[bytes]]] = []
    room = _IDS_PER_CHUNK
    for start, minute in sorted(state.minutes.items()):
        fresh, minute.fresh = minute.fresh, []
        while fresh:
            chunk.append((start, fresh[:room]))
            fresh, room = fresh[room:], room - len(chunk[-1][1])
            if room == 0:
                yield chunk
                chunk, room = [], _IDS_PER_CHUNK
    if chunk:
        yield chunk


def _partition_value(state: PartitionState, parameters: WindowParameters) -> bytes:
    channels = [
        [
            exchange,
            name,
            channel.covered_until,
            {collector: list(heard) for collector, heard in channel.collectors.items()},
            [[start, listening.alive_ms, listening.frames] for start, listening in channel.minutes.items()],
        ]
        for (exchange, name), channel in state.channels.items()
    ]
    return orjson.dumps(
        {
            "version": _VERSION,
            "parameters": astuple(parameters),
            "offset": state.offset,
            "watermark": state.watermark,
            "tally_minute": state.tally_minute,
            "channels": channels,
            "id_chunks": [[*key, newest] for key, newest in state.id_chunks.items()],
        }
    )


def _restore_partition(state: PartitionState, found: dict[str, Any], parameters: WindowParameters) -> None:
    if found["version"] != _VERSION:
        raise CheckpointError(f"the worker's state is of version {found['version']}, this program's is {_VERSION}")
    if tuple(found["parameters"]) != astuple(parameters):
        raise CheckpointError(
            f"the worker's state was made with lateness, correction and behind = {found['parameters']} ms, the settings"
            f" say {list(astuple(parameters))}; use the former, or another topic prefix"
        )
    state.offset, state.watermark = found["offset"], found["watermark"]
    state.tally_minute = found["tally_minute"]
    state.id_chunks = {(offset, part): newest for offset, part, newest in found["id_chunks"]}
    for exchange, name, covered_until, collectors, minutes in found["channels"]:
        state.channels[exchange, name] = Channel(
            collectors={collector: (time, up) for collector, (time, up) in collectors.items()},
            covered_until=covered_until,
            minutes={start: Listening(alive, frames) for start, alive, frames in minutes},
        )


def _minute(state: PartitionState, start: int, parameters: WindowParameters) -> Minute | None:
    if parameters.is_expired(start, state.watermark):
        return None
    minute = state.minutes.get(start)
    if minute is None:
        minute = state.minutes[start] = Minute(closed=parameters.is_closed(start, state.watermark))
    return minute


def _restore_bars(state: PartitionState, name: str, rows: Iterable[list[Any]], parameters: WindowParameters) -> None:
    start, _, asset = name.partition("/")
    minute = _minute(state, int(start), parameters)
    if minute is None:
        return
    minute.written.add(asset)
    for values in rows:
        minute.add(OpenBar(*values))


def _restore_tally(state: PartitionState, asset: str, found: tuple[int, dict[str, list[int]]]) -> None:
    tally_minute, by_exchange = found
    if tally_minute == state.tally_minute:
        for exchange, counts in by_exchange.items():
            state.tallies[asset, exchange] = Counts(*counts)


def _restore_ids(state: PartitionState, value: bytes, parameters: WindowParameters) -> None:
    position = 0
    while position < len(value):
        start, count = _CHUNK_MINUTE.unpack_from(value, position)
        position += _CHUNK_MINUTE.size
        end = position + count * _ID_BYTES
        minute = _minute(state, start, parameters)
        if minute is not None:
            minute.seen.update(value[at : at + _ID_BYTES] for at in range(position, end, _ID_BYTES))
        position = end


def _ids_value(chunk: list[tuple[int, list[bytes]]]) -> Iterator[bytes]:
    for start, ids in chunk:
        yield _CHUNK_MINUTE.pack(start, len(ids))
        yield from ids


def _cell_key(start: int, asset: str) -> bytes:
    return f"cell/{start}/{asset}".encode()


def _ids_key(offset: int, part: int) -> bytes:
    return f"ids/{offset}/{part}".encode()


def _bar_values(bar: OpenBar) -> list[object]:
    """Return the arguments of `OpenBar` in order, without the last one, `changed`."""
    return [
        bar.exchange,
        bar.symbol,
        bar.instrument,
        bar.asset,
        bar.start,
        bar.channel,
        bar.completeness,
        bar.price_low,
        bar.price_high,
        bar.long_micros,
        bar.short_micros,
        bar.long_count,
        bar.short_count,
        bar.largest_micros,
        bar.late_count,
        bar.alive_ms,
        bar.closed,
    ]
