"""From a configuration to an energy report: the artifact is verified, loaded and tested as `Agent` does it, then measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from device_agent.energy.measure import MeasurePlan, cycle, measure_energy
from device_agent.sensors.survey import Sensors, find_vcgencmd
from device_agent.sources.synthetic import SyntheticSource
from device_agent.startup import golden_inputs, load_payload, run_self_test, verify_artifact

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from device_agent.config import AgentConfig
    from device_agent.contract.archive import ArtifactArchive
    from device_agent.energy.measure import EnergyReport

_PROC: Final = Path("/proc")


def measure(config: AgentConfig, plan: MeasurePlan, *, progress: Callable[[str], None]) -> EnergyReport:
    """Measure the configured artifact on this machine, on its golden samples, or zeros when it has none.

    Args:
        config: Of the agent; broker and spool are not touched.
        plan: How to measure.
        progress: Told what is being done.

    Raises:
        MeasurementError: No sensor tells power or energy.
        EdgewrightError: The artifact must not or cannot be used, as `Agent` would say it.
    """
    root = config.sensors.sysfs_root
    sensors = Sensors(
        sysfs_root=root,
        state_directory=config.artifact.path.parent,
        pss_interval_seconds=config.telemetry.pss_interval_seconds,
        vcgencmd=find_vcgencmd(config.sensors.vcgencmd, root),
    )
    archive = verify_artifact(config)
    engine, _ = load_payload(archive, threads=config.engine.threads)
    try:
        run_self_test(archive, engine)
        return measure_energy(
            cycle(_frames(archive), engine.infer),
            sensors=sensors,
            sysfs_root=root,
            proc_root=_PROC,
            plan=plan,
            progress=progress,
        )
    finally:
        engine.close()


def _frames(archive: ArtifactArchive) -> list[Any]:
    frames: list[Any] = list(golden_inputs(archive))
    if frames:
        return frames
    source = SyntheticSource(archive.manifest.inputs, as_arrays=archive.manifest.requires.engine != "null")
    frame = source.next(0.0)
    return [] if frame is None else [frame.inputs]
