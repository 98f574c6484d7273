import pytest
import torch
from torch import nn

from training import device
from training.device import CPU, mixed_precision


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_bfloat16__only_where_the_processor_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, native: bool, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(device, "multiplies_bfloat16", lambda _: native)
    with mixed_precision(CPU):
        assert nn.Linear(2, 2)(torch.zeros(1, 2)).dtype == dtype
