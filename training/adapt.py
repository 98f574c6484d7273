"""The bundled model, trained further on a site's own photographs: ``python -m training adapt``."""

from pathlib import Path

from .data import prepare
from .export import export_model
from .graphs import export_graphs
from .train import Config, Trainer
from .validate import validate

CONFIG = Path(__file__).with_name("adapt.toml")


def adapt(
    photos: Path,
    run: Path,
    teacher: Path,
    lpips: Path,
    weights: Path,
    config: Path = CONFIG,
) -> None:
    """Prepare, train, validate before and after, and write ``weights``.

    ``photos``: a folder of pictures, see ``data.photographs()``. Every 64th is held out. ``run``
    keeps corpus and checkpoint: an interrupted run goes on.
    """
    corpus = run / "corpus"
    prepare(photos, teacher, corpus)
    trainer = Trainer(Config.read(config), corpus, run, teacher, lpips)
    if trainer.step == 0:
        trainer.save()
        print("Before:")
        validate(run, corpus, teacher, lpips)
    trainer.train()
    print("After:")
    validate(run, corpus, teacher, lpips)
    export_model(run, weights)
    export_graphs(weights)
