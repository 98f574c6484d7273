"""Pictures of every kind to arrays and back."""

import io
import random
import struct
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageFile

from django_latentimg.codec.errors import ImageError
from django_latentimg.codec.pixels import (
    MAX_PIXELS,
    assemble,
    displayed_size,
    open_image,
    pad,
    read,
)
from tests.conftest import SHARED, image_bytes

pytestmark = pytest.mark.filterwarnings("error")

Array = NDArray[Any]

INPUTS = SHARED / "inputs"
needs_inputs = pytest.mark.skipif(
    not INPUTS.exists(), reason="../shared/inputs, the awkward pictures, is not here"
)

MAY_BE_REFUSED = {
    # What Pillow does not read (yet), or is broken so that giving up is right.
    *(f"image-rs/test-images/bmp/images/{name}.bmp" for name in (
        "V3_A4_R4_G4_B4", "V3_A4_R4_G4_B4_Top_Down", "V3_X4_R4_G4_B4",
        "V3_X4_R4_G4_B4_Top_Down", "pal2", "pal2color", "pal4rlecut", "rgb16-231",
        "rgb32-111110", "rgb32bf", "rgba16-1924", "rgba32-61754",
    )),
    *(f"image-rs/test-images/tiff/testsuite/{name}.tiff" for name in (
        "hpredict_cmyk", "rgb32f_bw", "rgb32f_color",
    )),
    "mozjpeg/testorig12.jpg",
}  # fmt: skip

MUST_BE_REFUSED = {
    *(f"image-rs/test-images/bmp/images/Bad_{name}.bad_bmp" for name in (
        "badbitcount", "clrsUsed", "height", "pal8oversizepal", "reallybig", "shortfile",
        "unusual_extend_buffer_usage", "width",
    )),
    *(f"image-rs/test-images/ico/images/{name}" for name in (
        "Bad_smile-incorrect-image-length.bad_ico", "bmp-24bpp-mask.ico",
        "bmp-32bpp-alpha.ico", "multiple_entries_with_different_bit_depth.ico",
        "png-32bpp-alpha.ico", "smile.ico", "two-entry-order-test.ico",
    )),
    # Not pictures at all.
    "image-rs/LICENSE-MIT", "image-rs/test-images/jpg/expected_xmp.bin", "mozjpeg/LICENSE",
    "mozjpeg/test.scan", "mozjpeg/test1.icc", "mozjpeg/test1.icc.txt", "mozjpeg/test3.icc",
    "mozjpeg/test3.icc.txt", "pngsuite/LICENSE", "pngsuite/README",
}  # fmt: skip

SAME_PICTURES = [
    ("image-rs/test-images/bmp/images", [
        f"{name}{rows}.bmp"
        for name in ("Info_4_Bit", "Info_8_Bit", "Info_R8_G8_B8", "Info_A8_R8_G8_B8",
                     "Info_X1_R5_G5_B5", "V3_R5_G6_B5", "V3_X8_R8_G8_B8", "V3_A1_R5_G5_B5")
        for rows in ("", "_Top_Down")
    ]),
    ("image-rs/test-images/bmp/images", ["pal8rle.bmp", "pal8v4.bmp", "pal8v5.bmp"]),
    ("image-rs/test-images/tiff/testsuite", ["l1.tiff", "l1_xmp.tiff"]),
    ("image-rs/test-images/webp/lossless_images", ["simple.webp", "simple_xmp.webp"]),
    ("mozjpeg", ["testimgari.jpg", "testimgint.jpg"]),
    *(("pngsuite", [f"basn{kind}.png", f"basi{kind}.png"]) for kind in (
        "0g01", "0g02", "0g04", "0g08", "0g16", "2c08", "2c16", "3p01", "3p02", "3p04",
        "3p08", "4a08", "4a16", "6a08", "6a16",
    )),
    ("pngsuite", ["tbbn2c16.png", "tbgn2c16.png", "tbrn2c08.png"]),
]  # fmt: skip

GRADIENT = np.stack(
    np.broadcast_arrays(np.arange(6)[:, None] * 50, np.arange(10) * 28, 90), axis=2
).astype(np.uint8)
"""6 rows, 10 columns, no two pixels alike."""


def pixels_of(source: Any) -> tuple[Array, Array | None]:
    """What `read` gives, after a look at what always holds."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # A file that Pillow opened, and may keep open for the next frame, is closed here.
        with open_image(source) as image:
            width, height = displayed_size(image)
            rgb, alpha = read(image)
    assert rgb.dtype == np.uint8
    assert rgb.shape == (height, width, 3)
    assert rgb.flags.writeable
    if alpha is not None:
        assert alpha.dtype == np.uint8
        assert alpha.shape == (height, width)
        assert alpha.min() < 255
    return rgb, alpha


def distance(one: Array, other: Array) -> float:
    """Largest difference of any two samples."""
    return float(np.abs(one.astype(float) - other).max())


# Files of other people


def corpus(*patterns: str) -> list[Any]:
    names = [
        path.relative_to(INPUTS).as_posix()
        for pattern in patterns
        for path in sorted(INPUTS.glob(pattern))
        if path.is_file()
    ]
    return names or [pytest.param("", marks=needs_inputs)]


@pytest.mark.parametrize("name", corpus("**/*"))
def test_read__awkward_files(name: str) -> None:
    if name in MUST_BE_REFUSED or name.startswith("pngsuite/x"):
        with pytest.raises(ImageError):
            pixels_of(INPUTS / name)
        return
    try:
        pixels_of(INPUTS / name)
    except ImageError:
        assert name in MAY_BE_REFUSED


@pytest.mark.parametrize(
    "name",
    corpus(
        "pngsuite/[!x]*.png",
        *(
            f"image-rs/*/png/{kind}/*.png"
            for kind in (
                "16bpc",
                "interlaced",
                "transparency",
            )
        ),
    ),
)
def test_read__png_as_the_reference_decodes_it(name: str) -> None:
    rgb, alpha = pixels_of(INPUTS / name)
    expected, expected_alpha, depth, colour = reference_png((INPUTS / name).read_bytes())
    # Pillow keeps the upper byte of 16 bits in colour and with alpha; grey is rounded.
    tolerance = 0.5 if depth < 16 or colour == 0 else 1
    assert distance(rgb, expected) <= tolerance
    if expected_alpha.min() == 255:
        assert alpha is None
    else:
        assert alpha is not None
        assert distance(alpha, expected_alpha) <= tolerance


@needs_inputs
@pytest.mark.parametrize(("folder", "names"), SAME_PICTURES)
def test_read__same_picture_in_several_encodings(folder: str, names: list[str]) -> None:
    first, first_alpha = pixels_of(INPUTS / folder / names[0])
    for name in names[1:]:
        rgb, alpha = pixels_of(INPUTS / folder / name)
        np.testing.assert_array_equal(rgb, first)
        np.testing.assert_array_equal(alpha, first_alpha)


@needs_inputs
def test_read__jpeg_is_close_to_its_original() -> None:
    original, _ = pixels_of(INPUTS / "mozjpeg/testorig.ppm")
    jpeg, _ = pixels_of(INPUTS / "mozjpeg/testorig.jpg")
    assert np.abs(original.astype(float) - jpeg).mean() < 1


@needs_inputs
def test_read__profile_in_a_bmp_of_others() -> None:
    folder = INPUTS / "image-rs/test-images/bmp/images"
    plain, _ = pixels_of(folder / "rgb24.bmp")
    profiled, _ = pixels_of(folder / "rgb24prof2.bmp")
    with Image.open(folder / "rgb24prof2.bmp") as image:
        stored = np.asarray(image).astype(float)
    assert np.abs(stored - plain).mean() > 20
    assert np.abs(profiled.astype(float) - plain).mean() < 2


@needs_inputs
def test_read__press_profile_of_others() -> None:
    profile = (INPUTS / "mozjpeg/test1.icc").read_bytes()
    inks = Image.new("CMYK", (4, 1))
    inks.putdata([(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0)])
    rgb, _ = pixels_of(image_bytes(inks, "TIFF", icc_profile=profile))
    # The well-known colours of process inks on paper.
    expected = np.array([[255, 255, 255], [0, 174, 239], [236, 0, 140], [255, 242, 0]])
    assert distance(rgb[0], expected) <= 2


def reference_png(content: bytes) -> tuple[Array, Array, int, int]:
    """Decode a valid PNG file by the letter of its specification, slowly.

    Returns RGB (H, W, 3) and alpha (H, W), both 0 to 255 in floating point, bit depth and
    colour type.
    """
    chunks: dict[bytes, bytes] = {}
    position = 8
    while position < len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        # Joins IDAT; of an animation's other chunks nothing is used.
        chunks[kind] = chunks.get(kind, b"") + content[position + 8 : position + 8 + length]
        position += 12 + length
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    data = zlib.decompress(chunks[b"IDAT"])
    samples = np.zeros((height, width, channels), int)
    for left, top, step_x, step_y in ADAM7 if interlaced else [(0, 0, 1, 1)]:
        columns = len(range(left, width, step_x))
        rows = len(range(top, height, step_y)) if columns else 0
        row_bytes = (columns * channels * depth + 7) // 8
        above = bytearray(row_bytes)
        for y in range(rows):
            row = unfilter(data[0], data[1 : 1 + row_bytes], above, -(-channels * depth // 8))
            data = data[1 + row_bytes :]
            above = row
            bits = np.unpackbits(np.frombuffer(row, np.uint8))[: columns * channels * depth]
            values = bits.reshape(-1, depth) @ (1 << np.arange(depth)[::-1])
            samples[top + y * step_y, left::step_x] = values.reshape(-1, channels)
    white = 2**depth - 1
    key = chunks.get(b"tRNS")
    alpha = np.full((height, width), 255.0)
    if colour == 3:
        palette = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)
        if key is not None:
            alphas = np.full(len(palette), 255)
            alphas[: len(key)] = list(key)
            alpha = alphas[samples[..., 0]].astype(float)
        return palette[samples[..., 0]].astype(float), alpha, depth, colour
    if colour in (4, 6):
        alpha = samples[..., -1] * 255 / white
        samples = samples[..., :-1]
    elif key is not None:
        alpha[(samples == struct.unpack(f">{channels}H", key)).all(axis=2)] = 0
    rgb = np.broadcast_to(samples * 255 / white, (height, width, 3))
    return rgb, alpha, depth, colour


ADAM7 = [
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
]


def unfilter(kind: int, filtered: bytes, above: bytearray, pixel_bytes: int) -> bytearray:
    """One row of a PNG, as in section 9.2 of its specification."""
    if kind == 0:
        return bytearray(filtered)
    row = bytearray(pixel_bytes) + filtered
    above = bytearray(pixel_bytes) + above
    for i in range(pixel_bytes, len(row)):
        a, b, c = row[i - pixel_bytes], above[i], above[i - pixel_bytes]
        nearest = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))
        row[i] = (row[i] + (0, a, b, (a + b) // 2, nearest[2])[kind]) & 255
    return row[pixel_bytes:]


# Ways in


def test_open_image__each_kind_of_source(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    image = Image.fromarray(GRADIENT)
    image.save(path)
    with path.open("rb") as file:
        for source in (path, str(path), path.read_bytes(), file, image):
            rgb, alpha = pixels_of(source)
            np.testing.assert_array_equal(rgb, GRADIENT)
            assert alpha is None


def test_open_image__leaves_the_callers_file_open() -> None:
    for content in (image_bytes(Image.fromarray(GRADIENT)), b"no picture"):
        file = io.BytesIO(content)
        with pytest.raises(ImageError):
            open_image(file, max_pixels=1)
        assert not file.closed


def test_open_image__closes_the_file_of_a_refused_picture(tmp_path: Path) -> None:
    path = tmp_path / "picture.tiff"
    Image.fromarray(GRADIENT).save(path)
    opened = open_descriptors()
    with pytest.raises(ImageError, match="over 59 pixels"):
        open_image(path, max_pixels=59)
    assert open_descriptors() <= opened


def open_descriptors() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def test_open_image__file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_image(tmp_path / "nowhere.jpg")


class Interrupted(io.BytesIO):
    """A file in a storage that goes away after its first bytes."""

    def __init__(self, content: bytes, error: BaseException) -> None:
        super().__init__(content)
        self.error = error

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() >= 16:
            raise self.error
        return super().read(size)


class TimeLimitError(Exception):
    """Like the one with which Celery stops a task."""


@pytest.mark.parametrize("error", [ConnectionResetError(), TimeLimitError()])
def test_open_image__interruption_is_not_the_pictures_fault(error: Exception) -> None:
    content = image_bytes(Image.fromarray(GRADIENT))
    with pytest.raises(type(error)):
        read(open_image(Interrupted(content, error)))


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"llama", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"<svg></svg>"]
)
def test_open_image__no_picture(content: bytes) -> None:
    with pytest.raises(ImageError, match="picture"):
        open_image(content)


def test_open_image__formats_that_run_programs_or_hide_their_size() -> None:
    eps = image_bytes(Image.fromarray(GRADIENT), "EPS")
    icon = image_bytes(Image.new("RGB", (64, 64)), "ICO")
    for content in (eps, icon, image_bytes(Image.new("RGB", (64, 64)), "ICNS")):
        with pytest.raises(ImageError, match="except BLP, EPS, FPX, ICNS, ICO"):
            open_image(content)
    with pytest.raises(ImageError, match="EPS pictures are not accepted"):
        open_image(Image.open(io.BytesIO(eps)))


# Limits


def png_claiming(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return png_of([(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")])


def png_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 8
    while position < len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        yield kind, content[position + 8 : position + 8 + length]
        position += 12 + length


def patched(format: str, places: dict[int, bytes], **options: Any) -> bytes:
    content = bytearray(image_bytes(Image.fromarray(GRADIENT), format, **options))
    for place, claim in places.items():
        content[place : place + len(claim)] = claim
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        png_claiming(2**31 - 1, 2**31 - 1),
        png_claiming(100_000, 1000),
        png_claiming(MAX_PIXELS + 1, 1),
        patched("GIF", {6: b"\xff\xff\xff\xff"}),
        patched("BMP", {18: struct.pack("<ii", 2**20, 2**20)}),
        patched("QOI", {4: struct.pack(">II", 2**31, 2**31)}),
        b"P6 300000 300000 255\n",
    ],
    ids=["png-4e18", "png-1e8", "png-row", "gif", "bmp", "qoi", "ppm"],
)
def test_open_image__huge_claim_is_refused_at_once(content: bytes) -> None:
    started = time.perf_counter()
    with pytest.raises(ImageError, match=r"over|pixels"):
        open_image(content)
    assert time.perf_counter() - started < 5


def test_open_image__huge_jpeg_claim() -> None:
    content = image_bytes(Image.fromarray(GRADIENT), "JPEG")
    frame = content.index(b"\xff\xc0")
    claim = struct.pack(">HH", 9000, 9000)  # Over our limit, not yet over Pillow's.
    with pytest.raises(ImageError, match=f"9000x9000 is over {MAX_PIXELS} pixels"):
        open_image(content[: frame + 5] + claim + content[frame + 9 :])


def test_open_image__limit_is_inclusive() -> None:
    content = image_bytes(Image.fromarray(GRADIENT))
    open_image(content, max_pixels=60)
    with pytest.raises(ImageError, match="10x6 is over 59 pixels"):
        open_image(content, max_pixels=59)


@pytest.mark.parametrize("size", [(0, 7), (7, 0), (0, 0)])
def test_open_image__no_pixels(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError):
        open_image(png_claiming(*size))
    with pytest.raises(ImageError, match="no pixels"):
        open_image(Image.new("RGB", size))


@pytest.mark.parametrize(("pillows_limit", "refused"), [(None, False), (40, False), (20, True)])
def test_open_image__pillows_own_limit(
    monkeypatch: pytest.MonkeyPatch, pillows_limit: int | None, refused: bool
) -> None:
    """Pillow warns over its limit and raises over twice that; 60 pixels here."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillows_limit)
    filters = list(warnings.filters)
    content = image_bytes(Image.fromarray(GRADIENT))
    if refused:
        with pytest.raises(ImageError, match="limit"):
            open_image(content)
    else:
        np.testing.assert_array_equal(pixels_of(content)[0], GRADIENT)
        with pytest.raises(ImageError, match="over 59 pixels"):
            open_image(content, max_pixels=59)
    assert pillows_limit == Image.MAX_IMAGE_PIXELS
    assert list(warnings.filters) == filters
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


# Damage

FORMATS: list[tuple[str, dict[str, Any]]] = [
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("PNG", {}),
    ("GIF", {}),
    ("WEBP", {}),
    ("WEBP", {"lossless": True}),
    ("AVIF", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ("BMP", {}),
    ("JPEG2000", {}),
    ("PPM", {}),
]


def noise(width: int = 64, height: int = 48, mode: str = "RGB") -> Image.Image:
    shape = (height, width) if mode == "L" else (height, width, len(mode))
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8))


@pytest.mark.parametrize(("format", "options"), FORMATS)
@pytest.mark.parametrize("part", [0.05, 0.6, 0.95, 0.999])
def test_read__truncated_file(format: str, options: dict[str, Any], part: float) -> None:
    content = image_bytes(noise(), format, **options)
    with pytest.raises(ImageError):
        pixels_of(content[: int(len(content) * part)])


@pytest.mark.parametrize(("format", "options"), FORMATS)
def test_read__mutated_file_is_a_picture_or_an_error(format: str, options: dict[str, Any]) -> None:
    original = image_bytes(noise(24, 16), format, **options)
    generator = random.Random(format)
    for _ in range(60):
        content = bytearray(original)
        for _ in range(generator.choice((1, 2, 8))):
            # Half of the hits go to the first bytes, where the structure is.
            end = generator.choice((min(200, len(content)), len(content)))
            content[generator.randrange(end)] = generator.choice((0, 1, 127, 128, 255))
        try:
            with open_image(bytes(content), max_pixels=2**16) as image:
                width, height = displayed_size(image)
                rgb, _ = read(image)
        except ImageError:
            continue
        assert rgb.shape == (height, width, 3)


def test_open_image__png_with_a_wrong_checksum_of_pixels() -> None:
    """Pillow alone reads it without a word."""
    content = bytearray(image_bytes(Image.fromarray(GRADIENT)))
    content[content.index(b"IEND") - 5] ^= 1
    Image.open(io.BytesIO(content)).load()
    with pytest.raises(ImageError, match="damaged PNG chunk b'IDAT'"):
        open_image(bytes(content))


# Orientation

TURNED: dict[int, Callable[[Array], Array]] = {
    # How EXIF orientation n stores a picture: where its displayed rows and columns go.
    1: lambda shown: shown,
    2: lambda shown: shown[:, ::-1],
    3: lambda shown: shown[::-1, ::-1],
    4: lambda shown: shown[::-1],
    5: lambda shown: shown.swapaxes(0, 1),
    6: lambda shown: shown.swapaxes(0, 1)[::-1],
    7: lambda shown: shown[::-1, ::-1].swapaxes(0, 1),
    8: lambda shown: shown.swapaxes(0, 1)[:, ::-1],
}
LOSSLESS: list[tuple[str, dict[str, Any]]] = [
    ("PNG", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("WEBP", {"lossless": True, "exact": True}),
]


def exif_of(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif.tobytes()


@pytest.mark.parametrize(("format", "options"), LOSSLESS)
@pytest.mark.parametrize("orientation", TURNED)
def test_read__exif_orientation(orientation: int, format: str, options: dict[str, Any]) -> None:
    shown = np.dstack([GRADIENT, 255 - GRADIENT[..., 1]])
    stored = Image.fromarray(np.ascontiguousarray(TURNED[orientation](shown)))
    content = image_bytes(stored, format, exif=exif_of(orientation), **options)
    rgb, alpha = pixels_of(content)
    np.testing.assert_array_equal(rgb, GRADIENT)
    np.testing.assert_array_equal(alpha, shown[..., 3])


@pytest.mark.parametrize("format", ["JPEG", "AVIF"])
@pytest.mark.parametrize("orientation", TURNED)
def test_read__exif_orientation_of_lossy_formats(orientation: int, format: str) -> None:
    shown = np.repeat(np.repeat(GRADIENT, 16, axis=0), 16, axis=1)
    stored = Image.fromarray(np.ascontiguousarray(TURNED[orientation](shown)))
    content = image_bytes(
        stored, format, exif=exif_of(orientation), quality=100, subsampling="4:4:4"
    )
    assert displayed_size(open_image(content)) == (160, 96)
    assert distance(pixels_of(content)[0], shown) <= 8


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_displayed_size__decodes_no_pixel(format: str) -> None:
    """The pixels' end is missing, which nobody notices who does not decode them."""
    content = image_bytes(noise(60, 90), format, exif=exif_of(6))[:-500]
    # open_image() would look at the checksums of PNG.
    image = Image.open(io.BytesIO(content)) if format == "PNG" else open_image(content)
    assert displayed_size(image) == (90, 60)
    with pytest.raises(ImageError):
        read(image)


def test_read__exif_behind_the_pixels_of_a_png() -> None:
    """As ExifTool writes it."""
    chunks = list(png_chunks(image_bytes(Image.fromarray(GRADIENT), exif=exif_of(8))))
    chunks.sort(key=lambda chunk: [b"IHDR", b"IDAT", b"eXIf", b"IEND"].index(chunk[0]))
    content = png_of(chunks)
    assert displayed_size(open_image(content)) == (6, 10)
    np.testing.assert_array_equal(TURNED[8](pixels_of(content)[0]), GRADIENT)


def test_displayed_size__agrees_with_read_on_xmp_behind_the_pixels_of_a_png() -> None:
    """Pillow comes upon it while decoding: too late, so it must not count at all."""
    xmp = b'XML:com.adobe.xmp\0\0\0\0\0<rdf:Description tiff:Orientation="6"/>'
    *chunks, end = png_chunks(image_bytes(Image.fromarray(GRADIENT)))
    content = png_of([*chunks, (b"iTXt", xmp), end])
    assert Image.open(io.BytesIO(content)).getexif()[ExifTags.Base.Orientation] == 6
    assert pixels_of(content)[0].shape == (6, 10, 3)
    assert read(open_image(content))[0].shape == (6, 10, 3)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_displayed_size__orientation_in_xmp(format: str) -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    options: dict[str, Any] = {"xmp": xmp}
    if format == "PNG":
        from PIL.PngImagePlugin import PngInfo

        options = {"pnginfo": PngInfo()}
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
    elif format == "TIFF":
        options = {"tiffinfo": {ExifTags.Base.XMLPacket: xmp}}
    content = image_bytes(Image.fromarray(GRADIENT), format, **options)
    assert displayed_size(open_image(content)) == (6, 10)
    assert pixels_of(content)[0].shape == (10, 6, 3)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0rubbish",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        exif_of(9),
        exif_of(0),
    ],
)
def test_read__broken_exif_is_upright(exif: bytes) -> None:
    for format in ("PNG", "JPEG", "WEBP"):
        content = image_bytes(Image.fromarray(GRADIENT), format, exif=exif)
        assert pixels_of(content)[0].shape == GRADIENT.shape, format


def test_read__orientation_beside_a_broken_tag() -> None:
    """Pillow warns of the tag, whose text would lie behind the end; nobody needs to hear it."""
    tags = struct.pack("<HHII", 0x112, 3, 1, 6) + struct.pack("<HHII", 0x131, 2, 100, 9999)
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + tags + bytes(4)
    for format in ("PNG", "JPEG", "WEBP"):
        content = image_bytes(Image.fromarray(GRADIENT), format, exif=exif)
        assert pixels_of(content)[0].shape == (10, 6, 3), format


def test_read__no_metadata_leaves() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "A. Llama"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (48.0, 12.0, 30.0)
    content = image_bytes(
        Image.fromarray(GRADIENT), "JPEG", exif=exif.tobytes(), comment=b"A. Llama at home"
    )
    assert open_image(content).getexif().get_ifd(ExifTags.IFD.GPSInfo)
    image = assemble(*read(open_image(content)))
    assert image.info == {}
    assert not image.getexif()
    assert b"Llama" not in image_bytes(image, "JPEG")


# Colour profiles


def icc_profile(space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ") -> bytes:
    """An ICC version 2 profile; section 7 of the specification."""
    table, content = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, tag in tags.items():
        table += struct.pack(">4sII", name, start + len(content), len(tag))
        content += tag + bytes(-len(tag) % 4)
    header = struct.pack(
        ">I4xI4s4s4s12x4s28xIII48x",
        start + len(content),
        0x02400000,
        b"prtr" if space == b"CMYK" else b"mntr",
        space,
        connection,
        b"acsp",
        *(0x0000F6D6, 0x00010000, 0x0000D32D),  # D50
    )
    return header + table + content


def icc_xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def icc_gamma(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


SRGB_PRIMARIES = (
    icc_xyz(0.4360747, 0.2225045, 0.0139322),
    icc_xyz(0.3850649, 0.7168786, 0.0971045),
    icc_xyz(0.1430804, 0.0606169, 0.7141733),
)


def rgb_profile(gamma: float, order: tuple[int, int, int] = (0, 1, 2)) -> bytes:
    """sRGB's primaries, in another order, with a plain power as curve."""
    tags = {b"wtpt": icc_xyz(0.9642, 1, 0.8249)}
    for name, primary in zip((b"r", b"g", b"b"), order, strict=True):
        tags[name + b"XYZ"] = SRGB_PRIMARIES[primary]
        tags[name + b"TRC"] = icc_gamma(gamma)
    return icc_profile(b"RGB ", tags)


def grey_profile(gamma: float) -> bytes:
    white = icc_xyz(0.9642, 1, 0.8249)
    return icc_profile(b"GRAY", {b"wtpt": white, b"kTRC": icc_gamma(gamma)})


def cmyk_profile() -> bytes:
    """Paper is white, full cyan ink looks red, every other mixture is black."""
    corners = [(0, 128, 128)] * 16
    corners[0b0000] = (255, 128, 128)
    corners[0b1000] = (138, 209, 198)  # sRGB's red in L*, a*, b* of 8 bits.
    lookup = struct.pack(">4s4xBBBx9i", b"mft1", 4, 3, 2, *(65536 * (i % 4 == 0) for i in range(9)))
    lookup += bytes(range(256)) * 4
    lookup += b"".join(bytes(corner) for corner in corners)
    lookup += bytes(range(256)) * 3
    tags = {b"wtpt": icc_xyz(0.9642, 1, 0.8249), b"A2B0": lookup, b"A2B1": lookup}
    return icc_profile(b"CMYK", tags, b"Lab ")


def from_linear(grey: Array) -> Array:
    """Light from 0 to 255 as sRGB's curve (IEC 61966-2-1) writes it."""
    light = grey / 255
    return 255 * np.where(light < 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF"])
def test_read__profile_with_swapped_channels(format: str) -> None:
    picture = Image.new("RGB", (16, 16), (255, 0, 0))
    options: dict[str, Any] = {"PNG": {}, "TIFF": {}}.get(format, {"quality": 100})
    rotated = rgb_profile(2.2, (1, 2, 0))  # What it calls red is sRGB's green.
    rgb, _ = pixels_of(image_bytes(picture, format, icc_profile=rotated, **options))
    assert distance(rgb, np.array([0, 255, 0])) <= 4


def test_read__profile_in_a_bmp() -> None:
    profile = rgb_profile(2.2, (1, 2, 0))
    # BITMAPV5HEADER, whose offset of the profile counts from the header.
    header = struct.pack("<IiiHHIIiiII", 124, 1, 1, 1, 24, 0, 4, 0, 0, 0, 0)
    header = header.ljust(56, b"\0") + b"DEBM"
    header = header.ljust(112, b"\0") + struct.pack("<IIxxxx", 124 + 4, len(profile))
    blue_green_red = b"\0\0\xff\0"
    start = struct.pack("<2sIxxxxI", b"BM", 138 + 4 + len(profile), 138)
    rgb, _ = pixels_of(start + header + blue_green_red + profile)
    assert distance(rgb, np.array([0, 255, 0])) <= 4


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_read__profile_with_another_curve(mode: str) -> None:
    image = Image.fromarray(RAMP).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(255 - RAMP))
    image.info["icc_profile"] = rgb_profile(1.0)
    rgb, alpha = pixels_of(image)
    expected = from_linear(RAMP.astype(float))[..., None]
    assert distance(rgb, expected) <= 1
    np.testing.assert_array_equal(alpha, 255 - RAMP if mode == "RGBA" else None)


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_read__profile_of_grey(mode: str) -> None:
    wide = Image.fromarray(RAMP.astype(np.uint16) * 257)
    image = wide if mode == "I;16" else Image.fromarray(RAMP).convert(mode)
    assert image.mode == mode
    content = image_bytes(image, "PNG", icc_profile=grey_profile(1.8))
    rgb, alpha = pixels_of(content)
    expected = from_linear(255 * (RAMP / 255) ** 1.8)[..., None]
    assert distance(RAMP[..., None], expected) > 10
    assert distance(rgb, expected) <= 2
    assert alpha is None


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_read__profile_of_inks(format: str) -> None:
    for inks, expected in (((0, 0, 0, 0), 255), ((255, 255, 255, 255), 0)):
        picture = Image.new("CMYK", (16, 16), inks)
        rgb, _ = pixels_of(image_bytes(picture, format, icc_profile=cmyk_profile()))
        assert distance(rgb, np.array(expected)) <= 2
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    red, _ = pixels_of(image_bytes(cyan, format, icc_profile=cmyk_profile()))
    assert distance(red, np.array([255, 0, 0])) <= 12


def test_read__lab() -> None:
    # L* of 53.6 % is the grey 128; b* of 60 is yellow.
    image = Image.frombytes("LAB", (4, 1), bytes([0, 0, 0, 137, 0, 0, 255, 0, 0, 137, 0, 60]))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for options in ({}, {"icc_profile": profile}):
        rgb, _ = pixels_of(image_bytes(image, "TIFF", **options))
        assert distance(rgb[0, :3], np.array([[0], [128], [255]])) <= 2
        red, green, blue = map(int, rgb[0, 3])
        assert red > blue + 80
        assert green > blue + 80


@pytest.mark.parametrize(
    ("mode", "profile"),
    [
        ("RGB", b"rubbish"),
        ("RGB", b"\0"),
        ("RGB", rgb_profile(1.0)[:200]),
        ("RGB", rgb_profile(1.0)[:64] + b"\xff" * 300),
        ("RGB", grey_profile(1.0)),
        ("RGB", cmyk_profile()),
        ("L", rgb_profile(1.0)),
        ("L", cmyk_profile()),
        ("CMYK", rgb_profile(1.0)),
        ("CMYK", grey_profile(1.0)),
    ],
)
def test_read__broken_or_foreign_profile_is_ignored(mode: str, profile: bytes) -> None:
    image = Image.fromarray(GRADIENT).convert(mode)
    content = image_bytes(image, "TIFF", icc_profile=profile)
    np.testing.assert_array_equal(pixels_of(content)[0], np.asarray(image.convert("RGB")))


def test_read__srgb_profile_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = image_bytes(Image.fromarray(GRADIENT), "PNG", icc_profile=profile)
    assert distance(pixels_of(content)[0], GRADIENT) <= 1


# Modes


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_read__cmyk_without_profile(format: str) -> None:
    colours = {
        (0, 0, 0, 0): (255, 255, 255),
        (0, 0, 0, 255): (0, 0, 0),
        (255, 0, 0, 0): (0, 255, 255),
        (0, 255, 0, 0): (255, 0, 255),
        (0, 0, 255, 0): (255, 255, 0),
        (0, 0, 0, 128): (127, 127, 127),
        (255, 255, 0, 0): (0, 0, 255),
    }
    for inks, colour in colours.items():
        options: dict[str, Any] = {"quality": 100} if format == "JPEG" else {}
        content = image_bytes(Image.new("CMYK", (16, 16), inks), format, **options)
        assert distance(pixels_of(content)[0], np.array(colour)) <= 2, inks


def test_read__palette_with_alpha_of_each_entry() -> None:
    image = Image.fromarray(RAMP[:1, :4]).copy()
    image.putpalette([9, 9, 9, 50, 60, 70, 200, 0, 0, 0, 200, 0])
    rgb, alpha = pixels_of(image_bytes(image, "PNG", transparency=bytes([0, 85, 170, 255])))
    assert rgb[0].tolist() == [[9, 9, 9], [50, 60, 70], [200, 0, 0], [0, 200, 0]]
    assert alpha is not None
    assert alpha[0].tolist() == [0, 85, 170, 255]


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_read__palette_with_one_transparent_entry(format: str) -> None:
    image = Image.fromarray(RAMP[:1, :4]).copy()
    image.putpalette([9, 9, 9, 50, 60, 70, 200, 0, 0, 0, 200, 0])
    content = image_bytes(image, format, transparency=2)
    assert open_image(content).info["transparency"] == 2
    rgb, alpha = pixels_of(content)
    assert rgb[0, [0, 1, 3]].tolist() == [[9, 9, 9], [50, 60, 70], [0, 200, 0]]
    assert alpha is not None
    assert alpha[0].tolist() == [255, 255, 0, 255]


@pytest.mark.parametrize(
    ("depth", "key", "row", "grey", "opaque"),
    [
        (1, 1, 0b10110000, [255, 0, 255, 255, 0], [0, 255, 0, 0, 255]),
        (2, 2, 0b00011011, [0, 85, 170, 255], [255, 255, 0, 255]),
        (4, 15, 0xF7, [255, 119], [0, 255]),
        (8, 200, 200, [200], [0]),
        (16, 0x1234, 0x1235, [18], [255]),
        (16, 0x1234, 0x1234, [18], [0]),
    ],
)
def test_read__transparent_grey(
    depth: int, key: int, row: int, grey: list[int], opaque: list[int]
) -> None:
    width = len(grey)
    pixels = row.to_bytes(2 if depth == 16 else 1, "big")
    content = png_of(
        [
            (b"IHDR", struct.pack(">IIBBBBB", width, 1, depth, 0, 0, 0, 0)),
            (b"tRNS", struct.pack(">H", key)),
            (b"IDAT", zlib.compress(b"\0" + pixels)),
            (b"IEND", b""),
        ]
    )
    rgb, alpha = pixels_of(content)
    assert rgb[0].tolist() == [[level] * 3 for level in grey]
    assert (alpha if alpha is not None else np.full((1, width), 255))[0].tolist() == opaque


@pytest.mark.parametrize("depth", [8, 16])
def test_read__transparent_colour(depth: int) -> None:
    samples = np.array([0x12, 0x34, 0x56, 0x12, 0x34, 0x57], f">u{depth // 8}")
    samples <<= depth - 8
    content = png_of(
        [
            (b"IHDR", struct.pack(">IIBBBBB", 2, 1, depth, 2, 0, 0, 0)),
            (b"tRNS", samples[:3].astype(">u2").tobytes()),
            (b"IDAT", zlib.compress(b"\0" + samples.tobytes())),
            (b"IEND", b""),
        ]
    )
    rgb, alpha = pixels_of(content)
    assert rgb[0].tolist() == [[0x12, 0x34, 0x56], [0x12, 0x34, 0x57]]
    assert alpha is not None
    assert alpha[0].tolist() == [0, 255]


def test_read__transparent_index_of_a_grey_gif() -> None:
    content = image_bytes(Image.fromarray(RAMP), "GIF", transparency=7)
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == "L"
    rgb, alpha = pixels_of(content)
    np.testing.assert_array_equal(alpha, np.where(RAMP == 7, 0, 255))
    np.testing.assert_array_equal(rgb[RAMP != 7], np.repeat(RAMP[RAMP != 7], 3).reshape(-1, 3))


def test_read__modes_with_alpha() -> None:
    straight = np.array([[[200, 100, 40, 128], [10, 20, 30, 255], [9, 9, 9, 0]]], np.uint8)
    rgba = Image.fromarray(straight)
    indexed = Image.frombytes("PA", (3, 1), bytes([0, 128, 1, 255, 2, 0]))
    indexed.putpalette(straight[0, :, :3].tobytes())
    for image in (rgba, rgba.convert("RGBa"), indexed):
        rgb, alpha = pixels_of(image)
        assert distance(rgb[0, :2], straight[0, :2, :3]) <= 1, image.mode
        np.testing.assert_array_equal(alpha, straight[..., 3])
    grey = Image.merge("LA", [rgba.getchannel("R"), rgba.getchannel("A")])
    for image in (grey, grey.convert("La")):
        rgb, alpha = pixels_of(image)
        assert distance(rgb[0, :2], straight[0, :2, :1]) <= 1, image.mode
        np.testing.assert_array_equal(alpha, straight[..., 3])


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa", "La"])
def test_read__fully_opaque_alpha_is_none(mode: str) -> None:
    assert pixels_of(Image.fromarray(GRADIENT).convert("RGBA").convert(mode))[1] is None


@pytest.mark.parametrize("mode", ["RGBX", "HSV", "YCbCr"])
def test_read__other_codings_of_colour(mode: str) -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [128, 128, 128]]], np.uint8)
    rgb, alpha = pixels_of(Image.fromarray(colours).convert(mode))
    assert distance(rgb, colours) <= 2
    assert alpha is None


def test_read__black_and_white() -> None:
    image = Image.fromarray(RAMP).convert("1", dither=Image.Dither.NONE)
    rgb, alpha = pixels_of(image_bytes(image, "PNG"))
    np.testing.assert_array_equal(rgb, np.where(RAMP > 127, 255, 0)[..., None].repeat(3, 2))
    assert alpha is None


WIDE = np.linspace(0, 65535, 1024, dtype=np.uint16).reshape(32, 32)


def tiff_of(
    rows: bytes, size: tuple[int, int], *, order: str = "<", bits: int = 16, **tags: int
) -> bytes:
    """An uncompressed grey TIFF, of kinds that Pillow does not write."""
    entries = {
        256: size[0],
        257: size[1],
        258: bits,
        259: 1,
        262: tags.get("photometric", 1),
        273: 8,
        277: 1,
        278: size[1],
        279: len(rows),
        339: tags.get("sample_format", 1),
    }
    start = 8 + len(rows) + len(rows) % 2
    directory = struct.pack(f"{order}H", len(entries)) + b"".join(
        struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in entries.items()
    )
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return (
        mark + struct.pack(f"{order}I", start) + rows + bytes(len(rows) % 2) + directory + bytes(4)
    )


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        (image_bytes(Image.fromarray(WIDE), "PNG"), "I;16"),
        (image_bytes(Image.fromarray(WIDE), "TIFF"), "I;16"),
        (image_bytes(Image.fromarray(WIDE), "TIFF", compression="tiff_lzw"), "I;16"),
        (tiff_of(WIDE.astype(">u2").tobytes(), (32, 32), order=">"), "I;16B"),
        (tiff_of((65535 - WIDE).astype("<u2").tobytes(), (32, 32), photometric=0), "I;16"),
        (b"P5 32 32 65535\n" + WIDE.astype(">u2").tobytes(), "I"),
    ],
    ids=["png", "tiff", "tiff-lzw", "tiff-big-endian", "tiff-white-is-zero", "pgm"],
)
def test_read__16_bit_grey(content: bytes, mode: str) -> None:
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == mode
    rgb, alpha = pixels_of(content)
    assert alpha is None
    assert distance(rgb, (WIDE.astype(float) / 257)[..., None]) <= 0.5
    assert len(np.unique(rgb)) == 256


def test_read__12_bit_grey_tiff() -> None:
    levels = np.arange(0, 4096, 4, dtype=np.uint16).reshape(32, 32)
    first, second = levels[:, ::2].ravel(), levels[:, 1::2].ravel()
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1)
    content = tiff_of(packed.astype(np.uint8).tobytes(), (32, 32), bits=12)
    rgb, _ = pixels_of(content)
    assert distance(rgb, (levels * (255 / 4095))[..., None]) <= 0.5


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I;16N", "I"])
def test_read__16_bit_grey_in_memory(mode: str) -> None:
    order = {"I;16B": ">u2", "I": "=i4", "I;16N": "=u2"}.get(mode, "<u2")
    image = Image.frombytes(mode, (32, 32), WIDE.astype(order).tobytes())
    assert distance(pixels_of(image)[0], (WIDE.astype(float) / 257)[..., None]) <= 0.5


def test_read__16_bit_grey_is_turned_and_keeps_its_key() -> None:
    stored = Image.fromarray(np.ascontiguousarray(TURNED[6](WIDE[:8])))
    content = image_bytes(stored, "PNG", exif=exif_of(6), transparency=0)
    rgb, alpha = pixels_of(content)
    assert distance(rgb, (WIDE[:8].astype(float) / 257)[..., None]) <= 0.5
    np.testing.assert_array_equal(alpha, np.where(WIDE[:8] == 0, 0, 255))


def test_read__16_bit_colour() -> None:
    wide = np.stack([WIDE, WIDE.T, 65535 - WIDE], -1)
    content = b"P6 32 32 65535\n" + wide.astype(">u2").tobytes()
    assert distance(pixels_of(content)[0], wide.astype(float) / 257) <= 1


def test_read__float_from_0_to_1() -> None:
    levels = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    rgb, _ = pixels_of(image_bytes(Image.fromarray(levels), "TIFF"))
    np.testing.assert_array_equal(rgb[..., 0], RAMP)


@pytest.mark.parametrize(
    "levels",
    [
        np.array([[0, 255]], np.float32),
        np.array([[-0.5, 1]], np.float32),
        np.array([[0, np.nan]], np.float32),
        np.array([[0, np.inf]], np.float32),
        np.array([[0, 65536]], np.int32),
        np.array([[-1, 255]], np.int32),
    ],
)
def test_read__levels_without_a_white(levels: Array) -> None:
    with pytest.raises(ImageError, match=r"grey levels from .* have a meaning"):
        pixels_of(image_bytes(Image.fromarray(levels), "TIFF"))


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_read__first_frame_of_an_animation(format: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    options: dict[str, Any] = {"lossless": True} if format == "WEBP" else {}
    path = tmp_path / "animation"
    frames[0].save(path, format, save_all=True, append_images=frames[1:], **options)
    rgb, _ = pixels_of(path)
    assert distance(rgb, np.array([255, 0, 0])) == 0
    for start in (pixels_of, read):
        with Image.open(path) as image:
            image.seek(1)
            assert distance(start(image)[0], np.array([255, 0, 0])) == 0


def test_read__a_single_pixel() -> None:
    for format in ("PNG", "GIF", "WEBP", "TIFF", "BMP"):
        options: dict[str, Any] = {"lossless": True} if format == "WEBP" else {}
        content = image_bytes(Image.new("RGB", (1, 1), (1, 2, 3)), format, **options)
        assert pixels_of(content)[0].tolist() == [[[1, 2, 3]]], format


# Padding and the way back

pictures = arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3)))


@given(pictures, st.sampled_from([1, 2, 8, 16]))
@settings(deadline=None)
def test_pad__then_crop_is_identity(rgb: NDArray[np.uint8], multiple: int) -> None:
    padded = pad(rgb, multiple)
    height, width = rgb.shape[:2]
    assert padded.dtype == np.uint8
    assert padded.shape == (-(-height // multiple) * multiple, -(-width // multiple) * multiple, 3)
    np.testing.assert_array_equal(padded[:height, :width], rgb)


def test_pad__mirrors_without_repeating_the_edge() -> None:
    row = np.arange(5, dtype=np.uint8)
    rgb = np.broadcast_to(row[:, None, None], (5, 8, 3)).copy()
    assert pad(rgb)[:, 0, 0].tolist() == [0, 1, 2, 3, 4, 3, 2, 1]
    assert pad(rgb[:2])[:, 0, 0].tolist() == [0, 1, 0, 1, 0, 1, 0, 1]
    assert pad(rgb.swapaxes(0, 1))[0, :, 0].tolist() == [0, 1, 2, 3, 4, 3, 2, 1]


def test_pad__repeats_a_single_pixel() -> None:
    rgb = np.array([[[1, 2, 3]]], np.uint8)
    np.testing.assert_array_equal(pad(rgb), np.broadcast_to(rgb, (8, 8, 3)))


def test_pad__leaves_what_fits() -> None:
    rgb = np.zeros((16, 8, 3), np.uint8)
    assert pad(rgb) is rgb


@given(pictures, st.booleans())
@settings(max_examples=30, deadline=None)
def test_assemble__read_turned_around(rgb: NDArray[np.uint8], transparent: bool) -> None:
    alpha = np.ascontiguousarray(rgb[..., 0] // 2) if transparent else None
    image = assemble(rgb, alpha)
    assert image.mode == ("RGBA" if transparent else "RGB")
    again, alpha_again = pixels_of(image_bytes(image, "PNG"))
    np.testing.assert_array_equal(again, rgb)
    np.testing.assert_array_equal(alpha_again, alpha)
