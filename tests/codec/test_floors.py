"""Floors: what a mean would forgive."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from django_latentimg.codec.floors import Floors, colour_error, means, structure, text_floor
from django_latentimg.codec.patches import Box
from tests.codec.test_codec import photograph

LABEL = Box(40, 30, 200, 60)


@pytest.fixture(scope="module")
def labelled() -> Image.Image:
    image = photograph("chelsea.png").crop((100, 50, 356, 178))
    drawing = ImageDraw.Draw(image)
    drawing.rectangle(LABEL, fill="white")
    drawing.text((LABEL.left + 6, LABEL.top + 8), "Ingredients: salt 4 g", fill="black")
    return image


def changed(image: Image.Image, box: Box, change) -> np.ndarray:
    copy = image.copy()
    copy.paste(change(image.crop(box)), box[:2])
    return np.asarray(copy)


def blur(radius: float):
    return lambda part: part.filter(ImageFilter.GaussianBlur(radius))


def test_failures__none_of_the_source_itself(labelled):
    rgb = np.asarray(labelled)
    assert not Floors(rgb, text=[LABEL], faces=[LABEL], focal=[LABEL]).failures(rgb)


def test_failures__text_that_is_blurred(labelled):
    rgb, decoded = np.asarray(labelled), changed(labelled, LABEL, blur(1.5))
    (failure,) = Floors(rgb, text=[LABEL]).failures(decoded)
    assert (failure.kind, failure.box) == ("text", LABEL)
    assert failure.shortfall > 0
    assert not Floors(rgb).failures(decoded), "nobody has said that this is text"


def test_text_floor__is_the_higher_the_smaller_the_print():
    floors = [text_floor(height) for height in (8, 12, 16, 20, 30, 40, 400)]
    assert floors == sorted(floors, reverse=True)
    assert floors[1] == pytest.approx(0.994, abs=1e-3)
    assert floors[3] == pytest.approx(0.98)
    assert floors[-1] == floors[-2] == 0.9


def test_failures__of_small_print_what_larger_letters_forgive(labelled):
    rgb, decoded = np.asarray(labelled), changed(labelled, LABEL, blur(0.4))
    small, large = Box(44, 36, 180, 49), LABEL
    assert Floors(rgb, text=[small]).failures(decoded)
    assert not Floors(rgb, text=[large]).failures(decoded)


def test_failures__more_of_a_worse_picture(labelled):
    floors = Floors(np.asarray(labelled), text=[LABEL])
    shortfalls = [
        floors.failures(changed(labelled, LABEL, blur(radius)))[0].shortfall
        for radius in (1.2, 2, 4)
    ]
    assert shortfalls == sorted(shortfalls)


def test_failures__a_large_face_may_lose_its_pores_and_a_small_one_not_its_eyes():
    portrait = photograph("astronaut.png").crop((150, 50, 310, 210))
    for side, radius, fails in ((80, 1.5, True), (480, 1.5, False), (480, 9, True)):
        face = portrait.resize((side, side), Image.Resampling.LANCZOS)
        floors = Floors(np.asarray(face), faces=[Box(0, 0, side, side)])
        decoded = np.asarray(face.filter(ImageFilter.GaussianBlur(radius)))
        kinds = {failure.kind for failure in floors.failures(decoded)}
        assert ("face" in kinds) == fails, (side, radius)


def test_failures__a_spot_of_another_colour(labelled):
    spot = Box(96, 80, 128, 112)
    decoded = changed(labelled, spot, lambda part: part.point(lambda value: min(255, value + 50)))
    failures = Floors(np.asarray(labelled)).failures(decoded)
    assert {failure.kind for failure in failures} == {"colour"}
    assert all((failure.box & spot).area for failure in failures)


def test_failures__a_spot_of_other_structure(labelled):
    spot = Box(64, 64, 128, 128)
    decoded = changed(labelled, spot, lambda part: part.transpose(Image.Transpose.ROTATE_180))
    assert "structure" in {f.kind for f in Floors(np.asarray(labelled)).failures(decoded)}


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 40))
def test_failures__of_any_size(width, height):
    rgb = np.full((height, width, 3), 90, np.uint8)
    assert not Floors(rgb, text=[Box(0, 0, width, height)]).failures(rgb)
    assert {f.kind for f in Floors(rgb).failures(rgb + 100)} == {"colour"}


@settings(max_examples=30)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 9), st.integers(1, 5))
def test_means__agree_with_a_loop(height, width, side, every):
    planes = np.random.default_rng(0).normal(size=(height, width, 2))
    rows, columns = min(side, height), min(side, width)
    wanted = [
        [
            planes[top : top + rows, left : left + columns].mean((0, 1))
            for left in range(0, width - columns + 1, every)
        ]
        for top in range(0, height - rows + 1, every)
    ]
    np.testing.assert_allclose(means(planes, side, every), wanted, atol=1e-9)


def test_structure__is_one_for_equal_and_negative_for_inverted(labelled):
    rgb = np.asarray(labelled)
    assert structure(rgb, rgb, 1, 4.0).min() == pytest.approx(1)
    assert structure(rgb, 255 - rgb, 4, 4.0).min() < -0.5
    assert not colour_error(rgb, rgb).any()
