"""The built client's decoder on a GPU, beside its WebAssembly.

The GPU is SwiftShader, which Chromium brings along and emulates one with; it has no float16, so
that is not run here. The client leaves such adapters alone, hence pages that are to use it are told
that it is none: ``HARDWARE``.
"""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
from PIL import Image

from django_latentimg import codec
from tests.chromium import HARDWARE, launched
from tests.golden.__main__ import CURRENT
from tests.test_client import DECODE, decode, origin, pytestmark

__all__ = ["origin", "pytestmark"]

MOST, MEAN = 1, 0.001
"""Levels between both ways: sums of float32 in another order."""

COUNT = """
    window.used = { adapters: 0, submissions: 0 };
    function spy(owner, name, note) {
        const original = owner.prototype[name];
        owner.prototype[name] = function (...given) {
            note();
            return original.apply(this, given);
        };
    }
    spy(GPU, "requestAdapter", () => used.adapters++);
    spy(GPUQueue, "submit", () => used.submissions++);
"""

FAULTS = {
    "no adapter": "GPU.prototype.requestAdapter = async () => { faults++; return null; };",
    "an adapter that fails": """
        GPU.prototype.requestAdapter = async () => { faults++; throw new Error("none"); };
    """,
    "no device": """
        GPUAdapter.prototype.requestDevice = async () => { faults++; throw new Error("none"); };
    """,
    "a shader that does not compile": """
        const { createShaderModule } = GPUDevice.prototype;
        GPUDevice.prototype.createShaderModule = function ({ code }) {
            faults++;
            return createShaderModule.call(this, { code: code + "fn" });
        };
    """,
    "an invalid command": """
        const { dispatchWorkgroups } = GPUComputePassEncoder.prototype;
        GPUComputePassEncoder.prototype.dispatchWorkgroups = function () {
            faults++;
            dispatchWorkgroups.call(this, 2 ** 31);
        };
    """,
    "a submission that throws": """
        GPUQueue.prototype.submit = () => { faults++; throw new Error("not now"); };
    """,
    "a device lost while it draws": """
        let device;
        const { createBuffer } = GPUDevice.prototype;
        GPUDevice.prototype.createBuffer = function (described) {
            device = this;
            return createBuffer.call(this, described);
        };
        const { submit } = GPUQueue.prototype;
        GPUQueue.prototype.submit = function (commands) {
            faults++;
            submit.call(this, commands);
            device.destroy();
        };
    """,
    "a device lost before it draws": """
        const { requestDevice } = GPUAdapter.prototype;
        GPUAdapter.prototype.requestDevice = async function (described) {
            const device = await requestDevice.call(this, described);
            const { createComputePipelineAsync } = device;
            device.createComputePipelineAsync = async (described) => {
                const pipeline = await createComputePipelineAsync.call(device, described);
                faults++;
                device.destroy();
                return pipeline;
            };
            return device;
        };
    """,
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched("--enable-unsafe-webgpu") as browser:
        yield browser


def open_page(browser: Any, origin: str, *scripts: str) -> Any:
    page = browser.new_page()
    page.add_init_script("\n".join([COUNT, *scripts]))
    page.goto(origin)
    return page


@pytest.fixture(scope="module")
def gpu(browser, origin) -> Any:
    page = open_page(browser, origin, HARDWARE)
    found = page.evaluate(
        "async () => (await navigator.gpu.requestAdapter())?.info.architecture ?? null"
    )
    assert found == "swiftshader", f"This Chromium emulates no GPU by SwiftShader: {found}."
    return page


@pytest.fixture(scope="module")
def workers(browser, origin) -> Any:
    return open_page(browser, origin)


def submissions(page: Any) -> int:
    count: int = page.evaluate("used.submissions")
    return count


def encode(width: int, height: int) -> bytes:
    with Image.open(Path(skimage.__file__).parent / "data/chelsea.png") as image:
        return codec.encode(image.convert("RGB").crop((60, 40, 60 + width, 40 + height)))


@pytest.fixture(scope="module")
def blob() -> bytes:
    return encode(203, 149)


def assert_near(shown: Image.Image, expected: Image.Image) -> None:
    assert shown.size == expected.size
    black = Image.new("RGBA", shown.size, "black")
    # Colours of what is nearly transparent are lost where they are multiplied by alpha.
    levels = [np.asarray(Image.alpha_composite(black, image), int) for image in (shown, expected)]
    differences = np.abs(levels[0] - levels[1])
    assert differences.max() <= MOST
    assert differences.mean() < MEAN
    assert np.ptp(levels[1][..., :3]) > 50, "There is no picture to compare with."
    assert shown.getchannel("A").tobytes() == expected.getchannel("A").tobytes()


@pytest.mark.parametrize("width", [None, 101, 50, 25, 40])
def test_gpu__gives_the_pixels_of_the_workers(gpu, workers, blob, width):
    before = submissions(gpu)
    shown = decode(gpu, blob, width)
    assert submissions(gpu) == before + 1
    assert_near(shown, decode(workers, blob, width))
    assert submissions(workers) == 0


@pytest.mark.parametrize(("width", "height"), [(1, 1), (9, 130), (131, 7)])
def test_gpu__of_odd_sizes(gpu, workers, width, height):
    blob = codec.encode(Image.linear_gradient("L").resize((width, height)).convert("RGB"))
    shown = decode(gpu, blob), decode(workers, blob)
    differences = np.abs(np.subtract(*(np.asarray(image, int) for image in shown)))
    assert differences.max() <= MOST


@pytest.mark.parametrize("name", ["patched", "alpha"])
@pytest.mark.parametrize("width", [None, 20])
def test_gpu__under_patches_and_alpha(gpu, workers, name, width):
    blob = (CURRENT / f"{name}.limg").read_bytes()
    before = submissions(gpu)
    shown = decode(gpu, blob, width)
    assert submissions(gpu) == before + 1
    assert_near(shown, decode(workers, blob, width))


@pytest.mark.parametrize(("width", "limit", "tiles"), [(None, 2**20, 2), (40, 2**18, 6)])
def test_gpu__joins_tiles_without_a_seam(browser, origin, workers, width, limit, tiles):
    """Tiles are as small as buffers have to be."""
    page = open_page(
        browser,
        origin,
        HARDWARE,
        "Object.defineProperty(GPUSupportedLimits.prototype, 'maxStorageBufferBindingSize', "
        f"{{ get: () => {limit} }});",
    )
    blob = encode(320, 208)
    shown = decode(page, blob, width)
    assert submissions(page) == tiles
    assert_near(shown, decode(workers, blob, width))
    page.close()


def test_gpu__of_two_pictures_at_once(gpu, workers, blob):
    asked = [[base64.b64encode(data).decode(), width] for data, width in [
        (blob, 101), ((CURRENT / "patched.limg").read_bytes(), None), (blob, 25),
    ]]  # fmt: skip
    before = submissions(gpu)
    answers = gpu.evaluate(f"(asked) => Promise.all(asked.map({DECODE}))", asked)
    assert submissions(gpu) == before + 3
    assert answers == [gpu.evaluate(DECODE, each) for each in asked]
    sizes = [(answer["width"], answer["height"]) for answer in answers]
    assert sizes == [decode(workers, base64.b64decode(data), width).size for data, width in asked]


def test_gpu__is_left_alone_where_it_is_emulated(workers, blob):
    decode(workers, blob, 25)
    assert workers.evaluate("used") == {"adapters": 1, "submissions": 0}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_gpu__that_fails_leaves_this_and_later_pictures_to_workers(
    browser, origin, workers, blob, fault
):
    page = open_page(browser, origin, HARDWARE, "window.faults = 0;", fault)
    expected = decode(workers, blob, 50)
    assert decode(page, blob, 50).tobytes() == expected.tobytes()
    faults = page.evaluate("faults")
    assert faults > 0
    assert decode(page, blob, 50).tobytes() == expected.tobytes()
    assert page.evaluate("faults") == faults
    page.close()


def test_gpu__whose_code_cannot_be_fetched_leaves_all_to_workers(browser, origin, workers, blob):
    page = open_page(browser, origin, HARDWARE)
    asked = []

    def refuse(route: Any) -> None:
        asked.append(route.request.url)
        route.abort()

    page.route("**/webgpu-*.js", refuse)
    assert decode(page, blob, 50).tobytes() == decode(workers, blob, 50).tobytes()
    assert len(asked) == 1
    assert submissions(page) == 0
    page.close()


def test_gpu__code_is_not_fetched_where_there_is_none(browser, origin, blob):
    page = open_page(browser, origin, "delete Navigator.prototype.gpu;")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    assert decode(page, blob, 50).width == 50
    assert any("/worker-" in url for url in asked)
    assert not any("/webgpu-" in url for url in asked)
    page.close()


def test_gpu__that_is_lost_between_pictures(browser, origin, workers, blob):
    page = open_page(browser, origin, HARDWARE, """
        const { requestDevice } = GPUAdapter.prototype;
        GPUAdapter.prototype.requestDevice = async function (described) {
            return (window.device = await requestDevice.call(this, described));
        };
    """)  # fmt: skip
    expected = decode(workers, blob, 50)
    assert_near(decode(page, blob, 50), expected)
    assert submissions(page) == 1
    page.evaluate("device.destroy()")
    for _ in range(2):
        assert decode(page, blob, 50).tobytes() == expected.tobytes()
    assert submissions(page) <= 2
    page.close()
