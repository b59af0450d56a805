"""What the simulator stored, held against float kernels, node by node on the codes that each node read: no error is handed on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.unit.host_tools.lower.plan_simulation import _run, through_codes

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx_ir as ir
    from numpy.typing import NDArray

    from tests.unit.host_tools.simulate.parity import Planned


def assert_real(made: Planned, stored: Mapping[str, NDArray[np.generic]]) -> None:
    """Hold each stored value against float kernels that read the stored values before it."""
    graph = made.model.graph.graph
    edges = {(edge.node, edge.input_index): edge.qparams for edge in made.plan.requantize}
    tensors = made.plan.tensors
    values: dict[str, NDArray[np.generic]] = {}
    for name, codes in stored.items():
        qparams = tensors[name].qparams
        values[name] = (
            codes
            if qparams is None
            else ((codes.astype(np.float64) - qparams.zero_point[0]) * qparams.scale[0]).astype(np.float32)
        )
    for name, value in graph.initializers.items():
        array = value.const_value.numpy()
        entry = tensors.get(name)
        if entry is not None and entry.values is not None:
            array = np.asarray(entry.values, np.float32).reshape(array.shape)
        values[name] = through_codes(array, entry.qparams if entry is not None else None)
    noise: dict[str, float] = {}
    for node in graph:
        inputs = {
            f"i{index}": through_codes(values[value.name], edges.get((node.name, index)))
            for index, value in enumerate(node.inputs)
            if value is not None
        }
        opset = graph.opset_imports[""]
        blur = _blur(node, inputs, opset)
        blur += max((noise.get(value.name, 0.0) for value in node.inputs if value is not None), default=0.0)
        for value, real in zip(node.outputs, _run(node, inputs, opset), strict=True):
            if value.name not in stored:  # inside a chain
                values[value.name], noise[value.name] = real, blur
                continue
            qparams = tensors[value.name].qparams
            if qparams is None:
                np.testing.assert_allclose(stored[value.name], real, rtol=1e-4, atol=1e-4 + blur)
                continue
            wanted = np.clip(
                real.astype(np.float64) / qparams.scale[0] + qparams.zero_point[0],
                qparams.quant_min,
                qparams.quant_max,
            )
            slack = 1e-3 + blur / qparams.scale[0]
            assert np.abs(wanted - stored[value.name]).max() <= 0.5 + slack, (node.op_type, value.name)


def _blur(node: ir.Node, inputs: Mapping[str, NDArray[np.generic]], opset: int) -> float:
    """Return how far float32 may be off in a node's sums: a few last bits of the sum of magnitudes."""
    sizes = {
        name: np.asarray(np.abs(array)) if array.dtype == np.float32 else array
        for name, array in inputs.items()
    }
    if node.op_type in {"Conv", "ConvTranspose", "Gemm", "MatMul", "Add"}:
        largest = float(_run(node, sizes, opset)[0].max())
    else:
        finite = [array[np.isfinite(array)] for array in sizes.values() if array.dtype == np.float32]
        largest = max(float(array.max(initial=0.0)) for array in finite)
    return 2e-6 * largest
