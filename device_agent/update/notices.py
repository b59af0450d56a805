"""The events of updates: a closed list, `contract.telemetry.UPDATE_EVENTS`; one function an event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from device_agent.update.state import Notice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.contract.telemetry import Scalar, Severity
    from device_agent.update.occurrences import Shadowed, Tried
    from device_agent.update.state import Candidate, Probation, Release

WITHDRAWN: Final = "withdrawn"
"""The reason of an end that is nobody's fault: it is not asked for any more."""


def started(candidate: Candidate) -> Notice:
    """A release is wanted, and its download begins."""
    return Notice(
        name="update_started",
        severity="info",
        text=f"Update to {_said(candidate.release)} begins: {candidate.size_bytes} bytes.",
        details={**_details(candidate.release, candidate.serial), "size_bytes": candidate.size_bytes},
    )


def tried(candidate: Candidate, found: Tried) -> Notice:
    """It loads and gives the golden outputs."""
    tested = (
        f"{found.samples} golden samples: within {found.largest_lsb:g} LSB"
        if found.samples
        else "it brings no golden samples, so whether it computes rightly is not known"
    )
    return Notice(
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


def activated(candidate: Candidate, shadowed: Shadowed | None) -> Notice:
    """The next start runs it, on probation."""
    details = _details(candidate.release, candidate.serial)
    if shadowed is not None:
        details |= {"shadow_frames": shadowed.frames, "shadow_cosine": shadowed.cosine}
    return Notice(
        name="update_activated",
        severity="info" if shadowed is not None and shadowed.cosine is not None else "warning",
        text=f"{_said(candidate.release)} is what runs from the next start on, on probation; {_shadow(shadowed)}.",
        details=details,
    )


def committed(release: Release, probation: Probation, inferences: int) -> Notice:
    """It has proved itself."""
    return Notice(
        name="update_committed",
        severity="info",
        text=f"{_said(release)} has proved itself over {inferences} inferences, and stays.",
        details={**_details(release, probation.serial), "inferences": inferences},
    )


def rolled_back(release: Release, good: Release, fault: str, probation: Probation) -> Notice:
    """It failed on probation."""
    return _rolled_back(
        "error",
        f"{_said(release)} is taken back; {_said(good)} runs again. {fault}.",
        {
            **_details(release, probation.serial),
            "reason": fault.partition(":")[0],
            "runs": good.digest,
            "starts": probation.attempts,
        },
    )


def taken_back(release: Release, serial: int) -> Notice:
    """The trial that brought it was taken back, and the group has nothing else."""
    return _rolled_back(
        "info",
        f"{_said(release)} is not wanted any more; the delivered artifact runs again.",
        {**_details(release, serial), "reason": WITHDRAWN},
    )


def _rolled_back(severity: Severity, text: str, details: Mapping[str, Scalar]) -> Notice:
    return Notice(name="update_rolled_back", severity=severity, text=text, details=details)


def rejected(candidate: Candidate, fault: str) -> Notice:
    """It failed before it ran."""
    return _rejected(
        candidate, "error", f"{_said(candidate.release)} is not installed. {fault}.", fault.partition(":")[0]
    )


def withdrawn(candidate: Candidate) -> Notice:
    """It was on its way in, and is not asked for any more."""
    return _rejected(candidate, "info", f"{_said(candidate.release)} is not wanted any more.", WITHDRAWN)


def _rejected(candidate: Candidate, severity: Severity, text: str, reason: str) -> Notice:
    details = {**_details(candidate.release, candidate.serial), "reason": reason}
    return Notice(name="update_rejected", severity=severity, text=text, details=details)


def postponed(code: str, message: str) -> Notice:
    """A check or a download cannot be done now; it is tried again."""
    return Notice(
        name="update_postponed",
        severity="warning",
        text=f"Updates wait, and the model runs on: {message}",
        details={"reason": code},
    )


def damaged(release: Release, fault: str) -> Notice:
    """What was known to be good cannot be used any more."""
    return Notice(
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
    if not shadowed.frames:
        return "no frame came for a shadow run"
    if shadowed.cosine is None:
        return f"it ran on {shadowed.frames} frames beside the current model, but outputs cannot be compared: {shadowed.note}"
    return f"beside the current model, over {shadowed.frames} frames, the outputs' mean cosine was {shadowed.cosine:.4f}"
