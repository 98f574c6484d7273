"""Celery tasks: thin shells over ``compression``."""

from importlib.util import find_spec
from typing import Any

from celery import shared_task
from celery.signals import worker_init
from django.apps import apps

from . import backlog, compression, discards, ledger, links, renditions, workers
from .codec.models import load_model
from .compression import TryAgainError
from .conf import conf
from .crops import Crop
from .fields import LatentImageField
from .lifecycle import all_fields


@shared_task(
    name="django_latentimg.compress_image",
    acks_late=True,
    reject_on_worker_lost=True,
    autoretry_for=(TryAgainError,),
    # A worker that has a task waits with it, for less than any broker does before another gets it.
    retry_backoff=60,
    retry_backoff_max=workers.LONGEST_WAIT,
    retry_jitter=True,
    max_retries=50,  # LATENTIMG["ATTEMPTS"] ends it before; this one counts without a database.
    ignore_result=True,
)
def compress_image(model: str, primary_key: str, field: str, name: str) -> str:
    """Compress the picture of one row, if it still holds ``name``. Returns the outcome's state,
    ``off`` where the site does not compress.

    ``model``: ``app_label.model``. All arguments are strings, so that any serializer will do.
    """
    if not conf.COMPRESS:
        return "off"
    latent_field = apps.get_model(model)._meta.get_field(field)
    if not isinstance(latent_field, LatentImageField):
        raise TypeError(f"{model}.{field} is no LatentImageField.")
    return compression.compress(latent_field, primary_key, name).state


@shared_task(name="django_latentimg.render_image", ignore_result=True)
def render_image(label: str, name: str, width: int, format: str, crop: list[int] | None) -> None:
    """Make a rendition for a web process that cannot decode, if it is still missing.

    ``label``: ``app_label.model.field``; ``crop``: the values of a ``Crop``.
    """
    field = links.find_field(label)
    if field is None:
        raise LookupError(f"There is no field {label}.")
    renditions.make(field, name, width, format, Crop(*crop) if crop else None)


@shared_task(name="django_latentimg.free_discarded", ignore_result=True)
def free_discarded() -> int:
    """Delete the files that are due. What it misses the next one finds, or ``sweep``."""
    return discards.free_due()


@shared_task(name="django_latentimg.sweep", ignore_result=True)
def sweep() -> dict[str, int]:
    """What a site lets Celery's beat do every few minutes, so that nothing stays undone."""
    return {
        "enqueued": backlog.sweep(all_fields()),
        "freed": discards.free_due(),
        "forgotten": ledger.prune(),
    }


@worker_init.connect
def load_before_fork(sender: Any, **_: Any) -> None:
    """In a worker whose queues bring pictures: load the model once, for all its processes.

    Each computes with its share of the cores.
    """
    route = sender.app.amqp.router.route({}, compress_image.name)
    if route["queue"].name not in sender.app.amqp.queues.consume_from or find_spec("torch") is None:
        return
    import torch

    if torch.cuda.device_count():
        return  # A GPU that has been opened does not survive a fork.
    # Nor do threads: until the processes exist there must be none.
    torch.set_num_threads(1)
    load_model(conf.MODEL)
    torch.set_num_threads(workers.threads_of(sender.concurrency))
