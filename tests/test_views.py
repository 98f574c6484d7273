import asyncio
import base64
import threading
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
from django_latentimg.crops import Crop
from django_latentimg.links import BLOB_TYPE, FORMATS, LATENTS_TYPE, rendition_url

from .conftest import image_bytes, picture
from .stored import blob, store_blob, store_source
from .testapp.models import FramedSnapshot, Portrait, Product, Snapshot

PHOTO = Product._meta.get_field("photo")
SNAPSHOT = Snapshot._meta.get_field("photo")
PORTRAIT = Portrait._meta.get_field("photo")

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
    assert response["Content-Security-Policy"].startswith("default-src 'none';")
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


def test_rendition__negotiated_latents_that_no_other_program_reads(client):
    compact = codec.encode(picture(), model="compact")
    link = url(store_blob(PHOTO, "photos/llama.png", compact))
    assert_refused(client.get(link, headers={"Accept": LATENTS_TYPE}), 406)
    assert client.get(link, headers={"Accept": BLOB_TYPE}).content == compact
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


@pytest.mark.parametrize("store", [store_blob, store_source])
def test_rendition__part_of_a_picture(client, store):
    name = store(PORTRAIT, "portraits/llama.png")
    file = Portrait(photo=name, focus=[1, 0]).photo
    rendition = file.rendition(100, "webp", "1/1")
    response = client.get(rendition.url)
    assert response.status_code == 200
    assert Image.open(BytesIO(response.content)).size == (64, 64)
    crop = Crop(1, 1, 100, 0)
    assert response.content == renditions.render(PORTRAIT, name, 100, "webp", crop)
    whole = client.get(file.rendition(100, "webp").url)
    assert whole["ETag"] != response["ETag"]
    negotiated = client.get(file.picture_url(crop).rendition(100, None))
    assert negotiated["Content-Type"] == "image/jpeg"


def test_rendition__part_of_a_picture_is_no_blob(client):
    file = Portrait(photo=store_blob(PORTRAIT, "portraits/llama.png")).photo
    url = file.picture_url(file.crop("1/1"))
    response = client.get(url.rendition(100, None), headers={"Accept": BLOB_TYPE})
    assert response["Content-Type"] == "image/jpeg"
    assert_refused(client.get(url.rendition(100, "limg")), 404)


def test_rendition__blob_and_latents_by_extension(client):
    """imgproxy#456: negotiation breaks behind some CDNs, so there are URLs that need none."""
    name = store_blob(PHOTO, "photos/llama.png")
    for format, content_type in (("limg", BLOB_TYPE), ("safetensors", LATENTS_TYPE)):
        response = client.get(url(name, 320, format))
        assert (response.status_code, response["Content-Type"]) == (200, content_type)
        assert "Vary" not in response
        negotiated = client.get(url(name, 320), headers={"Accept": content_type})
        assert negotiated.content == response.content
    source = store_source(PHOTO, "photos/alpaca.png")
    assert_refused(client.get(url(source, 320, "limg")), 404)


# Refusals


@pytest.mark.parametrize("change", [("x1-1/", "x2-1/"), ("x1-1/", "/"), ("100x", "101x")])
def test_rendition__part_that_the_field_does_not_have(client, change):
    file = Portrait(photo=store_blob(PORTRAIT, "portraits/llama.png")).photo
    link = file.rendition(100, "webp", "1/1").url
    assert change[0] in link
    assert_refused(client.get(link.replace(*change)), 404)


def test_rendition__focus_cannot_be_chosen_by_anybody(client):
    file = Portrait(photo=store_blob(PORTRAIT, "portraits/llama.png")).photo
    link = file.rendition(100, "webp", "1/1").url
    assert "@50,50" in link
    assert_refused(client.get(link.replace("@50,50", "@51,50")), 403)
    uncut = file.rendition(100, "webp").url
    assert_refused(client.get(uncut.replace("/100/", "/100x1-1/")), 404)


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
    assert_refused(client.get(url(name), headers={"Accept": accept}), 410)
    assert_refused(client.get(url(name, 320, "webp")), 410)


@pytest.mark.django_db
def test_rendition__missing_source(client):
    assert_refused(client.get(url("photos/none.png", 320, "webp")), 410)


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


# Parts of a picture


@pytest.mark.parametrize("format", ["webp", "limg"])
@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-9", slice(0, 10)),
        ("bytes=10-", slice(10, None)),
        ("bytes=-10", slice(-10, None)),
        ("bytes=-999999999", slice(None)),
        ("bytes=5-999999999", slice(5, None)),
        ("Bytes = 3 - 3 ", slice(3, 4)),
    ],
)
def test_rendition__range(client, format, asked, part):
    link, headers = url(store_blob(PHOTO, "photos/llama.png")), {"Accept": f"image/{format}"}
    if format == "limg":
        headers = {"Accept": BLOB_TYPE}
    whole = client.get(link, headers=headers)
    assert whole["Accept-Ranges"] == "bytes"
    response = client.get(link, headers={**headers, "Range": asked})
    assert response.status_code == 206
    assert response.content == whole.content[part]
    start, stop, _ = part.indices(len(whole.content))
    assert response["Content-Range"] == f"bytes {start}-{stop - 1}/{len(whole.content)}"
    assert response["Content-Length"] == str(stop - start)
    for header in ("ETag", "Cache-Control", "Vary", "Content-Type", "Content-Disposition"):
        assert response[header] == whole[header]


@pytest.mark.parametrize("asked", ["bytes=999999999-", "bytes=-0", "bytes=100000-200000"])
def test_rendition__range_beyond_the_end(client, asked):
    link = url(store_blob(PHOTO, "photos/llama.png"), 320, "webp")
    length = client.get(link)["Content-Length"]
    response = client.get(link, headers={"Range": asked})
    assert_refused(response, 416)
    assert response["Content-Range"] == f"bytes */{length}"


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,4-5", "bytes=5-2", "bytes=-", "lines=1-2", "bytes=x-", "bytes=" + "9" * 40]
)
def test_rendition__no_range_that_is_served(client, asked):
    link = url(store_blob(PHOTO, "photos/llama.png"), 320, "webp")
    response = client.get(link, headers={"Range": asked})
    assert response.status_code == 200
    assert response.content == client.get(link).content


def test_rendition__range_of_what_has_changed_since(client):
    link = url(store_blob(PHOTO, "photos/llama.png"), 320, "webp")
    etag = client.get(link)["ETag"]
    assert client.get(link, headers={"Range": "bytes=0-9", "If-Range": etag}).status_code == 206
    for other in ('"other"', f"W/{etag}", "Tue, 24 Nov 2026 10:00:00 GMT"):
        response = client.get(link, headers={"Range": "bytes=0-9", "If-Range": other})
        assert response.status_code == 200


def test_rendition__range_and_head_or_a_match(client):
    link = url(store_blob(PHOTO, "photos/llama.png"), 320, "webp")
    assert client.head(link, headers={"Range": "bytes=0-9"}).status_code == 200
    headers = {"Range": "bytes=0-9", "If-None-Match": client.get(link)["ETag"]}
    assert client.get(link, headers=headers).status_code == 304


# Headers that protect


@pytest.mark.parametrize(
    ("name", "accept", "file_name"),
    [
        ("photos/llama.png", "image/avif", 'inline; filename="llama-320.avif"'),
        ("photos/llama.png", BLOB_TYPE, 'inline; filename="llama.limg"'),
        ("photos/llama.png", LATENTS_TYPE, 'inline; filename="llama.safetensors"'),
        ("photos/.png", "image/avif", 'inline; filename=".png-320.avif"'),
        ("photos/ü.png", "image/avif", "inline; filename*=utf-8''%C3%BC-320.avif"),
    ],
)
def test_rendition__name_to_save_it_under(client, name, accept, file_name):
    link = url(store_blob(PHOTO, name))
    assert client.get(link, headers={"Accept": accept})["Content-Disposition"] == file_name


def test_rendition__may_run_nothing(client):
    response = client.get(url(store_blob(PHOTO, "photos/llama.png"), 320, "webp"))
    policy = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    assert response["Content-Security-Policy"] == policy
    assert response["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("accept", "origins"), [(BLOB_TYPE, "*"), (LATENTS_TYPE, "*"), ("image/webp", None)]
)
def test_rendition__scripts_of_other_sites_may_read_blobs(client, accept, origins):
    link = url(store_blob(PHOTO, "photos/llama.png"))
    response = client.get(link, headers={"Accept": accept, "Origin": "https://app.example"})
    assert response.get("Access-Control-Allow-Origin") == origins


def test_rendition__knows_no_session(client, monkeypatch):
    """The session backend is out of bounds, though its middleware is there and a cookie comes."""
    client.cookies["sessionid"] = "0123456789abcdefghijklmnopqrstuv"

    def fail(*_):
        raise AssertionError("the session was used")

    monkeypatch.setattr("django.contrib.sessions.backends.db.SessionStore.load", fail)
    response = client.get(url(store_blob(PHOTO, "photos/llama.png")))
    assert response.status_code == 200
    assert not response.cookies
    assert response["Vary"] == "Accept"


# Client hints


@pytest.fixture
def hints(settings):
    settings.LATENTIMG = {**settings.LATENTIMG, "CLIENT_HINTS": True}


@pytest.mark.parametrize(
    ("headers", "width"),
    [
        ({}, 1280),
        ({"Sec-CH-Width": "700"}, 960),
        ({"Width": "320"}, 320),
        ({"Sec-CH-Width": "4000"}, 1280),
        ({"Save-Data": "on"}, 640),
        ({"Save-Data": "on", "Sec-CH-Width": "960", "Sec-CH-DPR": "3"}, 320),
        ({"Save-Data": "ON ", "DPR": "1"}, 1280),
        ({"Save-Data": "off", "Sec-CH-Width": "nan", "DPR": "3"}, 1280),
    ],
)
def test_rendition__hints_choose_the_width(client, hints, headers, width):
    large = blob(1300, 64)
    name = store_blob(PHOTO, "photos/llama.png", large)
    response = client.get(url(name, 1280), headers={"Accept": "image/webp", **headers})
    assert Image.open(BytesIO(response.content)).width == width
    assert response["Vary"] == "Accept, Save-Data, Sec-CH-Width, Sec-CH-DPR, Width, DPR"
    explicit = client.get(url(name, width, "webp"))
    assert response["ETag"] == explicit["ETag"]


def test_rendition__hints_are_not_for_urls_with_a_format(client, hints):
    name = store_blob(PHOTO, "photos/llama.png", blob(1300, 64))
    response = client.get(url(name, 1280, "webp"), headers={"Save-Data": "on"})
    assert Image.open(BytesIO(response.content)).width == 1280
    assert "Vary" not in response


def test_rendition__hints_say_nothing_where_the_site_did_not_ask(client):
    name = store_blob(PHOTO, "photos/llama.png", blob(1300, 64))
    response = client.get(url(name, 1280), headers={"Accept": "image/webp", "Save-Data": "on"})
    assert Image.open(BytesIO(response.content)).width == 1280
    assert response["Vary"] == "Accept"


# Asynchronous servers


@pytest.mark.parametrize("format", ["webp", None])
def test_rendition__asgi_gives_the_same(client, async_client, format):
    link = url(store_blob(PHOTO, "photos/llama.png"), 320, format)
    expected = client.get(link)
    response = asyncio.run(async_client.get(link))
    assert response.content == expected.content
    assert dict(response.headers) == dict(expected.headers)


def test_rendition__asgi_does_not_block_the_loop(async_client, monkeypatch):
    """A decode that waits for what only the loop can do would wait in vain in its thread."""
    link = url(store_blob(PHOTO, "photos/llama.png"), 320, "webp")
    decode, started, free = codec.decode, threading.Event(), threading.Event()

    def wait(*arguments, **options):
        started.set()
        assert free.wait(20), "the loop stood still"
        return decode(*arguments, **options)

    monkeypatch.setattr(codec, "decode", wait)

    async def meanwhile():
        while not started.is_set():
            await asyncio.sleep(0.01)
        free.set()

    async def both():
        return (await asyncio.gather(async_client.get(link), meanwhile()))[0]

    assert asyncio.run(both()).status_code == 200


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


@pytest.mark.django_db
def test_rendition__busy_and_the_placeholder_will_do(client, busy):
    busy.LATENTIMG = {**busy.LATENTIMG, "WHEN_BUSY": "placeholder"}
    name = store_blob(PHOTO, "photos/llama.png")
    link = url(name, 320, "webp")
    assert_refused(client.get(link), 503)
    tiny = image_bytes(picture(24, 16), "WEBP")
    kept = f"data:image/webp;base64,{base64.b64encode(tiny).decode()}#102030"
    Product.objects.create(photo=name)
    assert_refused(client.get(link), 503)
    Product.objects.update(photo_placeholder=kept)
    response = client.get(link)
    assert (response.status_code, response.content) == (200, tiny)
    assert response["Content-Type"] == "image/webp"
    assert response["Cache-Control"] == "no-store"
    assert "ETag" not in response
