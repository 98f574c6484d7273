"""The codecs of ``benchmarks.codec``: each turns pixels into a file's bytes and back."""

import hashlib
import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from django_latentimg import codec
from django_latentimg.codec import palette, prior
from django_latentimg.codec.models import BUNDLED, WEIGHTS, load_model, space_of
from django_latentimg.codec.quantize import dequantise, quantise
from django_latentimg.codec.rangecoder import TOTAL, RangeDecoder, RangeEncoder
from django_latentimg.conf import Values

from .metrics import Pixels


@dataclass(frozen=True)
class Codec:
    """``encode(pixels, parameter)`` -> file; ``decode(file)`` -> pixels; the curve's parameters."""

    name: str
    version: str
    parameters: tuple[float, ...]
    encode: Callable[[Pixels, float], bytes]
    decode: Callable[[bytes], Pixels]


def pillow(name: str, format_: str, parameters: tuple[float, ...], **options: object) -> Codec:
    def encode(pixels: Pixels, quality: float) -> bytes:
        target = io.BytesIO()
        Image.fromarray(pixels).save(target, format_, quality=int(quality), **options)
        return target.getvalue()

    def decode(data: bytes) -> Pixels:
        with Image.open(io.BytesIO(data)) as opened:
            return np.asarray(opened.convert("RGB"))

    return Codec(name, f"Pillow {version('pillow')}", parameters, encode, decode)


def latentimg(effort: int, parameters: tuple[float, ...], model: str = "lite") -> Codec:
    """Ours: whole blobs of a bundled model."""

    def encode(pixels: Pixels, quality: float) -> bytes:
        source = Image.fromarray(pixels)
        return codec.encode(source, quality=int(quality), effort=effort, model=model)

    def decode(data: bytes) -> Pixels:
        return np.asarray(codec.decode(data))

    name = "latentimg" if model == "lite" else f"latentimg {model}"
    return Codec(f"{name} effort {effort}", version_of_ours(model), parameters, encode, decode)


def latentimg_palette(quantizer: codec.Quantizer) -> Codec:
    """Ours with Bühlmann's quantiser."""

    def encode(pixels: Pixels, _: float) -> bytes:
        return codec.encode(Image.fromarray(pixels), quantizer=quantizer)

    def decode(data: bytes) -> Pixels:
        return np.asarray(codec.decode(data))

    source = Path(palette.__file__).read_bytes()
    version = f"{load_model('lite').fingerprint} {zlib.crc32(source):08x}"
    return Codec(f"latentimg {quantizer}", version, (0.0,), encode, decode)


@cache
def version_of_ours(model: str) -> str:
    """Of the weights, and of all code that has a say in what a blob holds."""
    folder = Path(codec.__file__).parent
    names = ("calibration.py", "distortion.py", "quantize.py", "refine.py")
    digest = hashlib.sha256()
    for path in (*(folder / name for name in names), WEIGHTS / prior.file_name(space_of(model))):
        digest.update(path.read_bytes())
    return f"{load_model(model).fingerprint} {digest.hexdigest()[:8]}"


TAESD_SPREADS = (0.75, 0.87, 0.66, 0.61)
"""Standard deviations of the latents' channels over photographs."""


@cache
def zero_order_table(channel: int, step: float) -> list[int]:
    """Cumulative frequencies of the symbols -255 to 255, normally distributed."""
    from scipy.stats import norm

    edges = (np.arange(512) - 255.5) * step
    share = np.diff(norm.cdf(edges, scale=TAESD_SPREADS[channel]))
    frequency = 1 + np.floor(share / share.sum() * (TOTAL - 512)).astype(int)
    frequency[255] += TOTAL - frequency.sum()
    return [0, *np.cumsum(frequency).tolist()]


def taesd_static(folder: str, parameters: tuple[float, ...]) -> Codec:
    """Stock TAESD, uniform step, one fixed distribution for each channel: what a day's work gives.

    Eight bytes of size and step stand before the symbols.
    """
    model = load_model(folder)

    def encode(pixels: Pixels, step: float) -> bytes:
        symbols = np.clip(quantise(model.encode(pixels), step), -255, 255)
        coder = RangeEncoder()
        for channel, plane in enumerate(symbols + 255):
            table = zero_order_table(channel, step)
            for symbol in plane.ravel().tolist():
                coder.encode(table[symbol], table[symbol + 1] - table[symbol])
        head = np.array([*symbols.shape[1:]], ">u2").tobytes() + np.float32(step).tobytes()
        return head + coder.finish()

    def decode(data: bytes) -> Pixels:
        height, width = np.frombuffer(data[:4], ">u2").tolist()
        step = round(float(np.frombuffer(data[4:8], np.float32)[0]), 6)
        coder = RangeDecoder(data[8:])
        planes = [
            coder.decode_run([zero_order_table(channel, step)] * (height * width))
            for channel in range(4)
        ]
        symbols = np.array(planes).reshape(4, height, width) - 255
        return model.decode(dequantise(symbols, step))

    return Codec("TAESD static", model.fingerprint, parameters, encode, decode)


def buehlmann(folder: str) -> Codec:
    """Bühlmann's scheme (2022) on TAESD, without the U-Net pass.

    Latents to 8 bits, the four channels as an RGBA picture with a palette of 256 colours and
    dithering (libimagequant), zlib over palette and indices.
    """
    model = load_model(folder)

    def encode(pixels: Pixels, _: float) -> bytes:
        levels = palette.to_levels(model.encode(pixels)).astype(np.uint8)
        colours, indices = quantise_to_palette(levels)
        head = np.array(indices.shape, ">u2").tobytes()
        return head + zlib.compress(colours.tobytes() + indices.tobytes(), 9)

    def decode(data: bytes) -> Pixels:
        height, width = np.frombuffer(data[:4], ">u2").tolist()
        raw = np.frombuffer(zlib.decompress(data[4:]), np.uint8)
        colours, indices = raw[:1024].reshape(256, 4), raw[1024:].reshape(height, width)
        levels = colours[indices].transpose(2, 0, 1).astype(np.int64)
        return model.decode(palette.to_latents(levels))

    return Codec("Bühlmann", model.fingerprint, (0.0,), encode, decode)


def quantise_to_palette(
    levels: NDArray[np.uint8],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(palette uint8 (256, 4), indices uint8 (h, w))."""
    import imagequant

    height, width, _ = levels.shape
    indices, colours = imagequant.quantize_raw_rgba_bytes(
        np.ascontiguousarray(levels).tobytes(), width, height, dithering_level=1.0, max_colors=256
    )
    palette = np.zeros((256, 4), np.uint8)
    given = np.array(colours, np.uint8).reshape(-1, 4)
    palette[: len(given)] = given
    return palette, np.frombuffer(indices, np.uint8).reshape(height, width)


def all_codecs(taesd_folder: str) -> list[Codec]:
    """Peers first, then ours: both bundled models, without refinement and as the worker does."""
    import pillow_jxl  # noqa: F401

    avif = (1, 5, 9, 14, 20, 27, 35)
    return [
        pillow("JPEG", "JPEG", (1, 3, 6, 9, 13, 18), optimize=True, progressive=True),
        pillow("WebP m6", "WEBP", (0, 1, 3, 6, 12, 22), method=6),
        pillow("AVIF s4", "AVIF", avif, speed=4),
        pillow("AVIF s0", "AVIF", avif, speed=0),
        pillow("JPEG XL", "JXL", (0, 5, 10, 16, 24), effort=7),
        taesd_static(taesd_folder, (1.5, 1.0, 0.75, 0.5, 0.35)),
        buehlmann(taesd_folder),
        latentimg_palette("palette"),
        latentimg_palette("palette-undithered"),
        *(
            latentimg(effort, (10, 25, 38, 50, 62, 75), model)
            for model in BUNDLED
            for effort in (0, Values.EFFORT)
        ),
    ]
