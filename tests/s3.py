"""An S3 server of its own process; moto implements the protocol most completely."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3

CREDENTIALS = {
    "access_key": "test",
    "secret_key": "test",
    "region_name": "us-east-1",
    "addressing_style": "path",
}
BUCKET = "pictures"


@contextmanager
def server() -> Iterator[str]:
    """Its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                break
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


def backend(endpoint: str, **options: Any) -> dict[str, Any]:
    """For ``STORAGES``."""
    options = CREDENTIALS | {"bucket_name": BUCKET, "endpoint_url": endpoint} | options
    return {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}


def bucket(endpoint: str) -> Any:
    resource = boto3.resource(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=CREDENTIALS["access_key"],
        aws_secret_access_key=CREDENTIALS["secret_key"],
        region_name=CREDENTIALS["region_name"],
    )
    return resource.Bucket(BUCKET)


def keys(endpoint: str) -> set[str]:
    return {item.key for item in bucket(endpoint).objects.all()}
