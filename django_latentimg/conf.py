"""The site's settings: ``LATENTIMG`` over the defaults here, read on first use."""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver

SETTING = "LATENTIMG"


@dataclass(frozen=True)
class Values:
    """What the ``LATENTIMG`` dictionary may hold."""

    MODEL: str = "lite"
    """Latent model: ``lite``, or the folder or hub id of a diffusers autoencoder."""
    EFFORT: int = 5
    """Rounds of refinement when a picture is compressed, 0 to 9."""
    RENDITION_STORAGE: str = "default"
    """Alias in ``STORAGES`` of the storage that caches renditions."""
    MAX_PIXELS: int = 2**26
    """Pictures with more pixels are refused."""


class Conf:
    """``conf.MODEL`` and so on; follows ``override_settings``."""

    @cached_property
    def values(self) -> Values:
        given: dict[str, Any] = getattr(settings, SETTING, {})
        unknown = sorted(given.keys() - {field.name for field in fields(Values)})
        if unknown:
            raise ImproperlyConfigured(f"{SETTING} has unknown keys: {', '.join(unknown)}.")
        return Values(**given)

    @property
    def MODEL(self) -> str:
        return self.values.MODEL

    @property
    def EFFORT(self) -> int:
        return self.values.EFFORT

    @property
    def RENDITION_STORAGE(self) -> str:
        return self.values.RENDITION_STORAGE

    @property
    def MAX_PIXELS(self) -> int:
        return self.values.MAX_PIXELS

    def forget(self) -> None:
        self.__dict__.pop("values", None)


conf = Conf()


@receiver(setting_changed)
def forget_values(*, setting: str, **_: object) -> None:
    if setting == SETTING:
        conf.forget()
