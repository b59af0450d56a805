"""What a configuration means for updates: which models, what is asked, and within which bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from device_agent.config import named_models
from device_agent.contract.model_names import MAIN_MODEL
from device_agent.update.jobs import CheckJob, TrialJob
from device_agent.update.limits import UpdateLimits
from device_agent.update.probation import ProbationLimits

if TYPE_CHECKING:
    from pathlib import Path

    from device_agent.config import AgentConfig, UpdateSection
    from device_agent.update.bootstrap import Bootstrap

_MISMATCHES: Final = 3


def updated_models(config: AgentConfig) -> dict[str, AgentConfig]:
    """Return the models that are updated, the main one first, each with its configuration as if it were alone.

    A model whose frames are split is not: an update would replace one side of the comparison.
    """
    return {name: one for name, one in named_models(config) if one.split.path is None}


def split_models(config: AgentConfig) -> tuple[str, ...]:
    """Return the models that are not updated, because their frames are split."""
    return tuple(name for name, one in named_models(config) if one.split.path is not None)


def check_job(config: AgentConfig, bootstrap: Bootstrap) -> CheckJob:
    """Return the question that a device asks its repository."""
    group, device = config.update.group, config.device
    return CheckJob(
        network=bootstrap.network,
        root=str(bootstrap.root),
        cache=str(bootstrap.folder / "metadata"),
        subjects=(f"device/{device.id}", *([f"group/{group}"] if group else [])),
        device=device.id,
        targets=device.targets,
        models=tuple(name for name in updated_models(config) if name != MAIN_MODEL),
        split=split_models(config),
    )


def trial_job(config: AgentConfig, section: UpdateSection, *, artifact: Path, digest: str) -> TrialJob:
    """Return the trial of an artifact.

    Args:
        config: Of its model, as if it were alone.
        section: What is said of updates.
        artifact: The file.
        digest: Of it.
    """
    return TrialJob(
        artifact=str(artifact),
        digest=digest,
        max_bytes=config.artifact.max_bytes,
        targets=config.device.targets,
        engine=config.engine.name,
        threads=config.engine.threads,
        memory_max_bytes=section.trial_memory_max_bytes,
        model_max_bytes=config.engine.memory_max_bytes,
        cpu_max_seconds=int(section.trial_timeout_seconds * config.engine.threads) + 1,
    )


def update_limits(section: UpdateSection) -> UpdateLimits:
    """Return the bounds of the state machine."""
    return UpdateLimits(
        first_check_seconds=section.first_check_seconds,
        check_interval_seconds=section.check_interval_seconds,
        require_synced_clock=section.require_synced_clock,
        trials=section.trial_attempts,
        mismatches=_MISMATCHES,
        shadow=section.shadow_frames > 0,
        shadow_min_cosine=section.shadow_min_cosine,
        probation=ProbationLimits(
            seconds=section.probation_seconds,
            inferences=section.probation_inferences,
            longest_seconds=section.probation_max_seconds,
            p95_ratio=section.probation_p95_ratio,
            error_ratio=section.probation_error_ratio,
            bad_windows=section.probation_bad_windows,
            starts=section.probation_starts,
        ),
    )
