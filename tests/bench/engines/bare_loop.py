"""The measure of all: a plain consumer loop with fastavro and a dict. Nothing is kept and nothing is published.

It publishes nothing, so it tells the harness through files in `--state`: `ready` is there once it has folded
`--warm-up` liquidations; after `--records` more it ends, and `result.json` says when it had folded the last one, and
the bars.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from confluent_kafka import Consumer
from liquidations import HEADER, MINUTE_MS, arguments, decode, fold

BATCH_RECORDS = 5_000


def main() -> None:
    """Fold records into a dict until all have been seen."""
    args = arguments()
    consumer = Consumer(
        {
            "bootstrap.servers": args.bootstrap,
            "group.id": f"bare-{args.input}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.min.bytes": 1,
            "fetch.wait.max.ms": 10,
            "max.partition.fetch.bytes": 4_194_304,
            "queued.max.messages.kbytes": 65_536,
        }
    )
    consumer.subscribe([args.input])
    bars: dict[tuple[str, str, int], list[float]] = {}
    seen, ready = 0, False
    while seen < args.warm_up + args.records:
        for message in consumer.consume(BATCH_RECORDS, 0.1):
            value = message.value()
            if not value.startswith(HEADER):
                continue
            seen += 1
            event = decode(value)
            time_ms, money, price = event["event_time"], event["notional_micros"], event["price"]
            key = (event["exchange"], event["symbol"], time_ms - time_ms % MINUTE_MS)
            bar = bars.get(key)
            if bar is None:
                bar = bars[key] = []
            fold(bar, money, price, long=event["position"] == "long")
        if not ready and seen >= args.warm_up:
            ready = True
            (Path(args.state) / "ready").touch()
    result = {"ended": time.time(), "bars": [[*key, *bar] for key, bar in bars.items()]}
    partial = Path(args.state) / "result.partial"
    partial.write_text(json.dumps(result))
    partial.rename(Path(args.state) / "result.json")
    consumer.close()


if __name__ == "__main__":
    main()
