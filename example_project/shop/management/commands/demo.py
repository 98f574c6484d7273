"""``manage.py demo``: a small shop from nothing, with every part real."""

import signal
import time
from argparse import ArgumentParser
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.files.images import ImageFile
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.core.servers import basehttp
from django.core.wsgi import get_wsgi_application
from django.db import transaction
from django.db.models import QuerySet
from tqdm import tqdm

from django_latentimg import compression, links
from django_latentimg.fields import LatentImageField
from django_latentimg.models import Compression
from django_latentimg.names import EXTENSION
from shop import delivery
from shop.catalogue import PRINTS, Print
from shop.models import Product
from shop.worker import Worker, running_worker

PATIENCE = 300
"""Seconds to wait for the next blob before giving up."""

TABLE_ROW = "{:<30} {:>13} {:>12} {:>8}"


class Command(BaseCommand):
    help = "Fills a shop with photographs, waits until a worker has compressed them, serves it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--address", default="127.0.0.1:8000", help="where to serve (default: %(default)s)"
        )
        parser.add_argument("--no-serve", action="store_true", help="stop after the table")
        parser.add_argument(
            # manage.py has read it already; it is declared for --help.
            "--data-dir",
            type=Path,
            default=settings.DATA_DIR,
            help="folder for database, pictures and messages (default: %(default)s)",
        )

    def handle(self, *args: Any, address: str, no_serve: bool, **options: Any) -> None:
        # A demo that is terminated stops its worker, as one that is interrupted does.
        signal.signal(signal.SIGTERM, interrupt)
        self.say(f"All that the demo writes lies in {settings.DATA_DIR}")
        call_command("migrate", verbosity=0)
        self.upload()
        if no_serve and not waiting().exists():
            self.print_table()
            return
        try:
            with running_worker() as worker:
                self.say(f"Started a worker: process {worker.process.pid}, log in {worker.log}")
                self.wait(worker)
                self.print_table()
                if not no_serve:
                    self.serve(address)
        except KeyboardInterrupt:
            raise CommandError("Stopped. The next demo goes on from here.") from None

    def say(self, line: str = "") -> None:
        self.stdout.write(line)
        self.stdout.flush()

    def upload(self) -> None:
        """Save the prints that the shop does not have yet, as a form or the admin would."""
        # Those of an earlier demo may have lost their tasks with its worker. Asking twice does
        # nothing twice.
        for product in waiting():
            compression.enqueue(photo_field(), product, product.photo.stored_name)
        present = set(Product.objects.values_list("title", flat=True))
        missing = [item for item in PRINTS if item.title not in present]
        try:
            for item in missing:
                save(item)
        except FileNotFoundError as error:
            raise CommandError(
                f"{error}. The demo sells the photographs of scikit-image and scikit-learn: "
                "install both."
            ) from error
        self.say(f"Uploaded {len(missing)} photographs; the shop had {len(present)} products.")

    def wait(self, worker: Worker) -> None:
        """Until every column holds a blob's name, or the ledger tells why it does not."""
        total = left = waiting().count()
        deadline = time.monotonic() + PATIENCE
        with tqdm(total=total, desc="Compressing", unit="photo", disable=not total) as progress:
            while left:
                time.sleep(0.2)
                was, left = left, waiting().count()
                if left < was:
                    progress.update(was - left)
                    deadline = time.monotonic() + PATIENCE
                elif worker.died:
                    raise CommandError(f"The worker has died. Its log ends:\n{worker.last_words()}")
                elif time.monotonic() > deadline:
                    raise CommandError(
                        f"No photograph was compressed for {PATIENCE} seconds. "
                        f"The worker's log ends:\n{worker.last_words()}"
                    )
        for failure in failures():
            self.stderr.write(f"{failure.source} stays as it is: {failure.reason}")

    def print_table(self) -> None:
        self.say()
        self.say(TABLE_ROW.format("", "source, bytes", "blob, bytes", "ratio"))
        rows = delivery.compressed()
        for product, sizes in rows:
            self.say(table_row(product.title, sizes))
        total = delivery.total([sizes for _, sizes in rows])
        self.say(table_row(f"{len(rows)} photographs", total))
        self.say("PNG sources are lossless; the fairer comparison is with those in JPEG.")
        self.say()

    def serve(self, address: str) -> None:
        """Until Ctrl-C."""
        host, _, port = address.rpartition(":")
        site = StaticFilesHandler(get_wsgi_application())
        try:
            # Within, because whoever reads it may close the shop at once.
            self.say(f"The shop is open: http://{address}/ (Ctrl-C closes it)")
            basehttp.run(host, int(port), site, threading=True)
        except (OSError, ValueError) as error:
            raise CommandError(f"Cannot serve at {address}: {error}. Try --address.") from error
        except KeyboardInterrupt:
            self.say("\nClosing; the worker finishes what it is at.")


def interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def photo_field() -> LatentImageField:
    field = Product._meta.get_field("photo")
    assert isinstance(field, LatentImageField)
    return field


def failures() -> QuerySet[Compression]:
    """The ledger's lines about photographs that cannot be compressed."""
    return Compression.objects.filter(
        field=links.label(photo_field()),
        state=Compression.State.FAILED,
        source__in=Product.objects.values("photo"),
    )


def waiting() -> QuerySet[Product]:
    """Products whose photograph is a source, and may yet become a blob."""
    sources = Product.objects.exclude(photo__endswith=EXTENSION)
    return sources.exclude(photo__in=failures().values("source"))


def save(item: Print) -> None:
    product = Product(
        title=item.title,
        description=item.description,
        price=item.price,
        credit=item.credit,
    )
    with item.path.open("rb") as file, transaction.atomic():
        product.photo = ImageFile(file, name=item.file)
        product.save()


def table_row(title: str, sizes: delivery.Sizes) -> str:
    return TABLE_ROW.format(title, f"{sizes.source:,}", f"{sizes.blob:,}", f"{sizes.ratio:.1f} : 1")
