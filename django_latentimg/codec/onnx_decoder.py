"""The bundled decoders in onnxruntime, for web nodes without torch.

One small graph for each scale; all read their weights from the safetensors file beside them, which
torch reads too (``python -m training export`` writes the graphs).
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from .errors import ModelError
from .models import LITE_MARGIN, WEIGHTS, Decoder

INSTALL = "install django-latentimg[web] or django-latentimg[worker]"


class OnnxDecoder(Decoder):
    """In float32. Decoded pictures are those of torch's float32, to a level."""

    margin = LITE_MARGIN

    def __init__(self, name: str) -> None:
        """``name``: of the bundled model. Raises ``ModelError``."""
        try:
            import onnxruntime
        except ImportError as error:
            raise ModelError(
                f"Decoding needs onnxruntime or torch ({error}): {INSTALL}."
            ) from error
        options = onnxruntime.SessionOptions()
        # Threads that wait for work must not take the cores from the site's other processes.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.sessions = {
            scale: onnxruntime.InferenceSession(
                str(WEIGHTS / name / graph_name(scale)), options, ["CPUExecutionProvider"]
            )
            for scale in (8, 4, 2, 1)
        }

    def decode_tile(
        self, latents: NDArray[np.float32], hints: NDArray[np.float32], step: float, scale: int
    ) -> NDArray[np.uint8]:
        plane = np.full((1, *latents.shape[1:]), step, np.float32)
        planes = np.concatenate([latents, plane, hints])[None]
        (pixels,) = self.sessions[scale].run(["pixels"], {"planes": planes})
        levels = np.rint(pixels[0] * 127.5 + 127.5).clip(0, 255)
        rgb: NDArray[np.uint8] = levels.astype(np.uint8).transpose(1, 2, 0)
        return rgb


def graph_name(scale: int) -> str:
    """Of its file. Input ``planes``: float32 (N, 13, h, w), latents, step and hints. Output
    ``pixels``: float32 (N, 3, 8h/scale, 8w/scale) about [-1, 1]."""
    return f"decoder-{scale}.onnx"


@cache
def load_bundled(name: str) -> OnnxDecoder:
    """Raises ``ModelError``."""
    return OnnxDecoder(name)
