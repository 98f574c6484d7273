"""Pages whose pictures the browser decodes, in Chromium, and what it asks the site for."""

import base64
import gzip
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template import engines
from django.urls import include, path
from PIL import Image

from django_latentimg import codec
from django_latentimg.test import make_blob

from .chromium import needs_chromium
from .stored import store_blob
from .test_client import browser
from .testapp.models import Product

__all__ = ["browser"]

ROOT = Path(__file__).parent.parent
STATIC = ROOT / "django_latentimg/static/django_latentimg/client"

pytestmark = [
    pytest.mark.urls(__name__),
    needs_chromium,
]

PATIENCE = 60
"""Seconds for what takes one on an idle machine."""

HEAD = """{% load latentimg %}<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Cats</title>
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
    "script": f'{HEAD}{{% latent_client %}}<script src="/listen.js"></script><main>{CARD}</main>',
    "unchanged": f"{HEAD}{{% latent_client service_worker=True %}}"
    f"<main>{CARDS.replace('client=True', '')}</main>",
}
LISTEN = """
window.loads = [];
document.addEventListener("load", ({ target }) => {
    if (target instanceof HTMLImageElement) window.loads.push(target.naturalWidth);
}, true);
"""


def policy() -> str:
    """The one that the documentation asks for."""
    text = (ROOT / "docs/client.md").read_text()
    match = re.search(
        r"^    Content-Security-Policy: ((?:.+\n)(?:      .+\n)*)", text, re.MULTILINE
    )
    assert match
    return " ".join(match[1].split()).replace("'self'", f"'self'{Site.statics}")


def page(request: HttpRequest, name: str) -> HttpResponseBase:
    html = engines["django"].from_string(PAGES[name]).render({"products": Site.products})
    slowly = "slowly" in request.GET
    response = StreamingHttpResponse(in_pieces(html)) if slowly else HttpResponse(html)
    response.headers["Content-Security-Policy"] = policy()
    return response


def in_pieces(html: str) -> Iterator[str]:
    """A browser draws what it has, several times within a picture."""
    for piece in re.split("(?=<picture|<source|<img)", html):
        yield piece
        time.sleep(0.1)


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
    statics = ""
    """What the policy says of static files of another origin."""

    def __init__(self) -> None:
        application = StaticFilesHandler(get_wsgi_application())
        self.asked: list[str] = []
        self.faults: dict[str, Callable[[], bytes | None]] = {}
        """By a part of the path: what is done first, or answered instead; no bytes are a 404."""

        def record(environ: Any, start: Any) -> Any:
            self.asked.append(environ["PATH_INFO"])
            for part, fault in self.faults.items():
                if part in environ["PATH_INFO"] and (content := fault()) is not None:
                    start("200 OK" if content else "404 Not Found", [])
                    return [content]
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


@cache
def cat(number: int = 0, mode: str = "RGB", model: str = "lite") -> bytes:
    """A blob, 400 × 240 pixels; each number another part of the photograph."""
    with Image.open(Path(skimage.__file__).parent / "data/chelsea.png") as image:
        part = image.convert("RGB").crop((10 * number, 10 * number, 400 + 10 * number, 240))
    if mode == "RGBA":
        ramp = np.tile(np.linspace(0, 255, part.width).astype(np.uint8), (part.height, 1))
        part.putalpha(Image.fromarray(ramp))
    return codec.encode(part, model=model)


@cache
def large() -> bytes:
    """A blob of as many pixels that saves nothing, as where the guard has kept AVIF."""
    noise = np.random.default_rng(0).integers(0, 256, (240, 400, 3), np.uint8)
    return make_blob(Image.fromarray(noise))


@pytest.fixture
def site(media: Path) -> Iterator[Site]:
    site = Site()
    Site.products, Site.statics = [], ""
    yield site
    site.close()


def hang(*blobs: bytes) -> None:
    """Products of these pictures are on every page."""
    field = Product._meta.get_field("photo")
    Site.products = [
        Product(title=f"Cat {number}", photo=store_blob(field, f"photos/{number}.png", blob))
        for number, blob in enumerate(blobs)
    ]


def digest(space: str = "sd1") -> str:
    """Of a latent space's built decoder, as the build takes it."""
    taken = hashlib.sha384()
    for pattern in (f"decoder-{space}-*.bin", f"prior-{space}-*.bin", "kernels-*.wasm"):
        (file,) = STATIC.glob(pattern)
        taken.update(file.read_bytes())
    return base64.b64encode(taken.digest()).decode()[:12]


def decodes(**change: Any) -> dict[str, Any]:
    """What is remembered of somebody whose browser has decoded before."""
    return {"missed": 0, "digest": digest(), "pace": 100} | change


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
            document.addEventListener("securitypolicyviolation", (event) =>
                window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
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


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


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


def test_page__decodes_the_latent_space_of_the_sites_model_and_no_other(site, visit, settings):
    """Blobs of the model that the site had before are downloaded, and their decoder is not."""
    settings.LATENTIMG = settings.LATENTIMG | {"MODEL": "compact"}
    hang(cat(0, model="compact"), cat(1))
    visited = visit(decodes(digest=digest("compact1")))
    visited.open("grid")
    visited.wait()
    assert site.pictures() == ["avif", "limg", "limg"]
    expected = codec.decode(cat(0, model="compact"), width=400, engine="onnxruntime")
    assert mean_difference(visited.shows(), expected) < 0.5
    assert not [path for path in site.asked if "sd1" in path]


def test_page__decodes_pictures_that_arrive_in_pieces(site, visit):
    hang(*map(cat, range(3)))
    visited = visit(decodes())
    visited.open("grid?slowly")
    visited.wait()
    assert site.pictures() == ["limg"] * 3


def test_page__decodes_with_static_files_of_another_host(site, visit, settings):
    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

        def end_headers(self) -> None:
            self.send_header("Access-Control-Allow-Origin", "*")
            super().end_headers()

    files = partial(Handler, directory=STATIC.parent.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), files) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings.STATIC_URL = f"http://127.0.0.1:{server.server_port}/"
        Site.statics = f" {settings.STATIC_URL} blob:"
        hang(cat())
        visited = visit(decodes())
        visited.open("card")
        visited.wait()
        server.shutdown()
    assert site.pictures() == ["limg"]
    assert site.of_client() == set()


def test_page__decodes_where_a_place_has_a_fixed_width(site, visit):
    hang(cat())
    visited = visit(decodes(), device_scale_factor=2)
    visited.open("fixed")
    visited.wait()
    assert site.pictures() == ["limg"]
    assert visited.boxes()[0]["width"] == 400
    assert visited.shows().width == 400


def test_page__decodes_transparency(site, visit):
    hang(cat(0, "RGBA"))
    visited = visit(decodes())
    visited.open("card")
    visited.wait()
    assert site.pictures() == ["limg"]
    expected = codec.decode(cat(0, "RGBA"), width=400, engine="onnxruntime")
    alphas = [np.asarray(image.getchannel("A"), int) for image in (visited.shows(), expected)]
    assert np.abs(alphas[0] - alphas[1]).max() <= 1


@pytest.mark.parametrize("name", ["grid", "fixed", "wide"])
def test_page__looks_and_sounds_the_same_before_and_after(site, visit, name):
    hang(cat(0), cat(1))
    seen = []
    for visitor in (None, decodes()):
        visited = visit(visitor)
        visited.page.add_init_script(
            "addEventListener('DOMContentLoaded', () => { window.before = [...document.images].map("
            "(image) => image.getBoundingClientRect().toJSON()) })"
        )
        page = visited.open(name)
        visited.wait()
        assert page.evaluate("window.before") == visited.boxes()
        seen.append((visited.boxes(), page.locator("main").aria_snapshot()))
    assert seen[0] == seen[1]
    assert "Cat 0" in seen[0][1] or "A cat" in seen[0][1]
    assert "limg" in site.pictures()


def test_page__tells_its_scripts_of_the_decoded_picture_alone(site, visit):
    hang(cat())
    visited = visit(decodes())
    visited.open("script")
    visited.wait()
    assert visited.page.evaluate("window.loads") == [400]


def test_page__small_pictures_are_downloaded(site, visit):
    """Where a rendition has fewer bytes than its blob."""
    hang(cat())
    visited = visit(decodes())
    visited.open("small")
    visited.wait()
    assert site.pictures() == ["avif"]


def test_page__below_the_fold_nothing_is_fetched(site, visit):
    hang(cat())
    visited = visit(decodes())
    page = visited.open("far")
    page.wait_for_timeout(1000)
    assert site.pictures() == []
    page.locator("img").scroll_into_view_if_needed()
    visited.wait()
    assert site.pictures() == ["limg"]


def test_page__decodes_nothing_that_was_scrolled_away(site, visit):
    hang(cat())
    arrives = threading.Event()
    site.faults[".limg.limg"] = lambda: arrives.wait(PATIENCE) and None
    visited = visit(decodes())
    page = visited.open("far")
    page.locator("img").scroll_into_view_if_needed()
    with page.expect_response("**/*.limg"):
        page.wait_for_timeout(300)
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(300)
        arrives.set()
    page.wait_for_timeout(1000)
    assert page.evaluate("document.images[0].currentSrc").endswith("#stand-in")
    assert "decoder" not in site.of_client()
    page.locator("img").scroll_into_view_if_needed()
    visited.wait()
    assert site.pictures() == ["limg"]  # The second time from the browser's cache.


def test_page__decodes_few_at_once_and_the_nearest_first(site, visit):
    hang(*map(cat, range(5)))
    asked, arrives = threading.Semaphore(0), threading.Semaphore(0)

    def hold() -> None:
        asked.release()
        arrives.acquire(timeout=PATIENCE)

    site.faults[".limg.limg"] = hold
    visited = visit(decodes(), viewport={"width": 800, "height": 860})
    # The middle of the screen is between the second card and the third.
    visited.open("grid")
    order = []
    for _ in range(5):
        assert asked.acquire(timeout=PATIENCE)
        order = [path for path in site.asked if path.endswith(".limg.limg")]
        visited.page.wait_for_timeout(200)
        running = [path for path in site.asked if path.endswith(".limg.limg")]
        assert len(running) <= 2 + len(order)
        arrives.release()
    visited.wait()
    numbers = [int(re.search(r"photos/(\d)", path)[1]) for path in order]
    assert set(numbers[:2]) == {1, 2}
    assert numbers[-1] == 4


def test_page__decodes_again_where_a_picture_grows(site, visit):
    with Image.open(Path(skimage.__file__).parent / "data/chelsea.png") as image:
        hang(codec.encode(image.convert("RGB").resize((640, 400)), effort=0))
    visited = visit(decodes(), viewport={"width": 400, "height": 640})
    page = visited.open("wide")
    visited.wait()
    first = visited.shows().width
    assert 300 < first < 400
    page.set_viewport_size({"width": 640, "height": 400})
    until(lambda: visited.shows().width > first)
    larger = visited.shows().width
    assert larger > 600
    assert site.pictures() == ["limg"]
    page.set_viewport_size({"width": 400, "height": 640})
    page.wait_for_timeout(500)
    assert visited.shows().width == larger


def test_page__pictures_that_a_script_adds_or_copies(site, visit):
    hang(cat())
    visited = visit(decodes())
    page = visited.open("card")
    visited.wait()
    page.evaluate(
        """() => {
            const picture = document.querySelector("picture");
            document.querySelector("main").append(picture.cloneNode(true));
            const html = picture.outerHTML.replace(/<source data-latent[^>]*>/, "");
            document.querySelector("main").insertAdjacentHTML("beforeend", html);
        }"""
    )
    visited.wait()
    assert len(visited.boxes()) == 3
    assert page.locator("source[data-latent]").count() == 3  # None is left of the copied one.
    assert site.pictures() == ["limg"]
    assert page.evaluate(
        "[...document.images].every(({ currentSrc }) => /^blob:/.test(currentSrc))"
    )


def test_page__is_printed_with_renditions_of_what_is_not_decoded_yet(site, visit):
    hang(cat())
    visited = visit(decodes())
    page = visited.open("far")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.locator("img").scroll_into_view_if_needed()
    visited.wait()
    assert site.pictures() == ["avif"]


# What can go wrong: the rendition is shown, and each is downloaded once.


def test_page__save_data(site, visit):
    hang(cat())
    visited = visit(decodes())
    visited.page.add_init_script(
        "Object.defineProperty(NetworkInformation.prototype, 'saveData', { get: () => true })"
    )
    visited.open("card")
    visited.wait()
    assert site.pictures() == ["avif"]


@pytest.mark.parametrize("content", [b"", b"damaged", cat()[:-1] + b"!"])
def test_page__blob_is_missing_or_damaged(site, visit, content):
    hang(cat(0), cat(1))
    site.faults["photos/0.png"] = lambda: content if site.asked[-1].endswith(".limg.limg") else None
    visited = visit(decodes())
    visited.open("grid")
    visited.wait()
    assert site.pictures() == ["avif", "limg", "limg"]
    assert visited.visitor() == decodes()


@pytest.mark.parametrize("file", ["page", "part", "worker", "decoder", "prior", "kernels"])
def test_page__a_file_of_the_decoder_is_missing(site, visit, file):
    hang(cat(0), cat(1))
    site.faults[f"client/{file}-"] = lambda: b""
    visited = visit(decodes())
    visited.open("grid")
    visited.wait()
    assert site.pictures().count("avif") == 2
    assert site.pictures().count("limg") <= 2
    visited.page.wait_for_function("() => JSON.parse(localStorage.latentimg).digest === ''")
    # And the next page does not try.
    site.asked.clear()
    visited.open("grid")
    visited.wait()
    assert "limg" not in site.pictures()
    assert site.of_client() <= {"loader"}


@pytest.mark.parametrize("late", [".limg.limg", "client/decoder-"])
def test_page__takes_too_long(site, visit, late):
    hang(cat())
    arrives = threading.Event()
    site.faults[late] = lambda: arrives.wait(PATIENCE) and None
    visited = visit(decodes())
    visited.open("card")
    visited.wait()
    assert site.pictures() == ["avif", "limg"]
    arrives.set()
    visited.page.wait_for_timeout(1000)
    assert visited.page.evaluate("document.images[0].currentSrc").endswith(".avif")
    assert site.pictures() == ["avif", "limg"]


def test_page__downloads_the_rendition_where_that_is_smaller(site, visit):
    hang(cat(0), large())
    visited = visit(decodes())
    visited.open("grid")
    visited.wait()
    assert site.pictures() == ["avif", "limg"]
    assert visited.page.evaluate("document.images[1].currentSrc").endswith(".avif")


# How the decoder gets there


def saving(blob: bytes) -> int:
    """What the page expects a blob to save that is shown in full: AVIF has 0.48 bits a pixel."""
    latent = codec.Latent.from_bytes(blob)
    return round(latent.width * latent.height * 0.48 / 8) - len(blob)


def test_page__counts_the_bytes_that_blobs_would_have_saved(site, visit):
    hang(cat(0), cat(1), large())
    visited = visit()
    visited.open("grid")
    visited.wait()
    visited.open("card")
    visited.wait()
    visited.page.goto(f"{site.url}/style.css")
    assert visited.visitor()["missed"] == 2 * saving(cat(0)) + saving(cat(1))


def test_page__fetches_the_decoder_of_the_sites_model(site, visit, settings):
    settings.LATENTIMG = settings.LATENTIMG | {"MODEL": "compact"}
    hang(cat(0, model="compact"))
    visited = visit({"missed": 2_000_000, "digest": "", "pace": 0})
    visited.open("card")
    visited.wait()
    visited.page.wait_for_function("() => JSON.parse(localStorage.latentimg).digest !== ''")
    assert visited.visitor()["digest"] == digest("compact1") != digest()
    assert not [path for path in site.asked if "sd1" in path]


def test_page__after_many_renditions_the_decoder_is_fetched_for_the_next_page(site, visit):
    hang(cat(0), cat(1))
    visited = visit({"missed": 2_000_000, "digest": "", "pace": 0})
    visited.open("grid")
    visited.wait()
    visited.page.wait_for_function("() => JSON.parse(localStorage.latentimg).digest !== ''")
    assert site.pictures() == ["avif", "avif"]
    assert visited.visitor()["digest"] == digest()
    assert visited.visitor()["pace"] > 0
    visited.page.evaluate("visitor => { localStorage.latentimg = visitor }", json.dumps(decodes()))
    site.asked.clear()
    visited.open("card")
    visited.wait()
    assert site.pictures() == [] or site.pictures() == ["limg"]
    assert site.pictures() == ["limg"]


def test_page__a_decoder_that_fails_at_first_is_not_tried_on_every_page(site, visit):
    hang(cat())
    site.faults["client/decoder-"] = lambda: b""
    visited = visit({"missed": 2_000_000, "digest": "", "pace": 0})
    visited.open("card")
    visited.wait()
    visited.page.wait_for_function("() => JSON.parse(localStorage.latentimg).missed === 0")
    assert visited.visitor()["digest"] == ""
    assert site.pictures() == ["avif"]


# The service worker


def registered(site: Site, visit: Callable[..., Visit], visitor: dict[str, Any]) -> Visit:
    """With the site's service worker at work."""
    visited = visit(visitor)
    page = visited.open("unchanged")
    visited.wait()
    page.wait_for_function("() => navigator.serviceWorker.controller")
    until(lambda: page.evaluate("async () => !!await caches.match('/visitor')"))
    site.asked.clear()
    return visited


def test_service_worker__decodes_for_pages_that_know_nothing_of_it(site, visit):
    hang(cat(0), cat(1))
    visited = registered(site, visit, decodes(pace=1))
    # What the page has got before is in the browser's cache.
    hang(cat(2), cat(3))
    visited.open("unchanged")
    visited.wait()
    assert site.pictures() == ["limg", "limg"]
    assert visited.page.evaluate("document.images[0].currentSrc").endswith(".avif")
    expected = codec.decode(cat(2), width=400, engine="onnxruntime")
    assert mean_difference(visited.shows(), expected) < 0.5


def test_service_worker__decodes_the_latent_space_of_the_sites_model(site, visit, settings):
    settings.LATENTIMG = settings.LATENTIMG | {"MODEL": "compact"}
    hang(cat(0, model="compact"))
    visited = registered(site, visit, decodes(digest=digest("compact1"), pace=1))
    hang(cat(2, model="compact"), cat(3))
    visited.open("unchanged")
    visited.wait()
    assert site.pictures() == ["avif", "limg", "limg"]
    expected = codec.decode(cat(2, model="compact"), width=400, engine="onnxruntime")
    assert mean_difference(visited.shows(), expected) < 0.5


@pytest.mark.parametrize("visitor", [{}, decodes(digest="other")])
def test_service_worker__leaves_renditions_to_who_has_no_decoder(site, visit, visitor):
    hang(cat(0))
    visited = registered(site, visit, visitor or {"missed": 1})
    hang(cat(1))
    visited.open("unchanged")
    visited.wait()
    assert site.pictures() == ["avif"]


@pytest.mark.parametrize("file", [".limg.limg", "client/decoder-"])
def test_service_worker__gives_the_rendition_where_decoding_fails(site, visit, file):
    hang(large())
    site.faults[file] = lambda: b""
    visited = registered(site, visit, decodes(pace=1))
    hang(cat(1))
    visited.open("unchanged")
    visited.wait()
    assert site.pictures() == ["avif", "limg"]


# What it costs


def test_client__is_small():
    """What pages fetch that do not decode, and all of it but what a GPU runs."""

    def packed(*patterns: str) -> int:
        files = [file for pattern in patterns for file in STATIC.glob(pattern)]
        assert files
        return sum(len(gzip.compress(file.read_bytes())) for file in files)

    assert packed("loader.js") < 3 * 1024
    assert packed("*.js") - packed("webgpu-*.js") < 20 * 1024
