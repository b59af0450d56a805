"""NNCF's post-training quantization of an OpenVINO model, with its defaults (fast bias correction among them)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.tasks import Stopwatch, Task


def do(task: Task, stopwatch: Stopwatch) -> None:
    """Write ``model.xml`` and ``model.bin``."""
    import nncf  # type: ignore[import-not-found]  # a peer, in an environment of its own  # noqa: PLC0415 - imports are a lap of their own, here and below

    from device_agent.engines.openvino_library import openvino as ov  # noqa: PLC0415

    stopwatch.lap("imports")
    # `read_model` leaves BatchNormalization beside its convolution and depthwise weights behind a Reshape; `convert_model`, which OpenVINO's
    # manual names for the job, folds both, and what NNCF makes of it runs faster.
    model = ov.convert_model(task.model)
    samples = list(task.samples())  # NNCF wants to read them several times
    quantized = nncf.quantize(model, nncf.Dataset(samples), subset_size=len(samples))
    ov.save_model(quantized, task.out / "model.xml")
    stopwatch.lap("conversion")
