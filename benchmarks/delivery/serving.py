"""How fast a rendition that is there gets out, by who sends it: nginx, or Django behind it.

Image apps that link to files leave it to nginx alone: that is the first row, and the limit.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

CONNECTIONS = (1, 16, 64)
SECONDS = 5
DJANGO = {"streams": "stream", "says yes": "x-accel:/protected/"}
"""What gunicorn's sites do, and their ``SEND``."""

NGINX = """
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    types {{ image/avif avif; }}
    sendfile on;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host 127.0.0.1;
    {upstreams}
    server {{
        listen 127.0.0.1:{port};
        location /renditions/ {{ root {folder}/files; }}
        location /protected/ {{ internal; alias {folder}/files/; }}
        location ~ "^/img/[^/]+/(?<width>\\d+)/(?<picture>photos/.+\\.limg)\\.(?<format>avif)$" {{
            root {folder}/files;
            try_files /renditions/$picture/$width.$format =404;
        }}
        {locations}
    }}
}}
"""


def measure(folder: Path, cached: dict[str, str]) -> dict[str, Any]:
    """``folder``: of the site; ``cached``: its rendition's file and URL."""
    nginx = free_port()
    sites = {name: free_port() for name in DJANGO}
    url = cached["url"]
    front = f"http://127.0.0.1:{nginx}"
    urls = {
        "nginx, the file": f"{front}/{cached['file']}",
        "nginx alone, our URL": f"{front}{url}",
        "nginx, after Django said yes": f"{front}/{slug('says yes')}{url}",
        "nginx, Django streams": f"{front}/{slug('streams')}{url}",
        "gunicorn, Django streams": f"http://127.0.0.1:{sites['streams']}{url}",
    }
    configuration = folder / "nginx.conf"
    configuration.write_text(
        NGINX.format(
            folder=folder,
            port=nginx,
            user="user www-data;" if os.getuid() == 0 else "",
            upstreams="\n".join(
                f"upstream {slug(name)} {{ server 127.0.0.1:{port}; keepalive 64; }}"
                for name, port in sites.items()
            ),
            locations="\n".join(
                f"location /{slug(name)}/ {{ proxy_pass http://{slug(name)}/; }}" for name in sites
            ),
        )
    )
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or "nginx"
    with ExitStack() as stack:
        for name, send in DJANGO.items():
            stack.enter_context(gunicorn(folder, sites[name], send))
        stack.enter_context(running([program, "-c", str(configuration)], nginx))
        return {
            name: {
                **{str(count): wrk(url, count) for count in CONNECTIONS},
                "304": wrk(url, 16, etag(url)),
            }
            for name, url in urls.items()
        }


def slug(name: str) -> str:
    return name.replace(" ", "-")


@contextmanager
def gunicorn(folder: Path, port: int, send: str) -> Iterator[None]:
    arguments = ["-m", "gunicorn", "benchmarks.delivery.wsgi", "-b", f"127.0.0.1:{port}"]
    environment = {"PEER": "django-latentimg", "FOLDER": str(folder), "SEND": send}
    workers = ["--workers", "2", "--threads", "4", "--log-level", "error"]
    with running([sys.executable, *arguments, *workers], port, **environment):
        yield


@contextmanager
def running(command: list[str], port: int, **environment: str) -> Iterator[None]:
    process = subprocess.Popen(command, env={**os.environ, **environment})
    try:
        deadline = time.monotonic() + 30
        while True:
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", port)):
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command} does not listen.")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def etag(url: str) -> str:
    import urllib.request

    with urllib.request.urlopen(url) as answer:
        return str(answer.headers["ETag"])


def wrk(url: str, connections: int, etag: str = "") -> dict[str, float]:
    """Requests per second, and the slowest of a hundred in milliseconds."""
    threads = min(2, connections)
    command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{SECONDS}s", "--latency", url]
    if etag:
        command += ["-H", f"If-None-Match: {etag}"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # wrk counts every status from 300 as an error.
    failures = re.search(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)", text)
    if failures:
        raise RuntimeError(f"{url}: {failures[0]}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    slowest = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    assert rate
    assert slowest
    milliseconds = float(slowest[1]) * {"us": 0.001, "ms": 1, "s": 1000}[slowest[2]]
    return {"per second": float(rate[1]), "p99": milliseconds}


def report(found: dict[str, Any]) -> str:
    heads = [f"{count}: requests/s, p99 ms" for count in CONNECTIONS]
    columns = ["", *heads, "× the file at 16", "304s at 16"]
    limit = next(iter(found.values()))["16"]["per second"]
    lines = [columns, ["---"] * len(columns)]
    for name, one in found.items():
        lines.append(
            [
                name,
                *(
                    f"{one[str(count)]['per second']:,.0f}, {one[str(count)]['p99']:.2f}"
                    for count in CONNECTIONS
                ),
                f"{one['16']['per second'] / limit:.2f}",
                f"{one['304']['per second']:,.0f}",
            ]
        )
    return "\n".join(
        [
            "",
            "## Cached hits",
            "",
            f"The same AVIF file for {SECONDS} seconds, over 1, 16 and 64 connections (wrk, on the "
            "machine that also serves). Other image apps' URLs are those of files: the first row. "
            "gunicorn has 2 workers of 4 threads.",
            "",
            *(f"| {' | '.join(line)} |" for line in lines),
            "",
        ]
    )
