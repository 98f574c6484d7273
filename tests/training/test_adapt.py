import torch

from django_latentimg.codec.lite import load_networks
from django_latentimg.codec.models import LITE_FOLDER
from tests.conftest import picture, shared
from training.adapt import CONFIG, adapt

FEW = {"steps": 2, "batch": 2, "side": 64, "warmup": 1, "decay_from": 1}


def test_adapt__takes_a_folder_of_a_site_to_weights(tmp_path):
    photos, weights = tmp_path / "uploads", tmp_path / "lite"
    for number in range(4):
        path = photos / f"2026/{number}/holiday {number}.jpg"
        path.parent.mkdir(parents=True)
        picture(360, 330, seed=number).save(path)
    lines = CONFIG.read_text().splitlines()
    names = [line.partition(" =")[0] for line in lines]
    few = [f"{n} = {FEW[n]}" if n in FEW else line for n, line in zip(names, lines, strict=True)]
    config = tmp_path / "few.toml"
    config.write_text("\n".join(few))
    teacher, lpips = shared("models/taesd"), shared("metrics/lpips_squeeze")
    adapt(photos, tmp_path / "run", teacher, lpips, weights, config)
    before, after = (load_networks(folder).state_dict() for folder in (LITE_FOLDER, weights))
    assert before.keys() == after.keys()
    changed = [name for name, value in before.items() if not torch.equal(value, after[name])]
    assert len(changed) > 20
    assert sorted(path.suffix for path in weights.iterdir()) == sorted(
        path.suffix for path in LITE_FOLDER.iterdir()
    )
