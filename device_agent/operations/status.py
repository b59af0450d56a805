"""`StatusBoard`: what the agent says of itself, to `edgewright-agent status` and to the command `snapshot`."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from device_agent import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from device_agent.contract.telemetry.message import Scalar
    from device_agent.contract.telemetry.states import HealthStatus
    from device_agent.inference import Window

_SNAPSHOT_BYTES: Final = 3_000
"""Within the smallest ``mqtt.payload_max_bytes``, envelope included: a command's end must never be too large to be sent."""
_SNAPSHOT_TEXT: Final = 160
_SNAPSHOT_TROUBLES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What is asked for when somebody asks; everything else the board was told before.

    Attributes:
        now_seconds: Monotonic time.
        uptime_seconds: Since the agent started.
        phase: Of `core.Core`.
        boot_id: Id of this run.
        model: Name, version and target of the artifact; None before it was verified.
        artifact: Its digest.
        engine: Name and version of the engine; None before it was loaded.
        dropped_frames: Frames that came and were not inferred.
        spool: ``messages``, ``bytes``, ``dropped_total``, ``on_disk``, ``stranded_messages``.
        commands_waiting: Commands taken on and not ended.
        troubles: Last warnings and errors of the log, oldest first.
        log_level: The least that is logged.
        models: What the models beside the main one are and do, by their names; empty where there are none.
    """

    now_seconds: float
    uptime_seconds: float
    phase: str
    boot_id: str
    model: tuple[str, str, str] | None
    artifact: str | None
    engine: tuple[str, str] | None
    dropped_frames: int
    spool: Mapping[str, Scalar]
    commands_waiting: int
    troubles: Sequence[Mapping[str, object]]
    log_level: str
    models: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


class StatusBoard:
    """Remembers the last health, the last change of the link and the last window.

    Args:
        device: Device id.
        broker: ``host:port``; empty when none is used.
        now_seconds: Monotonic time.
    """

    def __init__(self, *, device: str, broker: str, now_seconds: float) -> None:
        self._device = device
        self._broker = broker
        self._health: tuple[str, str] = ("degraded", "starting")
        self._connected = False
        self._link_reason = "" if broker else "mqtt.enabled is false"
        self._link_since_seconds = now_seconds
        self._window: dict[str, Scalar] = {"inferences_total": 0, "errors_total": 0, "last_error": ""}

    def health(self, status: HealthStatus, reason: str) -> None:
        """The agent's health is this now."""
        self._health = (status, reason)

    def link(self, *, connected: bool, reason: str, now_seconds: float) -> None:
        """The broker's link is so now; an attempt that failed again changes the reason, not since when."""
        if connected != self._connected:
            self._link_since_seconds = now_seconds
        self._connected, self._link_reason = connected, reason

    def window(self, window: Window, *, seconds: float) -> None:
        """A window was closed; its latencies are read now, for they are the next one's memory."""
        latencies = window.latencies
        self._window = {
            "inferences_total": window.inferences_total,
            "errors_total": window.errors_total,
            "last_error": window.last_error,
            "window_seconds": round(seconds, 3),
            "window_inferences": latencies.count,
            "latency_p50_seconds": latencies.quantile_seconds(0.5),
            "latency_p95_seconds": latencies.quantile_seconds(0.95),
        }

    def document(self, moment: Moment) -> dict[str, object]:
        """Return everything, for ``status --json``."""
        model, engine = moment.model, moment.engine
        return {
            "agent": {
                "device": self._device,
                "version": __version__,
                "pid": os.getpid(),
                "boot_id": moment.boot_id,
                "uptime_seconds": round(moment.uptime_seconds, 3),
                "phase": moment.phase,
                "log_level": moment.log_level,
            },
            "health": {"status": self._health[0], "reason": self._health[1]},
            "model": {
                "name": model[0] if model else None,
                "version": model[1] if model else None,
                "target": model[2] if model else None,
                "artifact": moment.artifact,
                "engine": engine[0] if engine else None,
                "engine_version": engine[1] if engine else None,
            },
            "inference": {**self._window, "dropped_frames_total": moment.dropped_frames},
            **({"models": {name: dict(one) for name, one in moment.models.items()}} if moment.models else {}),
            "broker": {
                "address": self._broker or None,
                "connected": self._connected,
                "since_seconds": round(moment.now_seconds - self._link_since_seconds, 3),
                "reason": self._link_reason,
            },
            "spool": dict(moment.spool),
            "commands": {"waiting": moment.commands_waiting},
            "troubles": list(moment.troubles),
        }


def flattened(document: Mapping[str, object]) -> dict[str, Scalar]:
    """Return a status as the flat result of a command: the last troubles only, texts cut, within a small message's size."""
    flat: dict[str, Scalar] = {}
    for section, found in document.items():
        if isinstance(found, dict):
            flat |= {f"{section}_{name}": _cut(_said(value)) for name, value in found.items()}
        elif isinstance(found, list):
            for number, trouble in enumerate(reversed(found[-_SNAPSHOT_TROUBLES:])):
                flat[f"trouble_{number}"] = _cut(f"{trouble['level']}: {trouble['text']}")
    while len(json.dumps(flat, ensure_ascii=False).encode("utf-8", "backslashreplace")) > _SNAPSHOT_BYTES:
        flat.popitem()
    return flat


def _said(value: Any) -> Scalar:
    """Return what is known of one of several models as one text."""
    if not isinstance(value, dict):
        scalar: Scalar = value
        return scalar
    trouble = f": {value['trouble']}" if value["trouble"] else ""
    return f"{value['state']}, {value['inferences_total']} done, {value['errors_total']} failed{trouble}"


def _cut(value: Scalar) -> Scalar:
    return value[:_SNAPSHOT_TEXT] if isinstance(value, str) else value
