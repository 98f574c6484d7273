"""The guard: no blob is a worse deal than AVIF of its bytes, and none misspells a label.

After encoding, the picture is decoded as the site will show it, at 1:1 and at the widths of its
renditions. Parts below their floors (``floors.py``) get patches. Then the blob competes with AVIF
of as many bytes. Where it loses, or a floor still does not hold, the smallest AVIF that is as good
and holds the floors takes its place inside the container.
"""

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import container, embedded, perceptual, pixels
from .errors import BlobError, ImageError, ModelError
from .floors import Failure, Floors
from .models import INSTALL
from .patches import (
    FORMATS,
    Box,
    decode_patches,
    encode_patches,
    fits,
    merge,
    on_grid,
)

Rgb = NDArray[np.uint8]
Chunks = dict[bytes, bytes]
Prefer = Literal["detail", "fidelity"]
PatchMode = Literal["auto", "off"]
Reason = Literal[
    "better", "worse", "text", "face", "focal", "structure", "colour", "quality", "floor"
]

PREFERENCES: tuple[Prefer, ...] = get_args(Prefer)
PATCH_MODES: tuple[PatchMode, ...] = get_args(PatchMode)
REASONS: tuple[Reason, ...] = get_args(Reason)

PATCH_QUALITIES = (40, 55, 70, 85)
"""Tried in turn, each in every format, until the floors hold."""
MOST_PATCHED = 0.5
"""Of a picture's area."""
SAME_BYTES = 0.02
"""How much smaller the competing AVIF may be: its sizes come in steps."""
BEST_AVIF = 95
LIKELY_QUALITY = 12
"""Of an AVIF of a blob's bytes."""
LOG_BYTES_PER_QUALITY = 0.035
"""Natural logarithm, about there."""

_VERDICT = struct.Struct(">BBB4e")


@dataclass(frozen=True)
class Guard:
    """What a blob must hold, and what decides between latents and AVIF."""

    prefer: Prefer = "detail"
    """``detail``: the perceptual distance decides; ``fidelity``: SSIMULACRA2."""
    patches: PatchMode = "auto"
    min_quality: float | None = None
    """SSIMULACRA2 below which the picture must not fall, whatever the bytes."""
    widths: tuple[int, ...] = ()
    """Pixels, of the renditions the site shows."""
    focal: tuple[Box, ...] = ()
    """Rectangles of the source that must be kept like text."""

    def __post_init__(self) -> None:
        if self.prefer not in PREFERENCES or self.patches not in PATCH_MODES:
            raise ImageError(f"The guard does not know {self.prefer!r} or {self.patches!r}.")


class Verdict(NamedTuple):
    """What the guard chose and why; measures are means over 1:1 and the widths shown."""

    kept: Literal["latents", "avif"]
    prefer: Prefer
    reason: Reason
    """``better`` or ``worse`` than AVIF of the same bytes; the floor of latents that did not hold;
    ``quality``, the least that was asked for; ``floor``: that AVIF is better but below one."""
    ours: float
    """Of latents and patches: perceptual distance or SSIMULACRA2, as ``prefer`` has it."""
    avif: float
    """Of AVIF of the same bytes."""
    ours_in_full: float
    """At 1:1."""
    avif_in_full: float

    def pack(self) -> bytes:
        """Payload of the chunk ``G``."""
        return _VERDICT.pack(
            self.kept == "avif",
            PREFERENCES.index(self.prefer),
            REASONS.index(self.reason),
            *self[3:],
        )

    @classmethod
    def unpack(cls, payload: bytes) -> "Verdict":
        """Raises ``BlobError``."""
        try:
            kept, prefer, reason, *measures = _VERDICT.unpack(payload)
            return cls(("latents", "avif")[kept], PREFERENCES[prefer], REASONS[reason], *measures)
        except (struct.error, IndexError) as error:
            raise BlobError("The blob's verdict is not one that this version knows.") from error


class Avif(NamedTuple):
    """A picture as AVIF."""

    data: bytes
    rgb: Rgb
    quality: int

    def show(self, width: int | None) -> Rgb:
        return narrowed(self.rgb, width)

    @classmethod
    def encode(cls, rgb: Rgb, quality: int) -> "Avif":
        data = embedded.encode_avif(rgb, quality)
        with Image.open(io.BytesIO(data)) as opened:
            return cls(data, np.asarray(opened.convert("RGB")), quality)


class Judge:
    """What a source demands of a picture that shows it, and how good such a picture is."""

    def __init__(self, guard: Guard, rgb: Rgb) -> None:
        from .regions import face_boxes, text_boxes

        self.guard, self.rgb = guard, rgb
        frame = Box(0, 0, rgb.shape[1], rgb.shape[0])
        focal = [inside for box in guard.focal if (inside := box & frame).area]
        self.floors = Floors(rgb, text=text_boxes(rgb), faces=face_boxes(rgb), focal=focal)
        self.shown = (None, *(width for width in guard.widths if width < rgb.shape[1]))
        """Widths at which pictures are compared; None for 1:1."""
        sources = [narrowed(rgb, width) for width in self.shown]
        self.measures: list[Callable[[Rgb], float]] = (
            [partial(fidelity, source) for source in sources]
            if guard.prefer == "fidelity"
            else [perceptual.Reference(source).distance for source in sources]
        )
        """Of a picture in each width."""

    def measure(self, show: Callable[[int | None], Rgb]) -> list[float]:
        """Perceptual distance or SSIMULACRA2 of what ``show`` gives for each width."""
        pairs = zip(self.measures, self.shown, strict=True)
        return [measure(show(width)) for measure, width in pairs]

    def prefers(self, one: list[float], other: list[float]) -> bool:
        """Whether the one is better by ``measure``, or as good."""
        if self.guard.prefer == "fidelity":
            return bool(np.mean(one) >= np.mean(other))
        return bool(np.mean(one) <= np.mean(other))

    def flaw(self, rgb: Rgb) -> Reason | None:
        """The worst of what a picture does not hold."""
        if failures := self.floors.failures(rgb):
            return max(failures, key=lambda failure: failure.shortfall).kind
        least = self.guard.min_quality
        return "quality" if least is not None and fidelity(self.rgb, rgb) < least else None


def apply(
    guard: Guard, rgb: Rgb, chunks: Chunks, show: Callable[[Chunks, int | None], Rgb]
) -> Chunks:
    """The chunks that are to be stored: with patches, or AVIF in place of symbols; and a verdict.

    ``rgb``: the source, uint8 (H, W, 3); ``show``: what a blob of these chunks looks like, in full
    or so many pixels wide. Raises ``ModelError``.
    """
    judge = Judge(guard, rgb)
    decoded = show(chunks, None)
    failures = judge.floors.failures(decoded)
    if failures and guard.patches == "auto":
        payload = find_patches(judge.floors, rgb, decoded, failures)
        if payload:
            chunks = {**chunks, container.PATCHES: payload}
            decoded = show(chunks, None)

    replaced = {*container.BODIES, container.PATCHES}
    rest = {kind: chunks[kind] for kind in chunks if kind not in replaced}
    # The rival is what would stand in a blob of as many bytes; that is a little more than an
    # AVIF file of them, so that neither is the better deal.
    taken = container.length({**rest, container.IMAGE: b""}) - embedded.BOXES
    rival = largest_avif(rgb, container.length(chunks) - taken)
    ours = judge.measure(lambda width: decoded if width is None else show(chunks, width))
    theirs = judge.measure(rival.show)
    better = judge.prefers(ours, theirs)
    flaw = judge.flaw(decoded)
    kept: Literal["latents", "avif"] = "latents"
    reason: Reason = flaw or ("better" if better else "worse")
    if reason == "worse" and judge.flaw(rival.rgb):
        reason = "floor"
    elif reason != "better":

        def good(avif: Avif) -> bool:
            """Whether it holds what the source demands, and is no worse a choice than latents."""
            if better and len(avif.data) < len(rival.data):
                return False
            if judge.flaw(avif.rgb):
                return False
            return better or judge.prefers(judge.measure(avif.show), ours)

        kept = "avif"
        stored = embedded.bare(smallest_avif(rgb, rival, good).data)
        chunks = {**rest, container.IMAGE: stored}
    means = float(np.mean(ours)), float(np.mean(theirs))
    verdict = Verdict(kept, guard.prefer, reason, *means, ours[0], theirs[0])
    return {**chunks, container.VERDICT: verdict.pack()}


def find_patches(floors: Floors, rgb: Rgb, decoded: Rgb, failures: list[Failure]) -> bytes | None:
    """Payload of the fewest bytes after which the floors hold, or as nearly as they can.

    Places are patched in the order of what they mend for their bytes, until half of the picture
    is patched: then AVIF does better. None where there is nothing that a patch could mend.
    """
    padded, under = pixels.pad(rgb), pixels.pad(decoded)
    height, width = rgb.shape[:2]
    outer = padded.shape[:2]
    merits = []
    for box in merge([on_grid(failure.box, *outer) for failure in failures]):
        if fits([box], *outer):
            mends = sum(failure.shortfall for failure in failures if box.covers(failure.box))
            merits.append((mends / len(encode_patches(padded, [box], "WEBP", 70)), box))
    boxes: list[Box] = []
    for _, box in sorted(merits, reverse=True):
        within = sum(taken.area for taken in [*boxes, box]) <= MOST_PATCHED * rgb[..., 0].size
        if within and fits([*boxes, box], *outer):
            boxes.append(box)
    if not boxes:
        return None
    tried = []
    for quality in PATCH_QUALITIES:
        for format in FORMATS:
            payload = encode_patches(padded, boxes, format, quality)
            blended = decode_patches(payload, *outer).blend(under)[:height, :width]
            left = sum(failure.shortfall for failure in floors.failures(blended))
            tried.append((left, len(payload), payload))
        if min(tried)[0] == 0:
            break
    return min(tried)[2]


def largest_avif(rgb: Rgb, limit: int) -> Avif:
    """Of the best quality that takes at most ``limit`` bytes; of the lowest, where none does."""
    low, high = -1, BEST_AVIF + 1
    best: Avif | None = None
    quality = LIKELY_QUALITY
    while True:
        rival = Avif.encode(rgb, quality)
        if len(rival.data) > limit:
            high = quality
            if quality == 0:
                return rival
        else:
            best, low = rival, quality
            if high - low == 1 or len(rival.data) >= (1 - SAME_BYTES) * limit:
                return best
        if best and high - low == 1:
            return best
        further = round(float(np.log(limit / len(rival.data))) / LOG_BYTES_PER_QUALITY)
        quality = min(max(quality + further, low + 1), high - 1)


def smallest_avif(rgb: Rgb, start: Avif, good: Callable[[Avif], bool]) -> Avif:
    """The smallest that is good, at last the best there is; ``start`` where to begin."""
    low, high = -1, BEST_AVIF
    best: Avif | None = None
    found = start
    while high - low > 1:
        if good(found):
            best, high = found, found.quality
        else:
            low = found.quality
        if high - low > 1:
            found = Avif.encode(rgb, (low + high) // 2)
    return best or Avif.encode(rgb, BEST_AVIF)


def narrowed(rgb: Rgb, width: int | None) -> Rgb:
    """As a rendition of that width, in pixels."""
    if width is None:
        return rgb
    height = max(1, round(rgb.shape[0] * width / rgb.shape[1]))
    return np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.LANCZOS))


def fidelity(source: Rgb, decoded: Rgb) -> float:
    """SSIMULACRA2: 100 for equal, below 30 for low quality, may be negative.

    Of large pictures a few tiles, evenly spread. Raises ``ModelError``.
    """
    try:
        from ssimulacra2 import compute_ssimulacra2
    except ImportError as error:
        raise ModelError(f"Measuring needs ssimulacra2 ({error}): {INSTALL}.") from error
    scores = []
    for window in perceptual.sample(*source.shape[:2]):
        files = []
        for rgb in (source, decoded):
            file = io.BytesIO()
            Image.fromarray(rgb[window]).save(file, "PNG", compress_level=1)
            files.append(file)
        scores.append(compute_ssimulacra2(*files))
    return float(np.mean(scores))
