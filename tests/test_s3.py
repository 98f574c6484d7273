"""Sources, blobs and renditions in a bucket: django-storages over HTTP to a server process."""

import urllib.request
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.template import Context, Template
from storages.backends.s3 import S3Storage

from django_latentimg import garbage
from django_latentimg.compression import compress
from django_latentimg.storage import SourcesAndBlobs
from tests import s3
from tests.s3 import keys
from tests.stored import store_blob
from tests.testapp.models import Product, Snapshot

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("enqueued")]


def test_s3__from_upload_to_rendition_and_gone(upload, calls, endpoint, client):
    saved = Product.objects.create(photo=upload())
    compress(saved.photo.field, saved.pk, saved.photo.name)
    fresh = Product.objects.get()
    assert keys(endpoint) == {saved.photo.name, fresh.photo.name}
    response = client.get(fresh.photo.rendition(320, "webp").url)
    assert response.status_code == 200
    assert len(keys(endpoint)) == 3
    fresh.delete()
    assert keys(endpoint) == set()


def test_s3__source_is_deleted_where_told(upload, calls, endpoint):
    saved = Snapshot.objects.create(photo=upload())
    compress(saved.photo.field, saved.pk, saved.photo.name)
    assert keys(endpoint) == {Snapshot.objects.get().photo.name}


def test_s3__page_makes_no_call(upload, calls):
    for seed in range(3):
        saved = Product.objects.create(photo=upload(f"{seed}.png", seed=seed))
        compress(saved.photo.field, saved.pk, saved.photo.name)
    products = list(Product.objects.all())
    calls.clear()
    template = Template("{% load latentimg %}{% for p in ps %}{% latent_img p.photo %}{% endfor %}")
    html = template.render(Context({"ps": products}))
    assert html.count("<picture>") == 3
    assert calls == {}


def test_s3__cached_rendition_is_opened_once(upload, calls, client):
    saved = Product.objects.create(photo=upload())
    compress(saved.photo.field, saved.pk, saved.photo.name)
    url = Product.objects.get().photo.rendition(320, "webp").url
    client.get(url)
    calls.clear()
    assert client.get(url).status_code == 200
    # What django-storages makes of one open and read, of the rendition and of nothing else.
    assert calls == {"HeadObject": 2, "GetObject": 1}


# Storages of a site's own choice


def test_s3__under_a_prefix_with_signed_urls(upload, calls, endpoint, settings, client):
    """Another app's files beside ours; the cache of renditions sends visitors to the bucket."""
    options = {"location": "shop", "querystring_auth": True, "file_overwrite": False}
    backend = s3.backend(endpoint, **options)
    settings.STORAGES = settings.STORAGES | {"default": backend, "renditions": backend}
    settings.LATENTIMG = settings.LATENTIMG | {"SEND": {"renditions": "redirect"}}
    saved = Product.objects.create(photo=upload())
    compress(saved.photo.field, saved.pk, saved.photo.name)
    answer = client.get(Product.objects.get().photo.rendition(320, "webp").url)
    assert answer.status_code == 302
    assert "X-Amz-Signature=" in answer.url or "Signature=" in answer.url
    with urllib.request.urlopen(answer.url) as response:
        assert response.read()[8:12] == b"WEBP"
    assert all(key.startswith("shop/") for key in s3.keys(endpoint))
    Product.objects.get().delete()
    assert s3.keys(endpoint) == set()


def test_s3__two_uploads_of_one_name_are_two_pictures(upload, calls, endpoint, settings):
    backend = s3.backend(endpoint, file_overwrite=False)
    settings.STORAGES = settings.STORAGES | {"default": backend}
    first = Product.objects.create(photo=upload())
    second = Product.objects.create(photo=upload(seed=1))
    assert first.photo.name != second.photo.name


def test_s3__listing_that_lags_behind(upload, calls, endpoint, settings, monkeypatch):
    """As buckets did that are only consistent in the end: a file is there and not listed yet."""
    saved = Product.objects.create(photo=upload())
    monkeypatch.setattr(S3Storage, "exists", lambda self, name: False)
    monkeypatch.setattr(S3Storage, "listdir", lambda self, path: ([], []))
    assert compress(saved.photo.field, saved.pk, saved.photo.name).state == "compressed"
    fresh = Product.objects.get()
    assert s3.keys(endpoint) == {saved.photo.name, fresh.photo.name}
    assert fresh.photo.latent().width == 96


@pytest.mark.parametrize("model", [Product, Snapshot])
def test_storages__sources_blobs_and_renditions_apart(
    upload, calls, endpoint, settings, monkeypatch, client, tmp_path, model
):
    """Sources on a disk, blobs in a bucket, renditions on another disk."""
    settings.STORAGES = settings.STORAGES | {
        "cold": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(tmp_path / "cold")},
        },
        "renditions": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(tmp_path / "renditions")},
        },
    }
    field = model._meta.get_field("photo")
    monkeypatch.setattr(field, "storage", SourcesAndBlobs(sources="cold", blobs="default"))

    def cold() -> set[str]:
        root = tmp_path / "cold"
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}

    saved = model.objects.create(photo=upload())
    assert cold() == {saved.photo.name}
    compress(field, saved.pk, saved.photo.name)
    fresh = model.objects.get()
    assert s3.keys(endpoint) == {fresh.photo.name}
    assert cold() == ({saved.photo.name} if field.keep_source else set())
    assert client.get(fresh.photo.rendition(field.widths[0], "webp").url).status_code == 200
    orphan = field.storage.save(f"x/{saved.photo.name}", upload())
    lost = store_blob(field, "snaps/lost.png" if model is Snapshot else "photos/lost.png")
    monkeypatch.setattr(garbage.timezone, "now", lambda: datetime.now(UTC) + timedelta(days=2))
    call_command("latentimg_gc", model._meta.label, "--delete", stdout=StringIO())
    assert s3.keys(endpoint) == {fresh.photo.name}, f"{lost} is gone"
    assert orphan in cold()
    fresh.delete()
    assert s3.keys(endpoint) == set()
    assert cold() == {orphan}
