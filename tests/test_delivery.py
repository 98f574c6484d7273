"""Who sends the bytes, and who may have them."""

import time
from collections import Counter

import pytest
from django.core.cache import caches
from django.core.checks import run_checks
from django.core.files.storage import FileSystemStorage, storages
from django.db.migrations.writer import MigrationWriter
from django.utils.encoding import filepath_to_uri

from django_latentimg import links, renditions
from django_latentimg.links import BLOB_TYPE

from .stored import store_blob, store_source
from .testapp.models import Invoice, Passport, Product, may_see

PHOTO = Product._meta.get_field("photo")
PASSPORT = Passport._meta.get_field("photo")
INVOICE = Invoice._meta.get_field("photo")
NAME = "photos/ü 1.png"


class SigningStorage(FileSystemStorage):
    """Like S3: each URL is another one, and good for 1,000 seconds. Counts its calls."""

    querystring_expire = 1000
    calls: Counter[str] = Counter()

    def url(self, name):
        self.calls["url"] += 1
        return f"https://bucket.example/{filepath_to_uri(name)}?signed={self.calls['url']}"

    def exists(self, name):
        self.calls["exists"] += 1
        return super().exists(name)

    def _open(self, name, mode="rb"):
        self.calls["open"] += 1
        return super()._open(name, mode)


@pytest.fixture(autouse=True)
def empty_cache():
    caches["default"].clear()


@pytest.fixture
def send(settings):
    """Sets how renditions are sent."""

    def choose(method: str) -> None:
        settings.LATENTIMG = {**settings.LATENTIMG, "SEND": {"renditions": method}}

    return choose


@pytest.fixture
def calls(settings, send):
    send("redirect")
    settings.STORAGES["renditions"] = {
        **settings.STORAGES["renditions"],
        "BACKEND": "tests.test_delivery.SigningStorage",
    }
    SigningStorage.calls.clear()
    return SigningStorage.calls


def rendition_of(name: str, model=Product, format: str = "webp", width: int = 320):
    return model(photo=name).photo.rendition(width, format)


# The storage


def test_redirect__to_a_url_that_stays_the_same(client, calls):
    """vercel/next.js#32428: presigned URLs that change each time defeat every cache."""
    rendition = rendition_of(store_blob(PHOTO, NAME))
    first = client.get(rendition.url)
    assert first.status_code == 302
    assert first["Location"].startswith("https://bucket.example/renditions/photos/%C3%BC%201.png")
    assert first["Cache-Control"] == "public, max-age=500"
    with storages["renditions"].open(rendition.cache_name) as stored:
        assert stored.read() == rendition.bytes()
    calls.clear()
    again = client.get(rendition.url)
    assert again["Location"] == first["Location"]
    assert calls == {}


def test_redirect__negotiated(client, calls):
    link = Product(photo=store_blob(PHOTO, NAME)).photo.picture_url().rendition(320, None)
    response = client.get(link, headers={"Accept": "image/webp"})
    assert response.status_code == 302
    assert ".webp?" in response["Location"]
    assert response["Vary"] == "Accept"
    blob = client.get(link, headers={"Accept": BLOB_TYPE})
    assert (blob.status_code, blob["Content-Type"]) == (200, BLOB_TYPE)


def test_redirect__a_rendition_that_could_not_be_saved_is_streamed(client, calls, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(SigningStorage, "_save", fail)
    response = client.get(rendition_of(store_blob(PHOTO, NAME)).url)
    assert (response.status_code, response["Content-Type"]) == (200, "image/webp")


def test_redirect__a_cache_that_cannot_be_reached_stops_nothing(client, calls, settings):
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1/0",
        }
    }
    assert client.get(rendition_of(store_blob(PHOTO, NAME)).url).status_code == 302


def test_redirect__forgotten_renditions_are_made_again(client, calls):
    name = store_blob(PHOTO, NAME)
    rendition = rendition_of(name)
    client.get(rendition.url)
    renditions.forget(PHOTO, name)
    assert client.get(rendition.url).status_code == 302
    assert storages["renditions"].exists(rendition.cache_name)


# The server in front


def test_x_accel(client, send):
    send("x-accel:/protected/")
    name = store_blob(PHOTO, NAME)
    rendition = rendition_of(name)
    for _ in range(2):
        response = client.get(rendition.url)
        assert (response.status_code, response.content) == (200, b"")
        path = filepath_to_uri(rendition.cache_name)
        assert response["X-Accel-Redirect"] == f"/protected/{path}"
        assert response["Content-Type"] == "image/webp"
        assert response["Cache-Control"] == "public, max-age=31536000, immutable"
        assert response["Content-Disposition"] == "inline; filename*=utf-8''%C3%BC%201-320.webp"
    assert storages["renditions"].exists(rendition.cache_name)


def test_x_accel__failures_are_answered_here(client, send, media):
    send("x-accel:/protected/")
    name = store_blob(PHOTO, NAME)
    (media / name).write_bytes(b"LIMG")
    assert client.get(rendition_of(name).url).status_code == 410


def test_x_sendfile(client, send):
    send("x-sendfile")
    rendition = rendition_of(store_source(PHOTO, NAME))
    response = client.get(rendition.url)
    path = response["X-Sendfile"].encode("latin-1").decode()
    assert path == storages["renditions"].path(rendition.cache_name)
    assert response["Cache-Control"] == "public, max-age=300"


@pytest.mark.parametrize(
    "sent", [{"renditions": "carrier pigeon"}, {"nowhere": "stream"}, {"renditions": 3}]
)
def test_check__send(settings, sent):
    settings.LATENTIMG = {**settings.LATENTIMG, "SEND": sent}
    assert "latentimg.E015" in {message.id for message in run_checks()}


# Private fields


@pytest.fixture
def clock(monkeypatch):
    now = [1_764_000_100.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


def test_expires__urls_work_for_a_while_and_stay_the_same_meanwhile(client, clock):
    name = store_blob(INVOICE, NAME)
    url = rendition_of(name, Invoice, width=100).url
    response = client.get(url)
    assert response.status_code == 200
    assert response["Cache-Control"] == "private, max-age=1100"
    clock[0] += 400
    assert rendition_of(name, Invoice, width=100).url == url
    clock[0] += 699
    assert client.get(url)["Cache-Control"] == "private, max-age=1"
    clock[0] += 1
    assert client.get(url).status_code == 403
    assert client.get(rendition_of(name, Invoice, width=100).url).status_code == 200


def test_expires__source(client, clock):
    url = rendition_of(store_source(INVOICE, NAME), Invoice, width=100).url
    assert client.get(url)["Cache-Control"] == "private, max-age=300"


def test_expires__cannot_be_put_off_or_left_out(client, clock):
    name = store_blob(INVOICE, NAME)
    url = rendition_of(name, Invoice, width=100).url
    expiry = str(INVOICE.url_expiry())
    assert expiry in url
    assert client.get(url.replace(expiry, "9999999999")).status_code == 403
    endless = links.rendition_url(links.label(INVOICE), name, 100, "webp")
    assert client.get(endless).status_code == 403


def test_expires__blobs_are_not_for_scripts_of_other_sites(client):
    url = Invoice(photo=store_blob(INVOICE, NAME)).photo.blob_url
    response = client.get(url)
    assert response.status_code == 200
    assert "Access-Control-Allow-Origin" not in response


def test_permission__is_asked_each_time(client):
    url = rendition_of(store_blob(PASSPORT, NAME), Passport, width=100).url
    refused = client.get(url)
    assert refused.status_code == 403
    assert refused["Cache-Control"] == "no-store"
    client.cookies["key"] = "right"
    response = client.get(url)
    assert response.status_code == 200
    assert response["Cache-Control"] == "private, no-cache"
    headers = {"If-None-Match": response["ETag"]}
    assert client.get(url, headers=headers).status_code == 304
    client.cookies["key"] = "wrong"
    assert client.get(url, headers=headers).status_code == 403


def test_permission__redirects_are_nobodys_to_keep(client, calls):
    client.cookies["key"] = "right"
    response = client.get(rendition_of(store_blob(PASSPORT, NAME), Passport, width=100).url)
    assert response.status_code == 302
    assert response["Cache-Control"] == "no-store"


def test_permission__and_expiry_are_in_migrations():
    text, _ = MigrationWriter.serialize(PASSPORT)
    assert "expires=600" in text
    assert "permission=tests.testapp.models.may_see" in text
    assert may_see


def test_public__beside_private_ones(client):
    response = client.get(rendition_of(store_blob(PHOTO, NAME)).url)
    assert response["Cache-Control"] == "public, max-age=31536000, immutable"
