"""`Job`: one model with all its targets, as data; `JobResult`: what became of it. No imports of engines: a submitter needs none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from host_tools.verify.verification_report import Budget

if TYPE_CHECKING:
    from host_tools.plan.quantization_plan import Method

TargetVerdict = Literal["pass", "marginal", "fail", "nonfinite", "refused"]
"""A verification's verdict, or that nothing was made for the target."""

GOALS: Final = ("min_sqnr_db", "min_agreement")
"""Limits that methods can work towards: the fields of `host_tools.mixed_precision.Goal`, which takes the engines to import."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One call of `host_tools.pipeline.convert`. Every path is absolute, so that a job means the same in any process.

    Attributes:
        name: Name of the model and of its folder; unique in a batch.
        model: Model file, ONNX or float TFLite.
        data: Calibration data: a path, or ``module:function``.
        targets: Profile ids, or paths of profile files; at least one.
        out: Folder of this job alone.
        code_folder: Where modules of ``module:function`` lie.
        version: Version of the model as its owner counts it.
        method: How ranges are chosen; excludes ``recipe``.
        recipe: Path of a recipe.
        preprocess: Path of a preprocessing file.
        shapes: (Input name, shape) of inputs whose shape the file leaves open.
        limit: Use only the first samples of ``data``.
        evaluation: Samples to verify on: a path, or ``module:function``.
        labels: Path of their labels.
        metric: ``module:function``.
        budget: What a payload must reach.
        goals: Names of those of its limits that every method works towards, mixed precision too: those that somebody named.
        budget_minutes: How long methods beyond the plan may take for all targets together; None: no limit.
        heat: Path of what devices do when they get hot.
        latency: Whether to measure latency.
        diagnosis: Whether to find out which layers cost most.
        threads: Threads of one inference; None: what the executor has for it.
        cache: Folder of cached statistics; None: the user's, on the machine that runs the job.
    """

    name: str
    model: str
    data: str
    targets: tuple[str, ...]
    out: str
    code_folder: str
    version: str = "0.1.0"
    method: Method | None = None
    recipe: str | None = None
    preprocess: str | None = None
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    limit: int | None = None
    evaluation: str | None = None
    labels: str | None = None
    metric: str | None = None
    budget: Budget = field(default_factory=Budget)
    goals: tuple[str, ...] = ()
    budget_minutes: float | None = None
    heat: str | None = None
    latency: bool = True
    diagnosis: bool = True
    threads: int | None = None
    cache: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityResult:
    """One metric of one target on labelled samples, in the metric's unit: float model and payload; None where it is not finite."""

    metric: str
    float_value: float | None
    payload_value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetResult:
    """One row of the table.

    Attributes:
        target: Profile id.
        verdict: Of the verification; ``refused`` when nothing was made.
        reasons: Why it is not ``pass``; of a refusal, what the target cannot do.
        quality: On labelled samples; empty without labels.
        same_top_class: Share of samples with the float model's top class, 0 to 1; None when the output is no vector of classes.
        sqnr_db: Of the outputs, in decibels; None when ``is_exact``, or when there was no signal to measure.
        is_exact: Whether no output differs from the float model's at all.
        latency_seconds: Median of one inference on the machine that ran the job; None when it was not measured.
        payload_bytes: Size of the payload's files.
        float_bytes: Size of the float model's weights.
        is_stand_in: Whether the engine only stands in for hardware that is not here.
        artifact: File name of the ``.ewa`` in the job's folder; None when the verdict forbids shipping.
    """

    target: str
    verdict: TargetVerdict
    reasons: tuple[str, ...] = ()
    quality: tuple[QualityResult, ...] = ()
    same_top_class: float | None = None
    sqnr_db: float | None = None
    is_exact: bool = False
    latency_seconds: float | None = None
    payload_bytes: int | None = None
    float_bytes: int | None = None
    is_stand_in: bool = False
    artifact: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why there is no result. ``code`` is that of the error (`EdgewrightError.code`), ``crashed`` or ``internal``."""

    code: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What became of a job.

    Attributes:
        job: Its name.
        seconds: How long it took, wall clock.
        host: Name of the machine that ran it.
        targets: One a target, in the order asked for; empty when it failed.
        files: (Path below the job's folder, digest) of what it wrote; a job is complete while these are there.
        failure: Why there is no result; None when there is one.
        inputs: Digest of what it depends on (`inputs.digest_of_inputs`); None when that cannot be told without running it.
    """

    job: str
    seconds: float
    host: str
    targets: tuple[TargetResult, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    failure: Failure | None = None
    inputs: str | None = None
