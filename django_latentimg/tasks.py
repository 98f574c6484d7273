"""Celery tasks: thin shells over ``compression``."""

from celery import shared_task
from django.apps import apps
from django.db import OperationalError

from . import compression, links, renditions
from .conf import conf
from .crops import Crop
from .fields import LatentImageField


@shared_task(
    name="django_latentimg.compress_image",
    acks_late=True,
    reject_on_worker_lost=True,
    autoretry_for=(OSError, OperationalError),
    retry_backoff=True,
    retry_jitter=True,
    max_retries=5,
    ignore_result=True,
)
def compress_image(model: str, primary_key: str, field: str, name: str) -> str:
    """Compress the picture of one row, if it still holds ``name``. Returns the outcome's state,
    ``off`` where the site does not compress.

    ``model``: ``app_label.model``. All arguments are strings, so that any serializer will do.
    """
    if not conf.COMPRESS:
        return "off"
    latent_field = apps.get_model(model)._meta.get_field(field)
    if not isinstance(latent_field, LatentImageField):
        raise TypeError(f"{model}.{field} is no LatentImageField.")
    return compression.compress(latent_field, primary_key, name).state


@shared_task(name="django_latentimg.render_image", ignore_result=True)
def render_image(label: str, name: str, width: int, format: str, crop: list[int] | None) -> None:
    """Make a rendition for a web process that cannot decode, if it is still missing.

    ``label``: ``app_label.model.field``; ``crop``: the values of a ``Crop``.
    """
    field = links.find_field(label)
    if field is None:
        raise LookupError(f"There is no field {label}.")
    renditions.make(field, name, width, format, Crop(*crop) if crop else None)


@shared_task(name="django_latentimg.free_discarded", ignore_result=True)
def free_discarded() -> int:
    """Delete the pictures whose grace has passed. What it misses the next one finds."""
    return compression.free_discarded()
