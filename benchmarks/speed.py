"""Time to encode and decode 512×512, and what a web process costs: ``python -m benchmarks.speed``.

The bundled model, TAESD and Pillow's AVIF in the same run, as medians and as ratios. Writes
``benchmarks/results/speed.md``, or ``speed_float32.md`` where the processor does not multiply
bfloat16 natively, and so is not asked to.
"""

import argparse
import io
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import torch
from PIL import Image

from django_latentimg import codec
from django_latentimg.codec.models import LiteModel, load_model

from .lite_model import RESULTS
from .metrics import centre_crop

WEB_PROCESS = """
import os, re, sys, time
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
blob, engine = sys.stdin.buffer.read(), sys.argv[1]
started = time.perf_counter()
import django
django.setup()
import django_latentimg.fields, django_latentimg.views, django_latentimg.templatetags.latentimg
if engine:
    django_latentimg.codec.decode(blob, engine=engine)
seconds = time.perf_counter() - started
# Not getrusage(): its maximum is inherited from the process that started this one.
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
print(seconds, peak / 1024)
"""


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def web_process(blob: bytes, engine: str) -> tuple[float, float]:
    """Seconds until Django and the app are imported and a blob is decoded, where there is an
    engine; peak memory in MiB."""
    command = [sys.executable, "-c", WEB_PROCESS, engine]
    runs = []
    for _ in range(3):
        out = subprocess.run(command, input=blob, capture_output=True, check=True).stdout.split()
        runs.append((float(out[0]), float(out[1])))
    return min(runs)


def on_disk(package: str) -> float:
    """MiB of an installed package, without what it depends on."""
    files = metadata.files(package) or []
    return sum(Path(file.locate()).stat().st_size for file in files if file.size) / 2**20


def processor() -> str:
    """Its maker's name for it, and what torch finds that it can do."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--photograph", default="../shared/photos/kodak/kodim23.png", type=Path)
    arguments.add_argument("--taesd", default="../shared/models/taesd")
    arguments.add_argument("--repeats", default=7, type=int)
    given = arguments.parse_args()

    rgb = centre_crop(given.photograph)
    picture = Image.fromarray(rgb)
    lite, taesd = load_model("lite"), load_model(given.taesd)
    assert isinstance(lite, LiteModel)
    blob = codec.encode(picture)
    latent = codec.Latent.from_bytes(blob)
    latents, hints = latent.rounded(), latent.hints()

    def save_avif(target: io.BytesIO, quality: int = 50) -> None:
        picture.save(target, "AVIF", speed=4, quality=quality)

    stored = io.BytesIO()
    save_avif(stored)
    avif = stored.getvalue()

    def in_precision(bfloat16: bool, work: Callable[[], object]) -> Callable[[], object]:
        def run() -> object:
            lite.bfloat16 = bfloat16
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                return work()

        return run

    precisions = ["float32", "bfloat16"] if lite.bfloat16 else ["float32"]
    rows: list[tuple[str, Callable[[], object]]] = [
        ("Pillow: AVIF speed 4, encode", lambda: save_avif(io.BytesIO())),
        ("Pillow: AVIF, decode", lambda: Image.open(io.BytesIO(avif)).load()),
        ("blob: encode, effort 0", lambda: codec.encode(picture)),
        ("blob: decode in full", lambda: codec.decode(blob)),
        ("blob: decode in full, onnxruntime", lambda: codec.decode(blob, engine="onnxruntime")),
        ("blob: decode to 256, 1/2 head", lambda: codec.decode(blob, width=256)),
        ("blob: decode to 128, 1/4 head", lambda: codec.decode(blob, width=128)),
        ("blob: decode to 64, 1/8 head", lambda: codec.decode(blob, width=64)),
        ("of which: symbols", lambda: codec.Latent.from_bytes(blob).symbols()),
    ]
    networks: list[tuple[str, Callable[[], object]]] = [
        ("lite encoder", lambda: lite.encode(rgb)),
        ("lite decoder", lambda: lite.decode(latents, hints, step=latent.step)),
        ("lite decoder, 1/2", lambda: lite.decode(latents, hints, step=latent.step, scale=2)),
        ("lite decoder, 1/4", lambda: lite.decode(latents, hints, step=latent.step, scale=4)),
        ("lite decoder, 1/8", lambda: lite.decode(latents, hints, step=latent.step, scale=8)),
        ("TAESD encoder", lambda: taesd.encode(rgb)),
        ("TAESD decoder", lambda: taesd.decode(latents)),
    ]
    seconds = {name: median_seconds(work, given.repeats) for name, work in rows}
    for precision in precisions:
        for name, work in networks:
            timed = in_precision(precision == "bfloat16", work)
            seconds[f"{precision}: {name}"] = median_seconds(timed, given.repeats)
    avif_decode = seconds["Pillow: AVIF, decode"]
    taesd_decode = seconds["float32: TAESD decoder"]
    lines = [
        f"{picture.width}×{picture.height} centre of {given.photograph.name}, median of "
        f"{given.repeats} runs, {torch.get_num_threads()} threads. The AVIF has {len(avif):,} "
        f"bytes, the blob {len(blob):,}. The blob's rows are in {precisions[-1]}, as the processor "
        f"has it: {processor()}.",
        "",
        "| | ms | × AVIF decode | × TAESD decoder, float32 |",
        "| --- | --- | --- | --- |",
        *(
            f"| {name} | {value * 1000:.1f} | {value / avif_decode:.2f} | "
            f"{value / taesd_decode:.3f} |"
            for name, value in seconds.items()
        ),
        "",
    ]
    lines += [
        "A web process that imports Django, the field, the views and the tag, and then decodes the "
        "same blob in full for the first time.",
        "",
        "| engine | s | MiB at most | MiB on disk |",
        "| --- | --- | --- | --- |",
    ]
    for engine in ("", "onnxruntime", "torch"):
        first, memory = web_process(blob, engine)
        size = f"{on_disk(engine):.0f}" if engine else ""
        lines.append(
            f"| {engine or 'none, decodes nothing'} | {first:.2f} | {memory:.0f} | {size} |"
        )
    text = "\n".join(lines) + "\n"
    RESULTS.mkdir(exist_ok=True)
    name = "speed.md" if precisions[-1] == "bfloat16" else "speed_float32.md"
    (RESULTS / name).write_text(text)
    print(text)


if __name__ == "__main__":
    main()
