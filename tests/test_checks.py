import celery
import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import storages
from django.db import models
from django.test.utils import isolate_apps

from django_latentimg import lifecycle, workers
from django_latentimg.conf import conf
from django_latentimg.fields import LatentImageField
from django_latentimg.storage import SourcesAndBlobs

from .testapp.models import Portrait


def identifiers(**options) -> set[str | None]:
    with isolate_apps("tests.testapp"):

        class Checked(models.Model):
            photo = LatentImageField(upload_to="x/", **options)
            count = models.IntegerField()
            tiny = models.TextField()
            marks = models.JSONField(default=list)

            class Meta:
                app_label = "testapp"

        return {message.id for message in Checked.check()}


@pytest.mark.parametrize(
    ("options", "identifier"),
    [
        ({"widths": ()}, "latentimg.E001"),
        ({"widths": (320, 0)}, "latentimg.E001"),
        ({"formats": ()}, "latentimg.E002"),
        ({"formats": ("avif", "gif")}, "latentimg.E002"),
        ({"quality": 0}, "latentimg.E003"),
        ({"quality": 101}, "latentimg.E003"),
        ({"max_length": 60}, "latentimg.E004"),
        ({"placeholder_field": "missing"}, "latentimg.E005"),
        ({"placeholder_field": "count"}, "latentimg.E005"),
        ({"prefer": "beauty"}, "latentimg.E006"),
        ({"patches": True}, "latentimg.E006"),
        ({"min_quality": 100}, "latentimg.E007"),
        ({"focal_field": "missing"}, "latentimg.E008"),
        ({"focal_field": "tiny"}, "latentimg.E008"),
        ({"focus_field": "missing"}, "latentimg.E008"),
        ({"alt_field": "count"}, "latentimg.E005"),
        ({"ratios": ["wide"]}, "latentimg.E009"),
        ({"expires": 0}, "latentimg.E014"),
        ({"permission": "everybody"}, "latentimg.E014"),
        ({"ratios": ["0/1"]}, "latentimg.E009"),
        ({"ratios": [1.5]}, "latentimg.E009"),
    ],
)
def test_check_field__reports(options, identifier):
    assert identifiers(**options) == {identifier}


def test_check_field__is_silent_when_right():
    options = {"widths": [100], "quality": 100, "prefer": "fidelity", "min_quality": 0}
    assert identifiers(placeholder_field="tiny", focal_field="marks", **options) == set()


def test_check_settings__unknown_storage(settings):
    settings.LATENTIMG = {"RENDITION_STORAGE": "nowhere"}
    assert "latentimg.E010" in {message.id for message in run_checks()}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("COMPRESS", value) for value in ("0", None)),
        *(("EFFORT", value) for value in (-1, 10, "high", None)),
        *(("MAX_DECODES", value) for value in (0, 1.5, "2")),
        *(("MAX_WAITING", value) for value in (-1, None)),
        ("WHEN_BUSY", "panic"),
        ("ENGINE", "tensorflow"),
        ("MISSES", None),
        ("GRACE", -1),
    ],
)
def test_check_settings__value_out_of_range(settings, key, value):
    settings.LATENTIMG = settings.LATENTIMG | {key: value}
    assert "latentimg.E012" in {message.id for message in run_checks()}


def test_check_settings__unknown_cache(settings):
    settings.LATENTIMG = settings.LATENTIMG | {"CACHE": "nowhere"}
    assert "latentimg.E013" in {message.id for message in run_checks()}


@pytest.mark.parametrize("given", [["EFFORT"], "lite", {"SEND": "redirect"}])
def test_check_settings__no_dictionary(settings, given):
    settings.LATENTIMG = given
    assert "latentimg.E011" in {message.id for message in run_checks()}


def test_check_settings__unknown_key(settings):
    settings.LATENTIMG = {"QUALITY": 3}
    with pytest.raises(ImproperlyConfigured, match="QUALITY"):
        _ = conf.MODEL
    assert "latentimg.E011" in {message.id for message in run_checks()}


def test_conf__follows_overridden_settings(settings):
    assert conf.MODEL == "lite"
    settings.LATENTIMG = {"MODEL": "elsewhere"}
    assert conf.MODEL == "elsewhere"


def test_system__has_nothing_to_report():
    assert run_checks() == []


# Storages and brokers


@pytest.mark.parametrize("apart", [False, True])
def test_check_field__a_storage_that_overwrites(settings, apart):
    def s3(**options) -> dict:
        return {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}

    settings.STORAGES = settings.STORAGES | {
        "careless": s3(bucket_name="shop"),
        "careful": s3(bucket_name="shop", file_overwrite=False),
    }

    def found(sources: str) -> set[str | None]:
        storage = SourcesAndBlobs(sources, "careless") if apart else storages[sources]
        return identifiers(storage=storage)

    assert found("careless") == {"latentimg.W005"}
    assert found("careful") == set()


@pytest.mark.parametrize(
    ("url", "options", "warned"),
    [
        ("redis://127.0.0.1:6379/0", {}, False),
        ("redis://127.0.0.1:6379/0", {"visibility_timeout": 600}, True),
        ("rediss://127.0.0.1:6379/0", {"visibility_timeout": 7200}, False),
        ("sqs://", {}, True),
        ("sqs://", {"visibility_timeout": 7200}, False),
        ("amqp://guest@127.0.0.1//", {}, False),
        (None, {}, False),
    ],
)
def test_check_broker__that_gives_away_what_a_worker_is_at(monkeypatch, url, options, warned):
    site = celery.Celery(set_as_current=False, broker=url, broker_transport_options=options)
    monkeypatch.setattr(celery, "current_app", site)
    found = [m.msg for m in run_checks(include_deployment_checks=True) if m.id == "latentimg.W004"]
    assert bool(found) == warned
    if warned:
        assert f"may take {workers.longest()}" in found[0]


# Templates


def warnings_of(settings, folder, source: str) -> list[str]:
    (folder / "page.html").write_text(source)
    settings.TEMPLATES = [
        {"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [folder]}
    ]
    return [message.msg for message in run_checks() if message.id == "latentimg.W003"]


@pytest.mark.parametrize(
    "tag",
    [
        "{% latent_img product.photo %}",
        "{%- latent_img product.photo sizes='50vw' -%}",
        "{% latent_picture photo '(max-width: 50%) 1/1, 2/1' %}",
        "{% latent_img photo sizes='10%'\n class='alt' %}",
    ],
)
def test_check_templates__a_picture_that_is_not_described(settings, tmp_path, tag):
    (message,) = warnings_of(settings, tmp_path, f"<p>\n{tag} {{% now alt='x' %}}")
    assert f"{tmp_path}/page.html, line 2" in message


@pytest.mark.parametrize(
    "tag",
    [
        "{% latent_img product.photo alt=product.title %}",
        "{% latent_img product.photo sizes='50%' alt='' %}",
        "{% latent_url product.photo %}",
        "{% latent_preload product.photo %}",
    ],
)
def test_check_templates__a_picture_that_is_or_need_not_be(settings, tmp_path, tag):
    assert warnings_of(settings, tmp_path, tag) == []


def test_check_templates__every_row_describes_its_picture(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(lifecycle, "all_fields", lambda: [Portrait._meta.get_field("photo")])
    assert warnings_of(settings, tmp_path, "{% latent_img product.photo %}") == []
