"""What the core tells: one function an event, with its severity, its text for people and its facts for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.contract.model_names import MAIN_MODEL
from device_agent.effects import RecordEvent

if TYPE_CHECKING:
    from device_agent.contract.telemetry.message import Scalar, Severity
    from device_agent.heat.policy import HeatChange
    from device_agent.occurrences import (
        ArtifactVerified,
        EngineLoaded,
        Failed,
        ModelFailed,
        ModelOrdered,
        ModelSwitched,
        SelfTestPassed,
        StorageChanged,
        SwitchFailed,
        VariantFailed,
        VariantStarted,
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


def model_started(
    model: str, artifact: ArtifactVerified, engine: EngineLoaded, test: SelfTestPassed
) -> RecordEvent:
    """A model beside the main one is verified, loaded and tested."""
    tested = (
        f"{test.samples} golden samples: within {test.largest_lsb:g} LSB"
        if test.samples
        else "no golden samples"
    )
    doubtful = artifact.verdict == "unverified" or bool(artifact.unchecked) or not test.samples
    return RecordEvent(
        name="model_started",
        severity="warning" if doubtful else "info",
        text=(
            f"Model {model}: {artifact.name} {artifact.version} for {artifact.target} runs on {engine.engine} "
            f"{engine.engine_version}; {tested}; the host's verdict: {artifact.verdict}. {artifact.unchecked}"
        ).rstrip(),
        details={
            "model": model,
            "digest": artifact.digest,
            "name": artifact.name,
            "version": artifact.version,
            "target": artifact.target,
            "verdict": artifact.verdict,
            "engine": engine.engine,
            "engine_version": engine.engine_version,
            "load_seconds": engine.seconds,
            "samples": test.samples,
        },
    )


def model_failed(failure: ModelFailed, *, retry_seconds: float, model: str = MAIN_MODEL) -> RecordEvent:
    """One of several models cannot go on; the others do."""
    return RecordEvent(
        name="model_failed",
        severity="error",
        text=f"Model {model}: {failure.message} It is begun again in {retry_seconds:g} s; the other models run on.",
        details={"model": model, "code": failure.code, "retry_seconds": retry_seconds},
    )


def model_ended(model: str, reason: str) -> RecordEvent:
    """A model's source has no more frames; the agent ends when no model has any."""
    return RecordEvent(
        name="model_ended", severity="info", text=f"Model {model}: {reason}.", details={"model": model}
    )


def variant_started(model: str, started: VariantStarted) -> RecordEvent:
    """Side b of a split takes its frames."""
    return RecordEvent(
        name="variant_started",
        severity="info",
        text=f"Model {model}, side b: {started.name} {started.version} takes its share of the frames.",
        details={
            "model": model,
            "variant": "b",
            "digest": started.digest,
            "name": started.name,
            "version": started.version,
            "engine": started.engine,
            "engine_version": started.engine_version,
        },
    )


def variant_failed(model: str, failure: VariantFailed) -> RecordEvent:
    """Side b of a split cannot be used."""
    return RecordEvent(
        name="variant_failed",
        severity="error",
        text=f"Model {model}, side b: {failure.message} Side a takes all frames until the model is restarted.",
        details={"model": model, "variant": "b"},
    )


def agent_failed(failure: Failed, phase: str) -> RecordEvent:
    """The agent cannot go on; ``phase`` is where it failed."""
    return RecordEvent(
        name="agent_failed",
        severity="error",
        text=failure.message,
        details={"code": failure.code, "phase": phase},
    )
