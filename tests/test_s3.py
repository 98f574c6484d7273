"""Sources, blobs and renditions in a bucket: django-storages over HTTP to a server process."""

import pytest
from django.template import Context, Template

from django_latentimg.compression import compress
from tests.s3 import keys
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


def test_s3__cached_rendition_takes_one_call(upload, calls, client):
    saved = Product.objects.create(photo=upload())
    compress(saved.photo.field, saved.pk, saved.photo.name)
    url = Product.objects.get().photo.rendition(320, "webp").url
    client.get(url)
    calls.clear()
    assert client.get(url).status_code == 200
    assert sum(calls.values()) <= 2, calls
