"""The writer: the one process that has the store. Commits what workers send, many batches at once, and tells them."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from host_tools.errors import StoreDamagedError, StoreError
from host_tools.review.ingest.backups import Backups
from host_tools.review.ingest.batching import joined, unpack
from host_tools.review.ingest.channel import Note, WriterStatus
from host_tools.review.ingest.frames import Inbox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from socket import socket

    from host_tools.review.ingest.channel import Channel
    from host_tools.review.ingest.frames import Frame
    from host_tools.review.ingest.settings import IngestSettings
    from host_tools.review.store.tables import Batch
    from host_tools.review.store.telemetry_store import TelemetryStore
    from host_tools.review.store.windows import Written

_STATUS_SECONDS: Final = 1.0
_TURN_SECONDS: Final = 0.25
_MOST_COMMIT_BYTES: Final = 32 << 20
_RETRY_SECONDS: Final = (0.2, 1.0)
_DRAIN_SECONDS: Final = 20.0
_FIRST_ROLL_UP_SECONDS: Final = 2.0
_FIRST_RETAIN_SECONDS: Final = 300.0
"""An ingest that never runs for an hour at a time removes what is old, too."""
_LAST_ROLL_UP_SECONDS: Final = 8.0
"""With what workers take to end, less than the supervisor waits for the writer."""
_SLICE_SECONDS: Final = 0.3


class Writer:
    """See the module's docstring.

    Args:
        settings: Of the whole ingest.
        store: Opened; it is closed when the writer ends.
        listener: Where workers connect.
        channel: To the supervisor.

    Raises:
        InputError: The store is to keep something shorter than what it is made of.
        StoreError: The store cannot remember how long it is to keep what.
    """

    def __init__(
        self, settings: IngestSettings, *, store: TelemetryStore, listener: socket, channel: Channel
    ) -> None:
        self._settings = settings
        self._store = store
        self._inbox = Inbox(listener)
        self._channel = channel
        self._messages = self._duplicates = self._dead_letters = 0
        self._commits = self._failures = 0
        self._commit_seconds = self._roll_up_seconds = 0.0
        self._lag_seconds = 0.0
        self._note: Note | None = None
        self._status_due = 0.0
        self._has_news = True
        self._is_rolling_up = False
        self._roll_up_took = 0.0
        self._roll_up_due = time.monotonic() + _FIRST_ROLL_UP_SECONDS
        self._retain_due = time.monotonic() + min(settings.retain_seconds, _FIRST_RETAIN_SECONDS)
        self._retention = replace(store.retention(), **settings.keep)
        if settings.keep:
            store.keep(self._retention)
        self._backups = None if settings.backup is None else Backups(store, settings.backup)
        self._stopping_since: float | None = None

    def run(self) -> int:
        """Work until told to stop and no worker is connected any more; return the exit status."""
        signal.signal(signal.SIGTERM, lambda _number, _frame: self._stop())
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's to hear
        try:
            while not self._is_done():
                # What is between two slices of a roll-up is written, and not waited for.
                timeout = 0.0 if self._is_rolling_up else _TURN_SECONDS
                frames = self._inbox.take(timeout=timeout, most_bytes=_MOST_COMMIT_BYTES)
                if frames:
                    self._commit(frames)
                self._keep_up()
                self._tell()
            self._roll_up_the_rest()
        finally:
            if self._backups is not None:
                self._backups.finish()
            self._store.close()
        self._status_due = 0.0
        self._tell()
        return 0

    def _stop(self) -> None:
        self._stopping_since = self._stopping_since or time.monotonic()

    def _is_done(self) -> bool:
        if self._stopping_since is None:
            return False
        late = time.monotonic() - self._stopping_since > _DRAIN_SECONDS
        return late or (self._inbox.workers == 0 and self._inbox.is_empty)

    def _commit(self, frames: Sequence[Frame]) -> None:
        """Commit batches as one.

        Raises:
            StoreDamagedError: The store cannot be read.
            StoreError: It did not work several times. The next writer opens the store anew, and gets the batches again.
        """
        batch = joined([unpack(frame.batch) for frame in frames])
        oldest = min(frame.oldest for frame in frames)
        start = time.monotonic()
        written = self._written(batch, oldest)
        self._note = None
        self._commit_seconds += time.monotonic() - start
        self._commits += 1
        self._messages += written.messages
        self._duplicates += written.duplicates
        self._dead_letters += written.dead_letters
        self._lag_seconds = max(0.0, time.time() - oldest)
        self._has_news = True
        for frame in frames:
            frame.committed()

    def _written(self, batch: Batch, oldest: float) -> Written:
        for pause in _RETRY_SECONDS:
            try:
                return self._store.write(batch)
            except StoreDamagedError:
                raise
            except StoreError as error:
                self._fail(error)
                self._lag_seconds = time.time() - oldest
                self._status_due = 0.0
                self._tell()
                if self._stopping_since is not None:
                    raise  # nothing is lost: it was not acknowledged
            time.sleep(pause)
        return self._store.write(batch)

    def _keep_up(self) -> None:
        """Roll up, remove what is old and have a copy made, when it is time."""
        now = time.monotonic()
        if self._backups is not None and self._stopping_since is None:
            self._backups.keep_up()
        if self._is_rolling_up or (now >= self._roll_up_due and self._has_news):
            self._roll_up_some()
        elif now >= self._retain_due:
            self._retain_due = now + self._settings.retain_seconds
            self._try(lambda: self._store.retain(self._retention, now=time.time()))

    def _roll_up_some(self) -> None:
        """Go on with a roll-up, or begin one; messages are written between its slices."""
        start = time.monotonic()
        if not self._is_rolling_up:
            self._is_rolling_up, self._has_news, self._roll_up_took = True, False, 0.0
        try:
            is_done = self._store.roll_up_for(_SLICE_SECONDS)
        except StoreDamagedError:
            raise
        except StoreError as error:
            self._fail(error)
            is_done = self._has_news = True
        took = time.monotonic() - start
        self._roll_up_seconds += took
        self._roll_up_took += took
        if is_done:
            self._is_rolling_up = False
            # Never more than a third of the time: messages have to be written, too.
            self._roll_up_due = time.monotonic() + max(self._settings.roll_up_seconds, 2 * self._roll_up_took)

    def _roll_up_the_rest(self) -> None:
        """Make the windows that are left, as many as there is time for; the next ingest makes the others."""
        end, failures = time.monotonic() + _LAST_ROLL_UP_SECONDS, self._failures
        while self._is_rolling_up or self._has_news:
            if time.monotonic() > end or self._failures > failures:
                self._note = Note(
                    "unmade",
                    "the latest windows are not all made, so a review lacks messages; the next ingest with this store makes them.",
                )
                return
            self._roll_up_some()

    def _try(self, work: Callable[[], object]) -> None:
        """Do what can wait."""
        start = time.monotonic()
        try:
            work()
        except StoreDamagedError:
            raise
        except StoreError as error:
            self._fail(error)
        finally:
            self._roll_up_seconds += time.monotonic() - start

    def _fail(self, error: StoreError) -> None:
        self._failures += 1
        self._note = Note("store", str(error))

    def _tell(self) -> None:
        now = time.monotonic()
        if now < self._status_due:
            return
        self._status_due = now + _STATUS_SECONDS
        status = WriterStatus(
            messages=self._messages,
            duplicates=self._duplicates,
            dead_letters=self._dead_letters,
            commits=self._commits,
            commit_seconds=self._commit_seconds,
            roll_up_seconds=self._roll_up_seconds,
            failures=self._failures,
            lag_seconds=self._lag_seconds,
            note=self._note or (None if self._backups is None else self._backups.note),
        )
        if not self._channel.send(status):
            self._stop()
