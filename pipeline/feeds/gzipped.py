"""Messages that an exchange compresses: unpacked within bounds, or refused."""

from __future__ import annotations

import zlib
from typing import Final

from pipeline.records import RefusedError

# The first bytes of what is packed by gzip; no JSON begins so.
_GZIP: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
# A few kilobytes can hold gigabytes of zeros.
_MOST_BYTES: Final = 4 * 1024 * 1024


def unpacked(payload: bytes) -> bytes:
    """Return what a gzip message holds, the payload itself where it is not packed; refuse one that is damaged."""
    if not payload.startswith(_GZIP):
        return payload
    unpacking = zlib.decompressobj(_GZIP_WINDOW)
    try:
        message = unpacking.decompress(payload, _MOST_BYTES)
    except zlib.error as error:
        raise RefusedError("bad_gzip", f"not gzip: {error}") from None
    if unpacking.unconsumed_tail:
        raise RefusedError("bad_gzip", f"unpacks to more than {_MOST_BYTES} bytes")
    if not unpacking.eof or unpacking.unused_data:
        raise RefusedError("bad_gzip", "the gzip message ends too early or too late")
    return message
