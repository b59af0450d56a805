"""What is refused at the door, by name and with the reason, before anything is changed."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from host_tools.errors import ModelError, UnsupportedOperatorError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

_DEFAULT_DOMAINS = ("", "ai.onnx")
_QUANTIZED = re.compile(
    r"QuantizeLinear|DequantizeLinear|DynamicQuantize\w+|QLinear\w+|QGemm|ConvInteger|MatMulInteger\w*|MatMulNBits"
)
_RANDOM = ("Bernoulli", "Multinomial", "RandomNormalLike", "RandomUniformLike")  # those that read an input
_WHOLE = frozenset({ir.DataType.INT32, ir.DataType.INT64, ir.DataType.BOOL})
_WEIGHTS_OF: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"Conv": (1,), "ConvTranspose": (1,), "Gemm": (0, 1), "MatMul": (0, 1), "Gather": (0,)}
)
"""Which inputs are weights, or a table."""
_INFINITE_ALLOWED = {"Clip": (1, 2), "Max": None, "Min": None}  # None: any input
FLOAT_TYPES = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def is_quantized(op_type: str) -> bool:
    """Tell whether an operator of that type stands in quantized models only."""
    return _QUANTIZED.fullmatch(op_type) is not None


def label(node: ir.Node) -> str:
    """Name a node for a message: its name, or its first output when it has none."""
    name = node.name or next((value.name for value in node.outputs if value.name), "") or "?"
    return f"{node.op_type} {name!r}"


def require_convertible(model: ir.Model) -> None:
    """Refuse what no conversion can follow.

    Raises:
        ModelError: Already quantized, no nodes, no outputs, a non-tensor or non-number input, integer inputs only.
        UnsupportedOperatorError: An operator of a custom domain, named with its node.
    """
    graph = model.graph
    if graph.num_nodes() == 0:
        raise ModelError("The graph has no nodes: there is nothing to convert.")
    if not graph.outputs:
        raise ModelError(
            "The graph has no outputs.", hint="Mark the results as graph outputs when exporting."
        )
    for node in ir.traversal.RecursiveGraphIterator(graph):
        _require_known_node(node, model)
    _require_usable_inputs(graph)


def _require_known_node(node: ir.Node, model: ir.Model) -> None:
    if is_quantized(node.op_type):
        raise ModelError(
            f"{label(node)}: the model is already quantized, in a function or a branch of its own.",
            hint="Inline the model's functions before it is quantized, or give the float model it was made from.",
        )
    if node.domain not in _DEFAULT_DOMAINS and node.op_identifier() not in model.functions:
        raise UnsupportedOperatorError(
            f"{label(node)} is of the custom domain {node.domain!r}.",
            hint="Export the model with standard ONNX operators only.",
        )


def _require_usable_inputs(graph: ir.Graph) -> None:
    fed = [value for value in graph.inputs if not value.is_initializer()]
    if not fed:
        raise ModelError(
            "The graph has no inputs: its outputs are constants.", hint="There is nothing to calibrate."
        )
    for value in fed:
        if not isinstance(value.type, ir.TensorType) or value.dtype is None:
            raise ModelError(f"Input {value.name!r} is not a tensor of a known type, but {value.type}.")
    if not any(value.dtype in FLOAT_TYPES for value in fed) and not _becomes_float(graph, fed):
        kinds = ", ".join(f"{value.name!r} ({value.dtype})" for value in fed)
        raise ModelError(
            f"No input is a float tensor: {kinds}.",
            hint="Export the model so that it takes the float tensor behind the Cast, Gather or normalisation at its start.",
        )


def _becomes_float(graph: ir.Graph, fed: Iterable[ir.Value]) -> bool:
    """Tell whether whole numbers come in and floats are computed.

    A table of floats is looked up, as a text encoder does with its tokens, or floats are multiplied, behind a one-hot code or a Cast.
    """
    if any(value.dtype not in _WHOLE for value in fed):
        return any(node.op_type == "Gather" and _has_floats(node, 0) for node in graph)
    return any(_has_floats(node, at) for node in graph for at in _WEIGHTS_OF.get(node.op_type, ()))


def _has_floats(node: ir.Node, at: int) -> bool:
    value = node.inputs[at] if len(node.inputs) > at else None
    if value is None or value.dtype not in FLOAT_TYPES:
        return False
    return value.is_initializer() or getattr(value.producer(), "op_type", "") == "Constant"


def require_no_subgraphs(graph: ir.Graph) -> None:
    """Refuse control flow that folding could not resolve.

    Raises:
        UnsupportedOperatorError: A node holds a graph (If, Loop, Scan, SequenceMap).
    """
    for node in graph:
        if any(
            attr.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
            for attr in node.attributes.values()
        ):
            raise UnsupportedOperatorError(
                f"{label(node)} is control flow that depends on the data.",
                hint="Export the model with fixed shapes, so that the branch or loop is resolved; where an input decides it, fix that with "
                "--constant NAME=NUMBER; a recurrent layer of Keras with unroll=True.",
            )


def require_fed(graph: ir.Graph) -> None:
    """Refuse what neither reads an input nor could be computed once and for all, and what draws lots.

    Raises:
        UnsupportedOperatorError: Random numbers, or a constant that is far larger than the model that makes it.
    """
    for node in graph:
        if node.op_type in _RANDOM:
            raise UnsupportedOperatorError(
                f"{label(node)} draws random numbers: no two engines would agree, nor two runs of one.",
                hint="Leave it out of the model, or feed its result as an input.",
            )
        if all(value is None or value.is_initializer() for value in node.inputs):
            raise UnsupportedOperatorError(
                f"{label(node)} depends on no input, and its result is random or too large to be stored as a constant.",
                hint="Leave it out of the model, or feed its result as an input.",
            )


@np.errstate(invalid="ignore")  # a signalling NaN would warn before it is refused
def require_finite(graph: ir.Graph, *, after: str = "") -> None:
    """Refuse NaN and Inf in weights and attributes; infinite bounds of Clip, Min and Max are fine.

    Raises:
        ModelError: Names the tensor, a node that reads it, and the count.
    """
    for name, value in graph.initializers.items():
        if value.const_value is None or value.const_value.dtype not in FLOAT_TYPES:
            continue
        array = np.asarray(value.const_value.numpy())
        if not _all_finite(array) and not _only_infinite_bounds(value, array):
            bad = np.asarray(~np.isfinite(array.astype(np.float64)))
            reader = next((label(use.node) for use in value.uses()), "no node")
            raise ModelError(
                f"Weight {name!r}, read by {reader}, has {int(bad.sum())} of {bad.size} values NaN or infinite{after}.",
                hint="Export the model again from a sound checkpoint.",
            )
    for node in graph:
        for attribute in node.attributes.values():
            if not _finite_attribute(attribute):
                raise ModelError(f"{label(node)}: attribute {attribute.name!r} is NaN or infinite.")


def _all_finite(array: NDArray[np.generic]) -> bool:
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float32)
    # One pass without a temporary of the weights' size: a sum is finite unless an element is not (or it overflows).
    return bool(np.isfinite(np.add.reduce(array, axis=None, dtype=np.float64)))


def _only_infinite_bounds(value: ir.Value, array: NDArray[np.generic]) -> bool:
    if np.isnan(array.astype(np.float64)).any() or not value.uses():
        return False
    return all(_takes_infinity(use.node.op_type, use.idx) for use in value.uses())


def _takes_infinity(op_type: str, index: int) -> bool:
    if op_type not in _INFINITE_ALLOWED:
        return False
    allowed = _INFINITE_ALLOWED[op_type]
    return allowed is None or index in allowed


def _finite_attribute(attribute: ir.Attr) -> bool:
    values: Iterable[float]
    if attribute.is_ref():
        return True
    if attribute.type == ir.AttributeType.FLOAT:
        values = (attribute.as_float(),)
    elif attribute.type == ir.AttributeType.FLOATS:
        values = attribute.as_floats()
    else:
        return True
    return bool(np.isfinite(np.asarray(list(values), dtype=np.float64)).all())
