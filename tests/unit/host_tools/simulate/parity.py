"""One operator on its engine against the simulator: how many output codes are how far apart."""

from __future__ import annotations

import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from device_agent.engines.tflite import TfliteEngine
from device_agent.sources.adapt import to_payload, to_source
from host_tools.lower.lowering import lower
from host_tools.model import load as load_model
from host_tools.observe.calibration_set import CalibrationSet
from host_tools.observe.observer import observe
from host_tools.plan.planner import plan as make_plan
from host_tools.progress import Silent
from host_tools.recipe import Recipe, Widen
from host_tools.simulate import simulate
from host_tools.verify.metrics import CodeComparison
from tests.unit.host_tools.simulate.single_operators import OPERATORS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from device_agent.engines.engine import EngineLoader
    from host_tools.model import FloatModel
    from host_tools.plan.quantization_plan import QuantizationPlan
    from targets.profile import CapabilityProfile
    from tests.unit.host_tools.lower.lowering_cases import Case


@dataclass(frozen=True)
class Planned:
    """A network and its plan."""

    model: FloatModel
    plan: QuantizationPlan
    profile: CapabilityProfile

    def samples(self, rng: np.random.Generator, count: int) -> Iterator[dict[str, NDArray[np.generic]]]:
        """Draw inputs that are codes already, so that how an engine quantizes its input does not matter."""
        for _ in range(count):
            yield {spec.name: self._input(rng, spec.name, spec.shape) for spec in self.model.inputs}

    def _input(self, rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        values = rng.normal(0.1, 1.0, shape)
        qparams = self.plan.tensors[name].qparams
        if qparams is None:
            return values.astype(np.float32)
        codes = np.clip(
            np.rint(values / qparams.scale[0]) + qparams.zero_point[0], qparams.quant_min, qparams.quant_max
        )
        return ((codes - qparams.zero_point[0]) * np.float32(qparams.scale[0])).astype(np.float32)


class _Random:
    """A `SampleSource` of normal samples."""

    where = "test"

    def __init__(self, model: FloatModel) -> None:
        self.model = model

    def __len__(self) -> int:
        return 8

    def samples(self) -> Iterator[tuple[str, Mapping[str, NDArray[np.generic]]]]:
        rng = np.random.default_rng(11)
        for index in range(8):
            yield (
                str(index),
                {
                    spec.name: rng.normal(0.1, 1.0, spec.shape).astype(np.float32)
                    for spec in self.model.inputs
                },
            )

    def fingerprint(self, count: int) -> str | None:
        return f"normal/{count}"


def load_built_in(files: Mapping[str, bytes], *, threads: int) -> TfliteEngine:
    interpreter = Interpreter(
        model_content=files["model.tflite"],
        num_threads=threads,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    return TfliteEngine(interpreter, "ai-edge-litert", "built-in kernels")


def planned(case: Case, profile: CapabilityProfile, recipe: Recipe | None = None) -> Planned:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{case.name}.onnx"
        path.write_bytes(case.proto().SerializeToString())
        model = load_model(path)
    data = CalibrationSet(_Random(model), model.inputs)
    statistics = observe(model, data, histograms=False, threads=1, progress=Silent())
    chosen = recipe or Recipe(method="minmax")
    return Planned(model, make_plan(model, statistics, profile, chosen), profile)


def planned_wide(case: Case, profile: CapabilityProfile) -> Planned:
    """Plan a network with all that the target can run on 16-bit activations so."""
    assert profile.wide is not None
    found = {node.op_type for node in planned(case, profile).model.graph.graph}
    widen = Widen(ops=frozenset(found & profile.wide.ops.keys()))
    return planned(case, profile, Recipe(method="minmax", widen=widen))


def compare(
    operator: str,
    profile: CapabilityProfile,
    load: EngineLoader,
    *,
    networks: int,
    samples: int,
    plan: Callable[[Case, CapabilityProfile], Planned] = planned,
) -> CodeComparison:
    """Draw networks of one operator, run each on the engine and in the simulator, and count the differences in LSB."""
    seen = CodeComparison()
    for seed in range(networks):
        rng = np.random.default_rng([zlib.crc32(operator.encode()), seed])
        made = plan(OPERATORS[operator](rng), profile)
        payload = lower(made.model, made.plan, profile)
        simulator = simulate(made.model, made.plan, profile)
        engine = load(payload.files, threads=1)
        try:
            for sample in made.samples(rng, samples):
                found = to_source(engine.infer(to_payload(sample, payload.inputs)), payload.outputs)
                for name, values in simulator.run(sample).items():
                    qparams = made.plan.tensors[name].qparams
                    if qparams is not None:
                        seen.add(
                            *(
                                np.rint(array / qparams.scale[0]).astype(np.int64)
                                for array in (values, found[name])
                            )
                        )
        finally:
            engine.close()
    return seen
