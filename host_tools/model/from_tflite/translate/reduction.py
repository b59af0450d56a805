"""Along whole axes: MEAN, SUM, REDUCE_*, ARG_MAX, ARG_MIN, TOPK_V2 and CUMSUM."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np
from onnx import TensorProto

from host_tools.layouts import natural

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from host_tools.layouts import Layout
    from host_tools.model.from_tflite.call import Call

_REDUCERS: Final = MappingProxyType(
    {
        "MEAN": "ReduceMean",
        "REDUCE_MAX": "ReduceMax",
        "REDUCE_MIN": "ReduceMin",
        "REDUCE_PROD": "ReduceProd",
        "SUM": "ReduceSum",
    }
)
_LOGICAL: Final = MappingProxyType({"REDUCE_ALL": "ReduceMin", "REDUCE_ANY": "ReduceMax"})


def reduce(call: Call) -> None:
    """Write a reduction along constant axes."""
    layout = _layout_to_reduce_in(call)
    found = _reduced(call, _REDUCERS[call.kind], call.read(0, layout), layout)
    call.write(found, layout if call.flag("KeepDims") else None)


def logical(call: Call) -> None:
    """Write REDUCE_ALL or REDUCE_ANY: the smallest or the largest of zeros and ones."""
    layout = _layout_to_reduce_in(call)
    numbers = call.node("Cast", call.read(0, layout), to=TensorProto.INT32)
    found = call.node("Cast", _reduced(call, _LOGICAL[call.kind], numbers, layout), to=TensorProto.BOOL)
    call.write(found, layout if call.flag("KeepDims") else None)


def _layout_to_reduce_in(call: Call) -> Layout:
    """Return the layout that the data lie in, unless what is left of them would lie in another order."""
    layout = call.layout(0)
    reduced = call.axes(1, len(layout))
    left = [axis for axis in layout if axis not in reduced]
    return layout if call.flag("KeepDims") or left == sorted(left) else natural(len(layout))


def _reduced(call: Call, op_type: str, data: str, layout: Layout) -> str:
    places = sorted({layout.index(axis) for axis in call.axes(1, len(layout))})
    if not places:
        return data
    return call.node(op_type, data, call.numbers(places), keepdims=int(call.flag("KeepDims")))


def arg(call: Call) -> None:
    """Write ARG_MAX or ARG_MIN, which give the first of equals."""
    rank = len(call.shape(0))
    axis = call.one_axis(1, rank)
    layout = call.layout(0)
    left = [one for one in layout if one != axis]
    layout = layout if left == sorted(left) else natural(rank)
    op_type = "ArgMax" if call.kind == "ARG_MAX" else "ArgMin"
    found = call.node(op_type, call.read(0, layout), axis=layout.index(axis), keepdims=0)
    if call.output_type(0) == TensorProto.INT32:
        found = call.node("Cast", found, to=TensorProto.INT32)
    call.write(found)


def top_k(call: Call) -> None:
    """Write a TOPK_V2: the largest along the last axis in falling order, and where they were."""
    layout = call.layout(0)
    [count] = call.integers(1)
    values, places = call.nodes(
        "TopK", call.read(0, layout), call.numbers([count]), axis=layout.index(len(layout) - 1)
    )
    if call.output_type(1) == TensorProto.INT32:
        places = call.node("Cast", places, to=TensorProto.INT32)
    call.write(values, layout, 0)
    call.write(places, layout, 1)


def cumsum(call: Call) -> None:
    """Write a CUMSUM along a constant axis."""
    layout = call.layout(0)
    axis = call.one_axis(1, len(layout))
    place = call.constant(np.asarray(layout.index(axis), np.int64))
    settings = {"exclusive": int(call.flag("Exclusive")), "reverse": int(call.flag("Reverse"))}
    call.write(call.node("CumSum", call.read(0, layout), place, **settings), layout)


TRANSLATORS: Mapping[str, Callable[[Call], None]] = MappingProxyType(
    {
        **dict.fromkeys(_REDUCERS, reduce),
        **dict.fromkeys(_LOGICAL, logical),
        "ARG_MAX": arg,
        "ARG_MIN": arg,
        "CUMSUM": cumsum,
        "TOPK_V2": top_k,
    }
)
