"""What happened once."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from device_agent.contract.telemetry.message import Message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.contract.telemetry.message import Scalar, Severity

UPDATE_EVENTS = (
    "update_started",
    "update_tried",
    "update_activated",
    "update_committed",
    "update_rolled_back",
    "update_rejected",
    "update_postponed",
    "update_store_damaged",
    "update_state_damaged",
)
"""Every event of updates, in the order of an update; docs/updates.md says when each is told. An update that was started ends with
`update_committed`, `update_rolled_back` or `update_rejected`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Message):
    """Something that happened once. On the wire a CloudEvent; the envelope stands in its ``data``.

    Attributes:
        device: Device id; the CloudEvent's source is ``/device/<id>``.
        name: Lower snake case, as in the topic ``…/e/<name>``; the CloudEvent's type is
            ``edgewright.device.<name>``.
        severity: How grave.
        text: One sentence for people.
        details: What there is to know, by name.
    """

    device: str
    name: str
    severity: Severity
    text: str
    details: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        Message.__post_init__(self)
        object.__setattr__(self, "details", MappingProxyType(dict(self.details)))
