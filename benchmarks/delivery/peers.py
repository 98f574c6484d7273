"""What each image app wants in a model, in the settings and in a template.

All show a picture as their documentation says, in the same widths. A peer is imported only in the
process that measures it.
"""

import io
import os
from collections.abc import Callable
from typing import Any, NamedTuple

WIDTHS = (320, 640, 960, 1280)
FIRST = 400
"""Width of the rendition whose first miss is measured."""
QUALITY = int(os.environ["QUALITY"]) if "QUALITY" in os.environ else None
"""Of a peer's renditions, where it can be set; None is the peer's own default."""


class Peer(NamedTuple):
    package: str
    """Its distribution's name."""
    apps: tuple[str, ...]
    attributes: Callable[[], dict[str, Any]]
    """Of the model ``Photo``."""
    markup: str
    """Template of one picture, ``p``."""
    fetch: Callable[[Any], bytes]
    """A rendition of a ``Photo`` in ``FIRST`` pixels, made where it is missing."""
    settings: dict[str, Any] = {}
    set_file: Callable[[Any, Any], None] = lambda photo, file: setattr(photo, "photo", file)
    quality: Callable[[int], dict[str, Any]] | None = None
    """Settings of a quality; None where there is no such setting."""


def ours_attributes() -> dict[str, Any]:
    from django_latentimg.fields import LatentImageField

    return {"photo": LatentImageField(upload_to="photos/", widths=(*WIDTHS, FIRST))}


def ours_fetch(photo: Any) -> bytes:
    from django_latentimg import renditions

    return renditions.render(photo.photo.field, photo.photo.name, FIRST, "webp")


def easy_attributes() -> dict[str, Any]:
    from easy_thumbnails.fields import ThumbnailerImageField

    return {"photo": ThumbnailerImageField(upload_to="photos/")}


def easy_fetch(photo: Any) -> bytes:
    return content(photo.photo.get_thumbnail({"size": (FIRST, 0)}))


def sorl_attributes() -> dict[str, Any]:
    from sorl.thumbnail import ImageField

    return {"photo": ImageField(upload_to="photos/")}


def sorl_fetch(photo: Any) -> bytes:
    from sorl.thumbnail import get_thumbnail

    found: bytes = get_thumbnail(photo.photo, str(FIRST)).read()
    return found


def imagekit_attributes() -> dict[str, Any]:
    from django.db.models import ImageField
    from imagekit.models import ImageSpecField
    from imagekit.processors import ResizeToFit

    def spec(width: int) -> Any:
        options = {} if QUALITY is None else {"quality": QUALITY}
        processors = [ResizeToFit(width)]
        return ImageSpecField(source="photo", processors=processors, format="JPEG", options=options)

    specs = {f"w{width}": spec(width) for width in (*WIDTHS, FIRST)}
    return {"photo": ImageField(upload_to="photos/"), **specs}


def imagekit_fetch(photo: Any) -> bytes:
    spec = getattr(photo, f"w{FIRST}")
    assert spec.url
    return content(spec)


def versatile_attributes() -> dict[str, Any]:
    from versatileimagefield.fields import VersatileImageField

    return {"photo": VersatileImageField(upload_to="photos/")}


def versatile_fetch(photo: Any) -> bytes:
    made = photo.photo.thumbnail[f"{FIRST}x{3 * FIRST}"]
    with photo.photo.storage.open(made.name) as file:
        found: bytes = file.read()
    return found


def pictures_attributes() -> dict[str, Any]:
    from django.db.models import PositiveIntegerField
    from pictures.models import PictureField

    return {
        "photo": PictureField(upload_to="photos/", width_field="width", height_field="height"),
        "width": PositiveIntegerField(null=True),
        "height": PositiveIntegerField(null=True),
    }


def pictures_fetch(photo: Any) -> bytes:
    """It has no single renditions: all are made at once, when the row is saved."""
    photo.photo.save_all()
    (sources,) = photo.photo.aspect_ratios.values()
    picture = min(
        (picture for by_width in sources.values() for picture in by_width.values()),
        key=lambda picture: abs(picture.width - FIRST),
    )
    with picture.storage.open(picture.name) as file:
        found: bytes = file.read()
    return found


def wagtail_attributes() -> dict[str, Any]:
    from django.db.models import PROTECT, ForeignKey

    return {"photo": ForeignKey("wagtailimages.Image", on_delete=PROTECT)}


def wagtail_set_file(photo: Any, file: Any) -> None:
    from wagtail.images.models import Image

    photo.photo = Image.objects.create(title="x", file=file)


def wagtail_fetch(photo: Any) -> bytes:
    return content(photo.photo.get_rendition(f"width-{FIRST}").file)


def content(file: Any) -> bytes:
    file.open("rb")
    try:
        found: bytes = file.read()
        return found
    finally:
        file.close()


def srcset(one: str) -> str:
    """``<img>`` with a candidate for each width, of what ``one`` says about it."""
    parts = [one.replace("WIDTH", str(width)) + f" {width}w" for width in WIDTHS]
    return f'<img srcset="{", ".join(parts)}" sizes="100vw" alt="x">'


PEERS = {
    "django-latentimg": Peer(
        "django-latentimg",
        ("django_latentimg",),
        ours_attributes,
        '{% load latentimg %}{% latent_img p.photo sizes="100vw" alt="x" %}',
        ours_fetch,
    ),
    "easy-thumbnails": Peer(
        "easy-thumbnails",
        ("easy_thumbnails",),
        easy_attributes,
        "{% load thumbnail %}" + srcset("{% thumbnail p.photo 'WIDTHx0' %}"),
        easy_fetch,
        {"THUMBNAIL_DEFAULT_STORAGE_ALIAS": "default"},
        quality=lambda quality: {"THUMBNAIL_QUALITY": quality},
    ),
    "sorl-thumbnail": Peer(
        "sorl-thumbnail",
        ("sorl.thumbnail",),
        sorl_attributes,
        "{% load thumbnail %}"
        + srcset('{% thumbnail p.photo "WIDTH" as t %}{{ t.url }}{% endthumbnail %}'),
        sorl_fetch,
        quality=lambda quality: {"THUMBNAIL_QUALITY": quality},
    ),
    "django-imagekit": Peer(
        "django-imagekit",
        ("imagekit",),
        imagekit_attributes,
        srcset("{{ p.wWIDTH.url }}"),
        imagekit_fetch,
        quality=lambda quality: {},  # in the field
    ),
    "versatileimagefield": Peer(
        "django-versatileimagefield",
        ("versatileimagefield",),
        versatile_attributes,
        srcset("{{ p.photo.thumbnail.WIDTHx3000.url }}"),
        versatile_fetch,
        quality=lambda quality: {"VERSATILEIMAGEFIELD_SETTINGS": {"jpeg_resize_quality": quality}},
    ),
    "django-pictures": Peer(
        "django-pictures",
        ("pictures",),
        pictures_attributes,
        '{% load pictures %}{% picture p.photo img_alt="x" %}',
        pictures_fetch,
        {
            "PICTURES": {
                "USE_PLACEHOLDERS": False,
                "PIXEL_DENSITIES": [1],
                "PROCESSOR": "pictures.tasks._process_picture",  # at once, not by Celery
            }
        },
    ),
    "wagtail": Peer(
        "wagtail",
        ("wagtail.images", "wagtail.admin", "wagtail", "taggit"),
        wagtail_attributes,
        "{% load wagtailimages_tags %}{% srcset_image p.photo width-{"
        + ",".join(map(str, WIDTHS))
        + '} sizes="100vw" alt="x" %}',
        wagtail_fetch,
        {"WAGTAIL_SITE_NAME": "x", "WAGTAILADMIN_BASE_URL": "http://localhost"},
        wagtail_set_file,
        lambda quality: {"WAGTAILIMAGES_JPEG_QUALITY": quality},
    ),
}


def as_jpeg(image: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, "JPEG", quality=90)
    return target.getvalue()
