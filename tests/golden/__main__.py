"""Make the golden blobs of this version: ``python -m tests.golden``. Older ones stay as they are.

Symbols come from a seeded generator, so the blobs depend on the format and the prior, not on the
bundled networks.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
from PIL import Image

from django_latentimg.codec import container, embedded, palette, patches, prior
from django_latentimg.codec.guard import Verdict

FOLDER = Path(__file__).parent
CURRENT = FOLDER / f"v{container.VERSION}"
COMPACT = FOLDER / "compact1"
"""Of that latent space, whose prior is another."""


def symbols(height: int, width: int, spread: float, seed: int) -> np.ndarray:
    """Smooth int64 (4, height, width) with noise, and one symbol beyond the tables."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    smooth = np.stack([np.sin(x / 5 + c) + np.cos(y / 4 - c) for c in range(4)])
    values = np.rint(spread * (smooth + random.normal(0, 0.4, smooth.shape))).astype(np.int64)
    values[2, height // 2, width // 2] = -700
    return values


def chequers(width: int, height: int) -> Image.Image:
    """What patches and AVIF show."""
    y, x = np.mgrid[0:height, 0:width]
    grey = 60 + 140 * ((x + y) // 8 % 2)
    return Image.fromarray(np.stack([grey, grey, grey * 3 // 4], -1).astype(np.uint8))


def digest(values: np.ndarray) -> str:
    return hashlib.sha256(values.astype(">i2").tobytes()).hexdigest()


def write(folder: Path, expected: dict[str, dict[str, object]]) -> None:
    (folder / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")


def of_compact() -> None:
    COMPACT.mkdir(exist_ok=True)
    expected: dict[str, dict[str, object]] = {}
    for name, width, height, fineness in (("opaque", 96, 64, 50), ("fine", 61, 45, 90)):
        header = container.Header(width, height, "compact1", 50, fineness, "0badcafe")
        values = symbols(*header.latent_shape, spread=fineness / 25, seed=fineness)
        chunks = {container.SYMBOLS: prior.encode_symbols(values, fineness, header.space)}
        (COMPACT / f"{name}.limg").write_bytes(container.pack(header, chunks))
        expected[name] = {
            "width": width,
            "height": height,
            "fineness": fineness,
            "alpha": False,
            "symbols_sha256": digest(values),
        }
    write(COMPACT, expected)


def main() -> None:
    of_compact()
    CURRENT.mkdir(exist_ok=True)
    expected: dict[str, dict[str, object]] = {}
    for name, width, height, fineness, has_alpha in (
        ("opaque", 96, 64, 50, False),
        ("fine", 61, 45, 90, False),
        ("coarse", 130, 17, 5, False),
        ("one_pixel", 1, 1, 50, False),
        ("alpha", 40, 30, 60, True),
    ):
        header = container.Header(width, height, "sd1", 50, fineness, "0badcafe")
        values = symbols(*header.latent_shape, spread=fineness / 25, seed=fineness)
        chunks = {container.SYMBOLS: prior.encode_symbols(values, fineness, header.space)}
        if has_alpha:
            ramp = np.linspace(0, 255, width).astype(np.uint8)
            chunks[container.ALPHA] = embedded.encode_alpha(np.tile(ramp, (height, 1)))
        blob = container.pack(header, chunks)
        (CURRENT / f"{name}.limg").write_bytes(blob)
        expected[name] = {
            "width": width,
            "height": height,
            "fineness": fineness,
            "alpha": has_alpha,
            "symbols_sha256": digest(values),
        }
    header = container.Header(75, 50, "sd1", 50, 50, "0badcafe")
    latents = symbols(*header.latent_shape, spread=2, seed=1).clip(-8, 8).astype(np.float32) / 3
    coded = palette.encode_palette(latents)
    (CURRENT / "palette.limg").write_bytes(container.pack(header, {container.PALETTE: coded}))
    levels, _ = palette.decode_palette(coded, *header.latent_shape)
    expected["palette"] = {
        "width": 75,
        "height": 50,
        "fineness": 50,
        "alpha": False,
        "symbols_sha256": digest(levels),
    }
    header = container.Header(96, 64, "sd1", 50, 50, "0badcafe")
    values = symbols(*header.latent_shape, spread=2, seed=50)
    squares = chequers(header.width, header.height)
    boxes = [patches.Box(0, 8, 40, 32), patches.Box(56, 40, 96, 64)]
    chunks = {
        container.SYMBOLS: prior.encode_symbols(values, 50, header.space),
        container.PATCHES: patches.encode_patches(np.asarray(squares), boxes, "AVIF", 80),
        container.VERDICT: Verdict("latents", "detail", "better", 0.125, 0.25, 0.5, 1.0).pack(),
    }
    (CURRENT / "patched.limg").write_bytes(container.pack(header, chunks))
    expected["patched"] = {
        "width": 96,
        "height": 64,
        "fineness": 50,
        "alpha": False,
        "symbols_sha256": digest(values),
        "patches": boxes,
    }
    avif = embedded.bare(embedded.encode_avif(np.asarray(squares), 80))
    verdict = Verdict("avif", "fidelity", "worse", 12.5, 50.0, 25.0, 75.0)
    chunks = {container.IMAGE: avif, container.VERDICT: verdict.pack()}
    (CURRENT / "avif.limg").write_bytes(container.pack(header, chunks))
    expected["avif"] = {"width": 96, "height": 64, "fineness": 50, "alpha": False}
    write(CURRENT, expected)


if __name__ == "__main__":
    main()
