"""The demo as a newcomer runs it: a real worker, a real server, a real browser."""

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from django_latentimg.codec import Latent
from django_latentimg.names import BlobName

from .chromium import launched, needs_chromium

ROOT = Path(__file__).resolve().parent.parent
DEMO = [sys.executable, str(ROOT / "example_project" / "manage.py"), "demo"]
PRINTS = 16
PATIENCE = 600
"""Seconds for what takes half a minute on an idle machine."""

pytestmark = [
    pytest.mark.skipif(
        any(find_spec(name) is None for name in ("celery", "torch", "diffusers")),
        reason="the demo's worker needs celery, torch and diffusers",
    ),
    pytest.mark.skipif(
        any(find_spec(name) is None for name in ("skimage", "sklearn")),
        reason="the demo sells the photographs of scikit-image and scikit-learn",
    ),
]


def environment() -> dict[str, str]:
    """Without the suite's settings; the package need not be installed."""
    kept = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    return kept | {"PYTHONPATH": str(ROOT)}


class Shop(NamedTuple):
    folder: Path

    @property
    def arguments(self) -> list[str]:
        return [*DEMO, "--data-dir", str(self.folder)]

    def demo(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.arguments, "--no-serve"],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def photos(self) -> list[str]:
        """The column of every product."""
        database = sqlite3.connect(self.folder / "shop.sqlite3")
        try:
            return [name for (name,) in database.execute("SELECT photo FROM shop_product")]
        finally:
            database.close()

    def files(self) -> dict[Path, int]:
        """Every file in the storage of sources and blobs, with the time it was written."""
        files = (path for path in (self.folder / "media").rglob("*") if path.is_file())
        return {path: path.stat().st_mtime_ns for path in files}


class Server(NamedTuple):
    process: subprocess.Popen[bytes]
    url: str
    worker: int
    """Process id of the Celery worker."""


def worker_in(output: Path) -> int | None:
    """Process id of the worker, as soon as the demo has told it."""
    told = re.search(r"worker: process (\d+)", output.read_text())
    return int(told[1]) if told else None


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (result := condition()):
        assert time.monotonic() < deadline, f"waited {PATIENCE} seconds for {what}"
        time.sleep(0.1)
    return result


@contextmanager
def started(shop: Shop, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The demo as a process, and the file that its output goes to."""
    output = shop.folder.with_suffix(".output")
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [*shop.arguments, *arguments],
            env=environment(),
            stdout=stream,
            stderr=stream,
            # As from a terminal: a suite that runs in the background inherits Ctrl-C as ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    with process:
        try:
            yield process, output
        finally:
            process.terminate()


@contextmanager
def serving(shop: Shop) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with started(shop, "--address", address) as (process, output):

        def is_open() -> bool:
            assert process.poll() is None, output.read_text()
            return f"http://{address}/" in output.read_text()

        wait_for(is_open, "the shop to open")
        worker = worker_in(output)
        assert worker
        yield Server(process, f"http://{address}/", worker)


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shop, str]:
    """A filled shop, and what the demo printed when it was filled."""
    shop = Shop(tmp_path_factory.mktemp("demo") / "var")
    finished = shop.demo()
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return shop, finished.stdout


@pytest.fixture(scope="module")
def server(first_run: tuple[Shop, str]) -> Iterator[Server]:
    shop, _ = first_run
    with serving(shop) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched("--disable-gpu") as browser:
        yield browser


class Visit:
    """A page in a window of its own, with all that went wrong in it."""

    def __init__(self, browser: Any, width: int, height: int, density: float) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, device_scale_factor=density
        )
        self.context.set_default_timeout(PATIENCE * 1000)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self.on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", lambda request: self.complaints.append(request.url))
        self.page.on("response", self.on_response)
        self.page.add_init_script(
            "window.shifts = [];"
            "new PerformanceObserver((list) => {"
            "  for (const entry of list.getEntries()) window.shifts.push(entry.value);"
            "}).observe({ type: 'layout-shift', buffered: true });"
        )

    def on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def on_response(self, response: Any) -> None:
        if response.status >= 400:
            self.complaints.append(f"{response.status} {response.url}")

    def scroll_through(self) -> None:
        for image in self.page.locator("img").all():
            image.scroll_into_view_if_needed()
            self.page.wait_for_function("image => image.complete", arg=image.element_handle())

    def images(self) -> list[dict[str, Any]]:
        """What the browser made of every <img>."""
        found: list[dict[str, Any]] = self.page.evaluate(
            """() => [...document.images].map((image) => ({
                alt: image.alt,
                complete: image.complete,
                naturalWidth: image.naturalWidth,
                chosen: image.currentSrc,
                cssWidth: image.getBoundingClientRect().width,
                ratio: devicePixelRatio,
                candidates: [...image.closest("picture").querySelectorAll("[srcset]")].flatMap(
                    (element) => element.srcset.split(", ").map((candidate) => {
                        const [url, descriptor] = candidate.split(" ");
                        return [new URL(url, document.baseURI).href, parseInt(descriptor)];
                    }),
                ),
            }))"""
        )
        return found

    def shifts(self) -> list[float]:
        shifts: list[float] = self.page.evaluate("window.shifts")
        return shifts


@contextmanager
def visit(browser: Any, width: int, height: int, density: float = 1) -> Iterator[Visit]:
    visited = Visit(browser, width, height, density)
    try:
        yield visited
    finally:
        visited.context.close()


def chosen_width(image: dict[str, Any]) -> int:
    return int(dict(image["candidates"])[image["chosen"]])


def right_width(image: dict[str, Any]) -> int:
    """The smallest candidate that fills the picture's place, or the largest there is."""
    format = image["chosen"].rpartition(".")[2]
    widths = [width for url, width in image["candidates"] if url.endswith(f".{format}")]
    needed = image["cssWidth"] * image["ratio"]
    return int(min((width for width in widths if width >= needed), default=max(widths)))


def test_demo__first_run__every_photograph_becomes_a_blob(first_run: tuple[Shop, str]) -> None:
    shop, _ = first_run
    names = shop.photos()
    assert len(names) == PRINTS
    for name in names:
        blob_name = BlobName.parse(name)
        assert blob_name, name
        latent = Latent.from_bytes((shop.folder / "media" / name).read_bytes())
        assert (latent.width, latent.height) == (blob_name.width, blob_name.height)
        assert latent.digest == blob_name.digest


def test_demo__first_run__prints_bytes_of_source_and_blob(first_run: tuple[Shop, str]) -> None:
    shop, printed = first_run
    number = r"\s+([\d,]+)"
    rows = re.findall(rf"^(\S.*?){number}{number}\s+[\d.]+ : 1$", printed, re.MULTILINE)
    *parts, total = [
        (title, int(source.replace(",", "")), int(blob.replace(",", "")))
        for title, source, blob in rows
    ]
    media = shop.folder / "media"
    names = [(name, BlobName.parse(name)) for name in shop.photos()]
    on_disk = [
        ((media / blob_name.source).stat().st_size, (media / name).stat().st_size)
        for name, blob_name in names
        if blob_name
    ]
    assert sorted((source, blob) for _, source, blob in parts) == sorted(on_disk)
    assert all(blob < source for _, source, blob in parts)
    sources, blobs = zip(*on_disk, strict=True)
    assert total == (f"{PRINTS} photographs", sum(sources), sum(blobs))


def test_demo__second_run__uploads_and_compresses_nothing(first_run: tuple[Shop, str]) -> None:
    shop, _ = first_run
    names, files = shop.photos(), shop.files()
    finished = shop.demo()
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "Uploaded 0 photographs" in finished.stdout
    assert (shop.photos(), shop.files()) == (names, files)


def test_demo__worker_dies__says_so_and_keeps_every_upload(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "var")
    with started(shop, "--no-serve") as (process, output):
        os.kill(wait_for(lambda: worker_in(output), "the worker"), signal.SIGKILL)
        assert process.wait(PATIENCE) == 1
    assert "The worker has died" in output.read_text()
    assert len(shop.photos()) == PRINTS
    for name in shop.photos():
        assert (shop.folder / "media" / name).is_file()


def test_demo__interrupted__stops_its_worker(first_run: tuple[Shop, str]) -> None:
    shop, _ = first_run
    with serving(shop) as running:
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(PATIENCE) == 0
        with pytest.raises(ProcessLookupError):
            os.kill(running.worker, 0)


in_every_window = pytest.mark.parametrize(
    ("width", "height", "density"),
    [
        (width, height, density)
        for width, height in ((390, 844), (834, 1112), (1440, 900))
        for density in (1, 3)
    ],
)


@needs_chromium
@in_every_window
def test_prints__every_picture_complete_right_width_and_in_its_place(
    first_run: tuple[Shop, str],
    server: Server,
    browser: Any,
    width: int,
    height: int,
    density: float,
) -> None:
    shop, _ = first_run
    with visit(browser, width, height, density) as visited:
        visited.page.goto(server.url)
        visited.scroll_through()
        images = visited.images()
        assert len(images) == len(shop.photos())
        for image in images:
            assert image["complete"], image["alt"]
            assert image["naturalWidth"] > 0, image["alt"]
            assert image["chosen"].endswith(".avif"), image["chosen"]
            assert chosen_width(image) == right_width(image), image
        assert visited.shifts() == []
        assert visited.complaints == []


@needs_chromium
def test_prints__a_placeholder_of_its_colours_until_a_picture_is_there(
    server: Server, browser: Any
) -> None:
    with visit(browser, 390, 844) as visited:
        held: list[Any] = []
        released: list[bool] = []

        def hold(route: Any) -> None:
            if released:
                route.continue_()
            else:
                held.append(route)

        visited.page.route("**/*.avif", hold)
        visited.page.goto(server.url, wait_until="domcontentloaded")
        visited.page.wait_for_function("document.images[0].complete === false")
        wait_for(lambda: held, "the browser to ask for a picture")
        before = visited.page.evaluate(
            """() => [...document.images].map((image) => ({
                style: getComputedStyle(image).backgroundImage,
                height: image.getBoundingClientRect().height,
                ratio: image.width / image.height - image.getAttribute("width")
                    / image.getAttribute("height"),
            }))"""
        )
        assert len(before) == PRINTS
        for image in before:
            assert image["style"].startswith('url("data:image/webp;base64,')
            assert image["height"] > 100
            assert abs(image["ratio"]) < 0.02
        released.append(True)
        for route in held:
            route.continue_()
        visited.scroll_through()
        assert visited.shifts() == []


@contextmanager
def slow_line(url: str) -> Iterator[str]:
    """The same site, whose pages come packet by packet: a browser draws what it has of them."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with urllib.request.urlopen(url.rstrip("/") + self.path) as answer:
                content, kind = answer.read(), answer.headers["Content-Type"]
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(content[:4000])
            for start in range(4000, len(content), 1400):
                time.sleep(0.05 if kind.startswith("text/html") else 0)
                self.wfile.write(content[start : start + 1400])

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    line = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=line.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{line.server_port}"
    finally:
        line.shutdown()
        line.server_close()


@needs_chromium
@pytest.mark.parametrize("path", ["/", "/prints/3/deep-field/"])
def test_pages__arriving_in_pieces__move_nothing(server: Server, browser: Any, path: str) -> None:
    with slow_line(server.url) as url, visit(browser, 1440, 900) as visited:
        visited.page.goto(url + path)
        assert visited.page.locator("img").count() > 0
        assert visited.shifts() == []


@needs_chromium
def test_prints__by_keyboard_and_by_ear(server: Server, browser: Any) -> None:
    with visit(browser, 1440, 900) as visited:
        page = visited.page
        page.goto(server.url)
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        assert focused.inner_text() == "Skip to the content"
        box = focused.bounding_box()
        assert box["y"] >= 0, "who tabs to it sees it"
        page.keyboard.press("Enter")
        assert page.url.endswith("#main")
        page.keyboard.press("Tab")
        assert page.evaluate(
            "document.activeElement.matches('.card a')"
            " && getComputedStyle(document.activeElement).outlineStyle !== 'none'"
        )
        pictures = page.get_by_role("img").all()
        names = [picture.get_attribute("alt") for picture in pictures]
        assert len(names) == PRINTS
        assert all(names)
        page.keyboard.press("Enter")
        page.wait_for_url("**/prints/**")
        assert page.get_by_role("heading", level=1).inner_text() in names


@needs_chromium
@in_every_window
def test_product__panel_tells_the_bytes_that_the_browser_got(
    server: Server, browser: Any, width: int, height: int, density: float
) -> None:
    with visit(browser, width, height, density) as visited:
        visited.page.goto(f"{server.url}prints/3/deep-field/")
        got = visited.page.locator("#arrived [data-bytes]")
        visited.page.wait_for_function("span => span.textContent !== '…'", arg=got.element_handle())
        (image,) = visited.images()
        assert chosen_width(image) == right_width(image), image
        answer = visited.context.request.get(image["chosen"])
        assert got.inner_text() == f"{len(answer.body()) / 1024:.1f} KB"
        assert (
            f"AVIF, {chosen_width(image)} px wide" in visited.page.locator("#arrived").inner_text()
        )
        assert visited.shifts() == []
        assert visited.complaints == []


@needs_chromium
def test_sell__shown_from_the_source_until_the_blob_is_written(
    server: Server, browser: Any, tmp_path: Path
) -> None:
    photograph = tmp_path / "crema.png"
    package = find_spec("skimage")
    assert package
    assert package.submodule_search_locations
    shutil.copy(Path(package.submodule_search_locations[0]) / "data" / "coffee.png", photograph)
    with visit(browser, 1440, 900) as visited:
        page = visited.page
        page.goto(f"{server.url}sell/")
        page.get_by_label("Photograph", exact=True).set_input_files(photograph)
        page.get_by_label("Title").fill("Crema")
        page.get_by_label("Price").fill("12.50")
        os.kill(server.worker, signal.SIGSTOP)
        try:
            page.get_by_role("button", name="Hang it up").click()
            page.get_by_text("Not compressed yet").wait_for()
            visited.scroll_through()
            (image,) = visited.images()
            assert image["naturalWidth"] > 0
            assert ".limg." not in image["chosen"]
        finally:
            os.kill(server.worker, signal.SIGCONT)
        page.get_by_text("What you see was decoded from the blob").wait_for()
        visited.scroll_through()
        (image,) = visited.images()
        assert image["naturalWidth"] > 0
        assert ".limg." in image["chosen"]
        assert visited.complaints == []
