"""MQTT topics: build and parse, pure. thin-edge.io's grammar under a root of its own.

A topic is root, entity and channel::

    ew/v1 / device / <id> / <kind> / <service> / <category> / <name> [ / <detail> ]

``<kind>/<service>`` is empty (two empty segments) for the device itself and ``service/agent`` for the agent,
so the category always stands in the same place and one subscription, such as ``ew/v1/device/+/+/+/m/+``,
catches every device. Categories:

    m/<type>             measurement, flat JSON (`telemetry.measurements.MEASUREMENTS`)
    m/<type>/meta        its units; retained
    e/<event>            event, CloudEvents JSON
    a/<alarm>            alarm; retained, cleared by an empty payload
    o/<name>             output: results of inference (`telemetry.result.Result`)
    i/<name>             input: a frame for the agent: raw ``.npy``, image bytes or a text
    twin/desired         what the device should be; retained
    twin/reported        what it is; retained
    cmd/<op>/<cmd_id>    a command's state; retained
    status/health        the agent's health and last will; retained; service agent only
    status/birth         what the agent is; retained; service agent only

Source: thin-edge.io, "MQTT API" and "MQTT topic design": https://thin-edge.github.io/thin-edge.io/references/mqtt-api/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from device_agent.contract.errors import ContractError

Category = Literal["m", "e", "a", "o", "i", "twin", "cmd", "status"]

DEFAULT_ROOT = "ew/v1"
AGENT_SERVICE = "agent"

_CATEGORIES: tuple[Category, ...] = get_args(Category)
_ROOT = re.compile(r"[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64}){0,3}")
_DEVICE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_COMMAND_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FIXED_NAMES = {"twin": ("desired", "reported"), "status": ("health", "birth")}
_ENTITY_SEGMENTS = 4
_LONGEST = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic without its root.

    Attributes:
        device: Device id.
        service: ``agent`` for `status`, empty for everything else.
        category: What kind of channel.
        name: Measurement type, event, alarm, operation, …
        detail: ``meta`` for units, the command id for commands, else empty.
    """

    device: str
    category: Category
    name: str
    detail: str = ""
    service: str = ""

    def __post_init__(self) -> None:
        """Check every part.

        Raises:
            ContractError: A part is not in the grammar.
        """
        checked_device_id(self.device)
        expected_service = AGENT_SERVICE if self.category == "status" else ""
        if self.service != expected_service:
            raise ContractError(
                f"topic {self.category}: expected service {expected_service!r}, got {self.service!r}."
            )
        fixed = _FIXED_NAMES.get(self.category)
        if fixed is not None and self.name not in fixed:
            raise ContractError(
                f"topic {self.category}: expected one of {', '.join(fixed)}, got {self.name!r}."
            )
        if not _NAME.fullmatch(self.name):
            raise ContractError(
                f"topic {self.category}: expected a name like {_NAME.pattern}, got {self.name!r}."
            )
        if self.category == "cmd":
            if not _COMMAND_ID.fullmatch(self.detail):
                raise ContractError(
                    f"topic cmd: expected an id like {_COMMAND_ID.pattern}, got {self.detail!r}."
                )
        elif self.detail not in (("", "meta") if self.category == "m" else ("",)):
            raise ContractError(
                f"topic {self.category}/{self.name}: unexpected last segment {self.detail!r}."
            )


def build(topic: Topic, *, root: str = DEFAULT_ROOT) -> str:
    """Write a topic.

    Raises:
        ContractError: ``root`` is not a root.
    """
    entity = f"device/{topic.device}/service/{topic.service}" if topic.service else f"device/{topic.device}//"
    channel = f"{topic.category}/{topic.name}"
    return f"{checked_root(root)}/{entity}/{channel}" + (f"/{topic.detail}" if topic.detail else "")


def parse(text: str, *, root: str = DEFAULT_ROOT) -> Topic:
    """Read a topic; `build` of the result is ``text`` again.

    Raises:
        ContractError: It is not below ``root`` or not in the grammar.
    """
    prefix = checked_root(root) + "/"
    if len(text) > _LONGEST or not text.startswith(prefix):
        raise ContractError(f"topic {text[:80]!r}: expected one below {root!r}.")
    segments = text[len(prefix) :].split("/")
    entity, channel = segments[:_ENTITY_SEGMENTS], segments[_ENTITY_SEGMENTS:]
    if len(channel) not in (2, 3) or entity[0] != "device" or (len(channel) == 3 and not channel[2]):
        raise ContractError(
            f"topic {text!r}: expected {root}/device/<id>/<kind>/<service>/<category>/<name>[/<detail>]."
        )
    kind, service = entity[2:]
    if (kind, bool(service)) not in (("", False), ("service", True)):
        raise ContractError(
            f"topic {text!r}: expected two empty segments or service/<name>, got {kind}/{service}."
        )
    category = next((known for known in _CATEGORIES if known == channel[0]), None)
    if category is None:
        raise ContractError(
            f"topic {text!r}: expected a category of {', '.join(_CATEGORIES)}, got {channel[0]!r}."
        )
    detail = channel[2] if len(channel) == 3 else ""
    return Topic(device=entity[1], service=service, category=category, name=channel[1], detail=detail)


def subscription(category: Category, *, device: str | None = None, root: str = DEFAULT_ROOT) -> str:
    """Return the filter for every topic of a category, of one device or (None) of all.

    `m` gives the measurements without their units; add ``/meta`` for the units.

    Raises:
        ContractError: ``device`` or ``root`` is not in the grammar.
    """
    who = "+" if device is None else checked_device_id(device)
    return f"{checked_root(root)}/device/{who}/+/+/{category}/+" + ("/+" if category == "cmd" else "")


def checked_device_id(device: str) -> str:
    """Return ``device`` if it is a device id: 1 to 64 letters, digits, ``_`` and ``-``.

    Raises:
        ContractError: It is not.
    """
    if not isinstance(device, str) or not _DEVICE_ID.fullmatch(device):
        raise ContractError(
            f"device id: expected 1 to 64 letters, digits, '_' and '-', got {str(device)[:80]!r}."
        )
    return device


def checked_root(root: str) -> str:
    """Return ``root`` if it can stand in front: 1 to 4 segments of letters, digits, ``_`` and ``-``.

    Raises:
        ContractError: It is not.
    """
    if not isinstance(root, str) or not _ROOT.fullmatch(root):
        raise ContractError(
            f"topic root: expected 1 to 4 segments of letters, digits, '_' and '-', got {str(root)[:80]!r}."
        )
    return root


@dataclass(frozen=True, slots=True)
class DeviceTopics:
    """Every topic of one device, as text.

    Raises:
        ContractError: Device id, root or a name is not in the grammar.
    """

    device: str
    root: str = DEFAULT_ROOT

    def __post_init__(self) -> None:
        """Check id and root."""
        checked_device_id(self.device)
        checked_root(self.root)

    def measurement(self, kind: str) -> str:
        """Topic of measurements of type ``kind``, e.g. ``inference``."""
        return self._build("m", kind)

    def units(self, kind: str) -> str:
        """Topic of the units of measurements of type ``kind``; retained."""
        return self._build("m", kind, detail="meta")

    def event(self, name: str) -> str:
        """Topic of event ``name``."""
        return self._build("e", name)

    def alarm(self, name: str) -> str:
        """Topic of alarm ``name``; retained, cleared by an empty payload."""
        return self._build("a", name)

    def results(self, name: str = "inference") -> str:
        """Topic that results are published to."""
        return self._build("o", name)

    def frames(self, name: str = "frame") -> str:
        """Topic that the agent takes frames from."""
        return self._build("i", name)

    def desired(self) -> str:
        """Topic of the desired state; retained."""
        return self._build("twin", "desired")

    def reported(self) -> str:
        """Topic of the reported state; retained."""
        return self._build("twin", "reported")

    def command(self, operation: str, command_id: str) -> str:
        """Topic of one command's state; retained."""
        return self._build("cmd", operation, detail=command_id)

    def health(self) -> str:
        """Topic of the agent's health and of its last will; retained."""
        return self._build("status", "health", service=AGENT_SERVICE)

    def birth(self) -> str:
        """Topic of the agent's birth message; retained."""
        return self._build("status", "birth", service=AGENT_SERVICE)

    def _build(self, category: Category, name: str, *, detail: str = "", service: str = "") -> str:
        topic = Topic(device=self.device, category=category, name=name, detail=detail, service=service)
        return build(topic, root=self.root)
