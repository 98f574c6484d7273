"""From a source to a committed blob, with everything that can come between."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from django_latentimg import codec
from django_latentimg.codec import guard
from django_latentimg.codec.floors import Floors
from django_latentimg.codec.models import BUNDLED
from django_latentimg.codec.patches import Box
from django_latentimg.compression import TryAgainError, compress, fingerprint, placeholder
from django_latentimg.models import Compression
from django_latentimg.names import BlobName
from django_latentimg.signals import compressed
from django_latentimg.tasks import compress_image
from tests.conftest import celery_app, image_bytes, picture
from tests.testapp.models import Label, Product, Snapshot

PHOTO = Product._meta.get_field("photo")
LABEL = Label._meta.get_field("photo")
SNAP = Snapshot._meta.get_field("photo")

# Real commits: the order of commit and deletion is what is tested.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("enqueued")]


def test_compress__commits_the_blob_and_the_companion_columns(upload, files):
    saved = Product.objects.create(photo=upload())
    outcome = compress(PHOTO, saved.pk, saved.photo.name)
    fresh = Product.objects.get()
    name = BlobName.parse(fresh.photo.name)
    assert name is not None
    assert (name.source, name.width, name.height) == ("photos/llama.png", 96, 64)
    assert (fresh.photo_width, fresh.photo_height) == (96, 64)
    assert fresh.photo_placeholder.startswith("data:image/webp;base64,")
    assert files() == {"photos/llama.png", fresh.photo.name}
    assert fresh.photo.latent().digest == name.digest
    assert name.policy == fingerprint(PHOTO)
    assert outcome.state == "compressed"
    assert (outcome.source_bytes, outcome.blob_bytes) == (
        saved.photo.size,
        PHOTO.storage.size(fresh.photo.name),
    )


def test_compress__uses_the_fields_quality(upload, monkeypatch):
    saved = Product.objects.create(photo=upload())
    monkeypatch.setattr(PHOTO, "quality", 80)
    compress(PHOTO, saved.pk, saved.photo.name)
    assert Product.objects.get().photo.latent().quality == 80


def test_compress__tells_the_application_what_the_guard_chose(upload):
    heard = []

    def listen(**told):
        heard.append((Product.objects.get(pk=told["primary_key"]).photo.name, told))

    compressed.connect(listen, sender=Product)
    try:
        saved = Product.objects.create(photo=upload())
        outcome = compress(PHOTO, saved.pk, saved.photo.name)
    finally:
        compressed.disconnect(listen, sender=Product)
    ((name, told),) = heard
    assert told["field"] == PHOTO
    assert told["name"] == name, "the row points to the blob by then"
    assert (told["source_bytes"], told["blob_bytes"]) == (outcome.source_bytes, outcome.blob_bytes)
    assert told["verdict"] == Product.objects.get().photo.latent().verdict
    assert told["verdict"].prefer == "detail"


def test_compress__guards_as_the_field_says(upload):
    mark = [16, 16, 48, 40]
    saved = Label.objects.create(photo=upload(), print=[mark])
    compress(LABEL, saved.pk, saved.photo.name)
    photo = Label.objects.get().photo
    verdict = photo.latent().verdict
    assert verdict.prefer == "fidelity"
    source, shown = np.asarray(picture()), np.asarray(photo.image())
    assert guard.fidelity(source, shown) >= 30
    assert not Floors(source, focal=[Box(*mark)]).failures(shown)


@pytest.mark.parametrize("marks", [[[1, 2, 3]], [["a", 1, 2, 3]], 7, [None]])
def test_compress__focal_rectangles_that_are_none(upload, marks):
    saved = Label.objects.create(photo=upload(), print=marks)
    outcome = compress(LABEL, saved.pk, saved.photo.name)
    assert outcome.state == "failed"
    assert "[left, top, right, bottom]" in outcome.reason
    assert Label.objects.get().photo.name == saved.photo.name


def test_compress__deletes_the_source_only_where_told(upload, files):
    saved = Snapshot.objects.create(photo=upload())
    compress(SNAP, saved.pk, saved.photo.name)
    assert files() == {Snapshot.objects.get().photo.name}


def test_compress__forgets_the_sources_renditions(upload, tmp_path):
    saved = Product.objects.create(photo=upload())
    saved.photo.rendition(320, "webp").bytes()
    cache = tmp_path / "renditions"
    assert any(path.is_file() for path in cache.rglob("*"))
    compress(PHOTO, saved.pk, saved.photo.name)
    assert not any(path.is_file() for path in cache.rglob("*"))


def test_compress__twice_does_nothing_twice(upload, files, monkeypatch):
    saved = Product.objects.create(photo=upload())
    compress(PHOTO, saved.pk, saved.photo.name)
    before = files(), Product.objects.get().photo.name

    def refuse(*arguments, **options):
        raise AssertionError("encoded again")

    monkeypatch.setattr(codec, "encode", refuse)
    assert compress(PHOTO, saved.pk, saved.photo.name).state == "compressed"
    assert (files(), Product.objects.get().photo.name) == before
    assert Compression.objects.get().attempts == 1, "since it last went well"


def test_compress__blob_of_an_older_policy_gives_way(upload, files, monkeypatch):
    saved = Product.objects.create(photo=upload())
    compress(PHOTO, saved.pk, saved.photo.name)
    older = Product.objects.get().photo
    older.rendition(320, "webp").bytes()
    monkeypatch.setattr(PHOTO, "quality", 80)
    assert compress(PHOTO, saved.pk, older.name).state == "compressed"
    newer = Product.objects.get().photo
    assert newer.latent().quality == 80
    assert BlobName.parse(newer.name).policy == fingerprint(PHOTO)
    assert files() == {"photos/llama.png", newer.name}
    with pytest.raises(FileNotFoundError):
        older.rendition(320, "webp").bytes()


@pytest.mark.parametrize(("one", "other"), [("lite", "compact"), ("compact", "lite")])
def test_compress__with_another_model_what_there_is_goes_on_being_shown(
    one, other, upload, settings
):
    """Though the two models do not read each other's blobs."""
    settings.LATENTIMG = settings.LATENTIMG | {"MODEL": one}
    saved = Product.objects.create(photo=upload())
    compress(PHOTO, saved.pk, saved.photo.name)
    settings.LATENTIMG = settings.LATENTIMG | {"MODEL": other}
    spaces = []
    for _ in range(2):
        photo = Product.objects.get().photo
        spaces.append(photo.latent().space)
        with Image.open(io.BytesIO(photo.rendition(320, "webp").bytes())) as shown:
            error = np.asarray(shown, float) - np.asarray(picture())
        assert np.abs(error).mean() < 20
        compress(PHOTO, saved.pk, photo.name)
    assert spaces == [BUNDLED[one], BUNDLED[other]]


def test_compress__blob_of_an_older_policy_is_shown_for_a_while(upload, files, settings, collect):
    saved = Product.objects.create(photo=upload())
    compress(PHOTO, saved.pk, saved.photo.name)
    older = Product.objects.get().photo.name
    settings.LATENTIMG = settings.LATENTIMG | {"GRACE": 600, "EFFORT": 1}
    with mock.patch.object(PHOTO, "quality", 80):
        compress(PHOTO, saved.pk, older)
    newer = Product.objects.get().photo.name
    assert files() == {"photos/llama.png", older, newer}
    collect()
    assert files() == {"photos/llama.png", newer}


def test_compress__blob_of_an_older_policy_whose_source_is_gone_stays(upload, files, monkeypatch):
    saved = Snapshot.objects.create(photo=upload())
    compress(SNAP, saved.pk, saved.photo.name)
    older = Snapshot.objects.get().photo.name
    monkeypatch.setattr(SNAP, "quality", 80)
    outcome = compress(SNAP, saved.pk, older)
    assert (outcome.state, "not in storage" in outcome.reason) == ("failed", True)
    assert files() == {older} == {Snapshot.objects.get().photo.name}


def test_compress__of_the_present_policy_again_changes_nothing(upload, files):
    saved = Product.objects.create(photo=upload())
    compress(PHOTO, saved.pk, saved.photo.name)
    name = Product.objects.get().photo.name
    assert compress(PHOTO, saved.pk, name).state == "compressed"
    assert (
        files()
        == {"photos/llama.png", name}
        == {"photos/llama.png", Product.objects.get().photo.name}
    )


def during_encode(monkeypatch, action) -> None:
    """Do ``action`` when the picture has been encoded, before the blob is written."""
    encode = codec.encode

    def encode_and_act(*arguments, **options):
        blob = encode(*arguments, **options)
        action()
        return blob

    monkeypatch.setattr(codec, "encode", encode_and_act)


def test_compress__replaced_meanwhile(upload, files, monkeypatch, collect):
    saved = Product.objects.create(photo=upload())

    def replace():
        row = Product.objects.get()
        row.photo = upload("alpaca.png", seed=1)
        row.save()

    during_encode(monkeypatch, replace)
    assert compress(PHOTO, saved.pk, "photos/llama.png").state == "replaced"
    assert Product.objects.get().photo.name == "photos/alpaca.png"
    collect()
    assert files() == {"photos/alpaca.png"}


def test_compress__deleted_meanwhile(upload, files, monkeypatch, collect):
    saved = Product.objects.create(photo=upload())
    pk = saved.pk
    during_encode(monkeypatch, lambda: Product.objects.get().delete())
    assert compress(PHOTO, pk, "photos/llama.png").state == "replaced"
    collect()
    assert files() == set()


def test_compress__deleted_while_the_source_is_read(upload, files, monkeypatch):
    saved = Product.objects.create(photo=upload())
    pk = saved.pk
    open_file = FileSystemStorage._open

    def delete_and_open(self, name, mode="rb"):
        monkeypatch.setattr(FileSystemStorage, "_open", open_file)
        Product.objects.get().delete()
        return open_file(self, name, mode)

    monkeypatch.setattr(FileSystemStorage, "_open", delete_and_open)
    assert compress(PHOTO, pk, "photos/llama.png").state == "replaced"
    assert files() == set()


def test_compress__two_workers_at_once(upload, files, monkeypatch):
    saved = Product.objects.create(photo=upload())
    encode, inner = codec.encode, []

    def encode_while_another_does_it_all(*arguments, **options):
        monkeypatch.setattr(codec, "encode", encode)
        inner.append(compress(PHOTO, saved.pk, "photos/llama.png").state)
        return encode(*arguments, **options)

    monkeypatch.setattr(codec, "encode", encode_while_another_does_it_all)
    compress(PHOTO, saved.pk, "photos/llama.png")
    assert inner == ["compressed"]
    assert files() == {"photos/llama.png", Product.objects.get().photo.name}


def test_compress__shared_source_is_kept_until_the_last_row(upload, files):
    first = Snapshot.objects.create(photo=upload())
    second = Snapshot.objects.create(photo=first.photo.name)
    compress(SNAP, first.pk, first.photo.name)
    assert first.photo.name in files()
    compress(SNAP, second.pk, first.photo.name)
    assert files() == set(Snapshot.objects.values_list("photo", flat=True))


def test_compress__leaves_a_blob_that_was_cut_short_and_may_not_be(upload, files, collect):
    saved = Product.objects.create(photo=upload())
    compress(PHOTO, saved.pk, saved.photo.name)
    name = Product.objects.get().photo.name
    whole = Path(PHOTO.storage.path(name)).read_bytes()
    Path(PHOTO.storage.path(name)).write_bytes(whole[:50])
    Product.objects.update(photo="photos/llama.png")
    compress(PHOTO, saved.pk, saved.photo.name)
    salted = Product.objects.get().photo
    assert salted.name != name
    assert np.array_equal(salted.image(), codec.decode(whole))
    assert files() == {"photos/llama.png", name, salted.name}
    collect()
    assert files() == {"photos/llama.png", salted.name}


def test_compress__removes_another_blob_of_a_killed_attempt(upload, files, collect):
    """A worker elsewhere may encode the same source to other bytes."""
    saved = Product.objects.create(photo=upload())
    other = "photos/llama.png.96x64-5123.00000000-0000.limg"
    PHOTO.storage.save(other, ContentFile(b"another machine's"))
    Compression.objects.update(blob=other)
    compress(PHOTO, saved.pk, saved.photo.name)
    assert other in files(), "whoever wrote it may be about to commit it"
    collect()
    assert files() == {"photos/llama.png", Product.objects.get().photo.name}


@pytest.mark.parametrize(
    "content", [b"", b"no picture", image_bytes(picture())[:-200]], ids=["empty", "text", "cut"]
)
def test_compress__broken_picture_stays_and_is_reported(content, files):
    saved = Product(photo="photos/broken.png")
    PHOTO.storage.save("photos/broken.png", ContentFile(content))
    saved.save()
    outcome = compress(PHOTO, saved.pk, "photos/broken.png")
    assert outcome.state == "failed"
    assert outcome.reason
    assert Product.objects.get().photo.name == "photos/broken.png"
    assert files() == {"photos/broken.png"}
    assert Compression.objects.get().reason == outcome.reason


def test_compress__missing_source_is_reported():
    saved = Product.objects.create(photo="photos/gone.png")
    assert "not in storage" in compress(PHOTO, saved.pk, "photos/gone.png").reason


def test_compress__over_the_pixel_limit(upload, settings):
    settings.LATENTIMG = settings.LATENTIMG | {"MAX_PIXELS": 1000}
    saved = Product.objects.create(photo=upload())
    assert compress(PHOTO, saved.pk, saved.photo.name).state == "failed"
    assert Product.objects.get().photo.name == saved.photo.name


def test_compress__storage_that_fails_is_raised_and_can_be_repeated(upload, files, monkeypatch):
    saved = Product.objects.create(photo=upload())

    def fail(*arguments, **options):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(FileSystemStorage, "_save", fail)
        with pytest.raises(TryAgainError, match="disk full"):
            compress(PHOTO, saved.pk, saved.photo.name)
    assert Product.objects.get().photo.name == saved.photo.name
    compress(PHOTO, saved.pk, saved.photo.name)
    assert files() == {"photos/llama.png", Product.objects.get().photo.name}


def test_placeholder__is_small_and_has_the_shape():
    blob = codec.encode(picture(320, 160))
    uri = placeholder(blob)
    assert len(uri) < 600
    assert uri.startswith("data:image/webp;base64,")


def test_task__runs_from_strings_alone(upload):
    saved = Product.objects.create(photo=upload())
    arguments = json.loads(
        json.dumps(["testapp.product", str(saved.pk), "photo", "photos/llama.png"])
    )
    assert compress_image(*arguments) == "compressed"
    with pytest.raises(TypeError):
        compress_image("testapp.product", str(saved.pk), "title", "x")


def test_task__goes_to_celerys_default_queue():
    route = celery_app.amqp.router.route({}, compress_image.name)
    assert route["queue"].name == celery_app.conf.task_default_queue
    assert compress_image.acks_late
    assert compress_image.reject_on_worker_lost


# Killed workers: a process of its own, real files, a real database file, SIGKILL

POINTS = ("before_blob", "in_blob", "after_blob", "after_row")


def worker(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.worker", str(folder), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"},
        cwd=Path(__file__).parent.parent,
    )


@pytest.mark.parametrize("model", ["product", "snapshot"])
@pytest.mark.parametrize("point", POINTS)
def test_compress__killed_worker_loses_nothing(point, model, tmp_path):
    killed = worker(tmp_path, model, "--kill", point)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    between = json.loads(worker(tmp_path, model, "--look").stdout)
    assert between["column"] in between["files"]
    assert between["shown"]
    finished = worker(tmp_path, model)
    assert finished.returncode == 0, finished.stderr
    state = json.loads(finished.stdout)
    assert state["column"].endswith(".limg")
    expected = {state["column"]} | ({state["source"]} if model == "product" else set())
    assert set(state["files"]) == expected


@pytest.mark.parametrize("point", POINTS[:3])
@pytest.mark.parametrize("action", ["replace", "delete"])
def test_compress__killed_worker_and_then_replaced_or_deleted(point, action, tmp_path):
    assert worker(tmp_path, "product", "--kill", point).returncode == -signal.SIGKILL
    finished = worker(tmp_path, "product", "--first", action)
    assert finished.returncode == 0, finished.stderr
    state = json.loads(finished.stdout)
    assert state["files"] == ([state["column"]] if action == "replace" else [])


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(st.sampled_from(["compress", "stale", "replace", "save"]), max_size=6))
def test_compress__any_order_leaves_a_readable_picture(steps, upload, files, monkeypatch, collect):
    """Whatever happens in whatever order: the column's file exists, and nothing else of ours."""
    blob = codec.encode(picture())
    monkeypatch.setattr(codec, "encode", lambda *a, **k: blob)
    row = Snapshot.objects.create(photo=upload())
    stale = Snapshot.objects.get(pk=row.pk)
    sources = [row.photo.name]
    for number, step in enumerate(steps):
        if step == "compress":
            compress(SNAP, row.pk, sources[-1])
        elif step == "stale":
            compress(SNAP, row.pk, sources[0])
        elif step == "save":
            stale.save()
        else:
            fresh = Snapshot.objects.get(pk=row.pk)
            fresh.photo = upload(f"{number}.png")
            fresh.save()
            sources.append(fresh.photo.name)
    name = Snapshot.objects.get(pk=row.pk).photo.name
    collect()
    assert files() == {name}
    assert name.startswith(sources[-1])
    Snapshot.objects.get(pk=row.pk).delete()
    assert files() == set()


def test_compress__a_source_whose_name_another_upload_has_taken(upload, files, monkeypatch):
    """Made anew from that, the row would show somebody else's picture."""
    first = Snapshot.objects.create(photo=upload())
    compress(SNAP, first.pk, first.photo.name)
    older = Snapshot.objects.get().photo.name
    second = Snapshot.objects.create(photo=upload(seed=1, width=120))
    assert second.photo.name == "snaps/llama.png", "the name was free"
    monkeypatch.setattr(SNAP, "quality", 80)
    outcome = compress(SNAP, first.pk, older)
    assert (outcome.state, "not in storage" in outcome.reason) == ("failed", True)
    assert Snapshot.objects.get(pk=first.pk).photo.name == older
    assert files() == {older, "snaps/llama.png"}


def test_discard__a_name_that_another_models_row_holds(upload, files):
    saved = Snapshot.objects.create(photo=upload())
    Label.objects.create(photo=saved.photo.name)
    compress(SNAP, saved.pk, saved.photo.name)
    assert saved.photo.name in files()
    Label.objects.get().delete()
    assert files() == {Snapshot.objects.get().photo.name}
