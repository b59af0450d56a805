"""The trial of a new model, in a child process: verify, load, self-test; then beside the current model on the frames that it sees."""

from __future__ import annotations

import json
import math
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, BinaryIO

from device_agent.config import AgentConfig, ArtifactSection, DeviceSection, EngineSection, SpoolSection
from device_agent.contract.archive import ArtifactArchive
from device_agent.contract.errors import EngineError
from device_agent.contract.preparation import preparation_of, prepared_alike
from device_agent.memory_budget import MemoryBudget
from device_agent.startup import load_payload, run_self_test, verify_artifact
from device_agent.update.child import limit_memory_and_time
from device_agent.update.occurrences import Shadowed, Tried
from device_agent.update.shadow import read_frame

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from device_agent.contract.manifest import Manifest, PayloadTensor
    from device_agent.engines.engine import Engine
    from device_agent.update.jobs import TrialJob

    Real = Mapping[str, NDArray[np.float64]]


class NonFiniteShadowError(EngineError):
    """The new model gives NaN or infinity on a frame of this device."""

    code = "shadow_nonfinite"


def run_trial(job: TrialJob, *, frames: BinaryIO, answers: BinaryIO) -> Tried | Shadowed:
    """Try an artifact as `startup` would start it, under limits.

    Raises:
        EdgewrightError: It must not be run here; the code and message say why.
    """
    limit_memory_and_time(job)
    archive = verify_artifact(_config(job))
    budget = MemoryBudget(job.model_max_bytes)
    with ExitStack() as at_end:
        with budget.spending():
            engine, seconds = load_payload(archive, threads=job.threads)
            at_end.callback(engine.close)
        if job.beside is None:
            with budget.spending():
                tested = run_self_test(archive, engine)
            return Tried(samples=tested.samples, largest_lsb=tested.largest_lsb, load_seconds=seconds)
        current = ArtifactArchive.open(job.beside).manifest
        return _shadow(archive.manifest, engine, current, frames, answers)


def _shadow(
    new: Manifest, engine: Engine, current: Manifest, frames: BinaryIO, answers: BinaryIO
) -> Shadowed:
    why_not = _incomparable(new, current)
    cosines: list[float] = []
    count = 0
    while (frame := read_frame(frames)) is not None:
        began = monotonic()
        inputs, outputs = frame[: len(current.inputs)], frame[len(current.inputs) :]
        if not why_not:
            cosines.append(_cosine(new, engine, current, inputs, outputs))
            count += 1
        answers.write(json.dumps({"busy_seconds": monotonic() - began}).encode() + b"\n")
        answers.flush()
    return Shadowed(frames=count, cosine=math.fsum(cosines) / len(cosines) if cosines else None, note=why_not)


def _cosine(
    new: Manifest, engine: Engine, current: Manifest, inputs: Sequence[bytes], outputs: Sequence[bytes]
) -> float:
    import numpy as np  # noqa: PLC0415  the null engine's process must not load numpy

    from device_agent.sources.adapt import to_payload, to_source  # noqa: PLC0415  as above

    frame = to_source(_arrays(inputs, current.inputs), current.inputs)
    ours = to_payload(_typed(frame, new), new.inputs)
    given = [np.asarray(one) for one in engine.infer(ours)]
    found = [
        one.view(tensor.dtype).reshape(tensor.shape) if one.dtype == np.uint8 and one.ndim == 1 else one
        for one, tensor in zip(given, new.outputs, strict=True)
    ]
    theirs = to_source(_arrays(outputs, current.outputs), current.outputs)
    worst = 1.0
    for name, real in to_source(found, new.outputs).items():
        if not np.isfinite(real).all():
            raise NonFiniteShadowError(f"output {name!r} holds NaN or infinity on a frame of this device.")
        worst = min(worst, _angle(real.reshape(-1), theirs[name].reshape(-1)))
    return worst


def _angle(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    """Return the cosine between two outputs; two of zeros agree, one of zeros with another does not."""
    lengths = math.sqrt(float(ours @ ours)) * math.sqrt(float(theirs @ theirs))
    if lengths == 0.0:
        return 1.0 if not ours.any() and not theirs.any() else 0.0
    return float(ours @ theirs) / lengths


def _typed(frame: Real, new: Manifest) -> Mapping[str, NDArray[np.generic]]:
    """Give integers that are no codes (ids, flags) their type back: `to_payload` refuses to guess."""
    return {
        tensor.source_name: frame[tensor.source_name]
        if tensor.scale is not None
        else frame[tensor.source_name].astype(tensor.dtype)
        for tensor in new.inputs
    }


def _arrays(frame: Sequence[bytes], tensors: Sequence[PayloadTensor]) -> list[NDArray[np.generic]]:
    import numpy as np  # noqa: PLC0415  as above

    return [
        np.frombuffer(data, dtype=tensor.dtype).reshape(tensor.shape)
        for data, tensor in zip(frame, tensors, strict=True)
    ]


def _incomparable(new: Manifest, current: Manifest) -> str:
    """Return why one model's outputs cannot be held against the other's; empty when they can."""
    if "null" in (new.requires.engine, current.requires.engine):
        return "the null engine computes nothing"  # and numpy is not imported for it
    from device_agent.sources.adapt import source_shape  # noqa: PLC0415  as above

    for what, ours, theirs in (
        ("inputs", new.inputs, current.inputs),
        ("outputs", new.outputs, current.outputs),
    ):
        mine = {one.source_name: source_shape(one) for one in ours}
        others = {one.source_name: source_shape(one) for one in theirs}
        if mine != others:
            return f"its {what} are {mine}, those of the current model {others}"
    if preparation_of(current) is not None and not prepared_alike(new, current):
        return "its preparation of frames is not that of the current model, whose inputs mean something else to it"
    return ""


def _config(job: TrialJob) -> AgentConfig:
    return AgentConfig(
        device=DeviceSection(id="trial", targets=tuple(job.targets)),
        artifact=ArtifactSection(path=Path(job.artifact), digest=job.digest, max_bytes=job.max_bytes),
        spool=SpoolSection(path=Path(job.artifact)),
        engine=EngineSection(name=job.engine, threads=job.threads),
    )
