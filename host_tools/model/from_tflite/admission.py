"""Which files are quantized already. They are no float models, and say so before anything is translated."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from host_tools.errors import ModelError
from host_tools.model.from_tflite.constants import is_coded

if TYPE_CHECKING:
    from host_tools.tflite_file import FileGraph, FileOperator


def quantized_operator(graph: FileGraph) -> str | None:
    """Return the first operator that computes with codes, as ``KIND 'name'``; None for a float model.

    Weights alone may be codes: with float around them the file is a float model in little space.
    """
    found = next((one for one in graph.operators if _computes_in(graph, one)), None)
    return None if found is None else f"{found.kind} {_name(graph, found)!r}"


def require_float(graph: FileGraph, *, where: str) -> None:
    """Refuse a file, called ``where``, whose activations are codes.

    Raises:
        ModelError: It is quantized already; the message says in which type, and how much of it.
    """
    kinds = Counter(kind for one in graph.operators if (kind := _computes_in(graph, one)) is not None)
    if kinds:
        raise ModelError(
            f"{where} is quantized already: {sum(kinds.values())} of its {len(graph.operators)} operators compute in "
            f"{' and '.join(sorted(kinds))}, the first is {quantized_operator(graph)}.",
            hint="Give the float model it was made from, since ranges and scales are chosen here for each target; "
            "`edgewright inspect` and `edgewright targets check` tell what the quantized file is.",
        )


def _computes_in(graph: FileGraph, operator: FileOperator) -> str | None:
    """Return the type of codes that an operator reads or writes as activations."""
    for index in (*operator.inputs, *operator.outputs):
        if index >= 0 and graph.tensors[index].content is None and is_coded(graph.tensors[index]):
            return graph.tensors[index].dtype
    return None


def _name(graph: FileGraph, operator: FileOperator) -> str:
    return graph.tensors[operator.outputs[0]].name if operator.outputs else ""
