"""One-minute bars with Bytewax, without its windowing operators: windows kept by hand in a stateful batch step.

Faster than `bytewax_bars.py` and further from what Bytewax is for: late events and quiet keys are this file's own
business. Source, sink and recovery are the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main
from liquidations import HEADER, LATENESS_MS, MINUTE_MS, arguments, decode, fold

EPOCH_INTERVAL_S = 5
BATCH_RECORDS = 5_000

# time in ms, micro-dollars, whether it was a long, price
Event = tuple[int, int, bool, float]
Bar = list[float]


def keyed(messages: list[KafkaSourceMessage]) -> list[tuple[str, Event]]:
    """Decode a batch of messages; what is not a liquidation is left out."""
    events = []
    for message in messages:
        if message.value.startswith(HEADER):
            e = decode(message.value)
            event = (e["event_time"], e["notional_micros"], e["position"] == "long", e["price"])
            events.append((f"{e['exchange']} {e['symbol']}", event))
    return events


class Minutes(op.StatefulBatchLogic):
    """The open minutes of one contract."""

    def __init__(self, resumed: tuple[int, dict[int, Bar]] | None) -> None:
        self.latest_ms, self.open = resumed or (0, {})

    def on_batch(self, values: list[Event]) -> tuple[Iterable[tuple[int, Bar]], bool]:
        """Fold events and return the minutes that they close."""
        closed = []
        for time_ms, money, long, price in values:
            start = time_ms - time_ms % MINUTE_MS
            fold(self.open.setdefault(start, []), money, price, long=long)
            if time_ms > self.latest_ms:
                self.latest_ms = time_ms
                if len(self.open) > 1:
                    ended = [start for start in self.open if start + MINUTE_MS + LATENESS_MS <= time_ms]
                    closed += [(start, self.open.pop(start)) for start in ended]
        return closed, op.StatefulBatchLogic.RETAIN

    def snapshot(self) -> tuple[int, dict[int, Bar]]:
        """Return what a resumed run starts from."""
        return self.latest_ms, {start: list(bar) for start, bar in self.open.items()}


def output_message(closed: tuple[str, tuple[int, Bar]]) -> KafkaSinkMessage:
    """Return the output record of a closed minute."""
    contract, (start, bar) = closed
    exchange, symbol = contract.split(" ")
    return KafkaSinkMessage(contract.encode(), json.dumps([exchange, symbol, start, *bar]).encode())


def build(bootstrap: str, topic: str, output: str) -> Dataflow:
    """Return the dataflow."""
    flow = Dataflow("bars")
    fetch = {"fetch.wait.max.ms": "10", "max.partition.fetch.bytes": "4194304"}
    source = KafkaSource([bootstrap], [topic], batch_size=BATCH_RECORDS, add_config=fetch)
    events = op.flat_map_batch("decode", op.input("in", flow, source), keyed)
    bars = op.stateful_batch("bars", events, Minutes)
    op.output("out", op.map("message", bars, output_message), KafkaSink([bootstrap], output, {"linger.ms": "5"}))
    return flow


if __name__ == "__main__":
    args = arguments()
    state = Path(args.state) / "recovery"
    if not state.exists():
        state.mkdir(parents=True)
        init_db_dir(state, 1)
    cli_main(
        build(args.bootstrap, args.input, args.output),
        epoch_interval=timedelta(seconds=EPOCH_INTERVAL_S),
        recovery_config=RecoveryConfig(state),
    )
