"""Uploads that are refused, and what the admin shows."""

import json
import re
import struct
import zlib

import pytest
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.forms import ClearableFileInput, modelform_factory
from PIL import Image

from django_latentimg.admin import thumbnail
from django_latentimg.forms import LatentImageWidget
from django_latentimg.test import store_blob
from django_latentimg.validators import PictureValidator

from .chromium import launched, needs_chromium
from .conftest import image_bytes, picture
from .testapp.models import Portrait, Product, Snapshot

SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>'


def uploaded(content: bytes, name: str = "llama.png") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content)


def animation() -> bytes:
    frames = [picture(20, 20, seed=seed) for seed in range(3)]
    return image_bytes(frames[0], "GIF", save_all=True, append_images=frames[1:])


def bomb(width: int = 50_000, height: int = 50_000) -> bytes:
    """A PNG of a few bytes that says it has so many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return image_bytes(picture(60, 40), "JPEG", exif=exif)


# The form field


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (SVG, "svg"),
        (b"  <SVG onload=alert(1)>", "svg"),
        (b"<!-- drawn -->\n<svg></svg>", "svg"),
        (b"GIF89a nothing", "invalid_image"),
        (image_bytes(picture())[:60], "invalid_image"),
        (bomb(), "max_pixels"),
        (bomb(9000, 9000), "max_pixels"),
    ],
    ids=["svg", "shouted", "commented", "nothing", "cut off", "bomb", "large"],
)
def test_form__refuses_before_anything_is_decoded(monkeypatch, content, code):
    def decode(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(Image.Image, "load", decode)
    form = modelform_factory(Product, fields=["photo"])(files={"photo": uploaded(content)})
    assert [error.code for error in form.errors.as_data()["photo"]] == [code]


@pytest.mark.django_db
@pytest.mark.parametrize("content", [image_bytes(picture()), turned(), animation()])
def test_form__takes_pictures(enqueued, content):
    form = modelform_factory(Product, fields=["photo"])(files={"photo": uploaded(content)})
    assert form.is_valid(), form.errors
    product = form.save()
    with product.photo.open() as stored:
        assert stored.read() == content
    assert product.photo_width


# Validators


@pytest.mark.parametrize(
    ("bounds", "content", "code"),
    [
        ({"formats": ["JPEG", "WEBP"]}, image_bytes(picture()), "format"),
        ({"max_bytes": 500}, image_bytes(picture()), "max_bytes"),
        ({"min_width": 97}, image_bytes(picture()), "min_size"),
        ({"min_height": 65}, image_bytes(picture()), "min_size"),
        ({"max_width": 95}, image_bytes(picture()), "max_size"),
        ({"max_height": 50}, turned(), "max_size"),
        ({"animated": "refuse"}, animation(), "animated"),
        ({}, SVG, "svg"),
        ({}, bomb(), "max_pixels"),
    ],
)
def test_validator__refuses(bounds, content, code):
    with pytest.raises(ValidationError) as refused:
        PictureValidator(**bounds)(uploaded(content))
    assert refused.value.code == code
    assert str(refused.value.messages[0])


def test_validator__takes_what_is_within_and_leaves_it_at_its_beginning():
    bounds = PictureValidator(
        formats=["JPEG"], max_bytes=10_000, min_width=40, max_width=40, max_height=60
    )
    file = uploaded(turned())
    bounds(file)
    assert file.tell() == 0
    PictureValidator(animated="first")(uploaded(animation()))
    PictureValidator(animated="refuse")(uploaded(image_bytes(picture())))


def test_validator__of_the_model_looks_at_uploads_and_not_at_what_is_stored(monkeypatch):
    field = Snapshot._meta.get_field("photo")
    monkeypatch.setattr(field, "_validators", [PictureValidator(min_width=1000)])
    field.__dict__.pop("validators", None)
    row = Snapshot(photo=uploaded(image_bytes(picture())))
    with pytest.raises(ValidationError, match="at least 1000"):
        row.full_clean()
    Snapshot(photo="snaps/gone.png").full_clean()
    field.__dict__.pop("validators", None)


def test_validator__stands_in_migrations():
    from django.db.migrations.writer import MigrationWriter

    text, _ = MigrationWriter.serialize(PictureValidator(max_bytes=10))
    assert text == "django_latentimg.validators.PictureValidator(max_bytes=10)"
    assert PictureValidator(max_bytes=10) == PictureValidator(max_bytes=10)


# The admin


@pytest.fixture
def row():
    name = store_blob(Portrait, "photo", picture(), source="llama.png")
    portrait = Portrait.objects.create(photo=name, focus=[0.25, 0.75])
    portrait.photo.rendition(100, "webp").bytes()
    return portrait


def change_page(admin_client, row) -> str:
    response = admin_client.get(f"/admin/testapp/portrait/{row.pk}/change/")
    assert response.status_code == 200
    return response.content.decode()


@pytest.mark.django_db
def test_admin__shows_the_picture_and_what_it_takes(admin_client, row):
    html = change_page(admin_client, row)
    assert "<picture>" in html
    assert row.photo.rendition(100, "jpeg").url in html
    assert re.search(r"<dt>size</dt><dd>96 × 64</dd>", html)
    assert re.search(r"<dt>blob</dt><dd>\d+\xa0bytes</dd>", html)
    assert re.search(r"<dt>renditions</dt><dd>1, \d+\xa0bytes</dd>", html)
    assert 'data-focus-for="id_focus" data-x="25" data-y="75"' in html
    assert "django_latentimg/focus.js" in html
    assert 'type="file"' in html
    assert 'name="photo-clear"' not in html, "the field is required"


@pytest.mark.django_db
def test_admin__survives_a_missing_file(admin_client, row):
    row.photo.storage.delete(row.photo.name)
    assert "<dt>problem</dt>" in change_page(admin_client, row)


@pytest.mark.django_db
def test_admin__source_that_waits(admin_client, upload, enqueued):
    row = Portrait.objects.create(photo=upload())
    assert "not compressed yet" in change_page(admin_client, row)


@pytest.mark.django_db
def test_admin__thumbnails_in_one_query(admin_client, row, django_assert_max_num_queries):
    for number in range(10):
        Portrait.objects.create(photo=row.photo.name, words=f"{number}")
    admin_client.get("/admin/testapp/portrait/")
    with django_assert_max_num_queries(5):  # session, user, two counts, rows
        html = admin_client.get("/admin/testapp/portrait/").content.decode()
    assert html.count("<picture>") == 11


def test_admin__keeps_its_themes_own_input(settings):
    from unfold.widgets import UnfoldAdminImageFieldWidget

    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "unfold"]  # for its templates
    field = Product._meta.get_field("photo")
    for widget in (UnfoldAdminImageFieldWidget, admin.widgets.AdminFileWidget):
        made = field.formfield(widget=widget).widget
        assert isinstance(made, widget)
        assert isinstance(made, LatentImageWidget)
        html = made.render(
            "photo", Product(photo="a.jpg.9x9-5123.01234567-0123.limg").photo, {"id": "x"}
        )
        assert "<dt>problem</dt>" in html
        assert html.count('type="file"') == 1
    assert not isinstance(field.formfield(widget=ClearableFileInput).widget, LatentImageWidget)
    assert not isinstance(field.formfield().widget, LatentImageWidget)


def test_thumbnail__nothing_for_nothing():
    assert thumbnail("photo")(Product()) == ""
    assert thumbnail("photo").short_description == "photo"


@needs_chromium
@pytest.mark.django_db(transaction=True)
def test_admin__focus_by_click(live_server, admin_client, row, monkeypatch):
    # Playwright runs a loop in this thread, and Django then takes its own calls for asynchronous.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with launched("--disable-gpu") as browser:
        page = browser.new_page(viewport={"width": 1000, "height": 800})
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        cookie = {"name": "sessionid", "value": admin_client.cookies["sessionid"].value}
        page.context.add_cookies([{**cookie, "url": live_server.url}])
        page.goto(f"{live_server.url}/admin/testapp/portrait/{row.pk}/change/")
        picture = page.locator(".latentimg-picture img")
        assert picture.evaluate("image => image.complete && image.naturalWidth > 0")
        marker = page.locator(".latentimg-focus")
        assert (marker.evaluate("m => m.style.left"), marker.evaluate("m => m.style.top")) == (
            "25%",
            "75%",
        )
        box = picture.bounding_box()
        picture.click(position={"x": box["width"] * 0.6, "y": box["height"] * 0.5})
        x, y = json.loads(page.locator("#id_focus").input_value())
        assert (x, y) == (pytest.approx(0.6, abs=0.02), pytest.approx(0.5, abs=0.02))
        assert marker.evaluate("m => m.style.left") == f"{100 * x:g}%"
        page.locator("#id_words").fill("A llama")
        page.get_by_role("button", name="Save", exact=True).click()
        page.wait_for_url("**/admin/testapp/portrait/")
        assert page.locator("picture img").count() == 1
    assert problems == []
    row.refresh_from_db()
    assert row.photo.focus == (round(100 * x), round(100 * y))
