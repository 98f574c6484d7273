"""The ledger as Prometheus metrics, asked at each scrape; needs the extra ``metrics``.

A registry of one's own, or django-prometheus's, takes the collector::

    from prometheus_client import REGISTRY
    REGISTRY.register(LedgerCollector())

or ``view`` answers alone. All figures are gauges: the ledger forgets what is old, so none of them
only ever grows. They come from the database, so that it does not matter which process is asked.
"""

from collections.abc import Iterable

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from . import report, shared_cache
from .models import Compression
from .report import OfField

FRESH = 15
"""Seconds for which an answer is good: however many scrape, the ledger is read that often."""


class LedgerCollector(Collector):
    """Raises what the database raises: a scrape that fails is seen, wrong figures are not."""

    def describe(self) -> Iterable[Metric]:
        # Else registering would ask the database, while Django starts.
        return _families([])

    def collect(self) -> Iterable[Metric]:
        key = shared_cache.key_of("metrics", "")
        found: list[OfField] | None = shared_cache.ask("get", key)
        if found is None:
            found = report.of_fields()
            shared_cache.ask("set", key, found, FRESH)
        return _families(found)


def view(request: HttpRequest) -> HttpResponse:
    """For a site's own URLs. Whoever may ask is for the site to say: it answers everybody."""
    registry = CollectorRegistry()
    registry.register(LedgerCollector())
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(registry), headers={"Content-Type": content_type})


def _families(fields: Iterable[OfField]) -> list[Metric]:
    pictures = GaugeMetricFamily(
        "latentimg_pictures", "Entries of the ledger.", labels=["field", "state"]
    )
    source = GaugeMetricFamily(
        "latentimg_source_bytes", "Sources of compressed pictures.", labels=["field"]
    )
    blob = GaugeMetricFamily(
        "latentimg_blob_bytes", "Blobs of compressed pictures.", labels=["field"]
    )
    verdicts = GaugeMetricFamily(
        "latentimg_verdicts",
        "Compressed pictures by what the guard kept, and why.",
        labels=["field", "kept", "reason"],
    )
    backlog = GaugeMetricFamily(
        "latentimg_backlog",
        "Rows that hold a source (pending), or a blob of another policy or model (stale).",
        labels=["field", "kind"],
    )
    oldest = GaugeMetricFamily(
        "latentimg_oldest_seconds",
        "How long the entry has been in its state that has been so longest, of what is under way.",
        labels=["field", "state"],
    )
    seconds = GaugeMetricFamily(
        "latentimg_compression_seconds",
        f"Times of the last {report.RECENT} pictures of the site.",
        labels=["field", "quantile"],
    )
    now = timezone.now()
    for of_field in fields:
        label = of_field.label
        for state in Compression.State:
            pictures.add_metric([label, state.value], of_field.states.get(state, 0))
        source.add_metric([label], of_field.source_bytes)
        blob.add_metric([label], of_field.blob_bytes)
        for verdict, (kept, reason) in report.VERDICTS.items():
            if verdict in of_field.verdicts:
                verdicts.add_metric([label, kept, reason], of_field.verdicts[verdict])
        if of_field.known:
            backlog.add_metric([label, "pending"], of_field.pending)
            backlog.add_metric([label, "stale"], of_field.stale)
        for state in Compression.OPEN:
            since = of_field.oldest.get(state, now)
            oldest.add_metric([label, state.value], max(0.0, (now - since).total_seconds()))
        for quantile, value in (
            ("0.5", of_field.median_seconds),
            ("0.95", of_field.p95_seconds),
        ):
            if value is not None:
                seconds.add_metric([label, quantile], value)
    return [pictures, source, blob, verdicts, backlog, oldest, seconds]
