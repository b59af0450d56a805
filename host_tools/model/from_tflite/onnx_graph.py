"""`OnnxGraph`: an ONNX graph in the making, where every value has a static shape and a type as soon as it is there."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import TensorProto, defs, helper, numpy_helper, shape_inference

from host_tools.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

OPSET: Final = 20
"""The oldest with Gelu; every later step takes 18 to 21."""

ELEMENT_TYPES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "bool": TensorProto.BOOL, "float16": TensorProto.FLOAT16, "float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE,
        "int8": TensorProto.INT8, "int16": TensorProto.INT16, "int32": TensorProto.INT32, "int64": TensorProto.INT64,
        "uint8": TensorProto.UINT8, "uint16": TensorProto.UINT16, "uint32": TensorProto.UINT32, "uint64": TensorProto.UINT64,
    }
)  # fmt: skip
"""ONNX's code of each type that a tensor of a file may have."""

_WORDS: Final[Mapping[int, str]] = MappingProxyType(
    {code: {"float32": "float", "float64": "double"}.get(name, name) for name, code in ELEMENT_TYPES.items()}
)
"""Types as ONNX's schemas spell them."""
_IR_VERSION: Final = 10
_MOST_ELEMENTS: Final = 1 << 31
"""Of one value: no interpreter allocates more."""
_READ_BY_INFERENCE: Final = 4_096
"""Elements of constants that shape inference may look into: shapes, axes, pads."""


class OnnxGraph:
    """Nodes in order, constants, inputs.

    Args:
        room_bytes: How much all constants may take together: a small file can name one buffer many times.
        reserved: Names of the model's inputs and outputs, which no other value may have.
    """

    def __init__(self, room_bytes: int, reserved: Iterable[str] = ()) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._types: dict[str, onnx.TypeProto] = {}
        self._known: dict[tuple[object, ...], str] = {}
        self._names: set[str] = set(reserved)
        self._reshaped_from: dict[str, str] = {}
        self._room_bytes = room_bytes

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a value's shape."""
        return tuple(dim.dim_value for dim in self._types[name].tensor_type.shape.dim)

    def dtype(self, name: str) -> int:
        """Return a value's element type, as `onnx.TensorProto` counts them."""
        return int(self._types[name].tensor_type.elem_type)

    def input(self, name: str, dtype: int, shape: Sequence[int]) -> str:
        """Add an input under its reserved name, which it returns."""
        self._keep(name, helper.make_tensor_type_proto(dtype, list(shape)))
        self._inputs.append(helper.make_value_info(name, self._types[name]))
        return name

    def constant(self, array: NDArray[np.generic], name: str = "", *, is_shared: bool = True) -> str:
        """Add a constant, or return an equal small one that is there, unless it is to be one of its own.

        Raises:
            ModelError: Constants would take more than the room that there is.
        """
        values = np.ascontiguousarray(array).reshape(array.shape)  # NumPy makes a vector of a scalar
        key = (
            (values.dtype.str, values.shape, values.tobytes())
            if is_shared and values.nbytes <= _READ_BY_INFERENCE
            else ()
        )
        if key in self._known:
            return self._known[key]
        self.take_room(values.nbytes)
        fresh = self._fresh(name or "constant")
        self._constants[fresh] = numpy_helper.from_array(values, fresh)
        self._keep(fresh, helper.make_tensor_type_proto(_onnx_type(values), list(values.shape)))
        if key:
            self._known[key] = fresh
        return fresh

    def take_room(self, size: int) -> None:
        """Count bytes of constants.

        Raises:
            ModelError: There is no room for them.
        """
        self._room_bytes -= size
        if self._room_bytes < 0:
            raise ModelError(
                "The file's constants grow far beyond the file: its tensors name the same bytes over and over.",
                hint="Write the model anew with the tool that made it.",
            )

    def node(
        self, op_type: str, inputs: Sequence[str], outputs: Sequence[str], attributes: Mapping[str, Any]
    ) -> list[str]:
        """Add a node, and infer what it writes.

        Args:
            op_type: Of the default domain.
            inputs: Names; empty for one that is absent.
            outputs: What its outputs would like to be called.
            attributes: As `onnx.helper.make_node` takes them.

        Raises:
            ValueError: Its inputs do not go together, or what it writes is empty, too large, or of unknown shape.
        """
        names = [self._fresh(name) for name in outputs]
        node = helper.make_node(op_type, list(inputs), names, **attributes)
        schema = defs.get_schema(op_type, OPSET, "")
        self._require_types(schema, inputs)
        for name, kind in self._inferred(schema, node).items():
            self._keep(name, kind)
        missing = [name for name in names if name not in self._types]
        if missing:
            raise ValueError(f"the shape of {missing[0]!r} is unknown")
        self._nodes.append(node)
        return names

    def reshape(self, name: str, shape: Sequence[int], hint: str) -> str:
        """Return a value in another shape, its elements in the same order; a Reshape of a Reshape is one of what came in first.

        Raises:
            ValueError: The shape is for another number of elements.
        """
        if math.prod(self.shape(name)) != math.prod(shape):
            raise ValueError(f"{list(self.shape(name))} cannot be reshaped to {list(shape)}")
        source = self._reshaped_from.get(name, name)
        for same in (name, source):
            if self.shape(same) == tuple(shape):
                return same
        (made,) = self.node("Reshape", [source, self.constant(np.asarray(shape, np.int64))], [hint], {})
        self._reshaped_from[made] = source
        return made

    def _require_types(self, schema: defs.OpSchema, inputs: Sequence[str]) -> None:
        """Refuse inputs of types that the operator does not take, or that differ where they must not: inference does not look."""
        bound: dict[str, str] = {}
        for place, name in enumerate(inputs):
            if not name:
                continue
            formal = schema.inputs[min(place, len(schema.inputs) - 1)]
            kind = f"tensor({_WORDS[self.dtype(name)]})"
            if kind not in formal.types or bound.setdefault(formal.type_str, kind) != kind:
                raise ValueError(f"as {schema.name} of ONNX: its input {place} is a {kind}")

    def _inferred(self, schema: defs.OpSchema, node: onnx.NodeProto) -> dict[str, onnx.TypeProto]:
        given = [name for name in node.input if name]
        try:
            return shape_inference.infer_node_outputs(
                schema,
                node,
                {name: self._types[name] for name in given},
                {name: self._constants[name] for name in given if self._is_setting(name)},
                opset_imports=[helper.make_opsetid("", OPSET)],
                ir_version=_IR_VERSION,
            )
        except (shape_inference.InferenceError, RuntimeError) as error:
            raise ValueError(
                f"as {node.op_type} of ONNX: {str(error).strip().splitlines()[-1][:200]}"
            ) from error

    def _is_setting(self, name: str) -> bool:
        return name in self._constants and math.prod(self._constants[name].dims) <= _READ_BY_INFERENCE

    def _keep(self, name: str, kind: onnx.TypeProto) -> None:
        tensor = kind.tensor_type
        dims = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim]
        if not tensor.HasField("shape") or min(dims, default=1) < 0 or not tensor.elem_type:
            raise ValueError(f"the shape of {name!r} is unknown")
        if not 0 <= math.prod(dims) < _MOST_ELEMENTS or (0 in dims and name not in self._constants):
            raise ValueError(f"the shape of {name!r} would be {dims}")
        self._types[name] = kind

    def _fresh(self, name: str) -> str:
        candidate, number = name or "value", 1
        while candidate in self._names:
            candidate, number = f"{name}_{number}", number + 1
        self._names.add(candidate)
        return candidate

    def model(self, outputs: Mapping[str, str], *, producer: str) -> onnx.ModelProto:
        """Return the model.

        Args:
            outputs: What each output shall be called, a reserved name, and the value that it is.
            producer: What to say of where it comes from.
        """
        nodes = list(self._nodes)
        renamed: dict[str, str] = {}
        written = {name for node in nodes for name in node.output}
        for wanted, name in outputs.items():
            if name in written and name not in renamed:
                renamed[name] = wanted
            else:
                nodes.append(helper.make_node("Identity", [name], [wanted]))
        graph = helper.make_graph(
            [_renamed(node, renamed) for node in nodes],
            "main",
            self._inputs,
            [helper.make_value_info(wanted, self._types[name]) for wanted, name in outputs.items()],
            list(self._constants.values()),
        )
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=_IR_VERSION,
            producer_name=producer,
        )


def _renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    for field in (node.input, node.output):
        for place, name in enumerate(field):
            field[place] = names.get(name, name)
    return node


def _onnx_type(values: NDArray[np.generic]) -> int:
    return int(helper.np_dtype_to_tensor_dtype(values.dtype))
