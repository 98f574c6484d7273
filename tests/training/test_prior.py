import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from django_latentimg.codec import prior
from django_latentimg.codec.rangecoder import TOTAL
from django_latentimg.codec.rate import neighbours
from training.prior import PriorNetwork, smooth_tables, to_cumulative, to_integers

counts = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.just(prior.ESCAPE + 1)),
    elements=st.floats(1e-6, 1e9),
)


@given(counts)
def test_to_cumulative__gives_every_symbol_a_share(given_counts):
    cumulative = to_cumulative(given_counts).astype(int)
    assert (cumulative[:, 0] == 0).all()
    assert (cumulative[:, -1] == TOTAL).all()
    frequencies = np.diff(cumulative, axis=1)
    assert (frequencies >= 1).all()
    share = given_counts / given_counts.sum(1, keepdims=True)
    assert np.abs(frequencies / TOTAL - share).max() < 3e-3


def test_smooth_tables__are_distributions_around_the_phase():
    tables = smooth_tables()
    assert tables.shape == (prior.SPREADS * prior.PHASES, prior.ESCAPE + 1)
    assert np.allclose(tables.sum(1), 1)
    # The narrowest of phase 0 is all at the expected symbol itself.
    assert tables[0].argmax() == prior.REACH - 1


def test_neighbours__are_in_the_order_of_the_format():
    latents = torch.arange(4 * 5 * 6, dtype=torch.float32).view(1, 4, 5, 6)
    row = neighbours(latents).view(prior.CHANNELS, len(prior.NEIGHBOURS), 5, 6)
    for number, (dy, dx) in enumerate(prior.NEIGHBOURS):
        inside = 0 <= 2 + dy < 5 and 0 <= 3 + dx < 6
        assert float(row[2, number, 2, 3]) == (
            float(latents[0, 2, 2 + dy, 3 + dx]) if inside else 0
        )
    assert float(row[0, 0, 0, 0]) == 0


def test_to_integers__keeps_unknown_channels_out():
    """No channel sees itself or a later one at the same place, whatever was trained."""
    network = PriorNetwork()
    torch.nn.init.normal_(network.known)
    known = to_integers(network)["known"]
    for channel in range(prior.CHANNELS):
        assert (known[channel, :, channel:] == 0).all()
        assert (known[channel, :, :channel] != 0).any() or channel == 0
