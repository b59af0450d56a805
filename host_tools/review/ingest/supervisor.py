"""`Supervisor`: starts the writer and the workers, starts again what dies, adds up what they say, and ends them in order."""

from __future__ import annotations

import random
import select
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import ContractError, EdgewrightError, TransferError
from host_tools.errors import InputError, StoreDamagedError, StoreError, StoreInUseError
from host_tools.review.ingest.channel import (
    Fatal,
    Note,
    Nothing,
    WriterStatus,
    read_report,
)
from host_tools.review.ingest.child import INTERNAL
from host_tools.review.ingest.child_process import start_child
from host_tools.review.ingest.meeting_place import MeetingPlace
from host_tools.review.ingest.overview import Overview, Totals
from host_tools.review.ingest.pauses import Pauses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from host_tools.review.ingest.channel import Report
    from host_tools.review.ingest.child_process import ChildProcess, Role
    from host_tools.review.ingest.settings import IngestSettings

_TURN_SECONDS: Final = 0.25
_WORKERS_DRAIN_SECONDS: Final = 20.0
_WRITER_DRAIN_SECONDS: Final = 30.0
_ERRORS: Final[dict[str, type[EdgewrightError]]] = {
    kind.code: kind
    for kind in (StoreError, StoreDamagedError, StoreInUseError, InputError, ContractError, TransferError)
}


@dataclass(slots=True)
class _Place:
    """What is to run, whether it does or not."""

    role: Role
    slot: int
    pauses: Pauses = field(default_factory=lambda: Pauses(random.random))
    child: ChildProcess | None = None
    has_worked: bool = False


class Supervisor:
    """See the module's docstring.

    Args:
        settings: What to do.
        say: Called with everything that the operator has to read.
        show: Called about every second with how things are.

    Raises:
        InputError: There can be no socket where the processes meet.
    """

    def __init__(
        self, settings: IngestSettings, *, say: Callable[[Note], None], show: Callable[[Overview], None]
    ) -> None:
        self._settings = settings
        self._say = say
        self._show = show
        self._meeting_place = MeetingPlace()
        self._places = [_Place("writer", 0)]
        self._workers_begun = False
        self._totals = Totals()
        self._restarts = 0
        self._stopping = False
        self._began = time.monotonic()
        self._show_due = 0.0

    @property
    def process_ids(self) -> dict[str, int]:
        """Ids of the processes that run, by name."""
        return {child.name: child.process.pid for child in self._children()}

    def run(self, *, seconds: float | None = None) -> None:
        """Work until `stop` is called, or for so long; then end everything in order.

        Raises:
            StoreDamagedError: The store's file is damaged, at the start or later.
            StoreError: The store cannot be opened at the start.
            TransferError: The broker refuses at the start, another ingest takes a session away, or no worker was connected in
                all these seconds.
            InputError: The store's address is none, or certificates cannot be used.
        """
        end = None if seconds is None else time.monotonic() + seconds
        try:
            while not self._stopping and (end is None or time.monotonic() < end):
                self._turn()
            if seconds is not None and not self._stopping:
                self._require_connected(seconds)
        finally:
            self._end()

    def stop(self) -> None:
        """Let `run` end; may be called from a signal's handler."""
        self._stopping = True

    def _require_connected(self, seconds: float) -> None:
        """Whoever gave it a time, as a script does, is to know that nothing could come."""
        if not any(place.has_worked for place in self._places if place.role == "worker"):
            raise TransferError(
                f"{self._settings.broker}: no worker was connected within {seconds:g} s, so nothing was ingested.",
                hint="What kept them stands above; or give more --seconds.",
            )

    def _turn(self) -> None:
        now = time.monotonic()
        for place in self._places:
            if place.child is None and place.pauses.is_over(now):
                place.child = start_child(place.role, place.slot, self._settings, self._meeting_place)
        self._hear(_TURN_SECONDS)
        for place in list(self._places):
            if place.child is not None and place.child.process.poll() is not None:
                self._bury(place, place.child)
        if now >= self._show_due:
            self._show_due = now + 1.0
            self._show(self._overview())

    # --- children ---

    def _children(self) -> Iterator[ChildProcess]:
        return (place.child for place in self._places if place.child is not None)

    def _hear(self, timeout: float) -> None:
        """Wait for words of any child and take them in."""
        by_descriptor = {
            child.channel.descriptor: child for child in self._children() if child.channel is not None
        }
        readable, _, _ = select.select(list(by_descriptor), [], [], timeout)
        for descriptor in readable:
            self._listen(by_descriptor[descriptor])

    def _listen(self, child: ChildProcess) -> None:
        lines = None if child.channel is None else child.channel.lines()
        if lines is None:
            if child.channel is not None:
                child.channel.close()
                child.channel = None
            return
        for line in lines:
            self._take(child, read_report(line))

    def _take(self, child: ChildProcess, report: Report) -> None:
        place = next(place for place in self._places if place.child is child)
        if isinstance(report, Fatal):
            child.fatal = report
        elif isinstance(report, Nothing):
            child.found_nothing = True
        else:
            # What disturbs the one that looks for old sessions disturbs the workers, who tell.
            if (
                report.note
                and child.role != "retire"
                and (child.status is None or child.status.note != report.note)
            ):
                self._say(Note(report.note.code, f"{child.name}: {report.note.text}"))
            child.status = report
            place.pauses.succeeded(time.monotonic())
            if isinstance(report, WriterStatus):
                place.has_worked = True
                self._begin_workers()
            elif report.connected:
                place.has_worked = True

    def _begin_workers(self) -> None:
        """With the store open, begin to listen, and look for slots of an ingest that had more workers."""
        if not self._workers_begun:
            self._workers_begun = True
            workers = self._settings.workers
            self._places += [_Place("worker", slot) for slot in range(workers)]
            self._places.append(_Place("retire", workers))

    def _bury(self, place: _Place, child: ChildProcess) -> None:
        """Note what a child left behind, and let there be another one, unless it makes no sense.

        Raises:
            EdgewrightError: What the child ended with would be the same for the next one.
        """
        while child.channel is not None:  # its last words
            self._listen(child)
        self._totals.add_dead(child.status)
        place.child = None
        child.let_go()
        status = child.process.returncode
        if child.role == "retire" and status == 0:
            self._places.remove(place)
            if not child.found_nothing:
                self._say(
                    Note(
                        "session",
                        f"worker {child.slot} of an earlier ingest had a session; it is emptied and gone.",
                    )
                )
                self._places.append(_Place("retire", child.slot + 1))
            return
        error = None if child.fatal is None else _error(child.fatal)
        if error is not None and not _may_pass(child, place):
            raise error
        place.pauses.failed(time.monotonic())
        self._restarts += 1
        why = f"ended by signal {-status}" if status < 0 else f"ended with status {status}"
        self._say(
            Note("restart", f"{child.name} {why if error is None else f'ended: {error}'}; starting another.")
        )

    # --- the end ---

    def _end(self) -> None:
        """End the workers, then the writer, each with time to finish what it has."""
        for role, patience in (
            ("retire", 1.0),
            ("worker", _WORKERS_DRAIN_SECONDS),
            ("writer", _WRITER_DRAIN_SECONDS),
        ):
            some = [child for child in self._children() if child.role == role]
            for child in some:
                child.process.terminate()
            end = time.monotonic() + patience
            while time.monotonic() < end and any(child.process.poll() is None for child in some):
                self._hear(0.1)
            for child in some:
                if child.process.poll() is None:
                    child.process.kill()
                    child.process.wait()
                    self._say(
                        Note(
                            "killed",
                            f"{child.name} did not end within {patience:.0f} s and was killed; what it held comes again.",
                        )
                    )
                while child.channel is not None:
                    self._listen(child)
                child.let_go()
        self._meeting_place.close()
        self._show(self._overview())

    def _overview(self) -> Overview:
        return self._totals.overview(
            [child.status for child in self._children() if child.role != "retire"],
            workers=self._settings.workers,
            restarts=self._restarts,
            seconds=time.monotonic() - self._began,
        )


def _may_pass(child: ChildProcess, place: _Place) -> bool:
    """Whether another process of its kind may get on: a disk gets room again, and a damaged file stays as it is."""
    if child.fatal is None or child.fatal.code == INTERNAL:
        return True
    return child.role == "writer" and place.has_worked and child.fatal.code != StoreDamagedError.code


def _error(told: Fatal) -> EdgewrightError:
    return _ERRORS.get(told.code, TransferError)(told.message, hint=told.hint)
