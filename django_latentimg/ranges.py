"""One range of a response's bytes (RFC 9110, 14)."""

import re

from django.http import HttpRequest, HttpResponse

_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,15})\s*-\s*(\d{0,15})\s*", re.ASCII | re.IGNORECASE)


def apply(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """The part of a 200 that the client asks for, with its headers; 206 or 416.

    The response itself where the client wants all of it, more than one range, something that is no
    range, or a range of what has changed since.
    """
    response.headers["Accept-Ranges"] = "bytes"
    asked = _RANGE.fullmatch(request.headers.get("Range", ""))
    condition = request.headers.get("If-Range")
    if request.method != "GET" or not asked or condition not in (None, response.headers["ETag"]):
        return response
    first, last = asked.groups()
    length = len(response.content)
    if not first and not last:
        return response
    if not first:
        start, stop = max(0, length - int(last)), length
    else:
        start, stop = int(first), min(int(last) + 1 if last else length, length)
        if last and int(last) < start:
            return response  # no valid range, to be ignored
    if start >= length or start == stop:
        refusal = HttpResponse(status=416, content_type="text/plain")
        refusal.headers["Content-Range"] = f"bytes */{length}"
        return refusal
    response.content = response.content[start:stop]
    response.status_code = 206
    response.headers["Content-Length"] = str(stop - start)
    response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{length}"
    return response
