"""Patches: what stands in a blob beside its latents, and how it is blended."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_latentimg.codec import BlobError
from django_latentimg.codec.patches import (
    FEATHER,
    FORMATS,
    Box,
    decode_patches,
    encode_patches,
    fits,
    merge,
    on_grid,
)
from tests.conftest import picture

SIZE = 96, 128
SOURCE = np.asarray(picture(SIZE[1], SIZE[0]))
UNDER = np.zeros_like(SOURCE)


@st.composite
def grid_boxes(draw):
    left, top = draw(st.integers(0, 14)), draw(st.integers(0, 10))
    right, bottom = draw(st.integers(left + 1, 16)), draw(st.integers(top + 1, 12))
    return Box(8 * left, 8 * top, 8 * right, 8 * bottom)


@given(st.lists(grid_boxes(), min_size=1, max_size=4), st.sampled_from(FORMATS))
def test_encode_patches__come_back_where_they_were(boxes, format):
    if not fits(boxes, *SIZE):
        boxes = boxes[:1]
    found = decode_patches(encode_patches(SOURCE, boxes, format, 90), *SIZE)
    assert found.boxes == boxes
    for box, cutting in zip(boxes, found.cuttings, strict=True):
        error = np.asarray(cutting, float) - SOURCE[box.window]
        assert np.abs(error).mean() < 6


@given(grid_boxes(), st.sampled_from([1, 2, 4, 8]))
def test_blend__changes_nothing_outside_and_all_inside(box, scale):
    found = decode_patches(encode_patches(SOURCE, [box], "AVIF", 95), *SIZE)
    under = UNDER[::scale, ::scale]
    blended = found.blend(under, scale)
    inside = np.zeros(under.shape[:2], bool)
    inside[box.scaled(scale).window] = True
    assert not blended[~inside].any()
    # Far enough from its edges a patch is all that shows.
    core = np.zeros_like(inside)
    edge = [
        edge + shift * (FEATHER // scale) * (0 < edge * scale < end)
        for edge, shift, end in zip(
            box.scaled(scale), (1, 1, -1, -1), (SIZE[1], SIZE[0]) * 2, strict=True
        )
    ]
    core[edge[1] : max(edge[1], edge[3]), edge[0] : max(edge[0], edge[2])] = True
    if scale == 1:
        error = blended[core].astype(float) - SOURCE[core]
        assert not error.size or np.abs(error).mean() < 6


def test_blend__fades_in_and_meets_the_pictures_border():
    white = np.full_like(SOURCE, 255)
    box = Box(0, 32, 64, 96)
    blended = decode_patches(encode_patches(white, [box], "WEBP", 95), *SIZE).blend(UNDER)
    row = blended[64, :80, 0].astype(int)
    assert (row[:56] > 250).all(), "no fading along the picture's border"
    assert (np.diff(row[56:64]) < 0).all()
    assert not row[64:].any()


@settings(max_examples=300)
@given(st.data())
def test_decode_patches__damage_is_a_blob_error(data):
    payload = bytearray(
        encode_patches(SOURCE, [Box(8, 8, 40, 24), Box(64, 40, 80, 96)], "WEBP", 50)
    )
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    length = data.draw(st.integers(0, len(payload)))
    with contextlib.suppress(BlobError):
        decode_patches(bytes(payload[:length]), *SIZE).blend(UNDER)


@pytest.mark.parametrize(
    ("boxes", "why"),
    [
        ([Box(0, 0, 8, 8), Box(120, 0, 136, 8)], "within its picture"),
        ([Box(0, 0, 128, 96), Box(0, 0, 128, 96)], "larger than its picture"),
    ],
)
def test_decode_patches__refuses_places_that_cannot_be(boxes, why):
    padded = np.pad(SOURCE, ((0, 0), (0, 8), (0, 0)))
    with pytest.raises(BlobError, match=why):
        decode_patches(encode_patches(padded, boxes, "WEBP", 50), *SIZE)


@given(st.lists(grid_boxes(), min_size=1, max_size=6))
def test_merge__covers_every_box(boxes):
    merged = merge(boxes)
    assert len(merged) <= len(boxes)
    for box in boxes:
        assert any(one.covers(box) for one in merged)


@given(st.integers(0, 120), st.integers(0, 90), st.integers(1, 60), st.integers(1, 60))
def test_on_grid__has_room_to_fade(left, top, width, height):
    inner = Box(left, top, min(left + width, SIZE[1]), min(top + height, SIZE[0]))
    outer = on_grid(inner, *SIZE)
    assert outer.covers(inner)
    assert Box(0, 0, SIZE[1], SIZE[0]).covers(outer)
    assert all(edge % 8 == 0 for edge in outer)
    for near, far, end in ((inner[0], outer[0], 0), (inner[1], outer[1], 0)):
        assert far == end or near - far >= FEATHER
    for near, far, end in ((inner[2], outer[2], SIZE[1]), (inner[3], outer[3], SIZE[0])):
        assert far == end or far - near >= FEATHER
