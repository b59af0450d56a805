"""AMD Quark, by one of two methods.

- ``XINT8``: its preset for the DPU: powers of two, per tensor, symmetric, scales by squared error;
- ``corrected``: int8, per tensor, symmetric, min-max, with cross-layer equalization and bias correction.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.tasks import Stopwatch, Task


def do(task: Task, stopwatch: Stopwatch) -> None:
    """Write ``model.onnx``."""
    import onnx  # noqa: PLC0415 - imports are a lap of their own, here and below
    from onnxruntime.quantization.calibrate import CalibrationDataReader  # noqa: PLC0415, TID251 - its reader is Quark's
    from quark.onnx import (  # type: ignore[import-not-found]  # a peer, in an environment of its own  # noqa: PLC0415
        BiasCorrectionConfig,
        CLEConfig,
        ModelQuantizer,
        QConfig,
        QLayerConfig,
    )
    from quark.onnx.quantization.config.custom_config import XINT8_QCONFIG  # type: ignore[import-not-found]  # noqa: PLC0415
    from quark.onnx.quantization.config.spec import CalibMethod, Int8Spec  # type: ignore[import-not-found]  # noqa: PLC0415

    stopwatch.lap("imports")
    os.chdir(task.out)  # it leaves a table where it is run
    name = onnx.load(task.model).graph.input[0].name
    if task.method == "XINT8":
        config = XINT8_QCONFIG
    else:
        spec = Int8Spec(calibration_method=CalibMethod.MinMax)
        config = QConfig(
            global_config=QLayerConfig(activation=spec, weight=spec),
            algo_config=[CLEConfig(), BiasCorrectionConfig()],
        )

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
        """Hands the samples out one by one; Quark asks for them more than once."""

        def __init__(self) -> None:
            self._samples = task.samples()

        def get_next(self) -> dict[str, object] | None:
            sample = next(self._samples, None)
            return None if sample is None else {name: sample}

        def rewind(self) -> None:
            self._samples = task.samples()

        reset_iter = rewind

    ModelQuantizer(config).quantize_model(str(task.model), str(task.out / "model.onnx"), Reader())
    stopwatch.lap("conversion")
