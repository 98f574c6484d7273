"""What one version of the package makes of pictures: run by ``ladder.py`` for each of them.

``python -P ladder_version.py FOLDER MODEL FINENESS...`` with that version's tree first on the path.
Uses only what every version has had since the first weights: ``codec.encode`` and ``codec.decode``.
For ``FOLDER/NAME.png`` it writes ``NAME-FINENESS.npy``, uint8 (H, W, 3), what the blob of that
number of the quantiser's step decodes to at effort 0, without guard or patches; and for the middle
one ``NAME-1of4.npy`` and so on, from the small heads. ``told.json`` holds bytes
and the processor's seconds, in which other processes do not count.
"""

import io
import json
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

PARTS = (2, 4, 8)
"""Denominators of the small renditions' sizes."""


def main(folder: Path, model: str, finenesses: list[int]) -> None:
    from django_latentimg import codec

    say_steps_in_qualities()
    middle = finenesses[len(finenesses) // 2]
    told: dict[str, dict[str, float]] = {}
    for path in sorted(folder.glob("*.png")):
        told[path.stem] = {}
        for fineness in finenesses:
            blob = codec.encode(path, quality=fineness, model=model)
            started = time.process_time()
            decoded = codec.decode(blob, model=model)
            seconds = time.process_time() - started
            np.save(folder / f"{path.stem}-{fineness}.npy", np.asarray(decoded))
            told[path.stem][f"bytes at {fineness}"] = len(blob)
            if fineness == middle:
                for part in PARTS:
                    small = codec.decode(blob, width=decoded.width // part, model=model)
                    np.save(folder / f"{path.stem}-1of{part}.npy", np.asarray(small))
                avif = io.BytesIO()
                Image.open(path).save(avif, "AVIF", quality=14, speed=4)
                started = time.process_time()
                Image.open(avif).load()
                told[path.stem]["AVIF seconds"] = time.process_time() - started
                told[path.stem]["decode seconds"] = seconds
        (folder / "told.json").write_text(json.dumps(told))


def say_steps_in_qualities() -> None:
    """Later versions choose each picture's step by how it fares; here quality names the step."""
    if find_spec("django_latentimg.codec.calibration"):
        from django_latentimg.codec import calibration

        calibration.fineness_of = lambda model, rgb, latents, quality: quality


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], [int(fineness) for fineness in sys.argv[3:]])
