"""`Directory`: the devices of a store, asked for every few seconds and not for every view."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from host_tools.review.wire_text import harmless

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host_tools.review.store.telemetry_store import TelemetryStore
    from host_tools.review.store.windows import Device

SILENT_SECONDS = 300.0
"""A device that was not heard for so long before the newest message of all is silent."""
_SHORT_DIGEST = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Roll:
    """The devices at one moment.

    Attributes:
        devices: By id.
        newest: When the newest message came; 0.0 when there is none.
        names: Model and version of each artifact that devices run now, as most of them say.
    """

    devices: Mapping[str, Device]
    newest: float
    names: Mapping[str, str]

    def status(self, device: Device) -> str:
        """Return the status that counts: ``silent`` for whoever was not heard, whatever it said last."""
        if device.status == "down":
            return "down"
        if not device.last_received >= self.newest - SILENT_SECONDS:
            return "silent"
        return harmless(device.status) or "unknown"

    def name(self, artifact: str | None) -> str:
        """Return model, version and short digest of an artifact, as far as they are known."""
        if artifact is None:
            return "no artifact"
        digest = short_digest(artifact)
        return f"{self.names[artifact]} ({digest})" if artifact in self.names else digest


class Directory:
    """The devices of a store; what it answers is at most ``keep_seconds`` old. Any number of threads may ask."""

    def __init__(self, store: TelemetryStore, *, keep_seconds: float = 3.0) -> None:
        self._store = store
        self._keep_seconds = keep_seconds
        self._lock = threading.Lock()
        self._read_at = -math.inf
        self._roll = Roll(devices={}, newest=0.0, names={})

    def roll(self) -> Roll:
        """Return the devices.

        Raises:
            StoreError: The store cannot tell.
        """
        with self._lock:
            if time.monotonic() - self._read_at > self._keep_seconds:
                self._roll = roll_of(self._store)
                self._read_at = time.monotonic()
            return self._roll


def roll_of(store: TelemetryStore) -> Roll:
    """Ask a store for its devices now."""
    devices = {device.device: device for device in store.devices()}
    heard = [device.last_received for device in devices.values() if math.isfinite(device.last_received)]
    told: dict[str, Counter[str]] = {}
    for device in devices.values():
        labels = dict(device.labels)
        name = f"{labels.get('model_name', '')} {labels.get('model_version', '')}".strip()
        if device.artifact is not None and name:
            told.setdefault(device.artifact, Counter())[harmless(name)] += 1
    names = {artifact: counted.most_common(1)[0][0] for artifact, counted in told.items()}
    return Roll(devices=devices, newest=max(heard, default=0.0), names=names)


def short_digest(artifact: str) -> str:
    """Return the first characters of a digest, as people say it."""
    return harmless(artifact.removeprefix("sha256:"))[:_SHORT_DIGEST]
