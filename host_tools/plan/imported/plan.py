"""`plan_imported`: what a quantized file says of its codes becomes a `QuantizationPlan` for a target. Pure; nothing is calibrated.

The file's numbers are kept or the target is refused: no scale is chosen, none is enlarged. What may differ is said in the plan's warnings: a
kernel that fixes the scale of its output, a value that is re-quantized where the target ties scales together, a bias that had a scale
of its own.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.errors import CapabilityError
from host_tools.model.topology import NodeInput, constant, data_inputs, float_outputs, network_of
from host_tools.plan.assembly import assemble
from host_tools.plan.check import breaches
from host_tools.plan.codes import codes_of, values_of
from host_tools.plan.float16 import stored_as_asked
from host_tools.plan.grouping import group_values, is_same_scale, quantized_values
from host_tools.plan.imported.averages import cut_averages
from host_tools.plan.imported.known import known_codings, without_coding
from host_tools.plan.imported.parameters import Parameters
from host_tools.plan.placement import place
from host_tools.plan.planner import require_recipe
from host_tools.plan.revisions import Revisions
from host_tools.plan.settling import Settlement
from host_tools.plan.support import finding
from host_tools.plan.uneven_outputs import outputs_joined

if TYPE_CHECKING:
    from collections.abc import Iterable

    from host_tools.model.float_model import FloatModel
    from host_tools.model.quantized import Quantization
    from host_tools.model.topology import Network
    from host_tools.plan.grouping import Grouping
    from host_tools.plan.placement import Placement
    from host_tools.plan.quantization_plan import QParams, QuantizationPlan, TensorPlan
    from host_tools.plan.support import Finding
    from host_tools.recipe import Recipe
    from targets.profile import CapabilityProfile

HINT: Final = (
    "Give the float model it was made from, with --data, so that scales are chosen for this target; or choose a target that has what the "
    "file has (edgewright inspect names them)."
)
_SAME_SCALE: Final = 1e-5
"""How far a bias's scale may be from input scale times weight scale, relatively: a file has that product in float32."""


def plan_imported(model: FloatModel, profile: CapabilityProfile, recipe: Recipe) -> QuantizationPlan:
    """Make the plan of a file that is quantized already.

    Args:
        model: A model with `FloatModel.quantization`.
        profile: The target.
        recipe: What stays in float; nothing else of it is asked.

    Raises:
        CapabilityError: The target cannot have the file's codes, or cannot do what the model needs; the message names every tensor, what the
            file has, and what the target has.
        RecipeError: The recipe names a node or tensor that the model lacks.
    """
    quantization = model.quantization
    if quantization is None:
        raise ValueError("the model is not quantized")
    require_recipe(model, recipe)
    network = network_of(model.graph)
    known = known_codings(network, quantization)
    in_float = without_coding(network, known)
    revisions = Revisions(
        rejected=in_float,
        outputs_in_float=outputs_joined(network, in_float).difference(known),
        coded=frozenset(network.nodes).difference(in_float),
    )
    while True:
        placement = place(network, profile, recipe, revisions)
        parameters = Parameters(network=network, profile=profile, known=known)
        names = quantized_values(network, placement, profile)
        parameters.take_values(names, placement)
        parameters.take_weights(placement)
        parameters.take_edges(quantization, placement)
        _require_none(parameters.obstacles.values(), profile, quantization)
        grouping = _grouped(network, placement, profile, names, parameters)
        settlement = _settlement(network, placement, profile, grouping, parameters)
        rejected = (
            cut_averages(network, placement, profile, parameters)
            or _torn(network, grouping, parameters)
            or _unfit(settlement, profile, quantization)
        )
        learnt = revisions.joined(Revisions(rejected=rejected))
        if learnt == revisions:
            break
        revisions = learnt
    plan = assemble(
        model=model,
        network=network,
        profile=profile,
        statistics=None,
        method="minmax",
        method_reason=(
            f"scales, zero points and codes are those of the file, which is quantized already ({quantization.form}); nothing was calibrated"
        ),
        placement=placement,
        settlement=settlement,
        reasons=tuple(_reason(members, parameters) for members in grouping.groups),
        weights=parameters.weights,
        warnings=tuple(parameters.warnings),
        recipe=recipe,
    )
    plan = dataclasses.replace(
        plan,
        requantize=tuple(
            dataclasses.replace(edge, reason="the file reads it in a scale of its own")
            if NodeInput(node=edge.node, index=edge.input_index) in parameters.edges
            else edge
            for edge in plan.requantize
        ),
    )
    plan = stored_as_asked(_with_biases_of_the_file(plan, network, quantization), model, profile, recipe)
    _require_none(breaches(plan, model, profile), profile, quantization)
    return plan


def _require_none(obstacles: Iterable[str], profile: CapabilityProfile, quantization: Quantization) -> None:
    found = list(dict.fromkeys(obstacles))
    if found:
        raise CapabilityError(
            f"{profile.id!r} cannot have the codes of this file, which is quantized already ({quantization.form}):"
            + "".join(f"\n  - {one}." for one in found)
            + "\n",
            hint=HINT,
        )


def _reason(members: tuple[str, ...], parameters: Parameters) -> str:
    name = members[0]
    if name in parameters.fixed:
        return f"{parameters.values[name].dtype}, fixed by the kernel that writes {name!r} (fixed_outputs)"
    if name not in parameters.known:  # an input that reads in parameters of its own
        return f"{parameters.values[name].dtype}, scale and zero point in which the file reads it"
    coding = parameters.known[name]
    return f"{parameters.values[name].dtype}, scale and zero point of the file ({coding.scheme})"


# Groups


def _grouped(
    network: Network,
    placement: Placement,
    profile: CapabilityProfile,
    names: tuple[str, ...],
    parameters: Parameters,
) -> Grouping:
    """Join values by same-scale operators; those that the file has in scales of their own are re-quantized where they are read."""
    detached = {
        value
        for name, node in network.nodes.items()
        if is_same_scale(name, network, placement, profile)
        for result in float_outputs(network.nodes[placement.last_of(name)])[:1]
        for _, value in data_inputs(node)
        if parameters.values[value] != parameters.values[result]
    }
    grouping = group_values(network, placement, profile, names, frozenset(detached))
    for node_input, wanted in parameters.edges.items():
        if not is_same_scale(node_input.node, network, placement, profile):
            grouping = _with_edge(grouping, network, node_input, parameters, wanted)
    return grouping


def _with_edge(
    grouping: Grouping, network: Network, node_input: NodeInput, parameters: Parameters, wanted: QParams
) -> Grouping:
    """Give an input that reads in parameters of its own a group of its own."""
    value = str(network.nodes[node_input.node].inputs[node_input.index].name)  # type: ignore[union-attr]  # it is read
    name = f"{value} as {node_input.node}[{node_input.index}] reads it"
    parameters.values[name] = wanted
    return dataclasses.replace(
        grouping,
        groups=(*grouping.groups, (name,)),
        precisions=(*grouping.precisions, grouping.precisions[grouping.of[value]]),
        edges={**grouping.edges, node_input: len(grouping.groups)},
    )


def _settlement(
    network: Network,
    placement: Placement,
    profile: CapabilityProfile,
    grouping: Grouping,
    parameters: Parameters,
) -> Settlement:
    return Settlement(
        network=network,
        placement=placement,
        profile=profile,
        grouping=grouping,
        activations=[parameters.values[members[0]] for members in grouping.groups],
        fixed=frozenset(
            index for index, members in enumerate(grouping.groups) if not parameters.fixed.isdisjoint(members)
        ),
        weights={name: choice.qparams for name, choice in parameters.weights.items()},
        whole_bias=True,
    )


def _torn(network: Network, grouping: Grouping, parameters: Parameters) -> dict[str, Finding]:
    """Return the nodes that tie values together which the file has in scales of their own, where re-quantizing what they read is not enough."""
    return {
        tie: finding(
            network.nodes[tie],
            "scales_are_one",
            "the target wants one scale for all that it reads and writes (same_scale), and the file has several",
        )
        for index, members in enumerate(grouping.groups)
        if len({parameters.values[name] for name in members}) > 1
        for tie in grouping.ties.get(index, ())
    }


def _unfit(
    settlement: Settlement, profile: CapabilityProfile, quantization: Quantization
) -> dict[str, Finding]:
    """Return the nodes that the target cannot run in integers with these scales.

    Raises:
        CapabilityError: It could with larger scales than the file's.
    """
    settlement.settle()
    if not settlement.rejected:
        widened = (text for key, text in settlement.notes.items() if key.startswith("group "))
        enlarged = (f"weight {weight!r}: {text}" for (weight, _, _), text in settlement.enlarged.items())
        _require_none((text.rstrip(".") for text in (*widened, *enlarged)), profile, quantization)
    return settlement.rejected


# Biases


def _with_biases_of_the_file(
    plan: QuantizationPlan, network: Network, quantization: Quantization
) -> QuantizationPlan:
    """Give biases the file's own codes, where rounding their float32 values would give others, and say which of them had another scale."""
    tensors, warnings = dict(plan.tensors), list(plan.warnings)
    for name, tensor in plan.tensors.items():
        if tensor.role != "bias" or tensor.qparams is None or name not in quantization.constants:
            continue
        found = _bias_of_the_file(tensor, tensor.qparams, network, quantization)
        if found is None:
            warnings.append(
                f"bias {name!r}: the file has it at another scale than that of its products; it is rounded to that, by half a step at most."
            )
        else:
            tensors[name] = found
    return dataclasses.replace(plan, tensors=tensors, warnings=tuple(warnings))


def _bias_of_the_file(
    tensor: TensorPlan, qparams: QParams, network: Network, quantization: Quantization
) -> TensorPlan | None:
    """Return a bias with the file's codes; None where its scale is not that of the products."""
    values = np.asarray(constant(network.values[tensor.name]), np.float64)
    exact = quantization.exact_values.get(tensor.name)
    real = values if exact is None else np.reshape(exact, values.shape)
    own = np.asarray(quantization.constants[tensor.name].scale, np.float64)
    planned = np.asarray(qparams.scale, np.float64)
    if own.size not in (1, planned.size) or np.abs(own / planned - 1.0).max() > _SAME_SCALE:
        return None
    codes = np.rint(real / own)
    if np.array_equal(codes_of(values, qparams), codes):
        return tensor
    return dataclasses.replace(tensor, values=tuple(values_of(codes, qparams).reshape(-1).tolist()))
