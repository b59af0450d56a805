"""Plans with 16-bit activations: every operator that can have them, or every other one, so that widths meet in all ways."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from lowering_template import Prepared, Samples

from host_tools.model import load as load_model
from host_tools.model.topology import network_of
from host_tools.observe.calibration_set import CalibrationSet
from host_tools.observe.observer import observe
from host_tools.plan.placement import wide_finding
from host_tools.plan.planner import plan as make_plan
from host_tools.progress import Silent
from host_tools.recipe import Recipe, Widen
from targets import catalog
from targets.profile import ActivationRules

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lowering_cases import Case

    from host_tools.model import FloatModel
    from host_tools.plan.quantization_plan import QuantizationPlan
    from targets.profile import CapabilityProfile, TensorType


def profile_of(target: str, interface: TensorType = "float32") -> CapabilityProfile:
    """Return a target with float doors, so that the operator that writes the output can have 16 bits as well."""
    found = catalog.load(target)
    doors = dataclasses.replace(found.interface, input_type=interface, output_type=interface)
    return dataclasses.replace(found, interface=doors)


def widenable(model: FloatModel, plan: QuantizationPlan, profile: CapabilityProfile) -> Iterator[str]:
    """Yield the operators that can have 16-bit activations."""
    network = network_of(model.graph)
    for name, node in plan.nodes.items():
        tails = [tail for tail in network.nodes if plan.nodes[tail].fused_into == name]
        if node.precision != "int8" or node.fused_into is not None:
            continue
        members = [name, *tails]
        if all(wide_finding(network, profile, member, members[-1]) is None for member in members):
            yield from members


def prepare_wide(
    case: Case, folder: Path, profile: CapabilityProfile, *, every: int, first: int = 0
) -> Prepared:
    """Plan a case with every n-th operator that can have them on 16-bit activations."""
    path = folder / f"{case.name}.onnx"
    path.write_bytes(case.proto().SerializeToString())
    model = load_model(path)
    statistics = observe(
        model, CalibrationSet(Samples(model), model.inputs), histograms=False, threads=1, progress=Silent()
    )
    narrow = make_plan(model, statistics, profile, Recipe(method="minmax"))
    heads = [name for name, node in narrow.nodes.items() if node.fused_into is None][first::every]
    names = [
        name for name in widenable(model, narrow, profile) if (narrow.nodes[name].fused_into or name) in heads
    ]
    recipe = Recipe(method="minmax", widen=Widen(nodes=frozenset(names)))
    return Prepared(model, statistics, make_plan(model, statistics, profile, recipe), profile)


def onnx_profile() -> CapabilityProfile:
    """Return ONNX Runtime's target with 16-bit activations, which its own profile leaves out because they run in float there."""
    found = catalog.load("x86_64-onnxruntime")
    operators = {
        name: dataclasses.replace(op, precisions=("int16",), requantization_ratio=None)
        for name, op in found.ops.items()
        if "int8" in op.precisions
    }
    wide = dataclasses.replace(
        found,
        activations=ActivationRules(bits=16, signed=True, zero_point="symmetric"),
        accumulator=dataclasses.replace(found.accumulator, bits=64),
        ops=operators,
    )
    return dataclasses.replace(found, wide=wide)
