"""A stored picture to HTML, with no query and no storage call."""

import re
from collections.abc import Callable, Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse
from django.utils.safestring import SafeString

from .codec.models import SD1, space_of
from .conf import conf
from .crops import Crop
from .links import BLOB, FORMATS

if TYPE_CHECKING:
    from .files import LatentImageFieldFile

Placeholder = Literal["picture", "colour", "none"]
PLACEHOLDERS: tuple[Placeholder, ...] = get_args(Placeholder)

DENSITIES = (1, 2, 3)
"""Of screens for which a picture of fixed width is offered: device pixels for each CSS pixel."""

# HTML, "Attributes": what may not be in a name, which no escaping could help.
_NO_ATTRIBUTE = re.compile(r"[\s\"'<>/=\x00-\x1f]")

# A column's content goes into CSS, where escaping for HTML does not help. The mean colour stands
# behind the picture as a URL's fragment, of which browsers make nothing.
_PLACEHOLDER = re.compile(
    r"(?P<picture>data:image/[a-z0-9.+-]+;base64,[A-Za-z0-9+/=]+)(?P<colour>#[0-9a-f]{6})?"
)

_RATIO_AT_THE_END = re.compile(r"(.*\s)?(\d+/\d+)", re.DOTALL | re.ASCII)


def picture(
    file: "LatentImageFieldFile | None",
    *,
    sizes: str = "100vw",
    width: int | str | None = None,
    alt: str | None = None,
    ratio: str | None = None,
    crops: str = "",
    priority: bool = False,
    placeholder: Placeholder = "picture",
    css_class: str = "",
    loading: str | None = None,
    fetchpriority: str | None = None,
    widths: Iterable[int] | str | None = None,
    client: bool = False,
    **attributes: Any,
) -> SafeString:
    """A ``<picture>`` with every format and width of the field; nothing for an empty field.

    ``sizes``: how wide the page shows it, as in HTML; ``auto`` lets the browser find out, if the
    picture is loaded lazily. ``width``: in its place, the CSS pixels that the page always gives
    it. ``alt``: what it shows; the content of the field's ``alt_field`` unless given. ``ratio``:
    one of the field's; only that part is shown. ``crops``: ``(max-width: 40em) 1/1, 16/9``, the
    ratio by media condition, the last one without any. ``priority``: it is seen at once, load it
    first. ``placeholder``: what is seen until it has arrived. ``widths``: offer only these of the
    field's, as integers or as text such as ``"320 640"``. ``client``: browsers that have the
    decoder decode the blob (``docs/client.md``); does nothing for sources, for parts, and for what
    is not loaded lazily. ``class`` may be given like
    ``css_class``; ``loading`` and ``fetchpriority`` follow from ``priority`` unless given, and
    are left out if they are an empty text.

    Any further attribute goes to the ``<img>``: ``data_id=3`` as ``data-id="3"``, ``True`` as a
    bare attribute, ``None`` and ``False`` not at all. ``style`` follows the placeholder.

    Raises ``ValueError`` for a width or ratio that the field does not have, a placeholder that does
    not exist, or an impossible attribute name.
    """
    if not file:
        return SafeString("")
    if loading is None:
        loading = "eager" if priority else "lazy"
    if fetchpriority is None:
        fetchpriority = "high" if priority else ""
    css_width = None if width is None else int(width)
    *conditional, (_, ratio) = _crops(crops) if crops else [("", ratio)]
    sizes = _sizes(sizes, lazy=loading == "lazy")
    chosen = _chosen_widths(file, widths)

    def part(ratio: str | None) -> Part:
        return Part.of(file, ratio, chosen, css_width, sizes)

    shown = part(ratio)
    *preferred, last = file.field.formats
    sources = [
        {"media": media, "type": FORMATS[format], **cut.attributes(format), **cut.dimensions()}
        for media, ratio_there in conditional
        for cut in [part(ratio_there)]
        for format in file.field.formats
    ] + [{"type": FORMATS[format], **shown.attributes(format)} for format in preferred]
    extra = _attributes(attributes)
    image = {
        "src": shown.url(last),
        **shown.attributes(last),
        **shown.dimensions(),
        "loading": loading or None,
        "fetchpriority": fetchpriority or None,
        "decoding": "async",
        "alt": file.alt if alt is None else alt,
        "class": " ".join(filter(None, (css_class, extra.pop("class", "")))) or None,
        "style": _style(file.placeholder, placeholder, extra.pop("style", "")),
        **extra,
    }
    elements = "".join(_element("source", source) for source in sources)
    # A script can keep a browser from downloading what is loaded lazily, and nothing else.
    decodes = client and file.is_latent and loading == "lazy" and not ratio
    blob = shown.address(file.field.widths[0], BLOB) if decodes else None
    start = _element("picture", {"data-latent": blob})
    return SafeString(f"{start}{elements}{_element('img', image)}</picture>")


def client(*, service_worker: bool = False) -> SafeString:
    """The ``<script>`` of pages whose pictures say ``client``, for the ``<head>``.

    ``service_worker``: decode on pages without such pictures too, in a service worker of the whole
    site.
    """
    worker = reverse("django_latentimg:service_worker") if service_worker else None
    source = static("django_latentimg/client/loader.js")
    space = space_of(conf.MODEL)
    told = {"data-space": None if space == SD1 else space, "data-service-worker": worker}
    start = _element("script", {"src": source, **told})
    return SafeString(f"{start}</script>")


def preload(
    file: "LatentImageFieldFile | None",
    *,
    sizes: str = "100vw",
    width: int | str | None = None,
    ratio: str | None = None,
    widths: Iterable[int] | str | None = None,
) -> SafeString:
    """A ``<link rel="preload">`` for a page's ``<head>``: it finds the picture before its tag.

    For the picture of the same arguments, in the field's first format; a browser that does not
    know the format leaves it alone.
    """
    if not file:
        return SafeString("")
    css_width = None if width is None else int(width)
    chosen = _chosen_widths(file, widths)
    shown = Part.of(file, ratio, chosen, css_width, _sizes(sizes, lazy=False))
    format = file.field.formats[0]
    attributes = {
        "rel": "preload",
        "as": "image",
        "type": FORMATS[format],
        "imagesrcset": shown.srcset(format),
        "imagesizes": shown.sizes,
        "fetchpriority": "high",
    }
    return _element("link", attributes)


def url(
    file: "LatentImageFieldFile | None",
    *,
    width: int | str | None = None,
    format: str | None = None,
    ratio: str | None = None,
    absolute: Callable[[str], str] = str,
) -> str:
    """One URL, for ``og:image``, mails, feeds: at least ``width`` pixels wide where there are any.

    Without ``width`` the largest; without ``format`` in the field's last. ``absolute`` puts scheme
    and host before it.
    """
    if not file:
        return ""
    crop = file.crop(ratio)
    offered = file.offered(crop=crop)
    least = float("inf") if width is None else int(width)
    requested, _ = next((offer for offer in offered if offer[1] >= least), offered[-1])
    return absolute(file.rendition(requested, format or file.field.formats[-1], ratio).url)


def srcset(
    file: "LatentImageFieldFile | None",
    *,
    format: str | None = None,
    ratio: str | None = None,
    widths: Iterable[int] | str | None = None,
    absolute: Callable[[str], str] = str,
) -> str:
    """Candidates for a ``srcset`` attribute, by default in the field's last format."""
    if not file:
        return ""
    part = Part.of(file, ratio, _chosen_widths(file, widths), None, "")
    return part.srcset(format or file.field.formats[-1], absolute)


def as_data(
    file: "LatentImageFieldFile | None", *, absolute: Callable[[str], str] = str
) -> dict[str, Any] | None:
    """What a front end needs to show the picture by itself, ready for JSON; None for no picture."""
    if not file:
        return None
    part = Part.of(file, None, None, None, "")
    width, height = file.known_size or (None, None)
    return {
        "width": width,
        "height": height,
        "alt": file.alt,
        "src": absolute(part.url(file.field.formats[-1])),
        "sources": [
            {"type": FORMATS[format], "srcset": part.srcset(format, absolute)}
            for format in file.field.formats
        ],
        "placeholder": file.placeholder or None,
        "blob": absolute(blob) if (blob := file.blob_url) else None,
    }


def absolute(request: HttpRequest | None, base: str = "") -> Callable[[str], str]:
    """Puts scheme and host before a URL: ``base``'s, else the request's.

    Calling it raises ``ValueError`` where there is neither.
    """

    def with_host(url: str) -> str:
        if url.startswith(("http://", "https://", "//")):
            return url  # by LATENTIMG["URL_PREFIX"]
        if base:
            return base.rstrip("/") + url
        if request is None:
            raise ValueError("There is no request to tell the site's host: say base='https://…'.")
        return request.build_absolute_uri(url)

    return with_host


class Part(NamedTuple):
    """A picture, or what a ratio leaves of it, in the widths that a page offers."""

    address: Callable[[int, str], str]
    offered: list[tuple[int, int]]
    """(width in the URL, real width)."""
    size: tuple[int, int] | None
    """Pixels, as far as the row tells."""
    css_width: int | None
    sizes: str | None

    @classmethod
    def of(
        cls,
        file: "LatentImageFieldFile",
        ratio: str | None,
        widths: list[int] | None,
        css_width: int | None,
        sizes: str,
    ) -> "Part":
        crop: Crop | None = file.crop(ratio)
        offered = file.offered(widths, crop)
        if css_width is not None:
            wanted = (css_width * density for density in DENSITIES)
            enough = [
                next((offer for offer in offered if offer[1] >= pixels), offered[-1])
                for pixels in wanted
            ]
            offered = list(dict.fromkeys(enough))
        address = file.picture_url(crop).rendition
        shown = None if css_width is not None else sizes
        return cls(address, offered, file.shown_size(crop), css_width, shown)

    def url(self, format: str) -> str:
        """Of the largest."""
        return self.address(self.offered[-1][0], format)

    def srcset(self, format: str, absolute: Callable[[str], str] = str) -> str:
        def descriptor(real: int) -> str:
            if self.css_width is None:
                return f"{real}w"
            return f"{real / self.css_width:.4g}x"

        return ", ".join(
            f"{absolute(self.address(requested, format))} {descriptor(real)}"
            for requested, real in self.offered
        )

    def attributes(self, format: str) -> dict[str, str | None]:
        return {"srcset": self.srcset(format), "sizes": self.sizes}

    def dimensions(self) -> dict[str, int | None]:
        """So that nothing shifts while it loads."""
        width, height = self.size or (self.css_width, None)
        if self.css_width is not None and width and height:
            width, height = self.css_width, max(1, round(self.css_width * height / width))
        return {"width": width, "height": height}


def _crops(crops: str) -> list[tuple[str, str]]:
    """(media condition, ratio), the last one without a condition."""
    parsed = []
    for crop in crops.split(","):
        match = _RATIO_AT_THE_END.fullmatch(crop.strip())
        if not match:
            raise ValueError(f"{crop.strip()!r} does not end in a ratio such as 16/9.")
        parsed.append(((match[1] or "").strip(), match[2]))
    if not all(media for media, _ in parsed[:-1]) or parsed[-1][0]:
        raise ValueError(f"All but the last of {crops!r} need a media condition.")
    return parsed


def _sizes(sizes: str, *, lazy: bool) -> str:
    """``auto`` only where it holds, for lazy pictures, and with what other browsers understand."""
    first, _, rest = sizes.partition(",")
    if first.strip().lower() != "auto":
        return sizes
    rest = rest.strip() or "100vw"
    return f"auto, {rest}" if lazy else rest


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


def _element(name: str, attributes: Mapping[str, Any]) -> SafeString:
    """A start tag. Says what ``flatatt`` and ``format_html`` would, in a third of their time:
    a page has hundreds of these attributes."""
    parts = [name]
    for key, value in attributes.items():
        if value is True:
            parts.append(key)
        elif value is not None and value is not False:
            text = value.__html__() if hasattr(value, "__html__") else escape(str(value))
            parts.append(f'{key}="{text}"')
    return SafeString(f"<{' '.join(parts)}>")


def _attributes(given: dict[str, Any]) -> dict[str, Any]:
    for name in given:
        if not name or _NO_ATTRIBUTE.search(name):
            raise ValueError(f"{name!r} cannot be the name of an attribute.")
    return {name.replace("_", "-"): value for name, value in given.items()}


def _style(stored: str, kind: Placeholder, style: Any) -> str | None:
    if kind not in PLACEHOLDERS:
        raise ValueError(f"There is no placeholder {kind!r}, only {', '.join(PLACEHOLDERS)}.")
    declarations = []
    match = _PLACEHOLDER.fullmatch(stored)
    if match and conf.INLINE_STYLE:
        if kind == "picture":
            declarations.append(f"background:url({match['picture']}) center/cover no-repeat")
        elif kind == "colour" and match["colour"]:
            declarations.append(f"background:{match['colour']}")
    if style:
        declarations.append(str(style))
    return ";".join(declarations) or None
