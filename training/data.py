"""The corpus: square photographs and the teacher's latents of them, as two arrays on disk.

``python -m training prepare`` writes them once; training maps them into memory. Every 64th
picture, in the order of their names, is held out for validation. The order of crops depends on
the seed and the step only, so a resumed run sees what an uninterrupted one would have seen.
"""

import io
import tarfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from django_latentimg.codec import ImageError
from django_latentimg.codec.models import best_device
from django_latentimg.codec.pixels import open_image, read

from .device import mixed_precision, place
from .taesd import Taesd

SIDE = 320
"""Side of a stored photograph, pixels."""

PACKED_SIDE = 256
"""The same where no photograph is larger, as in an archive."""
PACKED_QUALITY = 78
PACKED_LIMIT = 45 * 2**20
"""Bytes of photographs in an archive."""

HOLD_OUT = 64
"""Of so many pictures, one is never trained on."""


def prepare(photos: Path, teacher_folder: Path, folder: Path) -> None:
    """Write ``pixels.npy`` uint8 (N, 3, S, S) and ``latents.npy`` float16 (N, 4, S/8, S/8).

    ``names.txt`` lists the photographs in the order of the arrays, ``held_out.txt`` those of them
    that are never trained on; S is the side of ``photographs()``. Continues where an interrupted
    run stopped; from the beginning, where the photographs are others by now. Raises ``ImageError``
    for one whose pixels are damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names, held_out, side = photographs(photos)
    progress, listed = folder / "prepared.txt", folder / "names.txt"
    text = "".join(f"{name}\n" for name in names)
    if not listed.exists() or listed.read_text() != text:
        progress.unlink(missing_ok=True)
        listed.write_text(text)
    (folder / "held_out.txt").write_text("".join(f"{name}\n" for name in held_out))
    done = int(progress.read_text()) if progress.exists() else 0
    mode = "r+" if done else "w+"
    pixels = np.lib.format.open_memmap(
        folder / "pixels.npy", mode=mode, dtype=np.uint8, shape=(len(names), 3, side, side)
    )
    latents = np.lib.format.open_memmap(
        folder / "latents.npy",
        mode=mode,
        dtype=np.float16,
        shape=(len(names), 4, side // 8, side // 8),
    )
    device = best_device()
    teacher = place(Taesd(teacher_folder), device)
    started = time.monotonic()
    for index in range(done, len(names)):
        pixels[index] = np.asarray(square(photos / names[index], side)).transpose(2, 0, 1)
        with torch.inference_mode(), mixed_precision(device):
            picture = to_float(torch.from_numpy(pixels[index])[None].to(device))
            latents[index] = teacher.encode(picture)[0].float().cpu()
        if index % 100 == 99 or index + 1 == len(names):
            pixels.flush()
            latents.flush()
            progress.write_text(str(index + 1))
            print(f"{index + 1}/{len(names)} {time.monotonic() - started:.0f} s", flush=True)


class Photographs(NamedTuple):
    """What a folder holds that can be trained on."""

    names: list[str]
    """In order."""
    held_out: list[str]
    """Those of them that are not to be trained on."""
    side: int
    """Of the squares that are made of them, pixels."""


def photographs(folder: Path) -> Photographs:
    """Of ``folder`` and below: whatever Pillow opens, whose shorter side has 320 pixels.

    Where none has, 256. Raises ``ImageError`` where there is nothing of the kind.
    """
    shorter: dict[str, int] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            with open_image(path) as opened:
                shorter[path.relative_to(folder).as_posix()] = min(opened.size)
        except ImageError:
            continue
    # Counted with those that are too small, so that it stays the same whatever counts as such.
    apart = set(sorted(shorter)[::HOLD_OUT])
    for side in (SIDE, PACKED_SIDE):
        names = sorted(name for name, length in shorter.items() if length >= side)
        if names:
            held_out = [name for name in names if name in apart]
            return Photographs(names, held_out or names[:1], side)
    raise ImageError(f"{folder} holds no picture of {PACKED_SIDE} × {PACKED_SIDE} pixels")


def square(path: Path, side: int) -> Image.Image:
    """The middle of a photograph, upright and in sRGB, ``side`` pixels wide."""
    try:
        with open_image(path) as opened:
            rgb, _ = read(opened)
    except ImageError as error:
        raise ImageError(f"{path}: {error} Take it out of the folder.") from error
    return ImageOps.fit(Image.fromarray(rgb), (side, side), Image.Resampling.LANCZOS)


def pack(shared: Path, archive: Path) -> None:
    """One tar file with all that training needs, for a machine that has nothing.

    Unpacked it serves as ``--shared``. Photographs are 256 pixels square; where all of them do
    not fit, they are taken evenly from the whole list. Those held out stay here.
    """
    photos = shared / "photos/train"
    found = photographs(photos)
    names = [name for name in found.names if name not in found.held_out]
    archive.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with tarfile.open(archive, "w", dereference=True) as target:
        for folder in ("models/taesd", "metrics/lpips_squeeze"):
            for path in sorted((shared / folder).glob("*.safetensors")):
                target.add(path, f"{folder}/{path.name}")
        # Every fifth photograph, then the second of every five, and so on.
        for name in (name for start in range(5) for name in names[start::5]):
            data = io.BytesIO()
            packed = square(photos / name, PACKED_SIDE)
            packed.save(data, "WEBP", quality=PACKED_QUALITY, method=6)
            member = tarfile.TarInfo(f"photos/train/{name}")
            member.size = len(data.getvalue())
            size += member.size
            if size > PACKED_LIMIT:
                break
            target.addfile(member, io.BytesIO(data.getvalue()))
    print(f"{archive}: {archive.stat().st_size:,} bytes")


def to_float(pixels: Tensor) -> Tensor:
    """uint8 (N, 3, H, W) -> float32 in [-1, 1], channels last."""
    return (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def split(folder: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices into the arrays: of photographs to train on, and of those held out."""
    names = (folder / "names.txt").read_text().splitlines()
    apart = set((folder / "held_out.txt").read_text().splitlines())
    held_out = np.array([name in apart for name in names])
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def cut(
    pixels: NDArray[np.uint8],
    latents: NDArray[np.float16],
    places: Iterable[tuple[int, int, int]],
    cells: int,
) -> tuple[Tensor, Tensor]:
    """Crops of photographs (N, 3, 8s, 8s) and of their latents (N, 4, s, s), as float32 batches.

    ``places``: of each crop, the photograph's index, and top and left in latent pixels; ``cells``:
    its side in these. Pixels are in [-1, 1].
    """
    of_pixels, of_latents = [], []
    for photo, top, left in places:
        of_latents.append(latents[photo, :, top : top + cells, left : left + cells])
        rows, columns = (slice(8 * at, 8 * (at + cells)) for at in (top, left))
        of_pixels.append(pixels[photo, :, rows, columns])
    return (
        to_float(torch.from_numpy(np.stack(of_pixels))),
        torch.from_numpy(np.stack(of_latents)).float(),
    )


class Crops:
    """Random crops, aligned to the latents' grid of 8 pixels."""

    def __init__(self, folder: Path, *, side: int, batch: int, seed: int) -> None:
        self.pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        self.latents = np.load(folder / "latents.npy", mmap_mode="r")
        self.stored_side = self.pixels.shape[-1]
        self.training, self.validation = split(folder)
        self.side, self.batch, self.seed = side, batch, seed

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Batch of one step: pixels float32 (B, 3, S, S) in [-1, 1], teacher's latents float32."""
        random = np.random.default_rng((self.seed, step))
        chosen = random.choice(self.training, self.batch, replace=False)
        cells = self.side // 8
        tops, lefts = random.integers(0, self.stored_side // 8 - cells + 1, (2, self.batch))
        return cut(self.pixels, self.latents, zip(chosen, tops, lefts, strict=True), cells)

    def held_out(self) -> tuple[Tensor, Tensor]:
        """All validation photographs in full: pixels (N, 3, S, S), teacher's latents."""
        pixels = torch.from_numpy(np.array(self.pixels[self.validation]))
        latents = torch.from_numpy(np.array(self.latents[self.validation])).float()
        return to_float(pixels), latents
