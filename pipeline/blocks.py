"""Many Avro bodies read in one call."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import polars as pl

from pipeline.codec import Schema, container


def read_block(schema: Schema, bodies: Sequence[bytes], columns: list[str] | None = None) -> pl.DataFrame | None:
    """Return the rows of `bodies`, times as integers, or None if they do not come out as that many rows.

    A body that is too long at the very end of the block goes unnoticed; who cannot trust the bodies adds one whose
    values are known.
    """
    block = container(schema.plain_document, bodies)
    try:
        rows = pl.read_avro(BytesIO(block), columns=columns)
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    return rows if rows.height == len(bodies) else None
