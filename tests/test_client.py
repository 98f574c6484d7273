"""The built client in Chromium: blobs become the pixels that Python decodes."""

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
from PIL import Image

from django_latentimg import codec
from django_latentimg.codec import container, embedded, patches
from django_latentimg.codec.container import Header
from tests.chromium import launched, needs_chromium
from tests.golden.__main__ import CURRENT

STATIC = Path(__file__).parent.parent / "django_latentimg/static/django_latentimg/client"

pytestmark = needs_chromium

DECODE = """async ([blob, width]) => {
    const { decode } = await import(window.client ?? "/latentimg.js");
    const bytes = Uint8Array.from(atob(blob), (letter) => letter.charCodeAt(0));
    const bitmap = await decode(bytes, width ?? undefined).catch((error) => error);
    if (bitmap instanceof Error) return { error: `${bitmap.name}: ${bitmap.message}` };
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
    let pixels = "";
    for (const level of data) pixels += String.fromCharCode(level);
    return { width: bitmap.width, height: bitmap.height, pixels: btoa(pixels) };
}"""


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()


@contextmanager
def serving() -> Iterator[str]:
    """The built client, at an origin of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=STATIC))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with serving() as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def page(browser, origin) -> Any:
    page = browser.new_page()
    page.goto(origin)
    return page


def decode(page: Any, blob: bytes, width: int | None = None) -> Image.Image:
    answer = page.evaluate(DECODE, [base64.b64encode(blob).decode(), width])
    assert "error" not in answer, answer["error"]
    size = answer["width"], answer["height"]
    return Image.frombytes("RGBA", size, base64.b64decode(answer["pixels"]))


def mean_difference(one: Image.Image, other: Image.Image) -> float:
    assert one.size == other.size
    pixels, others = (np.asarray(image.convert("RGBA"), float) for image in (one, other))
    return float(np.abs(pixels - others).mean())


@pytest.fixture(scope="module")
def blob() -> bytes:
    with Image.open(Path(skimage.__file__).parent / "data/chelsea.png") as image:
        return codec.encode(image.convert("RGB"))


@pytest.mark.parametrize("width", [None, 300, 225, 112, 50, 30])
def test_decode__shows_what_python_decodes(page, blob, width):
    expected = codec.decode(blob, width=width, engine="onnxruntime")
    # Another size than the decoder's comes from the browser's filter, nearer to Lanczos' than
    # Pillow's bilinear one (3.4 at 30 pixels).
    assert mean_difference(decode(page, blob, width), expected) < (3 if width else 0.3)


def test_decode__takes_the_decoder_of_the_blobs_latent_space(page, blob):
    with Image.open(Path(skimage.__file__).parent / "data/chelsea.png") as image:
        compact = codec.encode(image.convert("RGB"), model="compact")
    for each in (compact, blob, compact):
        expected = codec.decode(each, engine="onnxruntime")
        assert mean_difference(decode(page, each), expected) < 0.3


@pytest.mark.parametrize("width", [1, 5000])
def test_decode__never_scales_up_nor_to_nothing(page, blob, width):
    assert decode(page, blob, width).size == codec.decode(blob, width=width).size


@pytest.mark.parametrize("width", [29, 31])
def test_decode__rounds_half_a_row_as_python_does(page, width):
    blob = codec.encode(Image.new("RGB", (40, 20)))
    assert decode(page, blob, width).size == codec.decode(blob, width=width).size


def test_decode__of_several_tiles(page):
    with Image.open(Path(skimage.__file__).parent / "data/chelsea.png") as image:
        blob = codec.encode(image.convert("RGB").resize((1100, 640)))
    expected = codec.decode(blob, engine="onnxruntime")
    assert mean_difference(decode(page, blob), expected) < 0.3


@pytest.mark.parametrize("name", ["avif", "palette"])
def test_decode__of_golden_blobs(page, name):
    blob = (CURRENT / f"{name}.limg").read_bytes()
    expected = codec.decode(blob, engine="onnxruntime")
    assert mean_difference(decode(page, blob), expected) < 1


@pytest.mark.parametrize("format", patches.FORMATS)
@pytest.mark.parametrize("width", [None, 200])
def test_decode__blends_patches(page, blob, format, width):
    header, chunks = container.unpack(blob)
    boxes = [patches.Box(0, 0, 64, 48), patches.Box(96, 80, 200, 160)]
    rows, columns = header.latent_shape
    noise = np.random.default_rng(1).integers(0, 255, (rows, columns, 3), np.uint8)
    source = np.asarray(Image.fromarray(noise).resize((8 * columns, 8 * rows)))
    patched = container.pack(
        header, chunks | {container.PATCHES: patches.encode_patches(source, boxes, format, 90)}
    )
    expected = codec.decode(patched, width=width, engine="onnxruntime")
    plain = codec.decode(blob, width=width, engine="onnxruntime")
    assert mean_difference(plain, expected) > 3
    assert mean_difference(decode(page, patched, width), expected) < 1.5


@pytest.mark.parametrize("width", [None, 100])
def test_decode__keeps_alpha(page, width):
    with Image.open(Path(skimage.__file__).parent / "data/chelsea.png") as image:
        source = image.convert("RGB").resize((150, 100))
    ramp = np.tile(np.linspace(0, 255, 150).astype(np.uint8), (100, 1))
    source.putalpha(Image.fromarray(ramp))
    blob = codec.encode(source)
    expected = codec.decode(blob, width=width, engine="onnxruntime")
    shown = decode(page, blob, width)
    alphas = [np.asarray(image.getchannel("A"), int) for image in (shown, expected)]
    assert np.abs(alphas[0] - alphas[1]).max() <= (0 if width is None else 3)
    # Colours of what is nearly transparent are lost where they are multiplied by alpha.
    black = Image.new("RGBA", shown.size, "black")
    over = [Image.alpha_composite(black, image) for image in (shown, expected)]
    assert mean_difference(*over) < 1


def test_decode__of_a_damaged_blob_is_a_blob_error(page, blob):
    header, chunks = container.unpack(blob)
    damaged = container.pack(header, {container.SYMBOLS: chunks[container.SYMBOLS][:100]})
    for bad in (b"no blob", blob[:-1], damaged, container.pack(
        Header(8, 8, "sd1", 50, 50, "0badcafe"), {container.IMAGE: b"no picture"}
    )):  # fmt: skip
        answer = page.evaluate(DECODE, [base64.b64encode(bad).decode(), None])
        assert answer["error"].startswith("BlobError")
    # What comes after it is decoded as ever.
    assert decode(page, blob).size == (451, 300)


def test_decode__of_damaged_payloads_under_right_checksums(page):
    """Ends in a picture or a ``BlobError``, whatever is damaged."""
    random = np.random.default_rng(7)
    source = Image.fromarray(random.integers(0, 255, (40, 56, 4), np.uint8), "RGBA")
    header, chunks = container.unpack(codec.encode(source))
    boxes = [patches.Box(0, 0, 24, 16), patches.Box(32, 16, 56, 40)]
    rgb = np.asarray(source.convert("RGB"))
    chunks[container.PATCHES] = patches.encode_patches(rgb, boxes, "AVIF", 50)
    image = {container.IMAGE: embedded.bare(embedded.encode_avif(rgb, 50))}
    blobs = []
    for number in range(160):
        damaged = dict(image if number % 4 == 3 else chunks)
        kind = list(damaged)[number % 4 % len(damaged)]
        payload = bytearray(damaged[kind])
        for _ in range(random.integers(1, 4)):
            payload[random.integers(len(payload))] ^= random.integers(1, 256)
        damaged[kind] = bytes(payload[: random.integers(1, 2 * len(payload))])
        blobs.append(container.pack(header, damaged))
    answers = [page.evaluate(DECODE, [base64.b64encode(blob).decode(), None]) for blob in blobs]
    errors = [answer["error"] for answer in answers if "error" in answer]
    assert all(error.startswith("BlobError") for error in errors)
    assert 0 < len(errors) < len(blobs)


def test_decode__from_another_origin(browser, origin, blob):
    page = browser.new_page()
    page.goto(origin)
    with serving() as elsewhere:
        page.evaluate("url => { window.client = url }", f"{elsewhere}/latentimg.js")
        assert decode(page, blob).size == (451, 300)
    page.close()


def test_decode__under_a_strict_policy(browser, origin):
    """The one that ``client/README.md`` asks for."""
    policy = (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; "
        "connect-src 'self'; worker-src 'self'"
    )
    page = browser.new_page()
    page.route(
        f"{origin}/",
        lambda route: route.fulfill(
            body="<p>", content_type="text/html", headers={"Content-Security-Policy": policy}
        ),
    )
    page.goto(origin)
    for name in ("alpha", "patched", "avif"):
        blob = (CURRENT / f"{name}.limg").read_bytes()
        assert decode(page, blob).size == codec.decode(blob).size
    page.close()


@pytest.mark.parametrize("file", ["worker", "decoder", "prior", "kernels"])
def test_decode__of_a_client_that_lacks_a_file_fails_and_later_works(browser, origin, blob, file):
    page = browser.new_page()
    page.goto(origin)
    page.route(f"**/{file}-*", lambda route: route.abort())
    for _ in range(2):
        answer = page.evaluate(DECODE, [base64.b64encode(blob).decode(), None])
        assert not answer["error"].startswith("BlobError")
    page.unroute_all()
    assert decode(page, blob).size == (451, 300)
    page.close()


def test_decode__refuses_weights_that_are_not_its_own(browser, origin, blob):
    page = browser.new_page()
    page.goto(origin)
    (weights,) = STATIC.glob("decoder-sd1-*.bin")
    other = bytearray(weights.read_bytes())
    other[-1] ^= 1
    page.route("**/decoder-*", lambda route: route.fulfill(body=bytes(other)))
    answer = page.evaluate(DECODE, [base64.b64encode(blob).decode(), None])
    assert answer["error"].startswith("TypeError")
    page.close()
