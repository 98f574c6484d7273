"""The ledger's metrics, as a scraper reads them."""

import json
import subprocess
import sys
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.db import DatabaseError, connection
from django.http import HttpRequest
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families

from django_latentimg import compression, metrics
from django_latentimg.metrics import LedgerCollector
from django_latentimg.models import Compression
from django_latentimg.test import instant_codec
from tests.testapp.models import Product, Snapshot

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("enqueued")]

PRODUCT = "testapp.product.photo"


@pytest.fixture(autouse=True)
def no_answers_of_other_tests():
    cache.clear()
    yield
    cache.clear()


def scraped() -> dict[str, float]:
    """Samples by name and labels, through the view."""
    response = metrics.view(HttpRequest())
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    return {
        sample.name + json.dumps(sample.labels, sort_keys=True): sample.value
        for family in text_string_to_metric_families(response.content.decode())
        for sample in family.samples
    }


def of(name: str, **labels: str) -> str:
    return f"latentimg_{name}" + json.dumps({"field": PRODUCT} | labels, sort_keys=True)


def test_metrics__of_real_pictures(upload):
    row = Product.objects.create(photo=upload())
    before = row.photo.size
    with instant_codec():
        compression.compress(Product._meta.get_field("photo"), row.pk, row.photo.name)
    Product.objects.create(photo=upload(seed=1))
    Snapshot.objects.create(photo="snaps/1.jpg.9x9-5123.01234567-0000.limg")
    found = scraped()
    assert found[of("pictures", state="compressed")] == 1
    assert found[of("pictures", state="failed")] == 0
    assert found[of("source_bytes")] == before
    assert found[of("blob_bytes")] == Product.objects.get(pk=row.pk).photo.size
    assert found[of("backlog", kind="pending")] == 1
    assert found[of("backlog", kind="stale")] == 0
    assert found[of("backlog", kind="stale", field="testapp.snapshot.photo")] == 1
    assert found[of("compression_seconds", quantile="0.5")] > 0


def test_metrics__verdicts_and_age_of_what_waits():
    for number, (state, reason) in enumerate(
        [("compressed", "avif (text)"), ("compressed", "latents (better)"), ("unsent", "")]
    ):
        Compression.objects.create(
            field=PRODUCT, object_id=f"{number}", source=f"{number}", state=state, reason=reason
        )
    hours = timezone.now() - timedelta(hours=2)
    Compression.objects.filter(state="unsent").update(updated=hours)
    found = scraped()
    assert found[of("verdicts", kept="avif", reason="text")] == 1
    assert found[of("verdicts", kept="latents", reason="better")] == 1
    assert found[of("oldest_seconds", state="unsent")] == pytest.approx(7200, abs=30)
    assert found[of("oldest_seconds", state="queued")] == 0


def test_metrics__field_that_the_site_has_no_more_has_no_backlog():
    Compression.objects.create(field="shop.old.photo", object_id="1", source="a")
    found = scraped()
    assert found[of("pictures", field="shop.old.photo", state="started")] == 1
    assert of("backlog", field="shop.old.photo", kind="pending") not in found


def test_metrics__every_family_is_documented_and_a_gauge():
    families = list(text_string_to_metric_families(metrics.view(HttpRequest()).content.decode()))
    assert len(families) == 7
    for family in families:
        assert family.name.startswith("latentimg_")
        assert family.documentation.endswith(".")
        assert (family.type, family.name.endswith("_total")) == ("gauge", False)


def test_metrics__openmetrics_for_who_asks():
    request = RequestFactory().get(
        "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
    )
    response = metrics.view(request)
    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    assert list(openmetrics(response.content.decode()))


def test_metrics__a_storm_of_scrapes_reads_the_ledger_once(monkeypatch):
    scraped()
    Compression.objects.create(field=PRODUCT, object_id="1", source="a", state="failed")
    with CaptureQueriesContext(connection) as captured:
        assert scraped()[of("pictures", state="failed")] == 0
    assert len(captured) == 0
    cache.clear()
    assert scraped()[of("pictures", state="failed")] == 1


def test_metrics__registering_asks_no_database():
    registry = CollectorRegistry(auto_describe=True)
    with CaptureQueriesContext(connection) as captured:
        registry.register(LedgerCollector())
    assert len(captured) == 0
    Compression.objects.create(field=PRODUCT, object_id="1", source="a", state="failed")
    text = generate_latest(registry).decode()
    assert f'latentimg_pictures{{field="{PRODUCT}",state="failed"}} 1.0' in text


def test_metrics__a_database_that_is_down_is_no_answer():
    def refuse(*_):
        raise DatabaseError("down")

    with connection.execute_wrapper(refuse), pytest.raises(DatabaseError):
        metrics.view(HttpRequest())


def test_metrics__default_registry_takes_it_while_django_starts():
    """Where no table exists yet."""
    script = (
        "import django; django.setup()\n"
        "from prometheus_client import REGISTRY\n"
        "from django_latentimg.metrics import LedgerCollector\n"
        "REGISTRY.register(LedgerCollector())\n"
    )
    subprocess.run(
        [sys.executable, "-c", script],
        env={"DJANGO_SETTINGS_MODULE": "tests.settings"},
        check=True,
    )
