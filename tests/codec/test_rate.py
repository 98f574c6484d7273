import numpy as np
import pytest
import torch

from django_latentimg import codec
from django_latentimg.codec import container, prior
from django_latentimg.codec.models import SD1
from django_latentimg.codec.quantize import dequantise, step_of
from django_latentimg.codec.rate import Expectation, load_expecter

from .test_prior import smooth_symbols

CPU = torch.device("cpu")


def expect(symbols: np.ndarray, fineness: int) -> tuple[torch.Tensor, torch.Tensor, Expectation]:
    step = step_of(fineness)
    latents = torch.from_numpy(dequantise(symbols, step))[None].requires_grad_()
    steps = torch.tensor([step])
    return latents, steps, load_expecter(SD1, CPU)(latents, steps)


@pytest.mark.parametrize("fineness", [10, 50, 90])
def test_bits__are_what_the_coder_will_need(fineness):
    symbols = smooth_symbols(48, 40, spread=fineness / 30)
    latents, steps, expected = expect(symbols, fineness)
    estimate = float(expected.bits(latents, steps).detach().sum()) / 8
    assert estimate == pytest.approx(len(prior.encode_symbols(symbols, fineness, SD1)), rel=0.05)


def test_bits__have_a_slope_towards_what_is_expected():
    symbols = np.zeros((4, 12, 12), np.int64)
    symbols[1, 6, 6] = 5
    latents, steps, expected = expect(symbols, 50)
    (slope,) = torch.autograd.grad(expected.bits(latents, steps).sum(), latents)
    assert slope[0, 1, 6, 6] > 0


@pytest.mark.parametrize("fineness", [10, 50, 90])
def test_hints__are_those_of_the_decoded_blob(fineness):
    """As near as the tables' sixteenths and quarter octaves allow."""
    symbols = smooth_symbols(24, 32, spread=fineness / 30)
    latents, steps, expected = expect(symbols, fineness)
    hints = expected.hints(latents, steps)[0].detach().numpy()
    header = container.Header(256, 192, SD1, 50, fineness, "0badcafe")
    data = prior.encode_symbols(symbols, fineness, SD1)
    latent = codec.Latent.from_bytes(container.pack(header, {container.SYMBOLS: data}))
    difference = np.abs(latent.hints() - hints)
    assert difference[:4].max() < 0.15 * step_of(fineness)
    assert difference[4:].mean() < 0.15


def test_expecter__treats_the_pictures_of_a_batch_apart():
    one, other = (smooth_symbols(12, 10, spread) for spread in (1, 5))
    parts = [expect(symbols, fineness) for symbols, fineness in ((one, 50), (other, 80))]
    latents, steps = (torch.cat([part[index] for part in parts]) for index in (0, 1))
    together = load_expecter(SD1, CPU)(latents, steps)
    for row, (_, _, alone) in enumerate(parts):
        for a, b in zip(together, alone, strict=True):
            assert torch.allclose(a[row], b[0], atol=1e-4)
