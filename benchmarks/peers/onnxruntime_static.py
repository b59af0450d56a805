"""ONNX Runtime's `quantize_static`: QDQ, int8 weights, and for the rest what the task says.

``task.scheme`` says whether weights are per channel, and whether activations are uint8 with zero points or int8 without; ``task.method`` names
its `CalibrationMethod`.

Its manual has a user run `quant_pre_process` first, which folds BatchNormalization into convolutions; without it the int8 model is slower than
float. It is a lap of its own, so that figures can be given with and without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.tasks import Stopwatch, Task

PREPROCESSING = "quant_pre_process"


def do(task: Task, stopwatch: Stopwatch) -> None:
    """Write ``model.onnx``."""
    # Behind ours, so that ONNX Runtime is loaded already, and silent.
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static  # noqa: PLC0415, TID251
    from onnxruntime.quantization.calibrate import CalibrationDataReader  # noqa: PLC0415, TID251
    from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415, TID251

    from device_agent.engines.onnxruntime_library import onnxruntime as ort  # noqa: PLC0415 - imports are a lap of their own, here and below

    stopwatch.lap("imports")
    prepared = task.out / "prepared.onnx"
    quant_pre_process(str(task.model), str(prepared), skip_symbolic_shape=True)
    stopwatch.lap(PREPROCESSING)
    name = ort.InferenceSession(str(prepared), providers=["CPUExecutionProvider"]).get_inputs()[0].name

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
        """Hands the samples out one by one, as the library wants them."""

        def __init__(self) -> None:
            self._samples = task.samples()

        def get_next(self) -> dict[str, object] | None:
            sample = next(self._samples, None)
            return None if sample is None else {name: sample}

    is_symmetric = task.scheme in ("symmetric", "per_tensor_symmetric")
    quantize_static(
        str(prepared),
        str(task.out / "model.onnx"),
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=task.scheme in ("per_channel", "symmetric"),
        activation_type=QuantType.QInt8 if is_symmetric else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod[task.method or "MinMax"],
        extra_options={"ActivationSymmetric": is_symmetric},
    )
    stopwatch.lap("conversion")
