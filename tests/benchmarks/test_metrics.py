import numpy as np
import pytest
from PIL import Image, ImageFilter
from skimage import data

pytest.importorskip("pytorch_msssim")

from benchmarks.metrics import flat_psnr, grain, ms_ssim, psnr, repeated_error, texture


@pytest.fixture(scope="module")
def cat() -> Image.Image:
    return Image.fromarray(data.chelsea()).crop((60, 20, 316, 276))


def test_measures__of_the_picture_itself(cat):
    pixels = np.asarray(cat)
    assert psnr(pixels, pixels) == float("inf")
    assert ms_ssim(pixels, pixels) == pytest.approx(1)
    assert texture(pixels, pixels) == 0


def test_measures__fall_with_blur(cat):
    pixels = np.asarray(cat)
    blurred = [np.asarray(cat.filter(ImageFilter.GaussianBlur(radius))) for radius in (1, 3)]
    for measure, sign in ((psnr, 1), (ms_ssim, 1), (texture, -1)):
        slight, strong = (sign * measure(pixels, other) for other in blurred)
        assert slight > strong


def test_texture__forgives_what_only_moved(cat):
    """Noise beside other noise of the same strength is nearer than none."""
    pixels = np.asarray(cat).astype(float)
    random = np.random.default_rng(0)
    grains = [pixels + random.normal(0, 20, pixels.shape) for _ in range(2)]
    first, second = (grain.clip(0, 255).astype(np.uint8) for grain in grains)
    clean = np.asarray(cat)
    assert texture(first, second) < texture(first, clean) / 2
    assert psnr(first, second) < psnr(first, clean)


def test_grain__is_what_repeats_and_not_what_differs(cat):
    random = np.random.default_rng(0)
    pattern = random.integers(-3, 4, (8, 8, 1)).astype(np.int16)
    source = np.asarray(cat).clip(20, 235)
    noisy = source + random.integers(-9, 10, source.shape)
    repeated = np.tile(pattern, (source.shape[0] // 8, source.shape[1] // 8, 1))
    assert grain([repeated_error(source, source)]) == 0
    assert grain([repeated_error(source, noisy.astype(np.uint8))]) < 0.2
    grained = (noisy.astype(np.int16) + repeated).astype(np.uint8)
    assert grain([repeated_error(source, grained)]) == pytest.approx(pattern.std(), rel=0.1)


def test_flat_psnr__looks_at_flat_blocks_only():
    pixels = np.full((64, 64, 3), 100, np.uint8)
    pixels[:, 32:] = np.random.default_rng(0).integers(0, 255, (64, 32, 3))
    changed = pixels.copy()
    changed[:, 32:] = 0
    assert flat_psnr(pixels, changed) == float("inf")
    changed = pixels.copy()
    changed[:, :32] += 10
    assert flat_psnr(pixels, changed) == pytest.approx(10 * np.log10(255**2 / 100))
    assert np.isnan(flat_psnr(pixels[:, 32:], changed[:, 32:]))
