"""The events of updates: a closed list, `contract.telemetry.event.UPDATE_EVENTS`; one function an event.

Those about a model beside the main one have its name in the configuration in front and in ``details.slot``: ``details.model`` is what
the artifact calls itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from device_agent.contract.model_names import MAIN_MODEL
from device_agent.update.state import Notice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.contract.telemetry.message import Scalar, Severity
    from device_agent.update.occurrences import Shadowed, Tried
    from device_agent.update.state import Candidate, Probation, Release

WITHDRAWN: Final = "withdrawn"
"""The reason of an end that is nobody's fault: it is not asked for any more."""


def started(candidate: Candidate, slot: str) -> Notice:
    """A release is wanted, and its download begins."""
    return _of(
        slot,
        name="update_started",
        severity="info",
        text=f"Update to {_said(candidate.release)} begins: {candidate.size_bytes} bytes.",
        details={**_details(candidate.release, candidate.serial), "size_bytes": candidate.size_bytes},
    )


def tried(candidate: Candidate, found: Tried, slot: str) -> Notice:
    """It loads and gives the golden outputs."""
    tested = (
        f"{found.samples} golden samples: within {found.largest_lsb:g} LSB"
        if found.samples
        else "it brings no golden samples, so whether it computes rightly is not known"
    )
    return _of(
        slot,
        name="update_tried",
        severity="info" if found.samples else "warning",
        text=f"{_said(candidate.release)} loads in {found.load_seconds:.3f} s; {tested}.",
        details={
            **_details(candidate.release, candidate.serial),
            "samples": found.samples,
            "largest_lsb": found.largest_lsb,
            "load_seconds": found.load_seconds,
        },
    )


def activated(candidate: Candidate, shadowed: Shadowed | None, slot: str) -> Notice:
    """It is what runs, on probation."""
    begin = "the next start" if slot == MAIN_MODEL else "now"
    details = _details(candidate.release, candidate.serial)
    if shadowed is not None:
        details |= {"shadow_frames": shadowed.frames, "shadow_cosine": shadowed.cosine}
    return _of(
        slot,
        name="update_activated",
        severity="info" if shadowed is not None and shadowed.cosine is not None else "warning",
        text=f"{_said(candidate.release)} is what runs from {begin} on, on probation; {_shadow(shadowed)}.",
        details=details,
    )


def committed(release: Release, probation: Probation, inferences: int, slot: str) -> Notice:
    """It has proved itself."""
    return _of(
        slot,
        name="update_committed",
        severity="info",
        text=f"{_said(release)} has proved itself over {inferences} inferences, and stays.",
        details={**_details(release, probation.serial), "inferences": inferences},
    )


def rolled_back(release: Release, good: Release, fault: str, probation: Probation, slot: str) -> Notice:
    """It failed on probation."""
    return _rolled_back(
        slot,
        "error",
        f"{_said(release)} is taken back; {_said(good)} runs again. {fault}.",
        {
            **_details(release, probation.serial),
            "reason": fault.partition(":")[0],
            "runs": good.digest,
            "starts": probation.attempts,
        },
    )


def taken_back(release: Release, serial: int, slot: str) -> Notice:
    """The trial that brought it was taken back, and the group has nothing else."""
    return _rolled_back(
        slot,
        "info",
        f"{_said(release)} is not wanted any more; the delivered artifact runs again.",
        {**_details(release, serial), "reason": WITHDRAWN},
    )


def forgotten(release: Release, serial: int, slot: str) -> Notice:
    """It was on probation in a model that is not updated any more."""
    return _rolled_back(
        slot,
        "info",
        f"{_said(release)} goes: no model of this name is updated here any more.",
        {**_details(release, serial), "reason": WITHDRAWN},
    )


def _rolled_back(slot: str, severity: Severity, text: str, details: Mapping[str, Scalar]) -> Notice:
    return _of(slot, name="update_rolled_back", severity=severity, text=text, details=details)


def rejected(candidate: Candidate, fault: str, slot: str) -> Notice:
    """It failed before it ran."""
    text = f"{_said(candidate.release)} is not installed. {fault}."
    return _rejected(slot, candidate, "error", text, fault.partition(":")[0])


def withdrawn(candidate: Candidate, slot: str) -> Notice:
    """It was on its way in, and is not asked for any more."""
    text = f"{_said(candidate.release)} is not wanted any more."
    return _rejected(slot, candidate, "info", text, WITHDRAWN)


def _rejected(slot: str, candidate: Candidate, severity: Severity, text: str, reason: str) -> Notice:
    details = {**_details(candidate.release, candidate.serial), "reason": reason}
    return _of(slot, name="update_rejected", severity=severity, text=text, details=details)


def postponed(code: str, message: str, slot: str = MAIN_MODEL) -> Notice:
    """A check or a download cannot be done now; it is tried again."""
    return _of(
        slot,
        name="update_postponed",
        severity="warning",
        text=f"Updates wait, and the model runs on: {message}",
        details={"reason": code},
    )


def damaged(release: Release, fault: str, slot: str) -> Notice:
    """What was known to be good cannot be used any more."""
    return _of(
        slot,
        name="update_store_damaged",
        severity="error",
        text=f"{_said(release)} in the store is damaged; the delivered artifact runs until it is fetched again. {fault}.",
        details={"digest": release.digest, "reason": fault.partition(":")[0]},
    )


def state_damaged(fault: str) -> Notice:
    """The durable state could not be used."""
    return Notice(
        name="update_state_damaged",
        severity="error",
        text=f"The state of updates was damaged and begins anew, the counter's floor included. {fault}",
        details={},
    )


def _of(slot: str, *, name: str, severity: Severity, text: str, details: Mapping[str, Scalar]) -> Notice:
    """Return the notice with the name of the model that it is about, where that is not the main one."""
    if slot != MAIN_MODEL:
        text, details = f"Model {slot}: {text}", {**details, "slot": slot}
    return Notice(name=name, severity=severity, text=text, details=details)


def _said(release: Release) -> str:
    return f"{release.name} {release.version}"


def _details(release: Release, serial: int) -> dict[str, Scalar]:
    return {
        "digest": release.digest,
        "model": release.name,
        "version": release.version,
        "release_counter": release.counter,
        "serial": serial,
    }


def _shadow(shadowed: Shadowed | None) -> str:
    if shadowed is None:
        return "there was no shadow run"
    if shadowed.note:
        return f"its outputs cannot be held against the current model's: {shadowed.note}"
    if shadowed.cosine is None:
        return "no frame came for a shadow run"
    return f"beside the current model, over {shadowed.frames} frames, the outputs' mean cosine was {shadowed.cosine:.4f}"
