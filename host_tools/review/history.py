"""`History`: what each device said, in order, without duplicates. Pure: deliveries in, records out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from device_agent.contract import topics
from device_agent.contract.errors import ContractError
from device_agent.contract.telemetry import (
    MEASUREMENTS,
    Birth,
    Event,
    Health,
    InferenceWindow,
    PowerSample,
    SystemSample,
    ThermalSample,
)
from device_agent.contract.telemetry_codec import decode

if TYPE_CHECKING:
    from device_agent.contract.telemetry import Measurement, Message
    from device_agent.contract.topics import Topic
    from host_tools.review.listener import Delivery

_KEPT_REFUSALS = 20


@dataclass(slots=True)
class DeviceHistory:
    """Everything one device said.

    Attributes:
        device: Device id.
        birth: Latest birth.
        health: Latest health.
        inference: Windows by time.
        system: Samples by time.
        thermal: Samples by time.
        power: Samples by time.
        events: In order of arrival.
    """

    device: str
    birth: Birth | None = None
    health: Health | None = None
    inference: list[InferenceWindow] = field(default_factory=list)
    system: list[SystemSample] = field(default_factory=list)
    thermal: list[ThermalSample] = field(default_factory=list)
    power: list[PowerSample] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def _keep(self, message: Message) -> None:
        if isinstance(message, Birth):
            self.birth = message
        elif isinstance(message, Health):
            self.health = message
        elif isinstance(message, Event):
            self.events.append(message)
        elif isinstance(message, InferenceWindow):
            self.inference.append(message)
        elif isinstance(message, SystemSample):
            self.system.append(message)
        elif isinstance(message, ThermalSample):
            self.thermal.append(message)
        elif isinstance(message, PowerSample):
            self.power.append(message)


class History:
    """Takes deliveries of any devices.

    Attributes:
        devices: By device id, in order of first message.
        duplicate_count: Messages that came a second time and were left out.
        refused: The first messages that were not understood: topic and reason.
        refused_count: How many there were.
    """

    def __init__(self, *, root: str = topics.DEFAULT_ROOT, keep: int | None = None) -> None:
        """Make an empty history; ``keep`` bounds the measurements per device and type (None: all)."""
        self.devices: dict[str, DeviceHistory] = {}
        self.duplicate_count = 0
        self.refused: list[tuple[str, str]] = []
        self.refused_count = 0
        self._root = root
        self._keep = keep
        self._seen: dict[tuple[str, str], set[int]] = {}

    def add(self, delivery: Delivery) -> DeviceHistory | None:
        """Take one delivery; return the device it changed, or None when it was a duplicate or not understood."""
        try:
            topic = topics.parse(delivery.topic, root=self._root)
            message = _message(topic, delivery)
        except ContractError as error:
            self.refused_count += 1
            if len(self.refused) < _KEPT_REFUSALS:
                self.refused.append((delivery.topic, str(error)))
            return None
        if message is None:
            return None
        if self._is_duplicate(topic.device, message):
            self.duplicate_count += 1
            return None
        device = self.devices.setdefault(topic.device, DeviceHistory(device=topic.device))
        device._keep(message)  # noqa: SLF001 - the two classes are one thing
        if self._keep is not None:
            for records in (device.inference, device.system, device.thermal, device.power, device.events):
                del records[: -self._keep]
        return device

    def _is_duplicate(self, device: str, message: Message) -> bool:
        """By (device, boot_id, seq); a last will repeats an old number and is not one."""
        if isinstance(message, Health):
            return False
        seen = self._seen.setdefault((device, message.envelope.boot_id), set())
        if message.envelope.seq in seen:
            return True
        seen.add(message.envelope.seq)
        return False


def _message(topic: Topic, delivery: Delivery) -> Message | None:
    """Decode what a topic carries; None for channels that a history does not keep (units, results, commands, cleared alarms).

    Raises:
        ContractError: The payload is not what the topic promises.
    """
    kind: type[Measurement | Birth | Health | Event] | None = None
    if topic.category == "m" and not topic.detail:
        kind = MEASUREMENTS.get(topic.name)
    elif topic.category == "status":
        kind = Health if topic.name == "health" else Birth
    elif topic.category == "e":
        kind = Event
    return None if kind is None else decode(kind, delivery.payload, where=delivery.topic)
