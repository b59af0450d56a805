"""`Listener`: hears all devices of a fleet and hands over what they said; acknowledges to the broker what was taken, and nothing else.

The session at the broker outlives the server: events that come while it is away wait there. What is retained (births, health, reported
states) is asked for anew at every start, so that a server that lost its database, or its session, knows the fleet a moment later.
"""

from __future__ import annotations

import logging
import random
import select
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import ContractError, StorageError, TransferError
from device_agent.contract.topics import DEFAULT_ROOT, checked_root, subscription
from host_tools.errors import OutputError, StoreError
from host_tools.fleet.field.observations import observe
from host_tools.review.broker_address import TlsFiles
from host_tools.review.ingest.pauses import Pauses
from host_tools.review.ingest.subscriber import (
    BrokerRefusedError,
    SessionTakenError,
    Subscriber,
    SubscriberSettings,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from threading import Event

    from host_tools.fleet.field.observations import Said
    from host_tools.review.broker_address import BrokerAddress
    from host_tools.review.ingest.subscriber import Publication

_LOG = logging.getLogger("edgewright.fleet")
_TURN_SECONDS: Final = 0.2
_RECEIVE_MAXIMUM: Final = 2_000
_LONGEST_PAUSE_SECONDS: Final = 5.0
_LOGGED_REFUSALS: Final = 20
_NOT_TAKEN: Final = (StoreError, OutputError, StorageError, OSError)
"""What the store raises when it cannot take something now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerSettings:
    """Whom to hear.

    Attributes:
        broker: Address.
        tls: Certificates.
        root: Topic root.
        name: Tells several servers at one broker apart: with it the session is found again.
    """

    broker: BrokerAddress
    tls: TlsFiles = field(default_factory=TlsFiles)
    root: str = DEFAULT_ROOT
    name: str = "fleet"

    def __post_init__(self) -> None:
        """Check the root.

        Raises:
            ContractError: It is none.
        """
        checked_root(self.root)


class Listener:
    """See the module's docstring. `run` is for one thread; the counters may be read from any.

    Args:
        settings: Whom to hear.
        take: Takes observations in the order in which they came, of one device and of many, and returns when they are safe. A message may
            come twice. What it raises of `StoreError`, `OutputError`, `StorageError` and `OSError` means: not taken, bring it again.
        wall_seconds: Unix time.

    Attributes:
        connected: Whether it hears.
        received: Messages since the start.
        refused: Of these, how many were not understood.
        note: What is wrong; empty when nothing is.
    """

    def __init__(
        self,
        settings: ListenerSettings,
        take: Callable[[Sequence[Said]], None],
        *,
        wall_seconds: Callable[[], float] = time.time,
    ) -> None:
        self._root = settings.root
        self._take = take
        self._wall_seconds = wall_seconds
        self._retained_filters = tuple(
            subscription(category, root=settings.root) for category in ("status", "twin")
        )
        self._subscriber = Subscriber(
            SubscriberSettings(
                address=settings.broker,
                tls=settings.tls,
                client_id=f"edgewright-fleet-{settings.name}",
                filters=(subscription("e", root=settings.root),),
                other_filters=(),
                receive_maximum=_RECEIVE_MAXIMUM,
            )
        )
        self._pauses = Pauses(random.random, longest_seconds=_LONGEST_PAUSE_SECONDS)
        self._was_accepted = self._asked_retained = False
        self.connected = False
        self.received = self.refused = 0
        self.note = ""

    def run(self, stop: Event) -> None:
        """Listen until told to stop.

        Raises:
            InputError: A TLS file cannot be used.
            BrokerRefusedError: The broker's first answer is a refusal, or another server has this session.
        """
        try:
            while not stop.is_set():
                self._turn(stop)
        finally:
            self.connected = False
            self._subscriber.close()

    def _turn(self, stop: Event) -> None:
        try:
            if self._subscriber.descriptor is None:
                if not self._pauses.is_over(time.monotonic()):
                    stop.wait(_TURN_SECONDS)
                    return
                self._asked_retained = False
                self._subscriber.connect()
            self._hear()
        except TransferError as error:
            self._lose(error)
        except _NOT_TAKEN as error:
            # Unacknowledged, it comes again over the next connection.
            self._lose(TransferError(f"what devices said cannot be stored, and waits at the broker: {error}"))

    def _hear(self) -> None:
        subscriber = self._subscriber
        descriptor = subscriber.descriptor
        if descriptor is None:
            return
        writing = [descriptor] if subscriber.wants_to_write else []
        timeout = 0.0 if subscriber.has_more else _TURN_SECONDS
        readable, _, _ = select.select([descriptor], writing, [], timeout)
        publications = subscriber.receive() if readable or subscriber.has_more else []
        subscriber.tick()
        if subscriber.accepted and not self._asked_retained:
            self._begin()
        if publications:
            self._hand_over(publications)

    def _begin(self) -> None:
        """Subscribe anew to what is retained: a session that was there already would get none of it."""
        self._was_accepted = self._asked_retained = True
        self._pauses.succeeded(time.monotonic())
        self.connected, self.note = True, ""
        if self._subscriber.session_present:
            self._subscriber.let_go(self._retained_filters)
        self._subscriber.take_retained(self._retained_filters)

    def _hand_over(self, publications: Sequence[Publication]) -> None:
        said = [one for one in map(self._read, publications) if one is not None]
        if said:
            self._take_all(said)
        self.received += len(publications)
        self._subscriber.acknowledge([one.number for one in publications if one.number is not None])

    def _take_all(self, said: Sequence[Said]) -> None:
        try:
            self._take(said)
        except _NOT_TAKEN:
            raise
        # One of them is at fault: the others are taken, and it does not come again.
        except Exception:  # noqa: BLE001
            for one in said:
                self._take_one(one)

    def _take_one(self, said: Said) -> None:
        try:
            self._take([said])
        except _NOT_TAKEN:
            raise
        except Exception as error:  # noqa: BLE001
            self._refuse(f"device {said.device}: cannot be taken: {type(error).__name__}: {error}")

    def _read(self, publication: Publication) -> Said | None:
        topic = publication.topic.decode("utf-8", "backslashreplace")
        try:
            return observe(
                topic,
                publication.payload,
                received_seconds=self._wall_seconds(),
                retained=publication.retained,
                root=self._root,
            )
        except ContractError as error:
            self._refuse(str(error))
        # Whatever a message does, it must not stop the others.
        except Exception as error:  # noqa: BLE001
            self._refuse(f"{topic[:200]!a}: cannot be read: {type(error).__name__}: {error}")
        return None

    def _refuse(self, reason: str) -> None:
        self.refused += 1
        if self.refused <= _LOGGED_REFUSALS:
            _LOG.warning("a message is left out: %s", ascii(reason[:500]))
        if self.refused == _LOGGED_REFUSALS:
            _LOG.warning("further messages that are left out are counted, and not logged")

    def _lose(self, error: TransferError) -> None:
        """Try again later, unless the first answer was a refusal, or another server has this session.

        Raises:
            TransferError: One of these.
        """
        self.connected = False
        refused = isinstance(error, BrokerRefusedError)
        if refused and (not self._was_accepted or isinstance(error, SessionTakenError)):
            raise error
        self._subscriber.close()
        if self.note != str(error):
            _LOG.warning("%s", error)
        self.note = str(error)
        self._pauses.failed(time.monotonic())
