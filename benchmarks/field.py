"""The agent with everything on, as it is left in the field: memory while it updates, what it costs beside the engine, start, leaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.agent import busy, overhead, switching, updating
from benchmarks.agent.artifacts import null_artifact, tiny_artifact
from benchmarks.findings import Chapter

if TYPE_CHECKING:
    from benchmarks.material import Material
    from benchmarks.options import Options
    from host_tools.progress import Progress


def measure(options: Options, material: Material, progress: Progress) -> Chapter:
    """Measure memory, overhead, processor, start-up and leaks."""
    made = options.work / "agent"
    artifacts = (
        ("null engine", null_artifact(made / "no-wait.ewa", latency_seconds=0.0)),
        ("tiny model, ONNX Runtime", tiny_artifact(made / "tiny", "onnx")),
    )
    return Chapter(
        name="field",
        title="Agent, everything on",
        findings=(
            *updating.measure_runs(options, progress),
            *overhead.measure_everything(options, material, progress),
            *busy.measure(options, progress),
            *switching.measure(artifacts, options, progress),
        ),
        notes=(*updating.NOTES, *overhead.EVERYTHING_NOTES, *busy.NOTES, *switching.NOTES),
    )
