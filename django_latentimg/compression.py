"""The one path from a source in storage to a committed blob.

The order of the steps is what keeps pictures safe: the attempt and the blob's name are entered in
the ledger, the blob is written under its own new name and read back, then the row is changed if and
only if it still holds the source (compare-and-swap), and in the same transaction what is no longer
needed is given to ``discards``. A worker that is killed anywhere leaves a row that points to a
readable file; doing it all again finishes the work.
"""

import base64
import hashlib
import io
import json
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from django.core.exceptions import ObjectDoesNotExist
from django.core.files.base import ContentFile
from django.core.files.storage import Storage
from django.db import DatabaseError, router, transaction
from PIL import Image

from . import codec, discards, ledger, workers
from .codec import CodecError, Latent, container, pixels
from .codec.guard import Guard
from .codec.patches import Box
from .conf import conf
from .discards import rows
from .ledger import Outcome
from .models import Compression
from .names import BlobName, source_of
from .signals import compressed

if TYPE_CHECKING:
    from .fields import LatentImageField

logger = logging.getLogger(__name__)

State = Compression.State

PLACEHOLDER_WIDTH = 24
"""Pixels; with WebP's lowest useful quality, some 150 bytes."""


class TryAgainError(Exception):
    """An attempt failed for a cause that may pass: the storage's, the database's, the machine's."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome

    def __str__(self) -> str:
        return self.outcome.reason


class _GoneError(Exception):
    """The source is not in storage."""


def enqueue(
    field: "LatentImageField",
    primary_key: Any,
    name: str,
    *,
    pixels: int | None = None,
    anew: bool = False,
    backlog: bool = False,
) -> None:
    """Ask a worker to compress. Without Celery the picture waits for ``recompress_images``.

    ``pixels``: how many the picture has, for the time it may take. ``anew``: whether earlier
    failures count no more. ``backlog``: whether nobody is waiting for it. Raises what Celery
    raises when there is no broker; the ledger knows then.
    """
    if not conf.COMPRESS:
        logger.debug("LATENTIMG['COMPRESS'] is off: %s stays a source.", name)
        return
    task = workers.task("compress_image")
    if task is None:
        logger.info("Celery is not installed: %s waits for recompress_images.", name)
        return
    # Before it is sent: the worker may be faster than what comes after.
    ledger.enter(field, primary_key, name, State.QUEUED, anew=anew)
    soft, hard = workers.time_limits(pixels)
    options = dict(conf.BACKLOG_OPTIONS) if backlog else {}
    try:
        task.apply_async(
            (field.model._meta.label_lower, str(primary_key), field.name, name),
            soft_time_limit=soft,
            time_limit=hard,
            **options,
        )
    except Exception:
        ledger.enter(field, primary_key, name, State.UNSENT)
        raise


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
    compressed stays as it is and is reported in the outcome. Raises ``TryAgainError`` for all that
    may pass, unless it has happened ``LATENTIMG["ATTEMPTS"]`` times to this picture.
    """
    try:
        attempt = ledger.begin(field, primary_key, name, fingerprint(field))
    except DatabaseError as error:
        raise TryAgainError(_told(State.WAITING, error)) from error
    if attempt.state == State.QUARANTINED:
        return Outcome(State.QUARANTINED, attempt.reason)
    started = time.monotonic()
    try:
        outcome = _attempt(field, primary_key, name, attempt)
    except Exception as error:
        exhausted = attempt.attempts >= conf.ATTEMPTS
        outcome = _told(State.QUARANTINED if exhausted else State.WAITING, error)
        logger.warning("%s: %s", attempt, outcome.reason, exc_info=True)
        with suppress(DatabaseError):  # Which may be what has failed.
            ledger.end(attempt, outcome, time.monotonic() - started)
        if exhausted:
            return outcome
        raise TryAgainError(outcome) from error
    try:
        ledger.end(attempt, outcome, time.monotonic() - started)
    except DatabaseError as error:
        raise TryAgainError(_told(State.WAITING, error)) from error
    level = logging.WARNING if outcome.state == State.FAILED else logging.INFO
    logger.log(level, "%s %s", attempt, outcome.reason)
    return outcome


def _told(state: State, error: Exception) -> Outcome:
    return Outcome(state, f"{type(error).__name__}: {error}")


def _attempt(
    field: "LatentImageField", primary_key: Any, name: str, attempt: Compression
) -> Outcome:
    current = column(field, primary_key)
    if current != name:
        return _tidy(field, current, name, attempt)
    try:
        return _compress(field, primary_key, name, attempt)
    except _GoneError as error:
        current = column(field, primary_key)
        if current == name:
            return Outcome(State.FAILED, str(error))
        return _tidy(field, current, name, attempt)  # Replaced or deleted while it was read.
    except CodecError as error:
        return Outcome(State.FAILED, str(error))


def is_kept(field: "LatentImageField", blob_name: BlobName, attempt: Compression) -> bool:
    """Whether the file under the source's name is the source that the blob was made from.

    A source that was deleted has left its name to whoever uploads the next ``llama.jpg``.
    """
    if not field.storage.exists(blob_name.source):
        return False
    if field.keep_source and blob_name.policy == fingerprint(field):
        return True  # The policy has kept it ever since.
    if not attempt.source_bytes:
        return field.keep_source
    return bool(field.storage.size(blob_name.source) == attempt.source_bytes)


def try_out(field: "LatentImageField", primary_key: Any, name: str) -> tuple[int, int] | None:
    """(bytes of the source, of the blob that it would become); None where that fails."""
    try:
        source_bytes, blob = _encode(field, primary_key, source_of(name))
    except (_GoneError, CodecError):
        return None
    return source_bytes, len(blob)


def _encode(field: "LatentImageField", primary_key: Any, source: str) -> tuple[int, bytes]:
    """(bytes of the source, blob). Raises ``_GoneError``, ``CodecError``."""
    try:
        return _encode_once(field, primary_key, source)
    except CodecError:
        # A storage may have cut it short: what is no picture the second time is none.
        return _encode_once(field, primary_key, source)


def _encode_once(field: "LatentImageField", primary_key: Any, source: str) -> tuple[int, bytes]:
    try:
        stored = field.storage.open(source)
    except FileNotFoundError as error:
        raise _GoneError(f"{source} is not in storage.") from error
    with stored:
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
    field: "LatentImageField", primary_key: Any, name: str, attempt: Compression
) -> Outcome:
    source, using = source_of(name), router.db_for_write(field.model)
    older = BlobName.parse(name)
    if older and not is_kept(field, older, attempt):
        raise _GoneError(f"{source} is not in storage.")
    source_bytes, blob = _encode(field, primary_key, source)
    blob_name, blob = _store(field, source, blob, attempt)
    latent = Latent.from_bytes(blob)
    columns = {
        field.attname: blob_name,
        field.width_field: latent.width,
        field.height_field: latent.height,
        field.placeholder_field: placeholder(blob) if field.placeholder_field else "",
    }
    row = rows(field, using).filter(pk=primary_key, **{field.attname: name})
    with transaction.atomic(using=using):
        swapped = row.update(**{column: value for column, value in columns.items() if column})
        if swapped and name != blob_name:
            if not field.keep_source:
                discards.discard(field, source, using=using)
            if name == source:
                discards.forget_renditions(field, source, using=using)
            else:
                discards.discard(field, name, using=using, after=conf.GRACE)
    if not swapped:  # Replaced or deleted, or another worker was first.
        return _tidy(field, column(field, primary_key), name, attempt)
    verdict = latent.verdict
    compressed.send(
        sender=field.model,
        field=field,
        primary_key=primary_key,
        name=blob_name,
        source_bytes=source_bytes,
        blob_bytes=len(blob),
        verdict=verdict,
    )
    kept = f"{verdict.kept} ({verdict.reason})" if verdict else ""
    return Outcome(State.COMPRESSED, kept, source_bytes, len(blob))


def _store(
    field: "LatentImageField", source: str, blob: bytes, attempt: Compression
) -> tuple[str, bytes]:
    """Write the blob under the name that its content determines; returns both.

    Where that name is taken by other bytes, a killed worker's, cut short, or those of one that is
    still writing, it is left to them, and the blob gets salt.
    """
    for _ in range(2):
        latent = Latent.from_bytes(blob)
        name = str(BlobName.of(latent, source, attempt.policy))
        if len(name) > (field.max_length or len(name)):
            raise CodecError(f"{source} is too long a name: its blob's does not fit.")
        leftover = attempt.blob
        ledger.write(attempt, blob=name)
        if leftover and leftover != name:
            _leave(field, leftover)
        discards.keep(field, name)
        if _write_once(field.storage, name, blob):
            return name, blob
        _leave(field, name)
        blob = container.salted(blob)
    raise OSError("The storage does not give back what it was given.")


def _write_once(storage: Storage, name: str, blob: bytes) -> bool:
    """Whether the storage now holds the blob under exactly this name."""
    if not storage.exists(name):
        saved = storage.save(name, ContentFile(blob))
        if saved != name:
            storage.delete(saved)  # Another worker wrote the same blob first.
    # What a storage says it has written a row may only point to once it has been seen there.
    with storage.open(name) as stored:
        return bool(stored.read() == blob)


def _leave(field: "LatentImageField", blob_name: str) -> None:
    """Delete a blob that no row shows, once no worker can be about to put it into one."""
    using = router.db_for_write(field.model)
    discards.discard(field, blob_name, using=using, after=workers.longest())


def _guard(field: "LatentImageField", primary_key: Any) -> Guard:
    """What the field asks of this row's blob."""
    focal: tuple[Box, ...] = ()
    if field.focal_field:
        column = rows(field).filter(pk=primary_key).values_list(field.focal_field, flat=True)
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
    field: "LatentImageField", current: str | None, name: str, attempt: Compression
) -> Outcome:
    """The row has moved on: give up what an earlier attempt did not live to put into it."""
    if attempt.blob and attempt.blob != current:
        _leave(field, attempt.blob)
    shown = BlobName.parse(current or "")
    if shown and shown.source == source_of(name):
        return Outcome(State.COMPRESSED)
    return Outcome(State.REPLACED)


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


def column(field: "LatentImageField", primary_key: Any) -> str | None:
    """What the row holds now; None where there is no row."""
    try:
        value = rows(field).values_list(field.attname, flat=True).get(pk=primary_key)
    except ObjectDoesNotExist:
        return None
    return str(value)
