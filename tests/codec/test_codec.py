"""``encode``, ``decode``, ``Latent``: the bundled model, real pictures."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from django_latentimg import codec
from django_latentimg.codec import CodecError, ImageError, Latent, container
from django_latentimg.codec.guard import Verdict
from django_latentimg.codec.patches import Box
from django_latentimg.codec.quantize import step_of
from tests.conftest import image_bytes, picture
from tests.golden.__main__ import COMPACT, CURRENT, FOLDER, chequers, digest

GOLDEN = {
    path: expected
    for folder in (*sorted(FOLDER.glob("v*")), COMPACT)
    for name, expected in json.loads((folder / "expected.json").read_text()).items()
    for path in [folder / f"{name}.limg"]
}


def psnr(one: Image.Image, other: Image.Image) -> float:
    difference = np.asarray(one, float) - np.asarray(other, float)
    return float(10 * np.log10(255**2 / np.mean(difference**2)))


def photograph(name: str) -> Image.Image:
    import skimage

    with Image.open(Path(skimage.__file__).parent / "data" / name) as opened:
        return opened.convert("RGB")


@pytest.fixture(scope="module")
def cat() -> Image.Image:
    return photograph("chelsea.png")


@pytest.fixture(scope="module")
def cat_blob(cat) -> bytes:
    return codec.encode(cat)


# Pictures


def test_encode__keeps_a_photograph_in_few_bytes(cat, cat_blob):
    assert len(cat_blob) < cat.width * cat.height / 8 * 0.2
    assert psnr(cat, codec.decode(cat_blob)) > 26


def test_encode__is_deterministic(cat, cat_blob):
    assert codec.encode(cat) == cat_blob


def test_encode__beats_an_ideal_coder_that_knows_no_neighbours(cat_blob):
    latent = Latent.from_bytes(cat_blob)
    entropy = 0.0
    for plane in latent.symbols():
        share = np.unique(plane, return_counts=True)[1] / plane.size
        entropy -= plane.size * float((share * np.log2(share)).sum())
    assert 8 * len(cat_blob) < entropy


def test_encode__higher_quality_is_larger_and_truer(cat):
    small = cat.crop((100, 50, 228, 178))
    blobs = [codec.encode(small, quality=quality) for quality in (1, 25, 50, 75, 100)]
    sizes = [len(blob) for blob in blobs]
    assert sizes == sorted(sizes)
    values = [psnr(small, codec.decode(blob)) for blob in blobs]
    assert values[0] < values[2] < values[4]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from(["RGB", "RGBA", "L", "CMYK", "P"]))
def test_round_trip__of_any_size_and_mode(width, height, mode):
    source = picture(max(2, width), max(2, height), "RGBA" if mode == "RGBA" else "RGB")
    source = source.crop((0, 0, width, height)).convert(mode)
    decoded = codec.decode(codec.encode(source))
    assert decoded.size == (width, height)
    assert decoded.mode in ("RGB", "RGBA")


def test_round_trip__of_even_colours(cat):
    for colour in ("red", "white", "black", "#808080", "#123456"):
        source = Image.new("RGB", (64, 48), colour)
        assert psnr(source, codec.decode(codec.encode(source))) > 20, colour


def test_alpha__is_kept_exactly():
    source = picture(50, 40, "RGBA")
    decoded = codec.decode(codec.encode(source))
    assert decoded.mode == "RGBA"
    assert decoded.getchannel("A").tobytes() == source.getchannel("A").tobytes()


def test_alpha__opaque_costs_nothing():
    source = picture(50, 40)
    opaque = source.copy()
    opaque.putalpha(255)
    assert codec.encode(opaque) == codec.encode(source)


def test_encode__drops_metadata(cat):
    exif = cat.getexif()
    exif[0x010E] = "a secret place"
    exif.get_ifd(0x8825)[1] = "N"
    source = image_bytes(cat.crop((0, 0, 64, 64)), "JPEG", exif=exif)
    assert b"secret" in source
    blob = codec.encode(source)
    assert b"secret" not in blob
    assert not codec.decode(blob).getexif()


def test_encode__reads_paths_files_bytes_and_images(tmp_path, cat):
    small = cat.crop((0, 0, 40, 40))
    path = tmp_path / "cat.png"
    small.save(path)
    blobs = {
        codec.encode(small),
        codec.encode(path),
        codec.encode(str(path)),
        codec.encode(path.read_bytes()),
        codec.encode(io.BytesIO(path.read_bytes())),
    }
    assert len(blobs) == 1


@pytest.mark.parametrize("source", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_encode__refuses_what_is_no_picture(source):
    with pytest.raises(ImageError):
        codec.encode(source)


@pytest.mark.parametrize(
    "options", [{"quality": 0}, {"quality": 101}, {"effort": 10}, {"effort": -1}]
)
def test_encode__refuses_values_out_of_range(options):
    with pytest.raises(ImageError):
        codec.encode(picture(), **options)


# Smaller pictures


@pytest.mark.parametrize("width", [1, 30, 56, 57, 113, 200, 226, 300, 450])
def test_decode__to_a_width(cat, cat_blob, width):
    decoded = codec.decode(cat_blob, width=width)
    assert decoded.size == (width, max(1, round(cat.height * width / cat.width)))
    if width >= 30:
        assert psnr(cat.resize(decoded.size, Image.Resampling.LANCZOS), decoded) > 22


def test_decode__never_scales_up(cat, cat_blob):
    assert codec.decode(cat_blob, width=5000).size == cat.size


def test_decode__small_widths_use_the_small_heads(cat_blob, monkeypatch):
    from django_latentimg.codec.models import load_model

    model, scales = load_model("lite"), []
    decode = type(model).decode

    def spy(self, *arguments, **options):
        scales.append(options["scale"])
        return decode(self, *arguments, **options)

    monkeypatch.setattr(type(model), "decode", spy)
    for width in (451, 300, 225, 112, 56):
        codec.decode(cat_blob, width=width)
    assert scales == [1, 1, 2, 4, 8]


# Latent


def test_latent__says_what_the_blob_holds(cat, cat_blob):
    latent = Latent.from_bytes(cat_blob)
    assert (latent.width, latent.height) == cat.size
    assert (latent.space, latent.quality) == ("sd1", 50)
    assert latent.step == step_of(latent.fineness)
    assert len(latent.digest) == len(latent.model) == 8
    symbols, latents = latent.symbols(), latent.latents()
    assert symbols.shape == latents.shape == (4, 38, 57)
    rounded, hints = latent.rounded(), latent.hints()
    assert np.array_equal(rounded, (symbols * latent.step).astype(np.float32))
    assert hints.shape == (8, 38, 57)
    assert np.array_equal(latents, rounded + hints[:4])
    assert np.abs(latents - rounded).max() <= 0.4 * latent.step + 1e-6
    assert 0.3 < latents.std() < 1.5


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_golden__blobs_stay_readable(path):
    expected, blob = GOLDEN[path], path.read_bytes()
    latent = Latent.from_bytes(blob)
    assert (latent.width, latent.height) == (expected["width"], expected["height"])
    assert latent.fineness == expected["fineness"]
    assert latent.space == ("compact1" if path.parent == COMPACT else "sd1")
    if "symbols_sha256" in expected:
        assert digest(latent.symbols()) == expected["symbols_sha256"]
    patches = latent.patches()
    boxes = [] if patches is None else [list(box) for box in patches.boxes]
    assert boxes == expected.get("patches", [])
    decoded = codec.decode(blob)
    assert decoded.size == (expected["width"], expected["height"])
    assert (decoded.mode == "RGBA") == expected["alpha"]


def test_golden__pictures_within_blobs():
    """What stands in a blob as AVIF or WebP shows what it was made of."""
    squares = chequers(96, 64)
    decoded = codec.decode((CURRENT / "avif.limg").read_bytes())
    assert np.abs(np.asarray(decoded, float) - np.asarray(squares)).mean() < 6
    patched = codec.decode((CURRENT / "patched.limg").read_bytes())
    (first, second) = Latent.from_bytes((CURRENT / "patched.limg").read_bytes()).patches().boxes
    for box, inside in ((first, (0, 16, 32, 24)), (second, (64, 48, 96, 64))):
        assert box.covers(Box(*inside))
        error = np.asarray(patched.crop(inside), float) - np.asarray(squares.crop(inside))
        assert np.abs(error).mean() < 12
    verdict = Latent.from_bytes((CURRENT / "avif.limg").read_bytes()).verdict
    assert verdict == Verdict("avif", "fidelity", "worse", 12.5, 50.0, 25.0, 75.0)


# Damage

# Small, so that what still decodes decodes quickly.
SMALL = codec.encode(picture(24, 16, "RGBA"))


def survives(blob: bytes) -> None:
    """Decodes to a picture, or raises ``CodecError``; anything else fails the test."""
    with contextlib.suppress(CodecError):
        codec.decode(blob)


@settings(max_examples=1000, deadline=None)
@given(st.integers(0, len(SMALL)), st.binary(max_size=8), st.integers(0, 8))
def test_decode__of_mutated_bytes(position, inserted, removed):
    survives(SMALL[:position] + inserted + SMALL[position + removed :])


@settings(max_examples=1000, deadline=None)
@given(st.binary(max_size=120), st.sampled_from([container.SYMBOLS, container.ALPHA]))
def test_decode__of_any_payload_under_a_right_checksum(payload, kind):
    header, chunks = container.unpack(SMALL)
    survives(container.pack(header, chunks | {kind: payload}))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_decode__of_flipped_bits_in_a_payload_under_a_right_checksum(data):
    header, chunks = container.unpack(SMALL)
    kind = data.draw(st.sampled_from(sorted(chunks)))
    payload = bytearray(chunks[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    survives(container.pack(header, chunks | {kind: bytes(payload)}))


def test_decode__of_a_huge_claim_is_refused_before_memory_is_taken():
    import tracemalloc

    header = container.Header(8000, 8000, "sd1", 50, 50, "0badcafe")
    bomb = container.pack(header, {container.SYMBOLS: bytes(10)})
    tracemalloc.start()
    with pytest.raises(CodecError):
        codec.decode(bomb)
    assert tracemalloc.get_traced_memory()[1] < 400e6
    tracemalloc.stop()
