"""An S3 server of its own process; moto implements the protocol most completely."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3

from .processes import free_port, listening

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
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with listening(command, port):
        yield f"http://127.0.0.1:{port}"


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
