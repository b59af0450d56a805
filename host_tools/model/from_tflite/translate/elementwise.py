"""Arithmetic, comparisons and logic, element by element, with broadcasting."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from onnx import TensorProto

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from host_tools.layouts import Layout
    from host_tools.model.from_tflite.call import Call

_UNARY: Final = MappingProxyType(
    {
        "ABS": "Abs", "CEIL": "Ceil", "COS": "Cos", "EXP": "Exp", "FLOOR": "Floor", "LOG": "Log", "LOGICAL_NOT": "Not", "NEG": "Neg",
        "ROUND": "Round", "SIGN": "Sign", "SIN": "Sin", "SQRT": "Sqrt",
    }
)  # fmt: skip
_BINARY: Final = MappingProxyType(
    {
        "ADD": "Add", "DIV": "Div", "EQUAL": "Equal", "GREATER": "Greater", "GREATER_EQUAL": "GreaterOrEqual", "LESS": "Less",
        "LESS_EQUAL": "LessOrEqual", "LOGICAL_AND": "And", "LOGICAL_OR": "Or", "MAXIMUM": "Max", "MINIMUM": "Min", "MUL": "Mul",
        "POW": "Pow", "SUB": "Sub",
    }
)  # fmt: skip
_FLOATS: Final = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE})


def unary(call: Call) -> None:
    """Write a function that ONNX has as it is."""
    call.write(call.node(_UNARY[call.kind], call.read(0, call.layout(0))), call.layout(0))


def binary(call: Call) -> None:
    """Write an operator of two operands that ONNX has as it is."""
    a, b, layout = _operands(call)
    call.write_activated(call.node(_BINARY[call.kind], a, b), layout)


def _operands(call: Call) -> tuple[str, str, Layout]:
    layout = call.common_layout((0, 1))
    return call.operand(0, layout), call.operand(1, layout), layout


def not_equal(call: Call) -> None:
    """Write a NOT_EQUAL."""
    a, b, layout = _operands(call)
    call.write(call.node("Not", call.node("Equal", a, b)), layout)


def floor_div(call: Call) -> None:
    """Write a FLOOR_DIV of floats."""
    a, b, layout = _operands(call)
    if call.dtype(a) not in _FLOATS:
        raise call.unsupported("it divides integers; only float is translated.")
    call.write(call.node("Floor", call.node("Div", a, b)), layout)


def floor_mod(call: Call) -> None:
    """Write a FLOOR_MOD: of floats what is left of a FLOOR_DIV."""
    a, b, layout = _operands(call)
    if call.dtype(a) not in _FLOATS:
        call.write(call.node("Mod", a, b), layout)
        return
    whole = call.node("Mul", call.node("Floor", call.node("Div", a, b)), b)
    call.write(call.node("Sub", a, whole), layout)


def squared_difference(call: Call) -> None:
    """Write a SQUARED_DIFFERENCE."""
    a, b, layout = _operands(call)
    difference = call.node("Sub", a, b)
    call.write(call.node("Mul", difference, difference), layout)


def square(call: Call) -> None:
    """Write a SQUARE."""
    data = call.read(0, call.layout(0))
    call.write(call.node("Mul", data, data), call.layout(0))


def rsqrt(call: Call) -> None:
    """Write an RSQRT."""
    root = call.node("Sqrt", call.read(0, call.layout(0)))
    call.write(call.node("Div", call.real(1.0), root), call.layout(0))


def add_n(call: Call) -> None:
    """Write an ADD_N."""
    layout = call.common_layout(range(call.count))
    call.write(call.node("Sum", *(call.operand(place, layout) for place in range(call.count))), layout)


def select(call: Call) -> None:
    """Write a SELECT or SELECT_V2; the older one's vector of conditions is about the first axis."""
    conditions = call.shape(0)
    if call.kind == "SELECT" and len(conditions) == 1 and len(call.shape(1)) > 1:
        raised = call.reshaped(call.read(0), (*conditions, *([1] * (len(call.shape(1)) - 1))))
        call.write(call.node("Where", raised, call.read(1), call.read(2)))
        return
    layout = call.common_layout((0, 1, 2))
    call.write(call.node("Where", *(call.operand(place, layout) for place in (0, 1, 2))), layout)


def cast(call: Call) -> None:
    """Write a CAST to the type of the tensor that it writes; a DEQUANTIZE of half floats is one, too."""
    call.write(call.node("Cast", call.read(0, call.layout(0)), to=call.output_type(0)), call.layout(0))


def quantize(call: Call) -> None:
    """Write a QUANTIZE, or a DEQUANTIZE of what was codes, as nothing: in a file of which the codes were taken out both are real numbers."""
    value = call.read(0, call.layout(0))
    if call.dtype(value) == call.output_type(0):
        call.write(value, call.layout(0))
    else:
        cast(call)


TRANSLATORS: Mapping[str, Callable[[Call], None]] = MappingProxyType(
    {
        **dict.fromkeys(_UNARY, unary),
        **dict.fromkeys(_BINARY, binary),
        "ADD_N": add_n,
        "CAST": cast,
        "DEQUANTIZE": quantize,
        "QUANTIZE": quantize,
        "FLOOR_DIV": floor_div,
        "FLOOR_MOD": floor_mod,
        "NOT_EQUAL": not_equal,
        "RSQRT": rsqrt,
        "SELECT": select,
        "SELECT_V2": select,
        "SQUARE": square,
        "SQUARED_DIFFERENCE": squared_difference,
    }
)
