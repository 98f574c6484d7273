"""The field's form field and widget: they show what is stored, and what it takes."""

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.core.files.storage import storages
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _
from PIL import Image

from . import renditions
from .codec.errors import CodecError
from .conf import conf
from .names import source_of
from .validators import open_upload

if TYPE_CHECKING:
    from .files import LatentImageFieldFile

SHOWN_WIDTH = 240
"""CSS pixels."""


class LatentImageField(forms.ImageField):
    """Refuses what is no picture before any pixel of it is decoded.

    Codes: ``svg``, ``invalid_image``, ``max_pixels``.
    """

    def to_python(self, data: Any) -> Any:
        file: Any = forms.FileField.to_python(self, data)
        if file is None:
            return None
        image = open_upload(file)
        file.image = image
        file.content_type = Image.MIME.get(image.format or "")
        return file

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        attributes = super().widget_attrs(widget)
        if isinstance(widget, forms.FileInput) and "accept" in attributes:
            # Not image/*, which has SVG; the browser's dialogue then says so at once.
            attributes["accept"] = "image/jpeg,image/png,image/webp,image/avif,image/gif,image/tiff"
        return attributes


class LatentImageWidget(forms.ClearableFileInput):
    """Shows the stored picture, its sizes, and what the guard has said, above the file input.

    A click on the picture sets the point around which parts are cut, where the form has the
    field's ``focus_field``.
    """

    template_name = "django_latentimg/widget.html"

    class Media:
        css: ClassVar = {"all": ["django_latentimg/widget.css"]}
        js: ClassVar = ["django_latentimg/focus.js"]

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        widget = context["widget"]
        widget["input_template"] = super().template_name
        if widget["is_initial"]:
            focus_field = value.field.focus_field
            identity = str(widget["attrs"].get("id", ""))
            prefix = identity.removesuffix(value.field.name)
            widget["focus_id"] = prefix + focus_field if focus_field else ""
            widget["focus"] = value.focus
            widget["picture"] = value.picture(width=SHOWN_WIDTH, alt=str(value.field.verbose_name))
            widget["facts"] = facts(value)
        return context


def with_panel(widget: type[forms.ClearableFileInput]) -> type[forms.ClearableFileInput]:
    """That widget, with ``LatentImageWidget``'s panel above its own file input."""
    return type(f"Latent{widget.__name__}", (LatentImageWidget, widget), {})


def facts(file: "LatentImageFieldFile") -> list[tuple[str, str]]:
    """(title, text) of what is stored; asks the storages."""
    try:
        return _facts(file)
    except (OSError, CodecError) as error:
        return [(_("problem"), str(error))]


def _facts(file: "LatentImageFieldFile") -> list[tuple[str, str]]:
    def size(name: str) -> str:
        return filesizeformat(file.storage.size(name))

    found = [(_("size"), f"{file.width} × {file.height}")]
    source = source_of(file.stored_name)
    if file.storage.exists(source):
        found.append((_("source"), size(source)))
    if file.is_latent:
        found.append((_("blob"), size(file.stored_name)))
        verdict = file.latent().verdict
        if verdict:
            found.append((_("kept as"), f"{verdict.kept} ({verdict.reason})"))
    else:
        found.append((_("kept as"), _("source, not compressed yet")))
    storage = storages[conf.RENDITION_STORAGE]
    made = [storage.size(name) for name in renditions.made(file.field, file.stored_name)]
    found.append((_("renditions"), f"{len(made)}, {filesizeformat(sum(made))}"))
    return found
