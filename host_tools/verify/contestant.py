"""`Contestant`: one payload on its own engine, taking sample after sample and keeping count of what differs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from device_agent.engines import load_engine
from device_agent.sources.adapt import to_payload, to_source
from host_tools.errors import VerificationError
from host_tools.lower.interface import payload_tensors
from host_tools.lower.lowering import lower
from host_tools.lower.onnx_file import onnx_bytes
from host_tools.lower.payload import Payload
from host_tools.model.rounding import with_rounding
from host_tools.plan.planned_values import with_stored_weights
from host_tools.verify.candidate import Golden
from host_tools.verify.output_parts import OutputsComparison
from host_tools.verify.parity import ParityMeter
from host_tools.verify.probes import PROBES
from host_tools.verify.quality import new_meter
from host_tools.verify.samples import SampleErrors, SampleLedger
from host_tools.verify.simulation import SimulatedContestant
from host_tools.verify.verification_report import Agreement, Parity, Quality, Simulation
from targets.profile import ArtifactFormat, Interface

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from host_tools.model.float_model import FloatModel
    from host_tools.observe.calibration_set import Sample
    from host_tools.plan.quantization_plan import QuantizationPlan
    from host_tools.verify.candidate import Candidate, Evaluation
    from host_tools.verify.operator_parity import OperatorMeter
    from host_tools.verify.output_parts import OutputParts
    from host_tools.verify.quality import QualityMeter
    from targets.profile import CapabilityProfile

    Arrays = Mapping[str, NDArray[np.generic]]
    RealArrays = Mapping[str, NDArray[np.float64]]

GOLDEN_SAMPLES = 2


class Contestant:
    """One candidate under test.

    Raises:
        EngineError: The engine is absent or refuses the payload.
    """

    def __init__(
        self,
        candidate: Candidate,
        reference: PlanArithmetic | None,
        *,
        parts: OutputParts,
        evaluation: Evaluation,
        threads: int,
    ) -> None:
        self.candidate = candidate
        self.engine = load_engine(candidate.profile.engine.name, candidate.payload.files, threads=threads)
        self.golden: list[Golden] = []
        self.latest: RealArrays = {}
        self._comparison = OutputsComparison(parts)
        self._samples = SampleLedger()
        self._meter: QualityMeter | None = (
            new_meter(evaluation.metric) if evaluation.labels is not None else None
        )
        self._origin = evaluation.origin
        self._parity = ParityMeter(candidate.plan, candidate.profile, parts)
        self._reference: PlanArithmetic | None = reference
        self._taken = 0
        self._simulated, self.simulation_note = _simulated(candidate, parts)

    def payload_inputs(self, arrays: Arrays) -> list[NDArray[np.generic]]:
        """Turn the float model's inputs into the payload's."""
        return to_payload(arrays, self.candidate.payload.inputs)

    def add(self, sample: Sample, float_outputs: RealArrays, label: int | None) -> None:
        """Run one sample and compare it with the float model's outputs.

        Raises:
            EngineError: The engine failed.
        """
        inputs = self.payload_inputs(sample.arrays)
        outputs = [np.array(output, copy=True) for output in self.engine.infer(inputs)]
        if len(self.golden) < GOLDEN_SAMPLES:
            self.golden.append(Golden(inputs=tuple(inputs), outputs=tuple(outputs)))
        self.latest = to_source(outputs, self.candidate.payload.outputs)
        self._comparison.add(float_outputs, self.latest)
        self._samples.add(sample.id, float_outputs, self.latest, label)
        if self._meter is not None and label is not None:
            self._meter.add(float_outputs, self.latest, label)
        if not self._parity.is_full and self._reference is not None:
            self._parity.add(float_outputs, self._reference.run(sample.arrays), self.latest)
        self._taken += 1
        if self._simulated is not None:
            self._simulate(self._simulated, sample.arrays, float_outputs)

    def _simulate(self, simulated: SimulatedContestant, arrays: Arrays, float_outputs: RealArrays) -> None:
        try:
            simulated.add(arrays, float_outputs, self.latest)
        except VerificationError as error:
            self._simulated, self.simulation_note = None, f"The simulation of the target ended: {error}"

    def simulation(self) -> Simulation | None:
        """What the target's own arithmetic gave so far; None for a target whose engine is its own."""
        return self._simulated.result() if self._simulated is not None else None

    def release(self) -> None:
        """Let go of engine and reference; what they said stays."""
        self.engine.close()
        self._reference = None

    def agreement(self) -> Agreement:
        """How close the outputs so far are to the float model's."""
        seen = self._comparison
        return Agreement(
            sample_count=self._taken,
            sample_origin=self._origin,
            same_top_class=seen.same_top_class,
            sqnr_db=seen.sqnr_db,
            max_absolute=seen.absolute_max,
            mean_absolute=seen.mean_absolute,
            nonfinite_count=seen.nonfinite_count,
            outputs=seen.outputs(),
        )

    def sample_errors(self) -> SampleErrors:
        """Where among the samples so far the error is."""
        return self._samples.result()

    def quality(self) -> tuple[Quality, ...]:
        """Quality so far; empty without labels."""
        return self._meter.result() if self._meter is not None else ()

    def parity(self, operators: OperatorMeter) -> Parity | None:
        """How far the engine is from the plan's arithmetic, by its outputs and operator by operator; None when there was no sample."""
        return self._parity.result(operators)


def _simulated(candidate: Candidate, parts: OutputParts) -> tuple[SimulatedContestant | None, str]:
    """Return the simulation of a target whose device is not here, or why there is none."""
    if candidate.profile.proof == "engine":
        return None, ""
    try:
        return SimulatedContestant(candidate, parts), ""
    except VerificationError as error:
        return None, f"The target could not be simulated: {error}"


class PlanArithmetic:
    """Runs a plan itself: its QDQ graph with every optimization off, which is what each engine is held against."""

    def __init__(self, payload: Payload, *, threads: int) -> None:
        """Make a session.

        Args:
            payload: The plan as an ONNX QDQ file with float inputs and outputs.
            threads: Threads of one inference.

        Raises:
            VerificationError: ONNX Runtime refuses the graph.
        """
        self._payload = payload
        values = [
            tensor.source_name for tensor in payload.outputs if tensor.source_name in payload.tensor_names
        ]
        self._read = PROBES["onnx_qdq"].open_layers(payload, values, threads=threads)
        self._arrays: Arrays | None = None
        self._found: RealArrays = {}

    def run(self, arrays: Arrays) -> RealArrays:
        """Return the quantized outputs' real values; run once for any number of contestants that ask for the same sample."""
        if arrays is not self._arrays:
            self._found = dict(self._read(to_payload(arrays, self._payload.inputs)))
            self._arrays = arrays
        return self._found


def plan_arithmetic(
    model: FloatModel, plan: QuantizationPlan, profile: CapabilityProfile, *, threads: int
) -> PlanArithmetic:
    """Return a plan ready to run; activations are rounded as the target rounds them.

    Raises:
        LoweringError: It cannot be written as an ONNX QDQ graph.
        VerificationError: ONNX Runtime refuses the graph.
    """
    payload = lower(model, plan, _as_float_interface(profile))
    inputs, rules = {spec.name for spec in model.inputs}, profile.rounding
    content = with_rounding(
        payload.files["model.onnx"],
        lambda name: rules.activations if name in inputs else rules.requantization,
    )
    rounded = dataclasses.replace(payload, files={**payload.files, "model.onnx": content})
    return PlanArithmetic(rounded, threads=threads)


def plan_arithmetics(candidates: Sequence[Candidate], *, threads: int) -> list[PlanArithmetic | None]:
    """Return each candidate's plan ready to run; one object serves all whose plans come to the same graph.

    None stands for a plan whose arithmetic is the engine's own: one that quantizes at run time, in a way that only the engine knows.

    Raises:
        VerificationError: ONNX Runtime refuses a graph.
    """
    made: dict[bytes, PlanArithmetic] = {}
    chosen: list[PlanArithmetic | None] = []
    for candidate in candidates:
        payload = _arithmetic(candidate)
        if payload is None:
            chosen.append(None)
            continue
        content = payload.files["model.onnx"]
        if content not in made:
            made[content] = PlanArithmetic(payload, threads=threads)
        chosen.append(made[content])
    return chosen


def _arithmetic(candidate: Candidate) -> Payload | None:
    """Return a plan's arithmetic as an ONNX file; None where the engine alone knows it."""
    plan, profile = candidate.plan, candidate.profile
    if plan.precision == "int8":
        return lower(candidate.model, plan, _as_float_interface(profile))
    if plan.precision == "int8-dynamic":
        return candidate.payload if candidate.payload.format == "onnx_qdq" else None
    exact = with_stored_weights(candidate.model, plan)
    outputs = [spec.name for spec in exact.outputs]
    return Payload(
        format="onnx_qdq",
        files={"model.onnx": onnx_bytes(exact.graph.clone().graph, opset=_REFERENCE_OPSET)},
        inputs=payload_tensors(exact.inputs, {}),
        outputs=payload_tensors(exact.outputs, {}),
        tensor_names={name: name for name in outputs},
        notes=(),
    )


def _as_float_interface(profile: CapabilityProfile) -> CapabilityProfile:
    """The same target as an ONNX QDQ file with float doors, whatever its own format; what its format never quantizes stays float."""
    artifact = ArtifactFormat(
        format="onnx_qdq",
        opset=_REFERENCE_OPSET,
        max_op_versions={},
        qdq_bias=True,
        quantize_outputs=profile.artifact.quantize_outputs,
    )
    interface = Interface(input_type="float32", output_type="float32")
    return dataclasses.replace(profile, artifact=artifact, interface=interface)


_REFERENCE_OPSET = 21
