"""The ledger in the admin: who sees it, what is sent again, what the dashboard shows."""

import re
from html import unescape
from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.template.defaultfilters import filesizeformat
from django.test import Client
from django.test.utils import CaptureQueriesContext
from kombu.exceptions import OperationalError

from django_latentimg import compression, ledger_admin, tasks, workers
from django_latentimg.models import Compression
from django_latentimg.test import instant_codec
from tests.testapp.models import Product, Snapshot

from .chromium import launched, needs_chromium

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("enqueued")]

State = Compression.State
PHOTO = Product._meta.get_field("photo")
LIST = "/admin/django_latentimg/compression/"
DASHBOARD = f"{LIST}dashboard/"


@pytest.fixture
def entry(upload):
    """An entry of a row that holds its source."""

    def make(state: str = State.FAILED, seed: int = 0, **values) -> Compression:
        row = Product.objects.create(photo=upload(seed=seed))
        entry, _ = Compression.objects.update_or_create(
            field="testapp.product.photo",
            object_id=str(row.pk),
            source=row.photo.name,
            defaults={"state": state, "attempts": 6, "reason": "once", **values},
        )
        return entry

    return make


def client_of(*permissions: str) -> Client:
    user = User.objects.create_user("clerk", password="x", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def page(client: Client, url: str = LIST, **query: str) -> str:
    response = client.get(url, query)
    assert response.status_code == 200, response
    return unescape(response.content.decode())


def shown(client: Client, **query: str) -> set[str]:
    """Sources in the list."""
    return set(re.findall(r'class="field-source"><a [^>]*>([^<]*)', page(client, **query)))


def retry(client: Client, *entries: Compression, **data: str) -> list[str]:
    """Messages after the action."""
    chosen = {"action": "retry", "index": "0", "_selected_action": [e.pk for e in entries]} | data
    response = client.post(LIST, chosen, follow=True)
    assert response.status_code == 200
    return [str(message) for message in response.context["messages"]]


# Permissions


def test_permissions__nobody_adds_or_changes(admin_client, entry):
    made = entry()
    assert admin_client.get(f"{LIST}add/").status_code == 403
    html = page(admin_client, f"{LIST}{made.pk}/change/")
    assert '<input type="submit"' not in html.replace('value="Log out"', "")
    data = {"source": "other.jpg", "state": "compressed"}
    assert admin_client.post(f"{LIST}{made.pk}/change/", data).status_code == 403
    made.refresh_from_db()
    assert made.state == "failed"


@pytest.mark.parametrize(
    ("permissions", "status"),
    [([], 403), (["view_compression"], 200), (["change_compression"], 200)],
)
def test_permissions__who_sees_it(permissions, status):
    client = client_of(*permissions)
    assert client.get(LIST).status_code == status
    assert client.get(DASHBOARD).status_code == status


def test_permissions__nobody_from_outside(client):
    for url in (LIST, DASHBOARD):
        assert client.get(url).status_code == 302


def test_permissions__who_sees_it_may_not_retry(entry, enqueued):
    made = entry()
    client = client_of("view_compression")
    enqueued.clear()
    assert 'name="retry"' not in page(client)
    assert client.post(LIST, {"retry": made.pk}).status_code == 403
    retry(client, made)
    assert enqueued == []
    made.refresh_from_db()
    assert made.state == "failed"


def test_permissions__who_may_change_may_retry(entry, enqueued):
    made = entry()
    enqueued.clear()
    assert retry(client_of("change_compression"), made) == ["1 picture: sent to the workers."]
    assert len(enqueued) == 1


# The list


def test_list__says_what_came_of_a_picture(admin_client, upload):
    row = Product.objects.create(photo=upload(width=320, height=240))
    with instant_codec():
        compression.compress(PHOTO, row.pk, row.photo.name)
    html = page(admin_client)
    assert f'<a href="/admin/testapp/product/{row.pk}/change/">{row.pk}</a>' in html
    made = Compression.objects.get()
    share = f"{100 * made.blob_bytes / made.source_bytes:.1f} %"
    assert f"→ {filesizeformat(made.blob_bytes)}<br><small>{share}</small>" in html
    assert '<span class="latentimg-state latentimg-good">compressed</span>' in html
    assert f'href="{DASHBOARD}">Dashboard' in html
    assert "django_latentimg/ledger.css" in html


def test_list__rows_that_have_no_page(admin_client):
    for field in ("testapp.passport.photo", "shop.gone.photo", "nonsense"):
        Compression.objects.create(field=field, object_id="a/b", source=f"{field}.jpg")
    assert len(shown(admin_client)) == 3
    assert "a/b</td>" in page(admin_client)


def test_list__escapes_what_an_uploader_may_have_named(admin_client):
    Compression.objects.create(
        field="testapp.product.photo",
        object_id="1",
        source="<b>.jpg",
        reason="<script>alert(1)</script>",
        state=State.FAILED,
    )
    for url in (LIST, DASHBOARD):
        html = admin_client.get(url).content.decode()
        assert "<script>alert" not in html
        assert "<b>.jpg" not in html


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, "abcdef"),
        ({"state__exact": "failed"}, "b"),
        ({"field": "testapp.snapshot.photo"}, "c"),
        ({"policy": "present"}, "a"),
        ({"policy": "another"}, "d"),
        ({"policy__exact": "ffff"}, "d"),
        ({"model": "present"}, "ad"),
        ({"model": "another"}, "e"),
        ({"cause": "… is gone"}, "b"),
        ({"cause": "…"}, "b"),
        ({"cause": "is gone"}, ""),
        ({"q": "photos/e"}, "e"),
        ({"q": "hotos/e"}, ""),
        ({"q": "17"}, "f"),
        ({"q": "7"}, ""),
    ],
)
def test_list__filters_and_search(admin_client, query, expected):
    present = {"model": "lite", "policy": compression.fingerprint(PHOTO)}
    for name, values in {
        "a": present,
        "b": {"state": State.FAILED, "reason": "photos/b.jpg is gone"},
        "c": {"field": "testapp.snapshot.photo"},
        "d": {"model": "lite", "policy": "ffff"},
        "e": {"model": "old"},
        "f": {"object_id": "17"},
    }.items():
        defaults = {"field": "testapp.product.photo", "object_id": "1", "state": State.COMPRESSED}
        Compression.objects.create(**defaults | {"source": f"photos/{name}.jpg"} | values)
    assert shown(admin_client, **query) == {f"photos/{name}.jpg" for name in expected}


def test_list__queries_do_not_grow(admin_client, entry):
    def queries(**query: str) -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            page(admin_client, **query)
        return [found["sql"] for found in captured]

    for number in range(5):
        entry(seed=number)
    for query in ({}, {"state__exact": "failed"}):
        few = queries(**query)
        Compression.objects.bulk_create(
            Compression(
                field="testapp.product.photo",
                object_id=f"{number}",
                source=f"{query}{number}.jpg",
                state=State.FAILED,
            )
            for number in range(45)
        )
        many = queries(**query)
        assert len(many) == len(few) == 4  # session, user, count, entries
        assert not any("DISTINCT" in sql or "testapp_product" in sql for sql in many)
    assert 'ORDER BY "django_latentimg_compression"."updated" DESC' in many[-1]


# Retry


@pytest.mark.parametrize("state", State.values)
def test_retry__by_state(admin_client, entry, enqueued, state):
    made = entry(state)
    enqueued.clear()
    told = retry(admin_client, made)
    made.refresh_from_db()
    if state in ("failed", "quarantined", "waiting", "unsent"):
        assert enqueued == [("testapp.product", made.object_id, "photo", made.source)]
        assert told == ["1 picture: sent to the workers."]
        assert (made.state, made.attempts, made.reason) == ("queued", 0, "")
    else:
        assert enqueued == []
        assert told == ["1 picture: done or under way, and left as they are."]
        assert (made.state, made.attempts) == (state, 6)


def test_retry__one_by_its_button_and_back_to_where_one_was(admin_client, entry, enqueued):
    made, other = entry(seed=0), entry(seed=1)
    enqueued.clear()
    html = page(admin_client, state__exact="failed")
    assert html.count('name="retry"') == 2
    response = admin_client.post(f"{LIST}?state__exact=failed", {"retry": made.pk})
    assert (response.status_code, response.url) == (302, f"{LIST}?state__exact=failed")
    assert [sent[1] for sent in enqueued] == [made.object_id]
    assert shown(admin_client, state__exact="failed") == {other.source}


@pytest.mark.parametrize("key", ["0", "none", "", "9" * 30])
def test_retry__button_of_what_is_not_there(admin_client, entry, enqueued, key):
    entry()
    enqueued.clear()
    assert admin_client.post(LIST, {"retry": key}).status_code == 302
    assert enqueued == []


def test_retry__needs_the_forms_token(entry):
    made = entry()
    user = User.objects.create_superuser("boss")
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    assert client.post(LIST, {"retry": made.pk}).status_code == 403


def test_retry__sends_what_the_column_holds(admin_client, entry, enqueued):
    made = entry(attempts=0)
    row = Product.objects.get(pk=made.object_id)
    with instant_codec():
        compression.compress(PHOTO, row.pk, row.photo.name)
    blob = Product.objects.get().photo.name
    assert blob != made.source
    Compression.objects.update(state=State.FAILED)  # a later try, for another policy
    enqueued.clear()
    retry(admin_client, made)
    assert enqueued == [("testapp.product", made.object_id, "photo", blob)]


def test_retry__says_that_the_row_has_moved_on(admin_client, entry, enqueued, upload):
    replaced, deleted, dropped, stays = (entry(seed=seed) for seed in range(4))
    row = Product.objects.get(pk=replaced.object_id)
    row.photo = upload("other.png", seed=9)
    row.save()
    Product.objects.get(pk=deleted.object_id).delete()
    Compression.objects.filter(pk=dropped.pk).update(field="testapp.product.old")
    enqueued.clear()
    assert sorted(retry(admin_client, replaced, deleted, dropped, stays)) == [
        "1 picture: not sent: the site has no such field any more.",
        "1 picture: sent to the workers.",
        "2 pictures: not sent: the row holds another picture by now, or is gone.",
    ]
    assert [sent[1] for sent in enqueued] == [stays.object_id]


def test_retry__broker_down(admin_client, entry, monkeypatch):
    first, second = entry(seed=0), entry(seed=1)

    def refuse(*_, **__):
        raise OperationalError("[Errno 111] Connection refused")

    monkeypatch.setattr(tasks.compress_image, "apply_async", refuse)
    (told,) = retry(admin_client, first, second)
    assert told.startswith(f"No broker took {first.source}: [Errno 111] Connection refused.")
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.state, second.state) == ("unsent", "failed")


def test_retry__without_celery(admin_client, entry, monkeypatch):
    made = entry()
    monkeypatch.setattr(workers, "task", lambda name: None)
    (told,) = retry(admin_client, made)
    assert "recompress_images --failed" in told
    made.refresh_from_db()
    assert made.state == "failed"


def test_retry__no_more_than_a_request_can_bear(admin_client, entry, enqueued, monkeypatch):
    monkeypatch.setattr(ledger_admin, "MOST", 2)
    made = [entry(seed=seed) for seed in range(3)]
    enqueued.clear()
    told = retry(admin_client, *made)
    assert len(enqueued) == 2
    assert "1 picture: too many for one time (2): see recompress_images --failed." in told


@pytest.mark.django_db(transaction=True)
def test_retry__worker_finds_what_was_entered_though_requests_are_atomic(
    admin_client, entry, monkeypatch
):
    made = entry()
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    seen = []

    def send(*_, **__):
        seen.append(connection.in_atomic_block)

    monkeypatch.setattr(tasks.compress_image, "apply_async", send)
    admin_client.post(LIST, {"retry": made.pk})
    retry(admin_client, entry(seed=1))
    assert seen[-1:] + seen[:1] == [False, False]
    assert not any(seen)


def test_delete__as_django_permits(entry):
    made = entry()
    client = client_of("view_compression", "delete_compression")
    client.post(f"{LIST}{made.pk}/delete/", {"post": "yes"})
    assert not Compression.objects.exists()
    assert Product.objects.get().photo.storage.exists(made.source), "only the entry goes"


# The dashboard


def test_dashboard__empty(admin_client):
    html = page(admin_client, DASHBOARD)
    assert html.count("Nothing in these days.") == 3
    assert "testapp.product.photo" in html


def test_dashboard__figures_charts_and_causes(admin_client, upload):
    for seed in range(2):
        row = Product.objects.create(photo=upload(seed=seed))
        with instant_codec():
            compression.compress(PHOTO, row.pk, row.photo.name)
    Snapshot.objects.create(photo=upload())
    Compression.objects.update(reason="avif (text)", source_bytes=2048, blob_bytes=512)
    gone = Product.objects.create(photo=upload(seed=5))
    gone.photo.storage.delete(gone.photo.name)
    compression.compress(PHOTO, gone.pk, gone.photo.name)
    html = page(admin_client, DASHBOARD)
    assert "<b>2</b> <span>pictures</span>" in html
    assert "<b>75.0 %</b>" in html
    assert "<b>2</b> <span>pending</span>" in html
    assert html.count('<svg role="img"') == 3
    assert html.count("<g><title>") == 3 * 30
    assert "2 compressed, 1 failed" in html
    assert "latents did not hold the text" in html
    (link,) = re.findall(r'<a href="([^"]*cause=[^"]*)"', html)
    query = {"state__exact": "failed", "field": "testapp.product.photo"}
    assert link == f"{LIST}?{urlencode(query | {'cause': '… is not in storage.'})}"
    assert admin_client.get(link).context["cl"].result_count == 1


def test_dashboard__a_long_cause_finds_its_entries(admin_client, entry):
    made = entry(reason=f"{'x' * 5000}")
    html = page(admin_client, DASHBOARD)
    (link,) = re.findall(r'<a href="([^"]*cause=[^"]*)"', html)
    assert len(link) < 600
    assert admin_client.get(link).context["cl"].result_list[0] == made


def test_dashboard__bars_add_up(admin_client):
    for number in range(4):
        Compression.objects.create(
            field="testapp.product.photo",
            object_id=f"{number}",
            source=f"{number}.jpg",
            state=State.FAILED if number == 3 else State.COMPRESSED,
        )
    html = page(admin_client, DASHBOARD)
    today = html.partition("3 compressed, 1 failed</title>")[2].partition("</g>")[0]
    bars = re.findall(
        r'class="latentimg-(\w+)" x="\d+" y="(\d+)" width="\d+" height="(\d+)"', today
    )
    # Of a scale that ends at four, all of it: three quarters and one.
    assert bars == [("hit", "0", "1000"), ("good", "250", "750"), ("bad", "0", "250")]


def test_dashboard__numbers_of_a_language_stay_out_of_the_drawing(admin_client, settings):
    settings.USE_THOUSAND_SEPARATOR = True
    settings.LANGUAGE_CODE = "de"
    Compression.objects.bulk_create(
        Compression(
            field="testapp.product.photo",
            object_id=f"{number}",
            source=f"{number}.jpg",
            state=State.COMPRESSED,
        )
        for number in range(1200)
    )
    html = page(admin_client, DASHBOARD)
    assert "<b>1.200</b>" in html
    assert 'viewBox="0 0 3000 1000"' in html
    drawn = [
        number
        for rect in re.findall(r"<rect [^>]*>", html)
        for number in re.findall(r' (?:x|y|width|height)="([^"]*)"', rect)
    ]
    assert len(drawn) > 4 * 30
    assert all(map(str.isdecimal, drawn))


def test_dashboard__keeps_to_a_strict_policy(admin_client, entry):
    entry()
    html = admin_client.get(DASHBOARD).content.decode()
    content = html.partition('id="content-main"')[2]
    assert "style=" not in content
    assert "<script" not in content.partition("<!-- END Content -->")[0]
    assert not re.search(r"https?://(?!www\.w3\.org)", content)


def test_dashboard__queries_do_not_grow(admin_client, entry):
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            page(admin_client, DASHBOARD)
        return len(captured)

    entry()
    few = queries()
    for seed in range(1, 30):
        entry(seed=seed, state=State.QUARANTINED if seed % 2 else State.COMPRESSED)
    assert queries() == few


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dashboard__fits_a_telephone_and_breaks_no_policy(
    live_server, admin_client, entry, monkeypatch, settings, scheme
):
    # Playwright runs a loop in this thread, and Django then takes its own calls for asynchronous.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.test_admin.strict_policy"]
    entry(reason="No space left on device")
    Compression.objects.create(
        field="testapp.product.photo", object_id="1", source="a.jpg", state=State.COMPRESSED
    )
    with launched("--disable-gpu") as browser:
        page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme=scheme)
        problems: list[str] = []
        page.on("console", lambda said: problems.append(said.text))
        cookie = {"name": "sessionid", "value": admin_client.cookies["sessionid"].value}
        page.context.add_cookies([{**cookie, "url": live_server.url}])
        page.goto(f"{live_server.url}{DASHBOARD}")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        bar = page.locator("svg rect.latentimg-good").first
        assert bar.bounding_box()["height"] > 20
        assert bar.evaluate("bar => getComputedStyle(bar).fill") == "rgb(31, 138, 112)"
        page.get_by_role("link", name="List 1 pictures").click()
        page.get_by_role("button", name="Retry photos/").click()
        page.get_by_text("1 picture: sent to the workers.").wait_for()
    assert [said for said in problems if "favicon" not in said and "404" not in said] == []


def strict_policy(get_response):
    """Middleware: the dashboard's policy; the list has scripts of Django's own."""

    def middleware(request):
        response = get_response(request)
        if request.path == DASHBOARD:
            response["Content-Security-Policy"] = "default-src 'self'; img-src 'self' data:"
        return response

    return middleware


# Other sites


def test_admin__another_site_and_theme(admin_client):
    from unfold.admin import ModelAdmin

    dressed = type("Dressed", (ledger_admin.CompressionAdmin, ModelAdmin), {})
    site = admin.AdminSite(name="office")
    found = dressed(Compression, site)
    assert found.check() == []
    assert found.get_urls()[0].name == "django_latentimg_compression_dashboard"
