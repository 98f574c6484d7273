import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from django_latentimg.codec.distortion import coarse_loss, pixel_loss, structure_loss, texture_loss

LOSSES = (pixel_loss, coarse_loss, structure_loss, texture_loss)


def noise(height: int, width: int, strength: float, seed: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return strength * torch.randn(1, 3, height, width, generator=random)


@pytest.mark.parametrize("loss", LOSSES)
@given(height=st.integers(1, 6), width=st.integers(1, 6), seed=st.integers(0, 99))
def test_losses__are_zero_for_equal_pictures_and_have_finite_slopes(loss, height, width, seed):
    """For every size that the codec pads to, and where nothing varies."""
    for source in (noise(8 * height, 8 * width, 0.3, seed), torch.zeros(1, 3, 8, 8)):
        assert float(loss(source, source)) == pytest.approx(0, abs=1e-6)
        decoded = (source + 0.01).requires_grad_()
        (slope,) = torch.autograd.grad(loss(decoded, source), decoded)
        assert torch.isfinite(slope).all()


def test_texture_loss__compares_statistics_and_not_samples():
    one, other, smooth = noise(64, 64, 0.3, 1), noise(64, 64, 0.3, 2), torch.zeros(1, 3, 64, 64)
    assert texture_loss(other, one) < texture_loss(smooth, one) / 3
    assert pixel_loss(other, one) > pixel_loss(smooth, one)


def test_structure_loss__weighs_an_error_more_where_the_picture_is_flat():
    flat, busy, error = torch.zeros(1, 3, 64, 64), noise(64, 64, 0.5, 1), noise(64, 64, 0.05, 2)
    assert structure_loss(flat + error, flat) > 5 * structure_loss(busy + error, busy)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses__are_of_float32_where_training_converts_convolutions(loss):
    source = 0.5 + noise(64, 64, 0.01, 1)  # Its variance drowns in the rounding of bfloat16.
    decoded = source + noise(64, 64, 0.01, 2)
    with torch.autocast("cpu", torch.bfloat16):
        converted = loss(decoded, source)
    assert float(converted) == pytest.approx(float(loss(decoded, source)), rel=1e-5)
