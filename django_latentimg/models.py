"""Ledgers of compression and of what is to go: never on a page's path."""

from django.db import models


class Compression(models.Model):
    """One picture's way from source to blob: what was attempted, and what came of it.

    An attempt is entered before it begins and the blob's name before the blob is written, so that
    whatever a killed worker leaves behind is known. Of a picture that
    ``recompress_images --restore`` decoded, ``blob`` names the ordinary file.
    """

    class State(models.TextChoices):
        QUEUED = "queued", "queued"
        UNSENT = "unsent", "no broker took it"
        STARTED = "started", "started"
        WAITING = "waiting", "failed, will be tried again"
        COMPRESSED = "compressed", "compressed"
        REPLACED = "replaced", "replaced or deleted meanwhile"
        FAILED = "failed", "failed"
        QUARANTINED = "quarantined", "failed too often"
        RESTORED = "restored", "an ordinary file again"

    OPEN = (State.QUEUED, State.UNSENT, State.STARTED, State.WAITING)
    """Something is still to come."""
    LOST = (State.FAILED, State.QUARANTINED)
    """Nobody tries again unless asked to."""
    FAILING = (State.WAITING, *LOST)
    """The reason is why."""

    field = models.CharField(max_length=150, help_text="app_label.model.field")
    object_id = models.CharField("primary key", max_length=64)
    source = models.CharField(max_length=255)
    blob = models.CharField(max_length=255, blank=True)
    state = models.CharField(max_length=11, choices=State, default=State.STARTED)
    reason = models.TextField(
        blank=True, help_text="Why it failed; or what the guard chose, and why."
    )
    attempts = models.PositiveIntegerField(default=0, help_text="Since it last went well.")
    source_bytes = models.PositiveBigIntegerField(default=0)
    blob_bytes = models.PositiveBigIntegerField(default=0)
    seconds = models.FloatField(default=0, help_text="Of the last attempt.")
    model = models.CharField("latent model", max_length=200, blank=True)
    policy = models.CharField(max_length=4, blank=True, help_text="Its fingerprint.")
    worker = models.CharField(max_length=200, blank=True, help_text="host:process")
    created = models.DateTimeField(auto_now_add=True)
    updated = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                # The source first: that is also what is looked up without the rest.
                fields=["source", "field", "object_id"],
                name="latentimg_compression_unique",
            )
        ]
        indexes = [models.Index(fields=["state", "updated"], name="latentimg_compression_state")]

    def __str__(self) -> str:
        return f"{self.source}: {self.state}"


class Discarded(models.Model):
    """A file that is to go: at once, or when pages in caches have stopped naming it."""

    field = models.CharField(max_length=150, help_text="app_label.model.field")
    name = models.CharField(max_length=255)
    database = models.CharField(max_length=100, help_text="alias of the row's database")
    due = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["field", "name"], name="latentimg_discarded_unique")
        ]

    def __str__(self) -> str:
        return f"{self.name}, until {self.due}"
