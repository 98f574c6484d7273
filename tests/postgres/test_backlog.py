"""A backlog at the size of a shop, and more hosts than one at it."""

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection, connections

from django_latentimg import backlog
from django_latentimg.ledger import Outcome
from django_latentimg.models import Compression
from tests.faults import committed, watch_commits
from tests.testapp.models import Product

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("enqueued")]

MILLION = 1_000_000


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


@contextmanager
def watched_transactions() -> Iterator[list[float]]:
    """Seconds for which any transaction has been open, as another connection sees it."""
    ages: list[float] = []
    over = threading.Event()

    def watch() -> None:
        try:
            with connection.cursor() as cursor:
                while not over.wait(0.05):
                    cursor.execute(
                        "SELECT max(extract(epoch FROM clock_timestamp() - xact_start)) "
                        "FROM pg_stat_activity "
                        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                    ages.append(float(cursor.fetchone()[0] or 0))
        finally:
            connections.close_all()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield ages
    finally:
        over.set()
        thread.join()


def test_command__a_million_rows_in_constant_memory_and_no_long_transaction(monkeypatch):
    """A codec that makes nothing: what remains is the way through the table."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO testapp_product (title, photo, photo_placeholder) "
            "SELECT '', 'photos/' || number || '.jpg', '' FROM generate_series(1, %s) AS number",
            [MILLION],
        )
        cursor.execute("ANALYZE testapp_product")
    first = Product.objects.order_by("pk").values_list("pk", flat=True)[0]
    seen = bytearray(MILLION)
    memory: list[int] = []

    def compress(field, primary_key, name):
        seen[primary_key - first] += 1
        if primary_key % 1000 == 0:
            memory.append(resident())
        return Outcome("compressed", "latents (detail)", 100_000, 5_000)

    monkeypatch.setattr(backlog.compression, "compress", compress)
    queries: Counter[str] = Counter()

    def count(execute, sql, parameters, many, context):
        queries[sql.split()[0]] += 1
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(count), watched_transactions() as ages:
        call_command("recompress_images", "testapp.product", verbosity=0)
    assert set(seen) == {1}, "every row once"
    assert queries == {"SELECT": MILLION / backlog.PAGE + 1}
    assert max(memory) - memory[10] < 8 * 2**20, "what a page takes, and nothing that grows"
    assert len(ages) > 20
    assert max(ages) < 5, "the longest query, which counts or fetches a page"


HOST = """
import sys, django
from django.conf import settings
settings.DATABASES["default"]["NAME"], settings.MEDIA_ROOT = sys.argv[1:3]
django.setup()
from django.core.management import call_command
from django_latentimg.test import instant_codec
with instant_codec():
    call_command("recompress_images", verbosity=0)
"""


def test_command__from_two_hosts_at_once(upload, media):
    watch_commits(Product._meta.db_table)
    for number in range(60):
        Product.objects.create(photo=upload(f"{number}.png", seed=number))
    arguments = [connection.settings_dict["NAME"], str(media)]
    hosts = [
        subprocess.Popen(
            [sys.executable, "-c", HOST, *arguments], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    told = [host.communicate(timeout=300)[0] for host in hosts]
    assert [host.returncode for host in hosts] == [0, 0], told
    names = set(Product.objects.values_list("photo", flat=True))
    assert len(names) == 60
    assert all(name.endswith(".limg") and (media / name).exists() for name in names)
    assert set(Counter(committed()).values()) == {1}
    shares = [int(out.split()[0]) for out in told]
    assert min(shares) > 0, "both have done something"
    assert set(Compression.objects.values_list("state", flat=True)) == {"compressed"}
