"""Latent models: load one by name, encode pixels to latents, decode latents to pixels.

torch, diffusers and onnxruntime are imported when a model is loaded, not before. All models but
``compact`` share Stable Diffusion 1.x's scaled latent space, so what one encodes any other decodes.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from .errors import ModelError
from .passes import Passes

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SD1 = "sd1"
"""The latent space that all share but those bundled models that have their own."""
BUNDLED = {"lite": SD1, "compact": "compact1"}
"""Latent space of each bundled model, by the model's name."""
SCALING_FACTOR = 0.18215
"""Stable Diffusion 1.x's latents times this have about unit variance."""

TILE = 128
"""Side of a tile, latent pixels: 1024 pixels of the picture."""

PASS_PIXELS = 1 << 22
"""Of all pictures that one pass of a GPU takes: eight of the size of a page."""

WEIGHTS = Path(__file__).parent / "weights"
LITE_FOLDER = WEIGHTS / "lite"
LITE_MARGIN = 21
"""Latent pixels around a tile that can influence its inside (receptive field's radius).

Encoder: two for each block at 1/8 (16) and its last convolution 1; half of that at 1/4 (4 + 1), a
quarter at 1/2 (2 + 1): 17 + 2.5 + 0.75, rounded up. The decoder has fewer blocks.
"""

Engine = Literal["auto", "torch", "onnxruntime"]
"""What runs the decoder. ``auto``: torch where it is installed, which is faster; a web node that
only decodes is smaller with onnxruntime."""
ENGINES: tuple[Engine, ...] = get_args(Engine)

INSTALL = "install django-latentimg[worker]"


class Span(NamedTuple):
    """A tile along one axis, and the tile with its margins; latent pixels."""

    start: int
    stop: int
    outer_start: int
    outer_stop: int


def spans(length: int, margin: int) -> list[Span]:
    """Tiles that cover ``length``; a single one where a second would be mostly margin."""
    if length <= TILE + 2 * margin:
        return [Span(0, length, 0, length)]
    return [
        Span(start, stop := min(start + TILE, length), max(0, start - margin),
             min(length, stop + margin))
        for start in range(0, length, TILE)
    ]  # fmt: skip


class Decoder(ABC):
    """Latents to pixels, tile by tile.

    Each tile has a margin of the receptive field around it, so memory is bounded and no seam shows.
    """

    margin: int
    """Latent pixels around a tile that influence its inside."""

    @abstractmethod
    def decode_tile(
        self, latents: NDArray[np.float32], hints: NDArray[np.float32], step: float, scale: int
    ) -> NDArray[np.uint8]:
        """As ``decode``, at once."""

    def tiles(self, height: int, width: int) -> Iterator[tuple[Span, Span]]:
        for rows in spans(height, self.margin):
            for columns in spans(width, self.margin):
                yield rows, columns

    def decode(
        self,
        latents: NDArray[np.float32],
        hints: NDArray[np.float32] | None = None,
        *,
        step: float = 0.0,
        scale: int = 1,
    ) -> NDArray[np.uint8]:
        """float32 scaled latents (4, h, w) -> uint8 (8h/scale, 8w/scale, 3) sRGB.

        ``hints``: of ``Latent``, float32 (8, h, w), and ``step``: of the quantiser the latents went
        through; none and 0 for latents that were never quantised. ``scale``: 1, 2, 4 or 8.
        """
        _, height, width = latents.shape
        if hints is None:
            hints = np.zeros((8, height, width), np.float32)
        cell = 8 // scale
        rgb = np.empty((height * cell, width * cell, 3), np.uint8)
        for rows, columns in self.tiles(height, width):
            window = (
                slice(None),
                slice(rows.outer_start, rows.outer_stop),
                slice(columns.outer_start, columns.outer_stop),
            )
            result = self.decode_tile(latents[window], hints[window], step, scale)
            rgb[
                rows.start * cell : rows.stop * cell, columns.start * cell : columns.stop * cell
            ] = result[
                (rows.start - rows.outer_start) * cell : (rows.stop - rows.outer_start) * cell,
                (columns.start - columns.outer_start) * cell : (columns.stop - columns.outer_start)
                * cell,
            ]
        return rgb


class LatentModel(Decoder):
    """Encoder and decoder in torch that share one latent space; the encoder tiles as well."""

    space = SD1

    def __init__(self, network: "torch.nn.Module") -> None:
        import torch

        self.device = best_device()
        network.float().eval().requires_grad_(False)
        self.network: Any = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.fingerprint = _fingerprint(network)
        self.passes = Passes(PASS_PIXELS if self.device.type == "cuda" else 0)
        """Where the tiles of several threads' pictures meet."""

    @abstractmethod
    def to_latents(self, pixels: "Tensor") -> "Tensor":
        """float (N, 3, H, W) in [-1, 1] -> scaled latents (N, 4, H/8, W/8)."""

    @abstractmethod
    def to_pixels(
        self, latents: "Tensor", hints: "Tensor", steps: "Tensor", scale: int
    ) -> "Tensor":
        """Scaled latents (N, 4, h, w), what ``Latent.hints()`` says of them (N, 8, h, w) and the
        quantiser's steps (N,) -> float (N, 3, 8h/scale, 8w/scale) about [-1, 1]."""

    def encode(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (H, W, 3) sRGB, H and W multiples of 8 -> float32 scaled latents (4, H/8, W/8)."""
        height, width = rgb.shape[0] // 8, rgb.shape[1] // 8
        latents = np.empty((4, height, width), np.float32)
        for rows, columns in self.tiles(height, width):
            window = rgb[
                rows.outer_start * 8 : rows.outer_stop * 8,
                columns.outer_start * 8 : columns.outer_stop * 8,
            ]
            result = self.passes(
                self._encode_tiles,
                window,
                pixels=window[..., 0].size,
                like=("encode", window.shape),
            )
            latents[:, rows.start : rows.stop, columns.start : columns.stop] = result[
                :,
                rows.start - rows.outer_start : rows.stop - rows.outer_start,
                columns.start - columns.outer_start : columns.stop - columns.outer_start,
            ]
        return latents

    def _encode_tiles(self, tiles: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Of one shape."""
        import torch

        with torch.inference_mode():
            pixels = torch.from_numpy(np.stack(tiles)).to(self.device)
            pixels = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
            return list(self.to_latents(pixels).float().cpu().numpy())

    def decode_tile(
        self, latents: NDArray[np.float32], hints: NDArray[np.float32], step: float, scale: int
    ) -> NDArray[np.uint8]:
        tile = _Coded(latents, hints, step, scale)
        result: NDArray[np.uint8] = self.passes(
            self._decode_tiles,
            tile,
            pixels=latents[0].size * 64,
            like=("decode", latents.shape, scale),
        )
        return result

    def _decode_tiles(self, tiles: "list[_Coded]") -> list[NDArray[np.uint8]]:
        """Of one shape and scale."""
        import torch

        with torch.inference_mode():
            latents, hints = (
                torch.from_numpy(np.stack(planes)).to(
                    self.device, memory_format=torch.channels_last
                )
                for planes in ([t.latents for t in tiles], [t.hints for t in tiles])
            )
            steps = torch.tensor([tile.step for tile in tiles], device=self.device)
            pixels = self.to_pixels(latents, hints, steps, tiles[0].scale) * 127.5 + 127.5
            rounded = pixels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
            return list(rounded.cpu().numpy())


class _Coded(NamedTuple):
    """A tile to decode."""

    latents: NDArray[np.float32]
    hints: NDArray[np.float32]
    step: float
    scale: int


class LiteModel(LatentModel):
    """Bundled networks; in bfloat16 where the processor multiplies that natively."""

    margin = LITE_MARGIN

    def __init__(self, network: "torch.nn.Module", space: str = SD1) -> None:
        super().__init__(network)
        self.space = space
        self.bfloat16 = multiplies_bfloat16(self.device)
        """Half the time; float32 where False. Decoded pictures differ by a level here and there.

        Tiles give the bits of the whole, but for bfloat16 on processors with AMX, which add up in
        an order that depends on a tile's size: there it is up to two levels.
        """

    def to_latents(self, pixels: "Tensor") -> "Tensor":
        with self._autocast():
            latents: Tensor = self.network.encoder(pixels)
        return latents.float()

    def to_pixels(
        self, latents: "Tensor", hints: "Tensor", steps: "Tensor", scale: int
    ) -> "Tensor":
        with self._autocast():
            pictures: dict[int, Tensor] = self.network.decoder(latents, steps, hints, (scale,))
        return pictures[scale].float()

    def _autocast(self) -> "torch.autocast":
        import torch

        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)


def best_device() -> "torch.device":
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def multiplies_bfloat16(device: "torch.device") -> bool:
    """Natively: emulated, a picture takes several times as long as in float32."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    supported: Callable[[], bool] | None = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return supported is not None and supported()


class TinyModel(LatentModel):
    """diffusers' ``AutoencoderTiny`` (TAESD): convolutions only, up to 19 latent pixels wide."""

    margin = 20

    def to_latents(self, pixels: "Tensor") -> "Tensor":
        latents: Tensor = self.network.encode(pixels).latents
        return latents

    def to_pixels(
        self, latents: "Tensor", hints: "Tensor", steps: "Tensor", scale: int
    ) -> "Tensor":
        return _shrink(self.network.decode(latents + hints[:, :4]).sample, scale)


class KlModel(LatentModel):
    """diffusers' ``AutoencoderKL``: mean of the posterior.

    Its normalisation and attention span the picture, so tiles are diffusers' own, blended.
    """

    def __init__(self, network: "torch.nn.Module") -> None:
        super().__init__(network)
        self.network.enable_tiling()

    def tiles(self, height: int, width: int) -> Iterator[tuple[Span, Span]]:
        yield Span(0, height, 0, height), Span(0, width, 0, width)

    def to_latents(self, pixels: "Tensor") -> "Tensor":
        latents: Tensor = self.network.encode(pixels).latent_dist.mean
        scaled: Tensor = latents * self.network.config.scaling_factor
        return scaled

    def to_pixels(
        self, latents: "Tensor", hints: "Tensor", steps: "Tensor", scale: int
    ) -> "Tensor":
        unscaled = (latents + hints[:, :4]) / self.network.config.scaling_factor
        return _shrink(self.network.decode(unscaled).sample, scale)


def _shrink(pixels: "Tensor", scale: int) -> "Tensor":
    import torch.nn.functional as F

    return F.avg_pool2d(pixels, scale) if scale > 1 else pixels


def _fingerprint(network: "torch.nn.Module") -> str:
    """First 8 hexadecimal digits of the SHA-256 of all weights, as float32 in order of name."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:8]


LOADING = Lock()
"""Threads that come first together would all load it, and diffusers' lazy imports fail then."""


def space_of(name: str) -> str:
    """Latent space of ``load_model(name)``."""
    return BUNDLED.get(name, SD1)


def reader(space: str, name: str) -> str:
    """``name`` where that model decodes latents of ``space``, else the bundled one that does.

    So a site that has changed its model goes on showing what it has.
    """
    if space_of(name) == space:
        return name
    return next(bundled for bundled, own in BUNDLED.items() if own == space)


def load_decoder(name: str, engine: Engine = "auto") -> Decoder:
    """Of ``load_model``, or for those of ``BUNDLED`` the same networks in onnxruntime.

    Kept for the life of the process. Raises ``ModelError``, which says what to do.
    """
    if engine == "auto":
        engine = "onnxruntime" if name in BUNDLED and not find_spec("torch") else "torch"
    if engine == "torch":
        return load_model(name)
    if name not in BUNDLED:
        raise ModelError(f"Latent model {name!r} needs torch: {INSTALL}.")
    from .onnx_decoder import load_bundled

    with LOADING:
        return load_bundled(name)


def load_model(name: str) -> LatentModel:
    """Of ``BUNDLED``, or of the folder or hub id of an ``AutoencoderTiny`` or ``AutoencoderKL``.

    Kept for the life of the process. Raises ``ModelError``, which says what to do.
    """
    with LOADING:
        return _load(name)


@cache
def _load(name: str) -> LatentModel:
    try:
        import torch  # noqa: F401

        from .lite import load_networks

        if name in BUNDLED:
            return LiteModel(load_networks(WEIGHTS / name), BUNDLED[name])
        from diffusers import AutoencoderKL, AutoencoderTiny
    except ImportError as error:
        raise ModelError(f"Latent model {name!r} needs torch ({error}): {INSTALL}.") from error
    try:
        configuration = AutoencoderKL.load_config(name)
        kind = configuration.get("_class_name")
        if kind == "AutoencoderTiny":
            _check_space(name, configuration, 1.0, "encoder_block_out_channels")
            return TinyModel(AutoencoderTiny.from_pretrained(name, low_cpu_mem_usage=False))
        if kind == "AutoencoderKL":
            _check_space(name, configuration, SCALING_FACTOR, "block_out_channels")
            return KlModel(AutoencoderKL.from_pretrained(name, low_cpu_mem_usage=False))
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"Latent model {name!r} cannot be loaded: {error} Give 'lite', 'compact', a folder "
            "with config.json and safetensors weights, or a hub id; without a network, download it "
            "first and give the folder."
        ) from error
    raise ModelError(
        f"Latent model {name!r} is a {kind}; AutoencoderTiny and AutoencoderKL can be loaded."
    )


def _check_space(
    name: str, configuration: dict[str, Any], scaling_factor: float, blocks: str
) -> None:
    given = (
        configuration.get("latent_channels"),
        configuration.get("scaling_factor"),
        2 ** (len(configuration.get(blocks, ())) - 1),
    )
    if given != (4, scaling_factor, 8):
        raise ModelError(
            f"Latent model {name!r} has another latent space than Stable Diffusion 1.x: channels, "
            f"scaling factor, reduction are {given}, not {(4, scaling_factor, 8)}. Choose a VAE "
            "made for Stable Diffusion 1.x, such as stabilityai/sd-vae-ft-mse."
        )
