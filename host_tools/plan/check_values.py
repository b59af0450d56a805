"""Whether exactly the values that need parameters have them, and legal ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.model.topology import data_inputs, float_outputs, is_constant, is_float
from host_tools.plan.grouping import fixed_qparams, stored_precisions
from host_tools.plan.qparams import code_range

if TYPE_CHECKING:
    from collections.abc import Iterator

    from host_tools.plan.checked_plan import CheckedPlan
    from host_tools.plan.quantization_plan import QParams
    from targets.profile import CapabilityProfile


def broken_values(checked: CheckedPlan) -> Iterator[str]:
    """Exactly the values that integer nodes or an integer interface need have parameters, and those are legal."""
    computed, given = _computed(checked), _given(checked)
    needed = computed | given
    free = {name for name in given - computed if _writes_float(checked, name)}
    precisions = {name: entry.precision for name, entry in checked.plan.nodes.items()}
    stored = stored_precisions(checked.network, precisions, needed, checked.profile)
    for name, value in checked.network.values.items():
        entry = checked.plan.tensors[name]
        if entry.role in ("weight", "bias"):
            continue
        if entry.qparams is None and name in free:
            continue
        if (entry.qparams is not None) != (name in needed):
            yield f"value {name!r} {'needs' if name in needed else 'needs no'} parameters: {entry.reason}"
        if entry.qparams is not None and is_float(value) and name in needed:
            yield from _activation(checked, name, entry.qparams, checked.profile.at(stored[name]))
            yield from _door(checked, name, entry.qparams)
    for edge in checked.plan.requantize:
        rules = checked.rules(edge.node) if edge.node in checked.plan.nodes else checked.profile
        yield from _activation(checked, f"{edge.node}[{edge.input_index}]", edge.qparams, rules)


def _door(checked: CheckedPlan, name: str, qparams: QParams) -> Iterator[str]:
    """What passes an integer interface is as wide as the interface."""
    interface = checked.profile.interface
    is_fed, is_given = name in checked.network.inputs, name in checked.network.outputs
    for kind, is_there in ((interface.input_type, is_fed), (interface.output_type, is_given)):
        if (
            is_there
            and kind != "float32"
            and qparams.dtype == "int16"
            and checked.profile.activations.bits == 8
        ):
            yield f"value {name!r} is int16, but passes an interface of {kind}"


def _computed(checked: CheckedPlan) -> set[str]:
    """Return what integer nodes read and write, and what enters by an integer interface."""
    needed: set[str] = set()
    for name, node in checked.network.nodes.items():
        if checked.is_float(name):
            continue
        needed.update(value for _, value in data_inputs(node))
        needed.update(float_outputs(node))
    if checked.profile.interface.input_type != "float32":
        needed.update(checked.network.inputs)
    fused = {name for name, entry in checked.plan.tensors.items() if entry.role == "fused"}
    return {name for name in needed - fused if is_float(checked.network.values[name])}


def _given(checked: CheckedPlan) -> set[str]:
    """Return what leaves by an integer interface."""
    if checked.profile.interface.output_type == "float32":
        return set()
    values = {name: checked.network.values[name] for name in checked.network.outputs}
    return {name for name, value in values.items() if is_float(value) and not is_constant(value)}


def _writes_float(checked: CheckedPlan, name: str) -> bool:
    """Tell whether a float node writes a value: the plan may then let it leave as it is (`uneven_outputs`)."""
    writer = checked.network.writers.get(name)
    return writer is not None and checked.is_float(writer)


def _activation(
    checked: CheckedPlan, name: str, qparams: QParams, profile: CapabilityProfile
) -> Iterator[str]:
    rules = profile.activations
    codes = code_range(rules.bits, signed=rules.signed)
    if (qparams.dtype, qparams.quant_min, qparams.quant_max) != (
        codes.dtype,
        codes.low,
        codes.high,
    ) or qparams.axis is not None:
        yield f"value {name!r} must be {codes.dtype} [{codes.low}, {codes.high}] per tensor"
        return
    (zero,) = qparams.zero_point
    legal = {"symmetric": (codes.middle,), "midpoint": (codes.low, codes.middle)}.get(
        rules.zero_point, (zero,)
    )
    fixed = any(qparams == fixed_qparams(op_type, profile) for op_type in profile.fixed_outputs)
    if not codes.low <= zero <= codes.high or (zero not in legal and not fixed):
        yield f"value {name!r} has zero point {zero}, against activations.zero_point {rules.zero_point}"
    if not fixed:
        yield from checked.broken_scales(f"value {name!r}", qparams)
