"""`History`: what each device said, in order, without duplicates. Pure: deliveries in, records out.

Every text in it is harmless to show (`wire_text`): it is made so here, at the door.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from device_agent.contract import topics
from device_agent.contract.errors import ContractError
from device_agent.contract.model_names import MAIN_MODEL
from device_agent.contract.telemetry.bounds import MAX_MODELS
from device_agent.contract.telemetry.codec import decode
from device_agent.contract.telemetry.event import Event
from device_agent.contract.telemetry.measurements import (
    MEASUREMENTS,
    InferenceWindow,
    PowerSample,
    SystemSample,
    ThermalSample,
)
from device_agent.contract.telemetry.states import Birth, Health
from host_tools.review.boot_clock import BootClock
from host_tools.review.message_numbers import MessageNumbers
from host_tools.review.wire_text import harmless, harmless_message

if TYPE_CHECKING:
    from device_agent.contract.telemetry.measurements import Measurement
    from device_agent.contract.telemetry.message import Message
    from device_agent.contract.topics import Topic
    from host_tools.review.listener import Delivery

_KEPT_REFUSALS = 20
_FROM_DEVICES = ("m", "e", "a", "o", "status")
"""Categories that only the device itself publishes to."""
_BOOT_ID = re.compile(rb'"boot_id":"([A-Za-z0-9_-]{1,64})"')
_SEQ = re.compile(rb'"seq":([0-9]{1,16})\b')
_FAREWELL_SEQ = 0
_STALE_SECONDS = 60.0
_STALE_WINDOWS = 3.0


@dataclass(slots=True)
class DeviceHistory:
    """Everything one device said.

    Attributes:
        device: Device id.
        birth: Latest birth.
        health: Latest health.
        inference_of: Windows by time, of each model and each side of a split: ``main``, ``gate``, ``gate/b``. They are never
            put together: each counts its own totals.
        system: Samples by time.
        thermal: Samples by time.
        power: Samples by time.
        events: In order of arrival.
        first_heard: Unix time by this machine's clock of the first message, if only a retained one.
        last_heard: The same of the last message that was not retained; None when there was none.
        clocks: By boot id, what is known of the device's clock.
    """

    device: str
    birth: Birth | None = None
    health: Health | None = None
    inference_of: dict[str, list[InferenceWindow]] = field(default_factory=dict)
    system: list[SystemSample] = field(default_factory=list)
    thermal: list[ThermalSample] = field(default_factory=list)
    power: list[PowerSample] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    first_heard: float = math.inf
    last_heard: float | None = None
    clocks: dict[str, BootClock] = field(default_factory=dict)
    _numbers: dict[str, MessageNumbers] = field(default_factory=dict)

    def moment(self, message: Message) -> float:
        """Return the Unix time at which a message was made, corrected where the device's clock is wrong."""
        return self.clocks[message.envelope.boot_id].moment(message.envelope)

    @property
    def inference(self) -> list[InferenceWindow]:
        """Windows of the main model, by time: of its own side, where its frames are split."""
        return self.inference_of.get(MAIN_MODEL) or self.inference_of.get(f"{MAIN_MODEL}/a") or []

    @property
    def all_inference(self) -> list[InferenceWindow]:
        """Windows of all models, model by model."""
        return [window for series in self.series.values() for window in series]

    @property
    def series(self) -> dict[str, list[InferenceWindow]]:
        """`inference_of` with the main model first, the others by name."""
        names = sorted(self.inference_of, key=lambda name: (name.split("/")[0] != MAIN_MODEL, name))
        return {name: self.inference_of[name] for name in names}

    @property
    def missing_count(self) -> int:
        """Messages that were sent, to judge by the numbers before and after, and not heard."""
        return sum(numbers.missing for numbers in self._numbers.values())

    def silent_seconds(self, now: float) -> float | None:
        """Return how long the device has been silent; None while it need not have spoken, or after it said goodbye.

        Args:
            now: Unix time by the clock that receives. The device's own clock has no say in this.
        """
        if self.health is not None and self.health.status == "down":
            return None
        window = max((series[-1].window_seconds for series in self.inference_of.values()), default=0.0)
        silent = now - (self.first_heard if self.last_heard is None else self.last_heard)
        return silent if silent > max(_STALE_SECONDS, _STALE_WINDOWS * window) else None

    def _hear(self, message: Message, delivery: Delivery) -> bool:
        """Take note of time and number; return whether the message is new."""
        envelope = message.envelope
        self.clocks.setdefault(envelope.boot_id, BootClock()).hear(envelope, delivery.received)
        self.first_heard = min(self.first_heard, delivery.received)
        if delivery.retained or (isinstance(message, Health) and envelope.seq == _FAREWELL_SEQ):
            # What is retained says nothing of the numbers since, which are not sent again; the farewell's is the
            # first of the run, and comes last.
            return True
        is_state = isinstance(message, Birth | Health)  # the latest counts, sent twice or not
        return self._count(envelope.boot_id, envelope.seq) or is_state

    def _has_room(self, window: InferenceWindow) -> bool:
        """Say whether a window can be kept: names come from the wire, and must not fill the memory."""
        return _series_name(window) in self.inference_of or len(self.inference_of) < MAX_MODELS

    def _count(self, boot_id: str, seq: int) -> bool:
        return self._numbers.setdefault(boot_id, MessageNumbers()).add(seq)

    def _keep(self, message: Message) -> None:
        if isinstance(message, Birth):
            self.birth = message
        elif isinstance(message, Health):
            self.health = message
        elif isinstance(message, Event):
            self.events.append(message)
        elif isinstance(message, InferenceWindow):
            self.inference_of.setdefault(_series_name(message), []).append(message)
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

    def add(self, delivery: Delivery) -> DeviceHistory | None:
        """Take one delivery; return the device it changed, or None when it was a duplicate or not understood."""
        try:
            topic = topics.parse(delivery.topic, root=self._root)
            message = _message(topic, delivery)
        except ContractError as error:
            self._refuse(delivery, str(error))
            return None
        if message is None:
            self._note(topic, delivery)
            return None
        device = self.devices.setdefault(topic.device, DeviceHistory(device=topic.device))
        self._note(topic, delivery)
        if isinstance(message, InferenceWindow) and not device._has_room(message):  # noqa: SLF001 - as below
            self._refuse(
                delivery, f"a window of yet another model; at most {MAX_MODELS} of a device are kept"
            )
            return None
        if not device._hear(message, delivery):  # noqa: SLF001 - the two classes are one thing
            self.duplicate_count += 1
            return None
        device._keep(harmless_message(message, delivery.payload))  # noqa: SLF001
        if self._keep is not None:
            for records in (device.system, device.thermal, device.power, device.events):
                del records[: -self._keep]
            for series in device.inference_of.values():
                del series[: -self._keep]
        return device

    def _refuse(self, delivery: Delivery, reason: str) -> None:
        self.refused_count += 1
        if len(self.refused) < _KEPT_REFUSALS:
            self.refused.append((harmless(delivery.topic), harmless(reason)))

    def _note(self, topic: Topic, delivery: Delivery) -> None:
        """Note that a known device lives, and the number of what is not kept: it is not missing."""
        device = self.devices.get(topic.device)
        is_twin = (topic.category, topic.name) == ("twin", "reported")
        if device is None or delivery.retained or not (is_twin or topic.category in _FROM_DEVICES):
            return
        device.last_heard = delivery.received
        if is_twin or topic.category in ("a", "o"):
            boot_id, seq = _BOOT_ID.search(delivery.payload), _SEQ.search(delivery.payload)
            if boot_id and seq:
                device._count(boot_id[1].decode(), int(seq[1]))  # noqa: SLF001


def _series_name(window: InferenceWindow) -> str:
    """Return the name under which a window is kept; an agent with one model does not name it."""
    name = window.model or MAIN_MODEL
    return f"{name}/{window.variant}" if window.variant else name


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
