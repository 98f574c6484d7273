"""Any picture Pillow can read to sRGB arrays, and back.

What a file says about its picture beside the pixels (orientation, colour profile) is applied
here; everything else it says (position, camera, author) is dropped, because only arrays leave.
"""

import logging
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError
from PIL.BmpImagePlugin import BmpImageFile
from PIL.PngImagePlugin import PngImageFile

from .errors import ImageError, TooLargeError

logger = logging.getLogger(__name__)

MAX_PIXELS = 2**26
"""Default limit of a width times height."""

REFUSED_FORMATS = {
    "EPS",  # Pillow starts Ghostscript to draw it.
    # Wrappers of other pictures: these are decoded before anyone can ask how large they are.
    "BLP",
    "FPX",
    "ICNS",
    "ICO",
    "IPTC",
    "MIC",
}

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings a picture of each EXIF orientation upright."""

_KEY_SCALES = {"L;2": 255 / 3, "L;4": 255 / 15, "RGB;16B": 1 / 256}
"""Pillow scales a PNG's samples to 8 bits, but not the transparent colour it names."""

# Not simply Exception: the signal that stops a worker (Celery's time limit) is one as well.
_PILLOW_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)

_STORAGE_ERRORS = (
    FileNotFoundError,
    IsADirectoryError,
    PermissionError,
    ConnectionError,
    TimeoutError,
)


def open_image(
    source: bytes | str | os.PathLike[str] | BinaryIO | Image.Image,
    *,
    max_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """Open a picture without decoding its pixels, and check its size.

    ``source`` is a file's content, its path, a seekable binary file, or an image already open.
    A path's file stays open until the pixels are read: use the result in a ``with`` statement.
    A PNG file is read once in full, because Pillow does not verify the checksums of its pixels.

    Raises `ImageError` for a file that is not a picture, is damaged, or has no pixels,
    `TooLargeError` for more than ``max_pixels``. That the file cannot be reached
    (`FileNotFoundError`, `PermissionError`, `ConnectionError`, `TimeoutError`) is not the
    picture's fault, and raised as it is.
    """
    with _pillow_errors():
        if isinstance(source, Image.Image):
            image = source
        else:
            Image.init()
            image = Image.open(
                BytesIO(source) if isinstance(source, bytes) else source,
                formats=[name for name in Image.ID if name not in REFUSED_FORMATS],
            )
        try:
            image.seek(0)
            _check_size(image, max_pixels)
            if image.format in REFUSED_FORMATS:
                raise ImageError(f"{image.format} pictures are not accepted")
            if isinstance(image, PngImageFile) and image.tile:
                _check_png(image)
            elif isinstance(image, BmpImageFile) and image.tile:
                _find_bmp_profile(image)
        except BaseException:
            if image is not source:
                with image:  # Closes a file that Pillow opened, and leaves the caller's open.
                    raise
            raise
    return image


def displayed_size(image: Image.Image) -> tuple[int, int]:
    """Width and height with the EXIF orientation applied. Decodes no pixel."""
    width, height = image.size
    # Pillow turns TIFF itself while decoding, and already gives the size it will have then.
    if ExifTags.Base.Orientation in getattr(image, "tag_v2", ()):
        return width, height
    with _pillow_errors():
        sideways = _orientation(image) in (5, 6, 7, 8)
    return (height, width) if sideways else (width, height)


def read(image: Image.Image) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Decode the pixels, upright and in sRGB; of an animation the first frame.

    Returns RGB, ``uint8 (H, W, 3)``, and alpha, ``uint8 (H, W)``, not premultiplied;
    alpha is None where every pixel is opaque.

    16-bit samples are rounded to 8 bits. An embedded colour profile is applied where it fits
    the picture, else ignored; CMYK without one is taken as ideal inks.

    Raises `ImageError` for damaged pixels, and for grey levels without a known white:
    integers outside 0 to 65535, floating point outside 0 to 1.
    """
    with _pillow_errors():
        image.seek(0)
        # Both before loading, which forgets the file's bit depth and may come upon XMP behind
        # the pixels that `displayed_size` could not see.
        key = _transparent_colour(image)
        orientation = _orientation(image)
        image.load()
        if image.format != "TIFF" and orientation in _TURNS:
            image = image.transpose(_TURNS[orientation])
        colours, alpha = _separate(image, key)
        rgb = np.array(_to_srgb(colours, image.info.get("icc_profile")))
        if alpha is not None and alpha.min() == 255:
            alpha = None
    return rgb, alpha


def pad(rgb: NDArray[np.uint8], multiple: int = 8) -> NDArray[np.uint8]:
    """Mirror a picture beyond its right and bottom edge, to a multiple of ``multiple``.

    ``(H, W, ...)`` becomes ``(ceil(H / multiple) * multiple, ...)``. The edge itself is not
    repeated, unless there is a single pixel. A picture that fits already is returned as it is.
    """
    for axis in (0, 1):
        missing = -rgb.shape[axis] % multiple
        if missing:
            widths = [(0, 0)] * rgb.ndim
            widths[axis] = (0, missing)
            rgb = np.pad(rgb, widths, mode="reflect" if rgb.shape[axis] > 1 else "edge")
    return rgb


def assemble(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8] | None) -> Image.Image:
    """Make an image of mode RGB, or RGBA with ``alpha``: `read` turned around."""
    image = Image.fromarray(rgb)
    if alpha is not None:
        image.putalpha(Image.fromarray(alpha))
    return image


@contextmanager
def _pillow_errors() -> Iterator[None]:
    """Turn whatever Pillow raises into `ImageError`, and keep its warnings from the caller.

    Python's filters of warnings belong to all threads. Two that overlap here may leave this
    one behind; it names Pillow's modules and nothing else, so no other warning is lost.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            yield
        except _STORAGE_ERRORS:
            raise
        except UnidentifiedImageError as error:
            raise ImageError(
                "not a picture, broken at its start, or not of an accepted format "
                f"(all that Pillow reads, except {', '.join(sorted(REFUSED_FORMATS))})"
            ) from error
        except Image.DecompressionBombError as error:
            raise TooLargeError(f"over Pillow's own limit: {error}") from error
        except _PILLOW_ERRORS as error:
            raise ImageError(f"broken picture: {error or type(error).__name__}") from error


def _check_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise ImageError(f"a picture of {width}x{height} has no pixels")
    if width * height > max_pixels:
        raise TooLargeError(f"a picture of {width}x{height} is over {max_pixels} pixels")


def _check_png(image: PngImageFile) -> None:
    """Verify the checksum of every chunk, and pick up EXIF that comes after the pixels."""
    file = image.fp
    assert file is not None
    position = file.tell()
    file.seek(8)
    kind = b""
    while kind != b"IEND":
        header = file.read(8)
        if len(header) < 8:
            raise ImageError("broken picture: the PNG file is cut short")
        length, kind = struct.unpack(">I4s", header)
        content = file.read(length)
        if file.read(4) != zlib.crc32(content, zlib.crc32(kind)).to_bytes(4):
            raise ImageError(f"broken picture: damaged PNG chunk {kind!r}")
        if kind == b"eXIf":
            image.info.setdefault("exif", content)
    file.seek(position)


def _find_bmp_profile(image: BmpImageFile) -> None:
    """Pick up the colour profile that a BITMAPV5HEADER may point to; Pillow does not."""
    file = image.fp
    assert file is not None
    position = file.tell()
    file.seek(14)
    header = file.read(124)
    if len(header) == 124 and header[0] == 124 and header[56:60] == b"DEBM":
        offset, size = struct.unpack_from("<II", header, 112)
        file.seek(14 + offset)
        image.info.setdefault("icc_profile", file.read(size))
    file.seek(position)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) where none can be read."""
    try:
        # Not image.getexif(): PNG's decodes the pixels, in case EXIF comes after them.
        exif = Image.Image.getexif(image)
    except _PILLOW_ERRORS:
        return 1
    orientation = exif.get(ExifTags.Base.Orientation)
    return orientation if isinstance(orientation, int) else 1


def _transparent_colour(image: Image.Image) -> int | tuple[int, ...] | None:
    """The one colour (8 bits a sample, or 16-bit grey) that stands for full transparency.

    Pillow keeps the upper 8 bits of 16-bit RGB only, so these alone are compared there.
    """
    key = image.info.get("transparency")
    if not isinstance(key, int | tuple):
        return None
    if image.mode == "1":
        return 255 if key else 0  # Pillow 11 says 1 for white.
    tiles = getattr(image, "tile", None)
    scale = _KEY_SCALES.get(tiles[0][3], 1) if tiles and image.format == "PNG" else 1
    return int(key * scale) if isinstance(key, int) else tuple(int(k * scale) for k in key)


def _separate(
    image: Image.Image, key: int | tuple[int, ...] | None
) -> tuple[Image.Image, NDArray[np.uint8] | None]:
    """Split into colours (mode L, RGB, CMYK or LAB) and alpha, both 8 bits."""
    if image.mode == "F" or image.mode.startswith("I"):
        levels = np.asarray(image)
        return Image.fromarray(_to_8_bits(levels, image)), _alpha_of_key(levels, key)
    if image.mode in ("CMYK", "LAB"):
        return image, None
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    if image.mode in ("1", "L", "RGB"):
        colours = image.convert(mode)
        return colours, _alpha_of_key(np.asarray(colours), key)
    if image.has_transparency_data:
        image = image.convert(mode + "A")
        return image.convert(mode), np.array(image.getchannel("A"))
    return image.convert(mode), None


def _alpha_of_key(
    samples: NDArray[Any], key: int | tuple[int, ...] | None
) -> NDArray[np.uint8] | None:
    if key is None:
        return None
    same = samples == np.asarray(key)
    if same.ndim == 3:
        same = same.all(axis=2)
    return np.where(same, 0, 255).astype(np.uint8)


def _to_8_bits(levels: NDArray[Any], image: Image.Image) -> NDArray[np.uint8]:
    """Scale wide grey levels of ``image`` so that white becomes 255."""
    tags = getattr(image, "tag_v2", {})
    white = 65535
    if image.mode == "F":
        white = 1
    elif 12 in tags.get(ExifTags.Base.BitsPerSample, ()):
        white = 4095
    low, high = levels.min(), levels.max()
    if not (low >= 0 and high <= white):  # Also where one of them is not a number.
        raise ImageError(f"grey levels from {low} to {high}: only 0 to {white} have a meaning")
    scaled = levels.astype(np.float32)
    scaled *= 255 / white
    grey = np.rint(scaled, out=scaled).astype(np.uint8)
    white_is_zero = tags.get(ExifTags.Base.PhotometricInterpretation) == 0
    return 255 - grey if white_is_zero else grey


def _to_srgb(colours: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert from the ICC ``profile``'s colours, or else from what the mode says."""
    if profile:
        try:
            # Black stays black, also of inks that are not quite: as photo editors do it.
            return ImageCms.buildTransform(
                BytesIO(profile),
                ImageCms.createProfile("sRGB"),
                colours.mode,
                "RGB",
                ImageCms.Intent.RELATIVE_COLORIMETRIC,
                ImageCms.Flags.BLACKPOINTCOMPENSATION,
            ).apply(colours)
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError) as error:
            logger.info("ignored a colour profile that does not fit the picture: %s", error)
    return colours.convert("RGB")
