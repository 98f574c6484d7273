"""``manage.py recompress_images`` on real rows and files."""

import os
import pty
import subprocess
import sys
import termios
from io import StringIO
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command

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
    from django_latentimg.management.commands import recompress_images

    monkeypatch.setattr(recompress_images, "PAGE", 2)
    for seed in range(5):
        Product.objects.create(photo=upload(seed=seed))
    assert run()[0].startswith("5 compressed")


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
