"""The ledger in the admin: a list that is read, "Retry", and the dashboard.

Made for millions of entries: no list or filter looks for distinct values, or sorts what no index
has sorted, unless it is asked to.
"""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import quote
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from . import compression, dashboard, links, report, workers
from .charts import amount
from .conf import conf
from .lifecycle import all_fields
from .models import Compression
from .names import source_of

State = Compression.State
Entries = models.QuerySet[Compression]

AGAIN = (*Compression.FAILING, State.UNSENT)
"""What can be asked for once more; anything else is done or under way."""
MOST = 1000
"""Entries that one request sends again; for more there is ``recompress_images --failed``."""


class FieldFilter(admin.SimpleListFilter):
    title = parameter_name = "field"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(label, label) for label in sorted(map(links.label, all_fields()))]

    def queryset(self, request: HttpRequest, queryset: Entries) -> Entries:
        return queryset.filter(field=self.value()) if self.value() else queryset


class OfPresentFilter(admin.SimpleListFilter):
    """Whether something is as it would be if the picture were compressed now."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("present", "The present one"), ("another", "Another one")]

    def queryset(self, request: HttpRequest, queryset: Entries) -> Entries:
        if self.value() == "present":
            return queryset.filter(self.present())
        if self.value() == "another":
            # Those never begun have none.
            return queryset.exclude(self.present()).exclude(**{str(self.parameter_name): ""})
        return queryset

    def present(self) -> Q:
        raise NotImplementedError


class ModelFilter(OfPresentFilter):
    title, parameter_name = "latent model", "model"

    def present(self) -> Q:
        return Q(model=conf.MODEL)


class PolicyFilter(OfPresentFilter):
    title = parameter_name = "policy"

    def present(self) -> Q:
        found = Q(pk__in=[])
        for field in all_fields():
            found |= Q(field=links.label(field), policy=compression.fingerprint(field))
        return found


class CauseFilter(admin.SimpleListFilter):
    """What the dashboard's causes link to; there is nothing to choose from in the list."""

    title = parameter_name = "cause"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        text = request.GET.get("cause")
        return [(text, Truncator(text).chars(60))] if text else []

    def queryset(self, request: HttpRequest, queryset: Entries) -> Entries:
        text = self.value()
        if not text:
            return queryset
        return queryset.alias(cause=report.CAUSE).filter(cause__startswith=text)


class CompressionAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = (
        "source",
        "row",
        "how",
        "again",
        "why",
        "attempts",
        "time",
        "size",
        "worker",
        "updated",
    )
    list_filter = ("state", FieldFilter, ModelFilter, PolicyFilter, "updated", CauseFilter)
    search_fields = ("source__startswith", "object_id__exact")
    search_help_text = "How a source's name begins, or a primary key."
    show_full_result_count = False
    list_per_page = 50
    actions = ("retry",)

    class Media:
        css = {"all": ["django_latentimg/ledger.css"]}

    # Permissions

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) or self.has_retry_permission(request)

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Django's own permission to change entries, of which nothing else can be changed."""
        return super().has_change_permission(request)

    # The list

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        # There is an index of state and time, and none of time.
        return ("-updated",) if "state__exact" in request.GET else ("-pk",)

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        if self.has_retry_permission(request):
            return self.list_display
        return tuple(column for column in self.list_display if column != "again")

    @admin.display(description="row", ordering="field")
    def row(self, entry: Compression) -> SafeString:
        try:
            model = entry.field.rpartition(".")[0].replace(".", "_")
            url = self._url(f"{model}_change", quote(entry.object_id))
        except NoReverseMatch:  # Not in the admin, or not in the site any more.
            key = entry.object_id
        else:
            key = format_html('<a href="{}">{}</a>', url, entry.object_id)
        return format_html("{}<br>{}", entry.field, key)

    @admin.display(description="state", ordering="state")
    def how(self, entry: Compression) -> SafeString:
        return format_html(
            '<span class="latentimg-state latentimg-{}">{}</span>',
            dashboard.LOOKS.get(entry.state, "open"),
            entry.get_state_display(),
        )

    @admin.display(description="reason")
    def why(self, entry: Compression) -> SafeString:
        return format_html(
            '<span class="latentimg-reason" title="{}">{}</span>',
            entry.reason,
            Truncator(entry.reason).chars(120),
        )

    @admin.display(description="seconds", ordering="seconds")
    def time(self, entry: Compression) -> str | None:
        return f"{entry.seconds:.1f}" if entry.seconds else None

    @admin.display(description="bytes", ordering="blob_bytes")
    def size(self, entry: Compression) -> SafeString | str | None:
        if not entry.source_bytes:
            return None
        before = filesizeformat(entry.source_bytes)
        if not entry.blob_bytes:
            return before
        return format_html(
            '<span class="latentimg-size">{} → {}<br><small>{} %</small></span>',
            before,
            filesizeformat(entry.blob_bytes),
            f"{100 * entry.blob_bytes / entry.source_bytes:.1f}",
        )

    @admin.display(description="")
    def again(self, entry: Compression) -> SafeString | str:
        if entry.state not in AGAIN:
            return ""
        return format_html(
            '<button class="latentimg-retry" name="retry" value="{}" '
            'aria-label="Retry {}">Retry</button>',
            entry.pk,
            entry.source,
        )

    # Retry

    # Under ATOMIC_REQUESTS a worker could be there before the commit, and find the old entry.
    @transaction.non_atomic_requests
    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if request.method == "POST" and "retry" in request.POST:
            if not self.has_retry_permission(request):
                raise PermissionDenied
            key = request.POST["retry"]
            chosen = self.get_queryset(request).filter(pk=key) if key.isdecimal() else []
            self._retry(request, chosen)
            return HttpResponseRedirect(request.get_full_path())
        return super().changelist_view(request, extra_context)

    @admin.action(description="Retry selected pictures", permissions=["retry"])
    def retry(self, request: HttpRequest, queryset: Entries) -> None:
        again = queryset.filter(state__in=AGAIN)
        others = queryset.exclude(state__in=AGAIN).count()
        beyond = again.count() - MOST
        self._retry(request, again.order_by("pk")[:MOST])
        if others:
            self._tell(request, others, "done or under way, and left as they are")
        if beyond > 0:
            self._tell(
                request, beyond, f"too many for one time ({MOST}): see recompress_images --failed"
            )

    def _retry(self, request: HttpRequest, entries: Iterable[Compression]) -> None:
        if workers.task("compress_image") is None:
            self.message_user(
                request,
                "Celery is not installed: run manage.py recompress_images --failed.",
                messages.ERROR,
            )
            return
        sent = moved = gone = 0
        for entry in entries:
            field = links.find_field(entry.field)
            name = compression.column(field, entry.object_id) if field else None
            if field is None:
                gone += 1
            elif name is None or source_of(name) != entry.source:
                moved += 1
            else:
                try:
                    compression.enqueue(field, entry.object_id, name, anew=True)
                except Exception as error:  # Each broker has its own.
                    self.message_user(
                        request,
                        f"No broker took {entry.source}: {error}. It is entered as unsent; "
                        "what would have come after it is as it was.",
                        messages.ERROR,
                    )
                    break
                sent += 1
        if sent:
            self._tell(request, sent, "sent to the workers", messages.SUCCESS)
        if moved:
            self._tell(request, moved, "not sent: the row holds another picture by now, or is gone")
        if gone:
            self._tell(request, gone, "not sent: the site has no such field any more")

    def _tell(
        self, request: HttpRequest, count: int, what: str, level: int = messages.WARNING
    ) -> None:
        pictures = "1 picture" if count == 1 else f"{amount(count)} pictures"
        self.message_user(request, f"{pictures}: {what}.", level)

    # The dashboard

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.dashboard_view)
        return [
            path("dashboard/", view, name="django_latentimg_compression_dashboard"),
            *super().get_urls(),
        ]

    def dashboard_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return TemplateResponse(
            request,
            "admin/django_latentimg/compression/dashboard.html",
            {
                **self.admin_site.each_context(request),
                "title": "Latent images",
                "opts": self.opts,
                **dashboard.context(
                    report.make(), self._url("django_latentimg_compression_changelist")
                ),
            },
        )

    def _url(self, name: str, *arguments: str) -> str:
        return reverse(f"admin:{name}", args=arguments, current_app=self.admin_site.name)
