"""Header and chunks: what is whole is read, anything else is a ``BlobError``."""

import struct
import zlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from django_latentimg.codec import container
from django_latentimg.codec.container import Header, pack, unpack
from django_latentimg.codec.errors import BlobError

headers = st.builds(
    Header,
    width=st.integers(1, 8000),
    height=st.integers(1, 8000),
    space=st.sampled_from(list(container.SPACES.values())),
    quality=st.integers(1, 100),
    fineness=st.integers(1, 100),
    model=st.just("0badcafe"),
)
chunk_sets = st.dictionaries(
    st.binary(min_size=1, max_size=1).filter(lambda kind: kind not in container.BODIES),
    st.binary(max_size=50),
    max_size=4,
).map(lambda chunks: {container.SYMBOLS: b"x"} | chunks)
HEADER = Header(96, 64, "sd1", 50, 50, "0badcafe")
BLOB = pack(HEADER, {container.SYMBOLS: b"symbols", b"z": b"from the future"})


def with_header(**changes: int) -> bytes:
    """A blob whose header holds other values, under a right checksum."""
    names = [
        "magic",
        "version",
        "flags",
        "width",
        "height",
        "space",
        "quality",
        "fineness",
        "model",
    ]
    layout = struct.Struct(">4sBBIIBBB4s")
    values = dict(zip(names, layout.unpack(BLOB[: layout.size]), strict=True)) | changes
    head = layout.pack(*values.values())
    return head + struct.pack(">I", zlib.crc32(head)) + BLOB[container.HEADER_LENGTH :]


@given(headers, chunk_sets)
def test_unpack__gives_back_what_was_packed(header, chunks):
    assert unpack(pack(header, chunks)) == (header, chunks)


def test_unpack__ignores_chunks_it_does_not_know():
    header, chunks = unpack(BLOB)
    assert header == HEADER
    assert chunks[container.SYMBOLS] == b"symbols"


@given(st.integers(0, len(BLOB) - 1))
def test_unpack__refuses_every_truncation(length):
    # Cut exactly before the last chunk, which is optional, a blob is whole.
    assume(length != len(BLOB) - len(b"from the future") - 9)
    with pytest.raises(BlobError):
        unpack(BLOB[:length])


@given(st.integers(0, 8 * len(BLOB) - 1))
def test_unpack__refuses_every_flipped_bit(position):
    damaged = bytearray(BLOB)
    damaged[position // 8] ^= 1 << position % 8
    with pytest.raises(BlobError):
        unpack(bytes(damaged))


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": 6},
        {"flags": 1},
        {"space": 9},
        {"quality": 0},
        {"quality": 101},
        {"fineness": 0},
        {"fineness": 101},
        {"width": 0},
        {"height": 0},
        {"width": 2**32 - 1, "height": 2**32 - 1},
        {"width": 2**14, "height": 2**13},
    ],
    ids=str,
)
def test_unpack__refuses_values_it_does_not_know(changes):
    assert with_header() == BLOB
    with pytest.raises(BlobError):
        unpack(with_header(**changes))


def test_unpack__refuses_twice_the_same_chunk_and_none():
    chunk = BLOB[container.HEADER_LENGTH :]
    with pytest.raises(BlobError, match="twice"):
        unpack(BLOB + chunk)
    with pytest.raises(BlobError, match="no picture"):
        unpack(BLOB[: container.HEADER_LENGTH])


@given(st.binary(max_size=200))
def test_unpack__of_any_bytes_is_a_blob_error(data):
    for blob in (data, container.MAGIC + data):
        with pytest.raises(BlobError):
            unpack(blob)
