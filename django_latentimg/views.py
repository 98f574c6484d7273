"""Renditions over HTTP: signed URLs, caching for ever, and failures that nobody remembers."""

import logging
from hashlib import sha256
from typing import cast

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.core.signing import BadSignature
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe

from . import codec, negotiation, ranges, renditions
from .codec.errors import CodecError, ModelError
from .conf import conf
from .crops import Crop
from .fields import LatentImageField
from .flights import BusyError
from .links import BLOB, LATENTS, MEDIA_TYPES, unsign
from .names import BlobName, source_of

logger = logging.getLogger(__name__)

IMMUTABLE = "public, max-age=31536000, immutable"
"""A blob's name never changes meaning, so neither does what is made of it."""

PROVISIONAL = "public, max-age=300"
"""A source's renditions are shown until it is compressed."""


HARMLESS = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""A picture opened by itself may run nothing and fetch nothing."""

RETRY_AFTER = 2
"""Seconds."""


class NoLatentsError(Exception):
    """The guard has made AVIF of the picture."""


def rendition(
    request: HttpRequest,
    signature: str,
    width: int,
    path: str,
    across: int | None = None,
    down: int | None = None,
) -> HttpResponseBase:
    """A picture of the stored name ``path``, or its part of that ratio, ``width`` pixels wide.

    With the extension ``.avif``, ``.webp`` or ``.jpeg`` in that format, with ``.limg`` as the blob
    itself, with ``.safetensors`` as its latents; without one as what suits the ``Accept`` header.

    403: the signature does not fit. 404: no such field, width or format. 406: latents were asked
    for, and the guard has made AVIF of the picture. 410: the file is gone or damaged. 416: no such
    range. 503: too many others wait for renditions, or this machine lacks what decoding needs.
    """
    ratio = f"{across}/{down}" if across and down else None
    response = _respond(request, signature, width, ratio, path)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = HARMLESS
    if response.status_code not in (200, 206, 304):
        # Each of them may be gone in a second: a replica catches up, a backup comes back. Caches
        # that keep failures regardless shall at least not mix up clients.
        response.headers["Cache-Control"] = "no-store"
        patch_vary_headers(response, ["Accept"])
    return response


@require_safe
def _respond(
    request: HttpRequest, signature: str, width: int, ratio: str | None, path: str
) -> HttpResponseBase:
    try:
        label, focus, name, format = _verify(signature, path)
    except BadSignature:
        return _refuse(403, "The signature does not fit.")
    field = _find_field(label)
    if field is None:
        return _refuse(404, "There is no such field.")
    is_blob = BlobName.parse(name) is not None
    formats = [None, *field.formats, *(negotiation.RAW if is_blob and not ratio else ())]
    if width not in field.widths or format not in formats:
        return _refuse(404, "There is no such width or format.")
    if ratio not in (None, *field.ratios) or (ratio is None) != (focus is None):
        return _refuse(404, "There is no such ratio.")
    crop = Crop.parse(ratio, focus) if ratio and focus else None
    if format:
        return _represent(request, field, name, width, format, crop)

    accept = request.headers.get("Accept")
    chosen = negotiation.choose(accept, field.formats, with_blob=is_blob and not crop)
    deciding = ["Accept"]
    if conf.CLIENT_HINTS:
        deciding += negotiation.HINTS
        width = negotiation.choose_width(request.headers, field.widths, width)
    response = _represent(request, field, name, width, chosen, crop)
    patch_vary_headers(response, deciding)
    return response


def _represent(
    request: HttpRequest,
    field: LatentImageField,
    name: str,
    width: int,
    format: str,
    crop: Crop | None,
) -> HttpResponseBase:
    """The picture in this width and format, as far as the client's conditions let it through."""
    is_blob = BlobName.parse(name) is not None
    if is_blob:
        # Before anything is read: who has what this name gave once has the right bytes.
        etag = _etag(f"{name}/{width}/{format}/{crop}".encode())
        unread = get_conditional_response(request, etag=etag)
        if unread is not None:
            return _cacheable(unread, etag, IMMUTABLE)
    try:
        content = _read(field, name, width, format, crop)
    except BusyError:
        return _busy(field, name, width, format, crop)
    except FileNotFoundError:
        return _refuse(410, "The picture is gone.")
    except NoLatentsError:
        return _refuse(406, "The picture is kept as AVIF and has no latents.")
    except ModelError:
        logger.exception("%s cannot be decoded on this machine.", name)
        return _refuse(503, "The picture cannot be decoded at the moment.")
    except CodecError as error:
        logger.error("%s cannot be delivered: %s", name, error)
        return _refuse(410, "The picture is damaged.")
    response = HttpResponse(content, content_type=MEDIA_TYPES[format])
    response.headers["Content-Length"] = str(len(content))
    response.headers["Content-Disposition"] = _disposition(name, width, format)
    if format in negotiation.RAW:
        # Scripts fetch these, maybe through a CDN; without cookies, as public as a picture.
        response.headers["Access-Control-Allow-Origin"] = "*"
    if not is_blob:
        # A source's name is free again once the file has gone; only the content counts.
        etag = _etag(content)
    _cacheable(response, etag, IMMUTABLE if is_blob else PROVISIONAL)
    conditional = get_conditional_response(request, etag=etag, response=response)
    if conditional is not response:
        assert conditional is not None
        return _cacheable(conditional, etag, PROVISIONAL)
    return ranges.apply(request, response)


def _cacheable(response: HttpResponseBase, etag: str, cache_control: str) -> HttpResponseBase:
    response.headers["ETag"] = etag
    response.headers["Cache-Control"] = cache_control
    return response


def _verify(signature: str, path: str) -> tuple[str, tuple[int, int] | None, str, str | None]:
    """(label of the field, focus, stored name, format or None). Raises ``BadSignature``.

    The signature tells whether ``llama.jpeg`` is the JPEG of ``llama`` or the source
    ``llama.jpeg`` in any format.
    """
    name, _, extension = path.rpartition(".")
    if extension in MEDIA_TYPES:
        try:
            return *unsign(signature, name), name, extension
        except BadSignature:
            pass
    return *unsign(signature, path), path, None


def _find_field(label: str) -> LatentImageField | None:
    """The field ``app.model.field``; None where a later release has dropped or changed it."""
    model, _, name = label.rpartition(".")
    try:
        field = apps.get_model(model)._meta.get_field(name)
    except (LookupError, ValueError, FieldDoesNotExist):
        return None
    return field if isinstance(field, LatentImageField) else None


def _disposition(name: str, width: int, format: str) -> str:
    """What a browser calls the picture when somebody saves it: ``llama-640.avif``."""
    file_name = source_of(name).rpartition("/")[2]
    stem = file_name.rpartition(".")[0] or file_name
    size = "" if format in negotiation.RAW else f"-{width}"
    return cast(str, content_disposition_header(False, f"{stem}{size}.{format}"))


def _etag(content: bytes) -> str:
    return f'"{sha256(content).hexdigest()[:32]}"'


def _read(field: LatentImageField, name: str, width: int, format: str, crop: Crop | None) -> bytes:
    if format == BLOB:
        return renditions.read_blob(field, name)
    if format == LATENTS:
        latent = codec.Latent.from_bytes(renditions.read_blob(field, name))
        if not latent.has_latents:
            raise NoLatentsError(name)
        return latent.safetensors()
    return renditions.render(field, name, width, format, crop)


def _busy(
    field: LatentImageField, name: str, width: int, format: str, crop: Crop | None
) -> HttpResponse:
    """The nearest width that has been made, where the site wants that; else 503."""
    content = None
    if conf.WHEN_BUSY == "nearest":
        content = renditions.nearest(field, name, width, format, crop)
    if content is None:
        response = _refuse(503, "Too many pictures are being decoded.")
        response.headers["Retry-After"] = str(RETRY_AFTER)
    else:
        response = HttpResponse(content, content_type=MEDIA_TYPES[format])
        response.headers["Cache-Control"] = "no-store"
    return response


def _refuse(status: int, reason: str) -> HttpResponse:
    return HttpResponse(reason, status=status, content_type="text/plain; charset=utf-8")
