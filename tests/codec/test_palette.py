import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from django_latentimg import codec
from django_latentimg.codec import BlobError, CodecError, ImageError, Latent, container, palette
from tests.codec.test_codec import photograph, psnr, survives


@pytest.fixture(scope="module")
def cat() -> Image.Image:
    return photograph("chelsea.png").crop((100, 50, 292, 242))


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(x / 5 + c) + np.cos(y / 4 - c) for c in range(4)])
    return (waves + random.normal(0, 0.3, waves.shape)).astype(np.float32)


@pytest.mark.parametrize("quantizer", ["palette", "palette-undithered"])
def test_encode__through_a_palette(cat, quantizer):
    blob = codec.encode(cat, quantizer=quantizer)
    latent = Latent.from_bytes(blob)
    assert latent.has_palette
    assert latent.symbols().shape == latent.latents().shape == (4, 24, 24)
    assert 0 <= latent.symbols().min() <= latent.symbols().max() <= 255
    assert not latent.hints().any()
    assert 0.05 < latent.step < 1.5
    assert psnr(cat, codec.decode(blob)) > 22
    assert codec.encode(cat, quantizer=quantizer) == blob


def test_encode__has_no_palette_for_another_latent_space(cat):
    with pytest.raises(ImageError, match=r"palette.*Stable Diffusion"):
        codec.encode(cat, quantizer="palette", model="compact")


def test_encode__dithering_errs_more_at_a_place_and_less_around_it():
    latents = smooth(40, 40)
    errors = [
        palette.to_latents(palette.decode_palette(coded, 40, 40)[0]) - latents
        for coded in (palette.encode_palette(latents, dither=d) for d in (False, True))
    ]
    plain, dithered = errors
    assert dithered.std() > plain.std()
    areas = [e.reshape(4, 10, 4, 10, 4).mean((2, 4)).std() for e in errors]
    assert areas[1] < areas[0]


def test_encode__tells_its_noise():
    latents = smooth(40, 40)
    levels, noise = palette.decode_palette(palette.encode_palette(latents), 40, 40)
    assert noise == pytest.approx((palette.to_latents(levels) - latents).std(), abs=0.01)


def test_indices__cost_less_than_zlib_takes():
    import zlib

    latents = smooth(64, 64)
    coded = palette.encode_palette(latents)
    colours = palette.make_palette(palette.to_levels(latents).reshape(-1, 4))
    indices = palette.nearest_dithered(palette.to_levels(latents), colours)
    theirs = zlib.compress(colours.tobytes() + indices.astype(np.uint8).tobytes(), 9)
    assert len(coded) < len(theirs)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99), st.booleans())
def test_palette__of_any_size_survives_the_round_trip(height, width, seed, dither):
    latents = np.random.default_rng(seed).normal(0, 3, (4, height, width)).astype(np.float32)
    levels, _ = palette.decode_palette(
        palette.encode_palette(latents, dither=dither), height, width
    )
    # Fewer places than colours: but for clipping and rounding, each has its own.
    wanted = np.clip(latents, -4.2, 4.2)
    if not dither:
        assert np.abs(palette.to_latents(levels) - wanted).max() < 0.06


def test_palette__of_one_colour():
    latents = np.full((4, 20, 20), 0.5, np.float32)
    coded = palette.encode_palette(latents)
    assert len(coded) < palette.HEAD + 20
    assert np.abs(palette.to_latents(palette.decode_palette(coded, 20, 20)[0]) - 0.5).max() < 0.02


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=40), st.integers(1, 6), st.integers(1, 6))
def test_decode_palette__of_any_bytes_is_levels_or_an_error(indices, height, width):
    colours = bytes(range(256)) * 4
    try:
        levels, _ = palette.decode_palette(b"\0\0" + colours + indices, height, width)
    except BlobError:
        return
    assert levels.shape == (4, height, width)


@given(st.binary(max_size=palette.HEAD - 1))
def test_decode_palette__refuses_half_a_palette(data):
    with pytest.raises(BlobError):
        palette.decode_palette(data, 1, 1)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_decode__of_a_damaged_palette_under_a_right_checksum(data):
    header, chunks = container.unpack(SMALL)
    payload = bytearray(chunks[container.PALETTE])
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    survives(container.pack(header, {container.PALETTE: bytes(payload)}))


SMALL = codec.encode(Image.new("RGB", (24, 16), "teal"), quantizer="palette")


def test_unpack__wants_symbols_or_a_palette_and_not_both(cat):
    header, chunks = container.unpack(SMALL)
    with pytest.raises(CodecError, match="more than one"):
        codec.decode(container.pack(header, chunks | {container.SYMBOLS: b""}))


def test_palette__of_too_large_a_picture_is_refused():
    with pytest.raises(ImageError, match="4,194,304"):
        palette.encode_palette(np.zeros((4, 257, 256), np.float32))
    with pytest.raises(BlobError, match="4,194,304"):
        palette.decode_palette(bytes(2000), 257, 256)


@pytest.mark.parametrize(
    "options", [{"quantizer": "other"}, {"quantizer": "palette", "effort": 1}], ids=str
)
def test_encode__refuses_what_does_not_go_together(cat, options):
    with pytest.raises(ImageError):
        codec.encode(cat, **options)
