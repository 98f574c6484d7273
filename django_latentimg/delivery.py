"""Who sends a rendition's bytes: Django, the storage's own URL, or the server in front.

By storage: ``LATENTIMG["SEND"] = {"renditions": "redirect"}``, with one of

    "stream"                 Django sends them (the default)
    "redirect"               302 to the storage's URL, signed or not
    "x-accel:/protected/"    nginx sends them: an internal location with the storage's files
    "x-sendfile"             Apache (mod_xsendfile) and others send the local file
"""

import os

from django.core.files.storage import Storage
from django.http import HttpResponse, HttpResponseRedirect
from django.utils.encoding import filepath_to_uri

from . import shared_cache
from .conf import conf

X_ACCEL = "x-accel:"
STREAM, REDIRECT, X_SENDFILE = METHODS = ("stream", "redirect", "x-sendfile")

USUAL_EXPIRY = 3600
"""Seconds, of the URL of a storage that does not say."""


def is_method(value: object) -> bool:
    """Whether it may stand in ``SEND``."""
    return value in METHODS or (isinstance(value, str) and value.startswith(f"{X_ACCEL}/"))


def hand_over(method: str, storage: Storage, name: str, url: str | None) -> HttpResponse:
    """A response without content that lets somebody else send a stored file.

    ``method``: of ``SEND``, but for ``STREAM``; ``url``: what ``kept_url`` said.
    """
    if method == REDIRECT:
        seconds = int(getattr(storage, "querystring_expire", USUAL_EXPIRY)) // 2
        if url is None:
            url = storage.url(name)
            shared_cache.ask("set", _key(name), url, seconds)
        response = HttpResponseRedirect(url)
        response.headers["Cache-Control"] = f"max-age={seconds}"
        return response
    if method == X_SENDFILE:
        # The bytes of the path; Django would write other letters than Latin-1's as MIME does.
        path = os.fsencode(storage.path(name)).decode("latin-1")
        return HttpResponse(headers={"X-Sendfile": path})
    location = method.removeprefix(X_ACCEL).rstrip("/")
    return HttpResponse(headers={"X-Accel-Redirect": f"{location}/{filepath_to_uri(name)}"})


def kept_url(name: str) -> str | None:
    """The storage's URL of a file that is there, as long as it is good.

    A signed URL is another one each time, which no cache can use. So one is kept for half of its
    time (vercel/next.js#32428).
    """
    url: str | None = shared_cache.ask("get", _key(name))
    return url


def forget_url(name: str) -> None:
    """For a file that has been deleted."""
    if REDIRECT in conf.SEND.values():
        shared_cache.ask("delete", _key(name))


def _key(name: str) -> str:
    return shared_cache.key_of("url", name)
