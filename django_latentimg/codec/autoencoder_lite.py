"""The bundled networks as a diffusers model: ``save_pretrained`` and ``from_pretrained`` work."""

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin

from .lite import DECODER_DEPTHS, ENCODER_DEPTHS, HINTS, WIDTHS, LiteDecoder, LiteEncoder


class AutoencoderLite(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Encoder and decoder in Stable Diffusion 1.x's scaled latent space.

    ``widths``: channels at 1/8, 1/4 and 1/2 of the resolution. ``encoder_depths``,
    ``decoder_depths``: residual blocks there.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        widths: tuple[int, int, int] = WIDTHS,
        encoder_depths: tuple[int, int, int] = ENCODER_DEPTHS,
        decoder_depths: tuple[int, int, int] = DECODER_DEPTHS,
        latent_channels: int = 4,
        scaling_factor: float = 1.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.encoder = LiteEncoder(widths, encoder_depths)
        self.decoder = LiteDecoder(widths, decoder_depths)

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """float (N, 3, H, W) in [-1, 1], multiples of 8 -> scaled latents (N, 4, H/8, W/8)."""
        latents: torch.Tensor = self.encoder(pixels)
        return latents

    def decode(
        self,
        latents: torch.Tensor,
        step: float = 0.0,
        hints: torch.Tensor | None = None,
        scale: int = 1,
    ) -> torch.Tensor:
        """Scaled latents (N, 4, h, w) -> float (N, 3, 8h/scale, 8w/scale) about [-1, 1].

        ``step`` of the quantiser and ``hints`` (N, 8, h, w) of the prior are for latents that were
        quantised; ``scale``: 1, 2, 4 or 8.
        """
        steps = torch.full((len(latents),), step, device=latents.device)
        if hints is None:
            hints = latents.new_zeros(len(latents), HINTS, *latents.shape[2:])
        pictures: dict[int, torch.Tensor] = self.decoder(latents, steps, hints, (scale,))
        return pictures[scale]
