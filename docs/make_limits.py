"""The pictures of the model card's limits: ``python -m docs.make_limits``.

Photographs that ship with scikit-image, coded whole as a field's worker does by default; shown are
crops at 1:1 of the source, of what the latents alone decode to, and of what the guard stores.
Writes ``docs/images/limits-*.webp`` and prints what the page says of them.
"""

from pathlib import Path

import numpy as np
import skimage
from PIL import Image, ImageDraw, ImageFont

from benchmarks.metrics import psnr
from django_latentimg import codec
from django_latentimg.codec.guard import Guard
from django_latentimg.conf import Values

PHOTOGRAPHS = Path(skimage.__file__).parent / "data"
TARGET = Path(__file__).parent / "images"
CROPS = {
    "astronaut": (128, 40, 352, 232),
    "page": (0, 0, 224, 191),
    "motorcycle_left": (250, 120, 474, 312),
    "chelsea": (112, 60, 336, 252),
}
"""Left, top, right, bottom; pixels of the source."""
GAP, LABEL = 8, 20


def main() -> None:
    for name in CROPS:
        source = Image.open(PHOTOGRAPHS / f"{name}.png").convert("RGB")
        print(draw(name, source))


def draw(name: str, source: Image.Image) -> str:
    """Save the row of a photograph; the figures of what is shown."""
    alone = codec.encode(source, effort=Values.EFFORT)
    guarded = codec.encode(source, effort=Values.EFFORT, guard=Guard())
    latent = codec.Latent.from_bytes(guarded)
    patches = latent.patches()
    verdict = latent.verdict
    assert verdict
    shown = {
        "source": source,
        f"latents, {len(alone):,} B": codec.decode(alone),
        f"with the guard, {len(guarded):,} B": codec.decode(guarded),
    }
    box = CROPS[name]
    width, height = box[2] - box[0], box[3] - box[1]
    size = len(shown) * (width + GAP) - GAP, LABEL + height
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for number, (title, picture) in enumerate(shown.items()):
        left = number * (width + GAP)
        pen.text((left + 2, 1), title, "black", font)
        sheet.paste(picture.crop(box), (left, LABEL))
    sheet.save(TARGET / f"limits-{name}.webp", "WEBP", quality=90, method=6)
    crops = [np.asarray(picture.crop(box)) for picture in shown.values()]
    found = ", ".join(f"{psnr(crops[0], crop):.1f}" for crop in crops[1:])
    return f"{name}: kept as {verdict.kept}, {verdict.reason}, {patches}; in the crop {found} dB"


if __name__ == "__main__":
    main()
