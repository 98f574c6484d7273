"""Renditions: a stored picture, a width and a format to cached bytes.

Renditions are only a cache: every one can be made again, so a storage that loses them or refuses
them costs time and nothing else.
"""

import base64
import logging
import os
import struct
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import cache, partial
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, cast

from django.core.files import File
from django.core.files.base import ContentFile
from django.core.files.storage import Storage, storages
from django.http import HttpResponse
from PIL import Image, ImageCms

from . import codec, delivery, flights, links, workers
from .codec import pixels
from .codec.errors import ImageError, ModelError
from .conf import conf
from .crops import Crop
from .names import EXTENSION, BlobName

if TYPE_CHECKING:
    from .fields import LatentImageField

logger = logging.getLogger(__name__)

ENCODERS: dict[str, dict[str, Any]] = {
    # One thread: libaom's output depends on their number, and a picture must not on the machine.
    "avif": {"quality": 50, "speed": 6, "max_threads": 1},
    "webp": {"quality": 65, "method": 4},
    "jpeg": {"quality": 60, "progressive": True, "optimize": True},
}
"""Pillow's options: the formats show equally much (SSIMULACRA2, ``benchmarks/renditions.py``)."""

DRAFT_SCALE = 2
"""A JPEG source is decoded at no less than this many times the width that is wanted."""

LEAST_PATIENCE, PATIENCE_PER_MEGAPIXEL = 15, 3
"""Seconds; several times what a decode takes on one core."""
USUAL_PIXELS = 12_000_000
"""Of a source, whose name does not tell."""

PROFILE_DATE = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
"""Stands in place of the day on which the profile was made (ICC.1, 7.2.8)."""

PAUSE = 0.05
"""Seconds between two looks for what a worker makes."""


def rendition_name(name: str, width: int, format: str, crop: Crop | None = None) -> str:
    """Name in the storage of renditions: those of one picture share a folder."""
    part = f"-{crop.across}x{crop.down}-{crop.x}-{crop.y}" if crop else ""
    return f"{_folder(name)}/{width}{part}.{format}"


def cache_name(
    field: "LatentImageField", name: str, width: int, format: str, crop: Crop | None = None
) -> str:
    """Name of a stored picture's rendition in the storage of renditions."""
    return rendition_name(_cache_name(field, name), width, format, crop)


def _folder(name: str) -> str:
    return f"renditions/{name}"


def made(field: "LatentImageField", name: str) -> list[str]:
    """Names, in their storage, of the renditions that there are of the stored picture ``name``."""
    folder = _folder(_cache_name(field, name))
    try:
        _, files = storages[conf.RENDITION_STORAGE].listdir(folder)
    except FileNotFoundError:
        return []
    return [f"{folder}/{file}" for file in files]


def forget(field: "LatentImageField", name: str) -> None:
    """Delete all renditions of the stored picture ``name``."""
    delete(made(field, name))


def delete(names: Iterable[str]) -> None:
    """Delete renditions by their names in their storage, and folders that are empty then."""
    storage = storages[conf.RENDITION_STORAGE]
    folders = set()
    for name in names:
        storage.delete(name)
        delivery.forget_url(name)
        folders.add(name.rpartition("/")[0])
    for folder in folders:
        with suppress(NotImplementedError, OSError):  # no folders there, or others in it
            storage.path(folder)
            storage.delete(folder)


def render(
    field: "LatentImageField", name: str, width: int, format: str, crop: Crop | None = None
) -> bytes:
    """The stored picture ``name``, at most ``width`` pixels wide, in one of ``links.FORMATS``.

    ``crop``: only that part of it, which then is at most so wide.

    All who ask for the same rendition at the same time share one decode (``flights.py``).

    Raises ``FileNotFoundError`` where the picture is not in storage, ``CodecError`` where it
    cannot be decoded or written in this format, ``flights.BusyError`` where too many wait, or where
    a worker makes it that is not waited for, or not any longer.
    """
    key = cache_name(field, name, width, format, crop)
    # What is made of sources needs Pillow only, and is asked for in the minute after an upload.
    misses = _who_makes() if BlobName.parse(name) else "here"
    make = _make if misses == "here" else _await_worker
    try:
        if misses == "later":
            return _find(key) or _ask_for_later(field, name, width, format, crop, key)
        return flights.once(
            key,
            partial(_find, key),
            partial(make, field, name, width, format, crop, key),
            seconds=_patience(name),
        )
    except FileNotFoundError:
        blob = None if BlobName.parse(name) else _blob_made_of(field, name)
        if blob is None:
            raise
        # Filed under the blob's name: the source's renditions have been forgotten for good.
        return render(field, blob, width, format, crop)


def make(
    field: "LatentImageField", name: str, width: int, format: str, crop: Crop | None = None
) -> None:
    """What ``render`` asks a worker for. Raises ``FileNotFoundError``, ``CodecError``."""
    key = cache_name(field, name, width, format, crop)
    if _find(key) is None:
        _make(field, name, width, format, crop, key)


def hand_over(
    field: "LatentImageField", name: str, width: int, format: str, crop: Crop | None = None
) -> HttpResponse | None:
    """A response that lets somebody else send the rendition, made where need be; None to stream.

    Raises what ``render`` raises.
    """
    alias = conf.RENDITION_STORAGE
    method = conf.SEND.get(alias, delivery.STREAM)
    if method == delivery.STREAM:
        return None
    storage, key = storages[alias], cache_name(field, name, width, format, crop)
    url = delivery.kept_url(key) if method == delivery.REDIRECT else None
    if url is None and not storage.exists(key):
        render(field, name, width, format, crop)
        if not storage.exists(key):
            return None  # It could not be saved, or belongs to the blob that the source became.
    return delivery.hand_over(method, storage, key, url)


def nearest(
    field: "LatentImageField", name: str, width: int, format: str, crop: Crop | None = None
) -> bytes | None:
    """The cached rendition in this format whose width comes nearest, the larger ones first."""
    others = sorted(field.widths, key=lambda other: (other < width, abs(other - width)))
    keys = (cache_name(field, name, other, format, crop) for other in others)
    return next((found for key in keys if (found := _find(key)) is not None), None)


def placeholder(field: "LatentImageField", name: str) -> bytes | None:
    """The tiny WebP picture that a row keeps for its page."""
    if not field.placeholder_field:
        return None
    rows = field.model._base_manager.filter(**{field.name: name})
    kept: str | None = rows.values_list(field.placeholder_field, flat=True).first()
    _, _, encoded = (kept or "").partition("#")[0].partition("base64,")
    return base64.b64decode(encoded) or None


def read_blob(field: "LatentImageField", name: str) -> bytes:
    """The blob itself. Raises ``FileNotFoundError``, and ``BlobError`` where it is damaged."""
    with field.storage.open(name) as stored:
        blob: bytes = stored.read()
    codec.Latent.from_bytes(blob)
    return blob


def _cache_name(field: "LatentImageField", name: str) -> str:
    """What renditions of the stored picture ``name`` are filed under.

    A blob's name tells its content. A source's does not: two fields with storages of their own
    may both hold a ``photos/llama.jpg``.
    """
    return name if BlobName.parse(name) else f"{links.label(field)}/{name}"


def _patience(name: str) -> int:
    """Seconds after which whoever makes a rendition of this picture must have been killed."""
    blob_name = BlobName.parse(name)
    pixels = blob_name.width * blob_name.height if blob_name else USUAL_PIXELS
    return LEAST_PATIENCE + PATIENCE_PER_MEGAPIXEL * pixels // 2**20


def _find(key: str) -> bytes | None:
    """A rendition that has been made."""
    try:
        with storages[conf.RENDITION_STORAGE].open(key) as cached:
            content: bytes = cached.read()
            return content
    except OSError:
        return None  # not there, most of all


def _make(
    field: "LatentImageField", name: str, width: int, format: str, crop: Crop | None, key: str
) -> flights.Made:
    content = encode(_picture(field, name, width, crop), format, ENCODERS[format])
    storage = storages[conf.RENDITION_STORAGE]
    try:
        save_whole(storage, key, content)
        if field.storage.exists(name):
            return flights.Made(content, saved=True)
        # Deleted meanwhile, and its renditions forgotten, but for this one.
        storage.delete(key)
    except Exception:
        # The bytes are at hand, and a full disk or an unreachable bucket is no reason to
        # keep them from the client. What storages raise is not for us to know.
        logger.exception("The rendition %s could not be saved.", key)
    return flights.Made(content, saved=False)


def _who_makes() -> str:
    """``here``, ``worker`` or ``later``."""
    if conf.MISSES != "auto":
        return conf.MISSES
    return "here" if any(map(find_spec, ("torch", "onnxruntime"))) else "worker"


def _await_worker(
    field: "LatentImageField", name: str, width: int, format: str, crop: Crop | None, key: str
) -> flights.Made:
    deadline = time.monotonic() + _patience(name)
    _ask_worker(field, name, width, format, crop)
    while (content := _find(key)) is None:
        if time.monotonic() > deadline:
            raise flights.BusyError
        time.sleep(PAUSE)
    return flights.Made(content, saved=True)


def _ask_for_later(
    field: "LatentImageField", name: str, width: int, format: str, crop: Crop | None, key: str
) -> NoReturn:
    # Nobody gives this lease back: who asks again meanwhile does not ask a worker again.
    if flights.Lease(f"later/{key}", _patience(name)).take():
        _ask_worker(field, name, width, format, crop)
    raise flights.BusyError


def _ask_worker(
    field: "LatentImageField", name: str, width: int, format: str, crop: Crop | None
) -> None:
    task = workers.task("render_image")
    if task is None:
        raise ModelError("Decoding needs torch, onnxruntime or a Celery worker.")
    from kombu.exceptions import OperationalError

    try:
        task.apply_async(
            (links.label(field), name, width, format, crop), expires=_patience(name), retry=False
        )
    except OperationalError as error:
        logger.exception("No worker can be asked for renditions.")
        raise flights.BusyError from error


def _picture(field: "LatentImageField", name: str, width: int, crop: Crop | None) -> Image.Image:
    """RGB or RGBA, the picture or that part of it, at most ``width`` pixels wide."""
    blob_name = BlobName.parse(name)
    with field.storage.open(name) as stored:
        if blob_name:
            whole, part = _sizes((blob_name.width, blob_name.height), width, crop)
            picture = codec.decode(
                stored.read(), width=whole[0], model=conf.MODEL, engine=conf.ENGINE
            )
        else:
            source = pixels.open_image(cast(BinaryIO, stored), max_pixels=conf.MAX_PIXELS)
            natural = pixels.displayed_size(source)
            whole, part = _sizes(natural, width, crop)
            draft = (whole[0] * DRAFT_SCALE, whole[1] * DRAFT_SCALE)
            # EXIF may turn the picture by 90 degrees when it is read.
            source.draft(None, draft if source.width == natural[0] else draft[::-1])
            picture = pixels.assemble(*pixels.read(source))
    if picture.size != whole:
        picture = picture.resize(whole, Image.Resampling.LANCZOS)
    if crop is None:
        return picture
    left, top = crop.offset(whole, part)
    return picture.crop((left, top, left + part[0], top + part[1]))


def _sizes(
    natural: tuple[int, int], width: int, crop: Crop | None
) -> tuple[tuple[int, int], tuple[int, int]]:
    """(of the whole picture, of what is shown of it), where that is to be so wide or natural."""
    shown = crop.size(*natural) if crop else natural
    width = min(width, shown[0])
    part = width, max(1, round(shown[1] * width / shown[0]))
    across, down = (max(1, round(side * width / shown[0])) for side in natural)
    return (max(across, part[0]), max(down, part[1])), part


def _blob_made_of(field: "LatentImageField", source: str) -> str | None:
    """The blob that took the place of a source, as far as a row still holds it.

    None, too, where there are several: a name is free again once its file has gone, and nobody
    shall see another one's picture.
    """
    rows = field.model._base_manager.filter(
        **{f"{field.name}__startswith": f"{source}.", f"{field.name}__endswith": EXTENSION}
    )
    names = [
        name
        for name in rows.values_list(field.name, flat=True).distinct()
        if (blob_name := BlobName.parse(name)) and blob_name.source == source
    ]
    return names[0] if len(names) == 1 else None


def encode(picture: Image.Image, format: str, options: dict[str, Any]) -> bytes:
    """With Pillow's options. Raises ``ImageError`` where the format cannot hold the picture."""
    if format == "jpeg" and picture.mode == "RGBA":
        white = Image.new("RGB", picture.size, "white")
        white.paste(picture, mask=picture.getchannel("A"))
        picture = white
    # Without a profile AVIF says that it is sRGB in a few bytes of its own, which the others lack.
    profile = None if format == "avif" else _srgb()
    encoded = BytesIO()
    try:
        picture.save(encoded, format, icc_profile=profile, **options)
    except (OSError, ValueError) as error:  # a picture taller than the format can hold
        width, height = picture.size
        raise ImageError(f"{width} x {height} pixels cannot be written as {format}.") from error
    return encoded.getvalue()


@cache
def _srgb() -> bytes:
    """sRGB's ICC profile, the same bytes on every machine and day."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + PROFILE_DATE + profile[36:]


class _MovableFile(File):  # type: ignore[type-arg]
    """A local file that ``FileSystemStorage`` moves into place, as it does with large uploads."""

    def temporary_file_path(self) -> str:
        return str(self.name)


def save_whole(storage: Storage, name: str, content: bytes) -> None:
    """Write all of a file or nothing; where there is one of that name by now, leave it alone."""
    try:
        folder = os.path.dirname(storage.path(name))
    except NotImplementedError:  # not on this machine; what is uploaded appears whole
        saved = storage.save(name, ContentFile(content))
    else:
        # Another process may read while this one writes: only a move within the folder makes
        # sure that it never meets half a rendition, and passes it on as immutable.
        os.makedirs(folder, exist_ok=True)
        descriptor, path = tempfile.mkstemp(dir=folder, prefix=".")
        try:
            with open(descriptor, "w+b") as file:
                file.write(content)
                file.flush()
                saved = storage.save(name, _MovableFile(file, path))
        finally:
            with suppress(FileNotFoundError):
                os.remove(path)
    if saved != name:
        storage.delete(saved)
