"""Renditions over HTTP: signed URLs, caching for ever, and failures that nobody remembers."""

import json
import logging
import time
from hashlib import sha256
from typing import NamedTuple, cast

from django.core.signing import BadSignature
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.templatetags.static import static
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe

from . import codec, negotiation, ranges, renditions
from .codec.errors import CodecError, ModelError
from .codec.models import SD1
from .conf import conf
from .crops import Crop
from .fields import LatentImageField
from .flights import BusyError
from .links import BLOB, LATENTS, MEDIA_TYPES, Signed, find_field, unsign
from .names import BlobName, source_of

logger = logging.getLogger(__name__)

IMMUTABLE = "public, max-age=31536000, immutable"
"""A blob's name never changes meaning, so neither does what is made of it."""

PROVISIONAL_SECONDS = 300
"""A source's renditions are shown until it is compressed."""

NOT_KEPT = "no-store"

HARMLESS = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""A picture opened by itself may run nothing and fetch nothing."""

RETRY_AFTER = 2
"""Seconds."""


class NoLatentsError(Exception):
    """The guard has made AVIF of the picture, or they are of a space that nobody else reads."""


class Asked(NamedTuple):
    """Which picture a URL names, and as what the client gets it."""

    field: LatentImageField
    name: str
    """The stored name."""
    width: int
    format: str
    """One of ``links.MEDIA_TYPES``."""
    crop: Crop | None

    @property
    def is_blob(self) -> bool:
        return BlobName.parse(self.name) is not None

    @property
    def is_raw(self) -> bool:
        """Whether it is the blob or its latents, and not a rendition."""
        return self.format in negotiation.RAW

    @property
    def etag(self) -> str:
        """Of what is made of a blob: its name never changes meaning."""
        return _etag(f"{self.name}/{self.width}/{self.format}/{self.crop}".encode())

    @property
    def file_name(self) -> str:
        """What a browser saves it as: ``llama-640.avif``."""
        file_name = source_of(self.name).rpartition("/")[2]
        stem = file_name.rpartition(".")[0] or file_name
        size = "" if self.is_raw else f"-{self.width}"
        return f"{stem}{size}.{self.format}"


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

    403: the signature does not fit or has run out, or the field's ``permission`` says no. 404: no
    such field, width, format or ratio. 406: latents were asked for, and the guard has made AVIF of
    the picture. 410: the file is gone or damaged. 416: no such range. 503: too many others wait for
    renditions, or this machine lacks what decoding needs.
    """
    ratio = f"{across}/{down}" if across and down else None
    response = _respond(request, signature, width, ratio, path)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = HARMLESS
    if response.status_code >= 400:
        # Each of them may be gone in a second: a replica catches up, a backup comes back. Caches
        # that keep failures regardless shall at least not mix up clients.
        response.headers["Cache-Control"] = NOT_KEPT
        patch_vary_headers(response, ["Accept"])
    return response


@require_safe
def _respond(
    request: HttpRequest, signature: str, width: int, ratio: str | None, path: str
) -> HttpResponseBase:
    try:
        signed, name, format = _verify(signature, path)
    except BadSignature:
        return _refuse(403, "The signature does not fit.")
    field = find_field(signed.label)
    if field is None:
        return _refuse(404, "There is no such field.")
    if not field.may_be_seen(request, name, signed.expires):
        return _refuse(403, "This picture may not be seen, or not any more.")
    is_blob = BlobName.parse(name) is not None
    formats = [None, *field.formats, *(negotiation.RAW if is_blob and not ratio else ())]
    if width not in field.widths or format not in formats:
        return _refuse(404, "There is no such width or format.")
    if ratio not in (None, *field.ratios) or (ratio is None) != (signed.focus is None):
        return _refuse(404, "There is no such ratio.")
    crop = Crop.parse(ratio, signed.focus) if ratio and signed.focus else None
    cache_control = _cache_control(field, is_blob, signed.expires)
    if format:
        return _represent(request, Asked(field, name, width, format, crop), cache_control)

    accept = request.headers.get("Accept")
    chosen = negotiation.choose(accept, field.formats, with_blob=is_blob and not crop)
    deciding = ["Accept"]
    if conf.CLIENT_HINTS:
        deciding += negotiation.HINTS
        width = negotiation.choose_width(request.headers, field.widths, width)
    response = _represent(request, Asked(field, name, width, chosen, crop), cache_control)
    patch_vary_headers(response, deciding)
    return response


def _verify(signature: str, path: str) -> tuple[Signed, str, str | None]:
    """(what is signed, stored name, format or None). Raises ``BadSignature``.

    The signature tells whether ``llama.jpeg`` is the JPEG of ``llama`` or the source
    ``llama.jpeg`` in any format.
    """
    name, _, extension = path.rpartition(".")
    if extension in MEDIA_TYPES:
        try:
            return unsign(signature, name), name, extension
        except BadSignature:
            pass
    return unsign(signature, path), path, None


def _cache_control(field: LatentImageField, is_blob: bool, expires: int | None) -> str:
    if field.permission:
        return "private, no-cache"  # Asked again each time, and answered by a 304.
    if field.expires and expires:
        left = expires - int(time.time())
        return f"private, max-age={left if is_blob else min(left, PROVISIONAL_SECONDS)}"
    return IMMUTABLE if is_blob else f"public, max-age={PROVISIONAL_SECONDS}"


def _represent(request: HttpRequest, asked: Asked, cache_control: str) -> HttpResponseBase:
    """The picture as asked, as far as the client's conditions let it through."""
    etag = asked.etag if asked.is_blob else None
    if etag:
        # Before anything is read: who has what this name gave once has the right bytes.
        unread = get_conditional_response(request, etag=etag)
        if unread is not None:
            return _cacheable(unread, etag, cache_control)
    try:
        handed = None if asked.is_raw else renditions.hand_over(*asked)
        response = handed or HttpResponse(_read(asked))
    except BusyError:
        return _busy(asked)
    except FileNotFoundError:
        return _refuse(410, "The picture is gone.")
    except NoLatentsError:
        return _refuse(406, "The picture has no latents that other programs read.")
    except ModelError:
        logger.exception("%s cannot be decoded on this machine.", asked.name)
        return _refuse(503, "The picture cannot be decoded at the moment.")
    except CodecError as error:
        logger.error("%s cannot be delivered: %s", asked.name, error)
        return _refuse(410, "The picture is damaged.")
    if isinstance(handed, HttpResponseRedirect):
        kept = handed.headers["Cache-Control"]
        handed.headers["Cache-Control"] = f"public, {kept}" if asked.field.is_public else NOT_KEPT
        return handed
    response.headers["Content-Type"] = MEDIA_TYPES[asked.format]
    response.headers["Content-Disposition"] = cast(
        str, content_disposition_header(False, asked.file_name)
    )
    if handed:
        response.headers["Cache-Control"] = cache_control
        return response  # Whoever sends the bytes knows their length, and what has changed.
    response.headers["Content-Length"] = str(len(response.content))
    if asked.is_raw and asked.field.is_public:
        # Scripts fetch these, maybe through a CDN; without cookies, as public as a picture.
        response.headers["Access-Control-Allow-Origin"] = "*"
    # A source's name is free again once the file has gone; only the content counts.
    etag = etag or _etag(response.content)
    _cacheable(response, etag, cache_control)
    conditional = get_conditional_response(request, etag=etag, response=response)
    if conditional is not None and conditional is not response:
        return _cacheable(conditional, etag, cache_control)
    return ranges.apply(request, response)


def _read(asked: Asked) -> bytes:
    if asked.format == BLOB:
        return renditions.read_blob(asked.field, asked.name)
    if asked.format == LATENTS:
        latent = codec.Latent.from_bytes(renditions.read_blob(asked.field, asked.name))
        if not latent.has_latents or latent.space != SD1:
            raise NoLatentsError(asked.name)
        return latent.safetensors()
    return renditions.render(*asked)


def _busy(asked: Asked) -> HttpResponse:
    """The nearest width that has been made, or the placeholder, as the site wants; else 503."""
    content = renditions.nearest(*asked) if conf.WHEN_BUSY != "refuse" else None
    media_type = MEDIA_TYPES[asked.format]
    if content is None and conf.WHEN_BUSY == "placeholder":
        content, media_type = renditions.placeholder(asked.field, asked.name), MEDIA_TYPES["webp"]
    if content is None:
        response = _refuse(503, "The picture is not ready.")
        response.headers["Retry-After"] = str(RETRY_AFTER)
    else:
        response = HttpResponse(content, content_type=media_type)
        response.headers["Cache-Control"] = NOT_KEPT
    return response


def _cacheable(response: HttpResponseBase, etag: str, cache_control: str) -> HttpResponseBase:
    response.headers["ETag"] = etag
    response.headers["Cache-Control"] = cache_control
    return response


def _etag(content: bytes) -> str:
    return f'"{sha256(content).hexdigest()[:32]}"'


@require_safe
def service_worker(request: HttpRequest) -> HttpResponse:
    """The client's service worker, for the whole site and not only for URLs below this one.

    It stands here, and not among static files, because it has to come from the site's own host,
    with a header.
    """
    module = json.dumps(static("django_latentimg/client/service-worker.js"))
    response = HttpResponse(f"import {module};\n", content_type="text/javascript")
    response.headers["Service-Worker-Allowed"] = "/"
    response.headers["Cache-Control"] = "no-cache"
    return response


def _refuse(status: int, reason: str) -> HttpResponse:
    return HttpResponse(reason, status=status, content_type="text/plain; charset=utf-8")
