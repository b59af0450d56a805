"""The TFLite lowering against the template, on LiteRT's two kernel sets: XNNPACK, and the built-in ones; and operator by operator.

XNNPACK computes the plan to the bit but for ties. The built-in kernels round twice: their error at one operator is small and known
(`test_every_operator_is_as_exact_as_its_kernel`), and grows from layer to layer, which is what the wider limits of `BUILT_IN_LIMITS` are for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from lowering_cases import CASES, TWO_ENDS, Case
from lowering_template import LoweringTemplate, prepare
from plan_simulation import _run, through_codes
from tflite_file import BUILT_IN, every_value

from device_agent.engines import tflite as tflite_engine
from device_agent.engines.tflite import TfliteEngine
from targets import catalog

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lowering_template import Prepared
    from numpy.typing import NDArray

TIES = {
    "hard_sigmoid": (
        1,
        0.97,
    ),  # runs in float: its middle, 0.5, lies half way between two codes, and float32 falls to either side
    # A quotient of four taps is half way between codes one time in four. The kernel rounds it away from zero, the plan's arithmetic to
    # even, and the Conv behind makes more of it. Source: tflite/kernels/internal/reference/integer_ops/pooling.h, AveragePool.
    "average_pool": (10, 0.6),
    "average_pool_padded": (12, 0.8),
    # Sums of sixteenths, ties as often. Source: tflite/kernels/internal/reference/resize_bilinear.h, ResizeBilinearInteger.
    "resize_linear": (7, 0.85),
    # PRELU has no XNNPACK kernel for int8; the built-in one rounds twice.
    # Source: tflite/kernels/internal/common.h, MultiplyByQuantizedMultiplier without TFLITE_SINGLE_ROUNDING.
    "prelu": (5, 0.75),
    # XNNPACK multiplies by a factor of 8 fractional bits. Source: XNNPACK, src/microparams-init.c, xnn_init_qs8_lrelu_scalar_params.
    "leaky_relu": (1, 0.97),
}

BUILT_IN_LIMITS = {
    **TIES,
    "leaky_relu": (5, 0.7),
    "hard_sigmoid": (3, 0.95),
    # MEAN drops the fraction of the scaled zero point, so it is off by up to a code; few values come out here, so a share says little.
    # Source: tflite/kernels/internal/optimized/integer_ops/mean.h, Mean, ``bias``.
    **dict.fromkeys(("gemm", "global_average_pool", "reduce_mean", "squeeze", "unsqueeze"), (8, 0.4)),
    # Logits of a code apart; exp makes more of it.
    "softmax": (8, 0.7),
}


def load_built_in(files: Mapping[str, bytes], *, threads: int) -> TfliteEngine:
    interpreter = Interpreter(
        model_content=files["model.tflite"], num_threads=threads, experimental_op_resolver_type=BUILT_IN
    )
    interpreter.allocate_tensors()
    return TfliteEngine(interpreter, "ai-edge-litert", "built-in kernels")


class BuiltIn(LoweringTemplate):
    load = staticmethod(load_built_in)
    max_lsb = 8
    min_share_within_one = 0.85
    looser = BUILT_IN_LIMITS
    # The same file, asked the same way, whatever runs it: the classes on XNNPACK have it.
    test_what_the_plan_has_in_integers_runs_in_integers = None
    test_named_tensors_hold_the_values_they_are_named_for = None


class TestOnXnnpack(LoweringTemplate):
    target = "cortex-a-tflite"
    load = staticmethod(tflite_engine.load)
    looser = TIES


class TestOnBuiltInKernels(BuiltIn):
    target = "cortex-a-tflite"


class TestLegacyOnXnnpack(LoweringTemplate):
    target = "cortex-a-tflite-legacy"
    load = staticmethod(tflite_engine.load)
    looser = TIES


class TestLegacyOnBuiltInKernels(BuiltIn):
    target = "cortex-a-tflite-legacy"


class TestNeutronOnXnnpack(LoweringTemplate):
    target = "nxp-neutron"
    load = staticmethod(tflite_engine.load)
    looser = TIES


class TestNeutronOnBuiltInKernels(BuiltIn):
    target = "nxp-neutron"
    # One scale for a weight whose channels differ by a factor of ten: a code of the first layer is many of the last.
    looser = BUILT_IN_LIMITS | {"relu_bound_per_channel": (12, 0.6)}


class TestMicrocontrollerOnXnnpack(LoweringTemplate):
    target = "cortex-m-tflm"
    load = staticmethod(tflite_engine.load)
    looser = TIES


class TestEthosU55OnXnnpack(LoweringTemplate):
    target = "ethos-u55"
    load = staticmethod(tflite_engine.load)
    looser = TIES


class TestEthosU85OnXnnpack(LoweringTemplate):
    target = "ethos-u85"
    load = staticmethod(tflite_engine.load)
    looser = TIES


class TestEdgeTpuOnXnnpack(LoweringTemplate):
    target = "coral-edgetpu"
    load = staticmethod(tflite_engine.load)
    looser = TIES


class TestVxOnXnnpack(LoweringTemplate):
    target = "nxp-vx"
    load = staticmethod(tflite_engine.load)
    looser = TIES


def test_every_tflite_target_is_here() -> None:
    tested = {
        value.target for value in globals().values() if isinstance(value, type) and hasattr(value, "target")
    }
    assert tested == {name for name in catalog.ids() if catalog.load(name).artifact.format == "tflite"}


_KERNEL_ERROR = {
    "GlobalAveragePool": 0.95,  # as BUILT_IN_LIMITS says of MEAN
    "ReduceMean": 0.95,
}
_TWO_ROUNDINGS = 0.76
"""Half a code, and half of what one shift by a bit rounds away."""


@pytest.mark.parametrize("target", ["cortex-a-tflite", "nxp-neutron"])
@pytest.mark.parametrize("case", [*CASES, TWO_ENDS], ids=lambda case: case.name)
def test_every_operator_is_as_exact_as_its_kernel(case: Case, target: str, tmp_path: Path) -> None:
    """Each value against float arithmetic on the codes that its operator really read: no error is handed on."""
    prepared = prepare(case, tmp_path, catalog.load(target))
    payload = prepared.lower()
    compared = 0
    for sample in prepared.samples()[:2]:
        found = every_value(payload, sample, payload.tensor_axes)
        for op_type, name, exact in one_by_one(prepared, sample, found):
            qparams = prepared.plan.tensors[name].qparams
            if qparams is None:
                np.testing.assert_allclose(found[name], exact, rtol=1e-4, atol=1e-4, err_msg=name)
            else:
                code = found[name] / qparams.scale[0] + qparams.zero_point[0]
                wanted = exact.astype(np.float64) / qparams.scale[0] + qparams.zero_point[0]
                distance = np.abs(np.clip(wanted, qparams.quant_min, qparams.quant_max) - code).max()
                assert distance <= _KERNEL_ERROR.get(op_type, _TWO_ROUNDINGS), (op_type, name)
            compared += 1
    assert compared >= 4


def one_by_one(
    prepared: Prepared, sample: Mapping[str, NDArray[np.generic]], found: Mapping[str, NDArray[np.float64]]
) -> list[tuple[str, str, NDArray[np.generic]]]:
    """Return (operator, value, float result) for every value in ``found``, each from the found values that it is computed of."""
    graph = prepared.model.graph.graph
    edges = {(edge.node, edge.input_index): edge.qparams for edge in prepared.plan.requantize}
    values: dict[str, NDArray[np.generic]] = {
        name: through_codes(array, prepared.plan.tensors[name].qparams) for name, array in sample.items()
    }
    for name, value in graph.initializers.items():
        planned, array = prepared.plan.tensors.get(name), value.const_value.numpy()
        if planned is not None and planned.values is not None:
            array = np.asarray(planned.values, np.float32).reshape(array.shape)
        values[name] = through_codes(array, planned.qparams if planned is not None else None)
    results = []
    for node in graph:
        inputs = {
            f"i{index}": through_codes(values[value.name], edges.get((node.name, index)))
            for index, value in enumerate(node.inputs)
            if value is not None
        }
        for value, exact in zip(node.outputs, _run(node, inputs, graph.opset_imports[""]), strict=True):
            # A value that was fused away, or whose columns are in file order, does not show; what is behind it does.
            planned = prepared.plan.tensors[value.name]
            values[value.name] = through_codes(exact, planned.qparams)
            if value.name in found:
                values[value.name] = found[value.name].astype(np.float32)
                results.append((node.op_type, value.name, exact))
    return results
