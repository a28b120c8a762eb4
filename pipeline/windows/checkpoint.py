"""A partition's state as small keyed records, and back.

A checkpoint writes what changed since the one before it, so that its size is in proportion to the assets that changed:

| key | value |
|---|---|
| `partition` | offset, watermark, tally minute, channels, the list of id chunks, the parameters |
| `habits` | what each channel usually brings: changes with every slot, not with every batch |
| `contract/EXCHANGE/CHANNEL/SYMBOL` | when a contract was subscribed, and by whom |
| `cell/START/ASSET` | the bars of one asset in one minute |
| `tally/ASSET` | what was counted of one asset in the present tally minute |
| `ids/OFFSET/PART` | the event ids first seen since the checkpoint before, by minute |

Cells whose keys begin with `rules/` are those of the fold's observer, and pass through here unread.

A value of None deletes its key. The records of one checkpoint must become visible together or not at all.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, fields
from typing import Any

import orjson

from pipeline.errors import OperationError
from pipeline.records import Coverage, Found, Pulse, Silence, Tally
from pipeline.windows.channels import Channel, LastData, Listening, Slot
from pipeline.windows.fold import Cell, Observer
from pipeline.windows.parameters import WindowParameters
from pipeline.windows.silence import ChannelKey, Habit
from pipeline.windows.spans import Span
from pipeline.windows.state import Counts, Minute, OpenBar, PartitionState
from pipeline.windows.subscriptions import Contract

PARTITION_KEY = b"partition"
_HABITS_KEY = b"habits"
# State of older versions is gone on with. The first knew neither contracts nor silences; the second looked for silences
# by another statistic, so that its parameters of it are not compared, and what it summed up is taken over.
_VERSION = 3
_OLDER_VERSIONS = (1, 2)
_OLDER_PARAMETERS = 3
_OLDER_HABIT_SUMS = 7
_ID_BYTES = 16
# A record of this many ids stays well below the broker's usual limit of one megabyte.
_IDS_PER_CHUNK = 32_768
_CHUNK_MINUTE = struct.Struct(">qi")


class CheckpointError(OperationError):
    """Stored state cannot be used by this program with these parameters."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What leaves the fold at one moment: rows to publish, and the state records that make them final.

    `bars` are the fields of `Bar` records, as they go into the encoder; `found` and `pulses` are what
    the fold's observer says.
    """

    bars: list[dict[str, object]]
    coverage: list[Coverage]
    silences: list[Silence]
    tallies: list[Tally]
    found: list[Found]
    pulses: list[Pulse]
    cells: list[Cell]
    offset: int


def take(state: PartitionState, parameters: WindowParameters, observer: Observer | None = None) -> Checkpoint:
    """Return everything that changed since the last call, and mark it as taken."""
    bars = [bar.fields() for bar in state.changed_bars]
    found, pulses, observed = ([], [], []) if observer is None else observer.take(state.offset)
    cells: list[Cell] = [
        *observed,
        *_bar_cells(state),
        *_tally_cells(state),
        *_id_cells(state),
        *_contract_cells(state),
        *_habit_cells(state),
    ]
    cells.append((PARTITION_KEY, _partition_value(state, parameters)))
    for bar in state.changed_bars:
        bar.changed = False
    state.changed_bars = []
    state.changed_tallies = set()
    coverage, state.settled_coverage = state.settled_coverage, []
    silences, state.settled_silences = state.settled_silences, []
    tallies, state.settled_tallies = state.settled_tallies, []
    return Checkpoint(bars, coverage, silences, tallies, found, pulses, cells, state.offset)


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
        elif kind == "contract":
            _restore_contract(state, orjson.loads(value))
        elif key == _HABITS_KEY:
            _restore_habits(state, orjson.loads(value))
    return state


def _bar_cells(state: PartitionState) -> Iterator[Cell]:
    for start, asset in sorted({(bar.start, bar.asset) for bar in state.changed_bars}):
        minute = state.minutes.get(start)
        if minute is not None:
            minute.written.add(asset)
            yield _cell_key(start, asset), orjson.dumps([_bar_values(bar) for bar in minute.by_asset[asset]])
    for start, asset in state.expired_cells:
        yield _cell_key(start, asset), None
    state.expired_cells = []


def _tally_cells(state: PartitionState) -> Iterator[Cell]:
    by_asset: dict[str, dict[str, list[int]]] = {asset: {} for asset in sorted(state.changed_tallies)}
    for (asset, exchange), counts in state.tallies.items():
        if asset in by_asset:
            by_asset[asset][exchange] = [counts.events, counts.duplicates, counts.late, counts.too_late]
    for asset, by_exchange in by_asset.items():
        yield f"tally/{asset}".encode(), orjson.dumps([state.tally_minute, by_exchange])


def _id_cells(state: PartitionState) -> Iterator[Cell]:
    for part, chunk in enumerate(_chunks(state)):
        state.id_chunks[state.offset, part] = max(start for start, _ in chunk)
        yield _ids_key(state.offset, part), b"".join(_ids_value(chunk))
    for offset, part in [key for key, newest in state.id_chunks.items() if newest not in state.minutes]:
        del state.id_chunks[offset, part]
        yield _ids_key(offset, part), None


def _contract_cells(state: PartitionState) -> Iterator[Cell]:
    for (exchange, channel), symbol in sorted(state.changed_contracts):
        contract = state.contracts[exchange, channel].get(symbol)
        cell = f"contract/{exchange}/{channel}/{symbol}".encode()
        if contract is None:
            yield cell, None
        else:
            yield cell, orjson.dumps([exchange, channel, symbol, list(contract.stored())])
    state.changed_contracts = set()


def _habit_cells(state: PartitionState) -> Iterator[Cell]:
    if state.habits_changed:
        state.habits_changed = False
        yield (
            _HABITS_KEY,
            orjson.dumps([[*key, astuple(channel.habit)] for key, channel in sorted(state.channels.items())]),
        )


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
    channels = [_channel_values(key, channel) for key, channel in state.channels.items()]
    return orjson.dumps(
        {
            "version": _VERSION,
            "parameters": astuple(parameters),
            "offset": state.offset,
            "watermark": state.watermark,
            "tally_minute": state.tally_minute,
            "judged_before": state.judged_before,
            "channels": channels,
            "by_contract": list(state.contracts),
            "id_chunks": [[*key, newest] for key, newest in state.id_chunks.items()],
        }
    )


def unsettled_tallies(cells: Mapping[bytes, bytes]) -> Iterator[Tally]:
    """Yield what was counted since the last tallies were said: the minute that the watermark has not left yet."""
    if PARTITION_KEY not in cells:
        return
    present = orjson.loads(cells[PARTITION_KEY])["tally_minute"]
    for key, value in sorted(cells.items()):
        kind, _, asset = key.decode().partition("/")
        if kind != "tally":
            continue
        minute, by_exchange = orjson.loads(value)
        if minute == present:
            for exchange, counts in by_exchange.items():
                yield Counts(*counts).tally(exchange, asset, minute)


def _restore_partition(state: PartitionState, found: dict[str, Any], parameters: WindowParameters) -> None:
    is_older = found["version"] in _OLDER_VERSIONS
    if not is_older and found["version"] != _VERSION:
        raise CheckpointError(f"the worker's state is of version {found['version']}, this program's is {_VERSION}")
    compared = slice(_OLDER_PARAMETERS if is_older else None)
    wanted = astuple(parameters)[compared]
    if tuple(found["parameters"])[compared] != wanted:
        names = ", ".join(field.name for field in fields(parameters))
        raise CheckpointError(
            f"the worker's state was made with {names} = {found['parameters']}, the settings say {list(wanted)}; use"
            " the former, or another topic prefix"
        )
    state.offset, state.watermark = found["offset"], found["watermark"]
    state.tally_minute = found["tally_minute"]
    state.id_chunks = {(offset, part): newest for offset, part, newest in found["id_chunks"]}
    state.judged_before = found.get("judged_before", 0)
    for exchange, name, *values in found["channels"]:
        state.channels[exchange, name] = _channel(*values)
    for exchange, name in found.get("by_contract", ()):
        state.contracts[exchange, name] = {}


def _channel_values(key: ChannelKey, channel: Channel) -> list[object]:
    last = channel.last_data
    return [
        *key,
        channel.resumed,
        channel.collectors,
        [[start, listening.alive_ms, listening.frames] for start, listening in channel.minutes.items()],
        channel.spans,
        [[start, slot.alive_ms, slot.frames] for start, slot in channel.slots.items()],
        [last.time, last.alive_ms, last.frames, last.settled],
        None if channel.silence is None else astuple(channel.silence),
    ]


def _channel(
    resumed: int,
    collectors: dict[str, tuple[int, bool]],
    minutes: Iterable[tuple[int, int, int]],
    spans: Mapping[str, Iterable[Span]] | None = None,
    slots: Iterable[tuple[int, int, dict[str, int]]] = (),
    last_data: tuple[int, int, int, Iterable[Span]] = (0, 0, 0, ()),
    silence: tuple[Any, ...] | None = None,
) -> Channel:
    time, alive_ms, frames, settled = last_data
    channel = Channel(
        collectors={collector: (time, up) for collector, (time, up) in collectors.items()},
        resumed=resumed,
        minutes={start: Listening(alive, frames) for start, alive, frames in minutes},
        spans={collector: _spans(found) for collector, found in (spans or {}).items()},
        slots={start: Slot(alive, frames) for start, alive, frames in slots},
        last_data=LastData(time, alive_ms, frames, _spans(settled)),
        silence=None if silence is None else Silence(*silence),
    )
    channel.reckon()
    return channel


def _spans(found: Iterable[Span]) -> list[Span]:
    return [(begin, end) for begin, end in found]


def _restore_contract(state: PartitionState, found: tuple[str, str, str, list[tuple[str, int, list[Span]]]]) -> None:
    exchange, channel, symbol, collectors = found
    state.contracts[exchange, channel][symbol] = Contract(
        {collector: said for collector, said, _ in collectors},
        {collector: _spans(spans) for collector, _, spans in collectors},
    )


def _restore_habits(state: PartitionState, found: Iterable[tuple[str, str, list[Any]]]) -> None:
    for exchange, name, sums in found:
        if len(sums) == _OLDER_HABIT_SUMS:
            slots, busy, messages, *_ = sums
            state.channels[exchange, name].habit = Habit(slots, busy, messages)
        else:
            state.channels[exchange, name].habit = Habit(*sums)


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
