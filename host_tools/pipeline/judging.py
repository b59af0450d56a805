"""Verify what each target is to run, and find the layers that cost most; a payload that its engine refuses is no loss to the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.contract.errors import EngineError
from host_tools.diagnose.diagnoser import Subject, diagnose
from host_tools.errors import CapabilityError, VerificationError
from host_tools.verify.verification_report import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from host_tools.diagnose.diagnosis import Diagnosis
    from host_tools.observe.statistics import Statistics
    from host_tools.pipeline.material import Material
    from host_tools.progress import Progress
    from host_tools.verify.candidate import Candidate, Verified


def verified_of(
    run: Callable[..., Verified], candidates: list[Candidate], refused: tuple[Refusal, ...], *, latency: bool
) -> tuple[list[Candidate], Verified]:
    """Verify all candidates side by side; if an engine will not have its payload, find out whose, and verify the others.

    Raises:
        EngineError: The only target's engine refuses its payload or fails.
        VerificationError: The same, said by a probe.
    """
    try:
        return candidates, run(candidates, refused=refused, latency=latency)
    except (EngineError, VerificationError):
        if len(candidates) == 1:
            raise
    good: list[Candidate] = []
    found = list(refused)
    for candidate in candidates:
        try:
            run([candidate], latency=False)
        except (EngineError, VerificationError) as error:
            found.append(Refusal(target=candidate.profile.id, reason=str(error)))
        else:
            good.append(candidate)
    if not good:
        raise CapabilityError(
            "no engine takes what was made for it:"
            + "".join(f"\n  {one.target}: {one.reason}" for one in found)
        )
    return good, run(good, refused=tuple(found), latency=latency)


def diagnoses_of(
    material: Material,
    candidates: Sequence[Candidate],
    verified: Verified,
    statistics: Mapping[str, Statistics | None],
    *,
    threads: int,
    progress: Progress,
) -> Mapping[str, Diagnosis]:
    """Return each target's diagnosis, for those whose plan was made from statistics.

    Args:
        material: What the conversion started from.
        candidates: What was verified.
        verified: What came out, in the same order.
        statistics: What each target's plan was made from, by target.
        threads: Threads of one inference.
        progress: Told how far it is.
    """
    subjects = [
        Subject(
            model=candidate.model,
            candidate=candidate,
            statistics=own,
            report=report,
            samples=verified.samples[report.target],
        )
        for candidate, report in zip(candidates, verified.report.targets, strict=True)
        if (own := statistics[candidate.profile.id]) is not None
    ]
    if not subjects:
        return {}
    return diagnose(
        material.model, subjects, evaluation=material.evaluation, threads=threads, progress=progress
    )
