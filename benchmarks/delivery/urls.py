"""Of the site with ours; the other apps' files are sent by whoever serves ``MEDIA_ROOT``."""

from django.urls import include, path

urlpatterns = [path("img/", include("django_latentimg.urls"))]
