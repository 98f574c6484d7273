"""``manage.py latentimg_cache``, and the grace of what was replaced."""

import os
import time
from datetime import timedelta
from io import StringIO

import pytest
from django.core.files.storage import FileSystemStorage, default_storage, storages
from django.core.management import CommandError, call_command
from django.utils import timezone

from django_latentimg import discards, housekeeping
from django_latentimg.compression import compress
from django_latentimg.models import Discarded
from django_latentimg.tasks import free_discarded
from django_latentimg.test import instant_codec, store_blob

from .conftest import picture
from .s3 import bucket, keys
from .testapp.models import Portrait, Product, Snapshot

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("enqueued")]

PHOTO = Product._meta.get_field("photo")


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("latentimg_cache", *arguments, stdout=out)
    return out.getvalue()


def made(model, file_name: str = "llama.jpg", **options):
    """A row with a picture of its own and one rendition of it."""
    seed = picture(40, 30, seed=hash(file_name) % 1000)
    row = model.objects.create(photo=store_blob(model, "photo", seed, source=file_name))
    rendition = row.photo.rendition(model._meta.get_field("photo").widths[0], "webp", **options)
    rendition.bytes()
    return row, rendition


def names() -> set[str]:
    return {kept.name for kept in housekeeping.walk()}


@pytest.fixture
def grace(settings):
    settings.LATENTIMG = {**settings.LATENTIMG, "GRACE": 600}


@pytest.fixture
def later(monkeypatch):
    """Lets the grace pass."""

    def wait() -> None:
        now = timezone.now()
        monkeypatch.setattr(timezone, "now", lambda: now + timedelta(seconds=601))

    return wait


@pytest.fixture
def sent(monkeypatch):
    """The countdowns of the tasks that free what was replaced."""
    countdowns = []
    monkeypatch.setattr(
        free_discarded, "apply_async", lambda countdown: countdowns.append(countdown)
    )
    return countdowns


# The cache


def test_command__shows_sizes_by_field(upload):
    _, rendition = made(Product)
    made(Product, "alpaca.jpg")
    made(Portrait, ratio="1/1")
    source = Snapshot.objects.create(photo=upload())
    source.photo.rendition(100, "webp").bytes()
    lines = [line.split() for line in run().splitlines()]
    assert [(line[0], line[1]) for line in lines[1:]] == [
        ("testapp.portrait.photo", "1"),
        ("testapp.product.photo", "2"),
        ("testapp.snapshot.photo", "1"),
    ]
    assert "0 h ago" in run()
    assert rendition.cache_name in names()


def test_command__nothing_is_there():
    assert run("--orphans", "--max-bytes", "0").endswith("0 renditions deleted: 0\xa0bytes.\n")


def test_command__orphans(tmp_path):
    row, rendition = made(Product)
    _, other = made(Product, "alpaca.jpg")
    Product.objects.filter(pk=row.pk).update(photo="")  # behind the field's back
    assert "(no row)" in run("--orphans", "--dry-run")
    assert names() == {rendition.cache_name, other.cache_name}
    run("--orphans")
    assert names() == {other.cache_name}
    folders = [path for path in (tmp_path / "renditions").rglob("*.limg") if path.is_dir()]
    assert len(folders) == 1, "its folder is gone as well"


def age(tmp_path, rendition, days: float) -> None:
    """As if it had been read last so many days ago."""
    moment = time.time() - days * 86400
    os.utime(tmp_path / "renditions" / rendition.cache_name, (moment, moment))


def test_command__unused(tmp_path):
    (_, old), (_, fresh) = made(Product), made(Product, "alpaca.jpg")
    age(tmp_path, old, 8)
    age(tmp_path, fresh, 6)
    run("--unused", "7")
    assert names() == {fresh.cache_name}


def test_command__caps_the_total_at_what_was_used_last(tmp_path):
    rows = [made(Product, f"{number}.jpg")[1] for number in range(4)]
    for number, rendition in enumerate(rows):
        age(tmp_path, rendition, number)
    sizes = {kept.name: kept.bytes for kept in housekeeping.walk()}
    most = sum(sizes[rendition.cache_name] for rendition in rows[:2])
    run("--max-bytes", str(most))
    assert names() == {rendition.cache_name for rendition in rows[:2]}
    run("--max-bytes", "1K")
    assert sum(kept.bytes for kept in housekeeping.walk()) <= 1024


def test_command__a_size_that_is_none():
    with pytest.raises(CommandError, match="size"):
        run("--max-bytes", "much")


def test_command__without_time_zones(tmp_path, settings):
    settings.USE_TZ = False
    (_, old), (_, fresh) = made(Product), made(Product, "alpaca.jpg")
    age(tmp_path, old, 8)
    run("--unused", "7")
    assert names() == {fresh.cache_name}


def test_command__few_queries(django_assert_max_num_queries):
    for number in range(3):
        made(Product, f"{number}.jpg")
    with django_assert_max_num_queries(20):
        run("--orphans")


def test_command__s3(calls, endpoint):
    row, rendition = made(Product)
    made(Product, "alpaca.jpg")
    bucket(endpoint).put_object(Key="renditions/", Body=b"")  # as consoles make folders
    asked = []
    events = storages["renditions"].bucket.meta.client.meta.events
    events.register("before-call.s3", lambda model, **_: asked.append(model.name))
    out = run()
    assert " 2 " in out
    assert "(no row)" not in out
    assert len(asked) == 1, "one call lists them all with their sizes"
    Product.objects.filter(pk=row.pk).update(photo="")
    run("--orphans")
    assert rendition.cache_name not in keys(endpoint)
    assert len(names()) == 1


# Grace


def test_replace__old_urls_work_for_a_while_and_then_all_is_freed(
    client, upload, files, grace, sent, later
):
    """wagtail#13834, #13225: replacing a picture kills the pictures of cached pages."""
    row, rendition = made(Product)
    old, unmade = row.photo.name, row.photo.rendition(640, "webp").url
    row.photo = upload("alpaca.png")
    row.save()
    with instant_codec():
        compress(PHOTO, row.pk, row.photo.name)
    assert sent == [601]
    assert client.get(rendition.url).status_code == 200
    assert client.get(unmade).status_code == 200
    assert discards.free_due() == 0
    assert old in files()
    later()
    assert free_discarded() == 2, "its source, too"
    assert old not in files()
    assert client.get(unmade).status_code == 410
    assert not [name for name in names() if "llama" in name]
    assert not Discarded.objects.exists()
    assert Product.objects.get().photo.name in files()


def test_replace__a_picture_that_is_shown_again_stays(upload, files, grace, sent, later):
    row, _ = made(Product)
    old = row.photo.name
    row.photo = upload("alpaca.png")
    row.save()
    Product.objects.create(photo=old)
    later()
    assert discards.free_due() == 2
    assert old in files()


def test_replace__the_command_frees_what_no_task_has(upload, files, grace, sent, later):
    row, _ = made(Product)
    old = row.photo.name
    row.photo = upload("alpaca.png")
    row.save()
    assert "discarded" not in run()
    later()
    assert "2 discarded files deleted." in run()
    assert old not in files()


def test_replace__the_broker_is_down(upload, files, grace, monkeypatch, later):
    def fail(**_):
        raise ConnectionError

    monkeypatch.setattr(free_discarded, "apply_async", fail)
    row, _ = made(Product)
    row.photo = upload("alpaca.png")
    row.save()
    later()
    assert discards.free_due() == 2


def test_free__a_file_that_cannot_be_deleted_keeps_no_other_waiting(
    upload, files, monkeypatch, later, caplog
):
    for name in ("stuck.png", "free.png"):
        default_storage.save(name, upload())
        discards.discard(PHOTO, name, using="default", after=600)
    later()
    delete, tried = FileSystemStorage.delete, []

    def fail(storage, name):
        tried.append(name)
        if name == "stuck.png":
            raise OSError("It is read-only.")
        delete(storage, name)

    with monkeypatch.context() as patch:
        patch.setattr(FileSystemStorage, "delete", fail)
        assert discards.free_due() == 1
        assert files() == {"stuck.png"}
        assert "stuck.png cannot be deleted yet." in caplog.text
        assert discards.free_due() == 0
        assert tried == ["stuck.png", "free.png"], "it is not tried again at once"
    Discarded.objects.update(due=timezone.now())
    assert discards.free_due() == 1
    assert not Discarded.objects.exists()


def test_free__stops_where_the_storage_is_down(upload, monkeypatch, later):
    discards.enter_all(PHOTO, [f"{number}.png" for number in range(100)], using="default")
    tried = []

    def fail(storage, name):
        tried.append(name)
        raise TimeoutError

    monkeypatch.setattr(FileSystemStorage, "delete", fail)
    assert discards.free_due() == 0
    assert len(tried) == discards.IN_A_ROW
    assert Discarded.objects.count() == 100


def test_delete__leaves_nothing(files, grace):
    row, _ = made(Product)
    row.delete()
    assert files() == set()
    assert names() == set()
    assert not Discarded.objects.exists()
