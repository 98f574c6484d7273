"""The one gate through which files are deleted.

A file that is to go is entered in ``Discarded``, and whoever deletes it takes that entry away in
the same transaction. A worker that is about to put a blob into a row takes the entry away too
(``keep``): either it comes first and the file stays, or it waits until the file is gone and writes
it again. So no row ever gets the name of a file that is being deleted.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, models, router, transaction
from django.utils import timezone

from . import ledger, links, renditions, workers
from .models import Discarded
from .names import BlobName, source_of

if TYPE_CHECKING:
    from .fields import LatentImageField

logger = logging.getLogger(__name__)

IN_A_ROW = 20
"""So many failures in a row, and it is not the files: the storage is down."""


def discard(field: "LatentImageField", *names: str, using: str, after: float = 0) -> None:
    """Delete files and their renditions after the commit, in so many seconds, if no row shows them.

    With a source go the blobs that the ledger knows of it. ``using``: the rows' database. Entered
    at once, so that with the transaction it comes to pass or not, and whoever is killed after the
    commit leaves it to ``free_due``, like all that is not to go at once.
    """
    due = timezone.now() + timedelta(seconds=after)
    entered = [
        Discarded.objects.update_or_create(
            field=links.label(field), name=name, defaults={"due": due, "database": using}
        )[0]
        for name in names
    ]
    if after <= 0:
        after_commit(using, _free_all, entered)


def enter_all(field: "LatentImageField", names: Iterable[str], *, using: str) -> None:
    """As due now, but for what is entered already."""
    now, label = timezone.now(), links.label(field)
    entries().bulk_create(
        [Discarded(field=label, name=name, due=now, database=using) for name in names],
        ignore_conflicts=True,
    )


def discard_picture(field: "LatentImageField", name: str, *, using: str, after: float = 0) -> None:
    """The same for all files of the picture that a row has shown."""
    discard(field, *sorted({name, source_of(name)}), using=using, after=after)


def forget_renditions(field: "LatentImageField", name: str, *, using: str) -> None:
    """Delete what was made of a stored picture after the commit; the picture itself stays."""
    after_commit(using, renditions.forget, field, name)


def keep(field: "LatentImageField", name: str) -> None:
    """From here on nobody deletes the file, unless it is discarded anew."""
    entries().filter(field=links.label(field), name=name).delete()


def free_due() -> int:
    """Delete what is due; returns how many entries that were."""
    return _free_all(entries().filter(due__lte=timezone.now()).iterator())


def _free_all(due: Iterable[Discarded]) -> int:
    """What the storage fails to delete waits for a while, so that it keeps nothing else waiting."""
    freed = in_vain = 0
    for entry in due:
        try:
            freed += _free(entry)
        except DatabaseError:
            raise
        except Exception:
            logger.warning("%s cannot be deleted yet.", entry.name, exc_info=True)
            later = timezone.now() + timedelta(seconds=workers.LONGEST_WAIT)
            # Unless it has been discarded anew meanwhile.
            entries().filter(pk=entry.pk, due=entry.due).update(due=later)
            in_vain += 1
            if in_vain == IN_A_ROW:
                break
        else:
            in_vain = 0
    return freed


def look_later(after: float) -> None:
    """Ask a worker for ``free_due`` in so many seconds: for sites without the sweep."""
    task = workers.task("free_discarded")
    if task is None:
        logger.info("Celery is not installed: discarded files wait for latentimg_cache.")
        return
    task.apply_async(countdown=min(after + 1, workers.LONGEST_WAIT))


def _free(entry: Discarded) -> bool:
    """Whether it was ours to do. If the storage fails the entry stays."""
    with taken(entry.field, [entry.name]) as mine:
        field = links.find_field(entry.field)
        if mine and field is not None:  # Else a release has dropped it: its storage is unknown.
            delete(field, _unused(field, entry.name, entry.database))
    return bool(mine)


@contextmanager
def taken(label: str, names: Collection[str]) -> Iterator[set[str]]:
    """Which of these entries are ours; until the end nobody can keep their files.

    They are gone afterwards, unless there was an error.
    """
    with transaction.atomic(using=router.db_for_write(Discarded)):
        mine_or_not = entries().filter(field=label, name__in=names)
        mine = set(mine_or_not.select_for_update().values_list("name", flat=True))
        mine_or_not.filter(name__in=mine).delete()
        yield mine


def delete(field: "LatentImageField", names: Collection[str]) -> None:
    """Of files whose entries were taken.

    Files go before renditions: who makes a rendition looks afterwards whether its picture is still
    there.
    """
    for name in names:
        field.storage.delete(name)
    for name in names:
        renditions.forget(field, name)


def _unused(field: "LatentImageField", name: str, using: str) -> set[str]:
    """What of the discarded file, and of what belongs to it, no row needs."""
    from . import lifecycle

    source = source_of(name)
    names = {name} if BlobName.parse(name) else {name, *ledger.blobs_of(field, name)}
    shown: set[str] = set()
    for other in lifecycle.all_fields():  # Rows of another model may hold the same name.
        if other.storage == field.storage:
            held = rows(other, using if other == field else None)
            held = held.filter(**{f"{other.attname}__in": names})
            shown.update(held.values_list(other.attname, flat=True).distinct())
    if shown and name not in shown and field.keep_source:
        return set()  # It is the source of what is shown.
    return {
        unused
        for unused in names - shown
        if unused == source or not ledger.is_under_way(field, source, unused)
    }


def after_commit(using: str, function: Callable[..., object], *arguments: Any) -> None:
    """Call after the commit; errors are logged, since the rows are saved in any case."""

    def call() -> None:
        function(*arguments)

    transaction.on_commit(call, using=using, robust=True)


def entries() -> models.QuerySet[Discarded]:
    """On the database that is written to: a replica may lag behind."""
    return Discarded.objects.using(router.db_for_write(Discarded))


def rows(field: "LatentImageField", using: str | None = None) -> models.QuerySet[Any]:
    """All rows, on the database that is written to."""
    return field.model._base_manager.using(using or router.db_for_write(field.model))
