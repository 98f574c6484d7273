"""Ledgers of compression and of what is to go: never on a page's path."""

from django.db import models


class Compression(models.Model):
    """One picture's way from source to blob: what was attempted, and what came of it.

    The blob's name is entered before the blob is written, so whatever a killed worker leaves
    behind is known and can be removed. Of a picture that ``recompress_images --restore`` decoded,
    ``blob`` names the ordinary file.
    """

    class State(models.TextChoices):
        STARTED = "started", "started"
        COMPRESSED = "compressed", "compressed"
        REPLACED = "replaced", "replaced or deleted meanwhile"
        FAILED = "failed", "failed"
        RESTORED = "restored", "an ordinary file again"

    field = models.CharField(max_length=150, help_text="app_label.model.field")
    object_id = models.CharField(max_length=64)
    source = models.CharField(max_length=255)
    blob = models.CharField(max_length=255, blank=True)
    state = models.CharField(max_length=10, choices=State, default=State.STARTED)
    reason = models.TextField(blank=True)
    attempts = models.PositiveIntegerField(default=0)
    source_bytes = models.PositiveBigIntegerField(default=0)
    blob_bytes = models.PositiveBigIntegerField(default=0)
    seconds = models.FloatField(default=0)
    created = models.DateTimeField(auto_now_add=True)
    updated = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["field", "object_id", "source"], name="latentimg_compression_unique"
            )
        ]

    def __str__(self) -> str:
        return f"{self.source}: {self.state}"


class Discarded(models.Model):
    """A picture that a row has shown, kept a while for pages that still name it."""

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
