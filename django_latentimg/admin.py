"""The ledger's admin, and thumbnails for lists. The change form's widget comes by itself."""

from collections.abc import Callable
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.utils.safestring import SafeString

from .markup import picture

if apps.is_installed("django.contrib.admin"):
    from .ledger_admin import CompressionAdmin
    from .models import Compression

    bases: tuple[type, ...] = (CompressionAdmin,)
    if apps.is_installed("unfold"):  # It dresses only what inherits from its own class.
        from unfold.admin import ModelAdmin

        bases = (CompressionAdmin, ModelAdmin)
    admin.site.register(Compression, type("CompressionAdmin", bases, {}))


def thumbnail(field: str, width: int = 64) -> Callable[[Any], SafeString]:
    """For ``list_display``: the row's picture, so many CSS pixels wide. No query of its own."""

    @admin.display(description=field.replace("_", " "))
    def show(row: Any) -> SafeString:
        return picture(getattr(row, field), width=width, alt="")

    return show
