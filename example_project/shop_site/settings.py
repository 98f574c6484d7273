"""Settings of the demo shop: for your own machine, not for the internet.

DEBUG is on, the secret key is in the repository, SQLite and the file system stand in for a
database server, a message broker and an object storage.
"""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

# Everything that running the shop writes lies here, and may be deleted.
DATA_DIR = Path(os.environ.get("SHOP_DATA_DIR") or BASE_DIR / "var")

SECRET_KEY = "a demo's key, known to everybody: take another one for a real site"
DEBUG = True

INSTALLED_APPS = [
    "django_latentimg",
    "shop",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "shop_site.urls"
WSGI_APPLICATION = "shop_site.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA_DIR / "shop.sqlite3",
        "OPTIONS": {
            # The site and the worker both write: wait for each other instead of failing.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

STATIC_URL = "static/"
MEDIA_URL = "media/"
MEDIA_ROOT = DATA_DIR / "media"

STORAGES = {
    # Sources and blobs.
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    # The cache of renditions, apart from them: all of it can be made again from the blobs.
    "renditions": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": DATA_DIR / "renditions"},
    },
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

LATENTIMG = {
    "RENDITION_STORAGE": "renditions",
    # The default, 5, makes better blobs and takes five times as long: you are waiting.
    "EFFORT": 1,
}

# A broker that needs no server: every message is a file.
_MESSAGES = DATA_DIR / "broker" / "messages"
_MESSAGES.mkdir(parents=True, exist_ok=True)
CELERY_BROKER_URL = "filesystem://"
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "data_folder_in": str(_MESSAGES),
    "data_folder_out": str(_MESSAGES),
    "control_folder": str(DATA_DIR / "broker" / "control"),
    "polling_interval": 0.5,
}
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
