"""Signals that the application may listen to."""

from django.dispatch import Signal

compressed = Signal()
"""A row's picture has become a blob; sent by the worker after the row was changed.

``sender``: the model; ``field``; ``primary_key``; ``name``: the blob's; ``source_bytes``;
``blob_bytes``; ``verdict``: ``codec.guard.Verdict``, what the guard chose and what it measured.
"""
