"""`VerificationReport`: what every payload did when it was run, beside what the float model does.

All errors are of dequantized outputs against the float model's; SQNR is 10 log10(sum of squares of float / sum of squares of the
difference), in decibels, over all elements of all samples. Outputs are unlike one another: each is measured by itself, and an output that a
Concat writes operand by operand; one figure for all of them is that of the worst.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from host_tools.errors import InputError

Verdict = Literal["pass", "marginal", "fail", "nonfinite"]

SCHEMA_VERSION = "1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a payload must reach to be shipped. A measure is marginal within ``margin`` of its limit.

    Attributes:
        min_agreement: Smallest share of samples with the float model's top class, 0 to 1 (classifiers only).
        max_quality_drop: Largest loss of the quality metric against float, in the metric's unit (when labels were given).
        min_sqnr_db: Smallest signal-to-quantization-noise ratio of the outputs, in decibels.
        margin: Share of the distance to a perfect result that counts as marginal, 0 to 1.
    """

    min_agreement: float = 0.9
    max_quality_drop: float = 0.03
    min_sqnr_db: float = 8.0
    margin: float = 0.1

    def __post_init__(self) -> None:
        """Refuse limits that nothing or everything would keep.

        Raises:
            InputError: A limit is NaN, infinite or outside its range; the message names it.
        """
        for name, low, high in (
            ("min_agreement", 0.0, 1.0),
            ("max_quality_drop", 0.0, math.inf),
            ("min_sqnr_db", -math.inf, math.inf),
            ("margin", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise InputError(
                    f"budget: {name}: expected a finite number from {low:g} to {high:g}, got {value}."
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """One quality metric on labelled samples: float model and payload.

    ``standard_error`` is that of the paired difference (for shares of right answers); None for metrics of the user's own.
    """

    metric: str
    float_value: float
    payload_value: float
    sample_count: int
    standard_error: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputAgreement:
    """How close one output, or one part of it that a Concat joined, is to the float model's.

    Attributes:
        name: Of the output; of a part with its place, as NumPy would slice it: ``output0[:, 4:84]``.
        sqnr_db: Infinite (None) when there is no difference at all.
        has_signal: Whether the float model's is anything but zeros; without, SQNR says nothing and is not judged.
        max_absolute: Largest absolute difference, in output units.
        mean_absolute: Mean absolute difference, in output units.
    """

    name: str
    sqnr_db: float | None
    has_signal: bool
    max_absolute: float
    mean_absolute: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How close the payload's outputs are to the float model's.

    Attributes:
        sample_count: Samples compared.
        sample_origin: Where they come from, for people.
        same_top_class: Share of samples with the same top class, of the worst output that is a vector of classes; None when none is.
        sqnr_db: Of the worst of ``outputs`` that has a signal; infinite (None) when there is no difference at all.
        max_absolute: Largest absolute difference of all outputs, in output units.
        mean_absolute: Mean absolute difference over all elements of all outputs, in output units.
        nonfinite_count: Output elements of the payload that are NaN or infinite.
        outputs: Each by itself, in the model's order.
    """

    sample_count: int
    sample_origin: str
    same_top_class: float | None
    sqnr_db: float | None
    max_absolute: float
    mean_absolute: float
    nonfinite_count: int
    outputs: tuple[OutputAgreement, ...] = ()

    @property
    def worst_output(self) -> OutputAgreement | None:
        """The one that ``sqnr_db`` is of; None where nothing differs, or nothing has a signal."""
        told = [one for one in self.outputs if one.sqnr_db is not None and one.has_signal]
        return min(told, key=lambda one: one.sqnr_db or 0.0, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerError:
    """SQNR of one value of the canonical graph, from running the payload layer by layer."""

    value: str
    op_type: str
    sqnr_db: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutedOp:
    """One operator as the engine really runs it."""

    name: str
    op_type: str
    precision: str
    kernel: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What the engine says it executes, read from the engine and not from the file we wrote.

    Attributes:
        source: Where it was read, for people.
        stand_in: Whether the engine only stands in for hardware that is not here; then its floats say nothing of the target.
        ops: Every executed operator.
        integer_ops: Operators computing in integers.
        float_ops: Operators computing in floating point (conversions at the model's doors not counted).
        unplanned_float_ops: Float operators that the plan had in integers, by name.
    """

    source: str
    stand_in: bool
    ops: tuple[ExecutedOp, ...]
    integer_ops: int
    float_ops: int
    unplanned_float_ops: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Batch-1 latency on this host: median over rounds of each round's median, with the spread of the rounds, in seconds."""

    engine: str
    threads: int
    median_seconds: float
    fastest_round_seconds: float
    slowest_round_seconds: float
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorParity:
    """One operator on the inputs that the engine had, beside the plan's exact integer arithmetic: nothing that differed earlier is magnified.

    Attributes:
        value: What it writes.
        operator: Its type, without what is fused into it.
        code_count: Codes compared.
        max_lsb: Largest difference; of 16-bit codes on a target of 8-bit ones, 256 count as one.
        equal_share: Share of codes that are equal.
        within_one_share: Share of codes at most one apart.
        is_off: Whether that is more than the rounding of these kernels explains.
    """

    value: str
    operator: str
    code_count: int
    max_lsb: int
    equal_share: float
    within_one_share: float
    is_off: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """The engine beside the plan's own arithmetic (the QDQ graph, unoptimized): output codes apart, in LSB, and what that costs.

    A network magnifies single codes, so that codes far apart say as much of it as of the engine. What decides is each operator by itself, and
    what the engine loses against float that the plan's arithmetic does not lose (`host_tools.verify.judgement`).

    Attributes:
        reference: What it is compared with.
        sample_count: Samples compared, the first ones.
        max_lsb: Largest difference.
        mean_lsb: Mean absolute difference.
        equal_share: Share of codes that are equal.
        within_one_share: Share of codes at most one apart.
        engine_sqnr_db: Of the engine against the float model, on these samples; of the worst output, None where nothing differs.
        plan_sqnr_db: The same of the plan's arithmetic.
        apart_sqnr_db: The same of the engine against the plan's arithmetic.
        lost_db: How many decibels nearer to float the plan's arithmetic is, sample by sample, on average; negative where the engine is.
        doubt_db: Standard error of that average; None for one sample.
        within_tolerance: Whether as many output codes are within one as the profile wants.
        operator_count: Operators that were compared one by one.
        operators: The worst of those whose codes differ, the worst first.
        max_unplanned: Largest absolute difference of the outputs that have no codes, in their units; None where all have, or it is not known.
    """

    reference: str
    sample_count: int
    max_lsb: int | None
    mean_lsb: float | None
    equal_share: float | None
    within_one_share: float | None
    engine_sqnr_db: float | None
    plan_sqnr_db: float | None
    apart_sqnr_db: float | None
    lost_db: float
    doubt_db: float | None
    within_tolerance: bool
    operator_count: int = 0
    operators: tuple[OperatorParity, ...] = ()
    max_unplanned: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginalParity:
    """The payload beside the quantized file that it was made from, on that file's own engine: output codes apart, in LSB of the file.

    Attributes:
        engine: Engine and version that ran the file.
        sample_count: Samples compared.
        max_lsb: Largest difference.
        mean_lsb: Mean absolute difference.
        equal_share: Share of codes that are equal.
        within_one_share: Share of codes at most one apart.
    """

    engine: str
    sample_count: int
    max_lsb: int
    mean_lsb: float
    equal_share: float
    within_one_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What the target's own integer arithmetic gives, rounding and accumulator included, for a target that is not here.

    Attributes:
        sample_count: Samples simulated, the first ones.
        sqnr_db: Against the float model; None where nothing differs.
        same_top_class: Share of these samples with the float model's top class; None where outputs are no classes.
        engine_sqnr_db: Of the simulation against the engine that stands in; None where nothing differs.
    """

    sample_count: int
    sqnr_db: float | None
    same_top_class: float | None
    engine_sqnr_db: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairAgreement:
    """Two targets on the same samples: share with the same top class, and SQNR of one against the other."""

    target_a: str
    target_b: str
    same_top_class: float | None
    sqnr_db: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What one method did for one target.

    Attributes:
        name: ``ranges``, ``equalization``, ``channel splitting``, ``reconstruction`` or ``mixed precision``.
        seconds: How long it took, its measurement included.
        sqnr_db: What the plan was then worth, on calibration samples that nothing was fitted to; None where that was not measured.
        same_top_class: Share of those samples with the float model's top class; None where outputs are no classes.
        is_kept: Whether the payload has it.
        note: What was done, or why not.
    """

    name: str
    seconds: float
    sqnr_db: float | None
    same_top_class: float | None
    is_kept: bool
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetReport:
    """Everything measured of one target's payload.

    Attributes:
        target: Profile id.
        verdict: The worst of all checks.
        reasons: Why it is not ``pass``; empty when it is.
        engine: Engine and version that ran it.
        payload_bytes: Size of the payload's files.
        float_bytes: Size of the float model's weights.
        latency: None when latency was not measured.
        warnings: From plan, lowering and verification.
        stages: What each method did, in order.
        simulation: None where the engine is the target's own, or the plan has what the simulator does not know.
        original: None where the model was no quantized file, or that could not be run.
    """

    target: str
    verdict: Verdict
    reasons: tuple[str, ...]
    engine: str
    method: str
    payload_bytes: int
    float_bytes: int
    quality: tuple[Quality, ...]
    agreement: Agreement
    layers: tuple[LayerError, ...]
    execution: Execution
    latency: Latency | None
    parity: Parity | None
    warnings: tuple[str, ...]
    stages: tuple[Stage, ...] = ()
    simulation: Simulation | None = None
    original: OriginalParity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A target that cannot do what the model needs, and why; nothing was made for it."""

    target: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationReport:
    """All targets of one conversion.

    Attributes:
        model: Model name.
        model_digest: Digest of the float model.
        data_digest: Digest of the calibration data.
        calibration_samples: How many samples the statistics saw; 0 for a precision that needs none, and for a file quantized already.
        float_latency: ONNX Runtime on the float model, same run; None when latency was not measured.
        targets: One report a target that a payload was made for, in the order asked for.
        refused: The other targets.
        pairs: Every two targets compared.
        notes: What canonicalisation changed in the model.
        made_with: Tool names and versions.
        is_imported: Whether scales and codes came from a file that was quantized already.
    """

    model: str
    model_digest: str
    data_digest: str
    calibration_samples: int
    float_latency: Latency | None
    targets: tuple[TargetReport, ...]
    refused: tuple[Refusal, ...]
    pairs: tuple[PairAgreement, ...]
    notes: tuple[str, ...]
    made_with: tuple[tuple[str, str], ...]
    is_imported: bool = False

    @property
    def calibration(self) -> str:
        """What the conversion was calibrated on, for people."""
        if self.calibration_samples:
            return f"calibrated on {self.calibration_samples} samples"
        if self.is_imported:
            return "not calibrated: scales and codes are those of the file, which is quantized already"
        return "not calibrated: the precision needs no data"

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all targets; a target that was refused has failed."""
        refusals: tuple[Verdict, ...] = ("fail",) if self.refused else ()
        return worst((*(report.verdict for report in self.targets), *refusals))


_ORDER: tuple[Verdict, ...] = ("pass", "marginal", "fail", "nonfinite")


def worst(verdicts: tuple[Verdict, ...]) -> Verdict:
    """Return the worst of some verdicts; ``pass`` when there are none."""
    return max(verdicts, key=_ORDER.index, default="pass")
