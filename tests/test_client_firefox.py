"""Pages whose pictures the browser decodes, in Firefox: another engine with an order of its own."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from django_latentimg import codec

from .firefox import Firefox, launched, needs_firefox
from .test_client_pages import Site, cat, decodes, digest, hang, mean_difference, site, until

__all__ = ["site"]

pytestmark = [pytest.mark.urls("tests.test_client_pages"), needs_firefox]

ALL_SHOWN = """[...document.images].every((image) => image.complete && image.naturalWidth
    && !image.currentSrc.endsWith("#stand-in"))"""
PIXELS = """createImageBitmap(document.images[0]).then((bitmap) => {
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
    const pixels = Array.from(data, (level) => String.fromCharCode(level)).join("");
    return { size: [bitmap.width, bitmap.height], pixels: btoa(pixels) };
})"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    with launched(tmp_path_factory.mktemp("profile")) as firefox:
        yield firefox


def remember(browser: Firefox, site: Site, visitor: dict[str, Any]) -> None:
    """That somebody comes who has been here before."""
    browser.open(f"{site.url}/style.css")
    browser.evaluate("localStorage.latentimg = arguments[0]", json.dumps(visitor))
    site.asked.clear()


def shown(browser: Firefox) -> Image.Image:
    """The pixels of the first picture, in its own size."""
    answer = browser.evaluate(PIXELS)
    return Image.frombytes("RGBA", tuple(answer["size"]), base64.b64decode(answer["pixels"]))


def test_page__downloads_blobs_and_no_rendition(site, browser):
    hang(cat(0), cat(1))
    remember(browser, site, decodes())
    browser.open(f"{site.url}/pages/grid")
    browser.wait(ALL_SHOWN)
    assert site.pictures() == ["limg", "limg"]
    expected = codec.decode(cat(0), width=400, engine="onnxruntime")
    assert mean_difference(shown(browser), expected) < 0.5


def test_page__arriving_in_pieces__begins_no_rendition_before_the_script(site, browser):
    hang(*(cat(number) for number in range(4)))
    remember(browser, site, decodes())
    browser.open(f"{site.url}/pages/grid?slowly")
    browser.wait(ALL_SHOWN)
    assert site.pictures() == ["limg"] * 4


def test_page__what_is_far_away_is_not_asked_for(site, browser):
    hang(cat())
    remember(browser, site, decodes())
    browser.open(f"{site.url}/pages/far")
    assert site.pictures() == []
    browser.evaluate("scrollTo(0, document.body.scrollHeight)")
    browser.wait(ALL_SHOWN)
    assert site.pictures() == ["limg"]


def test_page__a_damaged_blob_gives_way_to_the_rendition(site, browser):
    hang(cat())
    site.faults[".limg.limg"] = lambda: b"no blob"
    remember(browser, site, decodes())
    browser.open(f"{site.url}/pages/card")
    browser.wait(ALL_SHOWN)
    assert site.pictures() == ["avif", "limg"]


def test_page__fetches_the_decoder_once_it_would_have_paid(site, browser):
    hang(cat(0), cat(1))
    remember(browser, site, {"missed": 2_000_000, "digest": "", "pace": 0})
    browser.open(f"{site.url}/pages/grid")
    browser.wait(ALL_SHOWN)
    assert site.pictures() == ["avif", "avif"]
    until(lambda: json.loads(browser.evaluate("localStorage.latentimg"))["digest"] == digest())
    assert json.loads(browser.evaluate("localStorage.latentimg"))["pace"] > 0
