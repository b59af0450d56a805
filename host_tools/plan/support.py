"""Capability rules: why a node has no integer kernel on a target.

A rule is a function whose docstring is the sentence that the user reads, with the target's limit filled in. It returns None where the
node keeps the rule, else what was found. Rules are judged in order and the first breach is the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from host_tools.model.topology import (
    WEIGHTED,
    channel_axis,
    constant,
    data_inputs,
    float_outputs,
    input_at,
    integers,
    is_constant,
    is_float,
    named,
    outputs_of,
    shape_of,
    weight_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx_ir as ir

    from targets.profile import CapabilityProfile, OpConstraints, Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """What a rule found.

    Attributes:
        got: What the node has.
        limit: What the target allows; empty when the rule's sentence needs none.
    """

    got: str
    limit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Why one node cannot run in integers.

    Attributes:
        node: Node name.
        op_type: Operator type.
        rule: The broken rule's name.
        text: The whole sentence but for where the node goes instead, e.g. ``Conv 'c1': stride must be at most 3 on every axis; it is 4x4
            (ops.Conv.max_stride of 'nxp-neutron')``.
    """

    node: str
    op_type: str
    rule: str
    text: str


def integer_precision(profile: CapabilityProfile) -> Precision:
    """Return the integer precision that the target's activations have."""
    return "int8" if profile.activations.bits == 8 else "int16"


def finding_of(node: ir.Node, profile: CapabilityProfile, *, listed_in: str = "ops") -> Finding | None:
    """Return the first broken rule of a node, or None when the target has an integer kernel for it.

    Args:
        node: The node.
        profile: The target.
        listed_in: The profile's key that names the operators with a kernel.
    """
    for rule, fact in _RULES:
        breach = rule(node, profile)
        if breach is not None:
            text = (rule.__doc__ or "").format(limit=breach.limit).rstrip(".")
            sentence = text[:1].lower() + text[1:]
            key = listed_in if fact == "ops" else fact.format(op=node.op_type)
            return finding(node, rule.__name__, f"{sentence}; {breach.got} ({key} of {profile.id!r})")
    return None


def finding(node: ir.Node, rule: str, sentence: str) -> Finding:
    """Return the finding that ``sentence`` says of ``node``."""
    return Finding(
        node=named(node), op_type=node.op_type, rule=rule, text=f"{node.op_type} {named(node)!r}: {sentence}"
    )


def operator_is_known(node: ir.Node, profile: CapabilityProfile) -> Breach | None:
    """The target must list the operator."""
    if node.op_type in profile.ops and node.domain in ("", "ai.onnx"):
        return None
    return Breach(
        got=f"it lists no {'' if node.domain in ('', 'ai.onnx') else node.domain + '.'}{node.op_type}"
    )


def operator_is_allowed(node: ir.Node, profile: CapabilityProfile) -> Breach | None:
    """The target must not forbid the operator."""
    return None if profile.ops[node.op_type].precisions else Breach(got="it does, in every precision")


def kernel_is_integer(node: ir.Node, profile: CapabilityProfile) -> Breach | None:
    """The operator must have an {limit} kernel."""
    precisions = profile.ops[node.op_type].precisions
    if integer_precision(profile) in precisions:
        return None
    return Breach(got=f"it has {', '.join(precisions)}", limit=integer_precision(profile))


def data_are_float(node: ir.Node, profile: CapabilityProfile) -> Breach | None:
    """Only float tensors can be quantized."""
    del profile
    first = input_at(node, 0)
    odd = [value for value in (first, *outputs_of(node)[:1]) if value is not None and not is_float(value)]
    if not odd and float_outputs(node):
        return None
    return Breach(got=", ".join(f"{named(value)!r} is {value.dtype}" for value in odd) or "it writes none")


def weights_are_constant(node: ir.Node, profile: CapabilityProfile) -> Breach | None:
    """The weight must be a constant."""
    del profile
    if node.op_type not in WEIGHTED - {"MatMul"} or weight_of(node) is not None:
        return None
    return Breach(got=f"{named(input_at(node, 1))!r} is computed")


def bias_is_one_per_channel(node: ir.Node, profile: CapabilityProfile) -> Breach | None:
    """The bias must be a constant with one value per output channel, {limit}."""
    del profile
    weight, value = weight_of(node), input_at(node, 2)
    if node.op_type not in WEIGHTED or weight is None or value is None:
        return None
    channels = output_channels(node)
    if not is_constant(value):
        return Breach(got=f"{named(value)!r} is computed", limit=str(channels))
    shape = shape_of(value)
    if shape and shape[-1] == channels and constant(value).size == channels:
        return None
    return Breach(got=f"{named(value)!r} has shape {shape}", limit=str(channels))


def rank_is_within(node: ir.Node, profile: CapabilityProfile) -> Breach | None:
    """The rank of every tensor must be at most {limit}."""
    limit = _limits(node, profile).max_rank
    rank = max(len(shape_of(value)) for value in _data(node))
    return None if limit is None or rank <= limit else Breach(got=f"it is {rank}", limit=str(limit))


def batch_is_within(node: ir.Node, profile: CapabilityProfile) -> Breach | None:
    """The batch must be at most {limit}."""
    limit = _limits(node, profile).max_batch
    shape = shape_of(_data(node)[0])
    if limit is None or len(shape) < 2 or shape[0] <= limit:
        return None
    return Breach(got=f"it is {shape[0]}", limit=str(limit))


def stride_is_within(node: ir.Node, profile: CapabilityProfile) -> Breach | None:
    """The stride must be at most {limit} on every axis."""
    return _extent(integers(node, "strides", ()), _limits(node, profile).max_stride)


def kernel_is_within(node: ir.Node, profile: CapabilityProfile) -> Breach | None:
    """The kernel must be at most {limit} on every axis."""
    weight = weight_of(node)
    convolves = node.op_type in ("Conv", "ConvTranspose") and weight is not None
    extents = shape_of(weight)[2:] if convolves else integers(node, "kernel_shape", ())
    return _extent(extents, _limits(node, profile).max_kernel)


def dilation_is_within(node: ir.Node, profile: CapabilityProfile) -> Breach | None:
    """The dilation must be at most {limit} on every axis."""
    return _extent(integers(node, "dilations", ()), _limits(node, profile).max_dilation)


def axes_are_allowed(node: ir.Node, profile: CapabilityProfile) -> Breach | None:
    """The operator must work on axes {limit} only."""
    allowed = _limits(node, profile).axes
    axes = working_axes(node)
    if allowed is None or set(axes) <= set(allowed):
        return None
    return Breach(got=f"it works on {', '.join(map(str, axes))}", limit=", ".join(map(str, allowed)))


def mode_is_allowed(node: ir.Node, profile: CapabilityProfile) -> Breach | None:
    """The mode must be {limit}."""
    allowed = _limits(node, profile).modes
    attribute = node.attributes.get("mode")
    mode = (
        "nearest" if attribute is None else attribute.as_string()
    )  # the default of Resize, the only operator with such a limit
    return (
        None
        if allowed is None or mode in allowed
        else Breach(got=f"it is {mode}", limit=" or ".join(allowed))
    )


def second_operand_is_constant(node: ir.Node, profile: CapabilityProfile) -> Breach | None:
    """The second operand must be a constant."""
    second = input_at(node, 1)
    if not _limits(node, profile).constant_operand or second is None or is_constant(second):
        return None
    return Breach(got=f"{named(second)!r} is computed")


def _limits(node: ir.Node, profile: CapabilityProfile) -> OpConstraints:
    return profile.ops[node.op_type].constraints


def _data(node: ir.Node) -> list[ir.Value]:
    inputs = [value for index, _ in data_inputs(node) if (value := node.inputs[index]) is not None]
    return inputs + [value for value in outputs_of(node) if is_float(value)]


def _extent(extents: tuple[int, ...], limit: int | None) -> Breach | None:
    if limit is None or not extents or max(extents) <= limit:
        return None
    return Breach(got=f"it is {'x'.join(map(str, extents))}", limit=str(limit))


def output_channels(node: ir.Node) -> int:
    """Return how many output channels a node with a constant weight has."""
    weight = shape_of(weight_of(node))
    if node.op_type == "ConvTranspose":
        return weight[1] * integers(node, "group", (1,))[0]
    return weight[channel_axis(node) or 0]


def working_axes(node: ir.Node) -> tuple[int, ...]:
    """Return the non-negative axes along which a node works; empty when the notion does not apply."""
    rank = len(shape_of(node.inputs[0]))
    if node.op_type in ("ReduceMean", "Squeeze", "Unsqueeze"):
        axes = _constant_integers(node, 1, default=tuple(range(rank)))
        rank += len(axes) if node.op_type == "Unsqueeze" else 0
    elif node.op_type == "Slice":
        axes = _constant_integers(node, 3, default=tuple(range(rank)))
    elif node.op_type == "Pad":
        pads = _constant_integers(node, 1, default=())
        named_axes = _constant_integers(node, 3, default=tuple(range(rank)))
        half = len(named_axes)
        axes = tuple(axis for at, axis in enumerate(named_axes) if pads[at] or pads[half + at])
    elif node.op_type in ("Concat", "Softmax", "Split"):
        axes = integers(node, "axis", (0 if node.op_type == "Split" else -1,))
    else:
        return ()
    return tuple(sorted(axis % rank if rank else 0 for axis in axes))


def _constant_integers(node: ir.Node, index: int, *, default: tuple[int, ...]) -> tuple[int, ...]:
    value = input_at(node, index)
    return tuple(int(number) for number in constant(value).reshape(-1)) if is_constant(value) else default


_RULES: tuple[tuple[Callable[[ir.Node, CapabilityProfile], Breach | None], str], ...] = (
    (operator_is_known, "ops"),
    (operator_is_allowed, "ops.{op}.precisions"),
    (kernel_is_integer, "ops.{op}.precisions"),
    (data_are_float, "activations"),
    (weights_are_constant, "weights"),
    (bias_is_one_per_channel, "bias"),
    (rank_is_within, "ops.{op}.max_rank"),
    (batch_is_within, "ops.{op}.max_batch"),
    (stride_is_within, "ops.{op}.max_stride"),
    (kernel_is_within, "ops.{op}.max_kernel"),
    (dilation_is_within, "ops.{op}.max_dilation"),
    (axes_are_allowed, "ops.{op}.axes"),
    (mode_is_allowed, "ops.{op}.modes"),
    (second_operand_is_constant, "ops.{op}.constant_operand"),
)
"""Each rule with the profile's key that sets its limit."""
