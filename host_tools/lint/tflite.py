"""Read a ``.tflite`` file into facts: what `host_tools.tflite_file` reads, in the words of profiles."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from host_tools import tflite_file
from host_tools.lint.facts import LintedFile, LintedOp, LintedTensor, channels_first
from host_tools.lint.tflite_operators import ACTIVATIONS, OPERATORS, BuiltinOperator
from host_tools.tflite_file import ACTIVATION_FUNCTIONS, MOST_AXES, values_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from host_tools.tflite_file import FileGraph, FileOperator, FileTensor

_CHANNELS_LAST: Final = (0, 2, 3, 1)
"""Axis of ONNX's channels-first order for each axis of a rank-4 tensor; TFLite's operators are channels last."""


def read_tflite(data: bytes) -> LintedFile:
    """Return what the file says.

    Raises:
        ValueError: It is no TFLite file, or is beyond what a model of that format can be.
        Exception: Whatever the schema's classes raise on bytes that are not sound.
    """
    file = tflite_file.read_tflite(data)
    main, *others = file.graphs
    tensors = [_tensor(one) for one in main.tensors]
    ops = _operators(main, tensors, "")
    for number, graph in enumerate(others, 1):
        ops += _operators(graph, [_tensor(one) for one in graph.tensors], f"subgraph {number}: ")
    return LintedFile(
        format="tflite",
        schema=file.schema,
        inputs=tuple(tensors[index] for index in main.inputs),
        outputs=tuple(tensors[index] for index in main.outputs),
        ops=tuple(ops),
    )


def _tensor(tensor: FileTensor) -> LintedTensor:
    return LintedTensor(
        name=tensor.name,
        dtype=tensor.dtype,
        shape=tensor.signature,
        scale=tensor.scale,
        zero_point=tensor.zero_point,
        axis=tensor.axis,
        codes=values_of(tensor),
        is_constant=tensor.content is not None,
    )


def _operators(graph: FileGraph, tensors: Sequence[LintedTensor], prefix: str) -> list[LintedOp]:
    unpacked = {
        one.outputs[0]: tensors[one.inputs[0]]
        for one in graph.operators
        if one.kind == "DEQUANTIZE" and one.outputs and one.inputs and _is_half(tensors, one.inputs[0])
    }
    return [_operator(one, tensors, prefix, unpacked) for one in graph.operators]


def _is_half(tensors: Sequence[LintedTensor], index: int) -> bool:
    return index >= 0 and tensors[index].is_constant and tensors[index].dtype == "float16"


def _operator(
    operator: FileOperator,
    tensors: Sequence[LintedTensor],
    prefix: str,
    unpacked: Mapping[int, LintedTensor],
) -> LintedOp:
    """Return an operator; what it reads of constants in float16 is told as it is stored."""
    kind, settings = operator.kind, operator.settings
    outputs = [tensors[index] for index in operator.outputs]
    read = [tensors[index] if index >= 0 else None for index in operator.inputs]
    given = [unpacked.get(index, one) for index, one in zip(operator.inputs, read, strict=True)]
    known = OPERATORS.get(kind, BuiltinOperator(stands_for=()))
    places = range(len(given)) if known.data is None else known.data
    data = [tensor for place in places if (tensor := _at(given, place)) is not None]
    weight = _at(given, known.weight)
    return LintedOp(
        name=prefix + (outputs[0].name if outputs else kind),
        kind=kind,
        stands_for=_stands_for(kind, known, data, settings),
        version=operator.version,
        data=tuple(data),
        weight=None if weight is None else channels_first(weight, known.channel_axis),
        bias=_at(given, known.bias),
        outputs=tuple(outputs),
        strides=_pair(settings, "StrideH", "StrideW"),
        kernel=_kernel(settings, weight, kind),
        dilations=_pair(settings, "DilationHFactor", "DilationWFactor"),
        axes=_axes(kind, data, _at(given, known.axes), _at(given, 1), settings),
        mode=known.mode,
        activation=ACTIVATIONS[
            ACTIVATION_FUNCTIONS.get(int(settings.get("FusedActivationFunction", 0)), "NONE")
        ],
        is_conversion=_is_conversion(kind, data, outputs),
        settings=MappingProxyType(settings),
        inputs=tuple(read),
    )


def _stands_for(
    kind: str, known: BuiltinOperator, data: Sequence[LintedTensor], settings: Mapping[str, float]
) -> tuple[str, ...]:
    """Return the operator types; a FULLY_CONNECTED of more than two axes is a MatMul and nothing else."""
    if kind == "FULLY_CONNECTED" and settings.get("KeepNumDims") and data and len(data[0].shape or ()) > 2:
        return ("MatMul",)
    return known.stands_for


def _is_conversion(kind: str, data: Sequence[LintedTensor], outputs: Sequence[LintedTensor]) -> bool:
    """Tell whether it only leads from reals to codes or back, or re-bases codes; a change of scale is arithmetic."""
    if kind == "DEQUANTIZE":
        return True
    ends = [tensor.dtype for tensor in (*data[:1], *outputs[:1])]
    return kind == "QUANTIZE" and len(set(ends)) == 2


def _kernel(settings: Mapping[str, float], weight: LintedTensor | None, kind: str) -> tuple[int, ...]:
    if weight is not None and weight.shape is not None and "CONV" in kind:
        return weight.shape[1:3]
    return _pair(settings, "FilterHeight", "FilterWidth")


def _axes(
    kind: str,
    data: Sequence[LintedTensor],
    listed: LintedTensor | None,
    second: LintedTensor | None,
    settings: Mapping[str, float],
) -> tuple[int, ...]:
    """Return the axes that an operator works on, in channels-first order; nothing where the order of axes cannot be known."""
    rank = len(data[0].shape or ()) if data else 0
    if rank not in (1, 2, 4):
        return ()
    found: Sequence[int] = ()
    if listed is not None and listed.codes is not None:
        found = [int(axis) for axis in listed.codes.reshape(-1)[:MOST_AXES]]
    elif kind == "CONCATENATION":
        found = [int(settings.get("Axis", 0))]
    elif kind == "SOFTMAX":
        found = [rank - 1]
    elif "PAD" in kind and second is not None and second.codes is not None and second.codes.size == 2 * rank:
        found = [axis for axis, row in enumerate(second.codes.reshape(rank, 2)) if row.any()]
    order = _CHANNELS_LAST if rank == 4 else range(rank)
    return tuple(sorted({order[axis % rank] for axis in found}))


def _pair(settings: Mapping[str, float], first: str, second: str) -> tuple[int, ...]:
    return (int(settings[first]), int(settings[second])) if first in settings else ()


def _at(given: Sequence[LintedTensor | None], place: int | None) -> LintedTensor | None:
    return given[place] if place is not None and place < len(given) else None
