"""What happens to a picture's files when its row is saved or deleted, after the commit."""

from functools import cache
from typing import Any

from django.apps import apps
from django.db import models

from . import compression, discards
from .conf import conf
from .discards import after_commit
from .fields import LatentImageField
from .names import BlobName, source_of


@cache
def latent_fields(model: type[models.Model]) -> tuple[LatentImageField, ...]:
    """The model's own and inherited latent fields."""
    return tuple(
        field for field in model._meta.concrete_fields if isinstance(field, LatentImageField)
    )


def all_fields() -> list[LatentImageField]:
    """The site's latent fields; inherited ones belong to the parent's table."""
    models_of_site = [model for model in apps.get_models() if not model._meta.proxy]
    return [
        field for model in models_of_site for field in latent_fields(model) if field.model is model
    ]


def after_save(
    *,
    sender: type[models.Model],
    instance: models.Model,
    created: bool,
    raw: bool,
    using: str,
    update_fields: frozenset[str] | None,
    **_: Any,
) -> None:
    """Enqueue what is new, and discard, after a while, what it replaced."""
    for field in latent_fields(sender):
        if update_fields is not None and field.name not in update_fields:
            continue
        name: str = getattr(instance, field.attname).name or ""
        before = None if created else field.remembered(instance)
        # Only the commit makes it certain what the row holds.
        after_commit(using, field.remember, instance, name)
        if raw or name == before:
            continue
        if name and BlobName.parse(name) is None:
            after_commit(using, _enqueue, field, instance, name)
        if before and source_of(before) != source_of(name):
            discards.discard_picture(field, before, using=using, after=conf.GRACE)
            if conf.GRACE > 0:
                after_commit(using, discards.look_later, conf.GRACE)


def after_delete(
    *, sender: type[models.Model], instance: models.Model, using: str, **_: Any
) -> None:
    """Discard the picture's files and renditions."""
    for field in latent_fields(sender):
        name = getattr(instance, field.attname).name
        if name:
            discards.discard_picture(field, name, using=using)


def _enqueue(field: LatentImageField, instance: models.Model, name: str) -> None:
    width, height = (
        getattr(instance, column) if column else None
        for column in (field.width_field, field.height_field)
    )
    primary_key = instance._meta.pk.value_to_string(instance)
    pixels = width * height if width and height else None
    compression.enqueue(field, primary_key, name, pixels=pixels, anew=True)
