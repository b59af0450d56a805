"""`Directory`: the devices of a store, asked for every few seconds and not for every view."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from host_tools.errors import StoreError
from host_tools.review.wire_text import harmless

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host_tools.review.store.telemetry_store import Retention, TelemetryStore
    from host_tools.review.store.windows import Device

SILENT_SECONDS = 300.0
"""A device that was not heard for so long before the newest message of all is silent."""
_SHORT_DIGEST = 12
_OLDEST_SECONDS = 60.0
_MOST_READING = 10.0
_LOG = logging.getLogger("edgewright.review")


@dataclass(frozen=True, slots=True, kw_only=True)
class Roll:
    """The devices at one moment.

    Attributes:
        devices: By id.
        statuses: The status that counts, by id: ``silent`` for whoever was not heard, whatever it said last.
        newest: When the newest message came; 0.0 when there is none.
        names: Model and version of each artifact: of those that devices run now as most of them say, else as was told last.
        labels: The values of each label, sorted.
        kept: How long the store keeps what.
    """

    devices: Mapping[str, Device]
    statuses: Mapping[str, str]
    newest: float
    names: Mapping[str, str]
    labels: Mapping[str, tuple[str, ...]]
    kept: Retention

    def status(self, device: Device) -> str:
        """Return the status that counts."""
        return self.statuses[device.device]

    def name(self, artifact: str | None) -> str:
        """Return model, version and short digest of an artifact, as far as they are known."""
        if artifact is None:
            return "no artifact"
        digest = short_digest(artifact)
        return f"{self.names[artifact]} ({digest})" if artifact in self.names else digest


class Directory:
    """The devices of a store. Any number of threads may ask.

    What it answers is some seconds old: it is brought up to date beside the questions, and none waits for that but the first
    and those that come after a failure of a minute.
    """

    def __init__(self, store: TelemetryStore, *, keep_seconds: float = 3.0) -> None:
        self._store = store
        self._keep_seconds = keep_seconds
        self._lock = threading.Lock()
        self._refresh: threading.Thread | None = None
        self._read_at = -math.inf
        self._due = -math.inf
        self._roll: Roll | None = None

    def roll(self) -> Roll:
        """Return the devices.

        Raises:
            StoreError: The store cannot tell.
        """
        with self._lock:
            now = time.monotonic()
            if self._roll is None or now - self._read_at > _OLDEST_SECONDS:
                self._read()
            elif now >= self._due and (self._refresh is None or not self._refresh.is_alive()):
                self._refresh = threading.Thread(target=self._read_quietly, name="directory", daemon=True)
                self._refresh.start()
            assert self._roll is not None  # noqa: S101 - `_read` has set it, or raised
            return self._roll

    def _read(self) -> None:
        start = time.monotonic()
        roll = roll_of(self._store)
        self._roll, self._read_at = roll, time.monotonic()
        # Never more than a tenth of the time: questions have to be answered, too.
        self._due = self._read_at + max(self._keep_seconds, _MOST_READING * (self._read_at - start))

    def _read_quietly(self) -> None:
        try:
            self._read()
        except StoreError as error:
            _LOG.warning("devices: %s", error)


def roll_of(store: TelemetryStore) -> Roll:
    """Ask a store for its devices now."""
    devices = {device.device: device for device in store.devices()}
    heard = [device.last_received for device in devices.values() if math.isfinite(device.last_received)]
    newest = max(heard, default=0.0)
    told: dict[str, Counter[str]] = {}
    values: dict[str, set[str]] = {}
    for device in devices.values():
        labels = dict(device.labels)
        for key, value in device.labels:
            values.setdefault(key, set()).add(value)
        name = f"{labels.get('model_name', '')} {labels.get('model_version', '')}".strip()
        if device.artifact is not None and name:
            told.setdefault(device.artifact, Counter())[harmless(name)] += 1
    return Roll(
        devices=devices,
        statuses={name: _status(device, newest) for name, device in devices.items()},
        newest=newest,
        names={
            **{artifact: harmless(name) for artifact, name in store.model_names().items()},
            **{artifact: counted.most_common(1)[0][0] for artifact, counted in told.items()},
        },
        labels={key: tuple(sorted(known)) for key, known in sorted(values.items())},
        kept=store.retention(),
    )


def _status(device: Device, newest: float) -> str:
    if device.status == "down":
        return "down"
    if not device.last_received >= newest - SILENT_SECONDS:
        return "silent"
    return harmless(device.status) or "unknown"


def short_digest(artifact: str) -> str:
    """Return the first characters of a digest, as people say it."""
    return harmless(artifact.removeprefix("sha256:"))[:_SHORT_DIGEST]
