"""Measures of one decoded picture against its source."""

import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

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


class Lpips:
    """LPIPS v0.1 with the SqueezeNet trunk, from the folder that holds its weights."""

    def __init__(self, folder: Path) -> None:
        from training.perceptual import Perceptual

        self.network = Perceptual(folder)

    def __call__(self, a: Pixels, b: Pixels) -> float:
        """0 for equal; larger is more different."""
        import torch

        def tensor(picture: Pixels) -> torch.Tensor:
            return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1

        with torch.inference_mode():
            return float(self.network(tensor(a), tensor(b))[0])


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
