"""A device whose steps are done in its own process, so that what happens to the process happens to all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from device_agent.config import AgentConfig, ArtifactSection, DeviceSection, SpoolSection, UpdateSection
from tests.integration.support import null_artifact
from tests.integration.update_repository import TARGET, Fleet

if TYPE_CHECKING:
    from pathlib import Path


class Within:
    """`Children` whose steps are done here."""

    def __init__(self) -> None:
        self.answers: list[Any] = []

    def start(self, job: Any, *, timeout_seconds: float) -> None:
        self.answers.append(Fleet.do(job))

    def cancel(self) -> None:
        self.answers.clear()


def config_of(fleet: Fleet, device: str, folder: Path, delivered: Path, **update: Any) -> AgentConfig:
    settings: dict[str, Any] = {
        "url": fleet.server.url,
        "root": fleet.root,
        "directory": folder,
        "first_check_seconds": 0.0,
        "check_interval_seconds": 0.1,
        "require_synced_clock": False,
        "shadow_frames": 0,
        "probation_seconds": 0.0,
        "probation_inferences": 10,
    } | update
    return AgentConfig(
        device=DeviceSection(id=device, targets=(TARGET,)),
        artifact=ArtifactSection(path=delivered),
        spool=SpoolSection(path=folder / "spool.db"),
        update=UpdateSection(**settings),
    )


def artifacts(folder: Path, count: int) -> list[Path]:
    return [
        null_artifact(folder / f"m-{number}.ewa", latency_seconds=number * 1e-4) for number in range(count)
    ]
