"""What every lowering must do, whatever its format: `LoweringTemplate`, to be subclassed once a target.

    class TestOnX86(LoweringTemplate):
        target = "x86_64-onnxruntime"
        load = staticmethod(engine.load)

A case goes the whole way: canonical model, observation, plan, payload, engine. What comes out is held against `plan_simulation` (did the
lowering write the plan?) and against the float model (is the plan sane here?).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest
from lowering_cases import CASES, DETECTOR, TWO_ENDS, Case
from plan_simulation import simulate

from device_agent.sources.adapt import to_payload, to_source
from host_tools.errors import LoweringError
from host_tools.lower.lowering import lower
from host_tools.model import load as load_model
from host_tools.observe.calibration_set import CalibrationSet
from host_tools.observe.observer import observe
from host_tools.plan.planner import plan as make_plan
from host_tools.progress import Silent
from host_tools.recipe import KeepFloat, Recipe
from host_tools.verify.candidate import Candidate
from host_tools.verify.execution import executed
from host_tools.verify.metrics import sqnr_db
from host_tools.verify.probes import PROBES
from targets import catalog

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from device_agent.engines.engine import EngineLoader
    from host_tools.lower.payload import Payload
    from host_tools.model import FloatModel
    from host_tools.observe.statistics import Statistics
    from host_tools.plan.quantization_plan import QuantizationPlan
    from targets.profile import CapabilityProfile, TensorType

CONV_ADD = next(case for case in CASES if case.name == "add_relu")


_ANOTHER_TENSOR_LSB = 5
"""Engines show their layers with other kernels than they run with, some codes off; a tensor that is not the one named is far off."""


class Samples:
    """A `SampleSource` of random samples: smooth enough to have structure, different in every channel."""

    where = "test"

    def __init__(self, model: FloatModel, count: int = 8, seed: int = 11) -> None:
        self.model, self.count, self.seed = model, count, seed

    def __len__(self) -> int:
        return self.count

    def samples(self) -> Iterator[tuple[str, Mapping[str, NDArray[np.generic]]]]:
        rng = np.random.default_rng(self.seed)
        for index in range(self.count):
            yield (
                str(index),
                {
                    spec.name: rng.normal(0.1, 1.0, spec.shape).astype(np.float32)
                    for spec in self.model.inputs
                },
            )

    def fingerprint(self, count: int) -> str | None:
        return f"{self.seed}/{count}"


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A case as far as its plan."""

    model: FloatModel
    statistics: Statistics
    plan: QuantizationPlan
    profile: CapabilityProfile

    def lower(self) -> Payload:
        return lower(self.model, self.plan, self.profile)

    def samples(self) -> list[Mapping[str, NDArray[np.generic]]]:
        return [arrays for _, arrays in Samples(self.model, count=4, seed=12).samples()]


def prepare(
    case: Case, folder: Path, profile: CapabilityProfile, *, keep_float: Sequence[str] = ()
) -> Prepared:
    path = folder / f"{case.name}.onnx"
    path.write_bytes(case.proto().SerializeToString())
    model = load_model(path)
    data = CalibrationSet(Samples(model), model.inputs)
    statistics = observe(model, data, histograms=False, threads=1, progress=Silent())
    recipe = Recipe(method="minmax", keep_float=KeepFloat(nodes=frozenset(keep_float)))
    return Prepared(model, statistics, make_plan(model, statistics, profile, recipe), profile)


class LoweringTemplate:
    """Subclass, name the target and the engine's loader, and set what the engine needs in tolerance."""

    target: ClassVar[str]
    load: ClassVar[EngineLoader]
    max_lsb: ClassVar[int] = 1
    min_share_within_one: ClassVar[float] = 0.99
    min_sqnr_db: ClassVar[float] = 15.0
    looser: ClassVar[Mapping[str, tuple[int, float]]] = {}
    """Cases that the engine computes in another way than the plan says: their largest distance in LSB and least equal share."""
    float_kernels: ClassVar[frozenset[str]] = frozenset()
    """Cases with an operator that the profile calls an integer one and the engine runs in float, between integers."""
    interfaces: ClassVar[tuple[TensorType, ...]] = ("float32", "int8", "uint8")

    @pytest.fixture
    def profile(self) -> CapabilityProfile:
        return catalog.load(self.target)

    def as_written(self, prepared: Prepared) -> QuantizationPlan:
        """Return the plan that the file is of: the whole plan, unless the dialect leaves out part of it."""
        return prepared.plan

    def run(
        self, payload: Payload, samples: Sequence[Mapping[str, NDArray[np.generic]]]
    ) -> list[dict[str, NDArray[np.float64]]]:
        engine = self.load(payload.files, threads=1)
        try:
            assert engine.input_names == tuple(tensor.name for tensor in payload.inputs)
            assert engine.output_names == tuple(tensor.name for tensor in payload.outputs)
            return [
                to_source(engine.infer(to_payload(sample, payload.inputs)), payload.outputs)
                for sample in samples
            ]
        finally:
            engine.close()

    @pytest.mark.parametrize("case", [*CASES, TWO_ENDS, DETECTOR], ids=lambda case: case.name)
    def test_computes_the_plan(self, case: Case, profile: CapabilityProfile, tmp_path: Path) -> None:
        prepared = prepare(case, tmp_path, profile)
        samples = prepared.samples()
        found = self.run(prepared.lower(), samples)
        expected = [simulate(prepared.model, self.as_written(prepared), sample) for sample in samples]
        exact = [simulate(prepared.model, _without_codes(prepared.plan), sample) for sample in samples]
        for spec in prepared.model.outputs:
            qparams = prepared.plan.tensors[spec.name].qparams
            signal = np.stack([values[spec.name] for values in exact]).astype(np.float64)
            unit = qparams.scale[0] if qparams is not None else float(np.ptp(signal)) / 255
            distance = np.concatenate(
                [
                    (np.abs(f[spec.name] - e[spec.name]) / unit).reshape(-1)
                    for f, e in zip(found, expected, strict=True)
                ]
            )
            assert np.isfinite(distance).all()
            max_lsb, min_share_within_one = self.looser.get(
                case.name, (self.max_lsb, self.min_share_within_one)
            )
            assert distance.max() <= max_lsb + 0.01, distance.max()
            assert np.mean(distance < 0.5) >= min_share_within_one, np.mean(distance < 0.5)
            noise = np.stack([values[spec.name] for values in found]) - signal
            ratio = sqnr_db(float(np.sum(signal**2)), float(np.sum(noise**2)))
            assert ratio is not None, (
                "a quantized network that equals the float one bit by bit is not quantized"
            )
            assert ratio >= self.min_sqnr_db

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
    def test_what_the_plan_has_in_integers_runs_in_integers(
        self, case: Case, profile: CapabilityProfile, tmp_path: Path
    ) -> None:
        prepared = prepare(case, tmp_path, profile)
        candidate = Candidate(
            profile=profile, model=prepared.model, plan=prepared.plan, payload=prepared.lower()
        )
        ran = executed(candidate, threads=1)
        assert bool(ran.unplanned_float_ops) == (case.name in self.float_kernels), ran.unplanned_float_ops
        planned = sum(node.precision == "int8" for node in prepared.plan.nodes.values())
        assert (ran.integer_ops > 0) == (planned > 0)

    def test_gives_the_same_bytes_again(self, profile: CapabilityProfile, tmp_path: Path) -> None:
        prepared = prepare(CONV_ADD, tmp_path, profile)
        first = dict(prepared.lower().files)
        prepare(TWO_ENDS, tmp_path, profile).lower()  # whatever was made between
        assert dict(prepare(CONV_ADD, tmp_path, profile).lower().files) == first

    def test_leaves_the_model_as_it_was(self, profile: CapabilityProfile, tmp_path: Path) -> None:
        prepared = prepare(CONV_ADD, tmp_path, profile)
        before = [str(node) for node in prepared.model.graph.graph]
        prepared.lower()
        assert [str(node) for node in prepared.model.graph.graph] == before

    @pytest.mark.parametrize("interface", ["float32", "int8", "uint8"])
    def test_inputs_and_outputs_have_the_type_that_the_profile_says(
        self, interface: TensorType, profile: CapabilityProfile, tmp_path: Path
    ) -> None:
        if interface not in self.interfaces:
            pytest.skip(f"the format has no {interface} interface")
        types = dataclasses.replace(profile.interface, input_type=interface, output_type=interface)
        prepared = prepare(TWO_ENDS, tmp_path, dataclasses.replace(profile, interface=types))
        payload = prepared.lower()
        for spec, tensor in zip(
            (*prepared.model.inputs, *prepared.model.outputs),
            (*payload.inputs, *payload.outputs),
            strict=True,
        ):
            assert tensor.dtype == interface
            assert tensor.source_name == spec.name
            assert tensor.shape == tuple(spec.shape[axis] for axis in tensor.source_axes)
            assert (tensor.scale is None) == (interface == "float32")
        samples = prepared.samples()
        max_lsb = self.looser.get(TWO_ENDS.name, (self.max_lsb, 0.0))[0]
        for found, sample in zip(self.run(payload, samples), samples, strict=True):
            expected = simulate(prepared.model, self.as_written(prepared), sample)
            for name, array in found.items():
                distance = np.abs(array - expected[name]) / prepared.plan.tensors[name].qparams.scale[0]
                assert distance.max() <= max_lsb + 0.01, distance.max()

    @pytest.mark.parametrize("interface", ["float32", "int8", "uint8"])
    def test_an_output_that_no_one_scale_serves_leaves_in_float(
        self, interface: TensorType, profile: CapabilityProfile, tmp_path: Path
    ) -> None:
        if interface not in self.interfaces:
            pytest.skip(f"the format has no {interface} interface")
        types = dataclasses.replace(profile.interface, input_type=interface, output_type=interface)
        prepared = prepare(DETECTOR, tmp_path, dataclasses.replace(profile, interface=types))
        payload = prepared.lower()
        assert [tensor.dtype for tensor in payload.inputs] == [interface]
        assert [(tensor.dtype, tensor.scale) for tensor in payload.outputs] == [("float32", None)]
        samples = prepared.samples()
        exact = [simulate(prepared.model, _without_codes(prepared.plan), sample)["y"] for sample in samples]
        found = [outputs["y"] for outputs in self.run(payload, samples)]
        for exact_part, found_part in zip(
            np.split(np.stack(exact), 2, axis=2), np.split(np.stack(found), 2, axis=2), strict=True
        ):
            noise = found_part - exact_part
            ratio = sqnr_db(float(np.sum(exact_part**2)), float(np.sum(noise**2)))
            assert ratio is not None
            assert ratio >= self.min_sqnr_db

    def test_named_tensors_hold_the_values_they_are_named_for(
        self, profile: CapabilityProfile, tmp_path: Path
    ) -> None:
        prepared = prepare(CONV_ADD, tmp_path, profile)
        payload = prepared.lower()
        produced = {output.name for node in prepared.model.graph.graph for output in node.outputs}
        existing = [name for name in produced if prepared.plan.tensors[name].role != "fused"]
        named = [name for name in existing if name in payload.tensor_names]
        assert len(named) >= len(existing) - (profile.interface.output_type != "float32")
        assert not set(payload.tensor_names) & {
            name for name, planned in prepared.plan.tensors.items() if planned.role == "fused"
        }
        read = PROBES[payload.format].open_layers(payload, named, threads=1)
        sample = prepared.samples()[0]
        expected = simulate(prepared.model, self.as_written(prepared), sample)
        for name, array in read(to_payload(sample, payload.inputs)).items():
            axes = payload.tensor_axes.get(name)
            in_layout = array if axes is None else array.transpose(np.argsort(axes))
            qparams = prepared.plan.tensors[name].qparams
            unit = qparams.scale[0] if qparams is not None else float(np.ptp(expected[name])) / 255
            distance = np.abs(in_layout - expected[name]) / unit
            assert distance.max() <= _ANOTHER_TENSOR_LSB, name

    def test_a_weight_left_in_float_stays_in_float(self, profile: CapabilityProfile, tmp_path: Path) -> None:
        case = next(case for case in CASES if case.name == "conv")
        names = [node.name for node in prepare(case, tmp_path, profile).model.graph.graph]
        if profile.fallback.to == "refuse":
            pytest.skip("the target has no float operators")
        prepared = prepare(case, tmp_path, profile, keep_float=names[1:2])
        assert prepared.plan.nodes[names[1]].precision != "int8"
        sample = prepared.samples()[0]
        found = self.run(prepared.lower(), [sample])[0]["y"]
        expected = simulate(prepared.model, self.as_written(prepared), sample)["y"]
        distance = np.abs(found - expected) / prepared.plan.tensors["y"].qparams.scale[0]
        assert distance.max() <= self.max_lsb + 0.01, distance.max()

    def test_refuses_a_plan_for_another_model(self, profile: CapabilityProfile, tmp_path: Path) -> None:
        prepared = prepare(CONV_ADD, tmp_path, profile)
        other = prepare(TWO_ENDS, tmp_path, profile).model
        with pytest.raises(LoweringError, match="digest"):
            lower(other, prepared.plan, profile)

    def test_refuses_a_plan_for_another_version_of_the_target(
        self, profile: CapabilityProfile, tmp_path: Path
    ) -> None:
        prepared = prepare(CONV_ADD, tmp_path, profile)
        with pytest.raises(LoweringError, match=profile.id):
            lower(prepared.model, prepared.plan, dataclasses.replace(profile, digest="sha256:" + "1" * 64))

    def test_refuses_a_plan_with_a_hole(self, profile: CapabilityProfile, tmp_path: Path) -> None:
        prepared = prepare(CONV_ADD, tmp_path, profile)
        name = next(iter(prepared.plan.nodes))
        holed = {key: node for key, node in prepared.plan.nodes.items() if key != name}
        with pytest.raises(LoweringError, match=name):
            lower(prepared.model, dataclasses.replace(prepared.plan, nodes=holed), profile)

    @pytest.mark.parametrize(
        ("key", "value"), [("quantize_outputs", False), ("sidecars", ("qualcomm_encodings",))]
    )
    def test_refuses_what_only_onnx_can_say(
        self, key: str, value: object, profile: CapabilityProfile, tmp_path: Path
    ) -> None:
        artifact = dataclasses.replace(profile.artifact, **{key: value})
        prepared = prepare(CASES[0], tmp_path, profile)
        with pytest.raises(LoweringError, match=f"artifact.{key}"):
            dataclasses.replace(prepared, profile=dataclasses.replace(profile, artifact=artifact)).lower()

    def test_refuses_a_precision_that_it_does_not_write(
        self, profile: CapabilityProfile, tmp_path: Path
    ) -> None:
        """Float32 in a node that the plan and the report call float16 would be a silent exchange."""
        prepared = prepare(CASES[0], tmp_path, profile)
        nodes = dict(prepared.plan.nodes)
        name, node = next(iter(nodes.items()))
        nodes[name] = dataclasses.replace(node, precision="float16")
        plan = dataclasses.replace(prepared.plan, nodes=nodes)
        with pytest.raises(LoweringError, match=f"{name}' is planned as float16"):
            dataclasses.replace(prepared, plan=plan).lower()

    def test_refuses_a_bias_that_overflows(self, profile: CapabilityProfile, tmp_path: Path) -> None:
        if not profile.bias.quantized:
            pytest.skip("the target keeps biases in float")
        prepared = prepare(CONV_ADD, tmp_path, profile)
        name, bias = next(
            (name, planned) for name, planned in prepared.plan.tensors.items() if planned.role == "bias"
        )
        tiny = dataclasses.replace(bias.qparams, scale=tuple(1e-12 for _ in bias.qparams.scale))
        tensors = {**prepared.plan.tensors, name: dataclasses.replace(bias, qparams=tiny)}
        with pytest.raises(LoweringError, match=name):
            lower(prepared.model, dataclasses.replace(prepared.plan, tensors=tensors), profile)


def _without_codes(plan: QuantizationPlan) -> QuantizationPlan:
    """Return the plan of the float model."""
    tensors = {name: dataclasses.replace(planned, qparams=None) for name, planned in plan.tensors.items()}
    return dataclasses.replace(plan, tensors=tensors, requantize=())
