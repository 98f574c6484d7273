"""What it is worth that the browser decodes: ``python -m benchmarks.client``.

A grid of the 24 Kodak photographs in headless Chromium, on a telephone (390 pixels wide, three
device pixels each, two columns) and a desktop (1440, one, four columns), over emulated networks.
The same pictures four times: AVIF renditions of their blobs, WebP as easy-thumbnails makes it by
default, and the blobs themselves, with the decoder's files in the browser's cache and without.
Bytes are what the server sent, headers included; the time is from the beginning of the navigation
until the last picture is decoded. Median of ``--repeats``. Writes ``results/client.json`` and
``client.md``.
"""

import argparse
import gzip
import io
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from django_latentimg import codec
from django_latentimg.codec.guard import Guard
from django_latentimg.renditions import ENCODERS, encode

from .lite_model import RESULTS

STATIC = Path(codec.__file__).parent.parent / "static/django_latentimg/client"
WIDTHS = (240, 360, 480, 640)
"""Of the renditions, in pixels."""
EFFORT = 1
CHROMIUM = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"]


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
VARIANTS = (
    "AVIF renditions",
    "easy-thumbnails' WebP",
    "blobs, decoder cached",
    "blobs, first visit",
)

IMAGES = """<script>
addEventListener("load", async () => {
    await Promise.all([...document.images].map((image) => image.decode()));
    window.over = performance.now();
});
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


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--shared", default="../shared", type=Path)
    arguments.add_argument("--repeats", default=3, type=int)
    given = arguments.parse_args()
    paths = sorted((given.shared / "photos/kodak").glob("*.png"))
    with tempfile.TemporaryDirectory() as folder:
        files, pictures = make_files(paths)
        for name, view in VIEWS.items():
            for variant in VARIANTS:
                files[f"/{slug(name, variant)}.html"] = page(view, variant, pictures).encode()
        with serving(files) as server:
            rows = list(measure(server, given.repeats, Path(folder)))
    told = {
        "pictures": len(paths),
        "cores": os.cpu_count(),
        "decoder_bytes": sum(
            len(content) for path, content in files.items() if path.startswith("/client/")
        ),
        "rows": rows,
    }
    (RESULTS / "client.json").write_text(json.dumps(told, indent=1) + "\n")
    (RESULTS / "client.md").write_text(report(told))
    print(report(told))


def slug(view: str, variant: str) -> str:
    return f"{view}-{VARIANTS.index(variant)}"


class Picture(NamedTuple):
    name: str
    size: tuple[int, int]


def make_files(paths: list[Path]) -> tuple[dict[str, bytes], list[Picture]]:
    """By URL, as they are sent; what is static and can be is compressed by gzip."""
    files = {f"/client/{path.name}": gzip.compress(path.read_bytes()) for path in STATIC.iterdir()}
    pictures = []
    for path in paths:
        image = Image.open(path).convert("RGB")
        pictures.append(Picture(path.stem, image.size))
        blob = codec.encode(image, effort=EFFORT, guard=Guard(widths=WIDTHS))
        files[f"/{path.stem}.limg"] = blob
        for width in widths(image.width):
            decoded = codec.decode(blob, width=width)
            files[f"/{path.stem}-{width}.avif"] = encode(decoded, "avif", ENCODERS["avif"])
            files[f"/{path.stem}-{width}.webp"] = thumbnail(path, width)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    files["/warm.limg"] = codec.encode(Image.fromarray(noise))
    files["/warm.html"] = f"<!doctype html>{WARM_UP}".encode()
    return files, pictures


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
    blobs = variant.startswith("blobs")
    format = "avif" if variant.startswith("AVIF") else "webp"
    shown = []
    for name, (width, height) in pictures:
        look = f'style="aspect-ratio: {width} / {height}"'
        if blobs:
            shown.append(f'<canvas data-blob="/{name}.limg" {look}></canvas>')
            continue
        offered = ", ".join(f"/{name}-{w}.{format} {w}w" for w in widths(width))
        shown.append(
            f'<img srcset="{offered}" sizes="{view.shown:.0f}px" width="{width}" '
            f'height="{height}" {look}>'
        )
    return (
        '<!doctype html><meta name="viewport" content="width=device-width">'
        "<style>body { margin: 8px; display: grid; gap: 8px; align-items: start; "
        f"grid-template-columns: repeat({view.columns}, 1fr) }} "
        "img, canvas { width: 100%; height: auto }</style>"
        f"{''.join(shown)}{BLOBS if blobs else IMAGES}"
    )


class Server(ThreadingHTTPServer):
    """Counts what it sends."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.sent = 0
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
            self.server.sent += len(head) + len(content)
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


def measure(server: Server, repeats: int, screenshots: Path) -> Iterator[dict[str, Any]]:
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=CHROMIUM)
        for view_name, view in VIEWS.items():
            for network_name, network in NETWORKS.items():
                # In turn, so that what else the machine does falls on all of them.
                found: dict[str, list[tuple[int, float]]] = {name: [] for name in VARIANTS}
                for _ in range(repeats):
                    for variant in VARIANTS:
                        url = f"/{slug(view_name, variant)}.html"
                        warm = variant == "blobs, decoder cached"
                        found[variant].append(visit(server, browser, view, network, url, warm=warm))
                for variant, visits in found.items():
                    row = {
                        "view": view_name,
                        "network": network_name,
                        "variant": variant,
                        "bytes": median(sent for sent, _ in visits),
                        "ms": round(median(milliseconds for _, milliseconds in visits)),
                    }
                    print(row, flush=True)
                    yield row
        browser.close()


def visit(
    server: Server, browser: Any, view: View, network: Network, url: str, *, warm: bool
) -> tuple[int, float]:
    """(bytes, milliseconds) of a browser that has been nowhere else."""
    origin = f"http://127.0.0.1:{server.server_port}"
    context = browser.new_context(
        viewport={"width": view.width, "height": view.height}, device_scale_factor=view.density
    )
    tab = context.new_page()
    if warm:
        tab.goto(f"{origin}/warm.html")
        tab.wait_for_function("window.over")
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
    before = server.sent
    tab.goto(f"{origin}{url}")
    tab.wait_for_function("window.over", timeout=300_000)
    milliseconds: float = tab.evaluate("window.over")
    sent = server.sent - before
    context.close()
    return sent, milliseconds


def report(told: dict[str, Any]) -> str:
    rows = told["rows"]

    def of(view: str, network: str, variant: str) -> dict[str, Any]:
        key = view, network, variant
        return next(row for row in rows if (row["view"], row["network"], row["variant"]) == key)

    decoder = told["decoder_bytes"]
    lines = [
        f"{told['pictures']} Kodak photographs in a grid, headless Chromium on "
        f"{told['cores']} shared cores without a GPU. The decoder and its weights are "
        f"{decoder / 1000:,.0f} KB by gzip, once.",
        "",
        "| | network | | KB | seconds to the last picture | bytes, ours being 1 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        ours = of(row["view"], row["network"], "blobs, decoder cached")["bytes"]
        lines.append(
            f"| {row['view']} | {row['network']} | {row['variant']} | {row['bytes'] / 1000:,.0f} | "
            f"{row['ms'] / 1000:.1f} | {row['bytes'] / ours:.2f} |"
        )
    lines += ["", "| | a picture's AVIF, KB | its blob, KB | pictures until the decoder is paid |"]
    lines.append("| --- | --- | --- | --- |")
    network = rows[0]["network"]
    for view in dict.fromkeys(row["view"] for row in rows):
        avif = of(view, network, "AVIF renditions")["bytes"] / told["pictures"]
        blob = of(view, network, "blobs, decoder cached")["bytes"] / told["pictures"]
        even = f"{decoder / (avif - blob):,.0f}" if avif > blob else "never"
        lines.append(f"| {view} | {avif / 1000:.1f} | {blob / 1000:.1f} | {even} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
