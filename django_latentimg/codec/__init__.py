"""Photographs as Stable Diffusion latents: ``encode``, ``decode``, ``Latent``. No Django here."""

import hashlib
import json
import os
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import container, embedded, palette, pixels, prior, quantize
from .errors import BlobError, CodecError, ImageError, ModelError
from .patches import Patches, decode_patches

__all__ = [
    "BlobError",
    "CodecError",
    "ImageError",
    "Latent",
    "ModelError",
    "decode",
    "encode",
]

if TYPE_CHECKING:
    from .guard import Guard, Verdict
    from .models import Engine
    from .refine import Progress

Quantizer = Literal["uniform", "palette", "palette-undithered"]
Source = bytes | str | os.PathLike[str] | BinaryIO | Image.Image


def encode(
    image: Source,
    *,
    quality: int = 50,
    effort: int = 0,
    model: str = "lite",
    quantizer: Quantizer = "uniform",
    guard: "Guard | None" = None,
    progress: "Progress | None" = None,
) -> bytes:
    """The blob of a picture: any file that Pillow reads, or a Pillow image.

    ``quality``: 1 to 100; equal quality looks about equally good. ``effort``: 0, or up to 9 for as
    many rounds of refinement of the latents, of which ``progress`` hears: it is called with the
    steps done and their total. ``model``: ``lite``; ``compact``, whose blobs are smaller and have a
    latent space of their own; or the folder or hub id of a diffusers autoencoder. ``quantizer``:
    ``palette`` is Bühlmann's, for comparison, dithered or not; it knows neither quality nor effort.
    ``guard``: what the blob must hold, with patches or as AVIF; without one latents are kept
    whatever they lose. Metadata is dropped; colours become sRGB. Raises ``ImageError``,
    ``ModelError``.
    """
    from . import calibration
    from .models import SD1, load_model, space_of

    if not 1 <= quality <= 100:
        raise ImageError(f"Quality must be from 1 to 100, not {quality}.")
    if quantizer not in get_args(Quantizer):
        raise ImageError(f"There is no quantizer {quantizer!r}; there are {get_args(Quantizer)}.")
    if effort and quantizer != "uniform":
        raise ImageError("Only the uniform quantizer can be refined: leave out the effort.")
    if quantizer != "uniform" and space_of(model) != SD1:
        raise ImageError("The palette is one of Stable Diffusion's latents: choose another model.")
    opened = pixels.open_image(image)
    try:
        rgb, alpha = pixels.read(opened)
    finally:
        if opened is not image:
            opened.close()
    height, width = rgb.shape[:2]
    latent_model = load_model(model)
    padded = pixels.pad(rgb)
    latents = latent_model.encode(padded)
    if quantizer == "uniform":
        fineness = calibration.fineness_of(latent_model, padded, latents, quality)
        if effort:
            from .refine import refine

            latents = refine(
                latent_model, padded, latents, fineness=fineness, effort=effort, progress=progress
            )
        symbols = quantize.quantise(latents, quantize.step_of(fineness))
        chunks = {container.SYMBOLS: prior.encode_symbols(symbols, fineness, latent_model.space)}
    else:
        fineness = calibration.PROBE
        coded = palette.encode_palette(latents, dither=quantizer == "palette")
        chunks = {container.PALETTE: coded}
    if alpha is not None:
        chunks[container.ALPHA] = embedded.encode_alpha(alpha)
    header = container.Header(
        width, height, latent_model.space, quality, fineness, latent_model.fingerprint
    )
    if guard:
        from .guard import apply

        def show(chunks: dict[bytes, bytes], width: int | None) -> NDArray[np.uint8]:
            opaque = {kind: chunks[kind] for kind in chunks if kind != container.ALPHA}
            return np.asarray(decode(container.pack(header, opaque), width=width, model=model))

        chunks = apply(guard, rgb, chunks, show)
    return container.pack(header, chunks)


def decode(
    blob: bytes,
    *,
    width: int | None = None,
    model: str = "lite",
    denoiser: str | None = None,
    engine: "Engine" = "auto",
) -> Image.Image:
    """The picture, RGB or RGBA, ``width`` pixels wide or in full; never scaled up.

    A smaller picture comes from the smallest of the decoder's outputs that covers it, so it costs
    less. ``model``: what decodes blobs of its latent space; those of another are decoded by the
    bundled model that has it. ``denoiser``: for a ``model`` that was not trained on quantised
    latents, ``bundled``, or the folder or hub id of a Stable Diffusion 1.x pipeline or a
    ``UNet2DModel``. ``engine``: ``torch`` or ``onnxruntime``, which has the bundled decoders only.
    Raises ``BlobError``, ``ModelError``.
    """
    from .models import SD1, load_decoder, reader

    latent = Latent.from_bytes(blob)
    full = latent.width, latent.height
    target = full
    if width is not None and width < latent.width:
        width = max(1, width)
        target = width, max(1, round(latent.height * width / latent.width))
    scale = 1
    if latent.has_latents:
        scale = next(scale for scale in (8, 4, 2, 1) if full[0] >= scale * target[0])
        latents, hints, step = latent.rounded(), latent.hints(), latent.step
        if denoiser is not None:
            if latent.space != SD1:
                raise ModelError(
                    f"The blob has the latent space {latent.space!r}; denoisers are for "
                    "Stable Diffusion's. Leave the denoiser out."
                )
            from .denoise import load_denoiser

            latents = load_denoiser(denoiser).denoise(latents, hints, step=step)
            hints, step = np.zeros_like(hints), 0.0
        rgb = load_decoder(reader(latent.space, model), engine).decode(
            latents, hints, step=step, scale=scale
        )
    else:
        rgb = latent.image()
    patches = latent.patches()
    if patches:
        rgb = patches.blend(rgb, scale)
    picture = Image.fromarray(rgb)
    if target == full:
        picture = picture.crop((0, 0, *full))
    else:
        box = (0.0, 0.0, full[0] / scale, full[1] / scale)
        picture = picture.resize(target, Image.Resampling.LANCZOS, box)
    alpha = latent.alpha()
    if alpha is not None:
        picture.putalpha(Image.fromarray(alpha).resize(target, Image.Resampling.LANCZOS))
    return picture


class Latent:
    """A parsed blob; symbols are decoded when asked for."""

    def __init__(
        self, header: container.Header, chunks: dict[bytes, bytes], digest: str, size: int
    ) -> None:
        self._header = header
        self._chunks = chunks
        self.digest = digest
        """First 8 hexadecimal digits of the blob's SHA-256."""
        self.bytes = size
        """Of the blob."""

    @classmethod
    def from_bytes(cls, blob: bytes) -> "Latent":
        """Raises ``BlobError`` unless ``blob`` is whole and undamaged."""
        header, chunks = container.unpack(blob)
        return cls(header, chunks, hashlib.sha256(blob).hexdigest()[:8], len(blob))

    @property
    def width(self) -> int:
        """Pixels."""
        return self._header.width

    @property
    def height(self) -> int:
        """Pixels."""
        return self._header.height

    @property
    def space(self) -> str:
        """The latent space, ``sd1`` or ``compact1``."""
        return self._header.space

    @property
    def model(self) -> str:
        """Fingerprint of the latent model that encoded, 8 hexadecimal digits."""
        return self._header.model

    @property
    def quality(self) -> int:
        """What was asked for, 1 to 100."""
        return self._header.quality

    @property
    def fineness(self) -> int:
        """Number of the quantiser's step, 1 to 100: what ``quality`` came to for this picture."""
        return self._header.fineness

    @property
    def has_latents(self) -> bool:
        """Whether the picture is kept as latents; else the guard has made AVIF of it."""
        return container.IMAGE not in self._chunks

    @property
    def has_palette(self) -> bool:
        """Whether the latents went through a palette, and not through the uniform quantiser."""
        return container.PALETTE in self._chunks

    @property
    def step(self) -> float:
        """The quantiser's step, scaled latents; of a palette, the step of as much noise.

        Raises ``BlobError``.
        """
        if self.has_palette:
            return self._of_palette[1] * 12**0.5  # A step's error is even: its variance step²/12.
        return quantize.step_of(self.fineness)

    @cached_property
    def _of_palette(self) -> tuple[NDArray[np.int64], float]:
        return palette.decode_palette(self._chunks[container.PALETTE], *self._header.latent_shape)

    @cached_property
    def _decoded(self) -> prior.Decoded:
        if not self.has_latents:
            raise BlobError("The blob's picture is kept as AVIF and has no latents.")
        height, width = self._header.latent_shape
        data = self._chunks[container.SYMBOLS]
        return prior.decode_symbols(data, height, width, self.fineness, self.space)

    def symbols(self) -> NDArray[np.int64]:
        """int64 (4, ceil(H/8), ceil(W/8)); levels from 0 to 255 with a palette.

        Raises ``BlobError``.
        """
        return self._of_palette[0] if self.has_palette else self._decoded.symbols

    def rounded(self) -> NDArray[np.float32]:
        """What the symbols stand for: float32 (4, ceil(H/8), ceil(W/8)), scaled latents.

        Raises ``BlobError``.
        """
        if self.has_palette:
            return palette.to_latents(self.symbols())
        return quantize.dequantise(self.symbols(), self.step)

    def hints(self) -> NDArray[np.float32]:
        """What the prior knows beyond the symbols: float32 (8, ceil(H/8), ceil(W/8)).

        Four planes from ``rounded()`` to where in its cell each latent is on average, in scaled
        latents; four of the logarithm to base 2 of the spread it expected, in symbols. With a
        palette all 0, because the prior had no say. Raises ``BlobError``.
        """
        if self.has_palette:
            return np.zeros((8, *self._header.latent_shape), np.float32)
        symbols, expected, spread = self._decoded
        offset = (expected - symbols).astype(np.float32)
        shift = quantize.centroid(offset, spread, np.exp) * np.float32(self.step)
        return np.concatenate([shift, np.log2(spread)])

    def latents(self) -> NDArray[np.float32]:
        """float32 (4, ceil(H/8), ceil(W/8)), scaled, for any decoder of the blob's ``space``.

        ``rounded()`` with the first four of ``hints()``: nearer to the encoder's latents than
        rounding left them. Raises ``BlobError``.
        """
        return self.rounded() + self.hints()[:4]

    def safetensors(self) -> bytes:
        """``latents()`` as a safetensors file, for diffusers and its like. Raises ``BlobError``.

        One tensor, ``latents``: float16 (1, 4, ceil(H/8), ceil(W/8)), scaled; divide by the
        metadata's ``scaling_factor`` for a VAE's ``decode()``. The decoded picture's upper left
        ``width`` × ``height`` pixels count. Of Stable Diffusion's space only: another's no VAE
        reads, though it would make something of them.
        """
        from .models import SCALING_FACTOR, SD1

        if self.space != SD1:
            raise BlobError(f"The latent space {self.space!r} is read by django-latentimg only.")
        latents = self.latents()[None].astype("<f2")
        header = {
            "__metadata__": {
                "space": self.space,
                "scaling_factor": str(SCALING_FACTOR),
                "width": str(self.width),
                "height": str(self.height),
            },
            "latents": {
                "dtype": "F16",
                "shape": latents.shape,
                "data_offsets": [0, latents.nbytes],
            },
        }
        # The package safetensors writes metadata in another order each time; equal latents shall
        # be equal bytes, under one ETag. The header is padded to a multiple of 8 bytes.
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text + latents.tobytes()

    def image(self) -> NDArray[np.uint8]:
        """uint8 (H, W, 3) of a picture that is kept as AVIF. Raises ``BlobError``."""
        if self.has_latents:
            raise BlobError("The blob's picture is kept as latents.")
        return embedded.decode(self._chunks[container.IMAGE], ["AVIF"], self.width, self.height)

    def patches(self) -> Patches | None:
        """What is to be blended over the decoded picture. Raises ``BlobError``."""
        stored = self._chunks.get(container.PATCHES)
        if stored is None:
            return None
        height, width = (8 * cells for cells in self._header.latent_shape)
        return decode_patches(stored, height, width)

    @property
    def verdict(self) -> "Verdict | None":
        """What the guard chose, and what it measured. Raises ``BlobError``."""
        from .guard import Verdict

        stored = self._chunks.get(container.VERDICT)
        return None if stored is None else Verdict.unpack(stored)

    @property
    def has_alpha(self) -> bool:
        """Whether the picture has transparent parts."""
        return container.ALPHA in self._chunks

    def alpha(self) -> NDArray[np.uint8] | None:
        """uint8 (H, W), or None for an opaque picture. Raises ``BlobError``."""
        stored = self._chunks.get(container.ALPHA)
        if stored is None:
            return None
        return embedded.decode(stored, ["PNG"], self.width, self.height, mode="L")[..., 0]
