"""`Spool`: every message waits here, on disk, until the broker has acknowledged it. Bounded in bytes and rows.

What it promises:

* Nothing is handed out before it is committed; a message leaves only by acknowledgement, by being counted as lost, or,
  a state, by being replaced by a newer one of its topic. A state that is in flight is not replaced but followed.
* When full, the oldest results go first, then the oldest measurements, then the oldest events; states are never
  dropped. The loss is counted per kind, survives a restart, and waits in `unreported_loss` until an event has told
  of it.
* A process killed at any moment keeps every committed message (SQLite WAL). After a *power cut* the last commits may
  be missing, the file is intact (``synchronous=NORMAL``: fewer flushes, so less wear of flash).
* A damaged file is set aside under ``.damaged`` and begun anew; a disk that is full, read-only or failing makes the
  spool go on in memory, with a smaller bound. What lies on disk stays there and is sent once the disk is back. A file
  that was removed is made anew with what it held. Each is a `Notice`, none is fatal.

It is not thread-safe and has no clock: the agent's loop is its only user.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from device_agent.contract.errors import StorageError
from device_agent.telemetry.eviction import choose_to_drop
from device_agent.telemetry.loss import Loss, LossCounts
from device_agent.telemetry.spool_file import Notice, file_id, in_memory, set_aside
from device_agent.telemetry.store import CorruptStoreError, Kind, SpooledMessage, Store, StoreLockedError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolLimits:
    """Bounds of a spool.

    Attributes:
        max_bytes: On disk: payloads, topics and row overhead; the write-ahead file may add 1 MiB to it.
        max_rows: On disk and in memory.
        memory_max_bytes: While the disk cannot be written.
        batch_rows: Messages that wait in memory for one commit; at the latest the agent commits at every turn of its
            loop.
    """

    max_bytes: int
    max_rows: int
    memory_max_bytes: int
    batch_rows: int = 64


class Spool:
    """See the module's docstring.

    Args:
        path: Database file; its directory is made if it is not there.
        limits: Bounds.

    Raises:
        StoreLockedError: Another agent uses this spool. Every other trouble is a `Notice`.
    """

    def __init__(self, path: Path, limits: SpoolLimits) -> None:
        self._path = path
        self._limits = limits
        self._notices: list[Notice] = []
        self._pending: list[SpooledMessage] = []
        self._pending_bytes = 0
        # Both map the id of a message that is in the store to its size, so that deleting it needs no look-up.
        self._taken: dict[int, int] = {}
        self._acknowledged: dict[int, int] = {}
        self._acknowledged_on_disk: list[int] = []
        self._cursor: dict[Kind, int] = dict.fromkeys(Kind, 0)
        self._loss = LossCounts()
        self._not_handed_out: set[str] = set()
        self._replaced_in_memory: set[str] = set()
        self._counters_read = False
        self._file_id: tuple[int, int] | None = None
        self._rows = self._bytes = self._last_id = 0
        self._stranded_rows = 0
        self._on_disk = True
        self._store = self._open()

    @property
    def on_disk(self) -> bool:
        """Whether messages reach the disk; False while it falls back to memory."""
        return self._on_disk

    @property
    def rows(self) -> int:
        """Messages not yet acknowledged, committed or not; without those on a disk that cannot be written."""
        return self._rows + len(self._pending)

    @property
    def stranded_rows(self) -> int:
        """Messages on a disk that could be written once and cannot be now, as far as it was read; they are sent when it is back."""
        return self._stranded_rows

    @property
    def size_bytes(self) -> int:
        """What `rows` take, in bytes."""
        return self._bytes + self._pending_bytes

    @property
    def is_dirty(self) -> bool:
        """Whether a `commit` has something to write."""
        return bool(self._pending or self._acknowledged)

    @property
    def lost_total(self) -> Loss:
        """Everything lost since the file was begun."""
        return self._loss.lost

    @property
    def unreported_loss(self) -> Loss:
        """Lost and not yet told by `loss_reported`."""
        return self._loss.unreported

    def holds_unsent_state(self, topic: str) -> bool:
        """Whether the newest state of ``topic`` that was appended here has never been handed out, so that nobody can know it."""
        return topic in self._not_handed_out

    def append(self, kind: Kind, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Keep a message; it is safe after the next `commit`."""
        self._last_id += 1
        message = SpooledMessage(self._last_id, kind, topic, payload, retain)
        if kind is Kind.STATE:
            self._drop_pending_state(topic)
            self._not_handed_out.add(topic)
            if not self._on_disk:
                self._replaced_in_memory.add(topic)
        self._pending.append(message)
        self._pending_bytes += message.size_bytes
        if len(self._pending) >= self._limits.batch_rows or self._pending_bytes * 4 >= self._max_bytes:
            self.commit()

    def commit(self) -> None:
        """Write what waits, drop what does not fit, delete what was acknowledged: one transaction.

        Raises:
            StorageError: Not even memory can be written.
        """
        while self._pending or self._acknowledged:
            try:
                self._commit()
            except StorageError as error:
                if not self._on_disk:
                    raise
                self._fall_back(error)

    def take(self, limit: int) -> list[SpooledMessage]:
        """Return up to ``limit`` committed messages not taken yet: states, events, then the rest; oldest first."""
        taken: list[SpooledMessage] = []
        try:
            for kind in Kind:
                if len(taken) < limit:
                    page = self._store.page(kind, after=self._cursor[kind], limit=limit - len(taken))
                    taken += page
                    if page:
                        self._cursor[kind] = page[-1].id
        except StorageError as error:
            self._fall_back(error)
            return []
        # A state that a waiting one replaces must not go out any more: the two may bear the same number.
        replaced = self._pending_states()
        fresh = [
            message
            for message in taken
            if message.id not in self._acknowledged
            and not (message.kind is Kind.STATE and message.topic in replaced)
        ]
        self._taken.update((message.id, message.size_bytes) for message in fresh)
        self._not_handed_out.difference_update(
            message.topic for message in fresh if message.kind is Kind.STATE
        )
        return fresh

    def acknowledge(self, message_id: int) -> None:
        """The broker has it: delete it at the next `commit`."""
        size = self._taken.pop(message_id, None)
        if size is not None:
            self._acknowledged[message_id] = size

    def count_loss(self, kind: Kind, *, tell: bool = True) -> None:
        """Count a message that was lost outside of the spool; without ``tell`` no event will tell of it."""
        self._loss.count(kind, tell=tell)

    def release(self) -> None:
        """The connection is gone: everything taken and not acknowledged may be taken again."""
        self._taken.clear()
        self._cursor = dict.fromkeys(Kind, 0)

    def loss_reported(self, loss: Loss) -> None:
        """``loss`` now stands in a message of the spool."""
        self._loss.told(loss)

    def notices(self) -> tuple[Notice, ...]:
        """Return what happened to the storage since the last call."""
        notices, self._notices = tuple(self._notices), []
        return notices

    def return_to_disk(self) -> bool:
        """While in memory, or in a file that was removed, with nothing in flight: move everything to a file under the path.

        Returns:
            Whether messages reach the disk now.
        """
        was_on_disk = self._on_disk
        if was_on_disk and self._file_id == file_id(self._path):
            return True
        self.commit()
        if self._taken:
            return False
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            disk = Store(self._path)
            try:
                self._move_to(disk)
            except StorageError:
                disk.close()
                raise
        except CorruptStoreError as error:
            with contextlib.suppress(OSError):
                self._notices.append(set_aside(self._path, error))  # makes way for the next attempt
            return False
        except (StorageError, StoreLockedError, OSError):
            return False
        what = "was removed; messages are in a new file" if was_on_disk else "messages reach the disk again"
        self._notices.append(Notice(code="spool_on_disk", message=f"{self._path}: {what}."))
        return True

    def close(self) -> int:
        """Commit and close; a disk that could not be written is tried once more.

        Returns:
            How many messages are lost, because they were in memory and no disk took them.

        Raises:
            StorageError: Not even memory can be written.
        """
        try:
            self.release()
            self.commit()
            return 0 if self.return_to_disk() else self.rows
        finally:
            self._store.close()

    @property
    def _max_bytes(self) -> int:
        return self._limits.max_bytes if self._on_disk else self._limits.memory_max_bytes

    def _open(self) -> Store:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return self._opened()
        except CorruptStoreError as error:
            try:
                self._notices.append(set_aside(self._path, error))
                return self._opened()
            except (StorageError, OSError) as second:
                failure: Exception = second
        except (StorageError, OSError) as error:
            failure = error
        self._on_disk = False
        self._notices.append(in_memory(self._path, failure))
        return Store(None)

    def _opened(self) -> Store:
        """Open the file and take over what it holds."""
        store = Store(self._path)
        try:
            self._rows, self._bytes, self._last_id = store.totals()
            self._loss, self._counters_read = LossCounts(store.counters()), True
            self._file_id = file_id(self._path)
        except StorageError:
            store.close()
            raise
        return store

    def _fall_back(self, error: StorageError) -> None:
        """Leave a file that failed: a damaged one for a new file, one that cannot be written for memory."""
        self._store.close()
        if self._on_disk:
            self._stranded_rows = self._rows - len(self._acknowledged)
        self._rows = self._bytes = 0
        self.release()
        failure: Exception = error
        if isinstance(error, CorruptStoreError):
            self._stranded_rows = 0
            self._acknowledged.clear()
            try:
                self._notices.append(set_aside(self._path, error))
                self._store = Store(self._path)
                self._file_id = file_id(self._path)
            except (StorageError, StoreLockedError, OSError) as second:
                failure = second
            else:
                return
        self._acknowledged_on_disk += self._acknowledged
        self._acknowledged.clear()
        self._replaced_in_memory |= self._pending_states()
        self._on_disk = False
        self._store = Store(None)
        self._notices.append(in_memory(self._path, failure))

    def _move_to(self, disk: Store) -> None:
        """Write what memory holds to ``disk`` and make it the store; if that fails, everything stays as it was.

        Raises:
            StorageError: The disk failed.
        """
        held = [
            message
            for kind in Kind
            for message in self._store.page(kind, after=0, limit=self._limits.max_rows)
        ]
        stale = [
            old.id
            for old in disk.page(Kind.STATE, after=0, limit=self._limits.max_rows)
            if old.topic in self._replaced_in_memory
        ]
        _, _, highest = disk.totals()
        # Ids go on over both stores, unless the disk could not even be read when we started.
        shift = max(0, highest + 1 - min((message.id for message in held), default=highest + 1))
        moved = [replace(message, id=message.id + shift) for message in held]
        loss = self._loss if self._counters_read else self._loss.with_counters(disk.counters())
        disk.write(add=moved, remove=[*self._acknowledged_on_disk, *stale], counters=loss.counters)
        self._rows, self._bytes, highest = disk.totals()
        self._store.close()
        self._store, self._on_disk, self._stranded_rows = disk, True, 0
        self._file_id = file_id(self._path)
        self._loss, self._counters_read = loss, True
        self._last_id = max(self._last_id + shift, highest)
        self._acknowledged_on_disk.clear()
        self._replaced_in_memory.clear()
        self.release()

    def _commit(self) -> None:
        gone = dict(self._acknowledged)
        gone.update((old.id, old.size_bytes) for old in self._replaced_states())
        rows = self._rows + len(self._pending) - len(gone)
        size = self._bytes + self._pending_bytes - sum(gone.values())
        dropped = choose_to_drop(
            self._store,
            self._pending,
            excess_rows=rows - self._limits.max_rows,
            excess_bytes=size - self._max_bytes,
            spared=self._taken.keys() | gone.keys(),  # what is in flight
        )
        loss = self._loss.with_lost(kind for kind, _ in dropped.values())
        kept = [message for message in self._pending if message.id not in dropped]
        self._store.write(add=kept, remove=[*gone, *dropped], counters=loss.counters)
        self._rows = rows - len(dropped)
        self._bytes = size - sum(freed for _, freed in dropped.values())
        self._loss = loss
        self._pending, self._pending_bytes = [], 0
        self._acknowledged.clear()

    def _replaced_states(self) -> list[SpooledMessage]:
        topics = self._pending_states()
        if not topics:
            return []
        stored = self._store.page(Kind.STATE, after=0, limit=self._limits.max_rows)
        # One that is in flight arrives before the newer one does: deleting it would only lose it if the link broke.
        return [old for old in stored if old.topic in topics and old.id not in self._taken]

    def _pending_states(self) -> set[str]:
        return {message.topic for message in self._pending if message.kind is Kind.STATE}

    def _drop_pending_state(self, topic: str) -> None:
        kept = [old for old in self._pending if old.kind is not Kind.STATE or old.topic != topic]
        self._pending_bytes -= sum(old.size_bytes for old in self._pending) - sum(
            old.size_bytes for old in kept
        )
        self._pending = kept
