"""Small networks on hard targets, as far as a plan, with samples that have structure: what reconstruction is for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from host_tools.model import load
from host_tools.model.reference import FloatRunner
from host_tools.observe import open_data
from host_tools.observe.observer import observe
from host_tools.plan.planner import needs_histograms, plan
from host_tools.progress import Silent
from host_tools.recipe import Recipe
from host_tools.simulate import simulate
from host_tools.verify.metrics import OutputComparison
from targets import catalog
from tests.unit.host_tools.model.onnx_models import model_proto

if TYPE_CHECKING:
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

    from host_tools.model import FloatModel
    from host_tools.observe.calibration_set import CalibrationSet
    from host_tools.observe.statistics import Statistics
    from host_tools.plan.quantization_plan import QuantizationPlan
    from targets.profile import CapabilityProfile

CLASSIFIER = """net (float[1,3,12,12] x) => (float[1,10] y) {
    c0 = Conv <strides = [2,2], pads = [0,0,1,1]> (x, w0, b0)
    a0 = Relu (c0)
    c1 = Conv <group = 12, pads = [1,1,1,1]> (a0, w1, b1)
    a1 = Clip (c1, low, high)
    c2 = Conv (a1, w2, b2)
    s = Add (a0, c2)
    p = GlobalAveragePool (s)
    f = Flatten (p)
    y = Gemm <transB = 1> (f, w3, b3)
}"""


def spread(seed: int, ratio: float = 20.0, **shapes: tuple[int, ...]) -> dict[str, NDArray[np.generic]]:
    """Return weights whose channels differ by ``ratio``: hard where one scale serves them all."""
    rng = np.random.default_rng(seed)
    made: dict[str, NDArray[np.generic]] = {}
    for name, shape in shapes.items():
        sizes = np.geomspace(1 / ratio**0.5, ratio**0.5, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
        fan = np.prod(shape[1:]) if len(shape) > 1 else 4.0
        made[name] = (rng.standard_normal(shape) * rng.permutation(sizes) * (2.0 / fan) ** 0.5).astype(
            np.float32
        )
    return made


def classifier(**changed: NDArray[np.generic]) -> onnx.ModelProto:
    """Convolution, depthwise convolution, residual addition, Gemm."""
    weights = spread(
        4,
        w0=(12, 3, 3, 3),
        b0=(12,),
        w1=(12, 1, 3, 3),
        b1=(12,),
        w2=(12, 12, 1, 1),
        b2=(12,),
        w3=(10, 12),
        b3=(10,),
    )
    bounds = {"low": np.float32(0), "high": np.float32(6)}
    return model_proto(CLASSIFIER, **{**weights, **bounds, **changed})


def pictures(count: int, *, seed: int = 3, shape: tuple[int, ...] = (3, 12, 12)) -> NDArray[np.float32]:
    """Return samples in which neighbours and channels are alike."""
    rng = np.random.default_rng(seed)
    common = rng.normal(0, 1, (count, 1, *[extent // 4 for extent in shape[1:]]))
    coarse = common + 0.5 * rng.normal(0, 1, (count, shape[0], *common.shape[2:]))
    wide = np.kron(coarse, np.ones([1, 1, *[4] * (len(shape) - 1)]))
    return (wide + 0.2 * rng.normal(0, 1, wide.shape)).astype(np.float32)


@dataclass(frozen=True)
class Hard:
    """A planned network with the samples that its plan was made from."""

    model: FloatModel
    statistics: Statistics
    profile: CapabilityProfile
    plan: QuantizationPlan
    data: CalibrationSet

    def decibels(self, plan: QuantizationPlan | None = None, *, seed: int = 99, count: int = 12) -> float:
        """Return the outputs' signal-to-noise ratio on samples that nothing was fitted to, by the simulator."""
        simulator = simulate(self.model, plan or self.plan, self.profile)
        runner = FloatRunner(self.model, threads=1)
        comparison = OutputComparison()
        (spec,) = self.model.inputs
        for sample in pictures(count, seed=seed, shape=spec.shape[1:]):
            feeds = {spec.name: sample[np.newaxis]}
            for name, wanted in runner.run(feeds).items():
                comparison.add(np.asarray(wanted, np.float64), simulator.run(feeds)[name])
        assert comparison.sqnr_db is not None
        return comparison.sqnr_db


def hard(
    folder: Path,
    network: onnx.ModelProto | None = None,
    profile: CapabilityProfile | str = "generic-per-tensor-symmetric",
    *,
    samples: NDArray[np.generic] | None = None,
    recipe: Recipe | None = None,
) -> Hard:
    """Load, observe and plan a network."""
    path = folder / "net.onnx"
    path.write_bytes((network or classifier()).SerializeToString())
    model = load(path)
    np.save(folder / "x.npy", pictures(32) if samples is None else samples)
    data = open_data(folder / "x.npy", inputs=model.inputs)
    chosen = recipe or Recipe()
    seen = observe(model, data, histograms=needs_histograms(chosen), threads=1, progress=Silent())
    target = catalog.load(profile) if isinstance(profile, str) else profile
    return Hard(model, seen, target, plan(model, seen, target, chosen), data)


def changed(base: str = "generic-per-tensor-symmetric", **parts: dict[str, object]) -> CapabilityProfile:
    """Return a catalogue profile with fields of its parts replaced, under a digest of its own."""
    loaded = catalog.load(base)
    made = {name: replace(getattr(loaded, name), **change) for name, change in parts.items()}
    told = hashlib.sha256(repr((base, sorted(parts.items()))).encode()).hexdigest()
    return replace(loaded, **made, digest=f"sha256:{told}")
