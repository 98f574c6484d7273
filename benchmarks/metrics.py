"""Measures of one decoded picture against its source."""

import sys
import tempfile
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    import torch

Pixels = NDArray[np.uint8]


def psnr(a: Pixels, b: Pixels) -> float:
    """dB, over all samples of two uint8 (H, W, 3) pictures."""
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def ssimulacra2(source: Pixels, decoded: Pixels) -> float:
    """100 for equal, below 30 for low quality, may be negative."""
    from ssimulacra2 import compute_ssimulacra2

    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / name) for name in ("source.png", "decoded.png")]
        for path, picture in zip(paths, (source, decoded), strict=True):
            Image.fromarray(picture).save(path, compress_level=1)
        return float(compute_ssimulacra2(*paths))


def ms_ssim(source: Pixels, decoded: Pixels) -> float:
    """Wang, Simoncelli and Bovik, "Multiscale structural similarity", 2003; 1 for equal."""
    from pytorch_msssim import ms_ssim as measure

    return float(measure(_tensor(source), _tensor(decoded), data_range=255.0))


TEXTURE_LEVELS = 4
TEXTURE_DIRECTIONS = 64
TEXTURE_PATCH = 7
TEXTURE_BLOCK = 32
"""Pixels at every level: a texture is compared with what stood about there."""


@cache
def _directions() -> "torch.Tensor":
    import torch

    random = torch.Generator().manual_seed(1)
    shape = TEXTURE_DIRECTIONS, 3, TEXTURE_PATCH, TEXTURE_PATCH
    kernels = torch.randn(shape, generator=random)
    directions: torch.Tensor = kernels / kernels.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    return directions


def texture(source: Pixels, decoded: Pixels) -> float:
    """Sliced Wasserstein distance of Laplacian pyramids; 0 for equal textures, smaller is better.

    Karras et al., "Progressive growing of GANs", ICLR 2018, section 5: 7×7 neighbourhoods of the
    levels of a Laplacian pyramid (here 4), projected on 64 random directions, sorted, compared.
    Here within blocks of 32×32 pixels of each level, so that a texture must be right where it is;
    and in units of 1/255 of a pixel's range, without normalising. No network has a part in it.
    """
    levels = zip(_sorted_responses(source.tobytes(), source.shape),
                 _sorted_responses(decoded.tobytes(), decoded.shape), strict=True)  # fmt: skip
    return float(np.mean([np.abs(ours - theirs).mean() for ours, theirs in levels]))


@lru_cache(2)
def _sorted_responses(pixels: bytes, shape: tuple[int, ...]) -> list[NDArray[np.float32]]:
    """For every level: every block's responses in every direction, sorted.

    The source's are the same for every file that is made of it, so they are kept.
    """
    import torch.nn.functional as F

    result: list[NDArray[np.float32]] = []
    picture = _tensor(np.frombuffer(pixels, np.uint8).reshape(shape))
    for _ in range(TEXTURE_LEVELS):
        smaller = F.avg_pool2d(picture, 2)
        detail = picture[..., : 2 * smaller.shape[2], : 2 * smaller.shape[3]] - F.interpolate(
            smaller, scale_factor=2.0, mode="bilinear"
        )
        responses = F.conv2d(detail, _directions(), padding=TEXTURE_PATCH // 2)[0]
        side = min(TEXTURE_BLOCK, *responses.shape[1:])
        blocks = responses.unfold(1, side, side).unfold(2, side, side)
        # NumPy sorts many times faster than torch.
        result.append(np.sort(blocks.flatten(3).contiguous().numpy(), axis=3))
        picture = smaller
    return result


GRAIN_SIDE = 8
"""Pixels of a latent pixel: a decoder makes each block of that many rows and columns alike."""


def repeated_error(source: Pixels, decoded: Pixels) -> NDArray[np.float64]:
    """The mean error of luma at each place of a grid of 8×8 pixels: (8, 8), in levels.

    uint8 (H, W, 3) each; sides are multiples of 8.
    """
    error = (decoded.astype(np.float64) - source).mean(2)
    rows = source.shape[0] // GRAIN_SIDE
    means: NDArray[np.float64] = error.reshape(rows, GRAIN_SIDE, -1, GRAIN_SIDE).mean((0, 2))
    return means


def grain(errors: Sequence[NDArray[np.float64]]) -> float:
    """What is in all decoded pictures and in no source: standard deviation, in levels of luma.

    Of the mean over pictures of their ``repeated_error``. Chance alone leaves a sixtieth of the
    error of one picture of 512×512, a tenth of that for a hundred.
    """
    return float(np.mean(errors, 0).std())


FLAT_SIDE = 8
FLAT_DEVIATION = 3.0
FLAT_SHARE = 0.01


def flat_psnr(source: Pixels, decoded: Pixels) -> float:
    """PSNR over blocks of 8×8 whose luma varies by less than 3 levels (standard deviation).

    Blotches show there and nowhere else. NaN where fewer than 1 % of the blocks are flat.
    """
    height, width = (side // FLAT_SIDE * FLAT_SIDE for side in source.shape[:2])

    def blocks(picture: NDArray[np.float64]) -> NDArray[np.float64]:
        rows, columns = height // FLAT_SIDE, width // FLAT_SIDE
        shape = rows, FLAT_SIDE, columns, FLAT_SIDE, -1
        cut = picture[:height, :width].reshape(shape).swapaxes(1, 2)
        return cut.reshape(rows * columns, -1)

    luma = source.astype(np.float64) @ (0.299, 0.587, 0.114)
    flat = blocks(luma).std(1) < FLAT_DEVIATION
    if flat.mean() < FLAT_SHARE:
        return float("nan")
    error = np.mean((blocks(source.astype(np.float64) - decoded)[flat]) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def _tensor(picture: Pixels) -> "torch.Tensor":
    """uint8 (H, W, 3) -> float (1, 3, H, W) from 0 to 255."""
    import torch

    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()


class Lpips:
    """LPIPS v0.1 with the SqueezeNet trunk, from the folder that holds its weights.

    The mean over four shifts of a picture under the trunk's grid. A decoder that was trained on
    LPIPS can learn what one place of the grid likes: the bundled one of 5622630 was a third worse
    on the others, where AVIF and TAESD are the same on all.
    """

    def __init__(self, folder: Path) -> None:
        from training.perceptual import Perceptual

        self.network = Perceptual(folder)

    def __call__(self, a: Pixels, b: Pixels) -> float:
        """0 for equal; larger is more different."""
        import torch

        with torch.inference_mode():
            pair = [_tensor(picture) / 127.5 - 1 for picture in (a, b)]
            return float(self.network.everywhere(*pair)[0])


def centre_crop(path: Path, side: int = 512) -> Pixels:
    """The middle ``side`` × ``side`` pixels, uint8; whole where the picture is smaller."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    width, height = picture.size
    left, top = max(0, (width - side) // 2), max(0, (height - side) // 2)
    box = (left, top, min(width, left + side), min(height, top + side))
    return np.asarray(picture.crop(box))


if __name__ == "__main__":
    first, second = (np.asarray(Image.open(path).convert("RGB")) for path in sys.argv[1:3])
    print(f"PSNR {psnr(first, second):.2f} dB, SSIMULACRA2 {ssimulacra2(first, second):.1f}")
