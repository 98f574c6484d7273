"""What a photograph asks of the database and a bucket: ``python -m benchmarks.capacity.database``.

Counts statements and S3 operations of real uploads, compressions, requests and sweeps, weighs rows
and indexes, and looks at how PostgreSQL finds what is asked for. Compression itself is instant.
Needs PostgreSQL (as ``tests/settings_postgres.py`` says), where it makes a database of its own.
Writes ``benchmarks/results/capacity_database.json``.
"""
# ruff: noqa: E402  (Django is set up before its models are imported.)

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings_postgres"

import django

django.setup()

from celery import Celery
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import connection, models
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_settings, setup_test_environment
from django.utils import timezone

from django_latentimg import backlog, compression, discards, garbage, ledger, renditions
from django_latentimg.models import Compression, Discarded
from django_latentimg.test import instant_codec
from tests import s3
from tests.conftest import image_bytes, picture
from tests.testapp.models import Product, Snapshot

from .inputs import RESULTS

FOUND = RESULTS / "capacity_database.json"
ROWS = 200_000
"""Of each table that is weighed."""
PENDING_OF = 2_000
"""One row in so many holds a source."""

Counts = dict[str, dict[str, int]]


def main() -> None:
    Celery("capacity", broker="memory://").set_default()
    setup_test_environment()
    name = connection.settings_dict["NAME"]
    connection.settings_dict["TEST"]["NAME"] = f"capacity_{os.getpid()}"
    connection.creation.create_test_db(verbosity=0)
    try:
        with s3.server() as endpoint, bucket(endpoint) as operations:
            found: dict[str, Any] = {"asked": asked(operations)}
        found |= weighed()
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)
    FOUND.write_text(json.dumps(found, indent=1) + "\n")
    print(FOUND.read_text())


@contextmanager
def bucket(endpoint: str) -> Iterator[Counter[str]]:
    """As storage of pictures and of renditions; counts its operations."""
    s3.bucket(endpoint).create()
    operations: Counter[str] = Counter()
    # As docs/workers.md tells a site to set it.
    backend = s3.backend(endpoint, file_overwrite=False)
    with override_settings(STORAGES={"default": backend, "renditions": backend}):
        for alias in ("default", "renditions"):  # Each has a client of its own.
            storage: Any = storages[alias]
            storage.connection.meta.client.meta.events.register(
                "before-call.s3", lambda model, **_: operations.update([model.name])
            )
        yield operations


@contextmanager
def counted(into: Counts, key: str, operations: Counter[str]) -> Iterator[None]:
    before = Counter(operations)
    with CaptureQueriesContext(connection) as queries:
        yield
    statements = Counter(
        query["sql"].split()[0] for query in queries.captured_queries if query["sql"]
    )
    into[key] = dict(statements) | dict(operations - before)


def asked(operations: Counter[str]) -> Counts:
    """By occasion: SQL statements by their first word, S3 operations by their names."""
    found: Counts = {}
    field: Any = Product._meta.get_field("photo")
    client = Client()

    def upload(model: type[models.Model], seed: int) -> Any:
        jpeg = image_bytes(picture(640, 480, seed=seed), "JPEG")
        return model._default_manager.create(photo=ContentFile(jpeg, f"{seed}.jpg"))

    with counted(found, "upload", operations):
        product = upload(Product, 0)
    snapshot = upload(Snapshot, 1)
    with instant_codec():
        with counted(found, "compression", operations):
            compression.compress(product.photo.field, product.pk, product.photo.name)
        with counted(found, "compression, source not kept", operations):
            compression.compress(snapshot.photo.field, snapshot.pk, snapshot.photo.name)
        with counted(found, "the same task once more", operations):
            compression.compress(product.photo.field, product.pk, product.photo.name)
    with counted(found, "row shown on a page", operations):
        product = Product.objects.get(pk=product.pk)
        url = product.photo.rendition(320, "avif").url
    with counted(found, "rendition that is missing", operations):
        assert client.get(url).status_code == 200
    with counted(found, "rendition that is there", operations):
        assert client.get(url).status_code == 200
    with counted(found, "sweep of a field, nothing to do", operations):
        assert backlog.sweep([field]) == 0
        discards.free_due()
        ledger.prune()
    with counted(found, "recompress_images --async, a look for what workers have done", operations):
        name = str(product.photo.name)
        key = "testapp.product.photo", str(product.pk), name
        list(backlog._answers({key: backlog.Item(field, product.pk, name)}))
    bare = Product.objects.bulk_create([Product(photo=f"photos/bare{n}.jpg") for n in range(10)])
    with counted(found, "sweep, ten rows that nobody knows", operations):
        assert backlog.sweep([field]) == 10
    Compression.objects.filter(object_id__in=[str(row.pk) for row in bare]).update(
        state=Compression.State.UNSENT
    )
    with counted(found, "sweep, ten uploads that no broker took", operations):
        assert backlog.sweep([field]) == 10
    with counted(found, "row deleted, source kept until then", operations):
        product.delete()
    with counted(found, "row deleted, no source", operations):
        Snapshot.objects.get().delete()
    for model in (Product, Snapshot, Compression, Discarded):
        model._default_manager.all().delete()
    return found


NAME = "'photos/2026/07/' || md5(n::text) || '.jpg'"
BLOB = f"{NAME} || '.4000x3000-123456.' || left(md5(n::text), 8) || '-b7e1.limg'"
PRODUCTS = f"""
INSERT INTO testapp_product (title, photo, photo_width, photo_height, photo_placeholder)
SELECT 'Llama ' || n, CASE WHEN n % {PENDING_OF} = 0 THEN {NAME} ELSE {BLOB} END, 4000, 3000,
       'data:image/webp;base64,' || left(repeat(md5(n::text), 7), 200)
FROM generate_series(1, {ROWS}) n
"""
ENTRIES = f"""
INSERT INTO django_latentimg_compression (field, object_id, source, blob, state, reason, attempts,
    source_bytes, blob_bytes, seconds, model, policy, worker, created, updated)
SELECT 'testapp.product.photo', n::text, {NAME}, {BLOB}, 'compressed', 'latents (better)', 1,
       3500000, 100000, 30, 'lite', 'b7e1', 'worker-12.example:4711', now(),
       now() - n * interval '1 second'
FROM generate_series(1, {ROWS}) n
"""
INDEXES = {
    "photo_pending": "CREATE INDEX photo_pending ON testapp_product (id) "
    "WHERE NOT (photo LIKE '%.limg')",
    "photo_name": "CREATE INDEX photo_name ON testapp_product (photo varchar_pattern_ops)",
}


def weighed() -> dict[str, Any]:
    """Bytes of a row, and how what is asked for is found, without and with two more indexes."""
    plans: dict[str, Any] = {}
    with connection.cursor() as cursor:
        for statement in (PRODUCTS, ENTRIES):
            cursor.execute(statement)
        cursor.execute("VACUUM ANALYZE")
        for stage, statements in (("without", []), ("with", list(INDEXES.values()))):
            for statement in statements:
                cursor.execute(statement)
            cursor.execute("VACUUM ANALYZE testapp_product")
            for name, work in lookups().items():
                plans.setdefault(name, {})[stage] = plan(work)
        sizes = {
            table: {
                "row": size(cursor, table),
                **{index: size(cursor, index) for index in indexes_of(cursor, table)},
            }
            for table in ("testapp_product", "django_latentimg_compression")
        }
    return {
        "rows": ROWS,
        "pending_of": PENDING_OF,
        "bytes": sizes,
        "plans": plans,
        "gc": {"seconds": inventory_seconds(), "deletions": garbage.AT_ONCE},
    }


def inventory_seconds() -> float:
    """In which garbage collection reads a column that keeps its sources."""
    column = garbage.Column(Product._base_manager.all(), "photo", "media/", garbage._always)
    started = time.perf_counter()
    garbage.Inventory([column])
    return time.perf_counter() - started


def lookups() -> dict[str, Callable[[], object]]:
    field: Any = Product._meta.get_field("photo")
    source = "photos/2026/07/1679091c5a880faf6fb5e6087eb1b2dc.jpg"  # md5 of 6
    name = f"{source}.4000x3000-123456.1679091c-b7e1.limg"
    pending, stale = (backlog.Selection(field, state) for state in ("pending", "stale"))
    return {
        "pending rows, a page": lambda: list(pending.rows().order_by("pk")[: backlog.PAGE]),
        "stale rows, a page": lambda: list(stale.rows().order_by("pk")[: backlog.PAGE]),
        "is a name shown, before its file is deleted": lambda: discards._unused(
            field, name, "default"
        ),
        "which blob a source became": lambda: renditions._blob_made_of(field, source),
        "sweep: rows that nobody knows": lambda: backlog._sweep_rows(field),
        "sweep: the ledger": lambda: backlog._sweep_ledger(field),
        "sweep: what is due": lambda: list(discards.entries().filter(due__lte=timezone.now())),
        "sweep: old entries of the ledger": lambda: ledger.prune(),
        "which blobs were made of a source": lambda: ledger.blobs_of(field, source),
    }


def plan(work: Callable[[], object]) -> dict[str, Any]:
    """Of the slowest question: how its rows are found, and milliseconds."""
    with CaptureQueriesContext(connection) as queries:
        work()
    questions = [q["sql"] for q in queries.captured_queries if q["sql"].startswith("SELECT")]
    found = []
    with connection.cursor() as cursor:
        for question in questions:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {question}")
            answer = cursor.fetchone()[0]
            told = (json.loads(answer) if isinstance(answer, str) else answer)[0]
            found.append({"ms": round(told["Execution Time"], 2), "scans": scans(told["Plan"])})
    return max(found, key=lambda one: float(one["ms"]))


def scans(node: dict[str, Any]) -> list[str]:
    """Such as ``Seq Scan testapp_product``."""
    own = []
    if "Scan" in node["Node Type"]:
        own = [f"{node['Node Type']} {node.get('Index Name') or node.get('Relation Name', '')}"]
    return own + [scan for part in node.get("Plans", []) for scan in scans(part)]


def size(cursor: Any, relation: str) -> float:
    """Bytes for each row, with what the relation keeps elsewhere."""
    cursor.execute("SELECT pg_table_size(%s::regclass)", [relation])
    return round(float(cursor.fetchone()[0]) / ROWS, 1)


def indexes_of(cursor: Any, table: str) -> list[str]:
    cursor.execute(
        "SELECT indexname FROM pg_indexes WHERE tablename = %s ORDER BY indexname", [table]
    )
    return [name for (name,) in cursor.fetchall()]


if __name__ == "__main__":
    main()
