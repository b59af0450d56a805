"""ONNX nodes that quantize as a target rounds. QuantizeLinear rounds halves to even, whatever the target does.

Between powers of two every fourth number may be a half, so that it matters. Scales that are powers of two make the quotient exact: the
result is then the simulator's, code by code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import onnx
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from targets.profile import Rounding

_SCALE, _ZERO_POINT = 1, 2
_INPUTS: Final = 3


class RoundingNodes:
    """Writes the nodes.

    Attributes:
        constants: What the nodes written so far read, by name.
    """

    def __init__(self) -> None:
        self.constants: dict[str, NDArray[np.generic]] = {}

    def write(
        self,
        source: str,
        result: str,
        *,
        scale: NDArray[np.generic],
        zero_point: NDArray[np.integer],
        rounding: Rounding,
    ) -> list[onnx.NodeProto]:
        """Return nodes that quantize a float32 value.

        Args:
            source: Its name.
            result: Name of the codes; inner values are called after it.
            scale: One, float32.
            zero_point: One, in the type of the codes; codes saturate at the ends of that type.
            rounding: What becomes of halves.
        """
        limits = np.iinfo(zero_point.dtype)
        kind = helper.np_dtype_to_tensor_dtype(zero_point.dtype)
        quotient, whole = f"{result}/quotient", f"{result}/whole"
        nodes = [helper.make_node("Div", [source, self._constant(result, "scale", scale)], [quotient])]
        if rounding == "half_even":
            nodes.append(helper.make_node("Round", [quotient], [whole]))
        elif rounding == "half_up":
            nodes.extend(self._half_up(quotient, whole))
        else:
            size, sign = f"{result}/size", f"{result}/sign"
            nodes.append(helper.make_node("Abs", [quotient], [size]))
            nodes.append(helper.make_node("Sign", [quotient], [sign]))
            nodes.extend(self._half_up(size, f"{size}/whole"))
            nodes.append(helper.make_node("Mul", [f"{size}/whole", sign], [whole]))
        moved, kept = f"{result}/moved", f"{result}/kept"
        zero, low, high = (
            self._constant(result, name, np.asarray(number, np.float32))
            for name, number in (("zero", zero_point), ("low", limits.min), ("high", limits.max))
        )
        return [
            *nodes,
            helper.make_node("Add", [whole, zero], [moved]),
            helper.make_node("Clip", [moved, low, high], [kept]),
            helper.make_node("Cast", [kept], [result], to=kind),
        ]

    def _half_up(self, source: str, result: str) -> list[onnx.NodeProto]:
        """Round by the fraction, which is exact; the sum with a half is not just below a half."""
        half = self._constant(result, "half", np.asarray(0.5, np.float32))
        floor, fraction, is_up, up = (f"{result}/{name}" for name in ("floor", "fraction", "is_up", "up"))
        return [
            helper.make_node("Floor", [source], [floor]),
            helper.make_node("Sub", [source, floor], [fraction]),
            helper.make_node("GreaterOrEqual", [fraction, half], [is_up]),
            helper.make_node("Cast", [is_up], [up], to=onnx.TensorProto.FLOAT),
            helper.make_node("Add", [floor, up], [result]),
        ]

    def _constant(self, result: str, name: str, value: NDArray[np.generic]) -> str:
        named = f"{result}/{name}"
        self.constants[named] = value
        return named


def with_rounding(content: bytes, rounding_of: Callable[[str], Rounding]) -> bytes:
    """Return an ONNX file whose activations are quantized as a target rounds.

    Args:
        content: The file; scales and zero points of its QuantizeLinear nodes are initializers.
        rounding_of: Tells what becomes of halves, by the name of the value that is quantized.

    Returns:
        The same file where everything rounds halves to even, or quantizes per channel.
    """
    model = onnx.load_model_from_string(content)
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    writer = RoundingNodes()
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        rounding = rounding_of(node.input[0]) if node.op_type == "QuantizeLinear" else "half_even"
        if rounding == "half_even" or not _is_per_tensor(node, initializers):
            nodes.append(node)
            continue
        scale, zero = (
            numpy_helper.to_array(initializers[node.input[index]]).reshape(())
            for index in (_SCALE, _ZERO_POINT)
        )
        nodes.extend(
            writer.write(node.input[0], node.output[0], scale=scale, zero_point=zero, rounding=rounding)
        )
    if not writer.constants:
        return content
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(_tensors(writer))
    rewritten: bytes = model.SerializeToString()
    return rewritten


def _tensors(writer: RoundingNodes) -> Sequence[onnx.TensorProto]:
    return [numpy_helper.from_array(np.asarray(array), name) for name, array in writer.constants.items()]


def _is_per_tensor(node: onnx.NodeProto, initializers: dict[str, onnx.TensorProto]) -> bool:
    return len(node.input) == _INPUTS and all(
        name in initializers and np.prod(initializers[name].dims) == 1
        for name in (node.input[_SCALE], node.input[_ZERO_POINT])
    )
