"""What the admin's dashboard says, in words and bars: ``report`` for its template."""

from typing import Any
from urllib.parse import urlencode

from django.template.defaultfilters import filesizeformat

from . import charts
from .charts import amount
from .models import Compression
from .report import VERDICTS, Cause, Day, OfField, Report

State = Compression.State

LOOKS: dict[str, str] = {
    State.COMPRESSED: "good",
    State.REPLACED: "quiet",
    State.FAILED: "bad",
    State.QUARANTINED: "bad",
    State.WAITING: "warn",
    State.UNSENT: "warn",
}
"""How a state is coloured; others as what is under way, ``open``."""
CAUSE_LENGTH = 300
"""Characters of a cause that stand in a URL."""


def context(report: Report, ledger: str) -> dict[str, Any]:
    """``ledger``: URL of the list of entries, which figures link to."""
    most = max((of_field.pending + of_field.stale for of_field in report.fields), default=0)
    return {
        "report": report,
        "ledger_url": ledger,
        "figures": _figures(report),
        "charts": charts.of_days(report.days),
        "verdicts": _verdicts(report.total),
        "rows": [_row(of_field, most, ledger) for of_field in report.fields],
        "causes": [_cause(cause, ledger) for cause in report.causes],
        "days": [{"day": day.day, "cells": _cells(day)} for day in reversed(report.days)],
    }


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _figures(report: Report) -> list[dict[str, str]]:
    total = report.total
    kept = sum(of_field.source_bytes for of_field in report.fields if of_field.keeps_source)
    return [
        {"title": "Compressed", "value": amount(total.pictures), "note": "pictures"},
        {
            "title": "From sources to blobs",
            "value": filesizeformat(total.blob_bytes),
            "note": f"of {filesizeformat(total.source_bytes)}",
        },
        {
            "title": "Saved",
            "value": percent(total.saved_share),
            "note": f"{filesizeformat(total.saved_bytes)}"
            + (f"; {filesizeformat(kept)} of sources kept" if kept else ""),
            "look": "good",
        },
        {
            "title": "Backlog",
            "value": amount(total.pending),
            "note": "pending" + (f", {amount(total.stale)} stale" if total.stale else ""),
            "look": "open" if total.pending else "",
        },
        {
            "title": "Failed",
            "value": amount(total.lost),
            "note": "for good" if total.lost else "",
            "look": "bad" if total.lost else "",
        },
    ]


def _verdicts(total: OfField) -> list[dict[str, str]]:
    judged = sum(total.verdicts.values())
    found = []
    for verdict, pictures in sorted(total.verdicts.items(), key=lambda item: (-item[1], item)):
        kept, reason = VERDICTS[verdict]
        look = "good" if kept == "latents" else "other" if reason == "worse" else "warn"
        found.append(
            {
                "kept": "latents" if kept == "latents" else "AVIF",
                "reason": REASONS.get((kept, reason), reason),
                "look": look,
                "pictures": amount(pictures),
                "share": percent(pictures / judged),
            }
        )
    return found


REASONS = {
    ("latents", "better"): "better than AVIF of the same bytes",
    ("avif", "worse"): "latents were worse than AVIF of the same bytes",
    ("latents", "floor"): "AVIF was better, but below a floor",
    ("avif", "text"): "latents did not hold the text",
    ("avif", "face"): "latents did not hold a face",
    ("avif", "focal"): "latents did not hold a focal rectangle",
    ("avif", "structure"): "latents did not hold the structure",
    ("avif", "colour"): "latents did not hold the colours",
    ("avif", "quality"): "latents did not reach min_quality",
}
"""Verdicts in words."""


def _row(of_field: OfField, most: int, ledger: str) -> dict[str, Any]:
    judged = sum(of_field.verdicts.values())
    times = ""
    if of_field.median_seconds is not None and of_field.p95_seconds is not None:
        times = f"{of_field.median_seconds:.1f} · {of_field.p95_seconds:.1f}"
    note = "" if of_field.known else "no field of the site any more"
    return {
        "label": of_field.label,
        "url": f"{ledger}?{urlencode({'field': of_field.label})}",
        "note": "sources kept" if of_field.keeps_source else note,
        "cells": [
            amount(of_field.pictures),
            filesizeformat(of_field.source_bytes),
            filesizeformat(of_field.blob_bytes),
            percent(of_field.saved_share) if of_field.source_bytes else "",
            percent(of_field.as_avif / judged) if judged else "",
            times,
            amount(of_field.lost),
            amount(of_field.pending),
            amount(of_field.stale),
        ],
        # Text, which no locale puts separators into.
        "pending": str(1000 * of_field.pending // most if most else 0),
        "stale": str(1000 * of_field.stale // most if most else 0),
    }


def _cause(cause: Cause, ledger: str) -> dict[str, Any]:
    query = {"state__exact": cause.state, "field": cause.field, "cause": cause.text[:CAUSE_LENGTH]}
    return {
        "url": f"{ledger}?{urlencode(query)}",
        "pictures": amount(cause.pictures),
        "state": State(cause.state).label,
        "look": LOOKS.get(cause.state, "open"),
        "text": cause.text,
        "field": cause.field,
        "latest": cause.latest,
    }


def _cells(day: Day) -> list[str]:
    return [
        amount(day.compressed),
        amount(day.failed),
        filesizeformat(day.source_bytes),
        filesizeformat(day.blob_bytes),
        amount(day.as_latents),
        amount(day.as_avif),
    ]
