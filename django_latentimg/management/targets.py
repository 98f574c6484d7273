"""Which fields a command is about."""

from django.apps import apps
from django.core.management.base import CommandError
from django.db import models

from ..fields import LatentImageField
from ..lifecycle import all_fields, latent_fields


def select(targets: list[str]) -> list[LatentImageField]:
    """The fields that ``app.Model`` or ``app.Model.field`` name; all of the site's for none."""
    if not targets:
        return all_fields()
    selected: list[LatentImageField] = []
    for target in targets:
        model_label, field_name = target, ""
        if target.count(".") > 1:
            model_label, _, field_name = target.rpartition(".")
        try:
            model: type[models.Model] = apps.get_model(model_label)
        except (LookupError, ValueError) as error:
            raise CommandError(f"{target}: {error}") from error
        found = [f for f in latent_fields(model) if field_name in ("", f.name)]
        if not found:
            raise CommandError(f"{target} names no LatentImageField.")
        selected += found
    return selected
