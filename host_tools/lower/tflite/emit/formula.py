"""`Formula`: float arithmetic of several operators on behalf of one node, each line an operator of the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from host_tools.lower.tflite.emit import spatial
from host_tools.lower.tflite.graph import Options
from host_tools.lower.tflite.plan_view import refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from host_tools.layouts import Layout
    from host_tools.lower.tflite.graph import TfliteType
    from host_tools.lower.tflite.session import Session


class Formula:
    """Adds operators on tensors that are not quantized.

    Raises:
        LoweringError: The node is planned in integers, for which this lowering has no kernel.
    """

    def __init__(self, session: Session, node: ir.Node) -> None:
        if session.is_integer(node):
            raise refuse(
                node,
                "planned in integers, but this lowering writes it in float only.",
                hint=f"Set ops.{node.op_type}.precisions = ['float32'] in the profile.",
            )
        self._session = session
        self._node = node

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Return a tensor's shape in the file."""
        return self._session.graph.tensors[tensor].shape

    def number(self, value: float) -> int:
        """Return a constant of one element that broadcasts to anything."""
        return self._session.graph.constant(f"{value:g}", np.asarray([value], np.float32))

    def integers(self, name: str, values: Sequence[int]) -> int:
        """Return a constant vector of settings."""
        return self._session.graph.constant(name, np.asarray(values, np.int32))

    def one(
        self,
        operator: str,
        data: int,
        *more: int,
        shape: Sequence[int] | None = None,
        options: Options | None = None,
        type_: TfliteType | None = None,
    ) -> int:
        """Add an operator with one output of the first input's type, unless told otherwise.

        Args:
            operator: Builtin operator.
            data: First input.
            more: Further inputs.
            shape: Of the output; the first input's when None.
            options: Options table.
            type_: Of the output.
        """
        before = self._session.graph.tensors[data]
        wanted = before.shape if shape is None else shape
        after = self._session.graph.tensor(
            f"{self._node.outputs[0].name}/{operator.lower()}", wanted, type_ or before.type
        )
        self._session.add(self._node, operator, [data, *more], [after], options)
        return after

    def two(
        self, operator: str, a: int, b: int, kind: str | None = None, *, type_: TfliteType | None = None
    ) -> int:
        """Add an operator of two operands that broadcast to one another, of equal rank or with one element."""
        shape = np.broadcast_shapes(self.shape(a), self.shape(b))
        return self.one(
            operator, a, b, shape=shape, options=Options(kind=kind) if kind else None, type_=type_
        )

    def add(self, a: int, b: int) -> int:
        """Return a + b."""
        return self.two("ADD", a, b, "AddOptions")

    def sub(self, a: int, b: int) -> int:
        """Return a - b."""
        return self.two("SUB", a, b, "SubOptions")

    def mul(self, a: int, b: int) -> int:
        """Return a * b."""
        return self.two("MUL", a, b, "MulOptions")

    def div(self, a: int, b: int) -> int:
        """Return a / b."""
        return self.two("DIV", a, b, "DivOptions")

    def largest(self, a: int, b: int) -> int:
        """Return the larger of two, element by element."""
        return self.two("MAXIMUM", a, b, "MaximumMinimumOptions")

    def smallest(self, a: int, b: int) -> int:
        """Return the smaller of two, element by element."""
        return self.two("MINIMUM", a, b, "MaximumMinimumOptions")

    def reduced(self, operator: str, data: int, places: Sequence[int], *, keep: bool = True) -> int:
        """Add MEAN, SUM or another reduction along axes of the file's tensor."""
        before = self.shape(data)
        shape = [
            1 if at in places else extent for at, extent in enumerate(before) if keep or at not in places
        ]
        options = Options(kind="ReducerOptions", fields={"keepDims": keep})
        return self.one(operator, data, self.integers("axes", places), shape=shape, options=options)

    def deliver(self, tensor: int, layout: Layout, index: int = 0) -> None:
        """Make a tensor the node's output."""
        clipped = (
            spatial.clip(self._session, self._node, tensor, self._session.bounds(self._node))
            if index == 0
            else tensor
        )
        self._session.deliver(self._node, clipped, layout, index)
