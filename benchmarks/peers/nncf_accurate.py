"""NNCF with accurate bias correction, weights per tensor and activations symmetric: the nearest it comes to a target without zero points.

Its OpenVINO backend will not be forced to signed activations, so what a ReLU6 leaves is unsigned with a zero point of 0: one bit more than
the target has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.tasks import Stopwatch, Task


def do(task: Task, stopwatch: Stopwatch) -> None:
    """Write ``model.xml`` and ``model.bin``."""
    import nncf  # type: ignore[import-not-found]  # a peer, in an environment of its own  # noqa: PLC0415 - imports are a lap of their own, here and below
    from nncf.quantization.advanced_parameters import (  # type: ignore[import-not-found]  # noqa: PLC0415
        AdvancedQuantizationParameters,
        QuantizationMode,
        QuantizationParameters,
    )

    from device_agent.engines.openvino_library import openvino as ov  # noqa: PLC0415

    stopwatch.lap("imports")
    # `read_model` leaves BatchNormalization beside its convolution and depthwise weights behind a Reshape, whose scales NNCF then spreads over the
    # kernel's columns; `convert_model` folds both, so that weights are quantized per tensor, as asked.
    model = ov.convert_model(task.model)
    samples = list(task.samples())  # NNCF wants to read them several times
    quantized = nncf.quantize(
        model,
        nncf.Dataset(samples),
        subset_size=len(samples),
        preset=nncf.QuantizationPreset.PERFORMANCE,
        fast_bias_correction=False,
        advanced_parameters=AdvancedQuantizationParameters(
            weights_quantization_params=QuantizationParameters(
                mode=QuantizationMode.SYMMETRIC, per_channel=False
            ),
            activations_quantization_params=QuantizationParameters(
                mode=QuantizationMode.SYMMETRIC, per_channel=False
            ),
        ),
    )
    ov.save_model(quantized, task.out / "model.xml")
    stopwatch.lap("conversion")
