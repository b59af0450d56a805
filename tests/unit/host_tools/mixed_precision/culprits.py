"""Networks in which it is known what costs: planned, with a yardstick, ready for mixed precision."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from host_tools.mixed_precision import Goal, Mixed, mix
from host_tools.model import load
from host_tools.observe import open_data
from host_tools.observe.observer import observe
from host_tools.plan.check import check
from host_tools.plan.planner import plan
from host_tools.progress import Silent
from host_tools.recipe import Recipe
from host_tools.stages import Yardstick
from targets import catalog
from targets.profile import Interface

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from host_tools.model.float_model import FloatModel
    from host_tools.observe.calibration_set import CalibrationSet
    from host_tools.observe.statistics import Statistics
    from host_tools.plan.quantization_plan import QuantizationPlan
    from host_tools.stages.yardstick import Worth
    from targets.profile import CapabilityProfile, Fallback, TensorType

PER_TENSOR = "generic-per-tensor-symmetric"
PER_CHANNEL = "x86_64-onnxruntime"
SAMPLES = 20
CHANNELS = 6
DEAD, LOUD = 2, 4


def chain(folder: Path, *, factors: Mapping[str, np.ndarray] | None = None, layers: int = 4) -> Path:
    """Write x [1,6,8,8] → conv1 → relu1 → … → convN → y, 1x1 kernels; the weights of a name are multiplied by its factors.

    Channel `DEAD` of every inner value is always 0.
    """
    rng = np.random.default_rng(3)
    nodes, constants, value = [], [], "x"
    for number in range(1, layers + 1):
        weight = rng.normal(0.0, (2.0 / CHANNELS) ** 0.5, (CHANNELS, CHANNELS, 1, 1))
        weight *= (factors or {}).get(f"conv{number}", np.ones(()))
        bias = rng.normal(0.0, 0.1, CHANNELS)
        if number < layers:
            weight[DEAD], bias[DEAD] = 0.0, -1.0
        constants += [
            numpy_helper.from_array(weight.astype(np.float32), f"w{number}"),
            numpy_helper.from_array(bias.astype(np.float32), f"b{number}"),
        ]
        is_last = number == layers
        result = "y" if is_last else f"c{number}"
        nodes.append(helper.make_node("Conv", [value, f"w{number}", f"b{number}"], [result], f"conv{number}"))
        if not is_last:
            value = f"a{number}"
            nodes.append(helper.make_node("Relu", [result], [value], f"relu{number}"))
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, CHANNELS, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, CHANNELS, 8, 8])],
        constants,
    )
    path = folder / "chain.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    return path


def useless(factor: float = 200.0) -> np.ndarray:
    """Return factors of a weight: what reads the dead channel is so many times the rest, and takes the codes from it for nothing."""
    factors = np.ones((1, CHANNELS, 1, 1))
    factors[0, DEAD] = factor
    return factors


def one_loud(factor: float) -> np.ndarray:
    """Return factors of a weight: it writes one channel so many times as loud as the rest; of its reader, their reciprocals."""
    factors = np.ones((CHANNELS, 1, 1, 1))
    factors[LOUD] = factor
    return factors


@dataclass(frozen=True, eq=False)
class Case:
    """A network planned for a target."""

    model: FloatModel
    data: CalibrationSet
    statistics: Statistics
    profile: CapabilityProfile
    plan: QuantizationPlan
    yardstick: Yardstick

    def worth(self, plan: QuantizationPlan | None = None) -> Worth:
        """Measure a plan, which has to keep every promise."""
        check(plan or self.plan, self.model, self.profile)
        return self.yardstick.measure(self.model, plan or self.plan, self.profile)

    def mixed(
        self,
        goal: Goal,
        *,
        recipe: Recipe | None = None,
        worth: Worth | None = None,
        finish: Callable[[QuantizationPlan], QuantizationPlan] | None = None,
        deadline: float | None = None,
    ) -> Mixed:
        """Mix precisions."""
        return mix(
            self.model,
            self.model,
            self.statistics,
            self.plan,
            self.profile,
            recipe or Recipe(),
            goal=goal,
            worth=worth or self.worth(),
            measure=self.worth,
            finish=finish,
            data=self.yardstick.fitting,
            threads=1,
            progress=Silent(),
            deadline=deadline,
        )


def case(
    network: Path,
    target: str,
    *,
    to: Fallback = "float32",
    max_float_ops: int | None = None,
    max_partitions: int | None = None,
    doors: TensorType | None = None,
) -> Case:
    """Observe and plan a network for a target with these rules on falling back, and doors of another type than the target's where given."""
    model = load(network)
    rng = np.random.default_rng(11)
    samples = rng.normal(0.2, 1.0, (SAMPLES, *model.inputs[0].shape)).astype(np.float32)
    samples[:, :, DEAD] = 0.0
    np.save(network.parent / "data.npy", samples)
    data = open_data(network.parent / "data.npy", inputs=model.inputs)
    statistics = observe(model, data, histograms=True, threads=1, progress=Silent())
    found = catalog.load(target)
    fallback = dataclasses.replace(
        found.fallback, to=to, max_float_ops=max_float_ops, max_partitions=max_partitions
    )
    interface = Interface(input_type=doors, output_type=doors) if doors else found.interface
    profile = dataclasses.replace(found, fallback=fallback, interface=interface)
    return Case(
        model=model,
        data=data,
        statistics=statistics,
        profile=profile,
        plan=plan(model, statistics, profile, Recipe()),
        yardstick=Yardstick(model, data, threads=1),
    )


def floats_of(plan: QuantizationPlan | None) -> list[str]:
    """Return the names of the nodes that run in float."""
    assert plan is not None
    return [name for name, node in plan.nodes.items() if node.precision == "float32"]


def wide_of(plan: QuantizationPlan | None) -> list[str]:
    """Return the names of the nodes that run on 16-bit activations."""
    assert plan is not None
    return [name for name, node in plan.nodes.items() if node.precision == "int16"]
