from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """Ten soft pictures with made-up latents, in the arrays that ``prepare`` writes."""
    folder = tmp_path_factory.mktemp("corpus")
    random = np.random.default_rng(0)
    (folder / "names.txt").write_text("\n".join(f"{number:04}.webp" for number in range(10)))
    (folder / "held_out.txt").write_text("0000.webp\n")
    coarse = random.integers(0, 255, (10, 3, 20, 20), np.uint8)
    np.save(folder / "pixels.npy", coarse.repeat(16, 2).repeat(16, 3))
    np.save(folder / "latents.npy", random.normal(0, 0.7, (10, 4, 40, 40)).astype(np.float16))
    return folder
