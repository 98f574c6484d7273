from io import BytesIO

import pytest
from django.core.files.storage import storages
from django.urls import NoReverseMatch
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from django_latentimg import codec, flights, links, negotiation, renditions
from django_latentimg.codec.errors import ModelError
from django_latentimg.codec.guard import Guard
from django_latentimg.conf import conf
from django_latentimg.links import BLOB_TYPE, FORMATS, LATENTS_TYPE, rendition_url

from .conftest import image_bytes, picture
from .stored import blob, store_blob, store_source
from .testapp.models import FramedSnapshot, Product, Snapshot

PHOTO = Product._meta.get_field("photo")
SNAPSHOT = Snapshot._meta.get_field("photo")

CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
IMMUTABLE = "public, max-age=31536000, immutable"


def url(name: str, width: int = 320, format: str | None = None, field=PHOTO) -> str:
    return rendition_url(links.label(field), name, width, format)


def forbid_storage(monkeypatch) -> None:
    """Let every use of a storage and of the codec fail."""

    class Unreachable:
        def __getattr__(self, name):
            raise AssertionError(f"storage.{name}")

    monkeypatch.setattr(PHOTO, "storage", Unreachable())
    monkeypatch.setitem(storages._storages, conf.RENDITION_STORAGE, Unreachable())
    monkeypatch.setattr(codec, "decode", Unreachable())


def assert_refused(response, status: int) -> None:
    assert response.status_code == status
    assert response["Cache-Control"] == "no-store"
    assert response["Vary"] == "Accept"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "ETag" not in response


# What is delivered


@pytest.mark.parametrize("format", FORMATS)
def test_rendition__of_a_blob(client, format):
    name = store_blob(PHOTO, "photos/llama.png")
    response = client.get(url(name, 320, format))
    assert response.status_code == 200
    assert Image.open(BytesIO(response.content)).format == format.upper()
    assert response.content == renditions.render(PHOTO, name, 320, format)
    assert response["Content-Type"] == FORMATS[format]
    assert response["Content-Length"] == str(len(response.content))
    assert response["Cache-Control"] == IMMUTABLE
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["ETag"].startswith('"')
    assert "Vary" not in response
    assert "Set-Cookie" not in response


def test_rendition__of_a_source_is_provisional(client):
    name = store_source(PHOTO, "photos/llama.png")
    response = client.get(url(name, 320, "webp"))
    assert response.status_code == 200
    assert Image.open(BytesIO(response.content)).size == (96, 64)
    assert response["Cache-Control"] == "public, max-age=300"


def test_rendition__no_query(client):
    """The database is out of bounds for tests without the mark."""
    assert client.get(url(store_blob(PHOTO, "photos/llama.png"), 320, "webp")).status_code == 200


def test_rendition__head(client):
    link = url(store_blob(PHOTO, "photos/llama.png"), 320, "webp")
    got, head = client.get(link), client.head(link)
    assert head.status_code == 200
    assert head.content == b""
    for header in ("Content-Length", "Content-Type", "ETag", "Cache-Control"):
        assert head[header] == got[header]


@pytest.mark.parametrize(
    "name", ["photos/a b.png", "photos/ü%2F#?.png", "photos/llama.jpeg", "llama", "p/.webp"]
)
@pytest.mark.parametrize("format", ["webp", None])
@pytest.mark.parametrize("store", [store_blob, store_source])
def test_rendition__awkward_names(client, name, format, store):
    name = store(PHOTO, name)
    response = client.get(url(name, 320, format), headers={"Accept": "image/webp"})
    assert response.status_code == 200
    assert response["Content-Type"] == "image/webp"
    assert response.get("Vary") == (None if format else "Accept")


def test_rendition__inherited_field(client):
    name = store_blob(SNAPSHOT, "snaps/llama.png")
    file = FramedSnapshot(photo=name).photo
    response = client.get(file.rendition(100, "webp").url)
    assert response.status_code == 200


# Caches


def test_rendition__not_modified_reads_nothing(client, monkeypatch):
    link = url(store_blob(PHOTO, "photos/llama.png"), 320, "webp")
    etag = client.get(link)["ETag"]
    forbid_storage(monkeypatch)
    response = client.get(link, headers={"If-None-Match": f'"other", W/{etag}'})
    assert response.status_code == 304
    assert response.content == b""
    assert response["ETag"] == etag
    assert response["Cache-Control"] == IMMUTABLE
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "Content-Length" not in response


def test_rendition__not_modified_source(client, media):
    name = store_source(PHOTO, "photos/llama.png")
    link = url(name, 320, "webp")
    etag = client.get(link)["ETag"]
    response = client.get(link, headers={"If-None-Match": etag})
    assert response.status_code == 304
    assert response["Cache-Control"] == "public, max-age=300"
    # The name is taken again, by another picture.
    (media / name).write_bytes(image_bytes(picture(50, 50)))
    renditions.forget(PHOTO, name)
    response = client.get(link, headers={"If-None-Match": etag})
    assert response.status_code == 200
    assert Image.open(BytesIO(response.content)).size == (50, 50)


def test_rendition__etag_of_something_else(client):
    link = url(store_blob(PHOTO, "photos/llama.png"), 320, "webp")
    assert client.get(link, headers={"If-None-Match": '"other"'}).status_code == 200


def test_rendition__precondition_failed(client):
    link = url(store_blob(PHOTO, "photos/llama.png"), 320, "webp")
    response = client.get(link, headers={"If-Match": '"other"'})
    assert response.status_code == 412
    assert response["Cache-Control"] == "no-store"


def test_rendition__etags_differ(client):
    name = store_blob(PHOTO, "photos/llama.png")
    links = [url(name, width, format) for width in (320, 640) for format in ("webp", "jpeg")]
    etags = {client.get(link)["ETag"] for link in links}
    assert len(etags) == 4


# Negotiation


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (CHROME, "image/avif"),
        ("image/webp,*/*", "image/webp"),
        ("*/*", "image/jpeg"),
        ("text/html", "image/jpeg"),
        (None, "image/jpeg"),
    ],
)
def test_rendition__negotiated(client, accept, content_type):
    headers = {"Accept": accept} if accept else {}
    response = client.get(url(store_blob(PHOTO, "photos/llama.png")), headers=headers)
    assert response.status_code == 200
    assert response["Content-Type"] == content_type
    assert response["Vary"] == "Accept"
    assert response["Cache-Control"] == IMMUTABLE
    extension = content_type.removeprefix("image/")
    assert Image.open(BytesIO(response.content)).format == extension.upper()


def test_rendition__negotiated_blob(client):
    link = url(store_blob(PHOTO, "photos/llama.png"))
    response = client.get(link, headers={"Accept": BLOB_TYPE})
    assert response.status_code == 200
    assert response["Content-Type"] == BLOB_TYPE
    assert response.content == blob()
    assert response["Vary"] == "Accept"
    assert response["Cache-Control"] == IMMUTABLE


def test_rendition__negotiated_latents(client):
    from safetensors.numpy import load

    link = url(store_blob(PHOTO, "photos/llama.png"))
    response = client.get(link, headers={"Accept": LATENTS_TYPE})
    assert response.status_code == 200
    assert response["Content-Type"] == LATENTS_TYPE
    assert response["Vary"] == "Accept"
    assert response["Cache-Control"] == IMMUTABLE
    assert load(response.content)["latents"].shape == (1, 4, 8, 12)


def test_rendition__negotiated_latents_of_a_picture_kept_as_avif(client):
    avif = codec.encode(picture(seed=1), guard=Guard(min_quality=90))
    assert not codec.Latent.from_bytes(avif).has_latents
    link = url(store_blob(PHOTO, "photos/llama.png", avif))
    assert_refused(client.get(link, headers={"Accept": LATENTS_TYPE}), 406)
    assert client.get(link, headers={"Accept": BLOB_TYPE}).content == avif
    assert client.get(link, headers={"Accept": "image/webp"})["Content-Type"] == "image/webp"


@pytest.mark.parametrize("accept", [BLOB_TYPE, LATENTS_TYPE])
def test_rendition__negotiated_blob_of_a_source(client, accept):
    link = url(store_source(PHOTO, "photos/llama.png"))
    response = client.get(link, headers={"Accept": accept})
    assert response["Content-Type"] == "image/jpeg"
    assert response["Vary"] == "Accept"


def test_rendition__negotiated_etags_differ(client):
    link = url(store_blob(PHOTO, "photos/llama.png"))
    accepts = ("image/avif", "image/webp", "image/jpeg", BLOB_TYPE, LATENTS_TYPE)
    etags = {client.get(link, headers={"Accept": accept})["ETag"] for accept in accepts}
    assert len(etags) == 5


def test_rendition__negotiated_not_modified(client, monkeypatch):
    link = url(store_blob(PHOTO, "photos/llama.png"))
    etag = client.get(link, headers={"Accept": "image/webp"})["ETag"]
    headers = {"Accept": "image/webp", "If-None-Match": etag}
    forbid_storage(monkeypatch)
    response = client.get(link, headers=headers)
    assert response.status_code == 304
    assert response["Vary"] == "Accept"


def test_rendition__negotiated_modified_for_another_format(client):
    link = url(store_blob(PHOTO, "photos/llama.png"))
    etag = client.get(link, headers={"Accept": "image/webp"})["ETag"]
    headers = {"Accept": "image/jpeg", "If-None-Match": etag}
    assert client.get(link, headers=headers).status_code == 200


def test_rendition__negotiates_among_the_fields_formats(client):
    link = url(store_blob(SNAPSHOT, "snaps/llama.png"), 100, field=SNAPSHOT)
    response = client.get(link, headers={"Accept": CHROME})
    assert response["Content-Type"] == "image/webp"


@hypothesis_settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.text(max_size=60)
    | st.lists(
        st.sampled_from(
            [*negotiation.MEDIA_TYPES.values(), "*/*", ";q=0", ";q=nan", ",", ";q*=x'y'z"]
        )
    ).map("".join)
)
@example("image/webp;q*=nonsense''0.5")
def test_rendition__any_accept_header(client, accept):
    if not hasattr(client, "link"):
        client.link = url(store_blob(PHOTO, "photos/llama.png"))
    response = client.get(client.link, headers={"Accept": accept})
    assert response.status_code == 200
    assert response["Vary"] == "Accept"


# Refusals


@pytest.mark.parametrize("format", ["webp", None])
def test_rendition__bad_signature(client, format):
    link = url(store_blob(PHOTO, "photos/llama.png"), 320, format)
    assert_refused(client.get(link.replace("/320/", "x/320/")), 403)


@pytest.mark.parametrize("format", ["webp", "jpeg", None])
def test_rendition__tampered_name(client, format):
    name = store_blob(PHOTO, "photos/llama.png")
    store_source(PHOTO, "photos/secret.png")
    link = url(name, 320, format)
    assert_refused(client.get(link.replace(name, "photos/secret.png")), 403)


def test_rendition__signature_of_another_field(client):
    name = store_blob(PHOTO, "photos/llama.png")
    signature = url(name, 320, "webp").split("/")[2]
    other = url(name, 100, "webp", SNAPSHOT).split("/")[2]
    link = url(name, 320, "webp").replace(signature, other)
    assert_refused(client.get(link), 404)  # 320 is not one of its widths
    relabelled = f"{links.label(PHOTO)}:{other.partition(':')[2]}"
    assert_refused(client.get(link.replace(other, relabelled)), 403)


@pytest.mark.parametrize("width", [0, 321, 100, 10**30])
def test_rendition__width_is_not_offered(client, width):
    name = store_blob(PHOTO, "photos/llama.png")
    assert_refused(client.get(url(name, width, "webp")), 404)
    assert_refused(client.get(url(name, width)), 404)


def test_rendition__format_is_not_offered(client):
    name = store_blob(SNAPSHOT, "snaps/llama.png")
    assert_refused(client.get(url(name, 100, "avif", SNAPSHOT)), 404)


def test_rendition__extension_is_no_format(client):
    name = store_blob(PHOTO, "photos/llama.png")
    assert_refused(client.get(url(name, 320) + ".png"), 403)


@pytest.mark.parametrize(
    "label", ["testapp.product.title", "testapp.product.id", "testapp.product.none", "none.none.x"]
)
def test_rendition__no_such_field(client, label):
    assert_refused(client.get(rendition_url(label, "photos/llama.png", 320, "webp")), 404)


@pytest.mark.parametrize("label", ["product", "", "a.b.c.d"])
def test_rendition__label_is_none(client, label):
    assert_refused(client.get(rendition_url(label, "photos/llama.png", 320, "webp")), 404)


@pytest.mark.parametrize("accept", ["image/webp", BLOB_TYPE])
def test_rendition__missing_blob(client, accept):
    name = store_blob(PHOTO, "photos/llama.png")
    PHOTO.storage.delete(name)
    assert_refused(client.get(url(name), headers={"Accept": accept}), 404)
    assert_refused(client.get(url(name, 320, "webp")), 404)


@pytest.mark.django_db
def test_rendition__missing_source(client):
    assert_refused(client.get(url("photos/none.png", 320, "webp")), 404)


@pytest.mark.parametrize("accept", ["image/webp", BLOB_TYPE, LATENTS_TYPE])
@pytest.mark.parametrize("left", [0, 10, -1])
def test_rendition__truncated_blob(client, media, caplog, accept, left):
    name = store_blob(PHOTO, "photos/llama.png")
    (media / name).write_bytes(blob()[:left])
    assert_refused(client.get(url(name), headers={"Accept": accept}), 410)
    assert_refused(client.get(url(name, 320, "webp")), 410)
    assert name in caplog.text


def test_rendition__source_is_no_picture(client):
    name = store_source(PHOTO, "photos/llama.png", b"<html>")
    assert_refused(client.get(url(name, 320, "webp")), 410)


def test_rendition__truncated_source(client):
    content = image_bytes(picture(200, 200), "JPEG")
    name = store_source(PHOTO, "photos/llama.jpg", content[: len(content) // 2])
    assert_refused(client.get(url(name, 320, "webp")), 410)


def test_rendition__machine_without_a_decoder(client, monkeypatch):
    def fail(content, **options):
        raise ModelError("torch is not installed")

    monkeypatch.setattr(codec, "decode", fail)
    name = store_blob(PHOTO, "photos/llama.png")
    assert_refused(client.get(url(name, 320, "webp")), 503)
    response = client.get(url(name), headers={"Accept": BLOB_TYPE})
    assert response.content == blob()


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
def test_rendition__other_methods(client, method):
    link = url(store_blob(PHOTO, "photos/llama.png"), 320, "webp")
    response = getattr(client, method)(link)
    assert_refused(response, 405)
    assert response["Allow"] == "GET, HEAD"


def test_rendition__empty_name_has_no_url():
    with pytest.raises(NoReverseMatch):
        url("", 320, None)


# Overload


@pytest.fixture
def busy(settings):
    """One decode is running, and nobody may wait."""
    settings.LATENTIMG = {**settings.LATENTIMG, "MAX_DECODES": 1, "MAX_WAITING": 0}
    with flights.decodes.one_more():
        yield settings


def test_rendition__busy(client, busy):
    """wagtail#13014: a crowd must not take all of a web worker's memory."""
    response = client.get(url(store_blob(PHOTO, "photos/llama.png"), 320, "webp"))
    assert_refused(response, 503)
    assert response["Retry-After"] == "2"


def test_rendition__busy_but_made_already(client, settings):
    name = store_blob(PHOTO, "photos/llama.png")
    made = renditions.render(PHOTO, name, 320, "webp")
    settings.LATENTIMG = {**settings.LATENTIMG, "MAX_DECODES": 1, "MAX_WAITING": 0}
    with flights.decodes.one_more():
        assert client.get(url(name, 320, "webp")).content == made


def test_rendition__busy_and_the_nearest_width_will_do(client, settings):
    name = store_blob(PHOTO, "photos/llama.png")
    made = renditions.render(PHOTO, name, 640, "webp")
    settings.LATENTIMG = {
        **settings.LATENTIMG,
        "MAX_DECODES": 1,
        "MAX_WAITING": 0,
        "WHEN_BUSY": "nearest",
    }
    with flights.decodes.one_more():
        response = client.get(url(name, 320, "webp"))
        assert (response.status_code, response.content) == (200, made)
        assert response["Cache-Control"] == "no-store"
        assert "ETag" not in response
        assert "Vary" not in response
        assert_refused(client.get(url(name, 320, "avif")), 503)
