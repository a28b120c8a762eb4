"""One-minute bars with Bytewax: its Kafka source and sink, its tumbling windows, its SQLite recovery store.

One closed bar leaves per contract and minute. Started by this file so that the harness can watch one process; the
call is what `python -m bytewax.run` makes.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import bytewax.operators as op
import bytewax.operators.windowing as windows
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main
from liquidations import HEADER, LATENESS_MS, arguments, decode, fold

EPOCH_INTERVAL_S = 5
BATCH_RECORDS = 5_000

Event = tuple[datetime, int, bool, float]
Bar = list[float]


def keyed(messages: list[KafkaSourceMessage]) -> list[tuple[str, Event]]:
    """Decode a batch of messages; what is not a liquidation is left out."""
    events = []
    for message in messages:
        if message.value.startswith(HEADER):
            e = decode(message.value)
            time = datetime.fromtimestamp(e["event_time"] / 1000, UTC)
            event = (time, e["notional_micros"], e["position"] == "long", e["price"])
            events.append((f"{e['exchange']} {e['symbol']}", event))
    return events


def add(bar: Bar, event: Event) -> Bar:
    """Add one event to a window's bar."""
    fold(bar, event[1], event[3], long=event[2])
    return bar


def merge(_: Bar, __: Bar) -> Bar:
    """Refuse: tumbling windows never merge."""
    raise AssertionError("tumbling windows do not merge")


def output_message(closed: tuple[str, tuple[int, Bar]]) -> KafkaSinkMessage:
    """Return the output record of a closed window, whose number counts minutes since 1970."""
    contract, (minute, bar) = closed
    exchange, symbol = contract.split(" ")
    return KafkaSinkMessage(contract.encode(), json.dumps([exchange, symbol, minute * 60_000, *bar]).encode())


def build(bootstrap: str, topic: str, output: str) -> Dataflow:
    """Return the dataflow."""
    flow = Dataflow("bars")
    fetch = {"fetch.wait.max.ms": "10", "max.partition.fetch.bytes": "4194304"}
    source = KafkaSource([bootstrap], [topic], batch_size=BATCH_RECORDS, add_config=fetch)
    events = op.flat_map_batch("decode", op.input("in", flow, source), keyed)
    clock = windows.EventClock(lambda event: event[0], timedelta(milliseconds=LATENESS_MS))
    minutes = windows.TumblingWindower(timedelta(minutes=1), datetime.fromtimestamp(0, UTC))
    bars = windows.fold_window("bars", events, clock, minutes, list, add, merge, ordered=False)
    sink = KafkaSink([bootstrap], output, {"linger.ms": "5"})
    op.output("out", op.map("message", bars.down, output_message), sink)
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
