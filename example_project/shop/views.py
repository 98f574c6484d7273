from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from . import delivery
from .forms import SellForm
from .models import Product

FIRST_ROW = 4
"""Prints that a wide window shows without scrolling."""


@require_safe
def prints(request: HttpRequest) -> HttpResponse:
    """All prints: one query, and no call to any storage."""
    context = {"products": Product.objects.all(), "first_row": FIRST_ROW}
    return render(request, "shop/prints.html", context)


@require_safe
@never_cache
def product(request: HttpRequest, pk: int, slug: str) -> HttpResponse:
    """One print, and how it is delivered."""
    shown = get_object_or_404(Product, pk=pk)
    context = {
        "product": shown,
        "sizes": delivery.sizes(shown),
        "source_url": shown.photo.storage.url(delivery.source_name(shown)),
        "blob_url": shown.photo.storage.url(shown.photo.stored_name),
        "kept_as": delivery.kept_as(shown),
        "cached": delivery.cached_renditions(shown),
    }
    return render(request, "shop/product.html", context)


@require_safe
@never_cache
def state(request: HttpRequest, pk: int) -> JsonResponse:
    """Whether the photograph is a blob by now: asked by the page of one that is not."""
    return JsonResponse({"is_latent": get_object_or_404(Product, pk=pk).photo.is_latent})


def sell(request: HttpRequest) -> HttpResponse:
    """The form for a photograph of one's own."""
    form = SellForm(request.POST or None, request.FILES or None, label_suffix="")
    if form.is_valid():
        return redirect(form.save())
    return render(request, "shop/sell.html", {"form": form})


@require_safe
@never_cache
def numbers(request: HttpRequest) -> HttpResponse:
    """Bytes of every photograph as source and as blob."""
    rows = delivery.compressed()
    context = {
        "rows": rows,
        "waiting": Product.objects.count() - len(rows),
        "total": delivery.total([sizes for _, sizes in rows]),
    }
    return render(request, "shop/numbers.html", context)
