"""Where text and faces are in a picture: what readers and friends would miss first.

Text by RapidOCR (PaddleOCR's networks, whose weights come in its wheel: "differentiable
binarization" finds lines, and a recogniser says which of the doubtful ones can be read), frontal
faces by OpenCV's cascades (Viola and Jones, CVPR 2001; likewise).
"""

from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import ModelError
from .models import INSTALL
from .patches import Box

Quadrangle = NDArray[np.float32]
"""Corners (4, 2): x and y, clockwise from the beginning of the line."""

if TYPE_CHECKING:
    import cv2

CERTAIN_TEXT = 0.6
"""Confidence of the detector from which a line is text whatever it says."""
DOUBTFUL_TEXT = 0.3
"""From which it is text if it can be read. On training photographs one in seven of what is between
can be: mostly small lines on packages."""
READ_TEXT = 0.7
"""Confidence of the recogniser, of two letters or digits at least: single ones it sees anywhere."""
UPRIGHT = 1.5
"""Height of a line to its width, from which it runs up or down."""
SMALLEST_FACE = 24
"""Pixels. Of a smaller one nobody can be recognised, in the source either."""
NEIGHBOURS = 6
"""Overlapping detections that make a face; fewer find faces in foliage."""
FACE_MARGIN = 0.15
"""The cascade's square ends within hair and chin; of its side, to be added on each side."""
LARGEST_SIDE = 2048
"""Pixels. Larger pictures are searched at this size."""

SEARCHING = Lock()
"""Both engines keep in themselves what they are at, so threads have to take turns."""


def text_boxes(rgb: NDArray[np.uint8]) -> list[Box]:
    """Lines of text in a picture, uint8 (H, W, 3), upright or slanted. Raises ``ModelError``."""
    shrunk, factor = _shrink(rgb)
    with SEARCHING:
        found = _text_engine()(shrunk[..., ::-1], use_det=True, use_cls=False, use_rec=False)
        if found.boxes is None:
            return []
        return [
            _box(*corners.min(0), *corners.max(0), factor=factor, like=rgb)
            for corners, confidence in zip(found.boxes, found.scores, strict=True)
            if confidence >= CERTAIN_TEXT or _is_read(_straightened(shrunk, corners))
        ]


def face_boxes(rgb: NDArray[np.uint8]) -> list[Box]:
    """Faces in a picture, uint8 (H, W, 3), seen from the front. Raises ``ModelError``."""
    shrunk, factor = _shrink(rgb)
    grey = np.asarray(shrunk @ np.array([0.299, 0.587, 0.114]), np.uint8)
    smallest = (SMALLEST_FACE, SMALLEST_FACE)
    with SEARCHING:
        found = _face_detector().detectMultiScale(grey, 1.1, NEIGHBOURS, minSize=smallest)
    boxes = []
    for left, top, width, height in found:
        across, down = FACE_MARGIN * width, FACE_MARGIN * height
        corners = left - across, top - down, left + width + across, top + height + down
        boxes.append(_box(*corners, factor=factor, like=rgb))
    return boxes


def _straightened(rgb: NDArray[np.uint8], corners: Quadrangle) -> NDArray[np.uint8]:
    """A line of text, uint8 (h, w, 3), laid level."""
    from PIL import Image

    start, above, end, below = corners
    width = max(np.hypot(*(above - start)), np.hypot(*(end - below)))
    height = max(np.hypot(*(below - start)), np.hypot(*(end - above)))
    line = Image.fromarray(rgb).transform(
        (max(1, round(width)), max(1, round(height))),
        Image.Transform.QUAD,
        [float(value) for corner in (start, below, end, above) for value in corner],
        Image.Resampling.BICUBIC,
    )
    if height > UPRIGHT * width:
        line = line.transpose(Image.Transpose.ROTATE_90)
    return np.asarray(line)


def _is_read(line: NDArray[np.uint8]) -> bool:
    found = _text_engine()(line[..., ::-1], use_det=False, use_cls=True, use_rec=True)
    return bool(found.txts) and any(
        confidence >= READ_TEXT and sum(letter.isalnum() for letter in text) > 1
        for text, confidence in zip(found.txts, found.scores, strict=True)
    )


def _shrink(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
    factor = -(-max(rgb.shape[:2]) // LARGEST_SIDE)
    if factor == 1:
        return rgb, 1
    from PIL import Image

    return np.asarray(Image.fromarray(rgb).reduce(factor)), factor


def _box(
    left: float, top: float, right: float, bottom: float, *, factor: int, like: NDArray[np.uint8]
) -> Box:
    height, width = like.shape[:2]
    return Box(
        max(0, int(left * factor)),
        max(0, int(top * factor)),
        min(width, -int(-right * factor // 1)),
        min(height, -int(-bottom * factor // 1)),
    )


@cache
def _text_engine() -> Any:
    try:
        from rapidocr import RapidOCR
    except ImportError as error:
        raise ModelError(f"Finding text needs rapidocr ({error}): {INSTALL}.") from error
    import torch

    return RapidOCR(
        params={
            "Global.log_level": "error",
            "Det.box_thresh": DOUBTFUL_TEXT,
            # As many as encoding may have: by default each of a worker's processes takes all cores.
            "EngineConfig.onnxruntime.intra_op_num_threads": torch.get_num_threads(),
        }
    )


@cache
def _face_detector() -> "cv2.CascadeClassifier":
    try:
        import cv2

        folder = cv2.data.haarcascades  # type: ignore[attr-defined]
    except (ImportError, AttributeError) as error:
        raise ModelError(f"Finding faces needs OpenCV 4 ({error}): {INSTALL}.") from error
    return cv2.CascadeClassifier(folder + "haarcascade_frontalface_alt2.xml")
