"""Debian's Firefox, for tests of what another engine makes of a page.

Playwright needs a Firefox of its own making, and geckodriver is not packaged; what it speaks to
Firefox, Marionette, is a few lines.
"""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from .processes import free_port

PROGRAM = shutil.which("firefox-esr") or shutil.which("firefox")
PATIENCE = 120
"""Seconds for what takes one on an idle machine."""

# Nothing is asked of anybody but the test's own server.
PREFERENCES = {
    "app.normandy.enabled": False,
    "app.update.auto": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.getAddons.cache.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "toolkit.telemetry.enabled": False,
}

needs_firefox = pytest.mark.skipif(PROGRAM is None, reason="no Firefox in the path")


class Firefox:
    """One window."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._answers = connection.makefile("rb")
        self._read()  # It introduces itself.
        self._ask("WebDriver:NewSession", {})
        self._ask("WebDriver:SetTimeouts", {"script": PATIENCE * 1000})

    def open(self, url: str) -> None:
        self._ask("WebDriver:Navigate", {"url": url})

    def evaluate(self, expression: str, *arguments: Any) -> Any:
        """The value of a JavaScript expression, of its promise if it is one."""
        return self._ask(
            "WebDriver:ExecuteAsyncScript",
            {
                "script": f"Promise.resolve({expression}).then([...arguments].at(-1))",
                "args": list(arguments),
            },
        )["value"]

    def wait(self, condition: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.evaluate(condition):
            assert time.monotonic() < deadline, condition
            time.sleep(0.05)

    def quit(self) -> None:
        self._ask("Marionette:Quit", {"flags": ["eForceQuit"]})

    def _ask(self, command: str, parameters: dict[str, Any]) -> Any:
        message = json.dumps([0, 1, command, parameters]).encode()
        self._connection.sendall(b"%d:%s" % (len(message), message))
        _, _, error, result = self._read()
        assert error is None, f"{command}: {error}"
        return result

    def _read(self) -> Any:
        digits = b""
        while (byte := self._answers.read(1)) not in (b":", b""):
            digits += byte
        return json.loads(self._answers.read(int(digits)))


@contextmanager
def launched(profile: Path) -> Iterator[Firefox]:
    """A browser without a screen; ``profile``: an empty folder."""
    assert PROGRAM
    port = free_port()
    settings = PREFERENCES | {"marionette.port": port}
    lines = [
        f"user_pref({json.dumps(key)}, {json.dumps(value)});" for key, value in settings.items()
    ]
    (profile / "user.js").write_text("\n".join(lines))
    command = [PROGRAM, "--headless", "--marionette", "--no-remote", "--profile", str(profile)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with closing(_connect(port)) as connection:
            firefox = Firefox(connection)
            yield firefox
            with suppress(OSError, ValueError):
                firefox.quit()
    finally:
        process.kill()
        process.wait()


def _connect(port: int) -> socket.socket:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
