"""`IngestSettings`: everything that `edgewright ingest` can be told, and what its processes are told by it."""

from __future__ import annotations

from dataclasses import dataclass, field

from device_agent.contract.topics import Category, subscription
from host_tools.review.broker_address import BrokerAddress, TlsFiles  # noqa: TC001  read from JSON by its types
from host_tools.review.store.limits import Limits

SENT_CATEGORIES: tuple[Category, ...] = ("m", "e", "a", "o", "status", "cmd", "twin")
"""What devices send; ``cmd`` and ``twin`` because their states have numbers, too."""
RETAINED_CATEGORIES: tuple[Category, ...] = ("a", "status")
"""What is looked up when a session begins: a shared subscription brings nothing that is retained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSettings:
    """Where the page is served.

    Attributes:
        host: Address to listen at.
        port: Port.
        token: What a reader must show; None for none.
    """

    host: str
    port: int
    token: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSettings:
    """What copies of the store are made while it is written.

    Attributes:
        folder: Where.
        every_seconds: From one to the next.
        kept: How many stay there.
    """

    folder: str
    every_seconds: float
    kept: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings:
    """What to listen to, where to write, and how much at once.

    Attributes:
        broker: Address.
        tls: Certificates.
        root: Topic root.
        name: Tells several ingests of one broker apart; with the slot's number it is a worker's client id.
        store: Where the telemetry goes, as `open_store` takes it.
        workers: Processes that receive and decode.
        receive_maximum: So many messages a worker may have unacknowledged; 1 to 65535.
        batch_messages: A worker's batch is sent to the writer when it has so many,
        batch_seconds: or when its oldest is so old, and sooner by `batching.seconds_to_grow`.
        held_bytes: A worker stops reading when it holds so much, until half of it is committed.
        behind_seconds: So long it keeps the connection meanwhile: what is committed can be acknowledged there, and on no later
            one; a broker takes a connection for dead when nothing comes for longer.
        store_memory_bytes: What DuckDB may take; what does not fit it puts beside the file for a while.
        roll_up_seconds: Between two roll-ups.
        retain_seconds: Between two removals of what is older than it is to be kept.
        page: Where the process that writes the store serves the page, for no other may read a DuckDB file meanwhile; None:
            nowhere.
        limits: How much the store takes of what devices name and number.
        keep: Changes of how long the store keeps rows: fields of `Retention` by name.
        backup: Copies that are made meanwhile; None: none.
    """

    broker: BrokerAddress
    tls: TlsFiles
    root: str
    name: str
    store: str
    workers: int
    receive_maximum: int = 8192
    batch_messages: int = 2000
    batch_seconds: float = 0.8
    held_bytes: int = 64 << 20
    behind_seconds: float = 20.0
    store_memory_bytes: int = 2 << 30
    roll_up_seconds: float = 10.0
    retain_seconds: float = 3600.0
    page: PageSettings | None = None
    limits: Limits = field(default_factory=Limits)
    keep: dict[str, float | None] = field(default_factory=dict)
    backup: BackupSettings | None = None

    @property
    def filters(self) -> tuple[str, ...]:
        """Filters of a worker's subscription: shared, unless there is only one.

        Mosquitto (2.0) keeps plain subscriptions of a session over its own restart, and forgets shared ones.
        """
        return self._plain if self.workers == 1 else self._shared

    @property
    def other_filters(self) -> tuple[str, ...]:
        """Filters that a session may still have from an ingest with another number of workers."""
        return self._shared if self.workers == 1 else self._plain

    @property
    def retained_filters(self) -> tuple[str, ...]:
        """Filters of what is looked up when a session begins."""
        return tuple(subscription(category, root=self.root) for category in RETAINED_CATEGORIES)

    @property
    def _plain(self) -> tuple[str, ...]:
        return tuple(subscription(category, root=self.root) for category in SENT_CATEGORIES)

    @property
    def _shared(self) -> tuple[str, ...]:
        return tuple(f"$share/edgewright-{self.name}/{one}" for one in self._plain)

    def client_id(self, slot: int) -> str:
        """Return the client id of a worker: always the same, so that its session is found again."""
        return f"edgewright-{self.name}-{slot}"
