"""What Min operators cost: equalization gives each channel a bound of its own in the place of ReLU6, which is a Min where nothing fuses it.

The same file is timed as it is and with every Min taken out. What the second computes is wrong, and is not looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.contestants import open_contestant
from benchmarks.findings import Finding, estimated
from benchmarks.latency import RUNS, interleaved
from benchmarks.made import ENGINE_NAMES
from benchmarks.material import load_arrays
from benchmarks.options import THREADS
from benchmarks.spread import median_and_quartiles, paired_ratio

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.hard.conversions import Made
    from benchmarks.hard.rows import Row
    from benchmarks.material import Material
    from benchmarks.options import Options
    from host_tools.progress import Progress

NOTES: Final = (
    f"Min: each file beside a copy without its Min operators (and so with wrong answers) and the float model, in one process, {RUNS} runs a "
    "round in turn, the ratio taken within each round. On ONNX Runtime a Min between two quantizations also keeps them from being fused.",
)


def measure(
    rows: Sequence[Row], made: Made, options: Options, material: Material, progress: Progress
) -> list[Finding]:
    """Count and time."""
    sample = np.ascontiguousarray(load_arrays(material.evaluation_arrays)[:1])
    findings: list[Finding] = []
    for row in rows:
        if row.target not in made.ours:
            continue  # said where its accuracy would be
        file = made.ours[row.target] / row.file
        bare = file.with_name(f"without_min_{row.file}")
        count = without_min(file, bare)
        subject = f"{row.target} in {ENGINE_NAMES[row.engine]}"
        findings.append(
            Finding(
                subject=subject, figure="Min operators", unit="count", value=float(count), sample="1 file"
            )
        )
        contestants = {
            "with": open_contestant(file, row.engine, threads=THREADS),
            "without": open_contestant(bare, row.engine, threads=THREADS),
            "float": open_contestant(material.model, "onnx", threads=THREADS),
        }
        for contestant in contestants.values():
            contestant.feed(sample)
        progress.stage(f"{subject}: timing", options.rounds * len(contestants))
        medians = interleaved(contestants, rounds=options.rounds, progress=progress)
        findings.append(_latency(subject, "latency", medians["with"], options.rounds))
        if count:
            findings.append(_latency(subject, "latency without Min", medians["without"], options.rounds))
            findings.append(_ratio(f"{subject}: with Min / without", medians["with"], medians["without"]))
        findings.append(_ratio(f"{subject} / float in ONNX Runtime", medians["with"], medians["float"]))
    return findings


def without_min(source: Path, target: Path) -> int:
    """Write a copy in which every Min hands on what it was given, and return how many there were.

    Args:
        source: An ``.onnx`` or ``.tflite`` file; each Min has one constant input.
        target: The file to write, of the same kind.
    """
    return _tflite_without(source, target) if source.suffix == ".tflite" else _onnx_without(source, target)


def _onnx_without(source: Path, target: Path) -> int:
    import onnx  # noqa: PLC0415 - the other kind needs another library

    model = onnx.load(source)
    graph = model.graph
    constant = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if all(name in constant for name in node.input):
            constant.update(node.output)
    handed_on: dict[str, str] = {}
    kept: list[Any] = []
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = handed_on.get(name, name)
        if node.op_type == "Min":
            [real] = [name for name in node.input if name not in constant]
            handed_on[node.output[0]] = real
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    onnx.save(model, target)
    return len(handed_on)


def _tflite_without(source: Path, target: Path) -> int:
    import flatbuffers  # noqa: PLC0415 - as above
    from ai_edge_litert import schema_py_generated as schema  # noqa: PLC0415

    model = schema.ModelT.InitFromPackedBuf(source.read_bytes(), 0)
    graph = model.subgraphs[0]
    codes = [code.builtinCode for code in model.operatorCodes]
    written = {int(tensor) for operator in graph.operators for tensor in operator.outputs}
    written |= {int(tensor) for tensor in graph.inputs}
    handed_on: dict[int, int] = {}
    kept = []
    for operator in graph.operators:
        operator.inputs = [handed_on.get(int(tensor), int(tensor)) for tensor in operator.inputs]
        if codes[operator.opcodeIndex] == schema.BuiltinOperator.MINIMUM:
            [real] = [tensor for tensor in operator.inputs if tensor in written]
            handed_on[int(operator.outputs[0])] = real
        else:
            kept.append(operator)
    graph.operators = kept
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    target.write_bytes(bytes(builder.Output()))
    return len(handed_on)


def _latency(subject: str, figure: str, rounds: Sequence[float], count: int) -> Finding:
    estimate = median_and_quartiles(rounds)
    return Finding(
        subject=subject,
        figure=figure,
        unit="seconds",
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        spread="quartiles of rounds",
        sample=f"{count} rounds × {RUNS} runs",
    )


def _ratio(subject: str, ours: Sequence[float], theirs: Sequence[float]) -> Finding:
    estimate = paired_ratio(ours, theirs)
    return estimated(subject, "latency ratio", "ratio", estimate, f"{len(ours)} paired rounds")
