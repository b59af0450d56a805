"""`take_codes_out`: the tensors of a quantized ``.tflite`` file as real numbers, and their codings by tensor."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.errors import ModelError
from host_tools.model.from_tflite.constants import is_coded, stands_for_reals
from host_tools.model.quantized.coding import (
    EXACT_IN_FLOAT32,
    Coding,
    EdgeCoding,
    Quantization,
    checked_coding,
    meaning,
)
from host_tools.tflite_file import values_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from host_tools.model.from_tflite.session import Session
    from host_tools.tflite_file import FileGraph, FileOperator, FileTensor

_CHANGES_CODES: Final = "QUANTIZE"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Taken:
    """A graph of real numbers, and how the file coded them.

    Attributes:
        graph: The same operators, on activations of float32; constants stay as they are, and are read as what they stand for.
        codings: By tensor, activations and constants.
    """

    graph: FileGraph
    codings: Mapping[int, Coding]


def is_coded_graph(graph: FileGraph) -> bool:
    """Tell whether any activation is codes; weights alone leave a file a float model."""
    return first_on_codes(graph) is not None


def first_on_codes(graph: FileGraph) -> FileOperator | None:
    """Return the first operator that reads or writes codes as activations."""
    return next(
        (
            operator
            for operator in graph.operators
            for index in (*operator.inputs, *operator.outputs)
            if index >= 0 and graph.tensors[index].content is None and is_coded(graph.tensors[index])
        ),
        None,
    )


def take_codes_out(graph: FileGraph) -> Taken:
    """Return a quantized graph as a float one.

    Raises:
        ModelError: A scale, zero point or axis cannot be right, or an activation has several scales; the message names the tensor.
    """
    codings = {
        index: _coding(tensor) for index, tensor in enumerate(graph.tensors) if stands_for_reals(tensor)
    }
    tensors = tuple(
        dataclasses.replace(tensor, dtype="float32", scale=(), zero_point=(), axis=None)
        if index in codings and tensor.content is None
        else tensor
        for index, tensor in enumerate(graph.tensors)
    )
    return Taken(graph=dataclasses.replace(graph, tensors=tensors), codings=MappingProxyType(codings))


def _coding(tensor: FileTensor) -> Coding:
    try:
        coding = checked_coding(
            tensor.dtype, tensor.scale, tensor.zero_point, axis=tensor.axis, shape=tensor.shape
        )
        if tensor.content is None and coding.axis is not None:
            raise ValueError(f"is no constant and has {len(coding.scale)} scales; expected one")
    except ValueError as error:
        raise ModelError(
            f"Tensor {tensor.name!r} {error}.", hint="Write the model anew with the tool that made it."
        ) from error
    return coding


def quantization_of(taken: Taken, session: Session, outputs: Mapping[str, int]) -> Quantization:
    """Return what a file says of its codes, by the names that its tensors have in ONNX.

    Args:
        taken: Its graph, translated by ``session``.
        session: Which values hold which tensors.
        outputs: Tensors of the model's outputs, by the names that their values get.
    """
    activations: dict[str, Coding] = {}
    for index, coding in taken.codings.items():
        if taken.graph.tensors[index].content is None:
            for name in session.values_of(index):
                activations.setdefault(name, coding)  # what a QUANTIZE writes is its input, in another coding
    for name, index in outputs.items():
        known = [activations[value] for value in session.values_of(index) if value in activations]
        if known:
            activations[name] = taken.codings.get(index, known[0])
    constants = {name: index for name, index in session.constants_by_name.items() if index in taken.codings}
    return Quantization(
        form="TFLite",
        activations=activations,
        constants={name: taken.codings[index] for name, index in constants.items()},
        edges=tuple(_edges(taken, session, activations)),
        exact_values={
            name: real
            for name, index in constants.items()
            if (real := _beyond_float32(taken.graph.tensors[index], taken.codings[index]))
        },
    )


def _edges(taken: Taken, session: Session, activations: Mapping[str, Coding]) -> Iterable[EdgeCoding]:
    """Yield the operators that read a tensor which a QUANTIZE wrote in another coding."""
    for operator in taken.graph.operators:
        for index in operator.inputs:
            if index < 0 or index not in taken.codings or taken.graph.tensors[index].content is not None:
                continue
            for source in session.values_of(index):
                if activations[source] == taken.codings[index] or operator.kind == _CHANGES_CODES:
                    continue
                for out in operator.outputs:
                    for name in session.values_of(out):
                        yield EdgeCoding(source=source, output=name, coding=taken.codings[index])


def _beyond_float32(tensor: FileTensor, coding: Coding) -> tuple[float, ...]:
    """Return a constant's real numbers where float32 would change its codes; else nothing."""
    codes = values_of(tensor)
    if codes is None or codes.dtype.itemsize < 4 or not codes.size:
        return ()
    if max(-int(codes.min()), int(codes.max())) < EXACT_IN_FLOAT32:
        return ()
    return tuple(meaning(np.asarray(codes, np.int64), coding).reshape(-1).tolist())
