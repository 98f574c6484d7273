"""What a picture lost, differentiable: for training and refinement. Needs torch.

All take float (N, 3, H, W) in [-1, 1] and give a scalar, 0 for equal pictures.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
STABILISERS = (0.02**2, 0.06**2)
"""(0.01 L)² and (0.03 L)² for the range L = 2."""

BANDS = 3
WINDOW = 7


def pixel_loss(decoded: Tensor, source: Tensor) -> Tensor:
    """Mean absolute and mean squared error, added."""
    difference = decoded - source
    return difference.abs().mean() + difference.square().mean()


def coarse_loss(decoded: Tensor, source: Tensor) -> Tensor:
    """Mean absolute errors of the pictures at 1/2, 1/4 and 1/8 of their size, added.

    What a picture looks like when it is shown smaller; and a blotch is an error of many pixels.
    """
    total = torch.zeros((), device=decoded.device)
    difference = decoded - source
    for _ in range(3):
        difference = F.avg_pool2d(difference, 2)
        total = total + difference.abs().mean()
    return total


def structure_loss(decoded: Tensor, source: Tensor) -> Tensor:
    """1 - SSIM (Wang et al., 2004) of luma in 8×8 windows, mean of the scales 1, 1/2 and 1/4.

    It divides an error by how much the picture varies there, so flat areas weigh more.
    """
    weights = torch.tensor(LUMA, device=decoded.device).view(1, 3, 1, 1)
    x, y = (picture.mul(weights).sum(1, keepdim=True) for picture in (decoded, source))
    total = torch.zeros((), device=decoded.device)
    for halvings in range(3):
        if halvings:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        window = min(8, *x.shape[2:])
        maps = _window_means(torch.cat([x, y, x * x, y * y, x * y], 1), window)
        mean_x, mean_y, xx, yy, xy = maps.unbind(1)
        first, second = STABILISERS
        likeness = (2 * mean_x * mean_y + first) * (2 * (xy - mean_x * mean_y) + second)
        size = (mean_x**2 + mean_y**2 + first) * (xx - mean_x**2 + yy - mean_y**2 + second)
        total = total + (1 - likeness / size).mean() / 3
    return total


def texture_loss(decoded: Tensor, source: Tensor) -> Tensor:
    """Difference of local energies in the bands of a Laplacian pyramid.

    After Qiu et al., "Wasserstein distortion" (2023): where an eye sees texture and not its every
    line, statistics over a small window must agree, not samples. The statistic here is the
    standard deviation of each band and colour in windows of 7×7 samples.
    """
    total = torch.zeros((), device=decoded.device)
    for band, other in zip(_bands(decoded), _bands(source), strict=True):
        total = total + (_energy(band) - _energy(other)).abs().mean()
    return total


def _bands(picture: Tensor) -> list[Tensor]:
    """Laplacian pyramid without its last level; stops early in a small picture."""
    bands: list[Tensor] = []
    while len(bands) < BANDS and min(picture.shape[2:]) >= 8:
        smaller = F.avg_pool2d(picture, 2, ceil_mode=True)
        larger = F.interpolate(smaller, scale_factor=2.0, mode="bilinear")
        bands.append(picture - larger[..., : picture.shape[2], : picture.shape[3]])
        picture = smaller
    return bands


def _energy(band: Tensor) -> Tensor:
    # The constant keeps the root's slope finite where nothing varies.
    return (_window_means(band.square(), WINDOW, WINDOW // 2) + 1e-5).sqrt()


def _window_means(planes: Tensor, window: int, padding: int = 0) -> Tensor:
    """``avg_pool2d`` of stride 2, as a convolution: much faster on a processor.

    In float32 also where training converts convolutions: variances are differences of these.
    """
    channels = planes.shape[1]
    kernel = planes.new_full((channels, 1, window, window), 1 / window**2)
    with torch.autocast(planes.device.type, enabled=False):
        planes = planes.contiguous(memory_format=torch.channels_last)
        return F.conv2d(planes, kernel, stride=2, padding=padding, groups=channels)
