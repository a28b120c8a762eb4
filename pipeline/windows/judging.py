"""Silences in the fold: slots of heartbeats are judged, and what was found is taken out of the coverage.

A slot is judged once the watermark has passed it: then every channel that is up has said what it brought in it.
"""

from __future__ import annotations

from pipeline.records import Coverage, Silence
from pipeline.windows.channels import Channel, Listening, alive_ms, alive_until, contract_alive_ms
from pipeline.windows.parameters import MINUTE_MS, WindowParameters
from pipeline.windows.silence import SLOT_MS, ChannelKey, judge
from pipeline.windows.state import PartitionState

# A channel that was up for less of a slot is not judged by it.
_LEAST_UP_MS = SLOT_MS // 2
# Minutes that were covered since the last data are kept as spans; breaks of at most this are not told apart.
_JOINED_MS = 3_600_000


def judge_slots(state: PartitionState, parameters: WindowParameters) -> None:
    """Judge the slots that the watermark has passed; of a silence that is found, settled minutes are revised."""
    before = state.watermark - state.watermark % SLOT_MS
    if before <= state.judged_before:
        return
    starts = {start for channel in state.channels.values() for start in channel.slots if start < before}
    for start in sorted(starts):
        brought: dict[ChannelKey, int] = {}
        for key, channel in state.channels.items():
            slot = channel.slots.pop(start, None)
            if slot is None:
                continue
            # Two collectors of one channel bring the same messages.
            messages = max(slot.frames.values(), default=0)
            if channel.silence is None and (messages or slot.alive_ms >= _LEAST_UP_MS):
                brought[key] = messages
        habits = {key: state.channels[key].habit for key in brought}
        for key in judge(habits, brought, parameters):
            channel = state.channels[key]
            # A channel can be ahead of the watermark, and have data again.
            if channel.last_data.time <= start + SLOT_MS:
                _begin(state, key, channel, start + SLOT_MS)
        state.habits_changed = True
    state.judged_before = before


def end_silence(state: PartitionState, channel: Channel, time: int) -> None:
    """Take note that data came again with the heartbeat at `time`: from there on the channel is covered."""
    silence = channel.silence
    if silence is None:
        return
    ended = max(time, silence.found)
    state.settled_silences.append(
        Silence(
            exchange=silence.exchange,
            channel=silence.channel,
            began=silence.began,
            found=silence.found,
            ended=ended,
            expected=silence.expected,
            probability=silence.probability,
            revision=2,
        )
    )
    channel.silence = None
    channel.habit.resume()
    state.habits_changed = True
    channel.resumed = ended


def settle(state: PartitionState, key: ChannelKey, channel: Channel, start: int) -> None:
    """Say the coverage of a minute that is closed, and of the contracts of which it is not true."""
    listening = channel.minutes[start]
    _say(state, key, start, listening, revision=1)
    if not listening.alive_ms:
        return
    last = channel.last_data
    if start == last.time - last.time % MINUTE_MS:
        last.alive_ms, last.frames = alive_until(channel, start, last.time), listening.frames
    settled = last.settled
    if settled and start - settled[-1][1] <= _JOINED_MS:
        settled[-1] = (settled[-1][0], start + MINUTE_MS)
    else:
        settled.append((start, start + MINUTE_MS))
    for symbol, alive in _told_apart(state, key, channel, start):
        _say(state, key, start, Listening(alive), revision=1, symbol=symbol)


def _told_apart(state: PartitionState, key: ChannelKey, channel: Channel, start: int) -> list[tuple[str, int]]:
    """Return the contracts that are covered for less of a minute than their channel, and for how much (ms)."""
    alive = alive_ms(channel, start)
    return sorted(
        (symbol, own)
        for symbol, contract in state.contracts.get(key, {}).items()
        if (own := contract_alive_ms(channel, contract, start)) != alive
    )


def _begin(state: PartitionState, key: ChannelKey, channel: Channel, found: int) -> None:
    habit, last = channel.habit, channel.last_data
    channel.silence = Silence(
        exchange=key[0],
        channel=key[1],
        began=last.time,
        found=found,
        ended=None,
        # Rounded, because logarithms differ in the last bit between machines.
        expected=round(habit.expected, 1),
        probability=float(f"{habit.probability:.2g}"),
        revision=1,
    )
    state.settled_silences.append(channel.silence)

    contracts = state.contracts.get(key, {})
    began_in = last.time - last.time % MINUTE_MS
    told: list[tuple[int, str]] = []  # minutes and contracts of which something else was said than of the channel
    revised = [start for begin, end in last.settled for start in range(max(begin, began_in), end, MINUTE_MS)]
    for start in revised:
        told += [(start, symbol) for symbol, _ in _told_apart(state, key, channel, start)]
    for collector, spans in channel.spans.items():
        channel.spans[collector] = [(begin, min(end, last.time)) for begin, end in spans if begin < last.time]
    for start, listening in channel.minutes.items():
        if start >= began_in:
            listening.alive_ms = alive_until(channel, start, last.time)
    for start in revised:
        expired = Listening(last.alive_ms, last.frames) if start == began_in else Listening()
        _say(state, key, start, channel.minutes.get(start, expired), revision=2)
    last.settled = []
    for start, symbol in told:
        alive = contract_alive_ms(channel, contracts[symbol], start)
        _say(state, key, start, Listening(alive), revision=2, symbol=symbol)


def _say(
    state: PartitionState, key: ChannelKey, start: int, listening: Listening, revision: int, symbol: str = ""
) -> None:
    exchange, channel = key
    state.settled_coverage.append(
        Coverage(exchange, channel, start, listening.alive_ms, listening.frames, revision, symbol)
    )
