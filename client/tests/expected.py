"""What Python makes of blobs, for the client's tests: ``python client/tests/expected.py FOLDER``.

Blobs are the golden ones and some photographs. Of each, in the folder: ``NAME.limg`` and, raw and
little-endian where they are arrays:

- ``NAME.json``: facts of the header;
- with latents: ``NAME.symbols`` (int16), ``NAME.rounded`` and ``NAME.hints`` (float32); for each
  scale S ``NAME.S.rgb``, the padded picture by the bundled decoder in float32 (uint8, height,
  width, 3), and ``NAME.S.levels``, the same by the decoder with the weights that the client has and
  before it is rounded (float32);
- with patches: their places among the facts; ``NAME.atlas``, pixels; ``NAME.blended``, which is
  ``NAME.1.rgb`` with the patches over it;
- with an atlas, or kept as AVIF: ``NAME.stored`` and ``NAME.file``, the picture as it is stored and
  as a file.
"""

import json
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import skimage
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from django_latentimg import codec
from django_latentimg.codec import container, embedded
from django_latentimg.codec.lite import SCALES, LiteDecoder, load_networks
from django_latentimg.codec.models import BUNDLED, WEIGHTS, LiteModel
from django_latentimg.codec.patches import FORMATS
from training.browser import FINER, round_weights, twice

GOLDEN = Path(__file__).parents[2] / "tests/golden"
PHOTOGRAPHS = [("chelsea.png", 25), ("chelsea.png", 75), ("coffee.png", 50), ("astronaut.png", 10)]
SIDE = 320
"""Photographs are cropped to it, so that the tests stay short."""


class Decoders(NamedTuple):
    """Of one latent space."""

    bundled: LiteModel
    client: LiteModel
    """With the weights that the client has."""


def write(folder: Path, name: str, blob: bytes, decoders: Decoders) -> None:
    latent = codec.Latent.from_bytes(blob)
    facts = {
        "width": latent.width,
        "height": latent.height,
        "space": latent.space,
        "quality": latent.quality,
        "fineness": latent.fineness,
        "model": latent.model,
        "has_latents": latent.has_latents,
    }
    (folder / f"{name}.limg").write_bytes(blob)
    if latent.has_latents:
        rounded, hints = latent.rounded(), latent.hints()
        facts |= {"step": latent.step, "rows": rounded.shape[1], "columns": rounded.shape[2]}
        (folder / f"{name}.symbols").write_bytes(latent.symbols().astype("<i2").tobytes())
        (folder / f"{name}.rounded").write_bytes(rounded.tobytes())
        (folder / f"{name}.hints").write_bytes(hints.tobytes())
        for scale in SCALES:
            rgb = decoders.bundled.decode(rounded, hints, step=latent.step, scale=scale)
            (folder / f"{name}.{scale}.rgb").write_bytes(rgb.tobytes())
            levels = levels_of(decoders.client, rounded, hints, latent.step, scale)
            (folder / f"{name}.{scale}.levels").write_bytes(levels.tobytes())
    if not latent.has_latents:
        stored = container.unpack(blob)[1][container.IMAGE]
        write_stored(folder, name, stored, latent.width, latent.height)
    patches = latent.patches()
    if patches:
        count = len(patches.boxes)
        stored = container.unpack(blob)[1][container.PATCHES][1 + 8 * count :]
        width = max(box.right - box.left for box in patches.boxes)
        height = sum(box.bottom - box.top for box in patches.boxes)
        write_stored(folder, name, stored, width, height)
        atlas = embedded.decode(stored, FORMATS, width, height)
        (folder / f"{name}.atlas").write_bytes(atlas.tobytes())
        blended = patches.blend(decoders.bundled.decode(rounded, hints, step=latent.step))
        (folder / f"{name}.blended").write_bytes(blended.tobytes())
        facts["patches"] = patches.boxes
    (folder / f"{name}.json").write_text(json.dumps(facts))


def write_stored(folder: Path, name: str, stored: bytes, width: int, height: int) -> None:
    (folder / f"{name}.stored").write_bytes(stored)
    (folder / f"{name}.file").write_bytes(embedded.whole(stored, width, height))


def float32(decoder: LiteDecoder) -> LiteModel:
    model = LiteModel(nn.ModuleDict({"decoder": decoder}))
    model.bfloat16 = False
    return model


def levels_of(
    model: LiteModel,
    rounded: NDArray[np.float32],
    hints: NDArray[np.float32],
    step: float,
    scale: int,
) -> NDArray[np.float32]:
    """(height, width, 3) from 0 to 255."""
    with torch.inference_mode():
        latents, expected = (torch.from_numpy(array)[None] for array in (rounded, hints))
        picture = model.to_pixels(latents, expected, torch.tensor([step]), scale)[0]
        levels: NDArray[np.float32] = (picture * 127.5 + 127.5).clamp(0, 255).numpy()
    return np.ascontiguousarray(levels.transpose(1, 2, 0))


def with_rounded_weights(model: str) -> LiteDecoder:
    decoder = load_networks(WEIGHTS / model)["decoder"]
    assert isinstance(decoder, LiteDecoder)
    for module in decoder.modules():
        if isinstance(module, nn.Conv2d):
            weight = module.weight.numpy(force=True)
            inputs = weight.shape[1]
            levels, scale = round_weights(twice(weight) if module is decoder.enter else weight)
            rounded = levels * scale[:, None, None, None]
            if module is decoder.enter:
                rounded = rounded[:, :inputs] + rounded[:, 16 : 16 + inputs] / FINER
            module.weight.data = torch.from_numpy(rounded)
    return decoder


def main(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    decoders = {
        space: Decoders(
            float32(load_networks(WEIGHTS / model)["decoder"]), float32(with_rounded_weights(model))
        )
        for model, space in BUNDLED.items()
    }

    def write_blob(name: str, blob: bytes) -> None:
        write(folder, name, blob, decoders[codec.Latent.from_bytes(blob).space])

    for path in sorted(GOLDEN.glob("v*/*.limg")):
        write_blob(f"{path.parent.name}-{path.stem}", path.read_bytes())
    data = Path(skimage.__file__).parent / "data"
    for file, quality in PHOTOGRAPHS:
        with Image.open(data / file) as image:
            photograph = image.convert("RGB").crop((0, 0, SIDE, min(SIDE, image.height)))
        for model in BUNDLED:
            blob = codec.encode(photograph, quality=quality, model=model)
            name = f"{Path(file).stem}-{quality}" + ("" if model == "lite" else f"-{model}")
            write_blob(name, blob)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
