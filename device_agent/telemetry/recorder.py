"""`Recorder`: gives every message its envelope and its topic, writes it as JSON and puts it into the spool."""

from __future__ import annotations

import logging
import os
import platform
from typing import TYPE_CHECKING, Final

from device_agent import __version__
from device_agent.contract.telemetry import Birth, Event, Health
from device_agent.contract.telemetry_codec import encode
from device_agent.contract.units import encode_units, units_of
from device_agent.telemetry.mqtt import Will
from device_agent.telemetry.store import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.contract.telemetry import (
        Envelope,
        HealthStatus,
        Measurement,
        Result,
        Scalar,
        Severity,
    )
    from device_agent.contract.topics import DeviceTopics
    from device_agent.telemetry.spool import Spool
    from device_agent.telemetry.stamp import Stamper

_LOG = logging.getLogger("edgewright.agent")
_LEVELS: Final = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_LONGEST_TEXT: Final = 800
_LOST_REASON: Final = "the connection was lost without a goodbye"


class Recorder:
    """See the module's docstring.

    Number 0 of every run is its farewell: the last will that the broker holds and the goodbye that the agent says
    are one message, of which a run ends with one. So a reader that counts gaps in ``seq`` finds none that was not a
    loss.

    Args:
        spool: Where messages wait.
        stamper: Gives envelopes.
        topics: Of this device.
        payload_max_bytes: Larger messages are dropped, logged and, once a topic, told by an event.
    """

    def __init__(
        self, *, spool: Spool, stamper: Stamper, topics: DeviceTopics, payload_max_bytes: int
    ) -> None:
        self._spool = spool
        self._stamper = stamper
        self._topics = topics
        self._payload_max_bytes = payload_max_bytes
        self._farewell_seq = stamper.next().seq
        self._units: dict[str, bytes] = {}
        self._too_large: set[str] = set()

    def next_envelope(self) -> Envelope:
        """Return the envelope of a measurement or result that will be recorded."""
        return self._stamper.next()

    def local_envelope(self) -> Envelope:
        """Return an envelope for a message that stays on this machine: it takes no number of those that are sent."""
        return self._stamper.again(self._farewell_seq)

    def will(self) -> Will:
        """Return the last will as of now."""
        envelope = self._stamper.again(self._farewell_seq)
        health = Health(envelope=envelope, status="down", pid=os.getpid(), reason=_LOST_REASON)
        return Will(topic=self._topics.health(), payload=encode(health))

    def health(self, status: HealthStatus, reason: str) -> None:
        """Record the health; `down` is the goodbye."""
        is_farewell = status == "down"
        envelope = self._stamper.again(self._farewell_seq) if is_farewell else self._stamper.next()
        _LOG.info("health: %s%s", status, f": {reason}" if reason else "")
        health = Health(envelope=envelope, status=status, pid=os.getpid(), reason=reason[:_LONGEST_TEXT])
        self._append(Kind.STATE, self._topics.health(), encode(health), retain=True)

    def birth(
        self,
        *,
        engine: tuple[str, str] | None,
        model: tuple[str, str, str] | None,
        host: Mapping[str, Scalar],
    ) -> None:
        """Record the birth message and the units.

        Args:
            engine: Name and version of the engine.
            model: The model's name and version, and its target.
            host: Facts of the machine.
        """
        birth = Birth(
            envelope=self._stamper.next(),
            agent_version=__version__,
            python_version=platform.python_version(),
            engine=engine[0] if engine else None,
            engine_version=engine[1] if engine else None,
            model_name=model[0] if model else None,
            model_version=model[1] if model else None,
            target=model[2] if model else None,
            host=host,
        )
        self._append(Kind.STATE, self._topics.birth(), encode(birth), retain=True)
        for kind, units in self._units.items():
            self._append(Kind.STATE, self._topics.units(kind), units, retain=True)

    def event(
        self, name: str, severity: Severity, text: str, details: Mapping[str, Scalar] | None = None
    ) -> None:
        """Log an event, record it, and write it down at once: what is worth an event is worth a write."""
        _LOG.log(_LEVELS[severity], "%s: %s", name, text)
        event = Event(
            envelope=self._stamper.next(),
            device=self._topics.device,
            name=name,
            severity=severity,
            text=text[:_LONGEST_TEXT] or name,
            details=details or {},
        )
        self._append(Kind.EVENT, self._topics.event(name), encode(event))
        self._spool.commit()

    def measurement(self, message: Measurement) -> None:
        """Record a measurement, and its units whenever they are not those of the one before."""
        units = encode_units(units_of(message))
        if self._units.get(message.TYPE) != units:
            self._units[message.TYPE] = units
            self._append(Kind.STATE, self._topics.units(message.TYPE), units, retain=True)
        self._append(Kind.MEASUREMENT, self._topics.measurement(message.TYPE), encode(message))

    def result(self, result: Result) -> None:
        """Record a result."""
        self._append(Kind.RESULT, self._topics.results(), encode(result))

    def loss(self) -> None:
        """If messages were dropped and no event has told of it yet, record one that does."""
        loss = self._spool.unreported_loss
        if not loss.total:
            return
        self.event(
            "telemetry_lost",
            "warning",
            f"The spool was full: {loss.measurements} measurements, {loss.results} results and {loss.events} events "
            "were dropped.",
            {"measurements": loss.measurements, "results": loss.results, "events": loss.events},
        )
        self._spool.loss_reported(loss)
        self._spool.commit()

    def _append(self, kind: Kind, topic: str, payload: bytes, *, retain: bool = False) -> None:
        if len(payload) <= self._payload_max_bytes:
            self._spool.append(kind, topic, payload, retain=retain)
            return
        _LOG.error("%s: %d bytes are above mqtt.payload_max_bytes; dropped", topic, len(payload))
        if topic not in self._too_large:
            self._too_large.add(topic)
            self.event(
                "message_too_large",
                "error",
                f"Messages of {topic} are dropped: {len(payload)} bytes are above mqtt.payload_max_bytes, "
                f"{self._payload_max_bytes}.",
                {"topic": topic, "bytes": len(payload)},
            )
