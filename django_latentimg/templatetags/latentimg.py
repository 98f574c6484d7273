"""``{% load latentimg %}``"""

from typing import TYPE_CHECKING, Any

from django import template
from django.utils.safestring import SafeString

from ..markup import picture

if TYPE_CHECKING:
    from ..fields import LatentImageFieldFile

register = template.Library()


@register.simple_tag
def latent_img(file: "LatentImageFieldFile | None", **options: Any) -> SafeString:
    """``{% latent_img product.photo sizes="50vw" alt=product.title class="photo" %}``

    The arguments of ``django_latentimg.markup.picture``.
    """
    return picture(file, **options)
