"""`check`: every promise of a plan, verified against model and profile. Exact, simulates nothing, runs at the pipeline's door.

It reads the plan as a lowering does and derives each demand from the profile anew, so it also judges plans that were edited by hand.
Not here: whether the scales are good ones (that is verification's question).
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from host_tools.errors import InputError
from host_tools.model.topology import network_of, shape_of
from host_tools.plan.check_arithmetic import broken_arithmetic
from host_tools.plan.check_nodes import broken_nodes
from host_tools.plan.check_uncalibrated import broken_promises
from host_tools.plan.check_values import broken_values
from host_tools.plan.checked_plan import CheckedPlan
from host_tools.plan.codebooks import broken_codebooks
from host_tools.plan.float16 import broken_storage
from host_tools.plan.planned_values import codes_in, with_planned_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from host_tools.model.float_model import FloatModel
    from host_tools.model.topology import Network
    from host_tools.plan.quantization_plan import QuantizationPlan
    from targets.profile import CapabilityProfile


class PlanError(InputError):
    """A plan does not keep what plans promise, or is of another model or target; the message names every breach."""

    code = "plan"


def check(plan: QuantizationPlan, model: FloatModel, profile: CapabilityProfile) -> None:
    """Verify every promise of a plan.

    Args:
        plan: The plan.
        model: The model it should be for.
        profile: The target it should be for.

    Raises:
        PlanError: A promise is broken; the message names all of them.
    """
    broken = breaches(plan, model, profile)
    if broken:
        raise PlanError(
            f"the plan for {plan.target!r} breaks {len(broken)} of its promises:"
            + "".join(f"\n  - {one}." for one in broken)
            + "\n",
            hint="Plan the model anew; if nobody edited the plan, this is a fault in edgewright.",
        )


def breaches(plan: QuantizationPlan, model: FloatModel, profile: CapabilityProfile) -> list[str]:
    """Return a sentence without its full stop for every promise that a plan breaks; see `check`."""
    broken = list(_identity(plan, model, profile))
    if broken:
        return broken
    checked = CheckedPlan(plan=plan, network=network_of(model.graph), profile=profile)
    broken = [*_completeness(checked)] or [
        *broken_storage(plan, checked.network, profile),
        *broken_codebooks(plan, checked.network, profile),
    ]
    if not broken:
        is_int8 = plan.precision == "int8"
        broken = [*(_codes(checked) if is_int8 else broken_promises(plan, checked.network, profile))]
    if not broken and plan.precision == "int8":
        rounded = CheckedPlan(plan=plan, network=_with_codes(model, plan), profile=profile)
        broken = [*broken_nodes(rounded), *broken_values(rounded), *broken_arithmetic(rounded)]
    return broken


def _identity(plan: QuantizationPlan, model: FloatModel, profile: CapabilityProfile) -> Iterator[str]:
    for what, got, expected in (
        ("model_digest", plan.model_digest, model.digest),
        ("target", plan.target, profile.id),
        ("profile_digest", plan.profile_digest, profile.digest),
    ):
        if got != expected:
            yield f"{what}: expected {expected}, got {got}"


def _with_codes(model: FloatModel, plan: QuantizationPlan) -> Network:
    """Return the graph with the weights that the plan has rounded."""
    rounded = {
        name: dataclasses.replace(tensor, values=None)
        for name, tensor in plan.tensors.items()
        if tensor.codes is not None
    }
    return network_of(with_planned_values(model, dataclasses.replace(plan, tensors=rounded)).graph)


def _completeness(checked: CheckedPlan) -> Iterator[str]:
    """Every value and node has one entry, with a reason, and nothing else has."""
    for what, entries, known in (
        ("tensor", checked.plan.tensors, checked.network.values),
        ("node", checked.plan.nodes, checked.network.nodes),
    ):
        for name in known:
            if name not in entries:
                yield f"{what} {name!r} has no entry"
            elif not entries[name].reason or entries[name].name != name:
                yield f"{what} {name!r} has no reason, or another name"
        for name in entries:
            if name not in known:
                yield f"{what} {name!r} is not in the model"


def _codes(checked: CheckedPlan) -> Iterator[str]:
    """Codes are those of a quantized weight, one an element, each in use."""
    for name, tensor in checked.plan.tensors.items():
        if tensor.codes is None:
            continue
        if tensor.role != "weight" or tensor.qparams is None:
            yield f"value {name!r} has codes, which only a quantized weight may have"
            continue
        shape = shape_of(checked.network.values[name])
        codes = codes_in(tensor.codes, tensor.qparams.dtype, shape)
        if codes is None:
            yield f"weight {name!r} must have one code an element, {math.prod(shape)} of {tensor.qparams.dtype}"
        elif (
            codes.size
            and not tensor.qparams.quant_min <= codes.min() <= codes.max() <= tensor.qparams.quant_max
        ):
            yield f"weight {name!r} has codes outside [{tensor.qparams.quant_min}, {tensor.qparams.quant_max}]"
