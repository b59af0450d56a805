"""`Call`: one operator of the file as its translator sees it: inputs by place, settings by name, results in ONNX's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from host_tools.errors import UnsupportedOperatorError
from host_tools.layouts import natural
from host_tools.model.from_tflite.onnx_graph import ELEMENT_TYPES
from host_tools.model.from_tflite.session import CHANNELS_FIRST
from host_tools.tflite_file import ACTIVATION_FUNCTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from host_tools.layouts import Layout
    from host_tools.model.from_tflite.session import Session
    from host_tools.tflite_file import FileOperator

_MOST_STEP: Final = 1 << 20
"""Of strides, dilations and blocks: beyond any image."""


class Call:
    """One operator.

    Every method raises ValueError where the file asks for what cannot be; `importing` says of which operator.
    """

    def __init__(self, session: Session, operator: FileOperator) -> None:
        self._session = session
        self._operator = operator
        self.kind = operator.kind
        self.count = len(operator.inputs)
        self.outputs = len(operator.outputs)

    @property
    def where(self) -> str:
        """The operator, for messages."""
        return label(self._session, self._operator)

    def unsupported(self, reason: str, hint: str = "") -> UnsupportedOperatorError:
        """Return the error to raise where the operator is sound, but nothing that we translate."""
        return UnsupportedOperatorError(f"{self.where}: {reason}", hint=hint)

    # Settings

    def setting(self, name: str, default: float = 0.0) -> float:
        """Return a number of the options table."""
        return self._operator.settings.get(name, default)

    def flag(self, name: str) -> bool:
        """Return a yes or no of the options table."""
        return bool(self.setting(name))

    def vector(self, name: str) -> tuple[int, ...]:
        """Return a vector of the options table; empty where there is none."""
        return self._operator.vectors.get(name, ())

    def positive(self, name: str, default: int = 0) -> int:
        """Return a number of the options table that must be at least 1."""
        value = int(self.setting(name, default))
        if not 0 < value <= _MOST_STEP:
            raise ValueError(f"{name} is {value}")
        return value

    # Inputs

    def has(self, place: int) -> bool:
        """Tell whether an optional input is there."""
        return place < self.count and self._operator.inputs[place] >= 0

    def _tensor(self, place: int) -> int:
        if not self.has(place):
            raise ValueError(f"its input {place} is missing")
        return self._operator.inputs[place]

    def shape(self, place: int) -> tuple[int, ...]:
        """Return an input's shape, in the file's order."""
        return self._session.shape(self._tensor(place))

    def layout(self, place: int) -> Layout:
        """Return the layout that an input lies in."""
        return self._session.layout(self._tensor(place))

    def dtype(self, name: str) -> int:
        """Return a value's element type."""
        return self._session.onnx.dtype(name)

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Return a value's shape, as it lies."""
        return self._session.onnx.shape(name)

    def is_constant(self, place: int) -> bool:
        """Tell whether an input's values are known."""
        return self._session.is_constant(self._tensor(place))

    def array(self, place: int) -> NDArray[Any]:
        """Return a constant input's values.

        Raises:
            UnsupportedOperatorError: They depend on the data.
        """
        if not self.is_constant(place):
            raise self.unsupported(
                f"its input {place} depends on the data; only a constant one is translated.",
                hint="Export the model with fixed shapes and constant weights.",
            )
        return self._session.constant(self._tensor(place))

    def integers(self, place: int) -> list[int]:
        """Return a constant input of settings as a flat list."""
        array = self.array(place)
        if array.dtype.kind not in "iu":
            raise ValueError(f"its input {place} should be integers, and is {array.dtype}")
        return [int(value) for value in array.reshape(-1)]

    def axes(self, place: int, rank: int) -> list[int]:
        """Return a constant input of axes, each from 0 to the rank."""
        return [self.axis(axis, rank) for axis in self.integers(place)]

    def one_axis(self, place: int, rank: int) -> int:
        """Return a constant input that is one axis, from 0 to the rank."""
        axes = self.axes(place, rank)
        if len(axes) != 1:
            raise ValueError(f"its input {place} should be one axis, and is {axes}")
        return axes[0]

    def axis(self, axis: float, rank: int) -> int:
        """Return an axis counted from 0."""
        if not -rank <= axis < rank:
            raise ValueError(f"axis {int(axis)} of {rank}")
        return int(axis) % rank

    def read(self, place: int, layout: Layout | None = None) -> str:
        """Return the value of an input in a layout; in the file's own when None."""
        return self._session.read(self._tensor(place), layout)

    def image(self, place: int) -> str:
        """Return the value of an image, channels first."""
        if len(self.shape(place)) != 4:
            raise ValueError(f"its input {place} should have four axes, and has {len(self.shape(place))}")
        return self.read(place, CHANNELS_FIRST)

    def in_order(self, place: int) -> str:
        """Return the value of an input for what reshapes it anyway, see `Session.in_order`."""
        return self._session.in_order(self._tensor(place))

    def common_layout(self, places: Sequence[int]) -> Layout:
        """Return the layout to compute in, element by element: channels first where an operand lies so and all others can."""
        rank = max(len(self.shape(place)) for place in places)
        computed = [place for place in places if not self.is_constant(place)]
        if any(self.layout(place) == CHANNELS_FIRST for place in computed) and all(
            len(self.shape(place)) in (0, rank) for place in computed
        ):
            return CHANNELS_FIRST if rank == 4 else natural(rank)
        return natural(rank)

    def operand(self, place: int, layout: Layout) -> str:
        """Return an operand that broadcasts to a result in a layout; missing axes are unit axes in front."""
        shape = self.shape(place)
        if self.is_constant(place):
            values = self.array(place)
            if values.size == 1 and values.ndim < len(layout):
                return self.constant(values.reshape(()), place)
            raised = values.reshape((1,) * (len(layout) - values.ndim) + values.shape)
            return self.constant(raised.transpose(layout), place)
        return self.read(place, layout if len(shape) == len(layout) else None)

    # Results

    def constant(self, values: NDArray[Any], place: int | None = None) -> str:
        """Add a constant, called as the input that it comes from."""
        if place is None:
            return self._session.onnx.constant(values)
        return self._session.lay_out(values, self._tensor(place))

    def numbers(self, values: Sequence[int]) -> str:
        """Add a constant vector of settings."""
        return self._session.onnx.constant(np.asarray(values, np.int64))

    def real(self, value: float) -> str:
        """Add a constant float32 number."""
        return self._session.onnx.constant(np.asarray(value, np.float32))

    def output_type(self, index: int) -> int:
        """Return ONNX's code of the type that the file gives an output.

        Raises:
            UnsupportedOperatorError: ONNX, or this importer, has none for it.
        """
        if index >= self.outputs:
            raise ValueError(f"it has {self.outputs} outputs")
        dtype = self._session.file.tensors[self._operator.outputs[index]].dtype
        if dtype not in ELEMENT_TYPES:
            raise self.unsupported(f"it makes {dtype}, which is not translated.")
        return ELEMENT_TYPES[dtype]

    def node(self, op_type: str, *inputs: str, **attributes: object) -> str:
        """Add a node of one output."""
        return self._session.onnx.node(op_type, inputs, [self._name(0)], attributes)[0]

    def nodes(self, op_type: str, *inputs: str, **attributes: object) -> list[str]:
        """Add a node with as many outputs as the operator has."""
        hints = [self._name(index) for index in range(self.outputs)]
        return self._session.onnx.node(op_type, inputs, hints, attributes)

    def reshaped(self, name: str, shape: Sequence[int]) -> str:
        """Return a value in another shape, its elements in the same order."""
        return self._session.onnx.reshape(name, shape, self._name(0))

    def write(self, name: str, layout: Layout | None = None, index: int = 0) -> None:
        """Say which value an output is."""
        if index >= self.outputs:
            raise ValueError(f"it has {self.outputs} outputs")
        self._session.write(self._operator.outputs[index], name, layout)

    def write_activated(self, name: str, layout: Layout | None = None) -> None:
        """Say which value the output is, behind the fused activation."""
        self.write(self.activated(name), layout)

    def activated(self, name: str) -> str:
        """Return a value behind the operator's fused activation."""
        code = int(self.setting("FusedActivationFunction"))
        activation = ACTIVATION_FUNCTIONS.get(code, str(code))
        if activation == "NONE":
            return name
        if activation == "RELU":
            return self.node("Relu", name)
        if activation in ("RELU6", "RELU_N1_TO_1"):
            return self.clip(name, *((0.0, 6.0) if activation == "RELU6" else (-1.0, 1.0)))
        raise self.unsupported(
            f"its fused activation is {activation}, which interpreters take and do not compute.",
            "Write it as an operator of its own.",
        )

    def clip(self, name: str, low: float, high: float) -> str:
        """Return a value held between bounds."""
        return self.node("Clip", name, self.real(low), self.real(high))

    def _name(self, index: int) -> str:
        outputs = self._operator.outputs
        return self._session.file.tensors[outputs[index]].name if index < len(outputs) else ""


def label(session: Session, operator: FileOperator) -> str:
    """Name an operator for a message: its kind, and the first tensor that it writes."""
    outputs = operator.outputs
    return f"{operator.kind} {session.file.tensors[outputs[0]].name!r}" if outputs else operator.kind
