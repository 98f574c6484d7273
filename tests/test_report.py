"""What the ledger and the rows say of a site, and ``manage.py latentimg_report``."""

import json
from datetime import date, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_latentimg import backlog, report
from django_latentimg.backlog import Selection
from django_latentimg.compression import compress
from django_latentimg.management.commands.recompress_images import Tally
from django_latentimg.models import Compression
from django_latentimg.test import instant_codec
from tests.testapp.models import Product, Snapshot

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("enqueued")]

State = Compression.State
PRODUCT, SNAPSHOT = "testapp.product.photo", "testapp.snapshot.photo"


def entry(number: int, state: str = State.COMPRESSED, *, updated=None, **values) -> Compression:
    values = {"field": PRODUCT, "source": f"photos/{number}.jpg"} | values
    made = Compression.objects.create(object_id=str(number), state=state, **values)
    if updated:
        Compression.objects.filter(pk=made.pk).update(updated=updated)
    return made


def of(label: str) -> report.OfField:
    (found,) = (of_field for of_field in report.of_fields() if of_field.label == label)
    return found


@instant_codec()
def compress_all() -> None:
    for field in (Product, Snapshot):
        for _ in backlog.here(Selection(field._meta.get_field("photo")).items(), compress):
            pass


# By field


def test_fields__what_real_pictures_took_and_take(upload):
    rows = [Product.objects.create(photo=upload(seed=seed)) for seed in range(3)]
    lost = Product.objects.create(photo=upload())
    lost.photo.storage.delete(lost.photo.name)
    Snapshot.objects.create(photo=upload())
    before = sum(row.photo.size for row in rows)
    compress_all()
    after = sum(Product.objects.get(pk=row.pk).photo.size for row in rows)
    product, snapshot = of(PRODUCT), of(SNAPSHOT)
    assert (product.pictures, product.lost, product.pending, product.stale) == (3, 1, 1, 0)
    assert (product.source_bytes, product.blob_bytes) == (before, after)
    assert product.saved_bytes == before - after
    assert product.saved_share == pytest.approx(1 - after / before)
    assert product.states == {"compressed": 3, "failed": 1}
    assert product.mean_seconds > 0
    assert (product.keeps_source, snapshot.keeps_source) == (True, False)
    assert (snapshot.pictures, snapshot.pending) == (1, 0)


def test_fields__stale_after_another_policy(upload, monkeypatch):
    Product.objects.create(photo=upload())
    compress_all()
    monkeypatch.setattr(Product._meta.get_field("photo"), "quality", 80)
    assert (of(PRODUCT).pending, of(PRODUCT).stale) == (0, 1)


def test_fields__verdicts_and_what_is_none():
    for number, reason in enumerate(
        ["latents (better)", "latents (better)", "avif (worse)", "avif (text)", "", "OSError: x"]
    ):
        entry(number, reason=reason)
    entry(7, State.FAILED, reason="avif (worse)")
    found = of(PRODUCT)
    assert found.verdicts == {"latents (better)": 2, "avif (worse)": 1, "avif (text)": 1}
    assert (found.as_latents, found.as_avif, found.as_better_avif) == (2, 2, 1)


def test_fields__times_of_what_was_compressed_lately(monkeypatch):
    monkeypatch.setattr(report, "RECENT", 101)
    now = timezone.now()
    for number in range(101):
        entry(number, seconds=1 + number, updated=now - timedelta(minutes=number))
    entry(200, seconds=5000, updated=now - timedelta(days=2))
    entry(201, State.FAILED, seconds=7000)
    found = of(PRODUCT)
    assert (found.median_seconds, found.p95_seconds) == (51, 96)
    assert found.mean_seconds == pytest.approx((51 * 101 + 5000) / 102)
    assert of(SNAPSHOT).median_seconds is None


def test_fields__since_when_something_waits():
    now = timezone.now().replace(microsecond=0)
    for hours in (1, 5, 3):
        entry(hours, State.QUEUED, updated=now - timedelta(hours=hours))
    entry(7, reason="avif (text)", updated=now - timedelta(hours=7))
    entry(8, reason="avif (worse)", updated=now - timedelta(hours=8))
    entry(9, reason="latents (better)", updated=now - timedelta(hours=6))
    assert of(PRODUCT).oldest == {
        "queued": now - timedelta(hours=5),
        "compressed": now - timedelta(hours=8),
    }


def test_fields__one_that_the_site_has_no_more():
    entry(1, field="shop.old.photo", source_bytes=10, blob_bytes=1)
    found = of("shop.old.photo")
    assert (found.known, found.pictures, found.saved_bytes, found.pending) == (False, 1, 9, 0)


def test_total__over_all_fields():
    entry(1, source_bytes=100, blob_bytes=10, reason="avif (worse)")
    entry(2, field=SNAPSHOT, source_bytes=1000, blob_bytes=20, reason="avif (worse)")
    entry(3, State.QUARANTINED, field=SNAPSHOT)
    total = report.make().total
    assert (total.pictures, total.lost, total.saved_bytes) == (2, 1, 1070)
    assert total.verdicts == {"avif (worse)": 2}


# By day


def test_days__without_gaps_and_no_further_back():
    now = timezone.now()
    entry(1, source_bytes=50, blob_bytes=5, reason="avif (face)", updated=now)
    entry(2, State.FAILED, updated=now)
    entry(3, State.QUARANTINED, updated=now - timedelta(days=2))
    entry(4, State.WAITING, updated=now)
    entry(5, State.REPLACED, updated=now)
    entry(6, updated=now - timedelta(days=7))
    days = report.by_day(7)
    today = timezone.localdate()
    assert [day.day for day in days] == [today - timedelta(days=back) for back in range(6, -1, -1)]
    assert [(day.compressed, day.failed) for day in days] == [(0, 0)] * 4 + [(0, 1), (0, 0), (1, 1)]
    assert (days[-1].saved_bytes, days[-1].verdicts) == (45, {"avif (face)": 1})


def test_days__are_those_of_the_time_zone(monkeypatch):
    # In Auckland it is the next day already, twelve hours ahead; the clock went forward the week
    # before.
    now = datetime.fromisoformat("2026-10-01T11:30:00+00:00")
    monkeypatch.setattr(timezone, "now", lambda: now)
    entry(1, updated=datetime.fromisoformat("2026-09-30T10:30:00+00:00"))
    entry(2, updated=datetime.fromisoformat("2026-09-30T11:30:00+00:00"))
    entry(3, updated=datetime.fromisoformat("2026-09-24T12:10:00+00:00"))
    entry(4, updated=datetime.fromisoformat("2026-09-24T11:50:00+00:00"))
    with timezone.override("Pacific/Auckland"):
        days = {day.day.day: day.compressed for day in report.by_day(8) if day.compressed}
        assert report.by_day(1)[0].day == date(2026, 10, 2)
    assert days == {25: 1, 30: 1, 1: 1}


# Causes


def test_causes__are_one_whatever_the_picture_and_the_most_frequent_first():
    latest = timezone.now().replace(microsecond=0)
    for number in range(3):
        name = f"photos/{number}.jpg"
        updated = latest - timedelta(days=number)
        entry(number, State.FAILED, reason=f"{name} is not in storage.", updated=updated)
    entry(4, State.QUARANTINED, reason="photos/4.jpg is not in storage.")
    entry(5, State.WAITING, field=SNAPSHOT, reason="OSError: full")
    entry(6, reason="latents (better)")
    found = [(c.pictures, c.field, c.state, c.text) for c in report.causes()]
    assert found[0] == (3, PRODUCT, "failed", "… is not in storage.")
    assert set(found[1:]) == {
        (1, PRODUCT, "quarantined", "… is not in storage."),
        (1, SNAPSHOT, "waiting", "OSError: full"),
    }
    assert report.causes()[0].latest == latest


def test_causes__as_recompress_images_tells_them(upload):
    for seed in range(2):
        row = Product.objects.create(photo=upload(seed=seed))
        row.photo.storage.delete(row.photo.name)
    tally = Tally()
    for done in backlog.here(Selection(Product._meta.get_field("photo")).items(), compress):
        tally.add(done)
    (found,) = report.causes()
    assert dict(tally.reasons) == {found.text: 2} == {found.text: found.pictures}


# Cost


def test_make__queries_do_not_grow_with_pictures(upload):
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            report.make()
        return len(captured)

    for number in range(5):
        Product.objects.create(photo=f"photos/{number}.jpg")
        entry(number, seconds=1, reason="avif (text)", updated=timezone.now())
    few = queries()
    for number in range(5, 50):
        Product.objects.create(photo=f"photos/{number}.jpg")
        entry(number, State.FAILED if number % 3 else State.COMPRESSED, reason=f"Error {number}")
    assert queries() == few == 4 + 2 * len(backlog_fields())


def backlog_fields() -> list[str]:
    return [of_field.label for of_field in report.of_fields() if of_field.known]


@pytest.mark.only_sqlite  # Elsewhere a small table is read as a whole.
def test_make__finds_days_causes_and_times_by_the_index():
    entry(1, seconds=1)
    with CaptureQueriesContext(connection) as captured:
        report.by_day()
        report.causes()
        report._recent_seconds()
    for query in captured.captured_queries:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {query['sql'].replace('%', '%%')}")
            plan = " ".join(str(line[3]) for line in cursor.fetchall())
        assert "USING INDEX latentimg_compression_state" in plan, plan


# The command


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("latentimg_report", *arguments, stdout=out)
    return out.getvalue()


def test_command__says_it_in_tables():
    entry(1, source_bytes=2048, blob_bytes=1024, reason="avif (worse)", seconds=2.5)
    entry(2, State.FAILED, reason="photos/2.jpg is\nnot in storage.")
    Snapshot.objects.create(photo="snaps/1.jpg")
    lines = [line.split() for line in run("--days", "2").splitlines()]
    kilobytes = ["2.0", "KB", "1.0", "KB", "50.0", "%"]
    assert [PRODUCT, "1", *kilobytes, "1", "2.5", "2.5", "1", "0", "0"] in lines
    assert [SNAPSHOT, "0", "0", "bytes", "0", "bytes", "0.0", "%", *"0010"] in lines
    assert [PRODUCT, "avif", "(worse)", "1"] in lines
    assert ["1", PRODUCT, "failed", "…", "is", "not", "in", "storage."] in lines
    assert [timezone.localdate().isoformat(), "1", "1", *kilobytes, "0", "1"] in lines


def test_command__json_has_all_of_it():
    entry(1, source_bytes=2048, blob_bytes=1024, reason="avif (worse)")
    entry(2, State.FAILED, reason="photos/2.jpg is gone")
    told = json.loads(run("--json", "--days", "3"))
    assert set(told) == {"made", "fields", "days", "causes"}
    (product,) = (found for found in told["fields"] if found["label"] == PRODUCT)
    assert next(iter(product)) == "label"
    assert (product["saved_bytes"], product["verdicts"]) == (1024, {"avif (worse)": 1})
    assert [day["failed"] for day in told["days"]] == [0, 0, 1]
    assert told["days"][-1]["day"] == timezone.localdate().isoformat()
    assert told["causes"][0]["text"] == "… is gone"


def test_command__nothing_to_say():
    out = run()
    assert PRODUCT in out
    assert "Causes" not in out
    assert "Days" not in out


@pytest.mark.parametrize("days", ["0", "-3", "many"])
def test_command__refuses_days_that_are_none(days):
    with pytest.raises(CommandError):
        run(f"--days={days}")
