"""Along whole axes, in float: Reduce*, ArgMax, ArgMin, TopK, CumSum, LogSoftmax, GlobalMaxPool, Layer- and InstanceNormalization."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from host_tools.lower.tflite import axes
from host_tools.lower.tflite.emit.arithmetic import read_broadcast
from host_tools.lower.tflite.emit.formula import Formula
from host_tools.lower.tflite.graph import Options
from host_tools.lower.tflite.layout import mean_axes
from host_tools.lower.tflite.plan_view import has_input, refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import onnx_ir as ir
    from numpy.typing import NDArray

    from host_tools.layouts import Layout
    from host_tools.lower.tflite.session import Session

_REDUCERS: Mapping[str, str] = MappingProxyType(
    {
        "ReduceL1": "SUM", "ReduceL2": "SUM", "ReduceLogSum": "SUM", "ReduceLogSumExp": "SUM", "ReduceMax": "REDUCE_MAX",
        "ReduceMin": "REDUCE_MIN", "ReduceProd": "REDUCE_PROD", "ReduceSum": "SUM", "ReduceSumSquare": "SUM",
    }
)  # fmt: skip
_LARGEST_FLOAT = 3.4028235e38


def reduce(session: Session, node: ir.Node) -> None:
    """Write a reduction: what each element becomes, the sum, product or extreme of them, and what that becomes."""
    value = node.inputs[0]
    layout = session.layout(value) if value is not None else ()
    formula, reduced = Formula(session, node), mean_axes(node)
    places = tuple(place for place, axis in enumerate(layout) if axis in reduced)
    keep = bool(node.attributes.get_int("keepdims", 1))
    data = session.read(node, 0)
    peak: int | None = None
    if node.op_type == "ReduceL1":
        data = formula.one("ABS", data, options=Options(kind="AbsOptions"))
    elif node.op_type in ("ReduceL2", "ReduceSumSquare"):
        data = formula.mul(data, data)
    elif node.op_type == "ReduceLogSumExp":
        peak = _finite(formula, formula.reduced("REDUCE_MAX", data, places) if places else data)
        data = formula.one("EXP", formula.sub(data, peak), options=Options(kind="ExpOptions"))
    result = (
        formula.reduced(_REDUCERS[node.op_type], data, places, keep=keep or peak is not None)
        if places
        else data
    )
    if node.op_type == "ReduceL2":
        result = formula.one("SQRT", result)
    elif node.op_type in ("ReduceLogSum", "ReduceLogSumExp"):
        result = formula.one("LOG", result)
    remaining = layout if keep else axes.without(layout, reduced)
    if peak is not None:
        result = formula.add(result, peak)
        if not keep:
            shape = [extent for place, extent in enumerate(formula.shape(result)) if place not in places]
            result = session.reshape(result, shape, node)
    formula.deliver(result, remaining)


def _finite(formula: Formula, peak: int) -> int:
    return formula.largest(
        formula.smallest(peak, formula.number(_LARGEST_FLOAT)), formula.number(-_LARGEST_FLOAT)
    )


def arg(session: Session, node: ir.Node) -> None:
    """Write ArgMax or ArgMin, which give the first of equals.

    Raises:
        LoweringError: It wants the last of equals.
    """
    if node.attributes.get_int("select_last_index", 0):
        raise refuse(node, "select_last_index = 1; TFLite gives the first of equals.")
    value = node.inputs[0]
    layout = session.layout(value) if value is not None else ()
    axis = node.attributes.get_int("axis", 0) % len(layout)
    formula, data = Formula(session, node), session.read(node, 0)
    place = layout.index(axis)
    before = formula.shape(data)
    shape = [extent for at, extent in enumerate(before) if at != place]
    operator = "ARG_MAX" if node.op_type == "ArgMax" else "ARG_MIN"
    kind = "ArgMaxOptions" if node.op_type == "ArgMax" else "ArgMinOptions"
    options = Options(kind=kind, fields={"outputType": _INT64})
    found = formula.one(
        operator, data, formula.integers("axis", [place]), shape=shape, options=options, type_="INT64"
    )
    if node.attributes.get_int("keepdims", 1):
        formula.deliver(session.reshape(found, [*before[:place], 1, *before[place + 1 :]], node), layout)
    else:
        formula.deliver(found, axes.without(layout, {axis}))


_INT64 = 4
"""Code of TensorType. Source: tflite/schema/schema.fbs."""


def top_k(session: Session, node: ir.Node) -> None:
    """Write a TopK: TFLite's works on the last axis and gives the largest, so the axis is brought there, and for the smallest the sign turned.

    Raises:
        LoweringError: k is computed, or what is sorted is of a type that the kernel does not take here.
    """
    value = node.inputs[0]
    layout = session.layout(value) if value is not None else ()
    axis = node.attributes.get_int("axis", -1) % len(layout)
    wanted = (*(a for a in layout if a != axis), axis)
    formula, data = Formula(session, node), session.read(node, 0, wanted)
    kind = session.graph.tensors[data].type
    if kind != "FLOAT32":
        raise refuse(node, f"sorts {kind}; TFLite files are written with it on FLOAT32.")
    is_largest = bool(node.attributes.get_int("largest", 1))
    count = int(session.array(node, 1).reshape(-1)[0])
    if not is_largest:
        data = formula.one("NEG", data, options=Options(kind="NegOptions"))
    shape = (*formula.shape(data)[:-1], count)
    name = node.outputs[0].name
    values = session.graph.tensor(f"{name}/sorted", shape, "FLOAT32")
    places = session.graph.tensor(f"{name}/places", shape, "INT32")
    limit = session.graph.constant("k", np.asarray(count, np.int32))
    session.add(node, "TOPK_V2", [data, limit], [values, places], Options(kind="TopKV2Options"))
    if not is_largest:
        values = formula.one("NEG", values, options=Options(kind="NegOptions"))
    found = formula.one("CAST", places, options=Options(kind="CastOptions"), type_="INT64")
    for index, tensor in enumerate((values, found)):
        if len(node.outputs) > index and node.outputs[index].name:
            formula.deliver(tensor, wanted, index)


def cumulative_sum(session: Session, node: ir.Node) -> None:
    """Write a CumSum along a constant axis."""
    layout = session.layout(node.outputs[0])
    formula, data = Formula(session, node), session.read(node, 0, layout)
    axis = int(session.array(node, 1).reshape(-1)[0]) % len(layout)
    along = session.graph.constant("axis", np.asarray(layout.index(axis), np.int32))
    fields = {name: bool(node.attributes.get_int(name, 0)) for name in ("exclusive", "reverse")}
    options = Options(kind="CumsumOptions", fields=fields)
    formula.deliver(formula.one("CUMSUM", data, along, options=options), layout)


def log_softmax(session: Session, node: ir.Node) -> None:
    """Write a LogSoftmax: TFLite's works on the last axis, so another axis is brought there and back."""
    layout = session.layout(node.outputs[0])
    axis = node.attributes.get_int("axis", -1) % len(layout)
    wanted = (*(a for a in layout if a != axis), axis)
    formula = Formula(session, node)
    data = session.read(node, 0, wanted)
    formula.deliver(formula.one("LOG_SOFTMAX", data, options=Options(kind="LogSoftmaxOptions")), wanted)


def global_max_pool(session: Session, node: ir.Node) -> None:
    """Write a GlobalMaxPool as REDUCE_MAX over all spatial axes."""
    layout = session.layout(node.outputs[0])
    formula, data = Formula(session, node), session.read(node, 0, session.layout(node.outputs[0]))
    places = [place for place, axis in enumerate(layout) if axis >= 2]
    formula.deliver(formula.reduced("REDUCE_MAX", data, places) if places else data, layout)


def layer_normalization(session: Session, node: ir.Node) -> None:
    """Write a LayerNormalization over its last axes."""
    layout = session.layout(node.outputs[0])
    first = node.attributes.get_int("axis", -1) % len(layout)
    formula, data = Formula(session, node), session.read(node, 0, layout)
    places = [place for place, axis in enumerate(layout) if axis >= first]
    mean, scale, result = _normalized(formula, data, places, node.attributes.get_float("epsilon", 1e-5))
    result = formula.mul(result, read_broadcast(session, node, 1))
    if has_input(node, 2):
        result = formula.add(result, read_broadcast(session, node, 2))
    formula.deliver(result, layout)
    for index, statistic in ((1, mean), (2, scale)):
        if len(node.outputs) > index and node.outputs[index].name:
            formula.deliver(statistic, layout, index)


def instance_normalization(session: Session, node: ir.Node) -> None:
    """Write an InstanceNormalization: over the spatial axes, with one factor and one offset a channel."""
    layout = session.layout(node.outputs[0])
    formula, data = Formula(session, node), session.read(node, 0, layout)
    places = [place for place, axis in enumerate(layout) if axis >= 2]
    _, _, result = _normalized(formula, data, places, node.attributes.get_float("epsilon", 1e-5))
    factor, offset = (_a_channel(session, layout, session.array(node, index)) for index in (1, 2))
    formula.deliver(formula.add(formula.mul(result, factor), offset), layout)


def _a_channel(session: Session, layout: Layout, values: NDArray[np.generic]) -> int:
    shape = [1] * len(layout)
    shape[layout.index(1)] = values.size
    return session.graph.constant("channels", values.reshape(shape))


def _normalized(formula: Formula, data: int, places: Sequence[int], epsilon: float) -> tuple[int, int, int]:
    """Return mean, one over the deviation, and the data less the one and times the other."""
    mean = formula.reduced("MEAN", data, places)
    centred = formula.sub(data, mean)
    variance = formula.reduced("MEAN", formula.mul(centred, centred), places)
    scale = formula.one("RSQRT", formula.add(variance, formula.number(epsilon)))
    return mean, scale, formula.mul(centred, scale)


EMITTERS: Mapping[str, Callable[[Session, ir.Node], None]] = MappingProxyType(
    {
        **dict.fromkeys(_REDUCERS, reduce),
        "ArgMax": arg,
        "ArgMin": arg,
        "CumSum": cumulative_sum,
        "GlobalMaxPool": global_max_pool,
        "InstanceNormalization": instance_normalization,
        "LayerNormalization": layer_normalization,
        "LogSoftmax": log_softmax,
        "TopK": top_k,
    }
)
