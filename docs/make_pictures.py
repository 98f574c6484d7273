"""The README's picture and its caption: ``python docs/make_pictures.py``.

The photograph ships with scikit-image (coffee.png, Rachel Michetti, CC0).
"""

import io
from pathlib import Path

import numpy as np
import skimage
from PIL import Image

from django_latentimg import codec
from django_latentimg.conf import Values

GAP = 8
TARGET = Path(__file__).parent / "images" / "side_by_side.webp"


def main() -> None:
    path = Path(skimage.__file__).parent / "data" / "coffee.png"
    source = Image.open(path).convert("RGB")
    blob = codec.encode(source, effort=Values.EFFORT)
    decoded = codec.decode(blob)
    sheet = Image.new("RGB", (source.width * 2 + GAP, source.height), "white")
    sheet.paste(source, (0, 0))
    sheet.paste(decoded, (source.width + GAP, 0))
    TARGET.parent.mkdir(exist_ok=True)
    sheet.save(TARGET, "WEBP", quality=90, method=6)
    jpeg = io.BytesIO()
    source.save(jpeg, "JPEG", quality=90)
    error = np.mean((np.asarray(source, float) - np.asarray(decoded, float)) ** 2)
    print(
        f"Left: the source, {source.width} × {source.height}, {path.stat().st_size:,} bytes as PNG "
        f"({len(jpeg.getvalue()):,} as JPEG of quality 90). Right: what its blob of "
        f"{len(blob):,} bytes decodes to; PSNR {10 * np.log10(255**2 / error):.1f} dB."
    )


if __name__ == "__main__":
    main()
