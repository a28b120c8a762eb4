"""What the peers share: reading a framed Liquidation with fastavro, and the address of what they read and write.

The peers' environment does not hold this project's package, so the schema is read from its file. Timestamps stay
integers, which fastavro reads faster than datetimes.
"""

from __future__ import annotations

import argparse
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro

SCHEMAS = Path(__file__).resolve().parents[3] / "schemas"
MINUTE_MS = 60_000
LATENESS_MS = 5_000

_document = json.loads((SCHEMAS / "liquidation.v1.avsc").read_text())
for _field in _document["fields"]:
    if isinstance(_field["type"], dict) and "logicalType" in _field["type"]:
        _field["type"] = _field["type"]["type"]
_schema = fastavro.parse_schema(_document)
_schema_id = json.loads((SCHEMAS / "ids.json").read_text())["liquidation.v1"]
HEADER = b"\0" + _schema_id.to_bytes(4, "big")
_read = fastavro.schemaless_reader


def decode(value: bytes) -> dict[str, Any]:
    """Return the fields of a framed Liquidation; the caller has looked at `HEADER`."""
    body = BytesIO(value)
    body.seek(5)
    return _read(body, _schema)


def fold(bar: list[float], money: int, price: float, *, long: bool) -> None:
    """Add one event to a bar, which is empty before its first."""
    if not bar:
        bar.extend((0, 0, 0, 0, 0, price, price))
    if long:
        bar[0] += money
        bar[2] += 1
    else:
        bar[1] += money
        bar[3] += 1
    bar[4] = max(bar[4], money)
    bar[5] = min(bar[5], price)
    bar[6] = max(bar[6], price)


def arguments() -> argparse.Namespace:
    """Read where to read, write and keep state, and how many liquidations the log holds."""
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "input", "output", "state"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--warm-up", type=int, required=True)
    parser.add_argument("--records", type=int, required=True)
    return parser.parse_args()
