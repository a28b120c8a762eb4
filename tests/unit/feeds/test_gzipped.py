"""Compressed messages: within bounds, whole, or refused."""

import gzip

import pytest

from pipeline.feeds.gzipped import unpacked
from pipeline.records import RefusedError


def test_a_packed_message_is_unpacked_and_a_plain_one_is_left_as_it_is():
    assert unpacked(gzip.compress(b'{"op":"ping"}')) == b'{"op":"ping"}'
    assert unpacked(b'{"op":"ping"}') == b'{"op":"ping"}'
    assert unpacked(b"") == b""


@pytest.mark.parametrize(
    "payload",
    [
        b"\x1f\x8b",
        b"\x1f\x8bnothing of the kind",
        gzip.compress(b"cut", mtime=0)[:-1],
        gzip.compress(b"more", mtime=0) + b"x",
        gzip.compress(b"once", mtime=0) + gzip.compress(b"twice", mtime=0),
        gzip.compress(b"changed", mtime=0)[:-8] + bytes(8),
    ],
)
def test_a_damaged_message_is_refused(payload):
    with pytest.raises(RefusedError) as refusal:
        unpacked(payload)
    assert refusal.value.reason == "bad_gzip"


def test_a_few_bytes_that_hold_too_many_are_refused():
    packed = gzip.compress(bytes(64 * 1024 * 1024))
    assert len(packed) < 100_000
    with pytest.raises(RefusedError, match="more than 4194304 bytes"):
        unpacked(packed)


def test_the_longest_message_is_unpacked():
    assert len(unpacked(gzip.compress(bytes(4 * 1024 * 1024)))) == 4 * 1024 * 1024
