"""Blobs: what goes in comes out, and nothing damaged or oversized does harm. (Messages have a file of their own.)"""

from __future__ import annotations

import tracemalloc

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from roost.wire.codec import COMPRESS_FROM_BYTES, compress, decompress
from roost.wire.codes import ErrorCode
from roost.wire.errors import DecodeError

ANY_DATA = st.binary(max_size=300) | st.builds(bytes.__mul__, st.binary(min_size=1, max_size=50), st.integers(0, 200))


@given(ANY_DATA)
def test_a_blob_gives_its_data_back(data: bytes) -> None:
    assert decompress(compress(data), len(data)) == data


def test_small_data_is_only_marked_and_large_data_shrinks() -> None:
    assert len(compress(b"x" * (COMPRESS_FROM_BYTES - 1))) == COMPRESS_FROM_BYTES
    assert len(compress(b"x" * 100_000)) < 100


@given(ANY_DATA.filter(bool))
def test_a_blob_over_the_bound_is_too_big(data: bytes) -> None:
    with pytest.raises(DecodeError) as refusal:
        decompress(compress(data), len(data) - 1)
    assert refusal.value.code is ErrorCode.TOO_BIG


def test_a_bomb_is_refused_before_it_goes_off() -> None:
    bomb = compress(bytes(50_000_000))
    assert len(bomb) < 10_000
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError):
            decompress(bomb, 1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_frame_that_hides_its_size_is_refused() -> None:
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1_000))
    with pytest.raises(DecodeError):
        decompress(b"\x01" + frame, 1_000_000)


@pytest.mark.parametrize("blob", [b"", b"\x02plain", b"\x01", b"\x01not zstd", compress(bytes(1_000))[:-1]])
def test_a_damaged_blob_is_a_bad_message(blob: bytes) -> None:
    with pytest.raises(DecodeError) as refusal:
        decompress(blob, 1_000_000)
    assert refusal.value.code is ErrorCode.BAD_MESSAGE


@given(blob=st.binary(max_size=100) | st.binary(max_size=100).map(lambda body: b"\x01\x28\xb5\x2f\xfd" + body))
def test_any_bytes_are_a_blob_within_the_bound_or_refused(blob: bytes) -> None:
    try:
        data = decompress(blob, 64)
    except DecodeError:
        return
    assert len(data) <= 64
