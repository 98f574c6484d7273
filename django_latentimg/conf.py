"""The site's settings: ``LATENTIMG`` over the defaults here, read on first use."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Literal, cast, get_args

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver

from .codec.models import Engine

SETTING = "LATENTIMG"

Misses = Literal["auto", "here", "worker", "later"]
WhenBusy = Literal["refuse", "nearest", "placeholder"]
MISSES: tuple[Misses, ...] = get_args(Misses)
WHEN_BUSY: tuple[WhenBusy, ...] = get_args(WhenBusy)


@dataclass(frozen=True)
class Values:
    """What the ``LATENTIMG`` dictionary may hold."""

    COMPRESS: bool = True
    """Whether pictures are compressed at all. Off while a site moves in or out: uploads stay
    sources, render as such, and ``.url`` is that of the file, as with ``ImageField``."""
    MODEL: str = "lite"
    """Latent model: ``lite``, ``compact``, or the folder or hub id of a diffusers autoencoder."""
    ENGINE: Engine = "auto"
    """What decodes: ``torch``, ``onnxruntime``, or ``auto`` for what is installed."""
    EFFORT: int = 5
    """Rounds of refinement when a picture is compressed, 0 to 9."""
    RENDITION_STORAGE: str = "default"
    """Alias in ``STORAGES`` of the storage that caches renditions."""
    MAX_PIXELS: int = 2**26
    """Pictures with more pixels are refused."""
    GRACE: int = 1800
    """Seconds for which the URLs of a picture that was replaced go on working."""
    ATTEMPTS: int = 12
    """How often a picture is tried for which something fails that may pass, or a worker dies."""
    BACKLOG_OPTIONS: Mapping[str, Any] = field(default_factory=dict)
    """For Celery's ``apply_async``, of pictures that nobody waits for: a priority or a queue."""
    LEDGER_DAYS: int = 365
    """Days for which the ledger remembers what went well."""
    CACHE: str = "default"
    """Alias in ``CACHES`` of the cache through which processes share the making of renditions."""
    MISSES: Misses = "auto"
    """Who makes a rendition that is not there: the process that was asked (``here``), a Celery
    worker for which it waits (``worker``), or a worker for which it does not (``later``: meanwhile
    the answer is ``WHEN_BUSY``). ``auto``: ``here`` if an engine is installed, else ``worker``."""
    MAX_DECODES: int = 2
    """Renditions that a process makes at once."""
    MAX_WAITING: int = 32
    """Threads of a process that wait to make one."""
    SEND: Mapping[str, str] = field(default_factory=dict)
    """Who sends a storage's files, by its alias in ``STORAGES`` (``delivery.py``)."""
    URL_PREFIX: str = ""
    """Scheme and host before every picture's URL, such as ``https://cdn.example.com``."""
    INLINE_STYLE: bool = True
    """Whether placeholders may stand in ``style`` attributes, which a strict policy forbids."""
    CLIENT_HINTS: bool = False
    """Whether ``Save-Data`` and client hints make negotiated renditions smaller."""
    WHEN_BUSY: WhenBusy = "refuse"
    """Past ``MAX_WAITING``: 503, or the nearest width that has been made, or, where there is none,
    the placeholder too."""


class _Lazy:
    """``conf.MODEL`` and so on; follows ``override_settings``."""

    @cached_property
    def values(self) -> Values:
        given = getattr(settings, SETTING, {})
        if not isinstance(given, dict):
            raise ImproperlyConfigured(f"{SETTING} must be a dictionary.")
        unknown = sorted(given.keys() - {field.name for field in fields(Values)})
        if unknown:
            raise ImproperlyConfigured(f"{SETTING} has unknown keys: {', '.join(unknown)}.")
        return Values(**given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.values, name)


_lazy = _Lazy()
conf = cast(Values, _lazy)


@receiver(setting_changed)
def forget_values(*, setting: str, **_: object) -> None:
    if setting == SETTING:
        _lazy.__dict__.pop("values", None)
