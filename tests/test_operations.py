"""The migration operations, by real migrations of ``tests.moving``."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import OperationalError, connection, connections, migrations, models
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.exceptions import IrreversibleError
from django.db.migrations.optimizer import MigrationOptimizer
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import MigrationWriter
from django.db.models import Q

from django_latentimg import operations
from django_latentimg.backlog import Selection
from django_latentimg.fields import LatentImageField
from django_latentimg.operations import AddCompanionField, AlterToLatentImage
from tests.moving import site
from tests.moving.models import Page

pytestmark = pytest.mark.django_db(transaction=True)

postgres = pytest.mark.only_postgres  # about its locks and its catalogue

BLOB = "pages/{}.jpg.1600x1200-5123.01234567-0123.limg"


def length_of_column() -> int:
    with connection.cursor() as cursor:
        columns = connection.introspection.get_table_description(cursor, "moving_page")
    (found,) = (column.display_size for column in columns if column.name == "photo")
    return found


def file_of_table() -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT relfilenode, oid FROM pg_class WHERE relname = 'moving_page'")
        return cursor.fetchone()


def test_operations__rows_and_pictures_stay_in_both_directions():
    with site.not_moved_in() as old:
        rows = [old.objects.create(photo=f"pages/{number}.jpg").pk for number in range(3)]
        site.migrate(site.LATENT)
        assert length_of_column() == 255
        assert sorted(Page.objects.values_list("pk", "photo")) == [
            (pk, f"pages/{number}.jpg") for number, pk in enumerate(rows)
        ]
        site.migrate(site.FIRST)
        assert length_of_column() == 100
        assert sorted(old.objects.values_list("pk", flat=True)) == rows


def test_operations__leave_nothing_to_makemigrations():
    call_command("makemigrations", "moving", check=True, dry_run=True, verbosity=0)


def test_operations__run_where_the_app_is_installed_no_more():
    """Old migrations outlive it."""
    code = (
        "import django; from django.conf import settings;"
        "settings.configure(INSTALLED_APPS=['tests.moving'], DATABASES={'default':"
        " {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}},"
        " DEFAULT_AUTO_FIELD='django.db.models.BigAutoField', USE_TZ=True);"
        "django.setup();"
        "from django.core.management import call_command;"
        "call_command('migrate', verbosity=0);"
        "from tests.moving.models import Page; print(Page.objects.count())"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent.parent,
        env={key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert found.stdout == "0\n", found.stderr


def test_operations__old_code_goes_on_inserting():
    with site.not_moved_in() as old:
        site.migrate(site.LATENT)
        old.objects.create(photo="pages/late.jpg")
        assert Page.objects.get().photo_placeholder == ""


def test_operations__written_to_a_file_and_read_again():
    field = LatentImageField(upload_to="pages/", quality=80)
    written = [
        AlterToLatentImage("page", "photo", field, lock_timeout=0.5, attempts=7),
        AddCompanionField("page", "words", models.TextField(db_default=""), attempts=8),
        AlterToLatentImage("page", "photo", field),
    ]
    migration = type("Migration", (migrations.Migration,), {"operations": written})
    text = MigrationWriter(migration("0009_test", "moving")).as_string()
    namespace: dict[str, Any] = {}
    exec(text, namespace)
    read = namespace["Migration"].operations
    assert [type(operation) for operation in read] == [type(operation) for operation in written]
    for one, other in zip(written, read, strict=True):
        first, second = one.deconstruct(), other.deconstruct()
        assert first[2].pop("field").deconstruct()[1:] == second[2].pop("field").deconstruct()[1:]
        assert first == second
    assert text.count("lock_timeout") == 1, "defaults are not written"


def test_operations__squashed_into_what_came_before():
    image, latent = models.ImageField(), LatentImageField()
    alter = AlterToLatentImage("page", "photo", latent)
    added = [migrations.AddField("page", "photo", image), alter]
    (squashed,) = MigrationOptimizer().optimize(added, "moving")
    assert squashed.field is latent
    created = [migrations.CreateModel("Page", [("photo", image)]), alter]
    (squashed,) = MigrationOptimizer().optimize(created, "moving")
    assert dict(squashed.fields)["photo"] is latent
    altered = [migrations.AlterField("page", "photo", image), alter]
    assert MigrationOptimizer().optimize(altered, "moving") == [alter]


def test_operations__warns_of_names_that_leave_no_room():
    with site.not_moved_in() as old:
        wide = migrations.AlterField(
            "page", "photo", models.ImageField(upload_to="pages/", max_length=255)
        )
        before = ProjectState.from_apps(old._meta.apps)
        widened = before.clone()
        wide.state_forwards("moving", widened)
        after = widened.clone()
        operation = AlterToLatentImage("page", "photo", LatentImageField(upload_to="pages/"))
        operation.state_forwards("moving", after)
        with connection.schema_editor() as editor:
            wide.database_forwards("moving", editor, before, widened)
        long, fits = "pages/" + 203 * "x" + ".jpg", "pages/" + 202 * "y" + ".jpg"
        old.objects.create(photo=fits)
        with connection.schema_editor() as editor:
            operation.database_forwards("moving", editor, widened, after)  # warnings are errors
        old.objects.create(photo=long)
        with (
            pytest.warns(UserWarning, match=r"^1 pictures of moving\.Page\.photo") as warned,
            connection.schema_editor() as editor,
        ):
            operation.database_forwards("moving", editor, widened, after)
        assert long in str(warned[0].message)
        old.objects.all().delete()
        with connection.schema_editor() as editor:
            wide.database_backwards("moving", editor, widened, before)


def test_operations__back_only_when_there_are_no_blobs():
    blob = Page.objects.create(photo=BLOB.format(1))
    Page.objects.create(photo="pages/2.jpg")
    with pytest.raises(IrreversibleError, match=r"moving\.Page\.photo .* --restore"):
        site.migrate(site.FIRST)
    assert length_of_column() == 255
    Page.objects.filter(pk=blob.pk).update(photo="pages/1.jpg")
    site.migrate(site.FIRST)
    try:
        assert length_of_column() == 100
    finally:
        site.migrate(site.LATENT)
    assert sorted(Page.objects.values_list("photo", flat=True)) == ["pages/1.jpg", "pages/2.jpg"]


@postgres
def test_operations__out_again_without_a_statement():
    """The recipe's last step: an ``ImageField`` that is as wide."""
    state = ProjectState.from_apps(apps)
    out = migrations.AlterField(
        "page",
        "photo",
        models.ImageField(
            upload_to="pages/",
            width_field="photo_width",
            height_field="photo_height",
            max_length=255,
        ),
    )
    after = state.clone()
    out.state_forwards("moving", after)
    with connection.schema_editor(collect_sql=True) as editor:
        out.database_forwards("moving", editor, state, after)
    assert [line for line in editor.collected_sql if not line.startswith("--")] == []
    # What makemigrations writes by itself is this operation.
    found = MigrationAutodetector(state, after)._detect_changes()
    assert [type(o) for m in found["moving"] for o in m.operations] == [migrations.AlterField]


@postgres
def test_operations__change_the_catalogue_only():
    with site.not_moved_in() as old:
        old.objects.create(photo="pages/1.jpg")
        before = file_of_table()
        site.migrate(site.LATENT)
        assert file_of_table() == before


class Reader(threading.Thread):
    """Reads the table all the time, and tells how long it has waited at most."""

    def __init__(self, model: type[models.Model]) -> None:
        super().__init__()
        self.model, self.stop, self.longest, self.reads = model, threading.Event(), 0.0, 0
        self.start()

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                started = time.monotonic()
                list(self.model.objects.values_list("pk", "photo"))
                self.longest = max(self.longest, time.monotonic() - started)
                self.reads += 1
                time.sleep(0.005)
        finally:
            connections.close_all()

    def finish(self) -> None:
        self.stop.set()
        self.join()


@postgres
@pytest.mark.parametrize("atomic", [True, False])
def test_operations__readers_do_not_wait_behind_a_long_transaction(atomic, monkeypatch):
    hold, patience = 5.0, 0.3
    monkeypatch.setattr(operations, "PAUSE", 0.2)
    for operation in site.operations():
        monkeypatch.setattr(operation, "lock_timeout", patience)
    module = __import__("tests.moving.migrations.0002_latent", fromlist=["Migration"])
    monkeypatch.setattr(module.Migration, "atomic", atomic)
    with site.not_moved_in() as old:
        old.objects.create(photo="pages/1.jpg")
        begun = threading.Event()
        holder = threading.Thread(target=site.hold, args=(old, begun.set, lambda: time.sleep(hold)))
        reader = Reader(old)
        holder.start()
        assert begun.wait(10)
        started = time.monotonic()
        try:
            site.migrate(site.LATENT)
            took = time.monotonic() - started
        finally:
            reader.finish()
            holder.join()
        assert length_of_column() == 255
        assert took > hold - 1, "it has waited for the long transaction"
        assert patience / 2 < reader.longest < hold / 2, reader.longest
        assert reader.reads > 20


@postgres
def test_operations__gives_up_and_has_changed_nothing(monkeypatch):
    monkeypatch.setattr(operations, "PAUSE", 0.01)
    for operation in site.operations():
        monkeypatch.setattr(operation, "lock_timeout", 0.05)
        monkeypatch.setattr(operation, "attempts", 3)
    with site.not_moved_in() as old:
        begun, release = threading.Event(), threading.Event()
        holder = threading.Thread(target=site.hold, args=(old, begun.set, release.wait))
        holder.start()
        try:
            assert begun.wait(10)
            with pytest.raises(
                OperationalError, match=r"3 times for 0\.05 s\. Nothing has changed"
            ):
                site.migrate(site.LATENT)
            assert length_of_column() == 100
        finally:
            release.set()
            holder.join()
        site.migrate(site.LATENT)
        assert length_of_column() == 255


@postgres
def test_operations__the_lock_timeout_ends_with_them():
    with site.not_moved_in() as old:
        before = ProjectState.from_apps(old._meta.apps)
        after = before.clone()
        operation = AddCompanionField("page", "words", models.TextField(db_default=""))
        operation.state_forwards("moving", after)
        with connection.schema_editor() as editor, connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '7s'")
            operation.database_forwards("moving", editor, before, after)
            cursor.execute("SHOW lock_timeout")
            assert cursor.fetchone() == ("7s",)
            operation.database_backwards("moving", editor, after, before)


@postgres
def test_operations__pending_rows_are_found_by_the_recipes_index():
    Page.objects.bulk_create(
        [Page(photo=BLOB.format(number)) for number in range(5000)]
        + [Page(photo=f"pages/{number}.jpg") for number in range(5)]
    )
    index = models.Index(
        fields=["id"], condition=~Q(photo__endswith=".limg"), name="page_photo_pending"
    )
    with connection.schema_editor(atomic=False) as editor:
        editor.add_index(Page, index, concurrently=True)
    try:
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE moving_page")
        pending = Selection(Page._meta.get_field("photo"), "pending").rows().order_by("pk")[:500]
        assert len(pending) == 5
        assert "page_photo_pending" in pending.explain()
    finally:
        with connection.schema_editor(atomic=False) as editor:
            editor.remove_index(Page, index, concurrently=True)
