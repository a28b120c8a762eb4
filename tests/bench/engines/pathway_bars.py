"""One-minute bars with Pathway: its Kafka connectors, a group-by with incremental reducers, its persistence.

Every commit publishes the bars that changed since the one before, each with a record that takes the old row back.
Snapshots are of the input log: those of the operators' state need a licence key. Windows are not closed:
Pathway's event clock is one for all partitions, so that a partition that is read after another would be called late
and its events dropped.
"""

from __future__ import annotations

from pathlib import Path

import pathway as pw
from liquidations import HEADER, MINUTE_MS, arguments, decode

COMMIT_MS = 1_000
BATCH_RECORDS = 5_000
SNAPSHOT_MS = 5_000

Row = tuple[str, str, int, int, int, int, int, int, float]


def added(value: bytes) -> Row:
    """Return what one record adds to its bar; a record that is no liquidation has no start."""
    if not value.startswith(HEADER):
        return ("", "", 0, 0, 0, 0, 0, 0, 0.0)
    e = decode(value)
    money, long = e["notional_micros"], e["position"] == "long"
    start = e["event_time"] - e["event_time"] % MINUTE_MS
    longs, shorts = (money, 0) if long else (0, money)
    return (e["exchange"], e["symbol"], start, longs, shorts, int(long), int(not long), money, e["price"])


@pw.udf(deterministic=True, max_batch_size=BATCH_RECORDS)
def row(values: list[bytes]) -> list[tuple[str, str, int, int, int, int, int, int, float]]:
    """Decode a batch of records."""
    return [added(value) for value in values]


def main() -> None:
    """Run until terminated."""
    args = arguments()
    settings = {
        "bootstrap.servers": args.bootstrap,
        "group.id": f"pathway-{args.input}",
        "auto.offset.reset": "earliest",
        "fetch.wait.max.ms": "10",
        "max.partition.fetch.bytes": "4194304",
    }
    records = pw.io.kafka.read(
        settings, args.input, format="raw", autogenerate_key=True, autocommit_duration_ms=COMMIT_MS, name="events"
    )
    rows = records.select(row=row(pw.this.data))
    rows = rows.select(
        exchange=pw.this.row[0],
        symbol=pw.this.row[1],
        start=pw.this.row[2],
        long=pw.this.row[3],
        short=pw.this.row[4],
        longs=pw.this.row[5],
        shorts=pw.this.row[6],
        money=pw.this.row[7],
        price=pw.this.row[8],
    ).filter(pw.this.start > 0)
    bars = rows.groupby(pw.this.exchange, pw.this.symbol, pw.this.start).reduce(
        pw.this.exchange,
        pw.this.symbol,
        pw.this.start,
        long_micros=pw.reducers.sum(pw.this.long),
        short_micros=pw.reducers.sum(pw.this.short),
        long_count=pw.reducers.sum(pw.this.longs),
        short_count=pw.reducers.sum(pw.this.shorts),
        largest_micros=pw.reducers.max(pw.this.money),
        price_low=pw.reducers.min(pw.this.price),
        price_high=pw.reducers.max(pw.this.price),
    )
    pw.io.kafka.write(bars, {"bootstrap.servers": args.bootstrap, "linger.ms": "5"}, args.output, format="json")
    backend = pw.persistence.Backend.filesystem(Path(args.state) / "persistence")
    pw.run(
        monitoring_level=pw.MonitoringLevel.NONE,
        persistence_config=pw.persistence.Config(backend, snapshot_interval_ms=SNAPSHOT_MS),
    )


if __name__ == "__main__":
    main()
