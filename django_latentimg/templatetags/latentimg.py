"""``{% load latentimg %}``"""

from typing import TYPE_CHECKING, Any

from django import template
from django.template import Context
from django.utils.safestring import SafeString

from .. import markup

if TYPE_CHECKING:
    from ..files import LatentImageFieldFile

register = template.Library()


@register.simple_tag
def latent_img(file: "LatentImageFieldFile | None", **options: Any) -> SafeString:
    """``{% latent_img product.photo sizes="50vw" alt=product.title class="photo" %}``

    The arguments of ``django_latentimg.markup.picture``.
    """
    return markup.picture(file, **options)


@register.simple_tag
def latent_picture(file: "LatentImageFieldFile | None", crops: str, **options: Any) -> SafeString:
    """``{% latent_picture product.photo "(max-width: 40em) 1/1, 16/9" alt=product.title %}``

    ``latent_img`` that shows another part of the picture under another media condition.
    """
    return markup.picture(file, crops=crops, **options)


@register.simple_tag
def latent_preload(file: "LatentImageFieldFile | None", **options: Any) -> SafeString:
    """``{% latent_preload product.photo sizes="50vw" %}`` in the ``<head>``."""
    return markup.preload(file, **options)


@register.simple_tag
def latent_client(**options: Any) -> SafeString:
    """``{% latent_client %}`` in the ``<head>`` of pages whose pictures say ``client=True``."""
    return markup.client(**options)


@register.simple_tag(takes_context=True)
def latent_url(
    context: Context, file: "LatentImageFieldFile | None", base: str = "", **options: Any
) -> str:
    """``{% latent_url product.photo width=1200 %}``: absolute, for ``og:image``, mails, feeds.

    ``base``: scheme and host where there is no request, as in a mail.
    """
    return markup.url(file, absolute=markup.absolute(context.get("request"), base), **options)


@register.simple_tag(takes_context=True)
def latent_srcset(
    context: Context, file: "LatentImageFieldFile | None", base: str = "", **options: Any
) -> str:
    """``{% latent_srcset product.photo format="webp" %}``: candidates with absolute URLs."""
    return markup.srcset(file, absolute=markup.absolute(context.get("request"), base), **options)
