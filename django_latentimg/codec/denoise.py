"""Latent denoisers: take the quantiser's error out of latents, for decoders that never saw any.

A diffusion model's U-Net estimates the noise in latents. How much there is, it is told by a
timestep; here that follows from the quantiser's error. What remains goes into any decoder of
Stable Diffusion 1.x's latent space. torch and diffusers are imported when a denoiser is loaded.
"""

import hashlib
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import ModelError
from .models import INSTALL, LOADING, best_device, multiplies_bfloat16

if TYPE_CHECKING:
    import torch
    from torch import Tensor

BUNDLED_FOLDER = Path(__file__).parent / "weights" / "denoiser"

CHANNELS = 4
CHANNELS_WITH_HINTS = CHANNELS + 8
"""Of a network of ours: the latents, and what ``Latent.hints()`` says of them."""

WINDOW = 96
"""Largest side of what the network sees at once, latent pixels: 768 pixels of the picture."""
OVERLAP = 32
"""Of neighbouring windows. Normalisation and attention span a window, so no margin makes its inside
what it is in the whole; windows fade into each other instead."""

PROMPT_FILE = "empty_prompt.safetensors"


def windows(length: int) -> list[int]:
    """Where windows start that cover ``length``: all of one size, ``OVERLAP`` or more in common."""
    if length <= WINDOW:
        return [0]
    return [*range(0, length - WINDOW, WINDOW - OVERLAP), length - WINDOW]


def fade(length: int) -> NDArray[np.float32]:
    """Weights along a window: rising over ``OVERLAP``, falling again, never 0."""
    places = np.arange(length) + 0.5
    rising: NDArray[np.float32] = np.minimum(places / OVERLAP, 1).astype(np.float32)
    return rising * rising[::-1]


class LatentDenoiser:
    """A U-Net with its noise schedule: ``UNet2DConditionModel`` with the embedding of an empty
    prompt, without guidance, or ``UNet2DModel``, of 4 channels or 12 with the prior's hints."""

    def __init__(
        self, network: "torch.nn.Module", scheduler: Any, prompt: "Tensor | None" = None
    ) -> None:
        """``scheduler``: a ``DDIMScheduler``; ``prompt``: float (1, n, d) if it wants one."""
        import torch

        self.device = best_device()
        network.eval().requires_grad_(False)
        self.network: Any = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.dtype: torch.dtype = self.network.dtype
        self.prompt = None if prompt is None else prompt.to(self.device, self.dtype)
        self.scheduler = scheduler
        # Its ``step`` asks for it; the estimate of the clean latents does not depend on it.
        scheduler.set_timesteps(scheduler.config.num_train_timesteps)
        kept = scheduler.alphas_cumprod.double().cpu().numpy()
        self.signal: NDArray[np.float64] = np.sqrt(kept)
        """What latents are multiplied by at each timestep."""
        self.noise: NDArray[np.float64] = np.sqrt((1 - kept) / kept)
        """Noise at each timestep, scaled latents, before that."""
        self.takes_hints = self.network.config.in_channels == CHANNELS_WITH_HINTS
        self.reduction = 2 ** (len(self.network.config.block_out_channels) - 1)

    def timestep(self, noise: float) -> int:
        """The timestep whose noise is nearest to ``noise``, a standard deviation in scaled latents:
        about 80 for 0.3."""
        return int(np.abs(self.noise - noise).argmin())

    def denoise(
        self, latents: NDArray[np.float32], hints: NDArray[np.float32], *, step: float
    ) -> NDArray[np.float32]:
        """``Latent.rounded()``, float32 (4, h, w) scaled latents, without the quantiser's error.

        ``hints`` and ``step`` of the same ``Latent``. One pass of the network, to the mean of what
        the latents may have been: noise of a few timesteps leaves little to make up, and with more
        passes the result would leave that mean.
        """
        import torch

        timestep = self.timestep(step / 12**0.5)  # A step's error is even: its variance step²/12.
        _, height, width = latents.shape
        scaled = (latents + hints[:CHANNELS]) * np.float32(self.signal[timestep])
        planes = np.concatenate([scaled, hints]) if self.takes_hints else scaled
        rest = (0, -height % self.reduction), (0, -width % self.reduction)
        padded = torch.from_numpy(np.pad(planes, ((0, 0), *rest), "edge"))
        total = np.zeros((CHANNELS, *padded.shape[1:]), np.float32)
        weights = np.zeros(padded.shape[1:], np.float32)
        for top in windows(padded.shape[1]):
            for left in windows(padded.shape[2]):
                at = slice(top, top + WINDOW), slice(left, left + WINDOW)
                with torch.inference_mode():
                    part = padded[:, *at][None].to(self.device)
                    result = self._estimate(part, timestep)[0].cpu().numpy()
                weight = np.outer(fade(result.shape[1]), fade(result.shape[2]))
                total[:, *at] += result * weight
                weights[at] += weight
        total /= weights
        return total[:, :height, :width]

    def _estimate(self, planes: "Tensor", timestep: int) -> "Tensor":
        """What the network takes, float32 (1, 4 or 12, h, w) -> clean latents (1, 4, h, w)."""
        import torch

        given = planes.to(self.dtype).contiguous(memory_format=torch.channels_last)
        told = {} if self.prompt is None else {"encoder_hidden_states": self.prompt}
        output = self.network(given, timestep, **told).sample.float()
        result: Tensor = self.scheduler.step(
            output, timestep, planes[:, :CHANNELS]
        ).pred_original_sample
        return result


def load_denoiser(name: str) -> LatentDenoiser:
    """``bundled``, or a folder or hub id: of a Stable Diffusion 1.x pipeline, or of a
    ``UNet2DModel`` with ``scheduler_config.json`` beside its ``config.json``.

    Kept for the life of the process. Raises ``ModelError``, which says what to do.
    """
    with LOADING:
        return _load(name)


@cache
def _load(name: str) -> LatentDenoiser:
    try:
        import torch  # noqa: F401
        from diffusers import DDIMScheduler, UNet2DConditionModel, UNet2DModel
    except ImportError as error:
        raise ModelError(f"Denoiser {name!r} needs torch ({error}): {INSTALL}.") from error
    source = str(BUNDLED_FOLDER) if name == "bundled" else name
    kinds = {"UNet2DConditionModel": UNet2DConditionModel, "UNet2DModel": UNet2DModel}
    try:
        try:
            network_at, scheduler_at = {"subfolder": "unet"}, {"subfolder": "scheduler"}
            configuration = UNet2DModel.load_config(source, **network_at)
        except OSError:
            network_at, scheduler_at = {}, {}
            configuration = UNet2DModel.load_config(source)
        kind = configuration.get("_class_name")
        if kind not in kinds:
            raise ModelError(f"Denoiser {name!r} is a {kind}; {' and '.join(kinds)} can be loaded.")
        _check_channels(name, configuration)
        network = kinds[kind].from_pretrained(
            source, low_cpu_mem_usage=False, torch_dtype=_dtype(), **network_at
        )
        scheduler = DDIMScheduler.from_pretrained(
            source, **scheduler_at, clip_sample=False, thresholding=False
        )
        prompt = None
        if kind == "UNet2DConditionModel":
            prompt = empty_prompt(source)
            if prompt.shape[-1] != network.config.cross_attention_dim:
                raise ModelError(
                    f"Denoiser {name!r} wants prompts of {network.config.cross_attention_dim} "
                    f"numbers, its text encoder gives {prompt.shape[-1]}. Choose a pipeline made "
                    "for Stable Diffusion 1.x."
                )
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"Denoiser {name!r} cannot be loaded: {error} Give 'bundled', the folder or hub id of "
            "a Stable Diffusion 1.x pipeline with unet, scheduler, tokenizer and text_encoder, or "
            "a UNet2DModel folder with scheduler_config.json in it; without a network, download "
            "it first and give the folder."
        ) from error
    return LatentDenoiser(network, scheduler, prompt)


def _dtype() -> "torch.dtype":
    """float32 on a processor, on a GPU the half precision that it multiplies natively."""
    import torch

    device = best_device()
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if multiplies_bfloat16(device) else torch.float16


def _check_channels(name: str, configuration: dict[str, Any]) -> None:
    given = configuration.get("in_channels"), configuration.get("out_channels")
    allowed = [(CHANNELS, CHANNELS)]
    if configuration["_class_name"] == "UNet2DModel":
        allowed.append((CHANNELS_WITH_HINTS, CHANNELS))
    if given not in allowed:
        raise ModelError(
            f"Denoiser {name!r} has channels in and out {given}, not "
            f"{' or '.join(map(str, allowed))}: it was not made for Stable Diffusion 1.x's "
            "latents. Choose one that was, or 'bundled'."
        )


def empty_prompt(source: str) -> "Tensor":
    """What a pipeline's text encoder makes of an empty prompt: float32 (1, n, d).

    Computed once and kept in a file, because the text encoder takes seconds and half a gigabyte:
    in the pipeline's folder where that can be written, else in the user's cache. Raises
    ``ModelError`` without transformers, ``OSError`` where the pipeline lacks a part.
    """
    import torch
    from safetensors.torch import load_file, save

    places = _places(source)
    for place in places:
        if place.exists():
            return load_file(place)["embedding"]
    try:
        from transformers import CLIPTextModel, CLIPTokenizer
    except ImportError as error:
        raise ModelError(
            f"Denoiser {source!r} needs transformers once, for its empty prompt ({error}): "
            "install transformers."
        ) from error
    tokenizer = CLIPTokenizer.from_pretrained(source, subfolder="tokenizer")
    encoder = CLIPTextModel.from_pretrained(source, subfolder="text_encoder")
    tokens = tokenizer(
        "", padding="max_length", max_length=tokenizer.model_max_length, return_tensors="pt"
    )
    with torch.inference_mode():
        embedding: Tensor = encoder(tokens.input_ids)[0].float().contiguous().clone()
    data = save({"embedding": embedding})
    for place in places:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            fresh = place.with_suffix(f".{os.getpid()}")
            fresh.write_bytes(data)
            fresh.replace(place)
            break
        except OSError:
            continue  # Nowhere to keep it: the next process computes it again.
    return embedding


def _places(source: str) -> list[Path]:
    """Files that may keep a pipeline's empty prompt, best first."""
    cache_folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(source)
    beside = [folder / PROMPT_FILE] if folder.is_dir() else []
    key = str(folder.resolve()) if beside else source
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return [*beside, cache_folder / "django-latentimg" / f"{digest}.safetensors"]
