"""litert-quantizer's recipe `static_wi8_ai8` on a float TFLite file: int8 weights per channel, int8 activations, asymmetric."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from benchmarks.tasks import Stopwatch, Task


def do(task: Task, stopwatch: Stopwatch) -> None:
    """Write ``model.tflite``."""
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - imports are a lap of their own, here and below
    from litert_quantizer import quantizer, recipe  # type: ignore[import-not-found]  # a peer, in an environment of its own  # noqa: PLC0415

    stopwatch.lap("imports")
    signatures = Interpreter(str(task.model)).get_signature_list()
    key, signature = next(iter(signatures.items()))
    name = signature["inputs"][0]
    made = quantizer.Quantizer(str(task.model))
    made.load_quantization_recipe(recipe.static_wi8_ai8())
    # A list, because the library reads its length first; channels last, as the file is.
    samples = [{name: np.ascontiguousarray(sample.transpose(0, 2, 3, 1))} for sample in task.samples()]
    result = made.quantize(
        made.calibrate({key: samples}), enable_progress_bar=False, enable_progress_report=False
    )
    result.export_model(task.out / "model.tflite", overwrite=True)
    stopwatch.lap("conversion")
