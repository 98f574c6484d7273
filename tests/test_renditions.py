import os
import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, storages
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from django_latentimg import codec, flights, renditions
from django_latentimg.codec import pixels
from django_latentimg.codec.errors import BlobError, CodecError, ImageError
from django_latentimg.conf import conf
from django_latentimg.crops import Crop
from django_latentimg.links import FORMATS

from .conftest import image_bytes, picture
from .stored import blob, store_blob, store_source
from .testapp.models import Product, Snapshot

PHOTO = Product._meta.get_field("photo")
SNAPSHOT = Snapshot._meta.get_field("photo")


@pytest.fixture
def cache(tmp_path):
    """The folder of the storage of renditions."""
    return tmp_path / "renditions"


def opened(rendition: bytes) -> Image.Image:
    image = Image.open(BytesIO(rendition))
    image.load()
    return image


def files_in(folder) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def difference(first: Image.Image, second: Image.Image) -> float:
    """Mean absolute, 0 to 255."""
    arrays = [np.asarray(image.convert("RGB"), dtype=float) for image in (first, second)]
    return float(np.abs(arrays[0] - arrays[1]).mean())


def break_storage(monkeypatch, *methods: str) -> None:
    """Let these methods of the storage of renditions fail."""

    def fail(*arguments, **options):
        raise PermissionError("read-only")

    for method in methods:
        monkeypatch.setattr(storages[conf.RENDITION_STORAGE], method, fail)


class CountingDecode:
    """Stands in for ``codec.decode`` and calls it, slowly enough for others to arrive."""

    def __init__(self, monkeypatch, before=lambda: None):
        self.calls = 0
        self.before = before
        self.decode = codec.decode
        self.arrived = threading.Event()
        monkeypatch.setattr(codec, "decode", self)

    def __call__(self, content, **options):
        self.calls += 1
        self.before()
        return self.decode(content, **options)


# What comes out


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("store", "expected"),
    [
        (store_blob, lambda: codec.decode(blob(), width=48)),
        (store_source, lambda: picture().resize((48, 32), Image.Resampling.LANCZOS)),
    ],
)
def test_render__every_format(store, expected, format):
    name = store(PHOTO, "photos/llama.png")
    rendition = opened(renditions.render(PHOTO, name, 48, format))
    assert rendition.format == format.upper()
    assert rendition.size == (48, 32)
    written = BytesIO()
    expected().save(written, format, **renditions.ENCODERS[format])
    assert difference(rendition, opened(written.getvalue())) == 0
    assert difference(rendition, expected()) < 6


@pytest.mark.parametrize("store", [store_blob, store_source])
def test_render__never_scales_up(store):
    name = store(PHOTO, "photos/llama.png")
    assert opened(renditions.render(PHOTO, name, 1920, "webp")).size == (96, 64)


@pytest.mark.parametrize(
    ("store", "content"),
    [
        (store_blob, lambda: blob(mode="RGBA")),
        (store_source, lambda: image_bytes(picture(mode="RGBA"))),
    ],
)
def test_render__transparency(store, content):
    """Rising from the left edge to the right one."""
    name = store(PHOTO, "photos/logo.png", content())
    for format in ("avif", "webp"):
        kept = opened(renditions.render(PHOTO, name, 96, format))
        assert kept.mode == "RGBA"
        assert kept.getpixel((1, 32))[3] < 30
        assert kept.getpixel((94, 32))[3] > 225
    flat = opened(renditions.render(PHOTO, name, 96, "jpeg"))
    assert flat.mode == "RGB"
    assert min(flat.getpixel((1, 32))) > 240


def test_render__source_that_exif_turns():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    upright = picture(60, 90)
    turned = image_bytes(
        upright.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, exif=exif
    )
    name = store_source(PHOTO, "photos/llama.jpg", turned)
    rendition = opened(renditions.render(PHOTO, name, 30, "jpeg"))
    assert rendition.size == (30, 45)
    assert difference(rendition, upright.resize((30, 45), Image.Resampling.LANCZOS)) < 6
    assert not rendition.getexif()


@pytest.mark.parametrize("format", ["JPEG", "MPO"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_render__large_jpeg_is_decoded_small(monkeypatch, orientation, format):
    decoded = []
    read = pixels.read
    monkeypatch.setattr(pixels, "read", lambda image: decoded.append(image.size) or read(image))
    exif = Image.Exif()
    exif[0x0112] = orientation
    large = picture(100, 50).resize((1600, 800), Image.Resampling.BICUBIC)
    content = image_bytes(large, format, quality=95, exif=exif)
    name = store_source(PHOTO, "photos/llama.jpg", content)
    rendition = opened(renditions.render(PHOTO, name, 100, "webp"))
    full = pixels.assemble(*read(Image.open(BytesIO(content)))).resize(
        rendition.size, Image.Resampling.LANCZOS
    )
    assert decoded == [(200, 100) if orientation == 1 else (400, 200)]
    assert rendition.size == ((100, 50) if orientation == 1 else (100, 200))
    assert difference(rendition, full) < 3


@pytest.mark.parametrize("store", [store_blob, store_source])
@pytest.mark.parametrize(
    ("crop", "box"),
    [
        (Crop(1, 1), (16, 0, 80, 64)),
        (Crop(1, 1, 0, 0), (0, 0, 64, 64)),
        (Crop(1, 1, 100, 0), (32, 0, 96, 64)),
        (Crop(1, 1, 40, 0), (6, 0, 70, 64)),
        (Crop(3, 1, 0, 75), (0, 32, 96, 64)),
        (Crop(1, 2), (32, 0, 64, 64)),
    ],
)
def test_render__part_of_a_picture(store, crop, box):
    name = store(PHOTO, "photos/llama.png")
    whole = opened(renditions.render(PHOTO, name, 320, "webp"))
    part = opened(renditions.render(PHOTO, name, 320, "webp", crop))
    assert part.size == (box[2] - box[0], box[3] - box[1])
    assert difference(part, whole.crop(box)) < 5
    half = opened(renditions.render(PHOTO, name, part.width // 2, "webp", crop))
    assert half.size == (part.width // 2, part.height // 2)
    whole = opened(renditions.render(PHOTO, name, 48, "webp"))
    assert difference(half, whole.crop(tuple(edge // 2 for edge in box))) < 5


@given(
    st.integers(1, 3000),
    st.integers(1, 3000),
    st.builds(
        Crop, st.integers(1, 50), st.integers(1, 50), st.integers(0, 100), st.integers(0, 100)
    ),
    st.sampled_from([1, 320, 1920]),
)
def test_sizes__a_part_lies_within_its_picture(width, height, crop, wanted):
    whole, part = renditions._sizes((width, height), wanted, crop)
    assert part[0] == min(wanted, crop.size(width, height)[0])
    left, top = crop.offset(whole, part)
    assert left >= 0
    assert top >= 0
    assert left + part[0] <= whole[0]
    assert top + part[1] <= whole[1]


@pytest.mark.parametrize("format", FORMATS)
def test_render__same_bytes_every_time(format):
    name = store_blob(PHOTO, "photos/llama.png")
    first = renditions.render(PHOTO, name, 96, format)
    renditions.forget(PHOTO, name)
    assert renditions.render(PHOTO, name, 96, format) == first


# What goes wrong


@pytest.mark.parametrize("store", [store_blob, store_source])
@pytest.mark.parametrize("format", FORMATS)
def test_render__says_that_it_is_srgb(store, format):
    """easy-thumbnails#366: colours must not depend on who guesses the profile."""
    name = store(PHOTO, "photos/llama.png")
    rendition = renditions.render(PHOTO, name, 320, format)
    if format == "avif":
        # Primaries of BT.709, sRGB's curve (ITU-T H.273), in the colour information box.
        assert b"colrnclx\x00\x01\x00\x0d" in rendition
        return
    profile = opened(rendition).info["icc_profile"]
    described = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(profile)))
    assert "sRGB" in described
    assert len(profile) < 600
    assert profile[24:36] == renditions.PROFILE_DATE, "two nodes would make different bytes"


def test_render__missing_file():
    with pytest.raises(FileNotFoundError):
        renditions.render(PHOTO, "photos/none.png.96x64-5123.01234567-0123.limg", 96, "webp")


def test_render__damaged_blob(media, cache):
    name = store_blob(PHOTO, "photos/llama.png")
    path = media / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BlobError):
        renditions.render(PHOTO, name, 96, "webp")
    assert not cache.exists()


def test_render__source_is_no_picture():
    name = store_source(PHOTO, "photos/llama.png", b"<svg/>")
    with pytest.raises(ImageError):
        renditions.render(PHOTO, name, 96, "webp")


def test_render__source_has_too_many_pixels(settings):
    settings.LATENTIMG = {**settings.LATENTIMG, "MAX_PIXELS": 96 * 64 - 1}
    name = store_source(PHOTO, "photos/llama.png")
    with pytest.raises(ImageError):
        renditions.render(PHOTO, name, 96, "webp")


def test_render__taller_than_the_format_can_hold():
    name = store_source(PHOTO, "photos/receipt.png", image_bytes(Image.new("RGB", (4, 17000))))
    with pytest.raises(ImageError, match="webp"):
        renditions.render(PHOTO, name, 320, "webp")
    assert opened(renditions.render(PHOTO, name, 320, "jpeg")).size == (4, 17000)


# The cache


@pytest.mark.parametrize("backend", ["filesystem.FileSystemStorage", "memory.InMemoryStorage"])
def test_render__decodes_once(monkeypatch, settings, backend):
    settings.STORAGES = {
        **settings.STORAGES,
        "renditions": {
            **settings.STORAGES["renditions"],
            "BACKEND": f"django.core.files.storage.{backend}",
        },
    }
    name = store_blob(PHOTO, "photos/llama.png")
    decode = CountingDecode(monkeypatch)
    first = renditions.render(PHOTO, name, 48, "webp")
    assert renditions.render(PHOTO, name, 48, "webp") == first
    assert decode.calls == 1
    with storages["renditions"].open(renditions.rendition_name(name, 48, "webp")) as cached:
        assert cached.read() == first


def test_render__cached_rendition_needs_no_blob():
    name = store_blob(PHOTO, "photos/llama.png")
    first = renditions.render(PHOTO, name, 48, "webp")
    PHOTO.storage.delete(name)
    assert renditions.render(PHOTO, name, 48, "webp") == first


def test_render__one_decode_for_concurrent_misses(monkeypatch):
    name = store_blob(PHOTO, "photos/llama.png")
    waiting = threading.Semaphore(0)
    result = flights.Future.result

    def wait(flight, *arguments):
        waiting.release()
        return result(flight, *arguments)

    monkeypatch.setattr(flights.Future, "result", wait)
    everybody_waits = lambda: [waiting.acquire(timeout=10) for _ in range(7)]  # noqa: E731
    decode = CountingDecode(monkeypatch, before=everybody_waits)
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(renditions.render, PHOTO, name, 48, "webp") for _ in range(8)]
    assert decode.calls == 1
    assert len({result(future) for future in futures}) == 1
    assert not flights._flights


def test_render__error_reaches_all_who_wait_and_is_not_kept(monkeypatch):
    name = store_blob(PHOTO, "photos/llama.png")
    start = threading.Barrier(4)
    failing = threading.Event()

    def fail():
        if not failing.is_set():
            failing.wait(0.5)  # for the others to arrive
            raise BlobError("damaged")

    decode = CountingDecode(monkeypatch, before=fail)

    def render():
        start.wait()
        return renditions.render(PHOTO, name, 48, "webp")

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(render) for _ in range(4)]
    assert [str(future.exception()) for future in futures] == ["damaged"] * 4
    assert decode.calls == 1
    failing.set()
    assert opened(renditions.render(PHOTO, name, 48, "webp")).size == (48, 32)
    assert decode.calls == 2


@pytest.mark.parametrize("backend", ["filesystem.FileSystemStorage", "memory.InMemoryStorage"])
def test_render__another_process_was_faster(monkeypatch, settings, backend):
    settings.STORAGES = {
        **settings.STORAGES,
        "renditions": {
            **settings.STORAGES["renditions"],
            "BACKEND": f"django.core.files.storage.{backend}",
        },
    }
    name = store_blob(PHOTO, "photos/llama.png")
    key = renditions.rendition_name(name, 48, "webp")
    storage = storages["renditions"]
    CountingDecode(monkeypatch, before=lambda: storage.save(key, ContentFile(b"theirs")))
    assert opened(renditions.render(PHOTO, name, 48, "webp")).size == (48, 32)
    assert storage.listdir(os.path.dirname(key)) == ([], [os.path.basename(key)])


def test_save__others_never_see_half_of_it(tmp_path):
    storage = FileSystemStorage(tmp_path)
    content = bytes(32 * 2**20)
    seen = []

    def watch():
        while not seen:
            if (tmp_path / "renditions" / "large").exists():
                seen.append((tmp_path / "renditions" / "large").stat().st_size)

    watcher = threading.Thread(target=watch)
    watcher.start()
    renditions.save_whole(storage, "renditions/large", content)
    watcher.join()
    assert seen == [len(content)]
    assert files_in(tmp_path) == ["large"]
    assert (tmp_path / "renditions" / "large").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("methods", [["save"], ["save", "open"]])
def test_render__storage_of_renditions_fails(monkeypatch, caplog, cache, methods):
    name = store_blob(PHOTO, "photos/llama.png")
    break_storage(monkeypatch, *methods)
    assert opened(renditions.render(PHOTO, name, 48, "webp")).size == (48, 32)
    assert "could not be saved" in caplog.text
    assert files_in(cache) == []


def test_render__deleted_meanwhile_leaves_nothing(monkeypatch, cache):
    name = store_blob(PHOTO, "photos/llama.png")
    CountingDecode(monkeypatch, before=lambda: PHOTO.storage.delete(name))
    assert opened(renditions.render(PHOTO, name, 48, "webp")).size == (48, 32)
    assert files_in(cache) == []


def test_forget(cache):
    name, other = (store_blob(PHOTO, f"photos/{animal}.png") for animal in ("llama", "alpaca"))
    for format in PHOTO.formats:
        renditions.render(PHOTO, name, 320, format)
    renditions.render(PHOTO, other, 320, "webp")
    renditions.render(PHOTO, name, 320, "webp", Crop(1, 1, 20, 80))
    assert len(files_in(cache)) == 5
    renditions.forget(PHOTO, name)
    left = (cache / "renditions/photos").rglob("*")
    assert [path.name for path in left] == [os.path.basename(other), "320.webp"]
    renditions.forget(PHOTO, name)


def test_forget__source(cache):
    name = store_source(SNAPSHOT, "snaps/llama.png")
    for width in SNAPSHOT.widths:
        for format in SNAPSHOT.formats:
            renditions.render(SNAPSHOT, name, width, format)
    assert len(files_in(cache)) == 4
    renditions.forget(SNAPSHOT, name)
    assert files_in(cache) == []


def test_cache_name__sources_of_two_fields_do_not_share():
    """Each field may have a storage of its own with a file of the same name."""
    names = {renditions.cache_name(field, "llama.jpg", 100, "webp") for field in (PHOTO, SNAPSHOT)}
    assert len(names) == 2


# A source that was compressed and deleted after the page was rendered


@pytest.mark.django_db
def test_render__source_gave_way_to_a_blob(cache):
    row = Snapshot(photo="snaps/llama.png")
    Snapshot.objects.bulk_create([row])
    Snapshot.objects.update(photo=store_blob(SNAPSHOT, "snaps/llama.png"))
    assert opened(renditions.render(SNAPSHOT, "snaps/llama.png", 100, "webp")).size == (96, 64)
    (cached,) = [path for path in cache.rglob("*") if path.is_file()]
    assert cached.parent.name.endswith(".limg")


@pytest.mark.django_db
def test_render__source_gave_way_but_whose_is_it():
    contents = (blob(), blob(64, 96))
    Snapshot.objects.bulk_create(
        [Snapshot(photo=store_blob(SNAPSHOT, "snaps/llama.png", content)) for content in contents]
    )
    with pytest.raises(FileNotFoundError):
        renditions.render(SNAPSHOT, "snaps/llama.png", 100, "webp")


@pytest.mark.django_db
def test_render__source_is_gone_and_others_have_similar_names():
    names = [
        "snaps/llama.png.jpg",
        "snaps/LLAMA.png",
        "snaps/llama.png.96x64-5123.01234567-0123.limg",
    ]
    Snapshot.objects.bulk_create([Snapshot(photo=store_blob(SNAPSHOT, name)) for name in names])
    with pytest.raises(FileNotFoundError):
        renditions.render(SNAPSHOT, "snaps/llama.png", 100, "webp")


def test_read_blob():
    name = store_blob(PHOTO, "photos/llama.png")
    assert renditions.read_blob(PHOTO, name) == blob()


def test_read_blob__damaged(media):
    name = store_blob(PHOTO, "photos/llama.png")
    path = media / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CodecError):
        renditions.read_blob(PHOTO, name)
