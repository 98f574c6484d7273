"""``manage.py recompress_images`` on real rows and files."""

import json
import os
import pty
import re
import subprocess
import sys
import termios
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.core.management import CommandError, call_command
from django.utils import timezone

from django_latentimg import backlog, tasks
from django_latentimg.management.commands import recompress_images
from django_latentimg.models import Compression
from tests.testapp.models import FramedSnapshot, Product, Snapshot

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("enqueued")]


def run(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("recompress_images", *arguments, stdout=out, stderr=err, verbosity=0)
    return out.getvalue(), err.getvalue()


def test_command__compresses_what_is_still_a_source(upload):
    rows = [Product.objects.create(photo=upload(seed=seed)) for seed in range(3)]
    Product.objects.create()  # without a picture
    Snapshot.objects.create(photo=upload())
    out, _ = run()
    assert out.startswith("4 compressed")
    assert all(Product.objects.get(pk=row.pk).photo.is_latent for row in rows)
    assert Snapshot.objects.get().photo.is_latent
    assert run()[0].startswith("0 compressed")


def test_command__says_how_many_bytes_it_saved(upload):
    row = Product.objects.create(photo=upload(width=320, height=240))
    before = row.photo.size
    out, _ = run()
    after = Product.objects.get().photo.size
    assert f"{before - after} bytes saved" in out


def test_command__dry_run_counts_and_changes_nothing(upload, files):
    Product.objects.create(photo=upload())
    before = files()
    out, _ = run("--dry-run")
    assert "testapp.product.photo: 1 to compress" in out
    assert files() == before
    assert not Product.objects.get().photo.is_latent


@pytest.mark.parametrize("target", ["testapp.Product", "testapp.product.photo"])
def test_command__only_what_is_named(upload, target):
    Product.objects.create(photo=upload())
    Snapshot.objects.create(photo=upload())
    run(target)
    assert Product.objects.get().photo.is_latent
    assert not Snapshot.objects.get().photo.is_latent


@pytest.mark.parametrize("target", ["testapp.Nothing", "testapp.Product.title", "x", "a.b.c.d", ""])
def test_command__refuses_what_it_does_not_know(target):
    with pytest.raises(CommandError):
        run(target)


def test_command__blobs_of_an_older_policy_anew(upload, monkeypatch):
    rows = [Product.objects.create(photo=upload(seed=seed)) for seed in range(2)]
    run()
    older = set(Product.objects.values_list("photo", flat=True))
    monkeypatch.setattr(Product._meta.get_field("photo"), "quality", 80)
    Product.objects.create(photo=upload(seed=2))
    assert run("--stale")[0].startswith("2 compressed")
    assert not older & set(Product.objects.values_list("photo", flat=True))
    assert all(Product.objects.get(pk=row.pk).photo.latent().quality == 80 for row in rows)
    assert run("--stale")[0].startswith("0 compressed")
    assert run()[0].startswith("1 compressed"), "what is pending is another matter"


def test_command__what_failed_again(upload):
    field = Product._meta.get_field("photo")
    field.storage.save("photos/broken.png", ContentFile(b"no picture"))
    Product.objects.create(photo="photos/broken.png")
    with pytest.raises(CommandError):
        run()
    Product.objects.create(photo=upload())
    field.storage.delete("photos/broken.png")
    field.storage.save("photos/broken.png", upload())
    assert run("--failed")[0].startswith("1 compressed")
    assert run("--failed")[0].startswith("0 compressed")


def test_command__a_range_of_primary_keys(upload):
    rows = [Product.objects.create(photo=upload(seed=seed)) for seed in range(3)]
    middle = str(rows[1].pk)
    assert run("--from-pk", middle, "--to-pk", middle)[0].startswith("1 compressed")
    assert Product.objects.get(pk=rows[1].pk).photo.is_latent
    with pytest.raises(CommandError, match="no primary key"):
        run("--from-pk", "x")


def test_command__only_what_was_not_attempted_lately():
    Product.objects.create(photo="photos/gone.png")
    for arguments in ((), ("--not-since", "0")):
        with pytest.raises(CommandError, match="1 of 1"):
            run(*arguments)
    assert run("--not-since", "1")[0].startswith("0 compressed")
    Compression.objects.update(updated=timezone.now() - timedelta(days=2))
    with pytest.raises(CommandError, match="1 of 1"):
        run("--not-since", "1")


def test_command__json_for_machines(upload):
    row = Product.objects.create(photo=upload())
    Product.objects.create(photo="photos/gone.png")
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("recompress_images", "--json", stdout=out, verbosity=0)
    *lines, summary = (json.loads(line) for line in out.getvalue().splitlines())
    first, second = sorted(lines, key=lambda line: int(line["pk"]))
    assert (first["pk"], first["state"]) == (str(row.pk), "compressed")
    assert first["source_bytes"] > first["blob_bytes"] > 0
    assert second["state"] == "failed"
    assert summary["summary"]["reasons"] == {"… is not in storage.": 1}
    assert summary["summary"]["pictures"] == 2


def test_command__dry_run_estimates_by_a_sample(upload):
    for seed in range(4):
        Product.objects.create(photo=upload(width=320, height=240, seed=seed))
    out, _ = run("testapp.Product", "--dry-run")
    assert re.fullmatch(r"testapp.product.photo: 4 to compress; by 3 of them .* would.*\n", out)
    assert not Compression.objects.exclude(state="queued").exists()


def test_command__interrupted_says_what_it_has_done_and_goes_on_later(upload, monkeypatch):
    for seed in range(3):
        Product.objects.create(photo=upload(seed=seed))
    compress, done = backlog.compression.compress, []

    def compress_two(*arguments):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(compress(*arguments))
        return done[-1]

    monkeypatch.setattr(backlog.compression, "compress", compress_two)
    out = StringIO()
    with pytest.raises(CommandError, match="run it again") as stopped:
        call_command("recompress_images", stdout=out, verbosity=0)
    assert stopped.value.returncode == 130
    assert out.getvalue().startswith("2 compressed")
    monkeypatch.setattr(backlog.compression, "compress", compress)
    assert run()[0].startswith("1 compressed")


def test_command__not_above_a_rate(upload, monkeypatch):
    slept = []
    monkeypatch.setattr(backlog.time, "sleep", slept.append)
    monkeypatch.setattr(backlog.time, "monotonic", lambda: 0.0)
    field = Product._meta.get_field("photo")
    items = [backlog.Item(field, key, "x.png") for key in range(3)]
    assert list(backlog.paced(items, 0.5, None)) == items
    assert slept == [0, 2, 4]


def test_command__waits_while_the_machine_is_busy(monkeypatch):
    loads = [3.0, 2.5, 1.0]
    monkeypatch.setattr(os, "getloadavg", lambda: (loads.pop(0), 0.0, 0.0))
    monkeypatch.setattr(backlog.time, "sleep", lambda seconds: None)
    items = [backlog.Item(Product._meta.get_field("photo"), 1, "x.png")]
    assert list(backlog.paced(items, None, 2)) == items
    assert not loads


def test_command__by_celery_a_bounded_number_at_a_time(upload, monkeypatch):
    for seed in range(5):
        Product.objects.create(photo=upload(seed=seed))
    queue: list[tuple[str, ...]] = []
    most = []

    def work(seconds):
        most.append(len(queue))
        tasks.compress_image(*queue.pop(0))

    monkeypatch.setattr(
        tasks.compress_image, "apply_async", lambda sent, **options: queue.append(sent)
    )
    monkeypatch.setattr(backlog.time, "sleep", work)
    assert run("--async", "--in-flight", "2")[0].startswith("5 compressed")
    assert max(most) == 2


def test_command__by_celery_without_a_worker_gives_up(upload):
    Product.objects.create(photo=upload())
    with pytest.raises(CommandError, match="No worker has done anything"):
        run("--async", "--patience", "0")


def test_command__inherited_pictures_once(upload):
    FramedSnapshot.objects.create(photo=upload(), frame="oak")
    assert run()[0].startswith("1 compressed")


def test_command__reports_a_broken_picture_and_goes_on(upload):
    field = Product._meta.get_field("photo")
    field.storage.save("photos/broken.png", ContentFile(b"no picture"))
    Product.objects.create(photo="photos/broken.png")
    Product.objects.create(photo="photos/gone.png")
    good = Product.objects.create(photo=upload())
    out, err = StringIO(), StringIO()
    with pytest.raises(CommandError, match="2 of 3") as failure:
        call_command("recompress_images", stdout=out, stderr=err, verbosity=0)
    assert failure.value.returncode == 1
    assert "broken.png" in err.getvalue()
    assert "gone.png" in err.getvalue()
    assert Product.objects.get(pk=good.pk).photo.is_latent


def test_command__pages_through_many_rows(upload, monkeypatch):
    monkeypatch.setattr(backlog, "PAGE", 2)
    for seed in range(5):
        Product.objects.create(photo=upload(seed=seed))
    assert run()[0].startswith("5 compressed")


def test_command__by_processes_beside_each_other(tmp_path):
    def site(*arguments: str) -> str:
        finished = subprocess.run(
            [sys.executable, "-m", "tests.broker_site", *arguments],
            env=os.environ | {"SITE_FOLDER": str(tmp_path), "BROKER": "memory://"},
            cwd=Path(__file__).parent.parent,
            stdout=subprocess.PIPE,
            text=True,
            timeout=300,
        )
        return finished.stdout

    for _ in range(3):
        site("upload")
    assert site("compress", "--workers", "2").startswith("3 compressed")
    assert site("compress", "--workers", "2").startswith("0 compressed")
    assert len(list((tmp_path / "files").rglob("*.limg"))) == 3


def test_command__shows_progress_on_a_terminal():
    """A process of its own with a pseudo terminal of 100 columns; its one picture is missing."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 100))
    code = (
        "import django; django.setup();"
        "from django.core.management import call_command as call;"
        "from tests.testapp.models import Product;"
        "call('migrate', run_syncdb=True, verbosity=0);"
        "Product.objects.bulk_create([Product(photo='photos/gone.png')]);"
        "call('recompress_images')"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"},
        cwd=Path(__file__).parent.parent,
        stderr=follower,
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    shown = os.read(leader, 100_000).decode()
    assert "0 compressed" in finished.stdout, shown
    assert "testapp.product.photo: 100%" in shown
    assert "1/1" in shown


@pytest.mark.parametrize("option", ["--workers", "--in-flight"])
def test_command__refuses_none_at_all(option):
    with pytest.raises(CommandError, match="1 or more"):
        run(option, "0")


def test_command__storage_that_fails_is_told_and_tried_by_the_next_run(upload, monkeypatch):
    row = Product.objects.create(photo=upload())

    def fail(*arguments, **options):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(FileSystemStorage, "_save", fail)
        with pytest.raises(CommandError, match="1 of 1 pictures failed"):
            run()
    assert (Compression.objects.get().state, Product.objects.get().photo.name) == (
        "waiting",
        row.photo.name,
    )
    assert run()[0].startswith("1 compressed")


def test_command__stops_where_the_storage_is_down(upload, monkeypatch):
    """Else an hour without a bucket would use up the attempts of a million pictures."""
    for seed in range(4):
        Product.objects.create(photo=upload(seed=seed))

    def fail(*arguments, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(recompress_images, "IN_A_ROW", 2)
    monkeypatch.setattr(FileSystemStorage, "_save", fail)
    with pytest.raises(CommandError, match="no route to host"):
        run()
    assert Compression.objects.filter(state="waiting").count() == 2


def test_command__quarantined_pictures_only_when_asked_for(upload, settings, monkeypatch):
    settings.LATENTIMG = settings.LATENTIMG | {"ATTEMPTS": 2}
    Product.objects.create(photo=upload())

    def fail(*arguments, **options):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(backlog.compression.codec, "encode", fail)
        for state in ("waiting", "quarantined", "quarantined"):
            with pytest.raises(CommandError):
                run()
            assert Compression.objects.get().state == state
    with pytest.raises(CommandError):
        run()
    assert Compression.objects.get().attempts == 2
    assert run("--failed")[0].startswith("1 compressed")


def test_command__progress_in_lines_where_there_is_no_terminal(upload, monkeypatch):
    for seed in range(3):
        Product.objects.create(photo=upload(seed=seed))
    monkeypatch.setattr(recompress_images, "EVERY", -1)
    err = StringIO()
    call_command("recompress_images", stdout=StringIO(), stderr=err)
    lines = err.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == ["1 of 3", "2 of 3", "3 of 3"]
    assert re.fullmatch(r"3 of 3, [\d.]+ a second, 0 s left", lines[-1])


def test_command__dry_run_counts_what_was_not_attempted_lately_and_forgives_nothing(upload):
    Product.objects.create(photo=upload())
    Product.objects.create(photo="photos/gone.png")
    with pytest.raises(CommandError):
        run("--all")
    assert (
        "photo: 0 to compress"
        in run("testapp.Product", "--all", "--not-since", "1", "--dry-run")[0]
    )
    assert "photo: 0 to" in run("testapp.Product", "--failed", "--not-since", "1", "--dry-run")[0]
    Compression.objects.update(updated=timezone.now() - timedelta(days=2))
    before = list(Compression.objects.order_by("pk").values())
    assert "photo: 2 to" in run("testapp.Product", "--all", "--not-since", "1", "--dry-run")[0]
    assert "photo: 1 to" in run("testapp.Product", "--failed", "--not-since", "1", "--dry-run")[0]
    assert list(Compression.objects.order_by("pk").values()) == before


def test_sweep__sends_nothing_where_nothing_is_compressed(upload, enqueued, settings):
    Product.objects.create(photo=upload())
    Compression.objects.all().delete()
    enqueued.clear()
    settings.LATENTIMG = settings.LATENTIMG | {"COMPRESS": False}
    assert tasks.sweep()["enqueued"] == 0
    settings.LATENTIMG = settings.LATENTIMG | {"COMPRESS": True}
    assert tasks.sweep()["enqueued"] == len(enqueued) == 1
