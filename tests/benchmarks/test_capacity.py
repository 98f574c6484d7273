import dataclasses
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.capacity import costs, visits, work
from benchmarks.capacity import inputs as capacity
from benchmarks.capacity.__main__ import DOCS, checks, figures, filled
from benchmarks.capacity.inputs import RESULTS, Assumed, measured, photographs
from django_latentimg.conf import Values
from django_latentimg.tasks import compress_image

KNOWN, ASSUMED = measured(), Assumed()
FAULTY = work.Faults(transient=0.2, deaths=1 / 100, restart=5)

moments = st.lists(st.floats(0, 1000), max_size=30).map(lambda times: np.array(sorted(times)))


def cells(name: str, head: str) -> list[list[str]]:
    return capacity.table(name, head)


@given(moments, st.integers(0, 30), st.integers(1, 5), st.integers(0, 9), st.floats(0, 3000))
def test_simulate__every_picture_is_done_or_quarantined_or_left(
    arrivals, backlog, workers, seed, until
):
    told = work.simulate(
        arrivals, 20, workers, spread=0.5, backlog=backlog, faults=FAULTY, until=until, seed=seed
    )
    came = int((arrivals <= until).sum())
    assert len(told.waits) + told.backlog_done == told.done
    waiting = told.backlog_left + told.fresh_left
    assert told.done + told.quarantined + waiting == came + backlog
    assert told.backlog_done + told.backlog_quarantined + told.backlog_left == backlog
    assert told.useful <= told.busy + 1e-6


@given(moments, st.integers(0, 30), st.integers(1, 5))
def test_simulate__everything_is_done_in_the_end(arrivals, backlog, workers):
    told = work.simulate(arrivals, 20, workers, backlog=backlog, faults=FAULTY)
    assert told.done + told.quarantined == len(arrivals) + backlog
    assert told.backlog_left == told.fresh_left == 0


@given(st.integers(1, 60), st.integers(1, 7))
def test_simulate__without_faults_takes_as_long_as_one_computes(backlog, workers):
    told = work.simulate(np.array([]), 30, workers, backlog=backlog)
    assert told.ended == pytest.approx(-(-backlog // workers) * 30)
    assert told.busy == told.useful == pytest.approx(backlog * 30)


@given(moments, st.integers(1, 4), st.integers(0, 9))
def test_simulate__a_worker_more_makes_no_upload_slower(arrivals, workers, seed):
    few, more = (
        work.simulate(arrivals, 20, number, spread=1.0, seed=seed)
        for number in (workers, workers + 1)
    )
    finished = [sorted(told.waits) for told in (few, more)]
    assert all(slow >= fast - 1e-6 for slow, fast in zip(*finished, strict=True))
    assert more.ended <= few.ended + 1e-6


def test_simulate__an_upload_overtakes_the_backlog():
    told = work.simulate(np.array([5.0]), 10, 1, backlog=100)
    assert told.waits == [pytest.approx(15)]  # The one that was begun, and its own.


def test_simulate__a_seed_gives_the_same_again():
    one, again, other = (
        work.simulate(
            work.uploads(2000, 0.5, 86_400, seed), 300, 10, spread=1, faults=FAULTY, seed=seed
        )
        for seed in (1, 1, 2)
    )
    assert one == again
    assert one.waits != other.waits


def test_simulate__what_always_fails_is_quarantined_after_the_last_attempt():
    told = work.simulate(np.array([0.0]), 10, 1, faults=work.Faults(transient=1))
    assert (told.done, told.quarantined) == (0, 1)
    delays = [min(work.BACKOFF_MOST, work.BACKOFF * 2**n) for n in range(work.ATTEMPTS - 1)]
    assert 0 < told.ended <= sum(delays) + work.ATTEMPTS * 10


def test_simulate__quarantines_what_fails_as_often_as_there_are_attempts():
    often = 0.015 ** (1 / work.ATTEMPTS)
    told = work.simulate(np.arange(20_000) * 1.0, 0.1, 50, faults=work.Faults(transient=often))
    assert told.quarantined / 20_000 == pytest.approx(0.015, rel=0.2)


def test_simulate__a_dead_workers_picture_goes_to_another():
    """Sixty seconds of work on workers that live for thirty in the mean: most attempts are lost."""
    told = work.simulate(np.arange(500) * 10.0, 60, 40, faults=work.Faults(deaths=1 / 30))
    assert told.quarantined / 500 == pytest.approx((1 - np.exp(-2)) ** work.ATTEMPTS, rel=0.2)
    assert told.useful < 0.4 * told.busy
    assert max(told.waits) < work.ATTEMPTS * 60 + 1  # At once, not when a retry is due.


def test_simulate__times_have_the_mean_and_the_spread():
    told = work.simulate(np.arange(20_000) * 1.0, 30, 1000, spread=0.7, seed=3)
    assert np.mean(told.waits) == pytest.approx(30, rel=0.03)
    assert np.std(told.waits) / np.mean(told.waits) == pytest.approx(0.7, rel=0.1)


def test_simulate__backlog_that_failed_waits_behind_uploads():
    """All five have failed by the hour, and come back to a worker that never gets to them."""
    flood = np.full(10_000, 59.0)
    told = work.simulate(
        flood, 10, 1, backlog=5, faults=work.Faults(transient=1), until=3600, seed=1
    )
    assert told.backlog_left == 5
    assert told.fresh_left + told.quarantined == 10_000


def test_policy_of_retries__is_the_packages():
    assert compress_image.retry_backoff == work.BACKOFF
    assert compress_image.retry_backoff_max == work.BACKOFF_MOST
    assert Values().ATTEMPTS == work.ATTEMPTS


def test_uploads__have_the_days_number_and_its_curve():
    times = work.uploads(100_000, 0.8, 86_400)
    assert len(times) == pytest.approx(100_000, rel=0.02)
    by_hour = np.histogram(times, 24, (0, 86_400))[0]
    assert by_hour.max() / by_hour.mean() == pytest.approx(1.8, rel=0.05)
    assert by_hour.argmin() in (0, 23)


@given(st.integers(1, 10**8), st.integers(10, 10**4), st.floats(1, 300))
def test_flow__without_uploads_is_a_division(backlog, cores, seconds):
    found = work.flow(backlog, cores, seconds, 0, 0.8).days
    assert found == pytest.approx(backlog * seconds / cores / 86_400, abs=2 / 288)


@given(st.floats(0, 1e6), st.floats(0, 0.9), st.integers(10, 10**4))
def test_flow__a_core_more_is_never_slower(uploads, swing, cores):
    few, more = (work.flow(1e7, number, 20, uploads, swing) for number in (cores, cores + 1))
    assert more.days <= few.days
    assert more.deepest <= few.deepest


def test_flow__never_ends_where_uploads_take_all():
    assert work.flow(1e6, 10, 100, 10_000, 0.8).days == np.inf


def test_flow__agrees_with_every_task_by_itself():
    told = work.simulate(work.uploads(5_000, 0.8, 86_400), 60, 10, backlog=10**6, until=86_400)
    flow = work.flow(told.backlog_done, 10, 60, 5_000, 0.8)
    assert flow.days == pytest.approx(1, rel=0.02)


def test_quarantined__by_longer_outages_more():
    shares = [work.quarantined(60 * minutes) for minutes in (0.1, 20, 40, 80, 480)]
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert shares[-1] > 0.7


def asked(pictures: int = 10_000, exponent: float = 0.9) -> visits.Classes:
    two = np.array([1000.0, 3000.0])
    return visits.classes(pictures, exponent, 50.0, np.array([0.6, 0.4]), two, two / 1000)


@given(st.integers(1, 10**8), st.floats(0, 1.5))
def test_popularity__covers_every_picture_and_every_request(pictures, exponent):
    count, share = visits.popularity(pictures, exponent)
    assert count.sum() == pictures
    assert count @ share == pytest.approx(1)
    assert (np.diff(share) <= 1e-15).all()


@settings(max_examples=25)
@given(st.floats(1e4, 5e7), st.floats(1, 1e7))
def test_steady__passes_on_no_more_than_comes(cdn, expiry):
    seen = visits.steady(asked(), cdn, expiry)
    assert 0 <= seen.decodes <= seen.to_view * (1 + 1e-9) <= 50 * (1 + 1e-6)
    assert seen.to_view == pytest.approx(50 * (1 - seen.hits), abs=1e-6)
    assert seen.cached <= 20_000
    larger, later = visits.steady(asked(), 2 * cdn, expiry), visits.steady(asked(), cdn, 2 * expiry)
    assert larger.hits >= seen.hits - 1e-9
    assert later.decodes <= seen.decodes + 1e-9


def test_steady__what_fits_is_never_missed():
    assert visits.steady(asked(), 4e7 + 1, 1).hits == pytest.approx(1)


def test_steady__without_a_cache_every_request_is_decoded():
    seen = visits.steady(asked(), 0, 0)
    assert seen.decodes == pytest.approx(50)
    assert seen.average == pytest.approx(0.6 * 1 + 0.4 * 3)


@pytest.mark.parametrize("exponent", [0.7, 0.9, 1.1])
def test_steady__hits_are_those_of_a_cache_request_by_request(exponent):
    one = np.array([1.0])
    about = visits.steady(visits.classes(5_000, exponent, 1.0, one, one, one), 500, 0).hits
    assert about == pytest.approx(visits.simulated_hits(5_000, exponent, 500, 100_000), abs=0.01)


@pytest.mark.parametrize("way", costs.WAYS, ids=lambda way: way.name)
def test_bill__is_linear_in_photographs(way):
    kind = photographs(KNOWN, ASSUMED)[0]
    # As many visitors for each.
    one, two = (
        costs.bill(
            KNOWN,
            dataclasses.replace(
                ASSUMED,
                zipf=0.0,
                photographs=factor * 10**6,
                page_views_a_day=factor * 5e5,
                uploads_a_day=factor * 1e3,
                plan_cdn=factor * 1e9,
            ),
            kind,
            way,
        )
        for factor in (1, 2)
    )
    for name, value in dataclasses.asdict(one).items():
        assert getattr(two, name) == pytest.approx(2 * value, rel=1e-4), name


def test_bill__grows_with_every_price_and_with_effort():
    kind, way = photographs(KNOWN, ASSUMED)[1], costs.WAYS[1]
    usual = costs.bill(KNOWN, ASSUMED, kind, way)
    for price in ("storage_gb_month", "put_1000", "get_1000", "core_hour", "egress_gb"):
        dearer = dataclasses.replace(ASSUMED, **{price: 2 * getattr(ASSUMED, price)})
        assert costs.bill(KNOWN, dearer, kind, way).whole > usual.whole, price
    harder = costs.bill(KNOWN, ASSUMED, kind, dataclasses.replace(way, effort=5))
    assert harder.once > usual.once
    assert harder.stored == usual.stored


def test_gpus__are_no_faster_than_the_cores_beside_them():
    kind = photographs(KNOWN, ASSUMED)[0]
    for effort in (0, 5):
        rates = [one.rate for one in costs.gpus(KNOWN, ASSUMED, kind, effort)]
        rest = costs.gpus(KNOWN, ASSUMED, kind, effort)[0].left
        most = ASSUMED.gpu_cores / (rest * KNOWN.compression(kind.megapixels, effort))
        assert rates == sorted(rates)
        assert rates[-1] <= most * (1 + 1e-9)


def test_checks__without_a_load_test_say_so():
    lines = "\n".join(checks(dataclasses.replace(KNOWN, load=None)))
    assert "**assumption:**" in lines
    assert "load.json)" not in lines


def test_figures__follow_from_the_measured_ones():
    stored = json.loads((RESULTS / "capacity.json").read_text())
    again = json.loads(json.dumps(figures(KNOWN, ASSUMED)))
    assert flat(again) == pytest.approx(flat(stored["figures"]), rel=1e-6)
    assert stored["assumed"] == json.loads(json.dumps(dataclasses.asdict(ASSUMED)))


def flat(found: object, name: str = "") -> dict[str, float]:
    if isinstance(found, dict):
        parts = [flat(value, f"{name}/{key}") for key, value in found.items()]
        return {key: value for part in parts for key, value in part.items()}
    if isinstance(found, list):
        return flat(dict(enumerate(found)), name)
    return {name: found} if isinstance(found, float | int) else {}


def test_plan__has_the_tables_of_the_results():
    text = (RESULTS / "capacity.md").read_text()
    parts = re.split(r"^## (.*)$", text, flags=re.M)[1:]
    found = {
        name: body.strip().split("\n") for name, body in zip(parts[::2], parts[1::2], strict=True)
    }
    document = DOCS.read_text()
    for name in found:
        assert document.count(f"<!-- {name} -->") == 1, name
    assert filled(document, found) == document


def test_conclusions__follow_from_the_figures():
    """What docs/capacity.md says in words."""
    kinds = json.loads((RESULTS / "capacity.json").read_text())["figures"]
    for kind in kinds.values():
        bills = kind["bills"]
        ours, usual = bills["latents, sources not kept"], bills[costs.WAYS[3].name]
        assert ours["storage"] < ours["requests"]  # the smallest part
        assert ours["storage"] < ours["computing"]
        years = 5 * 12 * ASSUMED.storage_gb_month
        assert ours["once"] > years * (usual["stored"] - ours["stored"]) / 1e9
        for equal in ("the same, of equal LPIPS", "the same, of equal SSIMULACRA2"):
            assert bills[equal]["download"] < 0.7 * ours["download"]
        assert ours["download"] < usual["download"]
        parts = ("storage", "requests", "computing", "egress")
        assert sum(ours[part] for part in parts) > sum(usual[part] for part in parts)
        assert usual["requests"] < ours["requests"]
        assert usual["computing"] < ours["computing"]
    for row in cells("capacity.md", "photographs | what if"):
        once, avif_once, month, avif_month = (float(cell.replace(",", "")) for cell in row[4:])
        assert once > avif_once, row
        assert month > avif_month, row
    assert KNOWN.equal_lpips() > 2
    assert KNOWN.equal_ssimulacra2() < 1 < KNOWN.guard_avif
    telephone = photographs(KNOWN, ASSUMED)[1]
    whole, scaled = (
        costs.bill(KNOWN, ASSUMED, one, costs.WAYS[1])
        for one in (telephone, costs.shrunk(telephone))
    )
    assert scaled.once < 0.33 * whole.once
    assert 0.7 < scaled.month / whole.month < 0.8
    rows = cells("capacity.md", "photographs | effort | GPU")
    for row in rows:
        if row[1] == "0":
            assert float(row[6]) > float(row[7]), row
    pays = {row[0] for row in rows if row[1] == "5" and float(row[6]) < float(row[7])}
    assert pays == {"telephone"}
