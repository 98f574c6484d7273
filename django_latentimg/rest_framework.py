"""For Django REST framework: the picture as what a front end needs to show it."""

from typing import Any

from rest_framework import serializers

from .markup import as_data


class LatentImageField(serializers.ImageField):  # type: ignore[misc]
    """Takes an upload, gives ``markup.as_data`` with absolute URLs.

    {"width", "height", "alt", "src", "sources": [{"type", "srcset"}], "placeholder", "blob"}
    """

    def to_representation(self, value: Any) -> dict[str, Any] | None:
        request = self.context.get("request")
        return as_data(value, absolute=request.build_absolute_uri if request else str)
