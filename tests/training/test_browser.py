"""What browsers fetch is made of the weights that the package has."""

import numpy as np
import pytest

from django_latentimg.codec.models import BUNDLED
from training.__main__ import CLIENT
from training.browser import FINER, pack_decoder, pack_prior, round_weights, twice


@pytest.mark.parametrize(("model", "space"), BUNDLED.items())
def test_export__is_what_the_client_has(model, space):
    assert (CLIENT / f"prior-{space}.bin").read_bytes() == pack_prior(space)
    assert (CLIENT / f"decoder-{space}.bin").read_bytes() == pack_decoder(model)


def test_round_weights__errs_by_half_a_step():
    weight = np.random.default_rng(0).normal(size=(8, 5, 3, 3)).astype(np.float32)
    levels, scale = round_weights(weight)
    assert np.abs(levels).max() == 127
    assert np.array_equal(levels, np.rint(levels))
    error = np.abs(levels * scale[:, None, None, None] - weight).max((1, 2, 3))
    assert (error <= 0.501 * scale).all()


def test_twice__makes_rounding_good():
    weight = np.random.default_rng(1).normal(size=(8, 13, 3, 3)).astype(np.float32)
    levels, scale = round_weights(twice(weight))
    values = levels * scale[:, None, None, None]
    assert values.shape == (8, 32, 3, 3)
    assert not values[:, 13:16].any()
    both = values[:, :13] + values[:, 16:29] / FINER
    assert np.abs(both - weight).max() < np.abs(weight).max() / 127 / 200
