"""The agent: what it costs beside the bare engine, how much memory it needs, how fast it starts, what it writes to disk. Always the real `edgewright-agent` process.

Layout:
    bench.py        broker, agent process, telemetry of one run
    artifacts.py    a tiny model's artifacts, and one for the null engine
    direct.py       `python -m benchmarks.agent.direct`: the bare engine in a process of its own
    floor.py        `python -m benchmarks.agent.floor`: the agent's loop beside loops that do next to nothing, behind the same model
    overhead.py     footprint.py    start.py    wear.py    the four figures
    busy.py         what it takes of the processor beside inferences
    switching.py    updating.py    whether memory stays where it is while models are switched, and while updates are taken
    processes.py    memory of processes, from outside
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.findings import Chapter
    from benchmarks.material import Material
    from benchmarks.options import Options
    from host_tools.progress import Progress


def measure(options: Options, material: Material, progress: Progress) -> Chapter:
    """Measure overhead, memory, start-up and wear."""
    # They import this package, and numpy, whose import `direct` times as a part of loading an engine.
    from benchmarks.agent import footprint, overhead, start, wear  # noqa: PLC0415
    from benchmarks.findings import Chapter  # noqa: PLC0415

    return Chapter(
        name="agent",
        title="Agent",
        findings=(
            *overhead.measure(options, material, progress),
            *footprint.measure(options, progress),
            *start.measure(options, material, progress),
            *wear.measure(options, progress),
        ),
        notes=(*overhead.NOTES, *footprint.NOTES, *start.NOTES, *wear.NOTES),
    )
