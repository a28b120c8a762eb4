"""A market on three exchanges as frames, from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from pipeline.embedded.simulator import market, messages
from pipeline.embedded.simulator.contracts import Contract, contracts
from pipeline.embedded.simulator.market import Closure
from pipeline.embedded.simulator.pushes import (
    BINANCE,
    BINANCE_TRAPS,
    BYBIT_INVERSE,
    BYBIT_LINEAR,
    BYBIT_TRAPS,
    OKX,
    OKX_TRAPS,
    BinancePushes,
    BybitPushes,
    OkxPushes,
    Traps,
)
from pipeline.embedded.simulator.truth import Truth
from pipeline.embedded.simulator.wire import Stream, Wire
from pipeline.records import Frame

# 2026-09-16 06:00:00 UTC.
START_MS = 1_789_538_400_000

_TRAPS_PER_HOUR = 3
_RECONNECTS_PER_HOUR = 0.5
_BYBIT_PING_S = 20
_BINANCE_LIST_S = 300
_OKX_SILENCE_US = 25_000_000


def simulate(seed: int, hours: float = 6.0, start_ms: int = START_MS) -> Iterator[Frame]:
    """Yield the frames of a simulated market in the order in which they are received.

    The same arguments give the same bytes on every machine. Runs from `start_ms` (milliseconds since 1970) for
    `hours`, with a crash at two thirds; raises `ValueError` for less than a minute.
    """
    return (frame for frame, _ in simulate_with_truth(seed, hours, start_ms))


def simulate_with_truth(
    seed: int, hours: float = 6.0, start_ms: int = START_MS
) -> Iterator[tuple[Frame, tuple[Truth, ...]]]:
    """Yield the same frames, each with what the simulator knows to be in it, row by row in the order of the message.

    Frames without rows are acknowledgements and pongs.
    """
    seconds = round(hours * 3600)
    if seconds < 60:  # noqa: PLR2004 - a minute
        raise ValueError(f"{hours} hours are too short to simulate, take at least one minute")
    return _simulate(seed, seconds, start_ms)


def _simulate(seed: int, seconds: int, start_ms: int) -> Iterator[tuple[Frame, tuple[Truth, ...]]]:
    # Of its own for each part, so that a change of one leaves the others as they were.
    market_rng, wire_rng = Random(f"market {seed}"), Random(f"wire {seed}")  # noqa: S311 - a game, no secret
    length_ms = seconds * 1000
    trap_count = round(seconds / 3600 * _TRAPS_PER_HOUR)
    wire = Wire(wire_rng, _streams())
    binance = BinancePushes(wire_rng, wire, Traps(wire_rng, BINANCE_TRAPS, trap_count, start_ms, length_ms))
    bybit = BybitPushes(wire_rng, wire, Traps(wire_rng, BYBIT_TRAPS, trap_count, start_ms, length_ms))
    okx_traps = Traps(wire_rng, OKX_TRAPS, trap_count, start_ms, length_ms)
    okx = OkxPushes(wire_rng, wire, okx_traps, start_ms + length_ms)
    reconnects = _reconnects(wire_rng, seconds, len(wire.streams))
    listed = contracts()
    for number, second in enumerate(market.seconds(market_rng, start_ms, seconds)):
        yield from wire.receive(second.start_ms)
        for stream in reconnects.get(number, ()):
            wire.connect(stream, second.start_ms)
        _keep_alive(wire, number, second.start_ms)
        by_exchange: dict[str, list[tuple[Contract, Closure]]] = {"binance": [], "bybit": [], "okx": []}
        for closure in second.closures:
            contract = listed[closure.contract]
            by_exchange[contract.exchange].append((contract, closure))
        binance.write(by_exchange["binance"], second.start_ms + 1000)
        bybit.write(by_exchange["bybit"])
        okx.write(by_exchange["okx"])
    binance.write((), start_ms + length_ms + 1000)
    okx.close()
    yield from wire.receive(None)


def _streams() -> list[Stream]:
    """Return the subscriptions in the order of their numbers in `pushes`."""
    return [
        Stream("binance", "forceOrder", messages.binance_subscribed),
        Stream("bybit", "linear", messages.bybit_subscribed),
        Stream("bybit", "inverse", messages.bybit_subscribed),
        Stream("okx", "SWAP", messages.okx_subscribed),
    ]


def _reconnects(rng: Random, seconds: int, streams: int) -> dict[int, list[int]]:
    """Return which streams connect at which second: all at the first, some later, each once in the crash."""
    crash = market.crash_of(seconds)
    found: dict[int, list[int]] = {0: list(range(streams))}
    for stream in range(streams):
        times = [1 + int(rng.random() * (seconds - 1)) for _ in range(round(seconds / 3600 * _RECONNECTS_PER_HOUR))]
        times.append(crash.start + int(rng.random() * max(1, crash.bottom - crash.start)))
        for time in times:
            found.setdefault(time, []).append(stream)
    return found


def _keep_alive(wire: Wire, number: int, start_ms: int) -> None:
    """Answer the pings that a collector sends on a quiet or ageing connection."""
    start_us = start_ms * 1000
    if number % _BYBIT_PING_S == _BYBIT_PING_S - 1:
        for stream in (BYBIT_LINEAR, BYBIT_INVERSE):
            pong = messages.bybit_pong(wire.streams[stream].connection_id)
            wire.send(start_us + 21_000 + stream, stream, pong, resendable=False)
    if number % _BINANCE_LIST_S == _BINANCE_LIST_S - 1:
        wire.send(start_us + 17_000, BINANCE, messages.binance_subscriptions(), resendable=False)
    if number and start_us - wire.streams[OKX].last_us >= _OKX_SILENCE_US:
        wire.send(start_us + 33_000, OKX, messages.okx_pong(), resendable=False)
