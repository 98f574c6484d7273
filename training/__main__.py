"""``python -m training COMMAND``: see README.md beside this file."""

import argparse
from pathlib import Path

from django_latentimg.codec.models import BUNDLED, WEIGHTS

CLIENT = Path(__file__).parent.parent / "client/src"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="data and teacher")
    parser.add_argument("--runs", type=Path, default=Path("training/runs"), help="working folder")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare", help="photographs and the teacher's latents, as arrays")
    pack = commands.add_parser("pack", help="data and teachers as one archive, to travel")
    pack.add_argument("archive", type=Path)
    train = commands.add_parser("train", help="train or go on training")
    train.add_argument("config", type=Path)
    for command, text in (
        ("prior", "fit the prior of a bundled model's latent space"),
        ("calibrate", "print the constants of what quality means"),
    ):
        commands.add_parser(command, help=text).add_argument("model", choices=BUNDLED)
    commands.add_parser("perceive", help="fit the guard's perceptual distance to LPIPS")
    commands.add_parser("legibility", help="how true text must stay, for the guard's floors")
    commands.add_parser("search", help="compare architectures on equal compute, or go on")
    spaces = commands.add_parser("spaces", help="what the shared latent space costs")
    spaces.add_argument("names", nargs="*", help="which of them; all where none is named")
    commands.add_parser("denoise", help="train the bundled denoiser, or go on; write it")
    export = commands.add_parser("export", help="write the bundled model from a run")
    export.add_argument("config", type=Path)
    space = commands.add_parser("export-space", help="write a bundled model from a free space")
    space.add_argument("name", help="of one that spaces has trained")
    space.add_argument("model", choices=[name for name in BUNDLED if name != "lite"])
    own = commands.add_parser("adapt", help="train further on photographs of your own, in one go")
    own.add_argument("photos", type=Path, help="a folder of pictures")
    commands.add_parser("ladder", help="measure every version of the bundled weights")
    commands.add_parser("plot", help="draw the logs of the runs")
    commands.add_parser("graphs", help="write the bundled decoders' graphs for onnxruntime")
    commands.add_parser("browser", help="write the prior and the decoder for browsers")
    validate = commands.add_parser("validate", help="measure a run on held-out photographs")
    validate.add_argument("config", type=Path)
    arguments = parser.parse_args()

    corpus = arguments.runs / "corpus"
    teacher = arguments.shared / "models/taesd"
    if arguments.command == "prepare":
        from .data import prepare

        prepare(arguments.shared / "photos/train", teacher, corpus)
        return
    if arguments.command == "pack":
        from .data import pack as make_archive

        make_archive(arguments.shared, arguments.archive)
        return
    if arguments.command == "prior":
        from .prior import train_prior

        train_prior(corpus, arguments.model)
        return
    if arguments.command == "calibrate":
        from .calibrate import calibrate

        calibrate(corpus, arguments.model)
        return
    if arguments.command == "legibility":
        from .legibility import legibility

        legibility()
        return
    if arguments.command == "plot":
        from .plot import plot

        plot()
        return
    if arguments.command == "graphs":
        from .graphs import export_graphs

        for name in BUNDLED:
            export_graphs(WEIGHTS / name)
        return
    if arguments.command == "export-space":
        from .export import export_space
        from .graphs import export_graphs

        export_space(arguments.name, arguments.runs, arguments.model, WEIGHTS)
        export_graphs(WEIGHTS / arguments.model)
        return
    if arguments.command == "browser":
        from .browser import export_browser

        export_browser(CLIENT)
        return
    if arguments.command == "ladder":
        from .ladder import ladder

        ladder(arguments.shared, arguments.runs / "ladder")
        return
    lpips = arguments.shared / "metrics/lpips_squeeze"
    if arguments.command == "adapt":
        from .adapt import adapt

        adapt(arguments.photos, arguments.runs / "adapt", teacher, lpips, WEIGHTS / "lite")
        return
    if arguments.command == "perceive":
        from .perceive import perceive

        perceive(corpus, lpips)
        return
    if arguments.command == "search":
        from .search import search

        search(corpus, arguments.runs, lpips)
        return
    if arguments.command == "spaces":
        from .spaces import compare_spaces

        compare_spaces(arguments.shared, corpus, arguments.runs, lpips, arguments.names)
        return
    if arguments.command == "denoise":
        from .denoise import train_denoiser

        run = arguments.runs / "denoise"
        train_denoiser(corpus, run, teacher, lpips, WEIGHTS / "denoiser")
        return
    run = arguments.runs / arguments.config.stem
    if arguments.command == "train":
        from .train import Config, Trainer

        run.mkdir(parents=True, exist_ok=True)
        Trainer(Config.read(arguments.config), corpus, run, teacher, lpips).train()
    elif arguments.command == "validate":
        from .train import Config
        from .validate import validate as measure

        measure(run, corpus, teacher, lpips, Config.read(arguments.config).model)
    else:
        from .export import export_model
        from .graphs import export_graphs
        from .train import Config

        folder = WEIGHTS / Config.read(arguments.config).model
        export_model(run, folder)
        export_graphs(folder)


if __name__ == "__main__":
    main()
