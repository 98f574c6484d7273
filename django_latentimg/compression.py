"""The one path from a source in storage to a committed blob.

The order of the steps is what keeps pictures safe: the blob is written under its own new name,
then the row is changed if and only if it still holds the source (compare-and-swap), then what is
no longer needed is deleted. A worker that is killed anywhere leaves a row that points to a
readable file; doing it all again finishes the work and removes what was left lying.
"""

import base64
import hashlib
import io
import json
import logging
import time
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from django.core.exceptions import ObjectDoesNotExist
from django.core.files.base import ContentFile
from django.core.files.storage import Storage
from django.db import models, router, transaction
from django.utils import timezone
from PIL import Image

from . import codec, links, renditions, workers
from .codec import CodecError, Latent, pixels
from .codec.guard import Guard
from .codec.patches import Box
from .conf import conf
from .names import BlobName, source_of
from .signals import compressed

if TYPE_CHECKING:
    from .fields import LatentImageField
    from .models import Compression

logger = logging.getLogger(__name__)

PLACEHOLDER_WIDTH = 24
"""Pixels; with WebP's lowest useful quality, some 150 bytes."""


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt."""

    state: str
    """A value of ``Compression.State``."""
    reason: str = ""
    """Why it failed; of a compressed picture what the guard chose, ``avif (worse)``."""
    source_bytes: int = 0
    blob_bytes: int = 0


def enqueue(field: "LatentImageField", instance: models.Model, source: str) -> None:
    """Ask a worker to compress. Without Celery the picture waits for ``recompress_images``."""
    if not conf.COMPRESS:
        logger.debug("LATENTIMG['COMPRESS'] is off: %s stays a source.", source)
        return
    task = workers.task("compress_image")
    if task is None:
        logger.info("Celery is not installed: %s waits for recompress_images.", source)
        return
    primary_key = instance._meta.pk.value_to_string(instance)
    task.delay(field.model._meta.label_lower, primary_key, field.name, source)


def fingerprint(field: "LatentImageField") -> str:
    """The policy's: 4 hexadecimal digits."""
    policy = {
        "model": conf.MODEL,
        "quality": field.quality,
        "keep_source": field.keep_source,
        "prefer": field.prefer,
        "patches": field.patches,
        "min_quality": field.min_quality,
    }
    return hashlib.sha256(json.dumps(policy, sort_keys=True).encode()).hexdigest()[:4]


def compress(field: "LatentImageField", primary_key: Any, name: str) -> Outcome:
    """Turn the picture that one row holds into a blob of the field's present policy.

    ``name``: what the row holds: a source, or a blob of an older policy, which is made anew from
    its source and gives way after ``LATENTIMG["GRACE"]``. Does nothing where the row no longer
    holds it, other than to remove what an earlier attempt may have left. A picture that cannot be
    compressed stays as it is and is reported in the outcome. Errors of the storage and of the
    database are raised: they may pass.
    """
    from .models import Compression

    source = source_of(name)
    attempt, _ = Compression.objects.get_or_create(
        field=links.label(field), object_id=str(primary_key), source=source
    )
    attempt.attempts += 1
    started = time.monotonic()
    current = _column(field, primary_key)
    try:
        if current == name:
            outcome = _compress(field, primary_key, name, attempt)
        else:
            outcome = _tidy(field, current, name, attempt)
    except FileNotFoundError:
        current = _column(field, primary_key)
        if current == name:
            outcome = Outcome(Compression.State.FAILED, f"{source} is not in storage.")
        else:  # Replaced or deleted while it was read.
            outcome = _tidy(field, current, name, attempt)
    except CodecError as error:
        outcome = Outcome(Compression.State.FAILED, str(error))
    attempt.state = outcome.state
    if outcome.reason or outcome.state != Compression.State.COMPRESSED:
        attempt.reason = outcome.reason  # Else it was compressed by an earlier attempt.
    attempt.source_bytes = outcome.source_bytes or attempt.source_bytes
    attempt.blob_bytes = outcome.blob_bytes or attempt.blob_bytes
    attempt.seconds = time.monotonic() - started
    attempt.save()
    logger.log(
        logging.WARNING if outcome.state == Compression.State.FAILED else logging.INFO,
        "%s: %s %s",
        source,
        outcome.state,
        outcome.reason,
    )
    return outcome


def try_out(field: "LatentImageField", primary_key: Any, name: str) -> tuple[int, int] | None:
    """(bytes of the source, of the blob that it would become); None where that fails."""
    try:
        source_bytes, blob = _encode(field, primary_key, source_of(name))
    except (FileNotFoundError, CodecError):
        return None
    return source_bytes, len(blob)


def _encode(field: "LatentImageField", primary_key: Any, source: str) -> tuple[int, bytes]:
    """(bytes of the source, blob). Raises ``FileNotFoundError``, ``CodecError``."""
    with field.storage.open(source) as stored:
        image = pixels.open_image(cast(BinaryIO, stored), max_pixels=conf.MAX_PIXELS)
        blob = codec.encode(
            image,
            quality=field.quality,
            effort=conf.EFFORT,
            model=conf.MODEL,
            guard=_guard(field, primary_key),
        )
        return stored.size, blob


def _compress(
    field: "LatentImageField", primary_key: Any, name: str, attempt: "Compression"
) -> Outcome:
    storage, state, source = field.storage, type(attempt).State, source_of(name)
    source_bytes, blob = _encode(field, primary_key, source)
    latent = Latent.from_bytes(blob)
    blob_name = str(
        BlobName(source, latent.width, latent.height, latent.digest, fingerprint(field))
    )
    if len(blob_name) > (field.max_length or len(blob_name)):
        return Outcome(state.FAILED, f"{source} is too long a name: its blob's does not fit.")
    leftover, attempt.blob, attempt.state = attempt.blob, blob_name, state.STARTED
    attempt.save()
    if leftover and leftover != blob_name:
        _delete_unless_used(field, leftover)
    _write_once(storage, blob_name, blob)
    columns = {
        field.attname: blob_name,
        field.width_field: latent.width,
        field.height_field: latent.height,
        field.placeholder_field: placeholder(blob) if field.placeholder_field else "",
    }
    rows = _rows(field).filter(pk=primary_key, **{field.attname: name})
    if not rows.update(**{column: value for column, value in columns.items() if column}):
        _delete_unless_used(field, blob_name)
        return Outcome(state.REPLACED, source_bytes=source_bytes)
    _after_commit(field, name, blob_name)
    compressed.send(
        sender=field.model,
        field=field,
        primary_key=primary_key,
        name=blob_name,
        source_bytes=source_bytes,
        blob_bytes=len(blob),
        verdict=latent.verdict,
    )
    verdict = latent.verdict
    kept = f"{verdict.kept} ({verdict.reason})" if verdict else ""
    return Outcome(state.COMPRESSED, kept, source_bytes, len(blob))


def _guard(field: "LatentImageField", primary_key: Any) -> Guard:
    """What the field asks of this row's blob."""
    focal: tuple[Box, ...] = ()
    if field.focal_field:
        column = _rows(field).filter(pk=primary_key).values_list(field.focal_field, flat=True)
        focal = _boxes(column.first() or [])
    return Guard(
        prefer=field.prefer,
        patches=field.patches,
        min_quality=field.min_quality,
        widths=field.widths,
        focal=focal,
    )


def _boxes(rectangles: Any) -> tuple[Box, ...]:
    try:
        return tuple(Box(*(int(edge) for edge in edges)) for edges in rectangles)
    except (TypeError, ValueError) as error:
        raise CodecError(
            f"Focal rectangles are a list of [left, top, right, bottom], not {rectangles!r}."
        ) from error


def _tidy(
    field: "LatentImageField", current: str | None, name: str, attempt: "Compression"
) -> Outcome:
    """The row has moved on: finish what an earlier attempt did not live to do."""
    blob_name = BlobName.parse(current or "")
    if attempt.blob and attempt.blob != current:
        _delete_unless_used(field, attempt.blob)
    if blob_name and blob_name.source == source_of(name):
        _after_commit(field, name, str(blob_name))
        return Outcome(attempt.State.COMPRESSED)
    return Outcome(attempt.State.REPLACED)


def _after_commit(field: "LatentImageField", before: str, now: str) -> None:
    """Once the row points to the blob for good, remove what it no longer needs.

    Files go before renditions: who makes a rendition looks afterwards whether its picture is
    still there.
    """
    using = router.db_for_write(field.model)
    source = source_of(now)
    if not field.keep_source:
        transaction.on_commit(partial(_delete_unless_used, field, source), using=using)
    if before == source:
        transaction.on_commit(partial(renditions.forget, field, source), using=using)
    elif before != now:
        transaction.on_commit(partial(discard_later, field, before, using), using=using)


def discard(field: "LatentImageField", name: str, using: str) -> None:
    """Delete source, blobs and renditions of a picture, unless a row still shows it.

    Of a blob that another of the same picture has replaced, only that.
    """
    from .models import Compression

    source = source_of(name)
    attempts = Compression.objects.filter(field=links.label(field), source=source)
    names = {name, source, *attempts.exclude(blob="").values_list("blob", flat=True)}
    shown = set(
        _rows(field, using)
        .filter(**{f"{field.attname}__in": names})
        .values_list(field.attname, flat=True)
        .distinct()
    )
    if shown:
        # Not what else the ledger names: a worker may be about to put that into a row.
        names = {name} - shown - {source}
    # Files go before renditions, as above.
    for unused in names:
        field.storage.delete(unused)
    for unused in names:
        renditions.forget(field, unused)


def discard_later(field: "LatentImageField", name: str, using: str) -> None:
    """The same once ``LATENTIMG["GRACE"]`` has passed: pages in caches still name the picture."""
    if conf.GRACE <= 0:
        discard(field, name, using)
        return
    enter_discarded(field, name, using)
    free_later()


def enter_discarded(field: "LatentImageField", name: str, using: str) -> None:
    """For ``free_discarded`` once ``LATENTIMG["GRACE"]`` has passed."""
    from .models import Discarded

    Discarded.objects.update_or_create(
        field=links.label(field),
        name=name,
        defaults={"due": timezone.now() + timedelta(seconds=conf.GRACE), "database": using},
    )


def free_later() -> None:
    """Ask a worker for ``free_discarded`` once ``LATENTIMG["GRACE"]`` has passed."""
    task = workers.task("free_discarded")
    if task is None:
        logger.info("Celery is not installed: replaced pictures wait for latentimg_cache.")
        return
    task.apply_async(countdown=conf.GRACE + 1)


def free_discarded() -> int:
    """Delete the pictures whose grace has passed; returns how many."""
    from .models import Discarded

    freed = 0
    for row in Discarded.objects.filter(due__lte=timezone.now()).iterator():
        field = links.find_field(row.field)
        if field is not None:  # Else a release has dropped it, and nobody knows its storage.
            discard(field, row.name, row.database)
        row.delete()
        freed += 1
    return freed


def placeholder(blob: bytes) -> str:
    """The picture, tiny, as a ``data:`` URI of some 200 characters; its mean colour as fragment.

    Empty for a transparent picture, through which it would go on to show.
    """
    if Latent.from_bytes(blob).has_alpha:
        return ""
    target = io.BytesIO()
    small = codec.decode(blob, width=PLACEHOLDER_WIDTH, model=conf.MODEL)
    small.save(target, "WEBP", quality=20, method=6)
    red, green, blue = cast(
        tuple[int, int, int], small.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    )
    picture = base64.b64encode(target.getvalue()).decode("ascii")
    return f"data:image/webp;base64,{picture}#{red:02x}{green:02x}{blue:02x}"


def _rows(field: "LatentImageField", using: str | None = None) -> models.QuerySet[Any]:
    return field.model._base_manager.using(using or router.db_for_write(field.model))


def _column(field: "LatentImageField", primary_key: Any) -> str | None:
    """What the row holds now; None where there is no row."""
    try:
        value = _rows(field).values_list(field.attname, flat=True).get(pk=primary_key)
    except ObjectDoesNotExist:
        return None
    return str(value)


def _delete_unless_used(field: "LatentImageField", name: str) -> None:
    if not _rows(field).filter(**{field.attname: name}).exists():
        field.storage.delete(name)


def _write_once(storage: Storage, name: str, blob: bytes) -> None:
    """Store the blob under exactly this name, which its content determines."""
    if storage.exists(name):
        with storage.open(name) as stored:
            if stored.read() == blob:
                return
        storage.delete(name)  # A killed worker's, cut short.
    saved = storage.save(name, ContentFile(blob))
    if saved != name:
        storage.delete(saved)  # Another worker wrote the same blob first.
