"""Pages whose pictures the browser decodes, in Chromium, and what it asks the site for."""

import base64
import hashlib
import json
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import include, path
from PIL import Image

from django_latentimg import codec

from .stored import store_blob
from .testapp.models import Product

ROOT = Path(__file__).parent.parent
STATIC = ROOT / "django_latentimg/static/django_latentimg/client"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.urls(__name__),
    pytest.mark.skipif(
        CHROMIUM is None or find_spec("playwright") is None,
        reason="no Chromium in the path, or playwright is not installed",
    ),
]

PATIENCE = 60
"""Seconds for what takes one on an idle machine."""

HEAD = """{% load latentimg %}<!doctype html><html lang="en"><meta charset="utf-8"><title>Cats</title>
<meta name="viewport" content="width=device-width">
<link rel="stylesheet" href="/style.css">"""
STYLE = """
img { display: block; max-width: 100%; height: auto }
.far { margin-top: 9000px }
"""
CARD = '{% latent_img products.0.photo sizes="400px" alt="A cat" client=True %}'
CARDS = (
    "{% for product in products %}"
    '{% latent_img product.photo sizes="400px" alt=product.title client=True %}'
    "{% endfor %}"
)
PAGES = {
    "grid": f"{HEAD}{{% latent_client %}}<main>{CARDS}</main>",
    "card": f"{HEAD}{{% latent_client %}}<main>{CARD}</main>",
    "wide": f"{HEAD}{{% latent_client %}}<main>{CARD.replace('400px', '100vw')}</main>",
    "far": f'{HEAD}{{% latent_client %}}<main><p>Below<div class="far">{CARD}</div></main>',
    "small": f"{HEAD}{{% latent_client %}}<main>{CARD.replace('sizes', 'width=100 data_sizes')}",
    "fixed": f"{HEAD}{{% latent_client %}}<main>{CARD.replace('sizes', 'width=400 data_sizes')}",
    "script": f"""{HEAD}{{% latent_client %}}<script src="/listen.js"></script><main>{CARD}</main>""",
    "unchanged": f"{HEAD}{{% latent_client service_worker=True %}}"
    f"<main>{CARDS.replace('client=True', '')}</main>",
}
LISTEN = """
window.loads = [];
document.addEventListener("load", ({ target }) => window.loads.push(target.naturalWidth), true);
"""


def policy() -> str:
    """The one that the documentation asks for."""
    text = (ROOT / "docs/client.md").read_text()
    match = re.search(r"^    Content-Security-Policy: ((?:.+\n)(?:      .+\n)*)", text, re.MULTILINE)
    assert match
    return " ".join(match[1].split())


def page(request: HttpRequest, name: str) -> HttpResponse:
    template = engines["django"].from_string(PAGES[name])
    response = HttpResponse(template.render({"products": Site.products}))
    response.headers["Content-Security-Policy"] = policy()
    return response


urlpatterns = [
    path("pages/<str:name>", page),
    path("style.css", lambda request: HttpResponse(STYLE, content_type="text/css")),
    path("listen.js", lambda request: HttpResponse(LISTEN, content_type="text/javascript")),
    path("favicon.ico", lambda request: HttpResponse(status=204)),
    path("img/", include("django_latentimg.urls")),
]


class Quiet(WSGIRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass


class Site:
    """What is asked of it, in order."""

    products: list[Product] = []
    """Of every page."""

    def __init__(self) -> None:
        application = StaticFilesHandler(get_wsgi_application())
        self.asked: list[str] = []
        self.answers: dict[str, Callable[[], None]] = {}
        """By a part of the path: what happens before the answer."""

        def record(environ: Any, start: Any) -> Any:
            self.asked.append(environ["PATH_INFO"])
            for part, happens in self.answers.items():
                if part in environ["PATH_INFO"]:
                    happens()
            return application(environ, start)

        self.server = ThreadedWSGIServer(("127.0.0.1", 0), Quiet)
        self.server.daemon_threads = True
        self.server.set_app(record)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def pictures(self) -> list[str]:
        """Extensions of what was asked for below ``/img/``, sorted."""
        return sorted(
            path.rpartition(".")[2]
            for path in self.asked
            if path.startswith("/img/") and not path.endswith(".js")
        )

    def of_client(self) -> set[str]:
        names = (path.rpartition("/")[2] for path in self.asked if "/client/" in path)
        return {name.partition("-")[0].partition(".")[0] for name in names}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@cache
def cat(number: int = 0, mode: str = "RGB") -> bytes:
    """A blob, 400 × 240 pixels; each number another part of the photograph."""
    with Image.open(Path(skimage.__file__).parent / "data/chelsea.png") as image:
        part = image.convert("RGB").crop((10 * number, 10 * number, 400 + 10 * number, 240))
    if mode == "RGBA":
        ramp = np.tile(np.linspace(0, 255, part.width).astype(np.uint8), (part.height, 1))
        part.putalpha(Image.fromarray(ramp))
    return codec.encode(part)


@pytest.fixture
def site(media: Path) -> Iterator[Site]:
    site = Site()
    Site.products = []
    yield site
    site.close()


def hang(*blobs: bytes) -> None:
    """Products of these pictures are on every page."""
    field = Product._meta.get_field("photo")
    Site.products = [
        Product(title=f"Cat {number}", photo=store_blob(field, f"photos/{number}.png", blob))
        for number, blob in enumerate(blobs)
    ]


def digest() -> str:
    """Of the built decoder, as the build takes it."""
    taken = hashlib.sha384()
    for pattern in ("decoder-*.bin", "prior-*.bin", "kernels-*.wasm"):
        (file,) = STATIC.glob(pattern)
        taken.update(file.read_bytes())
    return base64.b64encode(taken.digest()).decode()[:12]


def decodes(**change: Any) -> dict[str, Any]:
    """What is remembered of somebody whose browser has decoded before."""
    return {"seen": 0, "digest": digest(), "pace": 100} | change


class Visit:
    """A window of somebody's browser, with what went wrong in it."""

    def __init__(self, browser: Any, site: Site, visitor: dict[str, Any] | None, **options: Any):
        options = {"viewport": {"width": 800, "height": 600}} | options
        self.site = site
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(PATIENCE * 1000)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.add_init_script(
            """
            Object.defineProperty(Navigator.prototype, "deviceMemory", { get: () => 8 });
            window.violations = [];
            document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
                window.violations.push(`${violatedDirective} ${blockedURI}`));
            window.shifts = [];
            new PerformanceObserver((list) => {
                for (const entry of list.getEntries()) window.shifts.push(entry.value);
            }).observe({ type: "layout-shift", buffered: true });
            """
        )
        if visitor:
            self.page.goto(f"{site.url}/style.css")
            self.page.evaluate(
                "visitor => { localStorage.latentimg = visitor }", json.dumps(visitor)
            )
            site.asked.clear()

    def open(self, name: str) -> Any:
        self.page.goto(f"{self.site.url}/pages/{name}")
        return self.page

    def wait(self, condition: str = "image => true") -> None:
        """Until all pictures are shown that fulfil the condition."""
        self.page.wait_for_function(
            f"""() => [...document.images].filter({condition}).every((image) => image.complete
                && image.naturalWidth && !image.currentSrc.endsWith("#stand-in"))"""
        )

    def boxes(self) -> Any:
        return self.page.evaluate(
            "() => [...document.images].map((image) => image.getBoundingClientRect().toJSON())"
        )

    def visitor(self) -> dict[str, Any]:
        return json.loads(self.page.evaluate("localStorage.latentimg ?? '{}'"))

    def shows(self, selector: str = "img") -> Image.Image:
        """The pixels of a picture, in its own size."""
        answer = self.page.evaluate(
            """async (selector) => {
                const image = document.querySelector(selector);
                const bitmap = await createImageBitmap(image);
                const { width, height } = bitmap;
                const context = new OffscreenCanvas(width, height).getContext("2d");
                context.drawImage(bitmap, 0, 0);
                let pixels = "";
                for (const level of context.getImageData(0, 0, width, height).data)
                    pixels += String.fromCharCode(level);
                return { size: [width, height], pixels: btoa(pixels) };
            }""",
            selector,
        )
        return Image.frombytes("RGBA", tuple(answer["size"]), base64.b64decode(answer["pixels"]))

    def close(self) -> None:
        assert self.page.evaluate("window.violations ?? []") == []
        assert self.page.evaluate("window.shifts ?? []") == []
        assert self.complaints == []
        self.context.close()


@pytest.fixture
def visit(browser: Any, site: Site) -> Iterator[Callable[..., Visit]]:
    visits: list[Visit] = []

    def visit(visitor: dict[str, Any] | None = None, **options: Any) -> Visit:
        visits.append(Visit(browser, site, visitor, **options))
        return visits[-1]

    yield visit
    for visited in visits:
        visited.close()


def mean_difference(one: Image.Image, other: Image.Image) -> float:
    assert one.size == other.size
    pixels, others = (np.asarray(image.convert("RGBA"), float) for image in (one, other))
    return float(np.abs(pixels - others).mean())


# Who does not decode


@pytest.mark.parametrize(
    ("visitor", "options"),
    [
        (None, {"java_script_enabled": False}),
        (None, {}),
        (decodes(digest="of another release"), {}),
        (decodes(pace=9999), {}),
    ],
    ids=["no script", "cold", "other decoder", "slow"],
)
def test_page__of_others_shows_renditions_and_fetches_nothing_else(site, visit, visitor, options):
    hang(cat(0), cat(1))
    visited = visit(visitor, **options)
    visited.open("grid")
    if options:
        visited.page.wait_for_timeout(1500)
    else:
        visited.wait()
        visited.page.wait_for_timeout(500)
        assert visited.page.evaluate("document.querySelectorAll('source[data-latent]').length") == 0
    assert site.pictures() == ["avif", "avif"]
    assert site.of_client() == (set() if options else {"loader"})


# Who decodes


def test_page__decodes_every_picture_and_downloads_each_once(site, visit):
    hang(*map(cat, range(4)))
    visited = visit(decodes())
    visited.open("grid")
    visited.wait()
    assert site.pictures() == ["limg"] * 4
    for number, image in enumerate(visited.page.locator("img").all()):
        image.evaluate("(image, id) => { image.id = id }", f"i{number}")
        expected = codec.decode(cat(number), width=400, engine="onnxruntime")
        assert mean_difference(visited.shows(f"#i{number}"), expected) < 0.5
