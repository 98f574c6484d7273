"""Who sends a rendition's bytes: Django, the storage's own URL, or the server in front.

By storage: ``LATENTIMG["SEND"] = {"renditions": "redirect"}``, with one of

    "stream"                 Django sends them (the default)
    "redirect"               302 to the storage's URL, signed or not
    "x-accel:/protected/"    nginx sends them: an internal location with the storage's files
    "x-sendfile"             Apache (mod_xsendfile) and others send the local file
"""

from hashlib import sha256

from django.core.cache import caches
from django.core.files.storage import Storage
from django.http import HttpResponse, HttpResponseRedirect
from django.utils.encoding import filepath_to_uri

from .conf import conf

X_ACCEL = "x-accel:"
STREAM, REDIRECT, X_SENDFILE = METHODS = ("stream", "redirect", "x-sendfile")

USUAL_EXPIRY = 3600
"""Seconds, of the URL of a storage that does not say."""


def is_method(value: object) -> bool:
    """Whether it may stand in ``SEND``."""
    return value in METHODS or (isinstance(value, str) and value.startswith(f"{X_ACCEL}/"))


def hand_over(alias: str, storage: Storage, name: str) -> HttpResponse | None:
    """A response without content that lets somebody else send a stored file; None to stream it."""
    method = conf.SEND.get(alias, STREAM)
    if method == REDIRECT:
        url, seconds = stable_url(storage, name)
        response: HttpResponse = HttpResponseRedirect(url)
        response.headers["Cache-Control"] = f"max-age={seconds}"
        return response
    if method == X_SENDFILE:
        return HttpResponse(headers={"X-Sendfile": storage.path(name)})
    if method.startswith(X_ACCEL):
        location = method.removeprefix(X_ACCEL).rstrip("/")
        return HttpResponse(headers={"X-Accel-Redirect": f"{location}/{filepath_to_uri(name)}"})
    return None


def stable_url(storage: Storage, name: str) -> tuple[str, int]:
    """The storage's URL, and the seconds for which it is good at least.

    A signed URL is another one each time, which no cache can use. So one is kept for half of its
    time (vercel/next.js#32428).
    """
    seconds = int(getattr(storage, "querystring_expire", USUAL_EXPIRY)) // 2
    cache, key = caches[conf.CACHE], _key(name)
    url = cache.get(key)
    if url is None:
        url = storage.url(name)
        cache.set(key, url, seconds)
    return url, seconds


def is_known(name: str) -> bool:
    """Whether a URL is kept for the file, so that it is there."""
    return REDIRECT in conf.SEND.values() and caches[conf.CACHE].get(_key(name)) is not None


def forget_url(name: str) -> None:
    """For a file that has been deleted."""
    if REDIRECT in conf.SEND.values():
        caches[conf.CACHE].delete(_key(name))


def _key(name: str) -> str:
    return f"latentimg:url:{sha256(name.encode()).hexdigest()}"
