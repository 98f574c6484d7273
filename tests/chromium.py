"""Debian's Chromium, for tests of what a person sees."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import pytest

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

HARDWARE = """
    Object.defineProperty(GPUAdapterInfo.prototype, "isFallbackAdapter", { get: () => false });
"""
"""A script for pages that are to use a GPU that the browser emulates, which the client does not."""

needs_chromium = pytest.mark.skipif(
    PROGRAM is None or find_spec("playwright") is None,
    reason="no Chromium in the path, or playwright is not installed",
)


@contextmanager
def launched(*more: str) -> Iterator[Any]:
    """A browser without a screen; ``more``: arguments of the program."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=[*ARGUMENTS, *more])
        yield browser
        browser.close()
