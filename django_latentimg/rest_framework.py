"""For Django REST framework: the picture as what a front end needs to show it."""

from typing import Any

from rest_framework import serializers

from . import forms
from .markup import as_data


class LatentImageField(serializers.ImageField):  # type: ignore[misc]
    """Takes an upload, as the form field does, and gives ``markup.as_data`` with absolute URLs.

    {"width", "height", "alt", "src", "sources": [{"type", "srcset"}], "placeholder", "blob"}
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"_DjangoImageField": forms.LatentImageField, **options})

    def to_representation(self, value: Any) -> dict[str, Any] | None:
        request = self.context.get("request")
        return as_data(value, absolute=request.build_absolute_uri if request else str)
