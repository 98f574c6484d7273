"""Which representation of a picture a client gets: by ``Accept`` (RFC 9110, 12.5.1), by its hints.

Not ``HttpRequest.get_preferred_type()``: that forgets what ``q=0`` excludes, answers ``*/*`` with
the first offer where a picture wants the most compatible one, and raises for some malformed
parameters.
"""

from collections.abc import Mapping, Sequence

from .links import BLOB, LATENTS, MEDIA_TYPES

RAW = (BLOB, LATENTS)
"""What only a client that names its type can get."""

HINTS = ["Save-Data", "Sec-CH-Width", "Sec-CH-DPR", "Width", "DPR"]
"""Request headers that ``choose_width`` looks at."""


def choose(accept: str | None, formats: Sequence[str], *, with_blob: bool) -> str:
    """One of ``formats``, or of ``RAW``, which only a client that names its type can get.

    ``formats``: in order of preference, the last one being what every client understands. The
    highest quality wins. Of equals, a type that the client names comes before one that only
    ``image/*`` or ``*/*`` covers; named types are taken in our order of preference, covered ones
    from the compatible end. A client that accepts nothing of all this gets the last format and
    not a 406: something that shows pictures shows that one, whatever it says.
    """
    ranges = _media_ranges(accept or "*/*")
    covered = ranges.get("image/*", ranges.get("*/*", 0.0))
    offers = [*RAW, *formats] if with_blob else list(formats)

    def preference(offer: str) -> tuple[float, bool, int]:
        position = offers.index(offer)
        named = ranges.get(MEDIA_TYPES[offer])
        if named is not None:
            return named, True, -position
        return 0.0 if offer in RAW else covered, False, position

    best = max(offers, key=preference)
    return best if preference(best)[0] > 0 else formats[-1]


def choose_width(headers: Mapping[str, str], widths: Sequence[int], asked: int) -> int:
    """The smallest of ``widths``, at most ``asked``, that suffices by the client's hints.

    ``Sec-CH-Width``, or ``Width`` before it: pixels of the screen. With ``Save-Data: on`` one pixel
    of the picture for every CSS pixel is enough, by ``Sec-CH-DPR``, or ``DPR``; where the client
    does not say how many pixels it has for each, one for two.
    """
    wanted = _positive(headers.get("Sec-CH-Width", headers.get("Width"))) or asked
    if headers.get("Save-Data", "").strip().lower() == "on":
        wanted /= _positive(headers.get("Sec-CH-DPR", headers.get("DPR"))) or 2
    return min((width for width in widths if wanted <= width <= asked), default=asked)


def _positive(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if 0 < number < float("inf") else None


def _media_ranges(accept: str) -> dict[str, float]:
    """Quality, 0 to 1, of every media range; parameters other than ``q`` make no difference."""
    ranges = {}
    for element in accept.split(","):
        media_range, *parameters = element.split(";")
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip().lower() == "q":
                quality = _quality(value)
        ranges[media_range.strip().lower()] = quality
    return ranges


def _quality(value: str) -> float:
    try:
        quality = float(value)
    except ValueError:
        return 1.0
    return quality if 0 <= quality <= 1 else 1.0  # NaN is neither
