"""A stored picture to HTML, with no query and no storage call."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.forms.utils import flatatt
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from .links import FORMATS

if TYPE_CHECKING:
    from .fields import LatentImageFieldFile

# HTML, "Attributes": what may not be in a name, which no escaping could help.
_NO_ATTRIBUTE = re.compile(r"[\s\"'<>/=\x00-\x1f]")

# A column's content goes into CSS, where escaping for HTML does not help.
_PLACEHOLDER = re.compile(r"data:image/[a-z0-9.+-]+;base64,[A-Za-z0-9+/=]+")


def picture(
    file: "LatentImageFieldFile | None",
    *,
    sizes: str = "100vw",
    alt: str = "",
    css_class: str = "",
    loading: str | None = "lazy",
    fetchpriority: str | None = None,
    widths: Iterable[int] | str | None = None,
    **attributes: Any,
) -> SafeString:
    """A ``<picture>`` with every format and width of the field; nothing for an empty field.

    ``sizes``: how wide the page shows it, as in HTML. ``widths``: offer only these of the field's,
    as integers or as text such as ``"320 640"``. ``class`` may be given like ``css_class``.

    Any further attribute goes to the ``<img>``: ``data_id=3`` as ``data-id="3"``, ``True`` as a
    bare attribute, ``None`` and ``False`` not at all. ``style`` follows the placeholder.

    Raises ``ValueError`` for a width that the field does not have or an impossible attribute name.
    """
    if not file:
        return SafeString("")
    url = file.picture_url
    offered = file.offered(_chosen_widths(file, widths))

    def srcset(format: str) -> str:
        return ", ".join(f"{url.rendition(width, format)} {real}w" for width, real in offered)

    *preferred, last = file.field.formats
    sources = format_html_join(
        "",
        '<source type="{}" srcset="{}" sizes="{}">',
        ((FORMATS[format], srcset(format), sizes) for format in preferred),
    )
    extra = _attributes(attributes)
    widest, _ = offered[-1]
    width, height = file.known_size or (None, None)
    image = {
        "src": url.rendition(widest, last),
        "srcset": srcset(last),
        "sizes": sizes,
        "width": width,
        "height": height,
        "loading": loading or None,
        "fetchpriority": fetchpriority or None,
        "decoding": "async",
        **extra,
        "alt": alt,
        "class": " ".join(filter(None, (css_class, extra.get("class")))) or None,
        "style": _style(file.placeholder, extra.get("style")),
    }
    return format_html("<picture>{}<img{}></picture>", sources, flatatt(image))


def _chosen_widths(
    file: "LatentImageFieldFile", widths: Iterable[int] | str | None
) -> list[int] | None:
    if isinstance(widths, str):
        widths = [int(width) for width in widths.replace(",", " ").split()]
    chosen = list(widths or ())
    unknown = set(chosen) - set(file.field.widths)
    if unknown:
        raise ValueError(f"{file.field} has no widths {sorted(unknown)}, only {file.field.widths}.")
    return chosen or None


def _attributes(given: dict[str, Any]) -> dict[str, Any]:
    for name in given:
        if not name or _NO_ATTRIBUTE.search(name):
            raise ValueError(f"{name!r} cannot be the name of an attribute.")
    return {name.replace("_", "-"): value for name, value in given.items()}


def _style(placeholder: str, style: Any) -> str | None:
    declarations = []
    if _PLACEHOLDER.fullmatch(placeholder):
        declarations.append(f"background:url({placeholder}) center/cover no-repeat")
    if style:
        declarations.append(str(style))
    return ";".join(declarations) or None
