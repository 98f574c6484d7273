"""The table of ``models.Page`` as an older release of the site has it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, connections, models, transaction
from django.db.migrations.executor import MigrationExecutor

FIRST, LATENT = ("moving", "0001_initial"), ("moving", "0002_latent")


def migrate(target: tuple[str, str]) -> None:
    MigrationExecutor(connection).migrate([target])


def operations() -> list[Any]:
    """Of the migration that moves the site in."""
    return MigrationExecutor(connection).loader.get_migration(*LATENT).operations


def old_model() -> type[models.Model]:
    """With an ``ImageField`` and no companion columns, as nodes know it that run the old code."""
    state = MigrationExecutor(connection).loader.project_state([FIRST])
    return state.apps.get_model("moving", "Page")


@contextmanager
def not_moved_in() -> Iterator[type[models.Model]]:
    """The table before its migration; afterwards it is as the other tests want it."""
    migrate(FIRST)
    try:
        yield old_model()
    finally:
        migrate(LATENT)


def hold(model: type[models.Model], begun: Callable[[], Any], release: Callable[[], Any]) -> None:
    """A long transaction that has read the table; for a thread of its own."""
    try:
        with transaction.atomic():
            model._base_manager.count()
            begun()
            release()
    finally:
        connections.close_all()
