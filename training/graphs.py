"""The bundled decoder for onnxruntime: ``python -m training graphs``.

A graph holds no weights: it names the bytes of each in the safetensors file beside it, so that they
are shipped once and torch and onnxruntime cannot disagree about them.
"""

import json
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper
from torch import nn

from django_latentimg.codec.lite import HINTS, SCALES, LiteDecoder, Residual, load_networks
from django_latentimg.codec.onnx_decoder import graph_name

WEIGHTS = "diffusion_pytorch_model.safetensors"
OPSET, IR_VERSION = 17, 8
"""Of onnxruntime 1.15 and later, in Python and in browsers."""


def export_graphs(folder: Path) -> None:
    """Beside the weights in ``folder``."""
    decoder = load_networks(folder)["decoder"]
    assert isinstance(decoder, LiteDecoder)
    for scale in SCALES:
        model = Graph(folder / WEIGHTS, decoder).model(scale)
        onnx.save(model, folder / graph_name(scale))


class Graph:
    """What ``LiteDecoder.forward`` does for one scale, as ONNX's nodes."""

    def __init__(self, weights: Path, decoder: LiteDecoder) -> None:
        self.decoder = decoder
        self.names = {module: name for name, module in decoder.named_modules()}
        with weights.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            self.tensors: dict[str, Any] = json.loads(file.read(length))
        self.start = 8 + length
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[TensorProto] = []

    def model(self, scale: int) -> onnx.ModelProto:
        decoder = self.decoder
        first_block, *blocks = decoder.trunks[0].children()
        x = self.add(first_block, self.add(decoder.enter, "planes"))
        if scale > 2:
            head = decoder.eighth_head if scale == 8 else decoder.quarter_head
            x = self.add(head, self.add(decoder.small_trunk, x))
        else:
            for module in (*blocks, decoder.rises[0], decoder.trunks[1]):
                x = self.add(module, x)
            if scale == 2:
                x = self.add(decoder.half_head, x)
            else:
                for module in (decoder.rises[1], decoder.trunks[2], decoder.full_head):
                    x = self.add(module, x)
        self.nodes[-1].output[0] = "pixels"
        planes, pixels = (
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", channels, *size])
            for name, channels, size in (
                ("planes", 4 + 1 + HINTS, ("h", "w")),
                ("pixels", 3, ("height", "width")),
            )
        )
        graph = helper.make_graph(self.nodes, "decoder", [planes], [pixels], self.weights)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )

    def add(self, module: nn.Module, x: str) -> str:
        """Its nodes; returns the name of what they make of ``x``."""
        match module:
            case nn.Sequential():
                for part in module:
                    x = self.add(part, x)
                return x
            case Residual():
                change = self.add(module.second, self.node("Relu", self.add(module.first, x)))
                return self.node("Add", x, change)
            case nn.ReLU():
                return self.node("Relu", x)
            case nn.PixelShuffle():
                return self.node("DepthToSpace", x, blocksize=module.upscale_factor, mode="CRD")
            case nn.Conv2d():
                name = self.names[module]
                parts = (self.weight(f"{name}.{part}") for part in ("weight", "bias"))
                return self.node("Conv", x, *parts, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        raise TypeError(f"The decoder has a {type(module).__name__}, which is not known here.")

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        output = f"{operator}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def weight(self, name: str) -> str:
        """Its float16 bytes in the safetensors file, as float32."""
        entry = self.tensors[f"decoder.{name}"]
        assert entry["dtype"] == "F16"
        start, stop = entry["data_offsets"]
        tensor = TensorProto(
            name=name,
            data_type=TensorProto.FLOAT16,
            dims=entry["shape"],
            data_location=TensorProto.EXTERNAL,
        )
        for key, value in (
            ("location", WEIGHTS),
            ("offset", self.start + start),
            ("length", stop - start),
        ):
            tensor.external_data.add(key=key, value=str(value))
        self.weights.append(tensor)
        return self.node("Cast", name, to=TensorProto.FLOAT)
