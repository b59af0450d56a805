"""AIMET: cross-layer equalization, then AdaRound, symmetric and per tensor; QDQ as it exports them.

AdaRound runs with 250 iterations on 32 pictures: AIMET's manual names 10,000, which would take hours here (4 to 5 s a layer before the
first). Ranges are min-max over all pictures.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from benchmarks.tasks import Stopwatch, Task

ITERATIONS: Final = 250
PICTURES: Final = 32
_RULES: Final = {
    "defaults": {
        "ops": {"is_output_quantized": "True", "is_symmetric": "True"},
        "params": {"is_quantized": "True", "is_symmetric": "True"},
        "strict_symmetric": "False",
        "per_channel_quantization": "False",
    },
    "params": {"bias": {"is_quantized": "False"}},
    "op_type": {},
    "supergroups": [{"op_list": ["Conv", "Relu"]}, {"op_list": ["Conv", "Clip"]}],
    "model_input": {"is_input_quantized": "True"},
    "model_output": {},
}


def do(task: Task, stopwatch: Stopwatch) -> None:
    """Write ``model.onnx``."""
    import onnx  # noqa: PLC0415 - imports are a lap of their own, here and below
    from aimet_onnx import QuantizationSimModel  # type: ignore[import-not-found]  # a peer, in an environment of its own  # noqa: PLC0415
    from aimet_onnx.adaround.adaround_weight import Adaround  # type: ignore[import-not-found]  # noqa: PLC0415
    from aimet_onnx.cross_layer_equalization import equalize_model  # type: ignore[import-not-found]  # noqa: PLC0415

    stopwatch.lap("imports")
    rules = task.out / "rules.json"
    rules.write_text(json.dumps(_RULES), encoding="utf-8")
    model = onnx.load(task.model)
    name = model.graph.input[0].name
    samples = [{name: sample} for sample in task.samples()]
    equalize_model(model)
    sim = QuantizationSimModel(model, quant_scheme="min_max", config_file=str(rules))
    Adaround.apply_adaround(sim, samples[:PICTURES], num_iterations=ITERATIONS)
    sim.compute_encodings(samples)
    onnx.save(sim.to_onnx_qdq(force_activation_as="signed"), task.out / "model.onnx")
    stopwatch.lap("conversion")
