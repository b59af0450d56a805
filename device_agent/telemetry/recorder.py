"""`Recorder`: gives every message its envelope and its topic, writes it as JSON and puts it into the spool."""

from __future__ import annotations

import logging
import os
import platform
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from device_agent import __version__
from device_agent.contract.document import printable
from device_agent.contract.errors import ContractError
from device_agent.contract.telemetry.codec import encode
from device_agent.contract.telemetry.event import Event
from device_agent.contract.telemetry.states import Birth, CommandState, Health, Reported
from device_agent.contract.telemetry.units import encode_units, units_of
from device_agent.telemetry.link import Will
from device_agent.telemetry.store import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from device_agent.contract.telemetry.measurements import Measurement
    from device_agent.contract.telemetry.message import Envelope, Message, Scalar, Severity
    from device_agent.contract.telemetry.states import CommandStatus, HealthStatus, RunningModel
    from device_agent.contract.topics import DeviceTopics
    from device_agent.telemetry.spool import Spool
    from device_agent.telemetry.stamp import Stamper
    from device_agent.update.report import Following

_LOG = logging.getLogger("edgewright.agent")
_LEVELS: Final = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_LONGEST_TEXT: Final = 800
_LOST_REASON: Final = "the connection was lost without a goodbye"
_LOSS_EVENTS: Final = frozenset(
    {"message_refused", "message_too_large", "message_unusable", "telemetry_lost"}
)
"""Events that tell of lost messages. If one of them is lost itself that is counted and not told, or it would never end."""


class Recorder:
    """See the module's docstring.

    Number 0 of every run is its farewell: the last will that the broker holds and the goodbye that the agent says
    are one message, of which a run ends with one. A state that replaces one which nobody can have seen takes over its
    number. So a reader that counts gaps in ``seq`` finds none that was not a loss, but for a state that was on its way
    when a connection broke, and for those of a run that ended before the broker had them.

    Args:
        spool: Where messages wait.
        stamper: Gives envelopes.
        topics: Of this device.
        payload_max_bytes: Larger messages are dropped, logged, counted and, once a topic, told by an event.
        local_stamper: Numbers what stays on this machine: under a ``boot_id`` of its own, for a number that is given to
            a file would be missing at the broker.
    """

    def __init__(
        self,
        *,
        spool: Spool,
        stamper: Stamper,
        topics: DeviceTopics,
        payload_max_bytes: int,
        local_stamper: Stamper,
    ) -> None:
        self._spool = spool
        self._stamper = stamper
        self._local_stamper = local_stamper
        self._topics = topics
        self._payload_max_bytes = payload_max_bytes
        self._farewell_seq = stamper.next().seq
        self._state_seqs: dict[str, int] = {}
        self._units: dict[str, bytes] = {}
        self._told_of_topics: set[str] = set()
        self._loss_topics = frozenset(topics.event(name) for name in _LOSS_EVENTS)

    def next_envelope(self, artifact: str | None = None) -> Envelope:
        """Return the envelope of a measurement or result that will be recorded.

        Args:
            artifact: Digest of what it is about; None: of the main model.
        """
        return _about(self._stamper.next(), artifact)

    def local_envelope(self, artifact: str | None = None) -> Envelope:
        """Return an envelope for a message that stays on this machine: it takes no number of those that are sent."""
        self._local_stamper.artifact = self._stamper.artifact
        return _about(self._local_stamper.next(), artifact)

    def will(self) -> Will:
        """Return the last will as of now."""
        envelope = self._stamper.again(self._farewell_seq)
        health = Health(envelope=envelope, status="down", pid=os.getpid(), reason=_LOST_REASON)
        return Will(topic=self._topics.health(), payload=encode(health))

    def health(self, status: HealthStatus, reason: str) -> None:
        """Record the health; `down` is the goodbye."""
        topic = self._topics.health()
        is_farewell = status == "down"
        envelope = self._stamper.again(self._farewell_seq) if is_farewell else self._state_envelope(topic)
        _LOG.info("health: %s%s", status, f": {reason}" if reason else "")
        health = Health(envelope=envelope, status=status, pid=os.getpid(), reason=_text(reason))
        self._record(Kind.STATE, topic, health, retain=True)

    def birth(
        self,
        *,
        engine: tuple[str, str] | None,
        model: tuple[str, str, str] | None,
        host: Mapping[str, Scalar],
        models: Sequence[RunningModel] = (),
    ) -> None:
        """Record the birth message and the units.

        Args:
            engine: Name and version of the engine.
            model: The model's name and version, and its target.
            host: Facts of the machine.
            models: Every model and side of a split, where there is more than one.
        """
        topic = self._topics.birth()
        birth = Birth(
            envelope=self._state_envelope(topic),
            agent_version=__version__,
            python_version=platform.python_version(),
            engine=engine[0] if engine else None,
            engine_version=engine[1] if engine else None,
            model_name=model[0] if model else None,
            model_version=model[1] if model else None,
            target=model[2] if model else None,
            host=host,
            models=tuple(models),
        )
        self._record(Kind.STATE, topic, birth, retain=True)
        for kind, units in self._units.items():
            self._append(Kind.STATE, self._topics.units(kind), units, retain=True)

    def reported(self, following: Following) -> None:
        """Record what the device follows, in place of what it said of it before."""
        topic = self._topics.reported()
        reported = Reported(
            envelope=self._state_envelope(topic),
            group=following.group,
            targets=following.targets,
            desired_serial=following.desired_serial,
            desired=following.desired,
            in_trial=following.in_trial,
            on_probation=following.on_probation,
            counter_floor=following.counter_floor,
        )
        self._record(Kind.STATE, topic, reported, retain=True)

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
            text=_text(text) or name,
            details={
                key: _text(value) if isinstance(value, str) else value
                for key, value in (details or {}).items()
            },
        )
        self._record(Kind.EVENT, self._topics.event(name), event)
        self._spool.commit()

    def command(
        self,
        operation: str,
        command_id: str,
        *,
        status: CommandStatus,
        code: str,
        reason: str,
        result: Mapping[str, Scalar],
    ) -> bool:
        """Record how far a command is, in place of what its topic says, and write it down at once.

        Returns:
            Whether it is safe on disk.
        """
        topic = self._topics.command(operation, command_id)
        state = CommandState(
            envelope=self._state_envelope(topic),
            status=status,
            code=code,
            reason=_text(reason),
            result={key: _text(value) if isinstance(value, str) else value for key, value in result.items()},
        )
        self._record(Kind.STATE, topic, state, retain=True)
        if status != "executing":
            del self._state_seqs[topic]  # commands are without number, and nothing follows an end
        self._spool.commit()
        return self._spool.on_disk

    def measurement(self, message: Measurement) -> None:
        """Record a measurement, and its units whenever they are not those of the one before."""
        units = encode_units(units_of(message))
        if self._units.get(message.TYPE) != units:
            self._units[message.TYPE] = units
            self._append(Kind.STATE, self._topics.units(message.TYPE), units, retain=True)
        self._record(Kind.MEASUREMENT, self._topics.measurement(message.TYPE), message)

    def result(self, encoded: bytes) -> None:
        """Record a `Result` that is JSON already, because it may go to a file as well."""
        self._append(Kind.RESULT, self._topics.results(), encoded)

    def tells_of_loss(self, topic: str) -> bool:
        """Whether messages of ``topic`` tell of messages that were lost."""
        return topic in self._loss_topics

    def count_refused(self, kind: Kind) -> None:
        """Count a message that the broker threw away; `Refusals` tells of it."""
        self._spool.count_loss(kind, tell=False)

    def loss(self) -> None:
        """If messages were lost and no event has told of it yet, record one that does."""
        loss = self._spool.unreported_loss
        if not loss.total:
            return
        self.event(
            "telemetry_lost",
            "warning",
            f"{loss.measurements} measurements, {loss.results} results and {loss.events} events were lost: the spool was "
            "full, or they were too large.",
            {"measurements": loss.measurements, "results": loss.results, "events": loss.events},
        )
        self._spool.loss_reported(loss)
        self._spool.commit()

    def _state_envelope(self, topic: str) -> Envelope:
        seq = self._state_seqs.get(topic)
        if seq is not None and self._spool.holds_unsent_state(topic):
            return self._stamper.again(seq)
        envelope = self._stamper.next()
        self._state_seqs[topic] = envelope.seq
        return envelope

    def _record(self, kind: Kind, topic: str, message: Message, *, retain: bool = False) -> None:
        try:
            payload = encode(message)
        except ContractError as error:  # a fault of ours; it costs one message and not the agent
            self._lose(kind, topic, "message_unusable", f"A message of {topic} cannot be sent: {error}")
        else:
            self._append(kind, topic, payload, retain=retain)

    def _append(self, kind: Kind, topic: str, payload: bytes, *, retain: bool = False) -> None:
        if len(payload) <= self._payload_max_bytes:
            self._spool.append(kind, topic, payload, retain=retain)
            return
        self._lose(
            kind,
            topic,
            "message_too_large",
            f"Messages of {topic} are dropped: {len(payload)} bytes are above mqtt.payload_max_bytes, "
            f"{self._payload_max_bytes}.",
        )

    def _lose(self, kind: Kind, topic: str, event: str, text: str) -> None:
        """Count a message that cannot be sent, and tell of it once a topic."""
        self._spool.count_loss(kind, tell=not self.tells_of_loss(topic))
        if topic in self._told_of_topics:
            _LOG.error("%s: %s", event, text)
            return
        self._told_of_topics.add(topic)
        self.event(event, "error", text, {"topic": topic})


def _about(envelope: Envelope, artifact: str | None) -> Envelope:
    return envelope if artifact is None else replace(envelope, artifact=artifact)


def _text(text: str) -> str:
    return printable(text)[:_LONGEST_TEXT]
