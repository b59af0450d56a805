"""From measures to a verdict, with a reason for everything that is not a pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.verify.verification_report import worst

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.verify.verification_report import Agreement, Budget, Execution, Parity, Quality, Verdict

_ONE_SIDED_95 = 1.645  # quantile of the normal distribution


def judge(
    budget: Budget,
    *,
    agreement: Agreement,
    quality: Sequence[Quality],
    execution: Execution,
    parity: Parity | None,
) -> tuple[Verdict, tuple[str, ...]]:
    """Hold one payload's measures against the budget.

    Returns:
        The worst verdict, and one sentence per check that is not a plain pass.
    """
    findings: list[tuple[Verdict, str]] = []
    if agreement.nonfinite_count:
        findings.append(("nonfinite", f"{agreement.nonfinite_count} output values are NaN or infinite."))
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
        findings.append(
            _at_least(
                "output SQNR in dB", agreement.sqnr_db, budget.min_sqnr_db, budget.min_sqnr_db, budget.margin
            )
        )
    findings.extend(_quality_finding(measure, budget) for measure in quality)
    findings.extend(_execution_findings(execution))
    if parity is not None and not parity.within_tolerance:
        findings.append(
            (
                "marginal",
                f"outputs differ from the plan's arithmetic by up to {parity.max_lsb} codes, beyond the profile's tolerance; "
                "a network may magnify single codes that an engine rounds otherwise (docs/simulator.md).",
            ),
        )
    reasons = tuple(text for verdict, text in findings if verdict != "pass")
    return worst(tuple(verdict for verdict, _ in findings)), reasons


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
