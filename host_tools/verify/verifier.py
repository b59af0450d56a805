"""Run the float model and every payload on the same samples, and say what differs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from host_tools.errors import DataError
from host_tools.model.reference import FloatRunner
from host_tools.processor import shortfall
from host_tools.verify.candidate import Verified
from host_tools.verify.contestant import Contestant, plan_arithmetics
from host_tools.verify.execution import executed
from host_tools.verify.judgement import judge
from host_tools.verify.latency import measure
from host_tools.verify.layers import FloatLayers, layer_errors
from host_tools.verify.operator_parity import OperatorMeter
from host_tools.verify.output_parts import OutputParts, OutputsComparison
from host_tools.verify.verification_report import PairAgreement, TargetReport, VerificationReport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from host_tools.model.float_model import FloatModel
    from host_tools.progress import Progress
    from host_tools.verify.candidate import Candidate, Evaluation
    from host_tools.verify.verification_report import Budget, Execution, Latency, Refusal

_FLOAT = "float"


def verify(
    model: FloatModel,
    candidates: Sequence[Candidate],
    *,
    refused: Sequence[Refusal] = (),
    evaluation: Evaluation,
    budget: Budget,
    calibration_samples: int,
    threads: int,
    latency: bool,
    made_with: Mapping[str, str],
    progress: Progress,
) -> Verified:
    """Verify every candidate by running it.

    Args:
        model: The float model.
        candidates: One a target, at least one.
        refused: Targets that cannot do what the model needs, for the report.
        evaluation: Samples, and labels where there are any.
        budget: What a payload must reach.
        calibration_samples: For the report.
        threads: Threads of one inference.
        latency: Whether to measure latency.
        made_with: Tool names and versions, for the report.
        progress: Told of every sample.

    Raises:
        DataError: A sample cannot be read, or the float model's outputs for it are not finite.
        EngineError: An engine is absent, refuses its payload or fails.
        VerificationError: An engine does not show what it executes.
    """
    pairs, timings, contestants = _compete(model, candidates, evaluation, threads, progress, latency=latency)
    progress.stage("Comparing layer by layer", len(contestants))
    reports = []
    layers: dict[int, FloatLayers] = {}
    for contestant in contestants:
        own = contestant.candidate.model
        if id(own) not in layers:
            sharing = [candidate for candidate in candidates if candidate.model is own]
            layers[id(own)] = FloatLayers(own, sharing, threads=threads)
        exact = layers[id(own)]
        reports.append(_target_report(model, exact, contestant, evaluation, budget, timings, threads))
        progress.step()
    report = VerificationReport(
        model=model.name,
        model_digest=model.digest,
        data_digest=candidates[0].plan.data_digest,
        calibration_samples=calibration_samples,
        float_latency=timings.get(_FLOAT),
        targets=tuple(reports),
        refused=tuple(refused),
        pairs=pairs,
        notes=model.notes,
        made_with=tuple(made_with.items()),
    )
    return Verified(
        report=report,
        golden={one.candidate.profile.id: tuple(one.golden) for one in contestants},
        samples={one.candidate.profile.id: one.sample_errors() for one in contestants},
    )


def _compete(
    model: FloatModel,
    candidates: Sequence[Candidate],
    evaluation: Evaluation,
    threads: int,
    progress: Progress,
    *,
    latency: bool,
) -> tuple[tuple[PairAgreement, ...], dict[str, Latency], list[Contestant]]:
    """Run and time everything side by side; the engines are released at the end, because looking inside them takes room."""
    runner = FloatRunner(model, threads=threads)
    references = plan_arithmetics(candidates, threads=threads)
    parts = OutputParts(model)
    contestants: list[Contestant] = []
    try:
        for candidate, reference in zip(candidates, references, strict=True):
            contestants.append(
                Contestant(candidate, reference, parts=parts, evaluation=evaluation, threads=threads)
            )
        pairs = _compare_outputs(runner, contestants, parts, evaluation, progress)
        timings = _time_all(runner, contestants, evaluation, threads) if latency else {}
    finally:
        for contestant in contestants:
            contestant.release()
    return pairs, timings, contestants


def _compare_outputs(
    runner: FloatRunner,
    contestants: Sequence[Contestant],
    parts: OutputParts,
    evaluation: Evaluation,
    progress: Progress,
) -> tuple[PairAgreement, ...]:
    """Run every sample through the float model and all contestants; sample by sample, so that memory stays flat."""
    progress.stage("Running float and int8 side by side", len(evaluation.data))
    pairs = {
        (a, b): OutputsComparison(parts)
        for a in range(len(contestants))
        for b in range(a + 1, len(contestants))
    }
    for index, sample in enumerate(evaluation.data):
        expected = {
            name: np.asarray(array, dtype=np.float64) for name, array in runner.run(sample.arrays).items()
        }
        for name, array in expected.items():
            if not np.isfinite(array).all():
                raise DataError(
                    f"sample {sample.id}: the float model's output {name!r} is NaN or infinite.",
                    hint="Mend the model or leave the sample out: nothing can be compared with it.",
                )
        label = evaluation.labels[index] if evaluation.labels is not None else None
        for contestant in contestants:
            contestant.add(sample, expected, label)
        for (a, b), comparison in pairs.items():
            comparison.add(contestants[a].latest, contestants[b].latest)
        progress.step()
    return tuple(
        PairAgreement(
            target_a=contestants[a].candidate.profile.id,
            target_b=contestants[b].candidate.profile.id,
            same_top_class=comparison.same_top_class,
            sqnr_db=comparison.sqnr_db,
        )
        for (a, b), comparison in pairs.items()
    )


def _time_all(
    runner: FloatRunner,
    contestants: Sequence[Contestant],
    evaluation: Evaluation,
    threads: int,
) -> dict[str, Latency]:
    """Time the float model and all contestants on one sample, in one run."""
    arrays = next(iter(evaluation.data)).arrays
    runs: dict[str, Callable[[], object]] = {_FLOAT: partial(runner.run, arrays)}
    engines = {_FLOAT: "onnx"}
    for one in contestants:
        inputs = one.payload_inputs(arrays)
        runs[one.candidate.profile.id] = partial(one.engine.infer, inputs)
        engines[one.candidate.profile.id] = f"{one.engine.name} {one.engine.version}"
    return measure(runs, engines, threads=threads)


def _target_report(
    model: FloatModel,
    exact: FloatLayers,
    contestant: Contestant,
    evaluation: Evaluation,
    budget: Budget,
    timings: Mapping[str, Latency],
    threads: int,
) -> TargetReport:
    candidate = contestant.candidate
    agreement, quality = contestant.agreement(), contestant.quality()
    execution = executed(candidate, threads=threads)
    operators = OperatorMeter(candidate)
    layers, unseen = layer_errors(exact, candidate, evaluation.data, threads=threads, operators=operators)
    parity = contestant.parity(operators)
    simulation = contestant.simulation()
    verdict, reasons = judge(
        budget,
        agreement=agreement,
        quality=quality,
        execution=execution,
        parity=parity,
        simulation=simulation,
    )
    saturates = shortfall(candidate.profile)
    return TargetReport(
        target=candidate.profile.id,
        verdict=verdict,
        reasons=(*reasons, saturates) if saturates and reasons else reasons,
        engine=f"{contestant.engine.name} {contestant.engine.version}",
        method=candidate.plan.method,
        payload_bytes=sum(len(data) for data in candidate.payload.files.values()),
        float_bytes=float_weight_bytes(model),
        quality=quality,
        agreement=agreement,
        layers=layers,
        execution=execution,
        latency=timings.get(candidate.profile.id),
        parity=parity,
        warnings=(
            *candidate.plan.warnings,
            *candidate.payload.notes,
            *unseen,
            *_slower(timings, candidate.profile.id, execution),
            *(note for note in (contestant.simulation_note, operators.note, saturates) if note),
        ),
        stages=candidate.stages,
        simulation=simulation,
    )


def _slower(timings: Mapping[str, Latency], target: str, execution: Execution) -> tuple[str, ...]:
    """Say so where integers do not pay: small networks spend their time on the way to codes and back."""
    if target not in timings or execution.stand_in:
        return ()
    ours, floats = timings[target].median_seconds, timings[_FLOAT].median_seconds
    if ours <= floats:
        return ()
    return (f"Slower than the float model on this host: {ours * 1e3:.3g} ms against {floats * 1e3:.3g} ms.",)


def float_weight_bytes(model: FloatModel) -> int:
    """Return the size of all initializers of the canonical model, in bytes."""
    values = model.graph.graph.initializers.values()
    return sum(value.const_value.nbytes for value in values if value.const_value is not None)
