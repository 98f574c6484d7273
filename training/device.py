"""Where training runs, and how precisely: the same code on CPU cores and on a GPU."""

from typing import TypeVar

import torch
from torch import nn

from django_latentimg.codec.models import multiplies_bfloat16

Module = TypeVar("Module", bound=nn.Module)

CPU = torch.device("cpu")


def place(module: Module, device: torch.device) -> Module:
    placed: Module = module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return placed


def mixed_precision(device: torch.device) -> torch.autocast:
    """bfloat16 where it is multiplied natively: emulated it takes several times as long."""
    return torch.autocast(device.type, torch.bfloat16, enabled=multiplies_bfloat16(device))
