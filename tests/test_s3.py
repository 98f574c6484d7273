"""Sources, blobs and renditions in a bucket: django-storages over HTTP to a server process."""

import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from django.core.files.storage import default_storage
from django.template import Context, Template

from django_latentimg.compression import compress
from tests.testapp.models import Product, Snapshot

CREDENTIALS = {
    "access_key": "test",
    "secret_key": "test",
    "region_name": "us-east-1",
    "addressing_style": "path",
}
BUCKET = "pictures"

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("enqueued")]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An S3 server of its own process; moto implements the protocol most completely."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                break
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    server.kill()
    server.wait()


def client_of(endpoint: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=CREDENTIALS["access_key"],
        aws_secret_access_key=CREDENTIALS["secret_key"],
        region_name=CREDENTIALS["region_name"],
    )


@pytest.fixture
def calls(endpoint: str, settings) -> Iterator[Counter[str]]:
    """A fresh bucket as default storage and as cache; counts its operations."""
    client = client_of(endpoint)
    client.create_bucket(Bucket=BUCKET)
    options = CREDENTIALS | {"bucket_name": BUCKET, "endpoint_url": endpoint}
    backend = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
    settings.STORAGES = settings.STORAGES | {"default": backend, "renditions": backend}
    counted: Counter[str] = Counter()
    events = default_storage.connection.meta.client.meta.events
    events.register("before-call.s3", lambda model, **_: counted.update([model.name]))
    yield counted
    for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=item["Key"])
    client.delete_bucket(Bucket=BUCKET)


def keys(endpoint: str) -> set[str]:
    listing = client_of(endpoint).list_objects_v2(Bucket=BUCKET)
    return {item["Key"] for item in listing.get("Contents", [])}


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
