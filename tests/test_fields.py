"""The field, its file object, and what saving and deleting rows does."""

import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, models, transaction
from django.db.migrations.writer import MigrationWriter
from django.forms import modelform_factory
from django.test.utils import CaptureQueriesContext

from django_latentimg import codec
from django_latentimg.compression import compress
from django_latentimg.fields import LatentImageField
from django_latentimg.models import Compression
from django_latentimg.names import BlobName
from tests.codec.test_codec import photograph
from tests.conftest import image_bytes, picture
from tests.testapp.models import FramedSnapshot, Product, Snapshot

BLOB = "photos/llama.png.96x64-5123.01234567-89ab.limg"
PHOTO = Product._meta.get_field("photo")

pytestmark = pytest.mark.django_db


def product(upload, **options) -> Product:
    return Product.objects.create(title="Llama", photo=upload(**options))


# Saving


def test_save__enqueues_after_the_commit(upload, enqueued, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        saved = product(upload)
        assert enqueued == []
    assert enqueued == [("testapp.product", str(saved.pk), "photo", saved.photo.name)]


def test_save__without_a_new_picture_enqueues_nothing(
    upload, enqueued, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        saved = product(upload)
    with django_capture_on_commit_callbacks(execute=True):
        saved.save()
        Product.objects.get(pk=saved.pk).save()
        saved.photo = upload("other.png")
        saved.save(update_fields=["title"])
    assert len(enqueued) == 1


@pytest.mark.django_db(transaction=True)
def test_save__rolled_back_enqueues_nothing_and_can_be_repeated(upload, enqueued):
    saved = product(upload)
    enqueued.clear()
    saved.photo = upload("other.png", seed=1)
    with pytest.raises(RuntimeError), transaction.atomic():
        saved.save()
        raise RuntimeError
    assert enqueued == []
    saved.save()
    assert Product.objects.get().photo.name == saved.photo.name == "photos/other.png"
    assert len(enqueued) == 1


@pytest.mark.django_db(transaction=True)
def test_save__with_the_broker_down_succeeds_and_shows_the_source(upload, monkeypatch, client):
    from django_latentimg.tasks import compress_image

    def refuse(*arguments, **options):
        raise OSError("connection refused")

    monkeypatch.setattr(compress_image, "apply_async", refuse)
    saved = product(upload)
    assert Compression.objects.get().state == "unsent"
    assert client.get(saved.photo.url).status_code == 200


def test_save__of_a_stale_instance_leaves_the_blob(upload, enqueued):
    saved = product(upload)
    stale = Product.objects.get(pk=saved.pk)
    compress(PHOTO, saved.pk, saved.photo.name)
    stale.title = "Alpaca"
    stale.save()
    fresh = Product.objects.get(pk=saved.pk)
    assert fresh.title == "Alpaca"
    assert fresh.photo.is_latent


def test_save__of_a_refreshed_and_then_stale_instance_leaves_the_blob(upload, enqueued):
    saved = product(upload)
    saved.refresh_from_db()
    compress(PHOTO, saved.pk, saved.photo.name)
    saved.save()
    assert Product.objects.get(pk=saved.pk).photo.is_latent


def test_save__of_a_deferred_picture_leaves_the_blob(upload, enqueued):
    saved = product(upload)
    deferred = Product.objects.defer("photo").get(pk=saved.pk)
    source = deferred.photo.name
    compress(PHOTO, saved.pk, source)
    deferred.save()
    assert Product.objects.get(pk=saved.pk).photo.is_latent


def test_save__of_another_rows_picture_is_written(upload, enqueued):
    one, other = product(upload), product(upload, name="other.png")
    one, other = Product.objects.get(pk=one.pk), Product.objects.get(pk=other.pk)
    one.photo = other.photo
    one.save()
    assert Product.objects.get(pk=one.pk).photo.name == other.photo.name


def test_save__of_an_instance_made_by_hand_is_written(upload, enqueued):
    saved = product(upload)
    Product(pk=saved.pk, title="By hand", photo="photos/by-hand.png").save()
    assert Product.objects.get(pk=saved.pk).photo.name == "photos/by-hand.png"


def test_save__of_inherited_fields(upload, enqueued, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        framed = FramedSnapshot.objects.create(photo=upload(), frame="oak")
    assert enqueued == [("testapp.snapshot", str(framed.pk), "photo", framed.photo.name)]


# Replacing and deleting


@pytest.mark.django_db(transaction=True)
def test_replace__removes_source_and_blob(upload, enqueued, files):
    saved = product(upload)
    compress(PHOTO, saved.pk, saved.photo.name)
    saved = Product.objects.get(pk=saved.pk)
    assert len(files()) == 2
    saved.photo = upload("alpaca.png", seed=1)
    saved.save()
    assert files() == {"photos/alpaca.png"}


@pytest.mark.django_db(transaction=True)
def test_replace__forgets_the_old_placeholder(upload, enqueued):
    saved = product(upload)
    compress(PHOTO, saved.pk, saved.photo.name)
    saved = Product.objects.get(pk=saved.pk)
    assert saved.photo.placeholder
    saved.photo = upload("alpaca.png", seed=1, width=40, height=30)
    assert (saved.photo_width, saved.photo_height) == (40, 30)
    assert saved.photo.placeholder == ""


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("stale", [False, True])
def test_delete__leaves_no_file(upload, enqueued, files, tmp_path, stale):
    saved = product(upload)
    loaded = Product.objects.get(pk=saved.pk)
    compress(PHOTO, saved.pk, saved.photo.name)
    fresh = Product.objects.get(pk=saved.pk)
    fresh.photo.rendition(320, "webp").bytes()
    (loaded if stale else fresh).delete()
    assert files() == set()
    if not stale:
        assert [path for path in (tmp_path / "renditions").rglob("*") if path.is_file()] == []


@pytest.mark.django_db(transaction=True)
def test_delete__rolled_back_keeps_the_files(upload, enqueued, files):
    saved = product(upload)
    with pytest.raises(RuntimeError), transaction.atomic():
        Product.objects.all().delete()
        raise RuntimeError
    assert files() == {saved.photo.name}


@pytest.mark.django_db(transaction=True)
def test_delete__keeps_a_file_that_another_row_shows(upload, enqueued, files):
    saved = product(upload)
    Product.objects.create(photo=saved.photo.name)
    saved.delete()
    assert files() == {saved.photo.name}


# The file object


def test_file__of_a_blob_knows_its_size_without_storage(settings, django_assert_num_queries):
    settings.STORAGES = settings.STORAGES | {"default": {"BACKEND": "tests.storages.NoStorage"}}
    photo = Product(photo=BLOB).photo
    with django_assert_num_queries(0):
        assert (photo.width, photo.height, photo.is_latent) == (96, 64, True)


def test_file__of_a_source_has_the_displayed_size(enqueued):
    exif = picture().getexif()
    exif[0x0112] = 6  # turned by 90 degrees
    turned = ContentFile(image_bytes(picture(96, 64), "JPEG", exif=exif), "turned.jpg")
    saved = Product.objects.create(photo=turned)
    fresh = Product.objects.get(pk=saved.pk)
    assert (fresh.photo_width, fresh.photo_height) == (64, 96)
    assert fresh.photo.known_size == (64, 96)


def test_file__without_companion_columns_reads_the_size(upload, enqueued):
    saved = Snapshot.objects.create(photo=upload())
    fresh = Snapshot.objects.get(pk=saved.pk)
    assert fresh.photo.known_size is None
    assert (fresh.photo.width, fresh.photo.height) == (96, 64)


def test_load__never_asks_the_storage(settings):
    Product.objects.create(photo="photos/gone.png")
    settings.STORAGES = settings.STORAGES | {"default": {"BACKEND": "tests.storages.NoStorage"}}
    with CaptureQueriesContext(connection) as queries:
        assert Product.objects.get().photo.name == "photos/gone.png"
    assert len(queries) == 1


def test_file__empty():
    photo = Product().photo
    assert not photo
    assert not photo.is_latent
    with pytest.raises(ValueError, match="no file"):
        _ = photo.url


def test_file__latent_and_image(enqueued):
    grass = photograph("grass.png").crop((100, 100, 196, 164))  # which the guard leaves latents
    grass.putalpha(128)
    saved = Product.objects.create(photo=ContentFile(image_bytes(grass), "grass.png"))
    assert saved.photo.image().mode == "RGBA"
    with pytest.raises(ValueError, match="not compressed"):
        saved.photo.latent()
    compress(PHOTO, saved.pk, saved.photo.name)
    fresh = Product.objects.get(pk=saved.pk)
    latent = fresh.photo.latent()
    assert isinstance(latent, codec.Latent)
    assert latent.symbols().shape == (4, 8, 12)
    assert (fresh.photo.image().size, fresh.photo.image().mode) == ((96, 64), "RGBA")


def test_file__rendition(upload, enqueued):
    saved = product(upload)
    rendition = saved.photo.rendition(320, "webp")
    assert (rendition.width, rendition.height) == (96, 64)
    assert rendition.bytes()[8:12] == b"WEBP"
    with pytest.raises(ValueError, match="no rendition"):
        saved.photo.rendition(321, "webp")
    with pytest.raises(ValueError, match="no rendition"):
        saved.photo.rendition(320, "png")


def test_file__knows_a_blobs_bytes_without_the_storage(upload, enqueued):
    saved = product(upload)
    assert saved.photo.size == PHOTO.storage.size(saved.photo.name)
    compress(PHOTO, saved.pk, saved.photo.name)
    blob = Product.objects.get().photo
    assert blob.size == PHOTO.storage.size(blob.name)
    PHOTO.storage.delete(blob.name)
    assert blob.size == blob.blob_name.bytes
    blob.save("other.png", ContentFile(image_bytes(picture())))
    assert blob.size == PHOTO.storage.size(blob.name)


def test_file__url_is_the_largest_jpeg(upload, enqueued, client):
    saved = product(upload, width=700, height=10)
    assert "/960/" in saved.photo.url
    response = client.get(saved.photo.url)
    assert response["Content-Type"] == "image/jpeg"


# Names


def test_generate_filename__refuses_the_ending_of_blobs():
    with pytest.raises(SuspiciousFileOperation, match="limg"):
        Product.objects.create(photo=ContentFile(b"", "a.png.1x1-5123.00000000-0000.limg"))


def test_generate_filename__leaves_room_for_the_blobs_name(upload, enqueued):
    saved = [product(upload, name="x" * 300 + ".png") for _ in range(2)]
    for row in saved:
        compress(PHOTO, row.pk, row.photo.name)
    names = list(Product.objects.values_list("photo", flat=True))
    assert len(set(names)) == 2
    assert all(BlobName.parse(name) and len(name) <= 255 for name in names)
    assert all(".png." in name for name in names)


# Forms, migrations


def test_form__accepts_a_picture_and_refuses_anything_else(enqueued):
    form_class = modelform_factory(Product, fields=["title", "photo"])
    good = SimpleUploadedFile("llama.png", image_bytes(picture()), "image/png")
    form = form_class({"title": "Llama"}, {"photo": good})
    assert form.is_valid()
    assert form.save().photo_width == 96
    bad = SimpleUploadedFile("llama.png", b"not a picture", "image/png")
    form = form_class({"title": "Llama"}, {"photo": bad})
    assert "photo" in form.errors


def test_form__clears_the_picture(upload, enqueued):
    saved = product(upload)
    form_class = modelform_factory(Product, fields=["photo"])
    form = form_class({"photo-clear": "on"}, instance=Product.objects.get(pk=saved.pk))
    form.save()
    fresh = Product.objects.get(pk=saved.pk)
    assert not fresh.photo
    assert fresh.photo_width is None


def test_admin__shows_and_saves(upload, enqueued, admin_client):
    saved = product(upload)
    compress(PHOTO, saved.pk, saved.photo.name)
    url = f"/admin/testapp/product/{saved.pk}/change/"
    page = admin_client.get(url)
    assert page.status_code == 200
    assert Product.objects.get(pk=saved.pk).photo.url in page.content.decode()
    assert admin_client.post(url, {"title": "Alpaca"}).status_code == 302
    fresh = Product.objects.get(pk=saved.pk)
    assert (fresh.title, fresh.photo.is_latent) == ("Alpaca", True)


def test_deconstruct__round_trip():
    field = LatentImageField(
        upload_to="x/", widths=(10, 20), formats=("jpeg",), quality=70, keep_source=False,
        placeholder_field="tiny", prefer="fidelity", patches="off", min_quality=40,
        focal_field="marks",
    )  # fmt: skip
    _, path, arguments, options = field.deconstruct()
    assert path == "django_latentimg.fields.LatentImageField"
    again = LatentImageField(*arguments, **options)
    assert again.deconstruct() == field.deconstruct()
    assert (again.widths, again.formats, again.quality) == ((10, 20), ("jpeg",), 70)
    source, _imports = MigrationWriter.serialize(field)
    assert "widths=(10, 20)" in source


def test_deconstruct__of_defaults_is_short():
    assert LatentImageField(upload_to="x/").deconstruct()[3] == {"upload_to": "x/"}


def test_max_length__fits_the_column():
    assert PHOTO.max_length == 255
    assert isinstance(PHOTO, models.ImageField)
