"""The shop: a WSGI ``application`` and a Celery ``app``. ``LOAD`` in the environment is JSON with
the folder of its files, its database and its broker."""

import json
import os
from pathlib import Path

import django
from celery import Celery
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

GIVEN = json.loads(os.environ["LOAD"])
ON_PAGE = 24
PAGE = (
    "{% load latentimg %}<!doctype html><title>Photos</title>"
    "{% for photo in photos %}{% latent_img photo.image alt='' %}{% endfor %}"
)


def storage(name: str) -> dict[str, object]:
    return {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(Path(GIVEN["folder"]) / name)},
    }


settings.configure(
    SECRET_KEY="x",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": "127.0.0.1",
            "USER": "postgres",
            "CONN_MAX_AGE": 60,
            **GIVEN["database"],
        }
    },
    CACHES={
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": GIVEN["cache"],
        }
    },
    INSTALLED_APPS=["django.contrib.contenttypes", "django_latentimg", "benchmarks.load"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    STORAGES={"default": storage("files"), "renditions": storage("renditions")},
    LATENTIMG={"RENDITION_STORAGE": "renditions", "EFFORT": GIVEN["effort"]},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    LOGGING_CONFIG=None,
)
django.setup()

app = Celery("load", broker=GIVEN["broker"], set_as_current=True)
app.set_default()
app.conf.update(
    task_default_queue=GIVEN["queue"],
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)
app.autodiscover_tasks(["django_latentimg"])


@csrf_exempt
def upload(request: HttpRequest) -> HttpResponse:
    from .models import Photo

    photo = Photo.objects.create(image=request.FILES["image"])
    return HttpResponse(photo.image.stored_name, status=201)


def page(request: HttpRequest) -> HttpResponse:
    from django.template import engines

    from .models import Photo

    photos = Photo.objects.order_by("-pk")[:ON_PAGE]
    return HttpResponse(engines["django"].from_string(PAGE).render({"photos": photos}, request))


urlpatterns = [
    path("upload", upload),
    path("page", page),
    path("img/", include("django_latentimg.urls")),
]


application = WSGIHandler()
