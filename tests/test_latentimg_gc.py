"""``manage.py latentimg_gc`` on real rows and files: what it deletes and what it leaves alone."""

import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from io import StringIO
from unittest import mock

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, InMemoryStorage, Storage
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_latentimg import garbage, housekeeping
from django_latentimg.compression import compress
from django_latentimg.models import Compression, Discarded
from django_latentimg.names import BlobName
from django_latentimg.test import instant_codec, make_blob

from . import s3
from .stored import store_blob
from .testapp.models import Label, Poster, Product, Snapshot

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("enqueued")]

PHOTO = Product._meta.get_field("photo")
SNAP = Snapshot._meta.get_field("photo")
LABEL = Label._meta.get_field("photo")
BLOB = make_blob()
OTHER = make_blob(width=64)
DAYS = 2


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("latentimg_gc", *arguments, stdout=out)
    return out.getvalue()


def found(*arguments: str) -> set[str]:
    """Names of the garbage."""
    lines = [json.loads(line) for line in run("--json", *arguments).splitlines()]
    names = [line["name"] for line in lines[:-1]]
    assert len(names) == len(set(names)), "told twice"
    return set(names)


@pytest.fixture
def age(media):
    """Makes all files and attempts two days old."""

    def make_old() -> None:
        moment = time.time() - DAYS * 86400
        for path in media.rglob("*"):
            if path.is_file():
                os.utime(path, (moment, moment))
        Compression.objects.update(updated=timezone.now() - timedelta(days=DAYS))

    return make_old


def compressed(model, upload, **columns):
    """A row with a blob that a worker has made."""
    row = model.objects.create(photo=upload, **columns)
    with instant_codec():
        compress(model._meta.get_field("photo"), row.pk, row.photo.name)
    return model.objects.get(pk=row.pk)


def lose(row) -> None:
    """Delete the row behind the field's back, as SQL or a truncated table would."""
    type(row)._base_manager.filter(pk=row.pk)._raw_delete("default")


# What is garbage


def test_command__shows_and_then_deletes_blob_and_source_of_a_lost_row(upload, files, age):
    row, shown = compressed(Product, upload()), compressed(Product, upload("alpaca.png", seed=1))
    blob, source = row.photo.name, "photos/llama.png"
    sizes = PHOTO.storage.size(blob), PHOTO.storage.size(source)
    lose(row)
    age()
    before = files()
    lines = run().splitlines()
    assert set(lines[:2]) == {
        f"testapp.product.photo  blob  {blob}",
        f"testapp.product.photo  source  {source}",
    }
    summary = "testapp.product.photo: 1 blobs ({}\xa0bytes), 1 sources ({:.1f}\xa0KB) {}."
    shown_sizes = sizes[0], sizes[1] / 1024
    assert summary.format(*shown_sizes, "would be deleted") in lines
    assert files() == before, "it only looks"
    assert summary.format(*shown_sizes, "deleted") in run("--delete").splitlines()
    assert files() == {"photos/alpaca.png", shown.photo.name}
    assert found("--delete") == set()


def test_command__a_blob_that_the_ledger_does_not_know(files, age):
    """As after a return to an older copy of the database."""
    lost, shown = store_blob(PHOTO, "photos/a.jpg", BLOB), store_blob(PHOTO, "photos/b.jpg", BLOB)
    Product.objects.create(photo=shown)
    age()
    assert found("--delete") == {lost}
    assert files() == {shown}


def test_command__its_renditions_go_too(upload, age):
    rows = compressed(Product, upload()), compressed(Product, upload("alpaca.png", seed=1))
    for row in rows:
        row.photo.rendition(320, "webp").bytes()
    lose(rows[0])
    age()
    run("--delete")
    assert [kept.picture for kept in housekeeping.walk()] == [rows[1].photo.name]


def test_command__a_blob_that_a_killed_worker_has_cut_short(age):
    name = store_blob(PHOTO, "photos/llama.jpg", BLOB)
    foreign = store_blob(PHOTO, "photos/alpaca.jpg", BLOB)
    for each in name, foreign:
        with open(PHOTO.storage.path(each), "wb") as file:
            file.write(BLOB[:2])
    Compression.objects.create(
        field="testapp.product.photo", object_id="1", source="photos/llama.jpg", blob=name
    )
    age()
    assert found() == {name}


def test_command__json_for_machines(upload, age):
    lose(compressed(Product, upload()))
    age()
    *lines, last = (json.loads(line) for line in run("testapp.Product", "--json").splitlines())
    blob, source = sorted(lines, key=lambda line: line["kind"])
    assert source == {
        "field": "testapp.product.photo",
        "name": "photos/llama.png",
        "kind": "source",
        "bytes": PHOTO.storage.size("photos/llama.png"),
        "deleted": False,
    }
    assert last == {
        "summary": {
            "testapp.product.photo": {
                "blobs": {"files": 1, "bytes": blob["bytes"]},
                "sources": {"files": 1, "bytes": source["bytes"]},
            }
        },
        "deleted": False,
    }
    assert json.loads(run("--json", "--delete").splitlines()[0])["deleted"] is True


# What is not this package's


def test_command__leaves_alone_what_it_did_not_make(upload, files, age):
    name = str(BlobName("photos/a.jpg", 96, 64, 500, "01234567", "0123"))
    for foreign in (name, "photos/readme.txt", "photos/a.jpg.limg", "photos/a.jpg"):
        PHOTO.storage.save(foreign, ContentFile(b"mine"))
    PHOTO.storage.save("photos/b.limg", ContentFile(BLOB))
    PHOTO.storage.save(f"elsewhere/{name}", ContentFile(BLOB))
    PHOTO.storage.save("photos/unknown.png", upload("unknown.png"))
    lose(Product.objects.bulk_create([Product(photo="photos/unknown.png")])[0])
    age()
    before = files()
    assert found("--delete") == set()
    assert files() == before


def test_command__an_ordinary_column_that_holds_the_names(upload, files, age):
    row = compressed(Product, upload())
    posters = [Poster.objects.create(image=name) for name in files()]
    lose(row)
    age()
    assert found() == set()
    posters[0].delete()
    assert found() == {posters[0].image.name}


def test_command__another_file_under_a_sources_free_name(upload, age):
    lose(compressed(Product, upload()))
    PHOTO.storage.delete("photos/llama.png")
    PHOTO.storage.save("photos/llama.png", ContentFile(b"not the llama"))
    age()
    assert "photos/llama.png" not in found()


def test_command__names_that_no_column_can_hold(media, files, age):
    (media / "photos").mkdir()
    name = str(BlobName("x\udcff.jpg", 96, 64, 500, "01234567", "0123"))
    (media / "photos" / name).write_bytes(BLOB)
    age()
    assert found("--delete") == set()
    assert (media / "photos" / name).exists()


def test_command__does_not_follow_symbolic_links(media, files, age, monkeypatch):
    """Behind them are files that rows show by other names."""
    name = store_blob(PHOTO, "photos/llama.jpg", BLOB)
    Product.objects.create(photo=name)
    alias = media / name.replace("llama", "alias")
    alias.symlink_to(media / name)
    os.utime(alias, (0, 0), follow_symlinks=False)
    (media / "snaps").symlink_to(media / "photos")
    (media / "photos" / "loop").symlink_to(media / "photos")
    age()
    assert found() == set()
    monkeypatch.setattr(PHOTO, "upload_to", lambda instance, name: name)
    assert found() == set()


# What rows need


def test_command__sources_that_are_kept(upload, age):
    row = compressed(Product, upload())
    age()
    assert found() == set()
    copy = Product.objects.create(photo=row.photo.name)
    lose(row)
    assert found() == set(), "another row shows the same picture"
    lose(copy)
    assert len(found()) == 2


@pytest.mark.parametrize("size", [(1, 1), (96, 64), (1000, 20), (999999, 999999)])
def test_command__sources_of_blobs_of_any_size(upload, age, size):
    """That were made by another attempt than the ledger's last."""
    row = compressed(Product, upload("älpaca's.png"))
    source = BlobName.parse(row.photo.name).source
    Product.objects.update(photo=str(BlobName(source, *size, 500, "01234567", "0123")))
    age()
    assert found() == {row.photo.name}
    Product.objects.update(photo=str(BlobName(f"{source}x", *size, 500, "01234567", "0123")))
    assert found() == {row.photo.name, source}


def test_command__sources_that_are_not_kept(upload, age):
    row = compressed(Snapshot, upload())
    SNAP.storage.save("snaps/llama.png", upload())
    age()
    assert found() == {"snaps/llama.png"}, "a worker was killed before it had deleted it"
    Product.objects.create(photo=row.photo.name)
    assert found() == set(), "another field wants it"


def test_command__a_source_is_all_that_is_left_of_the_picture(upload, age):
    row = compressed(Snapshot, upload())
    SNAP.storage.save("snaps/llama.png", upload())
    SNAP.storage.delete(row.photo.name)
    age()
    assert found() == set()


def test_command__what_pages_in_caches_still_name(upload, age, settings):
    settings.LATENTIMG = {**settings.LATENTIMG, "GRACE": 600}
    row = compressed(Product, upload())
    row.photo = upload("alpaca.png")
    row.save()
    age()
    assert Discarded.objects.count() == 2
    assert found() == set()
    Discarded.objects.all().delete()
    assert len(found()) == 2


def test_command__what_is_young(upload, files, age):
    row = compressed(Product, upload())
    lose(row)
    assert found("--delete") == set()
    age()
    assert found("--older-than", "49") == set()
    assert len(found("--older-than", "47")) == 2


def test_command__what_a_worker_is_about_to_show(upload, age):
    """The blob is one that has long been there: it is not written again."""
    row = compressed(Product, upload())
    lose(row)
    age()
    Compression.objects.update(updated=timezone.now(), state=Compression.State.STARTED)
    assert found() == {"photos/llama.png"}


@pytest.mark.parametrize("column", [lambda name: Product(photo=name), lambda n: Poster(image=n)])
def test_command__what_a_row_begins_to_show_meanwhile(column, files, age, monkeypatch):
    names = [store_blob(PHOTO, f"photos/{number}.jpg", BLOB) for number in range(3)]
    age()
    opened = FileSystemStorage.open

    def open_and_show(storage, name, mode="rb"):
        if name == names[1] and not column(name)._meta.model.objects.exists():
            column(name).save()
        return opened(storage, name, mode)

    monkeypatch.setattr(FileSystemStorage, "open", open_and_show)
    assert found("--delete") == {names[0], names[2]}
    assert files() == {names[1]}


def test_command__looks_at_the_database_that_is_written_to(upload, files, age, settings):
    """A replica may not know yet what is shown; here it does not even exist."""

    class Router:
        def db_for_read(self, model, **hints):
            return "replica"

        def db_for_write(self, model, **hints):
            return "default"

    shown, lost = compressed(Product, upload()), compressed(Product, upload("alpaca.png", seed=1))
    lose(lost)
    age()
    settings.DATABASE_ROUTERS = [Router()]
    assert found("--delete") == {lost.photo.name, "photos/alpaca.png"}
    assert files() == {shown.photo.name, "photos/llama.png"}


# Several fields


def test_command__only_what_is_named(upload, age):
    lose(compressed(Product, upload()))
    lose(compressed(Snapshot, upload()))
    age()
    assert {name.partition("/")[0] for name in found("testapp.Snapshot")} == {"snaps"}
    assert {name.partition("/")[0] for name in found()} == {"photos", "snaps"}
    with pytest.raises(CommandError, match="names no LatentImageField"):
        run("testapp.Poster")


def test_command__two_fields_in_one_folder(upload, age, monkeypatch):
    monkeypatch.setattr(LABEL, "upload_to", "photos")
    shown, lost = compressed(Label, upload()), compressed(Label, upload("alpaca.png", seed=1))
    lost_names = {lost.photo.name, "photos/alpaca.png"}
    lose(lost)
    age()
    assert shown.photo.name.startswith("photos/")
    assert found("testapp.Product") == set(), "they were made for the other one"
    assert found("testapp.Label") == lost_names
    assert found() == lost_names
    assert "testapp.label.photo: 1 blobs" in run()


def test_command__a_folder_within_anothers(upload, age, calls, endpoint, monkeypatch):
    monkeypatch.setattr(LABEL, "upload_to", "photos/labels/")
    lost = compressed(Label, upload()), compressed(Product, upload("alpaca.png", seed=1))
    names = {store_blob(PHOTO, f"photos/{name}.jpg", BLOB) for name in ("a", "labels/b")}
    for row in lost:
        lose(row)
    later(monkeypatch)
    calls.clear()
    out = run("testapp.Product", "testapp.Label", "testapp.Label.photo")
    assert calls["ListObjects"] == 1
    assert "testapp.label.photo: 2 blobs" in out
    assert "testapp.product.photo: 2 blobs" in out
    assert len(names & {line.rpartition("  ")[2] for line in out.splitlines()}) == 2


def test_command__one_storage_within_another(media, upload, files, age, monkeypatch):
    """The outer one lists the inner one's files by other names than their rows do."""
    monkeypatch.setattr(LABEL, "storage", FileSystemStorage(location=media / "inner"))
    monkeypatch.setattr(PHOTO, "upload_to", lambda instance, name: f"inner/labels/{name}")
    row, outer = compressed(Label, upload()), compressed(Product, upload("alpaca.png", seed=1))
    age()
    assert found() == set()
    Label.objects.update(photo=outer.photo.name.removeprefix("inner/"))
    lose(outer)
    assert found("testapp.Product") == {f"inner/{row.photo.name}"}


def test_command__two_storages_with_the_same_names(tmp_path, upload, age, monkeypatch):
    monkeypatch.setattr(LABEL, "upload_to", "photos/")
    monkeypatch.setattr(LABEL, "storage", FileSystemStorage(location=tmp_path / "labels"))
    row = compressed(Label, upload())
    lost = PHOTO.storage.save(row.photo.name, row.photo.open())
    row.photo.close()
    age()
    Compression.objects.update(updated=timezone.now() - timedelta(days=DAYS))
    assert found() == {lost}
    assert "testapp.product.photo: 1 blobs" in run()


@pytest.mark.parametrize(
    ("upload_to", "folder"),
    [
        ("", ""),
        ("photos", "photos"),
        ("./photos//a/", "photos/a"),
        ("photos/%Y/%m/", "photos"),
        ("photos/of-%Y", "photos"),
        ("photos%Y", ""),
        (".photos/", ".photos"),
        (lambda instance, name: name, ""),
    ],
)
def test_command__looks_where_files_can_be(upload_to, folder, files, age, monkeypatch):
    monkeypatch.setattr(PHOTO, "upload_to", upload_to)
    here = PHOTO.generate_filename(Product(), "llama.jpg")
    assert here.startswith(folder)
    lost, other = store_blob(PHOTO, here, BLOB), store_blob(PHOTO, "else/llama.jpg", BLOB)
    age()
    assert found("testapp.Product") == ({lost} if folder else {lost, other})


# Storages, sizes, clocks


def test_command__on_s3_with_a_location(upload, calls, endpoint, settings, monkeypatch):
    backend = s3.backend(endpoint, location="media")
    settings.STORAGES = settings.STORAGES | {"default": backend, "renditions": backend}
    row, shown = compressed(Product, upload()), compressed(Product, upload("alpaca.png", seed=1))
    row.photo.rendition(320, "webp").bytes()
    lose(row)
    s3.bucket(endpoint).put_object(Key=f"photos/{row.photo.name}", Body=BLOB)  # outside
    assert found("--delete") == set(), "they are young"
    later(monkeypatch)
    assert found("--delete") == {row.photo.name, "photos/llama.png"}
    assert s3.keys(endpoint) == {
        "media/photos/alpaca.png",
        f"media/{shown.photo.name}",
        f"photos/{row.photo.name}",
    }


def later(monkeypatch, hours: int = 25) -> None:
    """What is written now is old."""
    now = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: now() + timedelta(hours=hours))


def put(endpoint: str, keys: list[str], content: bytes) -> None:
    bucket = s3.bucket(endpoint)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: bucket.put_object(Key=key, Body=content), keys))


def test_command__on_s3_a_call_for_a_thousand_names(calls, endpoint, monkeypatch):
    shown = [str(BlobName(f"photos/{n}.jpg", 96, 64, 500, "01234567", "0123")) for n in range(1190)]
    Product.objects.bulk_create(Product(photo=name) for name in shown)
    put(endpoint, shown, BLOB)
    lost = [store_blob(PHOTO, f"photos/lost{number}.jpg", BLOB) for number in range(10)]
    later(monkeypatch)
    calls.clear()
    monkeypatch.setattr(garbage, "PAGE", 500)
    with CaptureQueriesContext(connection) as queries:
        assert found("testapp.Product") == set(lost)
    assert calls.pop("ListObjects") == 2
    assert calls.pop("GetObject") == len(lost)
    assert set(calls) <= {"HeadObject"}
    assert calls["HeadObject"] <= 2 * len(lost)
    assert len(queries) <= (10 + 3) + 12, "rows in three pages, then a look for what is lost"
    calls.clear()
    assert found("testapp.Product", "--delete") == set(lost)
    assert calls["DeleteObject"] == len(lost)
    assert s3.keys(endpoint) == set(shown)


def test_command__on_s3_without_listing_the_renditions(calls, endpoint, monkeypatch):
    monkeypatch.setattr(PHOTO, "upload_to", lambda instance, name: name)
    lost = [store_blob(PHOTO, f"{folder}/a.jpg", BLOB) for folder in ("photos", "zoo")]
    put(endpoint, [f"renditions/photos/{n}.jpg/320.webp" for n in range(2100)], b"webp")
    later(monkeypatch)
    calls.clear()
    assert found("testapp.Product") == set(lost)
    assert calls["ListObjects"] == 2, "up to the folder, and from behind it on"


def test_command__on_s3_keys_that_mean_another_file(calls, endpoint, monkeypatch):
    """django-storages would delete ``photos/llama…`` in the place of ``photos//llama…``."""
    name = store_blob(PHOTO, "photos/llama.jpg", BLOB)
    Product.objects.create(photo=name)
    twins = [name.replace("/", "//"), name.replace("/", "/./"), name.replace("/", "/\\")]
    put(endpoint, twins, BLOB)
    later(monkeypatch)
    assert found("--delete") == set()
    assert name in s3.keys(endpoint)


class LocalTimes(InMemoryStorage):
    """Does not know its time zone."""

    def get_modified_time(self, name: str) -> datetime:
        return timezone.make_naive(super().get_modified_time(name))


@pytest.mark.parametrize("storage", [InMemoryStorage, LocalTimes])
def test_command__in_a_storage_that_only_lists(storage, upload, monkeypatch):
    monkeypatch.setattr(PHOTO, "storage", storage())
    row, shown = compressed(Product, upload()), compressed(Product, upload("alpaca.png", seed=1))
    lose(row)
    Compression.objects.update(updated=timezone.now() - timedelta(days=DAYS))
    later(monkeypatch)
    assert found("--delete") == {row.photo.name, "photos/llama.png"}
    assert set(PHOTO.storage.listdir("photos")[1]) == {
        "alpaca.png",
        shown.photo.name.removeprefix("photos/"),
    }


def test_command__a_storage_that_cannot_list(monkeypatch):
    monkeypatch.setattr(PHOTO, "storage", Storage())
    with pytest.raises(CommandError, match=r"Storage cannot list files"):
        run()


@pytest.mark.parametrize("hours", ["0", "0.9", "-1", "nan"])
def test_command__refuses_to_delete_what_is_too_young(hours):
    with pytest.raises(CommandError, match="at least 1 hour"):
        run("--older-than", hours)


def test_command__without_time_zones(upload, age, settings):
    settings.USE_TZ = False
    lose(compressed(Product, upload()))
    age()
    assert len(found()) == 2
    assert found("--older-than", "49") == set()


def test_command__a_bounded_number_of_queries(upload, age, files, monkeypatch):
    with instant_codec():
        for seed in range(4):
            lose(compressed(Product, upload(f"{seed}.png", seed=seed)))
            compressed(Product, upload(f"shown{seed}.png", seed=seed))
    age()

    def queries(page: int, *arguments: str) -> int:
        monkeypatch.setattr(garbage, "PAGE", page)
        with CaptureQueriesContext(connection) as captured:
            assert len(found("testapp.Product", *arguments)) == 8
        return len(captured)

    columns = 8 + 2  # of files; what is to be freed, and what workers are about to show
    look = 1 + columns + 1  # with the ledger, for sources and for blobs
    assert queries(16) <= 2 * columns + look
    assert queries(4) <= 2 * columns + (4 + 8) // 4 + 2 * look, "4 rows, 8 entries, 8 lost files"
    monkeypatch.setattr(garbage, "AT_ONCE", 4)
    gate = 7  # entered, taken and deleted, in transactions
    assert queries(16, "--delete") <= 2 * columns + look + 2 * (columns + gate)
    assert len(files()) == 8


def test_command__reads_a_table_once_however_many_files_there_are(upload, age, monkeypatch):
    with instant_codec():
        for seed in range(6):
            compressed(Product, upload(f"{seed}.png", seed=seed))
    age()
    monkeypatch.setattr(garbage, "PAGE", 4)
    with CaptureQueriesContext(connection) as captured:
        assert found("testapp.Product") == set()
    table = f'FROM "{Product._meta.db_table}"'
    of_products = [query["sql"] for query in captured if table in query["sql"]]
    assert len([sql for sql in of_products if "photo" in sql]) == 3, "four, two, none"


def test_command__keeps_what_a_row_has_come_to_show_meanwhile(upload, age, files, monkeypatch):
    with instant_codec():
        lost = compressed(Product, upload())
    lose(lost)
    age()
    listed = garbage.Place.files

    def files_while_a_row_is_restored(place):
        Product.objects.create(photo=lost.photo.name)
        return listed(place)

    monkeypatch.setattr(garbage.Place, "files", files_while_a_row_is_restored)
    assert found("testapp.Product", "--delete") == set()
    assert len(files()) == 2


# Anything in any order

STEPS = ["upload", "compress", "replace", "delete", "lose", "kill", "copy", "foreign", "forget"]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    model=st.sampled_from([Product, Snapshot]),
    steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 3)), max_size=12),
)
def test_command__leaves_exactly_what_rows_need(model, steps, upload, media, files, age, collect):
    for table in (Product, Snapshot, Compression, Discarded):
        table.objects.all()._raw_delete("default")
    shutil.rmtree(media)
    media.mkdir()
    field, folder = model._meta.get_field("photo"), model._meta.get_field("photo").upload_to
    foreign: set[str] = set()
    for number, (step, which) in enumerate(steps):
        rows = list(model.objects.order_by("pk"))
        row = rows[which % len(rows)] if rows else None
        picture_file = upload(f"{number}.png", width=16, height=16, seed=number)
        if step == "upload":
            model.objects.create(photo=picture_file)
        elif step == "foreign":
            foreign.add(field.storage.save(f"{folder}{number}.txt", ContentFile(b"mine")))
            name = str(BlobName(f"{folder}{number}.jpg", 9, 9, 500, "01234567", "0123"))
            foreign.add(field.storage.save(name, ContentFile(b"mine")))
        elif row is None:
            continue
        elif step == "compress":
            with instant_codec():
                compress(field, row.pk, row.photo.name)
        elif step == "replace":
            row.photo = picture_file
            row.save()
        elif step == "delete":
            row.delete()
        elif step == "copy":
            model.objects.create(photo=row.photo.name)
        elif step == "lose":
            lose(row)
        elif step == "forget":  # update() behind the field's back
            model.objects.filter(pk=row.pk).update(photo=rows[0].photo.name)
        elif step == "kill":  # a worker, once it has written a blob of another policy
            quality = mock.patch.object(field, "quality", 80)
            died = mock.patch("django.db.models.QuerySet.update", side_effect=SystemExit)
            with instant_codec(), quality, died, pytest.raises(SystemExit):
                compress(field, row.pk, row.photo.name)
                raise SystemExit  # There was nothing to compress.
    age()
    needed = set(foreign)
    for name in model.objects.values_list("photo", flat=True):
        blob_name = BlobName.parse(name)
        needed |= {name, blob_name.source} if blob_name and field.keep_source else {name}
    known = set(Compression.objects.values_list("source", flat=True))
    unknown = {name for name in files() if name.endswith(".png") and name not in known}
    collect()
    run("--delete")
    # Of uploads whose row was lost before any attempt nothing tells that they are ours.
    assert files() == needed | unknown
