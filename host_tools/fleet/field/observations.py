"""What a device said, as the fleet needs it: one frozen type each. Pure: a topic and bytes go in, an observation or None comes out."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from device_agent.contract import topics
from device_agent.contract.errors import ContractError
from device_agent.contract.telemetry.codec import decode
from device_agent.contract.telemetry.event import Event
from device_agent.contract.telemetry.states import Birth, Health, Reported

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.contract.telemetry.message import Envelope, Scalar
    from device_agent.contract.telemetry.states import HealthStatus
    from device_agent.contract.topics import Topic
    from host_tools.fleet.records.jobs import JobResult, JobState

_FUTURE_SECONDS: Final = 86_400.0
_LATE_SECONDS: Final = 60.0
"""A message that is older than this when it comes has waited; one that is younger is of now, by whichever clock."""
_MOST_MEMORY: Final = (1 << 63) - 1
_UPDATE_STATES: Final[Mapping[str, tuple[JobState, JobResult]]] = MappingProxyType(
    {
        "update_started": ("download", "none"),
        "update_tried": ("downloaded", "none"),
        "update_activated": ("proceeding", "none"),
        "update_committed": ("closed", "success"),
        "update_rolled_back": ("closed", "failure"),
        "update_rejected": ("closed", "failure"),
    }
)
"""What an event of an update says of the job that it is part of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Base of all: a device said something.

    Attributes:
        device: Whose topic it came on; the broker's rules let nobody else write there.
        boot_id: The run of its agent.
        seq: The message's number in that run: (device, boot_id, seq) comes again when a message does.
        seen_seconds: Unix time at which the device lived, by our clock; by its own where the broker had kept the message, or speaks for it.
        said_seconds: Unix time at which it said so: of a message that has waited, by its own clock if a time service vouches for that; else
            by ours.
    """

    device: str
    boot_id: str
    seq: int
    seen_seconds: float
    said_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Born(Observation):
    """What the agent is.

    Attributes:
        artifact: Digest of what runs; None: nothing yet.
        target: Capability profile of that; None as above.
        engine: Engine and its version; empty: none runs.
        agent_version: The agent's.
        memory_bytes: Memory of the machine; None: not said.
    """

    artifact: str | None
    target: str | None
    engine: str
    agent_version: str
    memory_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthTold(Observation):
    """How the agent is; `down` is said by the broker when it has gone without a goodbye."""

    health: HealthStatus
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateTold(Observation):
    """What the device follows, and runs; see `contract.telemetry.states.Reported`.

    Attributes:
        artifact: Digest of what runs; None: nothing yet.
        group: Group that its configuration names; None: none.
        targets: Capability profiles, best first.
        desired_serial: Serial of the desired state that it last followed; 0: none.
        desired: Digest of what that wants of it; None: nothing.
        in_trial: Whether that is the trial's.
        on_probation: What runs has not proved itself.
        counter_floor: Releases below it need a signed permission.
    """

    artifact: str | None
    group: str | None
    targets: tuple[str, ...]
    desired_serial: int
    desired: str | None
    in_trial: bool
    on_probation: bool
    counter_floor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateTold(Observation):
    """How far an update is.

    Attributes:
        event: Which, of `contract.telemetry.event.UPDATE_EVENTS`.
        artifact: Digest of what ran when it was said.
        digest: Of the release that the update brings.
        serial: Of the desired state that asked for it: a later attempt has a later one.
        state: What the job is in by that.
        result: How it ended; `none` while it has not.
        reason: Why, in the device's words; empty on the way and at success.
        code: The same for programs, e.g. ``self_test``, ``latency``, ``withdrawn``.
    """

    event: str
    artifact: str | None
    digest: str
    serial: int
    state: JobState
    result: JobResult
    reason: str
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatePostponed(Observation):
    """It cannot ask for, or fetch, anything now, and tries again.

    Attributes:
        reason: In the device's words.
    """

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Crashed(Observation):
    """The agent ended by a fault, or could not go on.

    Attributes:
        artifact: Digest of what ran.
        reason: In the device's words.
    """

    artifact: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lives(Observation):
    """It said something that the fleet does not keep."""


Said: TypeAlias = Born | HealthTold | StateTold | UpdateTold | UpdatePostponed | Crashed | Lives


def observe(topic: str, payload: bytes, *, received_seconds: float, retained: bool, root: str) -> Said | None:
    """Read one message; None: it is none that a device sends to the fleet.

    Args:
        topic: The whole topic.
        payload: As it came.
        received_seconds: Unix time of its arrival.
        retained: The broker had kept it.
        root: Topic root.

    Raises:
        ContractError: It breaks a rule of the contract, or is not its topic's.
    """
    place = topics.parse(topic, root=root)
    if not payload:
        return None
    match place.category, place.name:
        case "status", "birth":
            birth = decode(Birth, payload, where=topic)
            return _born(birth, _base(place, birth.envelope, received_seconds, is_old=retained))
        case "status", "health":
            health = decode(Health, payload, where=topic)
            base = _base(place, health.envelope, received_seconds, is_old=retained or health.status == "down")
            return HealthTold(**base, health=health.status, reason=health.reason)  # type: ignore[arg-type]  # by name
        case "twin", "reported":
            told = decode(Reported, payload, where=topic)
            return _state(told, _base(place, told.envelope, received_seconds, is_old=retained))
        case "e", _:
            event = decode(Event, payload, where=topic)
            if (event.device, event.name) != (place.device, place.name):
                raise ContractError(
                    f"{topic}: expected event {place.name!r} of device {place.device!r}, got {event.name!r} of {event.device!r}."
                )
            return _event(event, _base(place, event.envelope, received_seconds, is_old=retained))
    return None


def _base(topic: Topic, envelope: Envelope, received: float, *, is_old: bool) -> dict[str, object]:
    """Return the fields that all observations have.

    Raises:
        ContractError: The message is dated after tomorrow, by a clock that calls itself synced.
    """
    if envelope.clock == "synced" and envelope.time > received + _FUTURE_SECONDS:
        raise ContractError(
            f"{topic.device}: dated {envelope.time - received:.0f} s after its receipt, by a clock that calls itself synced."
        )
    # An event may have waited in the device's spool; that it comes now shows that the device lives now.
    seen = min(envelope.time, received) if is_old else received
    has_waited = envelope.clock == "synced" and envelope.time < received - _LATE_SECONDS
    return {
        "device": topic.device,
        "boot_id": envelope.boot_id,
        "seq": envelope.seq,
        "seen_seconds": seen,
        "said_seconds": envelope.time if has_waited else received,
    }


def _born(birth: Birth, base: dict[str, object]) -> Born:
    return Born(
        **base,  # type: ignore[arg-type]  # by name
        artifact=birth.envelope.artifact,
        target=birth.target,
        engine=_storable(" ".join(part for part in (birth.engine, birth.engine_version) if part)),
        agent_version=_storable(birth.agent_version),
        memory_bytes=_memory(birth.host.get("memory_bytes")),
    )


def _state(told: Reported, base: dict[str, object]) -> StateTold:
    return StateTold(
        **base,  # type: ignore[arg-type]  # by name
        artifact=told.envelope.artifact,
        group=told.group,
        targets=told.targets,
        desired_serial=told.desired_serial,
        desired=told.desired,
        in_trial=told.in_trial,
        on_probation=told.on_probation,
        counter_floor=told.counter_floor,
    )


def _event(event: Event, base: dict[str, object]) -> Said:
    if event.name == "agent_failed":
        return Crashed(**base, artifact=event.envelope.artifact, reason=_storable(event.text))  # type: ignore[arg-type]  # by name
    if event.name == "update_postponed":
        return UpdatePostponed(**base, reason=_storable(event.text))  # type: ignore[arg-type]  # by name
    found = _UPDATE_STATES.get(event.name)
    if found is None:
        return Lives(**base)  # type: ignore[arg-type]  # by name
    state, result = found
    has_failed = result == "failure"
    return UpdateTold(
        **base,  # type: ignore[arg-type]  # by name
        event=event.name,
        artifact=event.envelope.artifact,
        digest=_text(event, "digest"),
        serial=_serial(event),
        state=state,
        result=result,
        reason=_storable(event.text) if has_failed else "",
        code=_text(event, "reason") if has_failed else "",
    )


def _memory(value: Scalar) -> int | None:
    """Return a size that every database can keep; what is none, or cannot be, was not said."""
    is_size = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_MEMORY
    return value if is_size else None  # type: ignore[return-value]  # an int, as was seen to


def _storable(text: str) -> str:
    """Return a text without NUL, which PostgreSQL keeps nowhere: one device must not stop the others."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _text(event: Event, key: str) -> str:
    value: Scalar = event.details.get(key)
    if not isinstance(value, str) or not value:
        raise ContractError(f"event {event.name}: details.{key}: expected a text, got {value!r}.")
    return value


def _serial(event: Event) -> int:
    value: Scalar = event.details.get("serial")
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ContractError(f"event {event.name}: details.serial: expected a number from 0, got {value!r}.")
    return value
