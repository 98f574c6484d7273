import pytest
import torch

from tests.conftest import shared
from training.perceptual import STRIDE, Perceptual


@pytest.fixture(scope="module")
def lpips() -> Perceptual:
    return Perceptual(shared("metrics/lpips_squeeze"))


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """Six times the same two pictures of 80 × 72."""
    random = torch.Generator().manual_seed(0)
    picture = torch.rand(1, 3, 9, 8, generator=random).repeat_interleave(8, 2)
    picture = picture.repeat_interleave(9, 3) * 2 - 1
    other = (picture + 0.2 * torch.randn(picture.shape, generator=random)).clamp(-1, 1)
    return picture.expand(6, -1, -1, -1), other.expand(6, -1, -1, -1)


def test_anywhere__cuts_each_picture_elsewhere_and_both_of_a_pair_alike(lpips, pair):
    distances = lpips.anywhere(*pair, torch.Generator().manual_seed(1))
    tops, lefts = torch.randint(STRIDE, (2, 6), generator=torch.Generator().manual_seed(1)).tolist()
    expected = []
    for top, left in zip(tops, lefts, strict=True):
        rows, columns = slice(top, top + 72 - STRIDE), slice(left, left + 72 - STRIDE)
        expected.append(lpips(*(each[:1, :, rows, columns] for each in pair)))
    torch.testing.assert_close(distances, torch.cat(expected))
    assert len(set(distances.tolist())) > 1
    assert not lpips.anywhere(pair[0], pair[0], torch.Generator().manual_seed(1)).any()


def test_everywhere__is_not_flattered_by_what_one_place_of_the_grid_likes(lpips, pair):
    """A picture that was fitted to the distance where the grid lies, as training may do."""
    source = pair[0][:1]
    fitted = pair[1][:1].clone().requires_grad_()
    optimiser = torch.optim.Adam([fitted], lr=0.01)
    for _ in range(40):
        optimiser.zero_grad()
        lpips(fitted, source).sum().backward()
        optimiser.step()
    assert lpips.everywhere(fitted, source) > 3 * lpips(fitted, source)
    # Another picture is as far away wherever it is looked at from.
    assert lpips.everywhere(pair[1], pair[0])[0] == pytest.approx(float(lpips(*pair)[0]), rel=0.2)
