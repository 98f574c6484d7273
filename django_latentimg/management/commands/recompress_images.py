"""``manage.py recompress_images``: the operator's way through a backlog."""

import json
import sys
import time
from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from itertools import chain
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.template.defaultfilters import filesizeformat
from tqdm import tqdm

from ... import backlog, compression, discards, links, report, restore
from ...backlog import Done, Selection
from ...conf import conf
from ...fields import LatentImageField
from ...models import Compression
from ...names import source_of
from ..targets import select

SAMPLE = 3
"""Pictures of each field that a dry run encodes."""
EVERY = 10
"""Seconds between two lines of progress where there is no terminal."""
IN_A_ROW = 20
"""So many of these in a row, and it is not the pictures: the storage is down, or full."""
INTERRUPTED = 130
"""Exit status, as of a program that SIGINT has ended."""


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ArgumentTypeError("must be 1 or more")
    return number


class Tally:
    """What has become of the pictures so far."""

    def __init__(self) -> None:
        self.states: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.as_avif = self.decoded = self.source_bytes = self.blob_bytes = 0
        self.in_vain = 0
        """How many have failed last, without a break, for a cause that may pass."""

    def add(self, done: Done) -> None:
        outcome = done.outcome
        self.states[outcome.state] += 1
        self.in_vain = self.in_vain + 1 if outcome.state == Compression.State.WAITING else 0
        if outcome.state in Compression.FAILING:
            # Names differ from picture to picture: what is left tells one cause from another.
            reason = outcome.reason.replace(done.item.name, "…")
            self.reasons[report.cause(reason, source_of(done.item.name))] += 1
        if outcome.state in (Compression.State.COMPRESSED, Compression.State.RESTORED):
            self.as_avif += outcome.reason.startswith("avif")
            self.decoded += outcome.reason == restore.DECODED
            self.source_bytes += outcome.source_bytes
            self.blob_bytes += outcome.blob_bytes

    def of(self, *states: str) -> int:
        return sum(self.states[state] for state in states)

    @property
    def pictures(self) -> int:
        return self.states.total()

    def as_data(self) -> dict[str, Any]:
        return {
            "pictures": self.pictures,
            **{state.value: self.of(state) for state in Compression.State if self.of(state)},
            "as_avif": self.as_avif,
            "decoded": self.decoded,
            "source_bytes": self.source_bytes,
            "blob_bytes": self.blob_bytes,
            "reasons": dict(self.reasons),
        }


class Command(BaseCommand):
    help = (
        "Compress the pictures that are still sources, or anew those of an older policy; "
        "or make ordinary files of blobs again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("targets", nargs="*", metavar="app.Model[.field]")
        states = parser.add_mutually_exclusive_group()
        for state, text in (
            ("pending", "what is still a source (this is the default)"),
            ("stale", "blobs of an older policy or model, from their sources"),
            ("failed", "what could not be compressed the last time"),
            ("all", "everything"),
        ):
            states.add_argument(
                f"--{state}", dest="state", action="store_const", const=state, help=text
            )
        states.add_argument(
            "--restore",
            dest="state",
            action="store_const",
            const="latent",
            help="turn blobs back into ordinary files: their sources, else what they decode to",
        )
        parser.add_argument("--from-pk", metavar="PK", help="smallest primary key")
        parser.add_argument("--to-pk", metavar="PK", help="largest primary key")
        parser.add_argument(
            "--not-since",
            type=float,
            metavar="DAYS",
            help="only what was not attempted for so long",
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help=f"count, estimate bytes and time by {SAMPLE} of each field, change nothing",
        )
        how = parser.add_mutually_exclusive_group()
        how.add_argument(
            "--workers", type=positive, default=1, metavar="N", help="processes beside each other"
        )
        how.add_argument(
            "--async", dest="by_celery", action="store_true", help="by Celery's workers"
        )
        parser.add_argument(
            "--in-flight",
            type=positive,
            default=100,
            metavar="N",
            help="tasks in the queue at a time",
        )
        parser.add_argument(
            "--patience",
            type=float,
            default=1800,
            metavar="SECONDS",
            help="give up when no worker has done anything for so long",
        )
        parser.add_argument("--rate", type=float, metavar="N", help="at most so many a second")
        parser.add_argument(
            "--throttle",
            type=float,
            metavar="LOAD",
            help="pause while this machine's load is above",
        )
        parser.add_argument("--json", action="store_true", help="a line of JSON for each picture")

    def handle(self, *, targets: list[str], **options: Any) -> None:
        selections = [
            Selection(
                field,
                options["state"] or "pending",
                self._primary_key(field, options["from_pk"]),
                self._primary_key(field, options["to_pk"]),
                backlog.days_ago(options["not_since"]),
            )
            for field in select(targets)
        ]
        restoring = options["state"] == "latent"
        if options["dry_run"]:
            for selection in selections:
                self._estimate(selection, restoring, options["json"])
            return
        self._refuse(restoring, options)
        attempt = restore.restore if restoring else compression.compress
        items = backlog.paced(
            chain.from_iterable(selection.take() for selection in selections),
            options["rate"],
            options["throttle"],
        )
        if options["by_celery"]:
            work = backlog.by_workers(items, options["in_flight"], options["patience"])
        elif options["workers"] > 1:
            work = backlog.beside(items, options["workers"], attempt)
        else:
            work = backlog.here(items, attempt)
        tally = Tally()
        problem: CommandError | None = None
        try:
            with closing(work):
                for done in self._shown(work, selections, options):
                    tally.add(done)
                    self._tell(done, as_json=options["json"])
                    if tally.in_vain == IN_A_ROW:
                        problem = CommandError(
                            f"{IN_A_ROW} in a row failed for causes that may pass, the last one: "
                            f"{done.outcome.reason} Run it again when they have."
                        )
                        break
        except KeyboardInterrupt:
            problem = CommandError("Interrupted: run it again to go on.", returncode=INTERRUPTED)
        except backlog.NoAnswerError as error:
            problem = CommandError(str(error))
        self._report(tally, restoring, as_json=options["json"])
        if restoring or options["state"] in ("stale", "all"):
            self._free_later()
        if problem:
            raise problem
        if failed := tally.of(*Compression.FAILING):
            raise CommandError(f"{failed} of {tally.pictures} pictures failed.")

    @staticmethod
    def _refuse(restoring: bool, options: dict[str, Any]) -> None:
        if not restoring and not conf.COMPRESS:
            raise CommandError("LATENTIMG['COMPRESS'] is off: nothing is compressed.")
        if not restoring:
            return
        if conf.COMPRESS:
            raise CommandError(
                "LATENTIMG['COMPRESS'] must be False here and for all workers: "
                "they would compress again what is restored."
            )
        if options["by_celery"] or options["not_since"] is not None:
            raise CommandError("--restore goes with neither --async nor --not-since.")

    def _free_later(self) -> None:
        """Once for all: the site may have no worker any more, or no broker."""
        if conf.GRACE > 0:
            try:
                discards.look_later(conf.GRACE)
            except Exception as error:  # what a broker's client raises is not for us to know
                self.stderr.write(
                    f"No worker could be asked to delete the blobs ({error}): "
                    f"latentimg_cache does in {duration(conf.GRACE)}."
                )

    @staticmethod
    def _primary_key(field: LatentImageField, text: str | None) -> Any:
        if text is None:
            return None
        try:
            return field.model._meta.pk.to_python(text)
        except Exception as error:
            raise CommandError(f"{text!r} is no primary key of {links.label(field)}.") from error

    def _estimate(self, selection: Selection, restoring: bool, as_json: bool) -> None:
        found = backlog.estimate(
            selection, SAMPLE, restore.try_out if restoring else compression.try_out
        )
        label = links.label(selection.field)
        if as_json:
            self.stdout.write(json.dumps({"field": label, **vars(found)}))
            return
        text = f"{label}: {found.pictures} to {'restore' if restoring else 'compress'}"
        if found.sample:
            before, after, seconds = (
                found.pictures * mean
                for mean in (found.source_bytes, found.blob_bytes, found.seconds)
            )
            if restoring:
                before, after = after, before
            text += (
                f"; by {found.sample} of them {filesizeformat(before)} would become "
                f"{filesizeformat(after)}, in {duration(seconds)} of one process"
            )
        self.stdout.write(text)

    def _shown(
        self, work: Iterator[Done], selections: Iterable[Selection], options: dict[str, Any]
    ) -> Iterator[Done]:
        """With progress: a bar on a terminal, else a line now and then; none with ``--json``."""
        if options["json"] or not options["verbosity"]:
            return work
        total = sum(selection.count() for selection in selections)
        return self._bar(work, total) if sys.stderr.isatty() else self._lines(work, total)

    def _bar(self, work: Iterator[Done], total: int) -> Iterator[Done]:
        bar = tqdm(work, total=total, unit="picture")
        for done in bar:
            bar.set_description(links.label(done.item.field), refresh=False)
            yield done

    def _lines(self, work: Iterator[Done], total: int) -> Iterator[Done]:
        started = told = time.monotonic()
        for number, done in enumerate(work, 1):
            yield done
            now = time.monotonic()
            if now - told > EVERY:
                told = now
                left = (total - number) * (now - started) / number
                self.stderr.write(
                    f"{number} of {total}, {number / (now - started):.2f} a second, "
                    f"{duration(left)} left"
                )

    def _tell(self, done: Done, *, as_json: bool) -> None:
        label = links.label(done.item.field)
        if as_json:
            line = {"field": label, "pk": str(done.item.primary_key), "name": done.item.name}
            self.stdout.write(json.dumps(line | vars(done.outcome)))
        elif done.outcome.state in Compression.FAILING:
            self.stderr.write(
                f"{label} {done.item.primary_key}: {done.item.name}: {done.outcome.reason}"
            )

    def _report(self, tally: Tally, restoring: bool, *, as_json: bool) -> None:
        with suppress(BrokenPipeError):
            if as_json:
                self.stdout.write(json.dumps({"summary": tally.as_data()}))
                return
            files, blobs = map(filesizeformat, (tally.source_bytes, tally.blob_bytes))
            if restoring:
                restored = tally.of(Compression.State.RESTORED)
                text = (
                    f"{restored} restored: {restored - tally.decoded} from their sources, "
                    f"{tally.decoded} decoded: {blobs} to {files}"
                )
            else:
                text = (
                    f"{tally.of(Compression.State.COMPRESSED)} compressed: {files} to {blobs}, "
                    f"{tally.source_bytes - tally.blob_bytes} bytes saved"
                )
            self.stdout.write(f"{text}; {tally.of(*Compression.FAILING)} failed.")
            for text, count in (
                ("kept as AVIF by the guard", tally.as_avif),
                ("replaced or deleted meanwhile", tally.of(Compression.State.REPLACED)),
                *((f"failed: {reason}", count) for reason, count in tally.reasons.most_common()),
            ):
                if count:
                    self.stdout.write(f"{count:>8}  {text}")


def duration(seconds: float) -> str:
    """``3 h 20 min``."""
    minutes = round(seconds / 60)
    if not minutes:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
