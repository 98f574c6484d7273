"""The corpus: square photographs and the teacher's latents of them, as two arrays on disk.

``python -m training prepare`` writes them once; training maps them into memory. Every 64th
photograph is held out for validation. The order of crops depends on the seed and the step only,
so a resumed run sees what an uninterrupted one would have seen.
"""

import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from .taesd import Taesd

SIDE = 320
"""Side of a stored photograph, pixels; the corpus has a short side of 320."""

HOLD_OUT = 64
"""One photograph in so many is never trained on."""


def prepare(photos: Path, teacher_folder: Path, folder: Path) -> None:
    """Write ``pixels.npy`` uint8 (N, 3, 320, 320) and ``latents.npy`` float16 (N, 4, 40, 40).

    ``names.txt`` lists the photographs in the order of the arrays. Continues where an
    interrupted run stopped.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(path.name for path in photos.glob("*.webp"))
    (folder / "names.txt").write_text("\n".join(names) + "\n")
    progress = folder / "prepared.txt"
    done = int(progress.read_text()) if progress.exists() else 0
    mode = "r+" if done else "w+"
    pixels = np.lib.format.open_memmap(
        folder / "pixels.npy", mode=mode, dtype=np.uint8, shape=(len(names), 3, SIDE, SIDE)
    )
    latents = np.lib.format.open_memmap(
        folder / "latents.npy",
        mode=mode,
        dtype=np.float16,
        shape=(len(names), 4, SIDE // 8, SIDE // 8),
    )
    teacher = Taesd(teacher_folder)
    started = time.monotonic()
    for index in range(done, len(names)):
        with Image.open(photos / names[index]) as opened:
            square = ImageOps.fit(opened.convert("RGB"), (SIDE, SIDE), Image.Resampling.LANCZOS)
        pixels[index] = np.asarray(square).transpose(2, 0, 1)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            latents[index] = teacher.encode(to_float(torch.from_numpy(pixels[index])[None]))[
                0
            ].float()
        if index % 100 == 99 or index + 1 == len(names):
            pixels.flush()
            latents.flush()
            progress.write_text(str(index + 1))
            print(f"{index + 1}/{len(names)} {time.monotonic() - started:.0f} s", flush=True)


def to_float(pixels: Tensor) -> Tensor:
    """uint8 (N, 3, H, W) -> float32 in [-1, 1], channels last."""
    return (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


class Crops:
    """Random crops, aligned to the latents' grid of 8 pixels."""

    def __init__(self, folder: Path, *, side: int, batch: int, seed: int) -> None:
        self.pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        self.latents = np.load(folder / "latents.npy", mmap_mode="r")
        index = np.arange(len(self.pixels))
        self.training = index[index % HOLD_OUT != 0]
        self.validation = index[index % HOLD_OUT == 0]
        self.side, self.batch, self.seed = side, batch, seed

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Batch of one step: pixels float32 (B, 3, S, S) in [-1, 1], teacher's latents float32."""
        random = np.random.default_rng((self.seed, step))
        chosen = random.choice(self.training, self.batch, replace=False)
        cells = self.side // 8
        tops, lefts = random.integers(0, SIDE // 8 - cells + 1, (2, self.batch))
        pixels = np.empty((self.batch, 3, self.side, self.side), np.uint8)
        latents = np.empty((self.batch, 4, cells, cells), np.float32)
        for row, (photo, top, left) in enumerate(zip(chosen, tops, lefts, strict=True)):
            pixels[row] = self.pixels[
                photo, :, top * 8 : top * 8 + self.side, left * 8 : left * 8 + self.side
            ]
            latents[row] = self.latents[photo, :, top : top + cells, left : left + cells]
        return to_float(torch.from_numpy(pixels)), torch.from_numpy(latents)

    def held_out(self) -> tuple[Tensor, Tensor]:
        """All validation photographs in full: pixels (N, 3, 320, 320), teacher's latents."""
        pixels = torch.from_numpy(np.array(self.pixels[self.validation]))
        latents = torch.from_numpy(np.array(self.latents[self.validation])).float()
        return to_float(pixels), latents
