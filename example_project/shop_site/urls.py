from django.conf import settings
from django.conf.urls.static import static
from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("shop.urls")),
    path("img/", include("django_latentimg.urls")),
    path("admin/", admin.site.urls),
    # Only for the links to source and blob on the product page: a real shop's media storage need
    # not be public at all, since pages show renditions.
    *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),
]
