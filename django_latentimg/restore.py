"""The way back from a blob to an ordinary file, so that a site can do without this app.

As in ``compression.py`` the order of the steps keeps pictures safe: the file is there, then the row
is changed if and only if it still holds the blob, then, after ``LATENTIMG["GRACE"]``, the blob
goes. A process that is killed anywhere leaves a row that points to a readable picture.
"""

import logging
import os
from typing import TYPE_CHECKING, Any

from django.db import models, router, transaction

from . import codec, compression, discards, ledger, renditions, workers
from .codec import CodecError, Latent
from .conf import conf
from .discards import rows
from .ledger import Outcome
from .models import Compression
from .names import BlobName

if TYPE_CHECKING:
    from .fields import LatentImageField

logger = logging.getLogger(__name__)

State = Compression.State

KEPT, DECODED = "source", "decoded"
"""Where a restored file is from: the outcome's reason."""

FORMATS = {".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".avif": "avif"}
"""By the source's extension, of the file that replaces its blob; WebP for all others."""
EXTENSIONS = {"jpeg": ".jpg", "webp": ".webp", "avif": ".avif"}

ENCODERS: dict[str, dict[str, Any]] = {
    "avif": {"quality": 92, "subsampling": "4:4:4", "speed": 6},
    "webp": {"quality": 98, "use_sharp_yuv": True, "method": 4},
    "jpeg": {"quality": 95, "subsampling": "4:4:4", "progressive": True, "optimize": True},
}
"""Pillow's options: SSIMULACRA2 finds at least 90 beside what was decoded, which nobody can tell
from it. The blob has lost its share, and encoding shall not add to that."""

WEBP_MOST = 16383
"""Pixels of a side."""


def restore(field: "LatentImageField", primary_key: Any, name: str) -> Outcome:
    """Turn the blob ``name`` that one row holds into an ordinary file.

    Into its source, where that was kept; else into what it decodes to. Companion columns stay. Does
    nothing where the row no longer holds the blob. One that is missing or damaged, without a
    source, stays and is reported in the outcome, whose ``source_bytes`` are the ordinary file's.
    Errors of the storage and of the database are raised: they may pass.
    """
    blob_name = BlobName.parse(name)
    if blob_name is None or not _row(field, primary_key, name).exists():
        return Outcome(State.REPLACED)
    attempt, _ = Compression.objects.get_or_create(**ledger.key(field, primary_key, name))
    try:
        if compression.is_kept(field, blob_name, attempt):
            restored, origin = blob_name.source, KEPT
        else:
            restored, origin = _decode_into_storage(field, name, attempt), DECODED
        sizes = _size(field, restored), _size(field, name)
    except FileNotFoundError:
        if not _row(field, primary_key, name).exists():
            return Outcome(State.REPLACED)  # Replaced or deleted while it was read.
        outcome = Outcome(State.FAILED, f"{name} is not in storage.")
    except CodecError as error:
        outcome = Outcome(State.FAILED, str(error))
    else:
        if _swap(field, primary_key, name, restored, attempt):
            return Outcome(State.RESTORED, origin, *sizes)
        if origin == DECODED:
            # Another row may be about to show it since it shares the blob.
            using = router.db_for_write(field.model)
            discards.discard(field, restored, using=using, after=workers.longest())
        return Outcome(State.REPLACED)
    logger.warning("%s cannot be restored: %s", name, outcome.reason)
    return outcome


def try_out(field: "LatentImageField", primary_key: Any, name: str) -> tuple[int, int] | None:
    """(bytes of the file that the blob would become, of the blob); None where that fails."""
    blob_name = BlobName.parse(name)
    if blob_name is None:
        return None
    attempts = ledger.entries().filter(**ledger.key(field, primary_key, name))
    try:
        if compression.is_kept(field, blob_name, attempts.first() or Compression()):
            return _size(field, blob_name.source), _size(field, name)
        blob = _read(field, name)
        return len(_decode(blob, _format(blob_name, blob))), len(blob)
    except (FileNotFoundError, CodecError):
        return None


def _decode_into_storage(field: "LatentImageField", name: str, attempt: Compression) -> str:
    """Name of the decoded file. Raises ``FileNotFoundError``, ``CodecError``.

    The name tells the blob, and files appear whole: one that is there is what an attempt that was
    killed has left, or what another one has just written.
    """
    blob_name, blob = BlobName.parse(name), _read(field, name)
    assert blob_name
    format = _format(blob_name, blob)
    stem = os.path.splitext(blob_name.source)[0]
    restored = f"{stem}.{blob_name.digest}{EXTENSIONS[format]}"
    # Before it is written, so that it goes with the blob where this process is killed, and where
    # somebody replaces the picture who has not seen it.
    ledger.write(attempt, blob=restored, state=State.STARTED)
    if not field.storage.exists(restored):
        renditions.save_whole(field.storage, restored, _decode(blob, format))
    return restored


def _read(field: "LatentImageField", name: str) -> bytes:
    with field.storage.open(name) as stored:
        blob: bytes = stored.read()
        return blob


def _format(blob_name: BlobName, blob: bytes) -> str:
    """Which of ``ENCODERS``: the source's own as far as that can hold the picture."""
    latent = Latent.from_bytes(blob)
    format = FORMATS.get(os.path.splitext(blob_name.source)[1].lower(), "webp")
    if format == "jpeg" and latent.has_alpha:
        format = "webp"
    if format == "webp" and max(latent.width, latent.height) > WEBP_MOST:
        format = "avif"
    return format


def _decode(blob: bytes, format: str) -> bytes:
    picture = codec.decode(blob, model=conf.MODEL, engine=conf.ENGINE)
    return renditions.encode(picture, format, ENCODERS[format])


def _swap(
    field: "LatentImageField", primary_key: Any, name: str, restored: str, attempt: Compression
) -> bool:
    """Change the row if it still holds the blob. The blob is discarded then, and only then."""
    using = router.db_for_write(field.model)
    with transaction.atomic(using=using):
        if not _row(field, primary_key, name).update(**{field.attname: restored}):
            return False
        ledger.write(attempt, state=State.RESTORED)
        discards.discard(field, name, using=using, after=conf.GRACE)
    return True


def _size(field: "LatentImageField", name: str) -> int:
    """Bytes; 0 where it is missing."""
    try:
        return int(field.storage.size(name))
    except FileNotFoundError:
        return 0


def _row(field: "LatentImageField", primary_key: Any, name: str) -> models.QuerySet[Any]:
    """The row, if it holds ``name``."""
    return rows(field).filter(pk=primary_key, **{field.attname: name})
