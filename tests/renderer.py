"""A web process that many ask for one rendition.

    python -m tests.renderer FOLDER NAME THREADS [--kill]

Files lie in FOLDER, leases in Redis. It says ``ready``, waits for a line, has THREADS threads
render the picture at once, and prints the sizes of what they got. Every decode leaves a line in
FOLDER/decodes; with ``--kill`` it is the last thing the process does.
"""

import argparse
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import django
from django.conf import settings

REDIS = "redis://127.0.0.1:6379/14"


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("name")
    arguments.add_argument("threads", type=int)
    arguments.add_argument("--kill", action="store_true")
    given = arguments.parse_args()

    settings.MEDIA_ROOT = given.folder / "media"
    settings.STORAGES["renditions"]["OPTIONS"] = {"location": given.folder / "renditions"}
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": REDIS,
            "KEY_PREFIX": str(given.folder),
        }
    }
    django.setup()

    from django_latentimg import codec, renditions
    from tests.testapp.models import Product

    decode = codec.decode

    def slowly(*arguments: Any, **options: Any) -> Any:
        with (given.folder / "decodes").open("a") as log:
            log.write(f"{os.getpid()}\n")
        if given.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.5)
        return decode(*arguments, **options)

    codec.decode = slowly
    field: Any = Product._meta.get_field("photo")
    print("ready", flush=True)
    sys.stdin.readline()
    with ThreadPoolExecutor(given.threads) as pool:
        asked = [
            pool.submit(renditions.render, field, given.name, 48, "webp")
            for _ in range(given.threads)
        ]
        print(*{len(future.result()) for future in asked})


if __name__ == "__main__":
    main()
