"""From a blob back to an ordinary file, with everything that can come between."""

import json
import os
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.core.management import CommandError, call_command
from django.utils import timezone
from PIL import Image

from django_latentimg import codec, discards, renditions, restore, tasks
from django_latentimg.codec import guard
from django_latentimg.compression import compress
from django_latentimg.models import Compression, Discarded
from django_latentimg.names import BlobName
from django_latentimg.restore import restore as bring_back
from tests.conftest import image_bytes, picture
from tests.stored import blob, store_blob
from tests.testapp.models import Product, Snapshot

PHOTO = Product._meta.get_field("photo")
SNAP = Snapshot._meta.get_field("photo")

# Real commits: the order of commit and deletion is what is tested.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("enqueued")]


@pytest.fixture(autouse=True)
def moving_out(settings: Any) -> None:
    settings.LATENTIMG = settings.LATENTIMG | {"COMPRESS": False}


def golden(name: str) -> bytes:
    return (Path(__file__).parent / "golden" / "v5" / f"{name}.limg").read_bytes()


@pytest.fixture
def counterfeit(monkeypatch) -> None:
    """Whatever is compressed becomes the same blob of 96 × 64 pixels."""
    monkeypatch.setattr(codec, "encode", lambda *_, **__: golden("opaque"))


def compressed(row: Any) -> Any:
    """The row, as a blob."""
    compress(type(row)._meta.get_field("photo"), row.pk, row.photo.name)
    return type(row).objects.get(pk=row.pk)


def latent(source: str, content: bytes | None = None) -> Snapshot:
    """A row that holds a blob without its source."""
    return Snapshot.objects.create(photo=store_blob(SNAP, source, content or golden("opaque")))


def content_of(name: str) -> bytes:
    return Path(PHOTO.storage.path(name)).read_bytes()


def test_restore__the_kept_source_byte_for_byte(upload, files, counterfeit):
    source = upload()
    saved = Product.objects.create(photo=source)
    row = compressed(saved)
    outcome = bring_back(PHOTO, row.pk, row.photo.name)
    fresh = Product.objects.get()
    assert fresh.photo.name == saved.photo.name
    source.seek(0)
    assert content_of(fresh.photo.name) == source.read()
    assert files() == {fresh.photo.name}
    assert (fresh.photo_width, fresh.photo_height) == (96, 64)
    assert fresh.photo_placeholder == row.photo_placeholder != ""
    assert (outcome.state, outcome.reason) == ("restored", "source")
    assert outcome.source_bytes == fresh.photo.size
    assert outcome.blob_bytes == len(golden("opaque"))
    assert Compression.objects.get().state == "restored"


def test_restore__the_blob_and_its_renditions_work_for_a_while(
    upload, files, counterfeit, settings, client
):
    settings.LATENTIMG = settings.LATENTIMG | {"GRACE": 600}
    row = compressed(Product.objects.create(photo=upload()))
    seen = row.photo.rendition(320, "webp").url
    bring_back(PHOTO, row.pk, row.photo.name)
    source = Product.objects.get().photo
    assert client.get(seen).status_code == 200
    assert client.get(source.rendition(320, "webp").url).status_code == 200
    Discarded.objects.update(due=timezone.now())
    assert discards.free_due() == 1
    assert files() == {source.name}
    assert renditions.made(PHOTO, row.photo.name) == []
    assert client.get(source.rendition(640, "webp").url).status_code == 200


@pytest.mark.parametrize(
    ("source", "extension", "format"),
    [
        ("llama.jpg", "jpg", "JPEG"),
        ("llama.JPEG", "jpg", "JPEG"),
        ("llama.webp", "webp", "WEBP"),
        ("llama.avif", "avif", "AVIF"),
        ("llama.png", "webp", "WEBP"),
        ("llama", "webp", "WEBP"),
    ],
)
def test_restore__what_the_blob_decodes_to(source, extension, format, files):
    row = latent(f"snaps/{source}", blob(320, 240))
    shown = np.asarray(row.photo.image())
    outcome = bring_back(SNAP, row.pk, row.photo.name)
    fresh = Snapshot.objects.get()
    digest = BlobName.parse(row.photo.name).digest
    assert fresh.photo.name == f"snaps/llama.{digest}.{extension}"
    assert files() == {fresh.photo.name}
    with Image.open(PHOTO.storage.path(fresh.photo.name)) as opened:
        assert (opened.format, opened.size) == (format, (320, 240))
        assert guard.fidelity(shown, np.asarray(opened.convert("RGB"))) >= 90
    assert (outcome.state, outcome.reason) == ("restored", "decoded")
    assert outcome.source_bytes == fresh.photo.size


@pytest.mark.parametrize(
    ("source", "format"), [("l.jpg", "WEBP"), ("l.png", "WEBP"), ("l.avif", "AVIF")]
)
def test_restore__transparency_stays(source, format):
    row = latent(f"snaps/{source}", golden("alpha"))
    shown = np.asarray(row.photo.image())
    assert bring_back(SNAP, row.pk, row.photo.name).state == "restored"
    with Image.open(SNAP.storage.path(Snapshot.objects.get().photo.name)) as opened:
        assert opened.format == format
        alpha = np.asarray(opened.convert("RGBA"))[..., 3].astype(int)
    assert abs(alpha - shown[..., 3].astype(int)).max() <= 8


def test_restore__wider_than_webp_can_hold():
    content = blob(16400, 8)
    row = latent("snaps/panorama.png", content)
    assert bring_back(SNAP, row.pk, row.photo.name).reason == "decoded"
    fresh = Snapshot.objects.get()
    assert fresh.photo.name.endswith(".avif")
    assert fresh.photo.image().size == (16400, 8)


def test_restore__not_another_picture_that_has_taken_the_sources_name(files, counterfeit, upload):
    first = compressed(Snapshot.objects.create(photo=upload("llama.png")))
    second = Snapshot.objects.create(photo=upload("llama.png", width=200, seed=1))
    assert second.photo.name == "snaps/llama.png", "the name was free again"
    outcome = bring_back(SNAP, first.pk, first.photo.name)
    assert outcome.reason == "decoded"
    shown = Snapshot.objects.get(pk=first.pk).photo
    assert shown.image().size == (96, 64)
    assert files() == {shown.name, second.photo.name}


def test_restore__a_source_that_was_not_deleted_yet(files, counterfeit, upload, monkeypatch):
    """Of a worker that was killed after the commit, or of a policy that was another one."""
    with monkeypatch.context() as patch:
        patch.setattr(SNAP, "keep_source", True)
        row = compressed(Snapshot.objects.create(photo=upload()))
    assert bring_back(SNAP, row.pk, row.photo.name).reason == "source"
    assert files() == {"snaps/llama.png"} == {Snapshot.objects.get().photo.name}


def test_restore__a_kept_source_of_which_the_ledger_knows_nothing(files, counterfeit, upload):
    row = compressed(Product.objects.create(photo=upload()))
    Compression.objects.all().delete()
    Product.objects.update(photo=store_blob(PHOTO, "photos/llama.png", golden("opaque")))
    PHOTO.storage.delete(row.photo.name)
    row = Product.objects.get()
    assert bring_back(PHOTO, row.pk, row.photo.name).reason == "source"
    assert Product.objects.get().photo.name == "photos/llama.png"


def test_restore__a_kept_source_although_the_blob_is_missing(files, counterfeit, upload):
    row = compressed(Product.objects.create(photo=upload()))
    PHOTO.storage.delete(row.photo.name)
    assert bring_back(PHOTO, row.pk, row.photo.name).state == "restored"
    assert files() == {Product.objects.get().photo.name}


@pytest.mark.parametrize("damage", ["missing", "cut", "text"])
def test_restore__broken_blob_stays_and_is_reported(damage, files):
    row = latent("snaps/llama.jpg")
    path = Path(SNAP.storage.path(row.photo.name))
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-20] if damage == "cut" else b"no blob")
    before = files()
    outcome = bring_back(SNAP, row.pk, row.photo.name)
    assert outcome.state == "failed"
    assert ("not in storage" in outcome.reason) == (damage == "missing")
    assert outcome.reason
    assert Snapshot.objects.get().photo.name == row.photo.name
    assert files() == before


def test_restore__twice_does_nothing_twice(files):
    row = latent("snaps/llama.jpg")
    assert bring_back(SNAP, row.pk, row.photo.name).state == "restored"
    before = files(), Snapshot.objects.get().photo.name
    assert bring_back(SNAP, row.pk, row.photo.name).state == "replaced"
    assert bring_back(SNAP, row.pk, before[1]).state == "replaced", "it is no blob"
    assert (files(), Snapshot.objects.get().photo.name) == before


def while_decoding(monkeypatch, action) -> None:
    """Do ``action`` when the picture has been decoded, before the file is written."""
    decode = restore._decode

    def decode_and_act(*arguments):
        content = decode(*arguments)
        monkeypatch.setattr(restore, "_decode", decode)
        action()
        return content

    monkeypatch.setattr(restore, "_decode", decode_and_act)


def test_restore__replaced_meanwhile(upload, files, monkeypatch, collect):
    row = latent("snaps/llama.jpg")

    def replace():
        fresh = Snapshot.objects.get()
        fresh.photo = upload("alpaca.png", seed=1)
        fresh.save()

    while_decoding(monkeypatch, replace)
    assert bring_back(SNAP, row.pk, row.photo.name).state == "replaced"
    assert Snapshot.objects.get().photo.name == "snaps/alpaca.png"
    collect()
    assert files() == {"snaps/alpaca.png"}


def test_restore__deleted_meanwhile(files, monkeypatch, collect):
    row = latent("snaps/llama.jpg")
    name, pk = row.photo.name, row.pk
    while_decoding(monkeypatch, lambda: Snapshot.objects.get().delete())
    assert bring_back(SNAP, pk, name).state == "replaced"
    collect()
    assert files() == set()


def test_restore__deleted_while_the_blob_is_read(files, monkeypatch):
    row = latent("snaps/llama.jpg")
    name, pk = row.photo.name, row.pk
    open_file = FileSystemStorage._open

    def delete_and_open(self, name, mode="rb"):
        monkeypatch.setattr(FileSystemStorage, "_open", open_file)
        Snapshot.objects.get().delete()
        return open_file(self, name, mode)

    monkeypatch.setattr(FileSystemStorage, "_open", delete_and_open)
    assert bring_back(SNAP, pk, name).state == "replaced"
    assert files() == set()


def test_restore__two_at_once(files, monkeypatch):
    row, inner = latent("snaps/llama.jpg"), []
    while_decoding(
        monkeypatch, lambda: inner.append(bring_back(SNAP, row.pk, row.photo.name).state)
    )
    assert bring_back(SNAP, row.pk, row.photo.name).state == "replaced"
    assert inner == ["restored"]
    assert files() == {Snapshot.objects.get().photo.name}


def test_restore__rows_that_share_a_blob_share_the_file(files, monkeypatch, collect):
    first = latent("snaps/llama.jpg")
    second = Snapshot.objects.create(photo=first.photo.name)
    name = first.photo.name
    swap = restore._swap

    def lose_the_other_and_swap(*arguments):
        # The process that restores the first finds that row gone, and tidies up behind itself.
        monkeypatch.setattr(restore, "_swap", swap)
        Snapshot.objects.filter(pk=first.pk).delete()
        assert not swap(SNAP, first.pk, *arguments[2:])
        assert bring_back(SNAP, first.pk, name).state == "replaced"
        return swap(*arguments)

    monkeypatch.setattr(restore, "_swap", lose_the_other_and_swap)
    assert bring_back(SNAP, second.pk, name).state == "restored"
    collect()
    assert files() == {Snapshot.objects.get().photo.name}


def test_restore__replaced_by_who_has_loaded_the_row_before(upload, files):
    row = latent("snaps/llama.jpg")
    stale = Snapshot.objects.get()
    bring_back(SNAP, row.pk, row.photo.name)
    stale.photo = upload("alpaca.png")
    stale.save()
    assert files() == {"snaps/alpaca.png"}


def test_restore__saving_a_stale_instance_does_not_undo_it(files):
    row = latent("snaps/llama.jpg")
    stale = Snapshot.objects.get()
    bring_back(SNAP, row.pk, row.photo.name)
    stale.save()
    assert files() == {Snapshot.objects.get().photo.name}


def test_restore__and_compressed_again(upload, files, counterfeit):
    row = compressed(Product.objects.create(photo=upload()))
    bring_back(PHOTO, row.pk, row.photo.name)
    again = compressed(Product.objects.get())
    assert again.photo.name == row.photo.name
    assert files() == {"photos/llama.png", again.photo.name}


def test_restore__storage_that_fails_is_raised_and_can_be_repeated(files, monkeypatch):
    row = latent("snaps/llama.jpg")

    def fail(*arguments, **options):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(FileSystemStorage, "_save", fail)
        with pytest.raises(OSError, match="disk full"):
            bring_back(SNAP, row.pk, row.photo.name)
    assert files() == {row.photo.name} == {Snapshot.objects.get().photo.name}
    assert bring_back(SNAP, row.pk, row.photo.name).state == "restored"


def process(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.restorer", str(folder), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"},
        cwd=Path(__file__).parent.parent,
    )


@pytest.mark.parametrize(
    "point", ["before_file", "in_file", "after_file", "in_transaction", "after_row"]
)
def test_restore__killed_process_loses_nothing(point, tmp_path):
    killed = process(tmp_path, "--kill", point)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    between = json.loads(process(tmp_path, "--look").stdout)
    assert between["column"] in between["files"]
    assert between["size"] == [96, 64]
    finished = process(tmp_path, "--free")
    assert finished.returncode == 0, finished.stderr
    state = json.loads(finished.stdout)
    assert state["column"].endswith(".jpg")
    # What was cut short is a hidden temporary file, and never goes by a picture's name.
    left = [name for name in state["files"] if not Path(name).name.startswith(".")]
    assert left == [state["column"]]


# The command


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(
        "recompress_images", "--restore", *arguments, stdout=out, stderr=StringIO(), verbosity=0
    )
    return out.getvalue()


def test_command__restores_all_blobs(upload, files, counterfeit):
    kept = [compressed(Product.objects.create(photo=upload(seed=seed))) for seed in range(2)]
    latent("snaps/llama.jpg")
    Product.objects.create(photo=upload("new.png"))
    out = run()
    assert out.startswith("3 restored: 2 from their sources, 1 decoded: ")
    assert out.rstrip().endswith("0 failed.")
    names = {*Product.objects.values_list("photo", flat=True), Snapshot.objects.get().photo.name}
    assert files() == names
    assert len(names) == 4
    assert kept[0].photo.name not in names
    assert run().startswith("0 restored")


def test_command__asks_once_for_the_blobs_to_go(upload, counterfeit, settings, monkeypatch):
    settings.LATENTIMG = settings.LATENTIMG | {"GRACE": 600}
    for seed in range(2):
        compressed(Product.objects.create(photo=upload(seed=seed)))
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(tasks.free_discarded, "apply_async", lambda **how: sent.append(how))
    run()
    assert sent == [{"countdown": 601}]
    assert Discarded.objects.count() == 2


def test_command__without_a_broker(upload, counterfeit, settings, monkeypatch):
    settings.LATENTIMG = settings.LATENTIMG | {"GRACE": 600}
    compressed(Product.objects.create(photo=upload()))

    def fail(**how):
        raise ConnectionError("no broker")

    monkeypatch.setattr(tasks.free_discarded, "apply_async", fail)
    assert run().startswith("1 restored")


def test_command__dry_run_and_a_range(upload, files, counterfeit):
    rows = [compressed(Product.objects.create(photo=upload(seed=seed))) for seed in range(3)]
    latent("snaps/llama.jpg")
    before = files()
    assert "testapp.product.photo: 3 to restore; by 3 of them" in run("--dry-run")
    assert "testapp.snapshot.photo: 1 to restore; by 1 of them" in run("--dry-run")
    assert files() == before
    middle = str(rows[1].pk)
    out = run("testapp.Product", "--from-pk", middle, "--to-pk", middle, "--rate", "1000")
    assert out.startswith("1 restored")


def test_command__json_and_failures(upload, counterfeit):
    compressed(Product.objects.create(photo=upload()))
    row = latent("snaps/llama.jpg")
    gone = latent("snaps/gone.jpg")
    SNAP.storage.delete(gone.photo.name)
    out = StringIO()
    with pytest.raises(CommandError, match="1 of 3 pictures failed"):
        call_command(
            "recompress_images", "--restore", "--json", stdout=out, stderr=StringIO(), verbosity=0
        )
    *lines, summary = (json.loads(line) for line in out.getvalue().splitlines())
    lines.sort(key=lambda line: (line["field"], int(line["pk"])))
    assert [line["state"] for line in lines] == ["restored", "restored", "failed"]
    assert [line["reason"] for line in lines[:2]] == ["source", "decoded"]
    assert lines[1]["name"] == row.photo.name
    assert (summary["summary"]["restored"], summary["summary"]["decoded"]) == (2, 1)
    assert summary["summary"]["reasons"] == {"… is not in storage.": 1}


@pytest.mark.parametrize(
    "arguments", [["--async"], ["--stale"], ["--failed"], ["--pending"], ["--not-since", "1"]]
)
def test_command__what_does_not_go_with_restore(arguments):
    with pytest.raises(CommandError, match=r"not allowed with|goes with neither"):
        run(*arguments)


def test_command__either_compresses_or_restores(settings):
    with pytest.raises(CommandError, match="COMPRESS"):
        call_command("recompress_images")
    settings.LATENTIMG = settings.LATENTIMG | {"COMPRESS": True}
    with pytest.raises(CommandError, match="COMPRESS"):
        run()
    assert "0 to restore" in run("--dry-run"), "to look is allowed"


def test_command__by_processes_of_a_sites_manage_py(tmp_path):
    """As an operator runs it: nothing has set Django up in the processes that this one starts."""
    (tmp_path / "site_settings.py").write_text(
        "from tests.settings import *\n"
        f"FOLDER = {str(tmp_path)!r}\n"
        "DATABASES['default'].update(NAME=FOLDER + '/db.sqlite3', OPTIONS={'timeout': 30})\n"
        "MEDIA_ROOT = FOLDER + '/files'\n"
        "LATENTIMG = LATENTIMG | {'COMPRESS': False}\n"
    )
    script = tmp_path / "manage.py"
    script.write_text(
        "import sys\n"
        "from django.core.management import execute_from_command_line\n"
        "if __name__ == '__main__':\n"
        "    execute_from_command_line(sys.argv)\n"
    )
    root = Path(__file__).parent.parent
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "site_settings",
        "PYTHONPATH": f"{root}{os.pathsep}{tmp_path}",
    }

    def manage(*arguments: str) -> str:
        finished = subprocess.run(
            [sys.executable, str(script), *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            timeout=300,
        )
        assert finished.returncode == 0
        return finished.stdout

    manage("migrate", "--run-syncdb", "--verbosity", "0")
    names = [
        str(BlobName(f"snaps/{number}.jpg", 96, 64, 500, "01234567", "0123")) for number in range(3)
    ]
    for name in names:
        path = tmp_path / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(golden("opaque"))
    manage(
        "shell",
        "--verbosity",
        "0",
        "--command",
        "from tests.testapp.models import Snapshot\n"
        f"Snapshot.objects.bulk_create([Snapshot(photo=name) for name in {names!r}])",
    )
    out = manage("recompress_images", "--restore", "--workers", "2")
    assert out.startswith("3 restored: 0 from their sources, 3 decoded")
    assert len(list((tmp_path / "files").rglob("*.jpg"))) == 3


# While nothing is compressed


def test_off__uploads_stay_sources(upload, enqueued):
    row = Product.objects.create(photo=upload())
    assert enqueued == []
    assert tasks.compress_image("testapp.product", str(row.pk), "photo", row.photo.name) == "off"
    assert Product.objects.get().photo.name == "photos/llama.png"


def test_off__the_url_of_a_source_is_the_files_own(upload, settings, counterfeit, client):
    row = Product.objects.create(photo=upload())
    assert row.photo.url == "/media/photos/llama.png"
    assert client.get(row.photo.rendition(320, "webp").url).status_code == 200
    assert compressed(row).photo.url.startswith("/img/")
    settings.LATENTIMG = settings.LATENTIMG | {"COMPRESS": True}
    assert row.photo.url.startswith("/img/")


def test_off__the_url_of_a_private_source_stays_signed():
    from tests.testapp.models import Invoice

    assert Invoice(photo="invoices/1.png").photo.url.startswith("/img/")


def test_compress__name_that_leaves_no_room_for_the_blobs(counterfeit, files):
    name = "photos/" + 220 * "x" + ".png"
    PHOTO.storage.save(name, ContentFile(image_bytes(picture())))
    row = Product.objects.create(photo=name)
    outcome = compress(PHOTO, row.pk, name)
    assert (outcome.state, "too long" in outcome.reason) == ("failed", True)
    assert files() == {name} == {Product.objects.get().photo.name}
