"""Renditions that nginx and Apache send, after asking Django whether they may."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.core.cache import caches
from django.core.files.storage import storages
from django.urls import reverse

from django_latentimg import links

from .stored import store_blob
from .testapp.models import Passport, Product

PHOTO = Product._meta.get_field("photo")
PASSPORT = Passport._meta.get_field("photo")
NAME = "photos/ü 猫 1.png"

NGINX = """
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass {django}; }}
        {documented}
    }}
}}
"""

APACHE_MODULES = "mpm_event authz_core proxy proxy_http xsendfile"
APACHE = """
ServerRoot {folder}
PidFile {folder}/apache.pid
ErrorLog {folder}/error.log
Mutex file:{folder}
Listen 127.0.0.1:{port}
ServerName localhost
{modules}
{user}
{documented}
ProxyPass / {django}/
"""


class Answer(NamedTuple):
    status: int
    headers: Message
    content: bytes


class Server:
    """One in front of Django, which runs in this process."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str, **headers: str) -> Answer:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=names)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return Answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read())


def documented(name: str, number: int = 0) -> str:
    """What docs/delivery.md says to the administrator of a server."""
    page = (Path(__file__).parent.parent / "docs" / "delivery.md").read_text()
    block = page.split(f"```{name}\n")[1 + number].split("```")[0]
    assert "/var/cache/shop" in block
    return block


@contextmanager
def running(name: str, block: str, folder: Path, django: str) -> Iterator[Server]:
    """nginx or Apache with this part of the documentation, for the renditions of ``folder``."""
    program = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if program is None:
        pytest.skip(f"{name} is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    text, user, arguments = {
        "nginx": (NGINX, "user www-data;", ["-e", str(folder / "error.log"), "-c"]),
        "apache2": (APACHE, "User www-data\nGroup www-data", ["-D", "FOREGROUND", "-f"]),
    }[name]
    configuration = folder / "server.conf"
    configuration.write_text(
        text.format(
            folder=folder,
            port=port,
            django=django,
            documented=block.replace("/var/cache/shop", str(folder / "renditions")),
            user=user if os.getuid() == 0 else "",
            modules="\n".join(
                f"LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so"
                for module in APACHE_MODULES.split()
            ),
        )
    )
    with (folder / "output.log").open("wb") as log:
        process = subprocess.Popen([program, *arguments, configuration], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while True:
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", port)):
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail("\n".join(path.read_text() for path in folder.glob("*.log")))
            time.sleep(0.05)
        yield Server(port)
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def open_folder(settings: Any) -> Iterator[Path]:
    """A folder into which servers may look that give up root's rights; renditions go there."""
    caches["default"].clear()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        settings.FILE_UPLOAD_PERMISSIONS = 0o644
        settings.STORAGES["renditions"] = {
            **settings.STORAGES["renditions"],
            "OPTIONS": {"location": str(folder / "renditions")},
        }
        yield folder


@pytest.fixture(params=["nginx", "apache2"])
def server(
    request: pytest.FixtureRequest, open_folder: Path, settings: Any, live_server: Any
) -> Iterator[Server]:
    """It asks Django for each."""
    method = "x-accel:/protected/" if request.param == "nginx" else "x-sendfile"
    settings.LATENTIMG = {**settings.LATENTIMG, "SEND": {"renditions": method}}
    block = documented(request.param.rstrip("2"))
    with running(request.param, block, open_folder, live_server.url) as server:
        yield server


@pytest.fixture
def nginx_alone(open_folder: Path, live_server: Any) -> Iterator[Server]:
    """It asks Django for what is missing."""
    prefix = reverse("django_latentimg:rendition", args=["signature", 1, "x"]).split("signature")[0]
    block = (
        documented("nginx", 1)
        .replace("^/pictures/", f"^{prefix}")
        .replace("http://127.0.0.1:8000", live_server.url)
    )
    with running("nginx", block, open_folder, live_server.url) as server:
        yield server


def test_rendition__is_sent_with_all_that_django_said(server):
    path = Product(photo=store_blob(PHOTO, NAME)).photo.rendition(320, "webp").url
    for _ in ("made", "found"):
        answer = server.get(path)
        (file,) = Path(storages["renditions"].location).rglob("*.webp")
        assert (answer.status, answer.content) == (200, file.read_bytes())
        assert answer.headers["Content-Type"] == "image/webp"
        assert answer.headers["Content-Length"] == str(len(answer.content))
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "1-320.webp" in answer.headers["Content-Disposition"]
        assert not {"X-Accel-Redirect", "X-Sendfile"} & set(answer.headers)


def test_rendition__negotiated_ones_say_what_they_depend_on(server):
    """Without ``Vary`` a cache in front would send AVIF to a browser that cannot show it."""
    photo = Product(photo=store_blob(PHOTO, NAME)).photo
    path = links.rendition_url(links.label(PHOTO), photo.name, 320, None)
    for accept in ("image/avif,*/*", "image/jpeg"):
        answer = server.get(path, Accept=accept)
        assert answer.headers["Content-Type"] == accept.partition(",")[0]
        assert answer.headers["Vary"] == "Accept"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_rendition__conditions_and_ranges_are_the_servers(server):
    path = Product(photo=store_blob(PHOTO, NAME)).photo.rendition(320, "webp").url
    whole = server.get(path)
    unchanged = server.get(path, If_None_Match=whole.headers["ETag"])
    assert (unchanged.status, unchanged.content) == (304, b"")
    part = server.get(path, Range="bytes=2-5")
    assert (part.status, part.content) == (206, whole.content[2:6])


def test_rendition__only_after_django_has_said_yes(server):
    path = Passport(photo=store_blob(PASSPORT, NAME)).photo.rendition(100, "webp").url
    assert server.get(path).status == 403
    allowed = server.get(path, Cookie="key=right")
    assert (allowed.status, allowed.headers["Content-Type"]) == (200, "image/webp")
    (file,) = Path(storages["renditions"].location).rglob("*.webp")
    inside = file.relative_to(storages["renditions"].location)
    for guess in (f"/protected/{inside}", f"/{inside}", f"/renditions/{inside}"):
        assert server.get(urllib.request.pathname2url(guess)).status == 404


def test_rendition__nginx_alone_sends_what_is_there(nginx_alone):
    path = Product(photo=store_blob(PHOTO, NAME)).photo.rendition(320, "avif").url
    made = nginx_alone.get(path)
    (file,) = Path(storages["renditions"].location).rglob("*.avif")
    with file.open("ab") as stream:
        stream.write(b"from the file")
    found = nginx_alone.get(path)
    assert (found.status, found.content) == (200, made.content + b"from the file")
    for header in (
        "Content-Type",
        "Cache-Control",
        "X-Content-Type-Options",
        "Content-Security-Policy",
    ):
        assert found.headers[header] == made.headers[header]
    assert nginx_alone.get(path, If_None_Match=found.headers["ETag"]).status == 304


def test_rendition__nginx_alone_leaves_the_rest_to_django(nginx_alone):
    photo = Product(photo=store_blob(PHOTO, NAME)).photo
    signed = photo.rendition(320, "avif").url
    forged = signed.replace("/320/", "/321/")
    assert nginx_alone.get(forged).status == 404
    assert nginx_alone.get(photo.blob_url).headers["Content-Type"] == links.BLOB_TYPE
    passport = Passport(photo=store_blob(PASSPORT, "passports/1.png")).photo
    path = passport.rendition(100, "webp").url
    assert nginx_alone.get(path, Cookie="key=right").status == 200
    assert nginx_alone.get(path).status == 403
