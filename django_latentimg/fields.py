"""``LatentImageField``: an ``ImageField`` whose pictures end up as latent blobs."""

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, Self, overload

from django.apps import apps
from django.core.exceptions import SuspiciousFileOperation
from django.db import models
from django.db.models.expressions import Combinable
from django.db.models.fields.files import FieldFile, ImageFileDescriptor
from django.http import HttpRequest

from . import checks
from .files import LatentImageFieldFile
from .names import EXTENSION, SUFFIX_LENGTH

if TYPE_CHECKING:
    from .codec.guard import PatchMode, Prefer

Permission = Callable[[HttpRequest, "LatentImageField", str], bool]

WIDTHS = (320, 640, 960, 1280, 1920)
FORMATS = ("avif", "webp", "jpeg")

STORAGE_SUFFIX_LENGTH = len("_01234567")
"""What a storage may add to a name that is taken."""


class LatentImageFileDescriptor(ImageFileDescriptor):
    """Keeps track of the name that the row in the database is known to have."""

    field: "LatentImageField"

    def __set__(self, instance: models.Model, value: Any) -> None:
        attribute = self.field.attname
        fresh = attribute not in instance.__dict__
        previous = instance.__dict__.get(attribute)
        # Not ImageFileDescriptor's: that measures the file again on every assignment.
        super(ImageFileDescriptor, self).__set__(instance, value)
        if fresh and isinstance(value, str):
            self.field.remember(instance, value)
        elif isinstance(value, FieldFile) and value.instance == instance:
            # refresh_from_db() hands over the file of another instance of the same row.
            self.field.remember(instance, self.field.remembered(value.instance))
        if not fresh and str(value or "") != str(previous or ""):
            self.field.update_dimension_fields(instance, force=True)


class LatentImageField(models.ImageField):
    """An image that is kept as a latent blob and shown as AVIF, WebP and JPEG renditions.

    ``widths``: pixels, of the renditions. ``formats``: in order of preference, the last being what
    every client understands. ``quality``: 1 to 100, of the blob. ``keep_source``: whether the
    uploaded file stays in storage. ``placeholder_field``: name of a text field that is filled with
    a tiny picture as a ``data:`` URI; ``width_field`` and ``height_field`` as in ``ImageField``.
    ``alt_field``: name of a text field that says what the picture shows. ``ratios``: such as
    ``("1/1", "16/9")``, of parts that pages may show. ``focus_field``: name of a JSON field with
    the point around which these are cut, ``[x, y]`` in shares of width and height, from 0 to 1.

    Private pictures: ``expires``: seconds, at least, for which a URL works, twice that at most.
    ``permission``: a function of the request, this field and the stored name that says whether the
    picture may be seen.

    The guard: ``prefer``: ``detail`` or, for labels, art and documents, ``fidelity``: what decides
    whether a picture stays latents or becomes AVIF. ``patches``: ``auto`` keeps text, faces and
    what else latents lose as small pictures of their own, ``off`` leaves such pictures to AVIF.
    ``min_quality``: SSIMULACRA2, below 100, that no picture may fall below. ``focal_field``: name
    of a JSON field with rectangles that are kept like text, a list of ``[left, top, right,
    bottom]`` in pixels of the displayed source.
    """

    attr_class = LatentImageFieldFile
    descriptor_class = LatentImageFileDescriptor

    if TYPE_CHECKING:  # what type checkers make of ``Product.photo`` and ``product.photo``

        @overload
        def __get__(self, instance: None, owner: Any) -> LatentImageFileDescriptor: ...
        @overload
        def __get__(self, instance: models.Model, owner: Any) -> LatentImageFieldFile: ...
        @overload
        def __get__(self, instance: Any, owner: Any) -> Self: ...
        def __get__(self, instance: Any, owner: Any) -> Any: ...

    width_field: str | None
    height_field: str | None

    def __init__(
        self,
        verbose_name: str | None = None,
        name: str | None = None,
        *,
        widths: Sequence[int] = WIDTHS,
        formats: Sequence[str] = FORMATS,
        ratios: Sequence[str] = (),
        quality: int = 50,
        keep_source: bool = True,
        placeholder_field: str | None = None,
        alt_field: str | None = None,
        focus_field: str | None = None,
        expires: int | None = None,
        permission: Permission | None = None,
        prefer: "Prefer" = "detail",
        patches: "PatchMode" = "auto",
        min_quality: float | None = None,
        focal_field: str | None = None,
        **options: Any,
    ) -> None:
        self.widths = tuple(widths)
        self.formats = tuple(formats)
        self.ratios = tuple(ratios)
        self.quality = quality
        self.keep_source = keep_source
        self.placeholder_field = placeholder_field
        self.alt_field = alt_field
        self.focus_field = focus_field
        self.expires = expires
        self.permission = permission
        self.prefer: Prefer = prefer
        self.patches: PatchMode = patches
        self.min_quality = min_quality
        self.focal_field = focal_field
        options.setdefault("max_length", 255)
        super().__init__(verbose_name, name, **options)

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, path, arguments, options = super().deconstruct()
        defaults = {
            "widths": WIDTHS,
            "formats": FORMATS,
            "ratios": (),
            "quality": 50,
            "keep_source": True,
            "placeholder_field": None,
            "alt_field": None,
            "focus_field": None,
            "expires": None,
            "permission": None,
            "prefer": "detail",
            "patches": "auto",
            "min_quality": None,
            "focal_field": None,
        }
        for option, default in defaults.items():
            if getattr(self, option) != default:
                options[option] = getattr(self, option)
        if options.get("max_length") == 255:
            del options["max_length"]
        return name, path, list(arguments), options

    def check(self, **options: Any) -> list[Any]:
        return [*super().check(**options), *checks.check_field(self)]

    def formfield(self, **options: Any) -> Any:
        """In the admin, whatever its theme, with a panel that shows what is stored."""
        from . import forms

        widget = options.get("widget")
        if apps.is_installed("django.contrib.admin") and isinstance(widget, type):
            from django.contrib.admin.widgets import AdminFileWidget

            if issubclass(widget, AdminFileWidget):
                options["widget"] = forms.with_panel(widget)
        return super().formfield(**{"form_class": forms.LatentImageField, **options})

    @property
    def is_public(self) -> bool:
        """Whether everybody may see its pictures, and all caches keep them."""
        return self.expires is None and self.permission is None

    def url_expiry(self) -> int | None:
        """Until when a URL that is made now works, seconds since 1970.

        The same for all that are made within ``expires`` seconds, so that browsers know them again.
        """
        if self.expires is None:
            return None
        return (int(time.time()) // self.expires + 2) * self.expires

    def may_be_seen(self, request: HttpRequest, name: str, expires: int | None) -> bool:
        """Whether a URL with that expiry shows the picture now, to whoever has sent the request."""
        if self.expires is not None and (expires is None or expires <= time.time()):
            return False
        return self.permission is None or self.permission(request, self, name)

    @cached_property
    def source_max_length(self) -> int:
        """Characters of a source's name that leave room for its blob's name in the column."""
        return (self.max_length or 255) - SUFFIX_LENGTH - STORAGE_SUFFIX_LENGTH

    def generate_filename(self, instance: models.Model, filename: str | PathLike[str]) -> str:
        name = super().generate_filename(instance, filename)
        if name.endswith(EXTENSION):
            raise SuspiciousFileOperation(f"{name!r}: names of sources may not end in {EXTENSION}.")
        # Shortened here, since the storage would fill all of the column.
        return _shorten(name, self.source_max_length)

    # What the row is known to hold: the guard against stale instances

    def remembered(self, instance: models.Model) -> str | None:
        """Name that the database is known to have held for this instance, or None."""
        names: dict[str, str | None] = instance.__dict__.get("_latentimg_names", {})
        return names.get(self.attname)

    def remember(self, instance: models.Model, name: str | None) -> None:
        instance.__dict__.setdefault("_latentimg_names", {})[self.attname] = name

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        """Commit an upload to storage; leave a column alone that this instance did not change.

        Between loading an instance and saving it, a worker may have compressed the picture or
        somebody may have replaced it. Writing back what was loaded would undo that.
        """
        file: LatentImageFieldFile = super().pre_save(model_instance, add)
        unchanged = file.name is not None and file.name == self.remembered(model_instance)
        if unchanged and not add and not model_instance._state.adding:
            return models.F(self.attname)
        return file

    def get_prep_value(self, value: Any) -> Any:
        return value if isinstance(value, Combinable) else super().get_prep_value(value)

    def update_dimension_fields(
        self, instance: models.Model, force: bool = False, *args: Any, **kwargs: Any
    ) -> None:
        """Fill the companion columns as far as that needs no call to the storage."""
        if self.attname not in instance.__dict__:
            return
        file: LatentImageFieldFile = getattr(instance, self.attname)
        columns = [column for column in (self.width_field, self.height_field) if column]
        if not force and (not file or all(getattr(instance, column) for column in columns)):
            return
        size: tuple[int | None, int | None] = (None, None)
        blob_name = file.blob_name if file else None
        if blob_name:
            size = blob_name.width, blob_name.height
        elif file and not file._committed:
            size = file.measure()
        for column, pixels in zip((self.width_field, self.height_field), size, strict=True):
            if column:
                setattr(instance, column, pixels)
        if self.placeholder_field and force:
            setattr(instance, self.placeholder_field, "")


def _shorten(name: str, length: int) -> str:
    """Cut the file's stem so that the name has at most ``length`` characters."""
    if len(name) <= length:
        return name
    folder, slash, file_name = name.rpartition("/")
    stem, dot, extension = file_name.rpartition(".")
    if not dot:
        stem, extension = file_name, ""
    room = length - len(folder) - len(slash) - len(dot) - len(extension)
    if room < 1:
        raise SuspiciousFileOperation(f"No room for {name!r} in {length} characters.")
    return f"{folder}{slash}{stem[:room]}{dot}{extension}"
