"""Migration operations that turn an ``ImageField`` into a ``LatentImageField`` under traffic.

An ``ALTER TABLE`` needs the table for itself for a moment. While it waits for that behind
somebody's long transaction, PostgreSQL lets everybody else wait behind it, readers too. These
operations wait briefly, step aside, and try again.
"""

import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import OperationalError, models, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import AddField, AlterField
from django.db.migrations.exceptions import IrreversibleError
from django.db.migrations.state import ProjectState
from django.db.models.functions import Length

from .fields import LatentImageField
from .names import EXTENSION, SUFFIX_LENGTH

if TYPE_CHECKING:
    Base = AlterField
else:
    Base = object

LOCK_TIMEOUT = 2.0
"""Seconds for which a statement waits for the table, and readers wait behind it."""
ATTEMPTS = 30
PAUSE = 1.0
"""Seconds between two attempts, for those who have waited."""
LOCK_NOT_AVAILABLE = "55P03"
"""PostgreSQL's SQLSTATE; psycopg and psycopg2 call it by different names."""
SET_LOCK_TIMEOUT = "SELECT set_config('lock_timeout', %s, true)"
"""Until the transaction ends."""


class _StepsAside(Base):
    """Of an operation on a field: on PostgreSQL it does not wait long for the table.

    ``lock_timeout``: seconds; ``attempts``: after so many ``OperationalError`` is raised, and
    nothing has changed. In an atomic migration the table is locked until that ends, so let it hold
    nothing but operations on this table. Other databases alter it as they always do.
    """

    def __init__(
        self,
        model_name: str,
        name: str,
        field: "models.Field[Any, Any]",
        preserve_default: bool = True,
        lock_timeout: float = LOCK_TIMEOUT,
        attempts: int = ATTEMPTS,
    ) -> None:
        super().__init__(model_name, name, field, preserve_default)
        self.lock_timeout = lock_timeout
        self.attempts = attempts

    def deconstruct(self) -> tuple[str, Any, dict[str, Any]]:
        name, arguments, options = super().deconstruct()
        if self.lock_timeout != LOCK_TIMEOUT:
            options["lock_timeout"] = self.lock_timeout
        if self.attempts != ATTEMPTS:
            options["attempts"] = self.attempts
        return name, arguments, options

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        forwards = super().database_forwards
        self._briefly(
            schema_editor, partial(forwards, app_label, schema_editor, from_state, to_state)
        )

    def _briefly(self, schema_editor: BaseDatabaseSchemaEditor, alter: Callable[[], None]) -> None:
        connection = schema_editor.connection
        if connection.vendor != "postgresql" or schema_editor.collect_sql:
            alter()
            return
        deferred = list(schema_editor.deferred_sql)
        for attempt in range(1, self.attempts + 1):
            try:
                # A savepoint, where the migration is a transaction.
                with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
                    cursor.execute("SELECT current_setting('lock_timeout')")
                    (before,) = cursor.fetchone()
                    cursor.execute(SET_LOCK_TIMEOUT, [f"{round(self.lock_timeout * 1000)}ms"])
                    alter()
                    cursor.execute(SET_LOCK_TIMEOUT, [before])
                return
            except OperationalError as error:
                cause = error.__cause__
                state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
                if state != LOCK_NOT_AVAILABLE:
                    raise
                schema_editor.deferred_sql[:] = deferred
                if attempt == self.attempts:
                    raise OperationalError(
                        f"{self.model_name}'s table was in use each time: {attempt} times for "
                        f"{self.lock_timeout} s. Nothing has changed. Look into pg_stat_activity "
                        "for a long transaction, and migrate again."
                    ) from error
            time.sleep(PAUSE)


class AlterToLatentImage(_StepsAside, AlterField):
    """``AlterField`` from an ``ImageField`` to a ``LatentImageField``, and back.

    On PostgreSQL only the catalogue changes: the column gets wider, no row is written or read.
    Warns of pictures whose names are too long for blobs: these work, but stay sources. Backwards it
    raises ``IrreversibleError`` while there are blobs, which an ``ImageField`` could not show.
    """

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            self._warn_of_long_names(model, schema_editor.connection.alias)
        super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        model, using = (
            from_state.apps.get_model(app_label, self.model_name),
            schema_editor.connection.alias,
        )
        if self.allow_migrate_model(using, model) and not schema_editor.collect_sql:
            blobs = {f"{self.name}__endswith": EXTENSION}
            if model._base_manager.using(using).filter(**blobs).exists():
                raise IrreversibleError(
                    f"{model._meta.label}.{self.name} still has blobs, which an ImageField cannot "
                    "show. Make files of them before: manage.py recompress_images --restore"
                )
        super().database_backwards(app_label, schema_editor, from_state, to_state)

    def _warn_of_long_names(self, model: type[models.Model], using: str) -> None:
        old: Any = model._meta.get_field(self.name)
        new = self.field
        if isinstance(old, LatentImageField) or not isinstance(new, LatentImageField):
            return
        most = (new.max_length or 0) - SUFFIX_LENGTH
        if old.max_length is not None and old.max_length <= most:
            return  # There can be none, and the table need not be read.
        names = model._base_manager.using(using).annotate(length=Length(self.name))
        found = names.filter(length__gt=most).aggregate(
            count=models.Count("pk"), example=models.Min(self.name)
        )
        if found["count"]:
            warnings.warn(
                f"{found['count']} pictures of {model._meta.label}.{self.name} stay sources: names "
                f"of more than {most} characters leave no room for a blob's, such as "
                f"{found['example']}. A larger max_length makes room.",
                stacklevel=2,
            )


class AddCompanionField(_StepsAside, AddField):
    """``AddField`` of a column beside the picture: its width, height, placeholder or focus.

    Let the column be nullable or have a ``db_default``, so that code that does not know it can
    go on to insert rows.
    """

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        backwards = super().database_backwards
        self._briefly(
            schema_editor, partial(backwards, app_label, schema_editor, from_state, to_state)
        )
