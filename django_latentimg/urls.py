"""Include these anywhere: ``path("pictures/", include("django_latentimg.urls"))``."""

from django.urls import path

from . import views

app_name = "django_latentimg"

urlpatterns = [
    path("service-worker.js", views.service_worker, name="service_worker"),
    path("<str:signature>/<int:width>/<path:path>", views.rendition, name="rendition"),
    path(
        "<str:signature>/<int:width>x<int:across>-<int:down>/<path:path>",
        views.rendition,
        name="rendition",
    ),
]
