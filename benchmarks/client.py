"""What it is worth that the browser decodes: ``python -m benchmarks.client``.

A grid of the 24 Kodak photographs in headless Chromium, on a telephone (390 pixels wide, three
device pixels each, two columns) and a desktop (1440, one, four columns), over emulated networks.
The same pictures in turn as AVIF renditions of their blobs, as WebP by easy-thumbnails with its
defaults, as the package's page shows them to a browser that has the decoder (blobs where it expects
them to be smaller, else renditions; as if the machine were fast enough), and all of them as blobs,
with the decoder in the browser's cache and without. Bytes are what the server sent, headers
included; the time is from the beginning of the navigation until the last picture is shown, the page
scrolled as far as it takes. Median of ``--repeats``. Besides, a single photograph by workers and on
WebGPU as SwiftShader emulates it, which takes too long for a grid. Writes ``results/client.json``
and ``client.md``.
"""

import argparse
import csv
import gzip
import io
import json
import multiprocessing
import os
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from django_latentimg import codec
from django_latentimg.codec.guard import Guard
from django_latentimg.names import BlobName
from django_latentimg.renditions import ENCODERS, encode
from tests.chromium import HARDWARE, launched

from .lite_model import RESULTS

STATIC = Path(codec.__file__).parent.parent / "static/django_latentimg/client"
WIDTHS = (240, 360, 480, 640)
"""Of the renditions, in pixels."""
EFFORT = 1


class View(NamedTuple):
    width: int
    height: int
    density: int
    columns: int

    @property
    def shown(self) -> float:
        """CSS pixels of a picture's width."""
        return (self.width - 8 * (self.columns + 1)) / self.columns


class Network(NamedTuple):
    """As Lighthouse ("slow 4G") and WebPageTest ("4G", "Cable") have them."""

    megabits: float
    """A second, down."""
    latency: float
    """Milliseconds, there and back."""


VIEWS = {"telephone": View(390, 844, 3, 2), "desktop": View(1440, 900, 1, 4)}
NETWORKS = {
    "slow 4G": Network(1.6, 150),
    "fast 4G": Network(9, 170),
    "cable": Network(5, 28),
}
AVIF, WEBP = "AVIF renditions", "easy-thumbnails' WebP"
PAGE = "blobs where smaller, decoder cached"
CACHED = "blobs, decoder cached"
COLD = "blobs, first visit"
VARIANTS = (AVIF, WEBP, PAGE, CACHED, COLD)

AT_ANY_PACE = """
localStorage.latentimg = JSON.stringify({ ...JSON.parse(localStorage.latentimg), pace: 1 })
"""
LOADER = '<script src="/client/loader.js"></script>'
IMAGES = """<script type="module">
const isShown = ({ complete, naturalWidth, currentSrc }) =>
    complete && naturalWidth && !currentSrc.endsWith("#stand-in");
for (const image of document.images) {
    image.scrollIntoView({ block: "nearest" });
    while (!isShown(image)) await new Promise((wait) => setTimeout(wait, 10));
    await image.decode();
}
window.over = performance.now();
</script>"""
BLOBS = """<script type="module">
import { decode } from "/client/latentimg.js";
await Promise.all([...document.querySelectorAll("canvas")].map(async (canvas) => {
    const response = await fetch(canvas.dataset.blob);
    const blob = new Uint8Array(await response.arrayBuffer());
    const width = Math.ceil(canvas.clientWidth * devicePixelRatio);
    const bitmap = await decode(blob, width);
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
    canvas.getContext("bitmaprenderer").transferFromImageBitmap(bitmap);
}));
window.over = performance.now();
</script>"""
WARM_UP = """<script type="module">
import { decode } from "/client/latentimg.js";
await decode(new Uint8Array(await (await fetch("/warm.limg")).arrayBuffer()));
window.over = 1;
</script>"""
TIMED = """<script type="module">
import { decode } from "/client/latentimg.js";
const blob = new Uint8Array(await (await fetch("/timed.limg")).arrayBuffer());
await decode(blob);  // Fetches the decoder and compiles it.
const begin = performance.now();
await decode(blob);
window.over = performance.now() - begin;
</script>"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--shared", default="../shared", type=Path)
    arguments.add_argument("--repeats", default=3, type=int)
    given = arguments.parse_args()
    paths = sorted((given.shared / "photos/kodak").glob("*.png"))
    files, pictures = make_files(paths)
    for view in VIEWS:
        for variant in VARIANTS:
            files[address(view, variant)] = page(VIEWS[view], variant, pictures).encode()
    with serving(files) as server:
        rows = list(measure(server, given.repeats))
        single = {"workers": decoding(server), "WebGPU": decoding(server, webgpu=True)}
    told = {
        "pictures": len(paths),
        "repeats": given.repeats,
        "cores": os.cpu_count(),
        "rows": rows,
        "single_ms": single,
        "choice": choice(given.shared),
    }
    (RESULTS / "client.json").write_text(json.dumps(told, indent=1) + "\n")
    (RESULTS / "client.md").write_text(report(told))
    print(report(told))


def address(view: str, variant: str) -> str:
    return f"/{view}-{VARIANTS.index(variant)}.html"


class Picture(NamedTuple):
    name: str
    size: tuple[int, int]
    stored: str
    """As a column holds it, which tells the page what the blob takes."""


def make_files(paths: list[Path]) -> tuple[dict[str, bytes], list[Picture]]:
    """By URL, as they are sent; what is static and can be is compressed by gzip."""
    files = {f"/client/{path.name}": gzip.compress(path.read_bytes()) for path in STATIC.iterdir()}
    pictures = []
    with multiprocessing.Pool(initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for picture, of_picture in pool.imap(make_picture, paths):
            pictures.append(picture)
            files |= of_picture
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    files["/warm.limg"] = codec.encode(Image.fromarray(noise))
    files["/warm.html"] = f"<!doctype html>{WARM_UP}".encode()
    files["/timed.limg"] = next(
        content
        for path, content in files.items()
        if path.startswith("/pictures/")
        and path.endswith(".limg")
        and codec.Latent.from_bytes(content).has_latents
    )
    files["/timed.html"] = f"<!doctype html>{TIMED}".encode()
    files["/visited.html"] = f"<!doctype html>{LOADER}".encode()
    return files, pictures


def make_picture(path: Path) -> tuple[Picture, dict[str, bytes]]:
    image = Image.open(path).convert("RGB")
    blob = codec.encode(image, effort=EFFORT, guard=Guard(widths=WIDTHS))
    stored = str(BlobName.of(codec.Latent.from_bytes(blob), path.name, "0000"))
    files = {url(stored, WIDTHS[0], "limg"): blob}
    for width in widths(image.width):
        decoded = codec.decode(blob, width=width)
        files[url(stored, width, "avif")] = encode(decoded, "avif", ENCODERS["avif"])
        files[f"/{path.stem}-{width}.webp"] = thumbnail(path, width)
    return Picture(path.stem, image.size, stored), files


def url(stored: str, width: int, format: str) -> str:
    return f"/pictures/signed/{width}/{stored}.{format}"


def widths(natural: int) -> list[int]:
    return [width for width in WIDTHS if width < natural] + [natural] * (natural < WIDTHS[-1])


def thumbnail(path: Path, width: int) -> bytes:
    from django.conf import settings

    if not settings.configured:
        import django

        settings.configure(
            INSTALLED_APPS=["easy_thumbnails"], THUMBNAIL_EXTENSION="webp", USE_TZ=True
        )
        django.setup()
    from easy_thumbnails.files import get_thumbnailer

    with path.open("rb") as source:
        thumbnailer = get_thumbnailer(source, relative_name=path.name)
        made: bytes = thumbnailer.generate_thumbnail({"size": (width, 0)}).read()
    with Image.open(io.BytesIO(made)) as opened:
        assert (opened.format, opened.width) == ("WEBP", width)
    return made


def page(view: View, variant: str, pictures: list[Picture]) -> str:
    every_blob = variant in (CACHED, COLD)
    shown = []
    for name, (width, height), stored in pictures:
        look = f'style="aspect-ratio: {width} / {height}"'
        blob = url(stored, WIDTHS[0], "limg")
        if every_blob:
            shown.append(f'<canvas data-blob="{blob}" {look}></canvas>')
            continue
        offered = ", ".join(
            f"{f'/{name}-{w}.webp' if variant == WEBP else url(stored, w, 'avif')} {w}w"
            for w in widths(width)
        )
        shown.append(
            f'<picture data-latent="{blob}"><img loading="lazy" srcset="{offered}" '
            f'sizes="{view.shown:.0f}px" width="{width}" height="{height}" {look}></picture>'
        )
    loader = LOADER if variant == PAGE else ""
    return (
        f'<!doctype html><meta name="viewport" content="width=device-width">{loader}'
        "<style>body { margin: 8px; display: grid; gap: 8px; align-items: start; "
        f"grid-template-columns: repeat({view.columns}, 1fr) }} "
        "img, canvas { display: block; width: 100%; height: auto }</style>"
        f"{''.join(shown)}{BLOBS if every_blob else IMAGES}"
    )


class Server(ThreadingHTTPServer):
    """Keeps account of what it sends."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.sent = Counter[str]()
        """Bytes by extension."""
        self.lock = threading.Lock()


TYPES = {".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        content = self.server.files.get(path)
        status = 200 if content is not None else 404
        content = content or b""
        kind = TYPES.get(Path(path).suffix, "application/octet-stream")
        head = (
            f"HTTP/1.1 {status} OK\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n"
            "Cache-Control: public, max-age=31536000, immutable\r\n"
            + ("Content-Encoding: gzip\r\n" if path.startswith("/client/") else "")
            + "\r\n"
        ).encode()
        with self.server.lock:
            self.server.sent[Path(path).suffix] += len(head) + len(content)
        self.wfile.write(head + content)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Server]:
    server = Server(files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


class Visit(NamedTuple):
    bytes: int
    of_blobs: int
    ms: float


def measure(server: Server, repeats: int) -> Iterator[dict[str, Any]]:
    with launched() as browser:
        for view in VIEWS:
            for network in NETWORKS:
                # In turn, so that what else the machine does falls on all of them.
                found: dict[str, list[Visit]] = {name: [] for name in VARIANTS}
                for _ in range(repeats):
                    for variant in VARIANTS:
                        found[variant].append(visit(server, browser, view, network, variant))
                for variant, visits in found.items():
                    yield summary(view, network, variant, visits)


def summary(view: str, network: str, variant: str, visits: list[Visit]) -> dict[str, Any]:
    found = {
        "view": view,
        "network": network,
        "variant": variant,
        **{name: round(median(getattr(visit, name) for visit in visits)) for name in Visit._fields},
    }
    print(found, flush=True)
    return found


def visit(server: Server, browser: Any, view_name: str, network_name: str, variant: str) -> Visit:
    """Of a browser that has been nowhere else."""
    view, network = VIEWS[view_name], NETWORKS[network_name]
    origin = f"http://127.0.0.1:{server.server_port}"
    context = browser.new_context(
        viewport={"width": view.width, "height": view.height}, device_scale_factor=view.density
    )
    tab = context.new_page()
    if variant == CACHED:
        tab.goto(f"{origin}/warm.html")
        tab.wait_for_function("window.over")
    if variant == PAGE:
        tab.goto(f"{origin}/visited.html")
        tab.evaluate("localStorage.latentimg = JSON.stringify({ missed: 1e9 })")
        tab.reload()  # Tries the decoder.
        tab.wait_for_function("JSON.parse(localStorage.latentimg).pace")
        tab.evaluate(AT_ANY_PACE)
    devtools = context.new_cdp_session(tab)
    devtools.send("Network.enable")
    devtools.send(
        "Network.emulateNetworkConditions",
        {
            "offline": False,
            "latency": network.latency,
            "downloadThroughput": network.megabits * 1e6 / 8,
            "uploadThroughput": network.megabits * 1e6 / 8,
        },
    )
    server.sent.clear()
    tab.goto(f"{origin}{address(view_name, variant)}")
    tab.wait_for_function("window.over", timeout=600_000)
    milliseconds: float = tab.evaluate("window.over")
    context.close()
    return Visit(server.sent.total(), server.sent[".limg"], milliseconds)


def decoding(server: Server, *, webgpu: bool = False) -> float:
    """Milliseconds of a photograph, everything being ready."""
    with launched(*["--enable-unsafe-webgpu"] * webgpu) as browser:
        tab = browser.new_page()
        if webgpu:
            tab.add_init_script(HARDWARE)
        tab.goto(f"http://127.0.0.1:{server.server_port}/timed.html")
        tab.wait_for_function("window.over", timeout=600_000)
        milliseconds: float = tab.evaluate("window.over")
        return milliseconds


def choice(shared: Path) -> dict[str, Any]:
    """What the page's guess at a rendition's bytes comes to, by what other benchmarks found."""
    bits, least = constants()
    with (RESULTS / "guard.csv").open() as file:
        blobs = {
            (row["set"], row["picture"]): int(row["bytes"])
            for row in csv.DictReader(file)
            if row["variant"] == "patches auto"
        }
    densities, sums = [], Counter[str]()
    photographs = set()
    with (RESULTS / "renditions.csv").open() as file:
        for row in csv.DictReader(file):
            if (row["format"], row["quality"]) != ("avif", str(ENCODERS["avif"]["quality"])):
                continue
            key = row["set"], row["picture"]
            with Image.open(shared / "photos" / row["set"] / f"{row['picture']}.webp") as image:
                width, height = image.size
            shown = min(int(row["width"]), width)
            pixels, avif = shown * shown * height / width, int(row["bytes"])
            densities.append(avif * 8 / pixels)
            if key not in blobs:
                continue
            blob, guess = blobs[key], pixels * bits / 8
            photographs.add(key)
            sums["renditions"] += 1
            sums["AVIF"] += avif
            sums["blobs"] += blob
            sums["chosen"] += blob if guess - blob >= guess * least else avif
            sums["best"] += min(avif, blob)
    return {
        **sums,
        "photographs": len(photographs),
        "bits": mean(densities),
        "median": median(densities),
    }


def constants() -> tuple[float, float]:
    """Of ``client/src/page/worth.ts``: bits for a pixel, and the least share worth saving."""
    text = (Path(__file__).parent.parent / "client/src/page/worth.ts").read_text()
    bits = re.search(r"BITS = ([\d.]+);", text)
    least = re.search(r"LEAST_SHARE = (\d+) / (\d+);", text)
    assert bits
    assert least
    return float(bits[1]), int(least[1]) / int(least[2])


def report(told: dict[str, Any]) -> str:
    rows, count = told["rows"], told["pictures"]

    def of(view: str, network: str, variant: str) -> dict[str, Any]:
        key = view, network, variant
        return next(row for row in rows if (row["view"], row["network"], row["variant"]) == key)

    view, network = rows[0]["view"], rows[0]["network"]
    # Of one latent space: the files of the others are served too, and never asked for.
    decoder = of(view, network, COLD)["bytes"] - of(view, network, CACHED)["bytes"]
    lines = [
        f"{count} Kodak photographs in a grid, headless Chromium on {told['cores']} shared cores "
        f"without a GPU; median of visits to each page: {told['repeats']}. The decoder and its "
        f"weights are {decoder / 1000:,.0f} KB by gzip, once.",
        "",
        "| | network | | KB | of these blobs | AVIF being 1 | seconds to the last picture |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        avif = of(row["view"], row["network"], AVIF)["bytes"]
        lines.append(
            f"| {row['view']} | {row['network']} | {row['variant']} | {row['bytes'] / 1000:,.0f} | "
            f"{row['of_blobs'] / 1000:,.0f} | {row['bytes'] / avif:.2f} | {row['ms'] / 1000:.1f} |"
        )
    lines += [
        "",
        "| | a picture's AVIF, KB | what the page chooses, KB | pictures until it is paid |",
    ]
    lines.append("| --- | --- | --- | --- |")
    for view in VIEWS:
        avif, page = (of(view, network, variant)["bytes"] / count for variant in (AVIF, PAGE))
        even = f"{decoder / (avif - page):,.0f}" if avif > page else "never"
        lines.append(f"| {view} | {avif / 1000:.1f} | {page / 1000:.1f} | {even} |")
    known, single = told["choice"], told["single_ms"]
    lines += [
        "",
        f"A photograph of 768 × 512 pixels with everything ready: {single['workers'] / 1000:.1f} s "
        f"by {told['cores']} workers, {single['WebGPU'] / 1000:.1f} on WebGPU, which SwiftShader "
        "emulates on the same cores; on a graphics processor none was measured.",
        "",
        f"Of {known['renditions']} renditions in AVIF of {known['photographs']} other photographs, "
        "most of products, blobs with the guard's default: KB of the renditions alone "
        f"{known['AVIF'] / 1000:.0f}, of the blobs alone {known['blobs'] / 1000:.0f}, of what the "
        f"page would choose by their sizes {known['chosen'] / 1000:.0f}, of the smaller each time "
        f"{known['best'] / 1000:.0f}. All AVIF there has {known['bits']:.2f} bits for a pixel "
        f"(median {known['median']:.2f}).",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
