"""`make_constant`: inputs that the user fixes for good, such as a sample rate that chooses a branch, become constants."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from host_tools.errors import DynamicShapeError, ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


def make_constant(
    graph: ir.Graph, constants: Mapping[str, tuple[float, ...]], shapes: Mapping[str, tuple[int, ...]]
) -> str | None:
    """Give inputs their value, after which they are inputs no more.

    Args:
        graph: Changed in place.
        constants: By input name, one number for all of its elements, or one for each in C order.
        shapes: Shapes that the user fixed; an extent that is open in both is 1.

    Returns:
        A note with names and values, or None where there are none.

    Raises:
        ModelError: A name is no input, the count of numbers does not fit its shape, or a number does not fit its type.
        DynamicShapeError: An input without a shape, and none is given.
    """
    inputs = {str(value.name): value for value in graph.inputs if not value.is_initializer()}
    for name, numbers in constants.items():
        value = inputs.get(name)
        if value is None:
            raise ModelError(
                f"--constant names {name!r}, which is no input.", hint=f"Inputs are: {', '.join(inputs)}."
            )
        value.const_value = ir.tensor(_array(value, numbers, shapes.get(name)), name=name)
        value.shape = ir.Shape(value.const_value.shape.numpy())
        graph.register_initializer(value)
        graph.inputs.remove(value)
    if not constants:
        return None
    told = ", ".join(
        f"{name!r} = {', '.join(f'{one:.15g}' for one in numbers)}" for name, numbers in constants.items()
    )
    return f"Fixed for good: {told}."


def _array(value: ir.Value, numbers: tuple[float, ...], given: tuple[int, ...] | None) -> NDArray[np.generic]:
    shape = given if given is not None else _extents(value)
    if len(numbers) not in (1, math.prod(shape)):
        raise ModelError(
            f"--constant {value.name}: expected 1 number, or {math.prod(shape)} for the shape {list(shape)}, got {len(numbers)}."
        )
    if not isinstance(value.type, ir.TensorType) or value.type.dtype.numpy().kind not in "fiub":
        raise ModelError(
            f"--constant {value.name}: only inputs of numbers can be constants, it is {value.type}."
        )
    dtype = value.type.dtype.numpy()
    try:
        with np.errstate(all="ignore"):  # what does not fit is found below
            array = np.asarray(numbers).astype(dtype)
    except OverflowError:
        array = np.zeros(len(numbers), dtype)
    is_rounded = array.dtype.kind == "f" and bool(np.isfinite(array).all())
    if not is_rounded and not np.array_equal(array, numbers):
        raise ModelError(f"--constant {value.name}: {', '.join(map(str, numbers))}: not of type {dtype}.")
    return np.full(shape, array[0]) if len(numbers) == 1 else array.reshape(shape)


def _extents(value: ir.Value) -> tuple[int, ...]:
    if value.shape is None:
        raise DynamicShapeError(
            f"Input {value.name!r} has no shape.",
            hint=f"Fix it with --shape {value.name}=1 (its own extents).",
        )
    return tuple(extent if isinstance(extent, int) else 1 for extent in value.shape)
