"""System checks of fields and settings."""

import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.core.files.storage import InvalidStorageError, storages
from django.db import models
from django.template import engines

from . import workers
from .codec.guard import PATCH_MODES, PREFERENCES
from .codec.models import ENGINES
from .conf import MISSES, WHEN_BUSY, conf
from .crops import Crop
from .delivery import is_method
from .links import FORMATS
from .storage import SourcesAndBlobs

if TYPE_CHECKING:
    from .fields import LatentImageField

TEXT = (models.CharField, models.TextField)

SHORTEST_SOURCE = 30
"""Fewest characters that must be left for a source's name."""


def check_field(field: "LatentImageField") -> Iterable[CheckMessage]:
    """What a field was given: E001 to E009, E014; where its files go: W005."""
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
    for option, kind, identifier, hint in (
        ("placeholder_field", TEXT, "E005", "TextField(blank=True, editable=False)"),
        ("alt_field", TEXT, "E005", "CharField(max_length=200, blank=True)"),
        ("focal_field", models.JSONField, "E008", "JSONField(default=list, blank=True)"),
        ("focus_field", models.JSONField, "E008", "JSONField(default=list, blank=True)"),
    ):
        name = getattr(field, option)
        if name and not _is(kind, field.model, name):
            yield Error(
                f"{option!r} names {name!r}, which is no "
                f"{'text' if kind is TEXT else 'JSON'} field of {field.model._meta.label}.",
                hint=f"Add a {hint} of that name.",
                obj=field,
                id=f"latentimg.{identifier}",
            )
    if field.expires is not None and not (isinstance(field.expires, int) and field.expires > 0):
        yield Error(
            "'expires' must be a positive number of seconds.", obj=field, id="latentimg.E014"
        )
    if field.permission is not None and not callable(field.permission):
        yield Error("'permission' must be a function.", obj=field, id="latentimg.E014")
    try:
        for ratio in field.ratios:
            Crop.parse(ratio)
    except (TypeError, ValueError):
        yield Error(
            "'ratios' must be text such as '16/9'.",
            hint='For example ratios=("1/1", "16/9").',
            obj=field,
            id="latentimg.E009",
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
    if _overwrites(field.storage):
        yield Warning(
            "The storage puts an upload over another one of the same name, whose picture is lost.",
            hint="Give it the option 'file_overwrite': False ('overwrite_files' on Azure).",
            obj=field,
            id="latentimg.W005",
        )


def _overwrites(storage: Any) -> bool:
    """As those of django-storages do unless told otherwise."""
    if isinstance(storage, SourcesAndBlobs):
        storage = storages[storage.sources]
    return any(getattr(storage, option, False) for option in ("file_overwrite", "overwrite_files"))


def _is(kind: type | tuple[type, ...], model: type[models.Model], name: str) -> bool:
    try:
        return isinstance(model._meta.get_field(name), kind)
    except FieldDoesNotExist:
        return False


def _one_of(values: Iterable[str]) -> str:
    return " or ".join(map(repr, values))


@register
def check_settings(**_: Any) -> list[CheckMessage]:
    """The ``LATENTIMG`` dictionary: E010 to E013, E015; what is installed: W001."""
    found: list[CheckMessage] = []
    try:
        for key, allowed, text in (
            ("COMPRESS", (True, False), "True or False"),
            ("EFFORT", range(10), "an integer from 0 to 9"),
            ("MAX_DECODES", range(1, 1001), "an integer from 1 to 1000"),
            ("MAX_WAITING", range(100_001), "an integer from 0 to 100000"),
            ("GRACE", range(31_536_001), "an integer from 0 to 31536000"),
            ("ENGINE", ENGINES, _one_of(ENGINES)),
            ("MISSES", MISSES, _one_of(MISSES)),
            ("WHEN_BUSY", WHEN_BUSY, _one_of(WHEN_BUSY)),
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
        for alias, method in conf.SEND.items():
            if alias not in settings.STORAGES or not is_method(method):
                found.append(
                    Error(
                        f"LATENTIMG['SEND'] has {alias!r}: {method!r}.",
                        hint="Aliases of STORAGES, each with 'stream', 'redirect', 'x-sendfile' or "
                        "'x-accel:/…'.",
                        id="latentimg.E015",
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
    except (AttributeError, ImproperlyConfigured, TypeError) as error:
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


VISIBLE_AFTER = {"redis": 3600, "rediss": 3600, "sentinel": 3600, "sqs": 1800}
"""Brokers that give a task to another worker after so many seconds, by Celery's defaults."""


@register(deploy=True)
def check_broker(**_: Any) -> list[CheckMessage]:
    """That no broker gives away what a worker is still at: W004."""
    if find_spec("celery") is None:
        return []
    from celery import current_app

    scheme = (current_app.conf.broker_url or "").partition(":")[0]
    options = current_app.conf.broker_transport_options
    timeout = options.get("visibility_timeout", VISIBLE_AFTER.get(scheme))
    longest = workers.longest()
    enough = longest + workers.LONGEST_WAIT
    if scheme not in VISIBLE_AFTER or timeout >= longest:
        return []
    return [
        Warning(
            f"The broker gives a task to another worker after {timeout} seconds, but a picture of "
            f"LATENTIMG['MAX_PIXELS'] may take {longest}: it would be compressed twice.",
            hint=f"Set broker_transport_options = {{'visibility_timeout': {enough}}}.",
            id="latentimg.W004",
        )
    ]


_TAG_WITHOUT_ALT = re.compile(
    r"\{%-?\s*(latent_img|latent_picture)\s(?!(?:[^%]|%(?!\}))*\balt\s*=)(?:[^%]|%(?!\}))*%\}"
)
TEMPLATE_SUFFIXES = {".html", ".htm", ".djhtml", ".jinja", ".jinja2", ".j2"}


@register(Tags.templates)
def check_templates(**_: Any) -> list[CheckMessage]:
    """That every picture is described, for those who do not see it: W003."""
    from .lifecycle import all_fields

    if all(field.alt_field for field in all_fields()):
        return []
    folders = {Path(folder) for engine in engines.all() for folder in engine.template_dirs}
    # Of others' packages nobody here can mend the templates, and they are many.
    folders = {folder for folder in folders if "site-packages" not in folder.parts}
    found: list[CheckMessage] = []
    for path in sorted({path for folder in folders for path in folder.rglob("*")}):
        if path.suffix not in TEMPLATE_SUFFIXES:
            continue
        try:
            template = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        for tag in _TAG_WITHOUT_ALT.finditer(template):
            line = template.count("\n", 0, tag.start()) + 1
            found.append(
                Warning(
                    f"{path}, line {line}: {tag[1]} has no words for those who cannot see.",
                    hint="Say alt=…, alt='' for decoration, or give the field an alt_field.",
                    id="latentimg.W003",
                )
            )
    return found
