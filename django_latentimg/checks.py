"""System checks of fields and settings."""

from collections.abc import Iterable
from importlib.util import find_spec
from types import UnionType
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.core.files.storage import InvalidStorageError, storages
from django.db import models

from .codec.guard import PATCH_MODES, PREFERENCES
from .conf import WHEN_BUSY, conf
from .links import FORMATS

if TYPE_CHECKING:
    from .fields import LatentImageField

SHORTEST_SOURCE = 30
"""Fewest characters that must be left for a source's name."""


def check_field(field: "LatentImageField") -> Iterable[CheckMessage]:
    """What a field was given: E001 to E008."""
    if not field.widths or not all(isinstance(width, int) and width > 0 for width in field.widths):
        yield Error(
            "'widths' must be one or more positive integers.",
            hint="For example widths=(320, 640, 1280).",
            obj=field,
            id="latentimg.E001",
        )
    if not field.formats or not set(field.formats) <= FORMATS.keys():
        yield Error(
            f"'formats' must be one or more of {', '.join(FORMATS)}.",
            obj=field,
            id="latentimg.E002",
        )
    if not isinstance(field.quality, int) or not 1 <= field.quality <= 100:
        yield Error("'quality' must be an integer from 1 to 100.", obj=field, id="latentimg.E003")
    if field.source_max_length < SHORTEST_SOURCE:
        missing = SHORTEST_SOURCE - field.source_max_length
        yield Error(
            "'max_length' leaves no room for the names of blobs.",
            hint=f"Use at least max_length={(field.max_length or 0) + missing}.",
            obj=field,
            id="latentimg.E004",
        )
    if field.placeholder_field and not _is(
        models.CharField | models.TextField, field.model, field.placeholder_field
    ):
        yield Error(
            f"'placeholder_field' names {field.placeholder_field!r}, which is no text field of "
            f"{field.model._meta.label}.",
            hint="Add a TextField(blank=True, editable=False) of that name.",
            obj=field,
            id="latentimg.E005",
        )
    if field.prefer not in PREFERENCES or field.patches not in PATCH_MODES:
        yield Error(
            f"'prefer' must be one of {', '.join(PREFERENCES)}, "
            f"'patches' one of {', '.join(PATCH_MODES)}.",
            obj=field,
            id="latentimg.E006",
        )
    if field.min_quality is not None and not field.min_quality < 100:
        yield Error(
            "'min_quality' must be below 100, which is SSIMULACRA2 of the source itself.",
            hint="70 is high quality, 90 cannot be told from the source.",
            obj=field,
            id="latentimg.E007",
        )
    if field.focal_field and not _is(models.JSONField, field.model, field.focal_field):
        yield Error(
            f"'focal_field' names {field.focal_field!r}, which is no JSON field of "
            f"{field.model._meta.label}.",
            hint="Add a JSONField(default=list, blank=True) of that name.",
            obj=field,
            id="latentimg.E008",
        )


def _is(kind: type | UnionType, model: type[models.Model], name: str) -> bool:
    try:
        return isinstance(model._meta.get_field(name), kind)
    except FieldDoesNotExist:
        return False


@register
def check_settings(**_: Any) -> list[CheckMessage]:
    """The ``LATENTIMG`` dictionary: E010 to E013; what is installed: W001."""
    found: list[CheckMessage] = []
    try:
        for key, allowed, text in (
            ("EFFORT", range(10), "an integer from 0 to 9"),
            ("MAX_DECODES", range(1, 1001), "an integer from 1 to 1000"),
            ("MAX_WAITING", range(100_001), "an integer from 0 to 100000"),
            ("WHEN_BUSY", WHEN_BUSY, " or ".join(map(repr, WHEN_BUSY))),
        ):
            value = getattr(conf, key)
            if value not in allowed:
                found.append(
                    Error(
                        f"LATENTIMG[{key!r}] must be {text}, not {value!r}.",
                        id="latentimg.E012",
                    )
                )
        if conf.CACHE not in settings.CACHES:
            found.append(
                Error(
                    f"LATENTIMG['CACHE'] names {conf.CACHE!r}, which is not in CACHES.",
                    id="latentimg.E013",
                )
            )
        storages[conf.RENDITION_STORAGE]
    except InvalidStorageError:
        found.append(
            Error(
                f"LATENTIMG['RENDITION_STORAGE'] names {conf.RENDITION_STORAGE!r}, "
                "which is not in STORAGES.",
                id="latentimg.E010",
            )
        )
    except (ImproperlyConfigured, TypeError) as error:
        found.append(Error(str(error), id="latentimg.E011"))
    if find_spec("celery") is None:
        found.append(
            Warning(
                "Celery is not installed: uploads are only compressed by recompress_images.",
                hint="Install django-latentimg[worker], or celery alone where nothing compresses.",
                id="latentimg.W001",
            )
        )
    return found


NOT_SHARED = ("locmem.LocMemCache", "dummy.DummyCache", "filebased.FileBasedCache")
"""The first two end at the process; the third may give a lease to two at once."""


@register(deploy=True)
def check_cache(**_: Any) -> list[CheckMessage]:
    """That processes can share the making of renditions: W002."""
    try:
        backend = settings.CACHES[conf.CACHE]["BACKEND"]
    except (ImproperlyConfigured, KeyError):
        return []  # other checks' affair
    if not backend.removeprefix("django.core.cache.backends.").startswith(NOT_SHARED):
        return []
    return [
        Warning(
            f"Processes cannot agree through {backend} who makes a rendition: where many ask for a "
            "new one, each process makes it.",
            hint=f"Let CACHES[{conf.CACHE!r}], or another one that LATENTIMG['CACHE'] names, be "
            "Redis, Memcached or the database.",
            id="latentimg.W002",
        )
    ]
