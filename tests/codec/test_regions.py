"""Where text and faces are found."""

import builtins
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from django_latentimg.codec import ModelError, regions
from django_latentimg.codec.patches import Box
from django_latentimg.codec.regions import LARGEST_SIDE, face_boxes, text_boxes
from tests.codec.test_codec import photograph

EYES = Box(205, 105, 245, 125)
"""Of the astronaut."""


@pytest.mark.parametrize("height", [8, 12, 16, 32])
def test_text_boxes__of_every_size(height):
    image = photograph("coffee.png").resize((400, 266))
    drawing = ImageDraw.Draw(image)
    font = ImageFont.load_default(height)
    place = drawing.textbbox((40, 30), "Roasted in small batches", font)
    drawing.rectangle([place[0] - 4, place[1] - 4, place[2] + 4, place[3] + 4], fill="white")
    drawing.text((40, 30), "Roasted in small batches", fill="black", font=font)
    found = text_boxes(np.asarray(image))
    shared = max(((box & Box(*map(int, place))).area for box in found), default=0)
    assert shared > 0.6 * Box(*map(int, place)).area


def test_regions__threads_take_turns_with_engines_that_keep_state(monkeypatch):
    """RapidOCR notes in itself what it has been asked for: with two at once lines were missed."""
    within: list[int] = []
    crowd: list[int] = []

    class Engine:
        def __call__(self, *_: Any, **options: bool) -> Any:
            within.append(1)
            time.sleep(0.01)
            crowd.append(len(within))
            within.pop()
            line = np.array([[10, 10], [90, 10], [90, 30], [10, 30]], np.float32)
            return SimpleNamespace(
                boxes=[line], scores=[0.4 if options["use_det"] else 0.9], txts=["abc"]
            )

        def detectMultiScale(self, *_: Any, **options: Any) -> list[Any]:  # noqa: N802
            self(use_det=True)
            return []

    engine = Engine()
    monkeypatch.setattr(regions, "_text_engine", lambda: engine)
    monkeypatch.setattr(regions, "_face_detector", lambda: engine)
    rgb = np.zeros((64, 96, 3), np.uint8)
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda search: search(rgb), [text_boxes, face_boxes] * 6))
    assert found == [[Box(10, 10, 90, 30)], []] * 6
    assert crowd == [1] * 18


@pytest.mark.parametrize("angle", [0, 20, 90, 270])
def test_text_boxes__doubtful_lines_that_can_be_read(monkeypatch, angle):
    monkeypatch.setattr(regions, "CERTAIN_TEXT", 2.0)  # So all are doubtful.
    image = Image.new("RGB", (400, 400), "white")
    font = ImageFont.load_default(24)
    ImageDraw.Draw(image).text((60, 180), "Roasted in small batches", fill="black", font=font)
    turned = image.rotate(angle, Image.Resampling.BICUBIC, fillcolor="white")
    assert len(text_boxes(np.asarray(turned))) == 1
    monkeypatch.setattr(regions, "READ_TEXT", 2.0)
    assert text_boxes(np.asarray(turned)) == []


def test_text_boxes__none_where_there_is_none():
    for name in ("grass.png", "rocket.jpg", "astronaut.png"):
        assert text_boxes(np.asarray(photograph(name))) == []


def test_face_boxes__of_an_astronaut_and_not_of_a_cat():
    (face,) = face_boxes(np.asarray(photograph("astronaut.png")))
    assert face.covers(EYES)
    assert face.area < 160 * 160
    assert face_boxes(np.asarray(photograph("chelsea.png"))) == []


def test_face_boxes__of_a_large_picture_are_in_its_pixels():
    astronaut = photograph("astronaut.png")
    side = LARGEST_SIDE + 100
    (face,) = face_boxes(np.asarray(astronaut.resize((side, side))))
    factor = side / astronaut.width
    assert face.covers(Box(*(round(edge * factor) for edge in EYES)))


def test_boxes__lie_within_the_picture():
    image = photograph("astronaut.png").crop((160, 60, 300, 200))
    frame = Box(0, 0, *image.size)
    assert all(frame.covers(box) for box in face_boxes(np.asarray(image)))
    tiny = np.zeros((1, 1, 3), np.uint8)
    assert face_boxes(tiny) == text_boxes(tiny) == []


@pytest.mark.parametrize(
    ("package", "find", "detector"),
    [
        ("rapidocr", text_boxes, regions._text_engine),
        ("cv2", face_boxes, regions._face_detector),
    ],
)
def test_boxes__say_what_to_install(monkeypatch, package, find, detector):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name == package:
            raise ImportError(f"No module named {name!r}")
        return real(name, *arguments, **options)

    detector.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModelError, match="install django-latentimg\\[worker\\]"):
        find(np.zeros((32, 32, 3), np.uint8))
    monkeypatch.undo()
    detector.cache_clear()


def test_boxes__image_is_not_changed():
    rgb = np.asarray(Image.new("RGB", (64, 64), "white"))
    before = rgb.copy()
    text_boxes(rgb), face_boxes(rgb)
    assert (rgb == before).all()
