"""Command line: ``python -m django_latentimg.codec encode | decode | info``."""

import argparse
import json
import sys
from pathlib import Path
from typing import get_args

from . import CodecError, Latent, Quantizer, decode, encode
from .guard import PATCH_MODES, PREFERENCES, Guard


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m django_latentimg.codec", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    encoding = commands.add_parser("encode", help="picture to blob")
    encoding.add_argument("source", type=Path, metavar="IN")
    encoding.add_argument("target", type=Path, metavar="OUT")
    encoding.add_argument("--quality", type=int, default=50, metavar="Q", help="1 to 100")
    encoding.add_argument("--effort", type=int, default=0, metavar="N", help="0 to 9")
    encoding.add_argument("--model", default="lite", metavar="M")
    encoding.add_argument("--quantizer", choices=get_args(Quantizer), default="uniform")
    encoding.add_argument(
        "--guard", choices=PREFERENCES, help="what decides between latents and AVIF"
    )
    encoding.add_argument("--patches", choices=PATCH_MODES, default="auto", help="of the guard")
    encoding.add_argument("--min-quality", type=float, metavar="S", help="SSIMULACRA2 at least")
    decoding = commands.add_parser(
        "decode", help="blob to picture; OUT's ending is its format, .safetensors for latents"
    )
    decoding.add_argument("source", type=Path, metavar="IN")
    decoding.add_argument("target", type=Path, metavar="OUT")
    decoding.add_argument("--width", type=int, metavar="W", help="pixels")
    decoding.add_argument("--model", default="lite", metavar="M")
    decoding.add_argument("--denoiser", metavar="NAME", help="'bundled', a folder or a hub id")
    info = commands.add_parser("info", help="what a blob says of itself, as JSON")
    info.add_argument("source", type=Path, metavar="IN")
    return top


def run(arguments: argparse.Namespace) -> None:
    if arguments.command == "encode":
        guard = None
        if arguments.guard:
            guard = Guard(arguments.guard, arguments.patches, arguments.min_quality)
        blob = encode(
            arguments.source,
            quality=arguments.quality,
            effort=arguments.effort,
            model=arguments.model,
            quantizer=arguments.quantizer,
            guard=guard,
        )
        arguments.target.write_bytes(blob)
    elif arguments.command == "decode" and arguments.target.suffix == ".safetensors":
        blob = arguments.source.read_bytes()
        arguments.target.write_bytes(Latent.from_bytes(blob).safetensors())
    elif arguments.command == "decode":
        picture = decode(
            arguments.source.read_bytes(),
            width=arguments.width,
            model=arguments.model,
            denoiser=arguments.denoiser,
        )
        if picture.mode == "RGBA" and arguments.target.suffix.lower() in (".jpg", ".jpeg"):
            picture = picture.convert("RGB")
        picture.save(arguments.target)
    else:
        blob = arguments.source.read_bytes()
        print(json.dumps(describe(blob), indent=2))


def describe(blob: bytes) -> dict[str, object]:
    """The blob's header and sizes. Raises ``BlobError``."""
    latent = Latent.from_bytes(blob)
    patches, verdict = latent.patches(), latent.verdict
    return {
        "width": latent.width,
        "height": latent.height,
        "space": latent.space,
        "model": latent.model,
        "quality": latent.quality,
        "quantizer": "palette" if latent.has_palette else "uniform",
        "step": latent.step,
        "kept": "latents" if latent.has_latents else "avif",
        "guard": verdict and verdict._asdict(),
        "patches": [] if patches is None else patches.boxes,
        "alpha": latent.has_alpha,
        "digest": latent.digest,
        "bytes": len(blob),
        "bits_per_pixel": round(8 * len(blob) / (latent.width * latent.height), 4),
    }


def main() -> int:
    try:
        run(parser().parse_args())
    except (CodecError, OSError, ValueError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
