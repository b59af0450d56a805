"""From measures to a verdict, with a reason for everything that is not a pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.verify.verification_report import worst

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.verify.verification_report import (
        Agreement,
        Budget,
        Execution,
        Parity,
        Quality,
        Simulation,
        Verdict,
    )

    Finding = tuple[Verdict, str]

_ONE_SIDED_95 = 1.645  # quantile of the normal distribution
_LEAST_SAMPLES = (
    8  # fewer cannot tell a loss from chance: one sample may lose 20 dB by one code, and the next win them
)
_LOST_DB = 1.0
_PROBABLE, _CERTAIN = (
    3.0,
    4.0,
)  # standard errors: many targets and models are judged, and none is to fail by chance


def judge(
    budget: Budget,
    *,
    agreement: Agreement,
    quality: Sequence[Quality],
    execution: Execution,
    parity: Parity | None,
    simulation: Simulation | None = None,
) -> tuple[Verdict, tuple[str, ...]]:
    """Hold one payload's measures against the budget.

    Args:
        budget: The limits.
        agreement: With the float model, on the engine.
        quality: Against labels, on the engine.
        execution: What the engine really ran.
        parity: With the plan's arithmetic; None where it was not compared.
        simulation: What a target that is not here should output; None where the engine is the target's own.

    Returns:
        The worst verdict, and one sentence per check that is not a plain pass.
    """
    findings: list[Finding] = []
    if agreement.nonfinite_count:
        findings.append(("nonfinite", f"{agreement.nonfinite_count} output values are NaN or infinite."))
    measured = [*_agreement_findings(agreement, budget), *(_quality_finding(one, budget) for one in quality)]
    findings.extend(measured if simulation is None else _beside(simulation, measured, budget))
    findings.extend(_execution_findings(execution))
    if parity is not None:
        findings.extend(_parity_findings(parity))
    reasons = tuple(text for verdict, text in findings if verdict != "pass")
    return worst(tuple(verdict for verdict, _ in findings)), reasons


def _agreement_findings(agreement: Agreement, budget: Budget) -> list[Finding]:
    findings: list[Finding] = []
    if agreement.same_top_class is not None:
        findings.append(
            _at_least(
                "same largest output as float (for a network that is no classifier: --min-agreement 0)",
                agreement.same_top_class,
                budget.min_agreement,
                1.0 - budget.min_agreement,
                budget.margin,
            ),
        )
    if agreement.sqnr_db is not None:
        worst_one = agreement.worst_output if len(agreement.outputs) > 1 else None
        name = f"output SQNR in dB of {worst_one.name!r}" if worst_one else "output SQNR in dB"
        findings.append(
            _at_least(name, agreement.sqnr_db, budget.min_sqnr_db, budget.min_sqnr_db, budget.margin)
        )
    findings.extend(
        (
            "marginal",
            f"output {one.name!r} is all zeros in float on these samples, and up to {one.max_absolute:.4g} here.",
        )
        for one in agreement.outputs
        if len(agreement.outputs) > 1 and not one.has_signal and one.max_absolute > 0.0
    )
    return findings


def _parity_findings(parity: Parity) -> list[Finding]:
    """Judge the engine beside the plan's arithmetic by each operator alone and by what is lost, not by the one largest code.

    Output codes far apart are marginal where operators could not be compared: whether the network magnifies or the engine errs is unknown then.
    """
    findings: list[Finding] = [
        (
            "fail",
            f"{one.operator} that writes {one.value!r}, alone, on the engine's own inputs, gives other codes than the plan's arithmetic: "
            f"{one.equal_share:.1%} equal, {one.within_one_share:.1%} within one, up to {one.max_lsb} apart; rounding does not explain that.",
        )
        for one in parity.operators
        if one.is_off
    ]
    lost, doubt = parity.lost_db, parity.doubt_db
    if parity.sample_count >= _LEAST_SAMPLES and doubt is not None:
        text = (
            f"the engine's outputs are {lost:.2g} dB further from float than the plan's arithmetic is, "
            f"{parity.sample_count} samples, standard error {doubt:.2g} dB."
        )
        if lost >= _LOST_DB and lost > _CERTAIN * doubt:
            findings.append(("fail", text))
        elif lost >= _LOST_DB / 2.0 and lost > _PROBABLE * doubt:
            findings.append(("marginal", text))
    if not parity.within_tolerance and not parity.operator_count:
        findings.append(
            (
                "marginal",
                f"only {parity.within_one_share or 0.0:.1%} of the output codes are within one of the plan's arithmetic, up to "
                f"{parity.max_lsb} apart, and its operators could not be compared one by one (docs/simulator.md).",
            )
        )
    return findings


def _beside(simulation: Simulation, measured: Sequence[Finding], budget: Budget) -> list[Finding]:
    """Weigh what the engine that stands in gave with what the target itself should give: they may round otherwise.

    A failure on the stand-in that the target's own arithmetic does not share is marginal, if the two are further apart than the target is from
    float; one that only the target's has is a failure.
    """
    sqnr, same = simulation.sqnr_db, simulation.same_top_class
    count = f"{simulation.sample_count} samples in the target's own arithmetic"
    if sqnr is not None and sqnr < budget.min_sqnr_db:
        return [
            *measured,
            ("fail", f"output SQNR in dB of {count}: {sqnr:.4g}, limit {budget.min_sqnr_db:.4g}."),
        ]
    apart = simulation.engine_sqnr_db
    is_engines_own_doing = apart is not None and (sqnr is None or apart < sqnr)
    if not is_engines_own_doing or (same is not None and same < budget.min_agreement):
        return [*measured]
    told = f" That is on the engine that stands in; {count} are within the limits."
    return [("marginal", text + told) if verdict == "fail" else (verdict, text) for verdict, text in measured]


def _at_least(name: str, value: float, limit: float, room: float, margin: float) -> tuple[Verdict, str]:
    """Judge a measure that must not fall below ``limit``; marginal within ``margin * room`` above it."""
    text = f"{name}: {value:.4g}, limit {limit:.4g}."
    if value < limit:
        return "fail", text
    if value < limit + margin * room:
        return "marginal", text
    return "pass", text


def _quality_finding(measure: Quality, budget: Budget) -> tuple[Verdict, str]:
    """Judge a loss of quality; one that so few samples cannot tell from chance is marginal, never a failure."""
    drop = measure.float_value - measure.payload_value
    limit = budget.max_quality_drop
    text = f"{measure.metric} falls by {drop:.4g} against float, limit {limit:.4g}, {measure.sample_count} samples"
    if drop <= budget.max_quality_drop:
        near = drop > (1.0 - budget.margin) * budget.max_quality_drop
        return ("marginal", f"{text}.") if near else ("pass", f"{text}.")
    doubt = _ONE_SIDED_95 * (measure.standard_error or 0.0)
    if drop - doubt <= budget.max_quality_drop:
        return (
            "marginal",
            f"{text}: too few to tell from chance (standard error {measure.standard_error:.2g}).",
        )
    return "fail", f"{text}."


def _execution_findings(execution: Execution) -> list[tuple[Verdict, str]]:
    if execution.stand_in or not execution.unplanned_float_ops:
        return []
    names = ", ".join(execution.unplanned_float_ops[:5])
    count = len(execution.unplanned_float_ops)
    return [
        ("marginal", f"the engine runs {count} operators in float that the plan has in integers: {names}.")
    ]
