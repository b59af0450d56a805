"""What a device says of an action, as the fleet's service takes it. Pure."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from host_tools.fleet.rollout.jobs import Observation
from host_tools.fleet.service import Heard
from host_tools.fleet.store.devices import DeviceReport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host_tools.fleet.ddi.wire import Execution, Feedback
    from host_tools.fleet.store.ddi import ActionResult, DdiAction

_ON_THE_WAY: Final[Mapping[Execution, str]] = MappingProxyType(
    {"download": "update_started", "downloaded": "update_tried", "proceeding": "update_tried"}
)
"""Which event of the agent's says the same; `scheduled` and `resumed` say only that the device is there.

`proceeding` says that the device works on it: a job of the fleet that is `proceeding` is of a device on which the release runs.
"""


def lives(device: str, seconds: float) -> Heard:
    """Return that a device was heard."""
    return Heard(report=DeviceReport(device=device, seconds=seconds), seen=Observation(seconds=seconds))


def begun(action: DdiAction, seconds: float) -> Heard:
    """Return that a device downloads what an action brings."""
    seen = Observation(seconds=seconds, event="update_started", about=action.digest)
    return Heard(report=DeviceReport(device=action.device, seconds=seconds), seen=seen)


def heard(action: DdiAction, feedback: Feedback, seconds: float) -> Heard:
    """Return what follows for device and job."""
    ended = ends(feedback)
    if ended is None:
        execution = feedback.status.execution
        is_before = execution == "proceeding" and not action.is_fetched
        event = "update_started" if is_before else _ON_THE_WAY.get(execution, "")
        runs = None
    else:
        event = {"success": "update_committed", "failure": "update_rolled_back"}.get(ended, "update_rejected")
        runs = action.digest if ended == "success" else None
    return Heard(
        report=DeviceReport(device=action.device, seconds=seconds, artifact=runs),
        seen=Observation(
            seconds=seconds,
            event=event,
            about=action.digest,
            running=runs,
            committed=None if runs is None else True,
            reason=feedback.words,
        ),
    )


def ends(feedback: Feedback) -> ActionResult | None:
    """Return how an action ended; None: it goes on.

    `closed` without `failure` is success, as hawkBit takes it. `canceled` and `rejected`: the device will not do it.
    """
    status = feedback.status
    if status.execution in ("canceled", "rejected"):
        return "canceled"
    if status.execution != "closed":
        return None
    return "failure" if status.result.finished == "failure" else "success"
