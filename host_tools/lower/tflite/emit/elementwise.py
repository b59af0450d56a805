"""Functions of each element, in float: one builtin operator, or a few lines of arithmetic where TFLite has none."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from host_tools.lower.tflite.emit.arithmetic import read_broadcast
from host_tools.lower.tflite.emit.formula import Formula
from host_tools.lower.tflite.graph import Options
from host_tools.lower.tflite.plan_view import refuse
from host_tools.lower.tflite.session import type_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import onnx_ir as ir

    from host_tools.lower.tflite.session import Session

_ONE_OPERATOR: Mapping[str, str] = MappingProxyType(
    {
        "Abs": "ABS", "Ceil": "CEIL", "Cos": "COS", "Exp": "EXP", "Floor": "FLOOR", "Log": "LOG", "Neg": "NEG", "Not": "LOGICAL_NOT",
        "Round": "ROUND", "Sign": "SIGN", "Sin": "SIN", "Sqrt": "SQRT",
    }
)  # fmt: skip
_OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "ABS": "AbsOptions",
        "COS": "CosOptions",
        "EXP": "ExpOptions",
        "NEG": "NegOptions",
        "SIGN": "SignOptions",
    }
)
_TWO_OPERANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "And": ("LOGICAL_AND", "LogicalAndOptions"),
        "Equal": ("EQUAL", "EqualOptions"),
        "Greater": ("GREATER", "GreaterOptions"),
        "GreaterOrEqual": ("GREATER_EQUAL", "GreaterEqualOptions"),
        "Less": ("LESS", "LessOptions"),
        "LessOrEqual": ("LESS_EQUAL", "LessEqualOptions"),
        "Or": ("LOGICAL_OR", "LogicalOrOptions"),
        "Xor": ("NOT_EQUAL", "NotEqualOptions"),
    }
)
_COMPARED = frozenset({"FLOAT32", "INT32", "INT64"})
"""Types that the kernels of the four orders take; EQUAL and NOT_EQUAL take BOOL too. Source: LiteRT, tflite/kernels/comparisons.cc."""

_MOST_AXES = 4
"""Of operands that differ in shape. Source: LiteRT, tflite/kernels/comparisons.cc (`BroadcastComparison4DSlow`) and pow.cc."""

_ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
_ERF_P = 0.3275911
"""Coefficients of erf(x) = 1 - (a1 t + ... + a5 t^5) exp(-x^2), t = 1 / (1 + p x), x >= 0, off by 1.5e-7 at most.

Source: Abramowitz and Stegun, Handbook of Mathematical Functions, formula 7.1.26."""


def one_operator(session: Session, node: ir.Node) -> None:
    """Write an operator that TFLite has as it is."""
    _write(
        session,
        node,
        lambda f, x: f.one(_ONE_OPERATOR[node.op_type], x, options=_options(_ONE_OPERATOR[node.op_type])),
    )


def _options(operator: str) -> Options | None:
    return Options(kind=_OPTIONS[operator]) if operator in _OPTIONS else None


def composed(session: Session, node: ir.Node) -> None:
    """Write Erf, Elu, Selu, Celu, Softplus, Softsign, Mish or Reciprocal as arithmetic."""
    _write(session, node, _COMPOSED[node.op_type](node))


def gelu(session: Session, node: ir.Node) -> None:
    """Write a Gelu, by erf or by tanh as it asks."""
    is_tanh = node.attributes.get_string("approximate", "none") == "tanh"
    options = Options(kind="GeluOptions", fields={"approximate": is_tanh})
    _write(session, node, lambda f, x: f.one("GELU", x, options=options))


def _write(session: Session, node: ir.Node, body: Callable[[Formula, int], int]) -> None:
    layout = session.layout(node.outputs[0])
    formula = Formula(session, node)
    formula.deliver(body(formula, session.read(node, 0, layout)), layout)


def two_operands(session: Session, node: ir.Node) -> None:
    """Write a comparison or a logical operator.

    Raises:
        LoweringError: Operands of a type, or of more axes, than the kernels take.
    """
    operator, kind = _TWO_OPERANDS[node.op_type]
    formula, layout = Formula(session, node), session.layout(node.outputs[0])
    a, b = (read_broadcast(session, node, index) for index in (0, 1))
    is_logic = operator.startswith("LOGICAL") or operator == "NOT_EQUAL"
    allowed = {"BOOL"} if is_logic else _COMPARED | ({"BOOL"} if operator == "EQUAL" else frozenset())
    _require_types(session, node, (a, b), allowed)
    _require_axes(node, formula, a, b)
    formula.deliver(formula.two(operator, a, b, kind, type_="BOOL"), layout)


def power(session: Session, node: ir.Node) -> None:
    """Write a Pow: a product for the exponent 2, else POW.

    Raises:
        LoweringError: The exponent is of another type than the base.
    """
    formula, layout = Formula(session, node), session.layout(node.outputs[0])
    base = read_broadcast(session, node, 0)
    if session.is_constant(node, 1):
        exponents = session.array(node, 1)
        if exponents.size == 1 and float(exponents.reshape(-1)[0]) == 2.0 and exponents.ndim <= len(layout):
            formula.deliver(formula.mul(base, base), layout)
            return
        raised = exponents.reshape((1,) * (len(layout) - exponents.ndim) + exponents.shape).transpose(layout)
        exponent = session.graph.constant("exponent", raised.astype(np.float32))
    else:
        exponent = read_broadcast(session, node, 1)
    _require_types(session, node, (base, exponent), frozenset({"FLOAT32"}))
    _require_axes(node, formula, base, exponent)
    formula.deliver(formula.two("POW", base, exponent, "PowOptions"), layout)


def modulo(session: Session, node: ir.Node) -> None:
    """Write a Mod: FLOOR_MOD, whose remainder has the divisor's sign; of floats (fmod = 1) that of the magnitudes with the dividend's sign.

    Raises:
        LoweringError: It wants the dividend's sign of integers, or operands of a type, or of more axes, than the kernel takes.
    """
    formula, layout = Formula(session, node), session.layout(node.outputs[0])
    a, b = (read_broadcast(session, node, index) for index in (0, 1))
    _require_types(session, node, (a, b), _COMPARED)
    _require_axes(node, formula, a, b)
    if not node.attributes.get_int("fmod", 0):
        formula.deliver(formula.two("FLOOR_MOD", a, b, "FloorModOptions"), layout)
        return
    if session.graph.tensors[a].type != "FLOAT32":
        raise refuse(node, "fmod = 1 of integers; FLOOR_MOD gives the remainder the divisor's sign.")
    size, by = (formula.one("ABS", operand, options=_options("ABS")) for operand in (a, b))
    left = formula.two("FLOOR_MOD", size, by, "FloorModOptions")
    formula.deliver(formula.mul(left, formula.one("SIGN", a, options=_options("SIGN"))), layout)


def where(session: Session, node: ir.Node) -> None:
    """Write a Where as SELECT_V2."""
    formula, layout = Formula(session, node), session.layout(node.outputs[0])
    condition, yes, no = (read_broadcast(session, node, index) for index in (0, 1, 2))
    shape = np.broadcast_shapes(*(formula.shape(tensor) for tensor in (condition, yes, no)))
    if len(shape) > _MOST_AXES and len({formula.shape(one) for one in (condition, yes, no)}) > 1:
        raise refuse(
            node, f"operands of {len(shape)} axes that differ in shape; SELECT_V2 takes {_MOST_AXES}."
        )
    kind = session.graph.tensors[yes].type
    picked = formula.one(
        "SELECT_V2", condition, yes, no, shape=shape, options=Options(kind="SelectV2Options"), type_=kind
    )
    formula.deliver(picked, layout)


def cast(session: Session, node: ir.Node) -> None:
    """Write a Cast between types that TFLite has."""
    layout, wanted = session.layout(node.outputs[0]), type_of(node.outputs[0])
    formula, data = Formula(session, node), session.read(node, 0, layout)
    formula.deliver(formula.one("CAST", data, options=Options(kind="CastOptions"), type_=wanted), layout)


def variadic(session: Session, node: ir.Node) -> None:
    """Write Sum or Mean of any number of inputs."""
    formula, layout = Formula(session, node), session.layout(node.outputs[0])
    total, *others = (read_broadcast(session, node, index) for index in range(len(node.inputs)))
    for operand in others:
        total = formula.add(total, operand)
    if node.op_type == "Mean":
        total = formula.mul(total, formula.number(1.0 / len(node.inputs)))
    formula.deliver(total, layout)


def _require_types(
    session: Session, node: ir.Node, tensors: tuple[int, ...], allowed: frozenset[str] | set[str]
) -> None:
    found = {session.graph.tensors[tensor].type for tensor in tensors}
    if len(found) > 1 or not found <= allowed:
        raise refuse(
            node,
            f"operands of {' and '.join(sorted(found))}; TFLite takes two of {', '.join(sorted(allowed))}.",
        )


def _require_axes(node: ir.Node, formula: Formula, a: int, b: int) -> None:
    rank = max(len(formula.shape(a)), len(formula.shape(b)))
    if formula.shape(a) != formula.shape(b) and rank > _MOST_AXES:
        raise refuse(
            node, f"operands of {rank} axes that differ in shape; TFLite broadcasts {_MOST_AXES} here."
        )


def _erf(_: ir.Node) -> Callable[[Formula, int], int]:
    def body(f: Formula, x: int) -> int:
        size = f.one("ABS", x, options=_options("ABS"))
        t = f.div(f.number(1.0), f.add(f.mul(size, f.number(_ERF_P)), f.number(1.0)))
        series = f.number(_ERF[-1])
        for coefficient in reversed(_ERF[:-1]):
            series = f.add(f.mul(t, series), f.number(coefficient))
        decay = f.one("EXP", f.one("NEG", f.mul(x, x), options=_options("NEG")), options=_options("EXP"))
        upper = f.sub(f.number(1.0), f.mul(f.mul(series, t), decay))
        # Beyond 6 the function is 1 in float32; the product is the sign there, and near 0 what the series is off by is small beside 1.
        sign = f.largest(f.smallest(f.mul(x, f.number(1e30)), f.number(1.0)), f.number(-1.0))
        return f.mul(sign, upper)

    return body


def _exponential(node: ir.Node) -> Callable[[Formula, int], int]:
    """Elu, Selu and Celu: g * (max(x, 0) + a * (exp(min(x, 0) / c) - 1))."""
    defaults = {"Elu": 1.0, "Selu": 1.67326319217681884765625, "Celu": 1.0}  # of ONNX
    alpha = node.attributes.get_float("alpha", defaults[node.op_type])
    gamma = node.attributes.get_float("gamma", 1.05070102214813232421875) if node.op_type == "Selu" else 1.0
    inner = alpha if node.op_type == "Celu" else 1.0

    def body(f: Formula, x: int) -> int:
        if node.op_type == "Elu" and alpha == 1.0:
            return f.one("ELU", x)
        below = f.smallest(x, f.number(0.0))
        grown = f.one("EXP", f.mul(below, f.number(1.0 / inner)), options=_options("EXP"))
        left = f.mul(f.sub(grown, f.number(1.0)), f.number(alpha * gamma))
        return f.add(f.mul(f.one("RELU", x), f.number(gamma)), left)

    return body


def _softplus(_: ir.Node) -> Callable[[Formula, int], int]:
    return _log_of_one_and_exp


def _log_of_one_and_exp(f: Formula, x: int) -> int:
    """Return log(1 + exp(x)) as max(x, 0) + log(1 + exp(-|x|)), which does not overflow."""
    small = f.one(
        "EXP",
        f.one("NEG", f.one("ABS", x, options=_options("ABS")), options=_options("NEG")),
        options=_options("EXP"),
    )
    return f.add(f.one("RELU", x), f.one("LOG", f.add(small, f.number(1.0))))


def _mish(_: ir.Node) -> Callable[[Formula, int], int]:
    return lambda f, x: f.mul(x, f.one("TANH", _log_of_one_and_exp(f, x)))


def _softsign(_: ir.Node) -> Callable[[Formula, int], int]:
    return lambda f, x: f.div(x, f.add(f.one("ABS", x, options=_options("ABS")), f.number(1.0)))


def _reciprocal(_: ir.Node) -> Callable[[Formula, int], int]:
    return lambda f, x: f.div(f.number(1.0), x)


_COMPOSED: Mapping[str, Callable[[ir.Node], Callable[[Formula, int], int]]] = MappingProxyType(
    {
        "Celu": _exponential,
        "Elu": _exponential,
        "Erf": _erf,
        "Mish": _mish,
        "Reciprocal": _reciprocal,
        "Selu": _exponential,
        "Softplus": _softplus,
        "Softsign": _softsign,
    }
)
EMITTERS: Mapping[str, Callable[[Session, ir.Node], None]] = MappingProxyType(
    {
        **dict.fromkeys(_ONE_OPERATOR, one_operator),
        **dict.fromkeys(_TWO_OPERANDS, two_operands),
        **dict.fromkeys(_COMPOSED, composed),
        "Cast": cast,
        "Gelu": gelu,
        "Mean": variadic,
        "Mod": modulo,
        "Pow": power,
        "Sum": variadic,
        "Where": where,
    }
)
