"""A worker: receives, interprets and batches; acknowledges to the broker what the writer has committed, and nothing else.

Whatever dies, nothing is lost: what a killed worker held the broker sends again, because it was not acknowledged; what the
writer had not committed when it died, the worker sends again to the next one. Both may bring a message twice, and the
store knows it by (device, boot_id, seq).
"""

from __future__ import annotations

import contextlib
import gc
import math
import random
import select
import signal
import socket
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import EdgewrightError, TransferError
from host_tools.review.ingest.batching import Collector, pack, seconds_to_grow
from host_tools.review.ingest.channel import Note, Nothing, WorkerStatus, fatal
from host_tools.review.ingest.frames import WriterLink
from host_tools.review.ingest.interpreter import Interpreter
from host_tools.review.ingest.pauses import Pauses
from host_tools.review.ingest.subscriber import (
    BrokerRefusedError,
    SessionTakenError,
    Subscriber,
    SubscriberSettings,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from host_tools.review.ingest.channel import Channel
    from host_tools.review.ingest.settings import IngestSettings
    from host_tools.review.ingest.subscriber import Publication

_STATUS_SECONDS: Final = 1.0
_TURN_SECONDS: Final = 0.2
_DRAIN_SECONDS: Final = 15.0
_QUIET_SECONDS: Final = 2.0
_LONGEST_PAUSE_SECONDS: Final = 1.0
"""A broker that was away has to find its subscribers before it finds the devices."""
_SHORT_SECONDS: Final = 5.0
_MANY_SHORT: Final = 3
_RETAINED_SECONDS: Final = 5.0
_MESSAGE_OVERHEAD_BYTES: Final = 300


@dataclass(frozen=True, slots=True)
class _Held:
    """A batch that is not committed yet, and the broker's numbers of its messages on the connection that brought them."""

    number: int
    batch: bytes
    oldest: float
    connection: int
    numbers: list[bytes]


class Worker:
    """See the module's docstring.

    Args:
        settings: Of the whole ingest.
        slot: Which worker; the slot's session at the broker is found again by it.
        channel: To the supervisor.
        connect_writer: Connects to the writer's socket; raises OSError.
        retiring: The slot is one too many: empty its session, end it, and be done.
    """

    def __init__(
        self,
        settings: IngestSettings,
        *,
        slot: int,
        channel: Channel,
        connect_writer: Callable[[], socket.socket],
        retiring: bool = False,
    ) -> None:
        self._settings = settings
        self._slot = slot
        self._channel = channel
        self._connect_writer = connect_writer
        self._retiring = retiring
        self._subscriber = Subscriber(
            SubscriberSettings(
                address=settings.broker,
                tls=settings.tls,
                client_id=settings.client_id(slot),
                filters=() if retiring else settings.filters,
                other_filters=(*settings.filters, *settings.other_filters)
                if retiring
                else settings.other_filters,
                receive_maximum=settings.receive_maximum,
            )
        )
        self._collector = Collector()
        self._interpreter = Interpreter(root=settings.root, collector=self._collector)
        self._link: WriterLink | None = None
        self._held: deque[_Held] = deque()
        self._held_bytes = 0
        self._behind_since: float | None = None
        self._next_number = 1
        self._numbers: list[bytes] = []
        self._batch_bytes = 0
        self._oldest = 0.0
        self._began_at = 0.0
        self._received = self._received_bytes = 0
        self._last_received = time.monotonic()
        self._broker_pauses = Pauses(random.random, longest_seconds=_LONGEST_PAUSE_SECONDS)
        self._writer_pauses = Pauses(random.random, longest_seconds=_LONGEST_PAUSE_SECONDS)
        self._has_been_accepted = False
        self._accepted_at = -math.inf
        self._short_connections = 0
        self._retained_until: float | None = None
        self._let_go = False
        self._status_due = 0.0
        self._note: Note | None = None
        self._stopping_since: float | None = None

    def run(self) -> int:
        """Work until told to stop, and everything that the writer can take is acknowledged; return the exit status."""
        signal.signal(signal.SIGTERM, lambda _number, _frame: self._stop())
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's to hear
        # Rows are tuples without cycles; looking for some in a hundred thousand of them took half of the time.
        gc.set_threshold(200_000, 20, 50)
        try:
            while not self._is_done():
                self._turn()
        except EdgewrightError as error:
            self._channel.send(fatal(error))
            return 1
        finally:
            self._subscriber.close(forget=self._retiring and self._stopping_since is None)
        self._tell(time.monotonic())
        return 0

    def _stop(self) -> None:
        self._stopping_since = self._stopping_since or time.monotonic()

    def _is_done(self) -> bool:
        now = time.monotonic()
        if self._stopping_since is not None:
            self._seal()
            # What a writer that is gone cannot take was not acknowledged, and comes again.
            return not self._held or self._link is None or now - self._stopping_since > _DRAIN_SECONDS
        quiet = now - self._last_received > _QUIET_SECONDS
        return self._let_go and self._retiring and quiet and not self._held and not self._collector.messages

    def _turn(self) -> None:
        now = time.monotonic()
        self._look_after_room(now)
        self._reconnect(now)
        subscriber, link = self._subscriber, self._link
        broker = subscriber.descriptor if self._stopping_since is None else None
        is_behind = self._behind_since is not None
        reading = [self._channel.descriptor]
        writing = []
        if broker is not None:
            reading += [] if is_behind else [broker]
            writing += [broker] if subscriber.wants_to_write else []
        if link is not None:
            reading.append(link.descriptor)
            writing += [link.descriptor] if link.wants_to_write else []
        has_more = broker is not None and not is_behind and subscriber.has_more
        timeout = 0.0 if has_more else min(_TURN_SECONDS, self._seconds_to_grow())
        readable, writable, _ = select.select(reading, writing, [], timeout)
        if self._channel.descriptor in readable and self._channel.lines() is None:
            self._stop()
        if link is not None:
            self._serve_writer(
                link, readable=link.descriptor in readable, writable=link.descriptor in writable
            )
        if broker is not None:
            self._serve_broker(has_come=has_more or broker in readable)
        if self._seconds_to_grow() <= 0.0:
            self._seal()
        if now >= self._status_due:
            self._tell(now)

    # --- the broker ---

    def _reconnect(self, now: float) -> None:
        """Connect to whom there is no connection, unless it is too early for another attempt."""
        if self._link is None and self._writer_pauses.is_over(now):
            try:
                self._link = WriterLink(self._connect_writer())
                for held in self._held:
                    self._link.send(held.number, held.batch, oldest=held.oldest)
            except OSError as error:
                self._lose_writer(str(error))
        if (
            self._subscriber.descriptor is None
            and self._stopping_since is None
            and self._behind_since is None
            and self._broker_pauses.is_over(now)
        ):
            try:
                self._subscriber.connect()
            except TransferError as error:
                self._end_or_lose_broker(error)

    def _serve_broker(self, *, has_come: bool) -> None:
        subscriber = self._subscriber
        before = subscriber.accepted
        try:
            if has_come:
                self._take(subscriber.receive())
            subscriber.tick()
            if subscriber.accepted and not before:
                self._begin_session()
            self._look_after_retained()
        except TransferError as error:
            self._end_or_lose_broker(error)

    def _look_after_room(self, now: float) -> None:
        """Read no more while too much is held; leave the broker when that lasts, for it takes who is silent for dead."""
        most = self._settings.held_bytes
        if self._behind_since is None:
            if self._held_bytes > most:
                self._behind_since = now
                self._note = Note(
                    "writer_behind",
                    f"holds {self._held_bytes / 2**20:.0f} MiB that the writer has not committed; the broker has to wait.",
                )
        elif self._held_bytes <= most / 2:
            self._behind_since = None
            if self._note is not None and self._note.code == "writer_behind":
                self._note = None
        elif (
            self._subscriber.descriptor is not None
            and now - self._behind_since > self._settings.behind_seconds
        ):
            self._seal()  # what comes over the next connection is acknowledged there
            self._subscriber.close()

    def _begin_session(self) -> None:
        self._has_been_accepted = True
        self._accepted_at = time.monotonic()
        self._broker_pauses.succeeded(time.monotonic())
        self._note = None
        subscriber = self._subscriber
        if self._retiring:
            if not subscriber.session_present:
                self._channel.send(Nothing())
                self._let_go = True
                self._last_received = -_QUIET_SECONDS
                return
            self._let_go = True
            self._last_received = time.monotonic()
        elif self._slot == 0 and self._settings.workers > 1 and not subscriber.session_present:
            subscriber.take_retained(self._settings.retained_filters)
            self._retained_until = time.monotonic() + _RETAINED_SECONDS

    def _look_after_retained(self) -> None:
        if self._retained_until is not None and time.monotonic() > self._retained_until:
            self._retained_until = None
            self._subscriber.let_go(self._settings.retained_filters)

    def _end_or_lose_broker(self, error: TransferError) -> None:
        """Try again later, unless the first answer was a refusal, or another ingest has this session.

        Raises:
            TransferError: One of these.
        """
        refused = isinstance(error, BrokerRefusedError)
        if refused and (not self._has_been_accepted or isinstance(error, SessionTakenError)):
            raise error
        self._seal()  # what comes over the next connection is acknowledged there
        self._subscriber.close()
        self._retained_until = None
        note = str(error)
        now = time.monotonic()
        self._short_connections = (
            self._short_connections + 1 if now - self._accepted_at < _SHORT_SECONDS else 0
        )
        if self._short_connections >= _MANY_SHORT:
            # Not every broker says that a session was taken over; mosquitto 2.0 just closes the connection.
            note += " Connections end soon after they begin: is an ingest of the same --name running?"
        self._note = Note("broker", note)
        self._accepted_at = -math.inf
        self._broker_pauses.failed(now)
        self._tell(time.monotonic())

    def _take(self, publications: list[Publication]) -> None:
        if not publications:
            return
        received, self._last_received = time.time(), time.monotonic()
        collector, interpreter = self._collector, self._interpreter
        if not collector.messages and not self._numbers:
            self._oldest, self._began_at = received, self._last_received
        for publication in publications:
            interpreter.take(publication, received=received)
            size = len(publication.payload)
            self._received_bytes += size
            self._batch_bytes += size + _MESSAGE_OVERHEAD_BYTES
            if publication.number is not None:
                self._numbers.append(publication.number)
        self._received += len(publications)
        if not collector.messages:  # nothing that is kept, so nothing to wait for
            self._subscriber.acknowledge(self._numbers)
            self._numbers, self._batch_bytes = [], 0

    # --- the writer ---

    def _seconds_to_grow(self) -> float:
        """Return how long what is collected may wait for more; for good when there is nothing."""
        if not self._collector.messages:
            return math.inf
        now = time.monotonic()
        return seconds_to_grow(
            self._settings,
            messages=self._collector.messages,
            size=self._batch_bytes,
            age=now - self._began_at,
            quiet=now - self._last_received,
            is_writing=bool(self._held),
        )

    def _seal(self) -> None:
        """Make a batch of what is collected and send it to the writer."""
        if not self._collector.messages:
            return
        held = _Held(
            self._next_number,
            pack(self._collector.take()),
            self._oldest,
            self._subscriber.connections,
            self._numbers,
        )
        self._next_number += 1
        self._numbers, self._batch_bytes = [], 0
        self._held.append(held)
        self._held_bytes += len(held.batch)
        if self._link is not None:
            try:
                self._link.send(held.number, held.batch, oldest=held.oldest)
            except OSError as error:
                self._lose_writer(str(error))

    def _serve_writer(self, link: WriterLink, *, readable: bool, writable: bool) -> None:
        try:
            if writable:
                link.write()
            if readable:
                for number in link.committed():
                    self._release(number)
                self._writer_pauses.succeeded(time.monotonic())
        except OSError as error:
            self._lose_writer(str(error))

    def _release(self, number: int) -> None:
        """Acknowledge to the broker what is committed, in the order in which it came."""
        while self._held and self._held[0].number <= number:
            held = self._held.popleft()
            self._held_bytes -= len(held.batch)
            # A number means something on the connection that brought it, and maybe another message on the next.
            if held.connection == self._subscriber.connections and self._subscriber.accepted:
                self._subscriber.acknowledge(held.numbers)

    def _lose_writer(self, reason: str) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
        self._writer_pauses.failed(time.monotonic())
        self._note = Note("writer_away", f"the writer cannot be reached: {reason}")

    def _tell(self, now: float) -> None:
        self._status_due = now + _STATUS_SECONDS
        if self._link is not None and self._note is not None and self._note.code == "writer_away":
            self._note = None
        status = WorkerStatus(
            received=self._received,
            received_bytes=self._received_bytes,
            judged=self._interpreter.judged,
            refused=self._interpreter.refused,
            held=sum(len(held.numbers) for held in self._held) + len(self._numbers),
            held_bytes=self._held_bytes + self._batch_bytes,
            connected=self._subscriber.subscribed,
            note=self._note,
        )
        if not self._channel.send(status):
            self._stop()


def connect_to(path: str) -> socket.socket:
    """Connect to the writer.

    Raises:
        OSError: It cannot be reached.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection
