"""What the prior makes of a symbol: ``python -m benchmarks.prior [FOLDER]``.

Bits a symbol of the centre 512×512 crops of every photograph in FOLDER (default: Kodak), encoded by
TAESD and by the bundled encoder, beside an ideal coder of each channel's own histogram; what the
range coder adds to the tables' entropy; and the time to decode the symbols, as a ratio to Pillow's
decode of an AVIF of the same picture. Writes ``benchmarks/results/prior.md``.
"""

import argparse
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from django_latentimg.codec import prior
from django_latentimg.codec.models import SD1, load_model
from django_latentimg.codec.quantize import quantise, step_of
from django_latentimg.codec.rangecoder import TOTAL

from .codec import fastest
from .lite_model import RESULTS
from .metrics import centre_crop

FINENESSES = (75, 50, 35, 25, 10)


def zero_order_bits(symbols: NDArray[np.int64]) -> float:
    """Entropy of each channel's own histogram, without the cost of sending it."""
    total = 0.0
    for plane in symbols:
        share = np.unique(plane, return_counts=True)[1] / plane.size
        total -= plane.size * float((share * np.log2(share)).sum())
    return total


def table_bits(symbols: NDArray[np.int64], fineness: int) -> float:
    """Entropy under the chosen tables; what the range coder is held against."""
    tables, indices, _ = prior.choose_tables(symbols, fineness, SD1)
    frequencies = np.diff(np.array(prior.load_tables(SD1)), axis=1)
    escapes = int((indices == prior.ESCAPE).sum()) * prior.ESCAPE_BITS
    return float(-np.log2(frequencies[tables, indices] / TOTAL).sum()) + escapes


def decode_times(side: tuple[int, int], rgb: NDArray[np.uint8]) -> tuple[float, float]:
    """Seconds for the symbols of a picture tiled to ``side`` (rows, columns), and for its AVIF."""
    rows, columns = side
    repeats = -(-rows // rgb.shape[0]), -(-columns // rgb.shape[1]), 1
    large = np.tile(rgb, repeats)[:rows, :columns]
    latents = load_model("lite").encode(np.ascontiguousarray(large))
    data = prior.encode_symbols(quantise(latents, step_of(50)), 50, SD1)
    avif = io.BytesIO()
    Image.fromarray(large).save(avif, "AVIF", speed=8)

    def decode_avif() -> None:
        Image.open(io.BytesIO(avif.getvalue())).load()

    shape = latents.shape[1:]
    return fastest(lambda: prior.decode_symbols(data, *shape, 50, SD1)), fastest(decode_avif)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", nargs="?", default="../shared/photos/kodak", type=Path)
    arguments.add_argument("--taesd", default="../shared/models/taesd")
    given = arguments.parse_args()

    paths = sorted(p for p in given.folder.iterdir() if p.suffix in (".png", ".webp"))
    crops = [centre_crop(path) for path in paths]
    lines = [
        f"Bits a symbol, mean over {len(crops)} crops of 512×512.",
        "",
        "| encoder | step | zero order | prior | with the range coder | overhead |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, model in (("TAESD", load_model(given.taesd)), ("lite", load_model("lite"))):
        latents = [model.encode(rgb) for rgb in crops]
        for fineness in FINENESSES:
            symbols = [quantise(each, step_of(fineness)) for each in latents]
            count = sum(each.size for each in symbols)
            zero = sum(map(zero_order_bits, symbols)) / count
            tables = sum(table_bits(each, fineness) for each in symbols) / count
            coded = (
                sum(8 * len(prior.encode_symbols(each, fineness, SD1)) for each in symbols) / count
            )
            lines.append(
                f"| {name} | {step_of(fineness):.3f} | {zero:.3f} | {tables:.3f} | {coded:.3f} | "
                f"{100 * (coded / tables - 1):.3f} % |"
            )
    lines += ["", "| symbols of | ms | × AVIF decode |", "| --- | --- | --- |"]
    for side in ((512, 512), (3000, 4000)):
        symbols_s, avif_s = decode_times(side, crops[0])
        lines.append(f"| {side[1]}×{side[0]} | {1000 * symbols_s:.0f} | {symbols_s / avif_s:.1f} |")
    text = "\n".join(lines) + "\n"
    (RESULTS / "prior.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
