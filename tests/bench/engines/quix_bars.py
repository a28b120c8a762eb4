"""One-minute bars with Quix Streams: its tumbling windows on RocksDB with a changelog topic.

Windows are kept per message key, and the topic's key is the asset: the window of an asset holds the bars of its
contracts. Grouping by contract would send every record through one more topic. One closed window leaves per asset
and minute, one record with up to three bars.
"""

from __future__ import annotations

import json
from typing import Any

from liquidations import HEADER, LATENESS_MS, MINUTE_MS, arguments, decode, fold
from quixstreams import Application
from quixstreams.models import Deserializer, IgnoreMessage, SerializationContext

COMMIT_INTERVAL_S = 5.0

Bars = dict[str, list[float]]


class LiquidationDeserializer(Deserializer):
    """Decode liquidations and skip every other record."""

    def __call__(self, value: bytes, ctx: SerializationContext) -> dict[str, Any]:  # noqa: ARG002
        if not value.startswith(HEADER):
            raise IgnoreMessage
        return decode(value)


def start_window(event: dict[str, Any]) -> Bars:
    """Return the window of an asset after its first event."""
    return add({}, event)


def add(bars: Bars, event: dict[str, Any]) -> Bars:
    """Add one event to the bar of its contract."""
    bar = bars.setdefault(f"{event['exchange']} {event['symbol']}", [])
    fold(bar, event["notional_micros"], event["price"], long=event["position"] == "long")
    return bars


def rows(window: dict[str, Any]) -> list[list[object]]:
    """Return the bars of a closed window."""
    return [[*contract.split(" "), window["start"], *bar] for contract, bar in window["value"].items()]


def main() -> None:
    """Run until terminated."""
    args = arguments()
    app = Application(
        broker_address=args.bootstrap,
        consumer_group=f"quix-{args.input}",
        auto_offset_reset="earliest",
        state_dir=args.state,
        commit_interval=COMMIT_INTERVAL_S,
        loglevel="WARNING",
        consumer_extra_config={"fetch.wait.max.ms": 10, "max.partition.fetch.bytes": 4_194_304},
        producer_extra_config={"linger.ms": 5},
    )
    events = app.topic(
        args.input,
        value_deserializer=LiquidationDeserializer(),
        timestamp_extractor=lambda value, *_: value["event_time"],
    )
    output = app.topic(args.output, value_serializer="bytes")
    bars = app.dataframe(events)
    bars = (
        bars.tumbling_window(MINUTE_MS, grace_ms=LATENESS_MS)
        .reduce(add, start_window)
        .final(closing_strategy="partition")
    )
    bars.apply(lambda window: json.dumps(rows(window)).encode()).to_topic(output)
    app.run()


if __name__ == "__main__":
    main()
