"""Pictures within a blob, and AVIF without its boxes."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_latentimg.codec import BlobError, embedded
from tests.conftest import image_bytes, picture

SIDES = st.integers(1, 90)


@settings(max_examples=30)
@given(SIDES, SIDES, st.integers(0, 95))
def test_bare__comes_back_as_the_file_it_was(width, height, quality):
    file = embedded.encode_avif(np.asarray(picture(width, height)), quality)
    stored = embedded.bare(file)
    assert len(stored) == len(file) - embedded.BOXES
    assert embedded.whole(stored, width, height) == file


def test_bare__leaves_alone_what_it_could_not_restore():
    for file in (
        image_bytes(picture(40, 30, "RGBA"), "AVIF"),
        image_bytes(picture(40, 30), "WEBP"),
    ):
        assert embedded.bare(file) == file
        assert embedded.whole(file, 40, 30) == file


def test_decode__refuses_another_size_format_or_mode():
    bare = embedded.bare(embedded.encode_avif(np.asarray(picture(40, 30)), 50))
    assert embedded.decode(bare, ["AVIF"], 40, 30).shape == (30, 40, 3)
    for stored, formats, width in (
        (image_bytes(picture(40, 30), "AVIF"), ["AVIF"], 41),
        (bare, ["WEBP"], 40),
        (image_bytes(picture(40, 30, "RGBA"), "AVIF"), ["AVIF"], 40),
        (b"", ["AVIF"], 40),
    ):
        with pytest.raises(BlobError):
            embedded.decode(stored, formats, width, 30)


@settings(max_examples=200)
@given(st.data())
def test_decode__damaged_bare_avif_is_a_blob_error_or_a_picture(data):
    bare = bytearray(embedded.bare(embedded.encode_avif(np.asarray(picture(40, 30)), 50)))
    for _ in range(data.draw(st.integers(1, 4))):
        bare[data.draw(st.integers(1, len(bare) - 1))] ^= data.draw(st.integers(1, 255))
    del bare[data.draw(st.integers(1, len(bare))) :]
    with contextlib.suppress(BlobError):
        assert embedded.decode(bytes(bare), ["AVIF"], 40, 30).shape == (30, 40, 3)
