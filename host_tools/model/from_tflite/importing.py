"""`to_onnx`: the bytes of a ``.tflite`` file become an ONNX model with the file's own inputs and outputs."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from host_tools.errors import ModelError, UnsupportedOperatorError
from host_tools.model.from_tflite.call import Call, label
from host_tools.model.from_tflite.constants import is_coded
from host_tools.model.from_tflite.folding import folded
from host_tools.model.from_tflite.onnx_graph import ELEMENT_TYPES, OnnxGraph
from host_tools.model.from_tflite.session import Session
from host_tools.model.from_tflite.translate import TRANSLATORS
from host_tools.model.quantized.from_tflite import is_coded_graph, quantization_of, take_codes_out
from host_tools.tflite_file import read_tflite

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import onnx

    from host_tools.model.quantized import Quantization
    from host_tools.tflite_file import FileGraph, FileOperator, FileTensor, TfliteFile

_NO_SHAPES: Mapping[str, tuple[int, ...]] = MappingProxyType({})
_GROWTH: Final = 16
"""How many times the file its constants may take as float32: eight for 4 bits, and once more in another layout."""
_LEAST_ROOM: Final = 64 << 20
_ANEW: Final = "Write the model anew with the tool that made it."
_CONTROL_FLOW: Final = frozenset({"CALL", "CALL_ONCE", "IF", "WHILE"})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Imported:
    """A model as ONNX, images channels first inside, and in the file's own order at its inputs and outputs.

    Attributes:
        model: The model.
        notes: What the user may want to know, one sentence each.
        quantization: What a quantized file says of its codes; None for a float model.
    """

    model: onnx.ModelProto
    notes: tuple[str, ...]
    quantization: Quantization | None


def read_sound(data: bytes, *, where: str) -> TfliteFile:
    """Return what a ``.tflite`` file says; ``where`` is what to call it.

    Raises:
        ModelError: It is not sound.
    """
    try:
        return read_tflite(data)
    except Exception as error:  # what the schema's classes raise on bytes that are not sound is theirs
        cause = str(error).strip().splitlines()
        raise ModelError(
            f"{where} is not a sound .tflite file, or was cut short: {cause[0][:200] if cause else type(error).__name__}.",
            hint="Copy it again, or write it anew with the tool that made it.",
        ) from error


def to_onnx(data: bytes, *, where: str, shapes: Mapping[str, tuple[int, ...]] = _NO_SHAPES) -> Imported:
    """Translate a model; a quantized one as the float model that its codes stand for, with what it says of them.

    Args:
        data: The file.
        where: What to call it in messages.
        shapes: Shapes of inputs by name, where the file leaves extents open; else they are as the file has them.

    Raises:
        ModelError: It is not sound.
        UnsupportedOperatorError: An operator, or what it asks for, is not translated; the message names it.
    """
    file = read_sound(data, where=where)
    taken = take_codes_out(file.graphs[0]) if is_coded_graph(file.graphs[0]) else None
    graph = file.graphs[0] if taken is None else taken.graph
    inputs, outputs = _named(graph, graph.inputs, "input"), _named(graph, graph.outputs, "output")
    for name in inputs.keys() & outputs.keys():
        raise ModelError(
            f"{name!r} is an input and an output of the file.", hint="Give each a name of its own."
        )
    session = Session(graph, OnnxGraph(_LEAST_ROOM + _GROWTH * len(data), (*inputs, *outputs)))
    for name, index in inputs.items():
        _add_input(session, name, index, shapes)
    for operator in graph.operators:
        _translate(session, operator)
    values = {name: _output(session, index) for name, index in outputs.items()}
    return Imported(
        model=session.onnx.model(values, producer=f"TFLite schema {file.schema}"),
        notes=(*(_restored(graph) if taken is None else ()), *_closed(graph, inputs, shapes)),
        quantization=None if taken is None else quantization_of(taken, session, outputs),
    )


def _restored(graph: FileGraph) -> Iterator[str]:
    """Say which constants are float32 only here."""
    sizes: Counter[str] = Counter()
    for tensor in graph.tensors:
        if tensor.content is not None and (tensor.dtype == "float16" or is_coded(tensor)):
            sizes[tensor.dtype] += math.prod(tensor.shape)
    for dtype, count in sorted(sizes.items()):
        yield (
            f"{count} weights are stored as {dtype}: they are taken as float32, and what they lost when they were stored stays lost."
        )


def _closed(
    graph: FileGraph, inputs: Mapping[str, int], shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[str]:
    """Say which inputs got a shape that the file leaves open."""
    for name, index in inputs.items():
        tensor = graph.tensors[index]
        if tensor.signature != tensor.shape and name not in shapes:
            given = ",".join(map(str, tensor.shape))
            yield f"Input {name!r} may have other shapes; it is taken as the file has it: --shape {name}={given} says so, too."


def _named(graph: FileGraph, indices: Sequence[int], nameless: str) -> dict[str, int]:
    """Return tensors by name.

    Raises:
        ModelError: Two have one name.
    """
    found: dict[str, int] = {}
    for index in indices:
        name = graph.tensors[index].name or nameless
        if name in found:
            raise ModelError(
                f"Two {nameless}s of the file are called {name!r}.", hint="Give each a name of its own."
            )
        found[name] = index
    return found


def _add_input(session: Session, name: str, index: int, shapes: Mapping[str, tuple[int, ...]]) -> None:
    tensor = session.file.tensors[index]
    if tensor.dtype not in ELEMENT_TYPES or tensor.content is not None:
        what = "a constant" if tensor.content is not None else tensor.dtype
        raise ModelError(
            f"Input {name!r} is {what}, which cannot be fed.",
            hint="Export the model so that its inputs are numbers.",
        )
    try:
        session.write(
            index, session.onnx.input(name, ELEMENT_TYPES[tensor.dtype], _fed_shape(tensor, shapes))
        )
    except ValueError as error:
        raise ModelError(f"Input {name!r}: {error}.", hint=_ANEW) from error


def _fed_shape(tensor: FileTensor, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Return an input's shape: as the user fixed it, where the file leaves that open."""
    wanted = shapes.get(tensor.name, ())
    fits = len(wanted) == len(tensor.signature) and all(
        open_ in (-1, extent) for open_, extent in zip(tensor.signature, wanted, strict=True)
    )
    return wanted if fits else tensor.shape


def _translate(session: Session, operator: FileOperator) -> None:
    where = label(session, operator)
    translator = TRANSLATORS.get(operator.kind)
    try:
        known = folded(session, operator, translator)
        if known is not None:
            for index, values in zip(operator.outputs, known, strict=True):
                session.know(index, values)
        elif translator is not None:
            translator(Call(session, operator))
        else:
            raise _unknown(operator, where)
    except (ValueError, IndexError, OverflowError) as error:
        cause = str(error).strip().splitlines()
        raise ModelError(
            f"{where}: the file is not sound here: {cause[0] if cause else type(error).__name__}.",
            hint=_ANEW,
        ) from error


def _unknown(operator: FileOperator, where: str) -> UnsupportedOperatorError:
    if operator.kind in _CONTROL_FLOW:
        return UnsupportedOperatorError(
            f"{where} is control flow, which is not translated.",
            hint="Export the model with its loops unrolled, or give its ONNX export.",
        )
    if operator.kind.startswith("custom"):
        return UnsupportedOperatorError(
            f"{where} is an operator of somebody's own.",
            hint="Export the model with builtin operators only.",
        )
    return UnsupportedOperatorError(
        f"{where} is not translated from TFLite.",
        hint="docs/inputs.md lists what is; or give the model's ONNX export.",
    )


def _output(session: Session, index: int) -> str:
    try:
        return session.read(index)
    except ValueError as error:
        raise ModelError(f"Output {session.file.tensors[index].name!r}: {error}.", hint=_ANEW) from error
