"""What the core tells: one function an event, with its severity, its text for people and its facts for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.effects import RecordEvent

if TYPE_CHECKING:
    from device_agent.contract.telemetry import Scalar, Severity
    from device_agent.heat.policy import HeatChange
    from device_agent.occurrences import (
        ArtifactVerified,
        EngineLoaded,
        Failed,
        ModelOrdered,
        ModelSwitched,
        SelfTestPassed,
        StorageChanged,
        SwitchFailed,
        WindowClosed,
    )


def artifact_verified(artifact: ArtifactVerified) -> RecordEvent:
    """The artifact is whole and meant for this device."""
    return RecordEvent(
        name="artifact_verified",
        severity="warning" if artifact.verdict == "unverified" or artifact.unchecked else "info",
        text=(
            f"{artifact.name} {artifact.version} for {artifact.target} is whole; "
            f"the host's verdict: {artifact.verdict}. {artifact.unchecked}"
        ).rstrip(),
        details={
            "digest": artifact.digest,
            "model": artifact.name,
            "version": artifact.version,
            "target": artifact.target,
            "verdict": artifact.verdict,
        },
    )


def engine_loaded(engine: EngineLoaded) -> RecordEvent:
    """The engine holds the payload."""
    return RecordEvent(
        name="engine_loaded",
        severity="info",
        text=f"Engine {engine.engine} {engine.engine_version} loaded the payload in {engine.seconds:.3f} s.",
        details={"engine": engine.engine, "version": engine.engine_version, "load_seconds": engine.seconds},
    )


def self_tested(test: SelfTestPassed) -> RecordEvent:
    """The golden samples were run, or there are none."""
    if not test.samples:
        return RecordEvent(
            name="self_test_absent",
            severity="warning",
            text="The artifact brings no golden samples: whether the engine computes rightly is not known.",
        )
    return RecordEvent(
        name="self_test_passed",
        severity="info",
        text=f"{test.samples} golden samples: within {test.largest_lsb:g} LSB.",
        details={
            "samples": test.samples,
            "largest_lsb": test.largest_lsb,
            "smallest_equal_share": test.smallest_equal_share,
        },
    )


def inference_paused(order: ModelOrdered) -> RecordEvent:
    """A command has paused inference."""
    return RecordEvent(
        name="inference_paused",
        severity="warning",
        text="A command has paused inference; it goes on with the command `resume`, or when the agent starts anew.",
        details={"command": order.key[1]},
    )


def inference_resumed(order: ModelOrdered) -> RecordEvent:
    """A command lets it go on."""
    return RecordEvent(
        name="inference_resumed",
        severity="info",
        text="A command lets inference go on.",
        details={"command": order.key[1]},
    )


def reconnected(reason: str) -> RecordEvent:
    """The broker is back."""
    return RecordEvent(
        name="reconnected",
        severity="info",
        text=f"The broker is back; the connection had been lost: {reason}",
    )


def heat_changed(change: HeatChange) -> RecordEvent:
    """Measures against heat were taken or lifted, or the temperature is lost or found."""
    text = change.text
    details: dict[str, Scalar] = {"measures": ",".join(change.measures)}
    if change.celsius is not None:
        details["celsius"] = round(change.celsius, 3)
    match change.kind:
        case "hotter":
            return RecordEvent(name="heat_measures_taken", severity="warning", text=text, details=details)
        case "cooler":
            return RecordEvent(name="heat_measures_lifted", severity="info", text=text, details=details)
        case "blind":
            return RecordEvent(name="heat_unknown", severity="warning", text=text, details=details)
        case "seen":
            return RecordEvent(name="heat_known", severity="info", text=text, details=details)


def model_switched(switch: ModelSwitched) -> RecordEvent:
    """Another artifact runs."""
    return RecordEvent(
        name="model_switched",
        severity="info",
        text=f"{switch.name} {switch.version} runs now.",
        details={"digest": switch.digest, "model": switch.name, "version": switch.version},
    )


def model_switch_failed(failure: SwitchFailed) -> RecordEvent:
    """Another artifact was to run and cannot."""
    return RecordEvent(name="model_switch_failed", severity="error", text=failure.message)


def inference_failing(window: WindowClosed) -> RecordEvent:
    """A window has no result."""
    return RecordEvent(
        name="inference_failing",
        severity="error",
        text=f"All {window.errors} inferences of the last window failed: {window.last_error}",
        details={"errors": window.errors},
    )


def inference_recovered() -> RecordEvent:
    """A window has results again."""
    return RecordEvent(name="inference_recovered", severity="info", text="Inference gives results again.")


def storage_changed(change: StorageChanged) -> RecordEvent:
    """The spool went to memory, or came back to disk."""
    severity: Severity = "info" if change.code == "spool_on_disk" else "error"
    return RecordEvent(name=change.code, severity=severity, text=change.message)


def agent_failed(failure: Failed, phase: str) -> RecordEvent:
    """The agent cannot go on; ``phase`` is where it failed."""
    return RecordEvent(
        name="agent_failed",
        severity="error",
        text=failure.message,
        details={"code": failure.code, "phase": phase},
    )
