"""What to know of a model before it is calibrated: one sentence each, with what to do. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from host_tools.inspection.costs import MULTIPLYING_UNCOUNTED
from host_tools.inspection.figures import counted
from host_tools.model.opset import HIGHEST

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from host_tools.inspection.declared import Declared
    from host_tools.model.float_model import FloatModel
    from host_tools.model.topology import Network

_NARROW: Final = ("FLOAT16", "BFLOAT16")
_FLOATS: Final = ("float32",)


def cautions_of(
    model: FloatModel, network: Network, file: Declared, assumed: Mapping[str, tuple[int, ...]]
) -> tuple[str, ...]:
    """Return what to know, in the order in which a conversion meets it.

    Args:
        model: The canonical float model.
        network: Its graph by names.
        file: What its file says of itself.
        assumed: Shapes that were assumed, by input name.
    """
    found = [
        *_shapes(assumed),
        *_opset(file),
        *_weights(file),
        *_batches(model, assumed),
        *_integer_inputs(model),
        *_uncounted(network),
    ]
    return tuple(found)


def _shapes(assumed: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    for name, shape in assumed.items():
        text = ",".join(map(str, shape))
        yield f"Input {name!r} has a dynamic first axis; 1 is taken here. A conversion asks for --shape {name}={text}."


def _opset(file: Declared) -> Iterator[str]:
    if file.opset > HIGHEST:
        yield f"Opset {file.opset} is newer than {HIGHEST}, to which it is taken back; an export with opset {HIGHEST} is safer."


def _weights(file: Declared) -> Iterator[str]:
    for dtype in _NARROW:
        if dtype in file.weight_types:
            yield (
                f"{counted(file.weight_types[dtype])} weights are {dtype.lower()}: they are read as float32, and what they lost before "
                "stays lost. Give the float32 model, if there is one."
            )
    if "DOUBLE" in file.weight_types:
        yield f"{counted(file.weight_types['DOUBLE'])} weights are float64: they are rounded to float32."


def _batches(model: FloatModel, assumed: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    for spec in model.inputs:
        if len(spec.shape) > 1 and spec.shape[0] > 1 and spec.name not in assumed:
            yield f"Input {spec.name!r} takes {spec.shape[0]} at once: MACs, memory and latency are those of all {spec.shape[0]}."


def _integer_inputs(model: FloatModel) -> Iterator[str]:
    for spec in model.inputs:
        if spec.dtype not in _FLOATS:
            yield f"Input {spec.name!r} is {spec.dtype}: it stays so on every target. Give calibration data for it by name (.npz)."


def _uncounted(network: Network) -> Iterator[str]:
    kinds = sorted({node.op_type for node in network.nodes.values()} & MULTIPLYING_UNCOUNTED)
    if kinds:
        yield f"The MACs of {', '.join(kinds)} are not counted."
