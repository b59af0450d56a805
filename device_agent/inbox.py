"""`Inbox`: how the threads reach the loop. What is put in is all that they share with it, beside the meter and the queue of results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from queue import SimpleQueue

    from device_agent.occurrences import Occurrence
    from device_agent.telemetry.link import BrokerReport
    from device_agent.update.jobs import Answer


class Wake:
    """Put in when something waits elsewhere: a result that came to an empty queue, or a command."""


WAKE: Final = Wake()


@dataclass(frozen=True, slots=True)
class UpdateAnswer:
    """Put in when a step of an update has ended."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class FromModel:
    """Put in by the worker of a model beside the main one."""

    model: str
    occurrence: Occurrence


if TYPE_CHECKING:
    MainItem = Occurrence | BrokerReport | SimpleQueue[Any] | Wake | UpdateAnswer
    """A queue is somebody's who asks for the status, and waits at it."""
    Item = FromModel | MainItem
    Inbox = SimpleQueue[Item]
