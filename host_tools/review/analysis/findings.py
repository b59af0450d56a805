"""What the analysis of telemetry gives: findings, and the reviews and comparisons that they stand in.

A finding says what, which devices, which artifacts, when, how much, how sure, and what next. Its sentences are for
people; everything in them stands beside them as a number or a name.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host_tools.review.store.windows import Level, Selection

FindingKind = Literal[
    "regression",
    "improvement",
    "change_point",
    "output_drift",
    "input_drift",
    "straggler",
    "throttling",
    "silent",
    "flapping",
    "memory_leak",
    "heat_trend",
    "battery_wear",
    "sensor_fault",
]
Severity = Literal["error", "warning", "info"]
"""As in the contract: `error` needs somebody now, `warning` soon, `info` is worth knowing."""
Scale = Literal["ratio", "difference"]
Verdict = Literal["worse", "better", "no_worse", "unclear", "too_few"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""The gravest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """How much something changed, or is apart from what it is held against.

    Attributes:
        measure: Its name, e.g. ``latency_p95_seconds``; `measures.MEASURES` has those that are compared.
        unit: UCUM unit of ``before`` and ``after``.
        before: What it is held against: artifact A, the time before, the other devices.
        after: What it is.
        scale: Whether ``change`` is relative (0.1: a tenth more) or in ``unit``.
        change: Estimate.
        low: Lower end of its confidence interval; -inf when it has none.
        high: Upper end; inf likewise.
        level: Confidence of the interval, e.g. 0.95. 1: no interval but the range over the finding's devices.
    """

    measure: str
    unit: str
    before: float
    after: float
    scale: Scale
    change: float
    low: float
    high: float
    level: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Something that goes together with a finding. It need not be its cause.

    Attributes:
        what: One sentence.
        by: ``artifact``, ``start`` (the agent started then), ``temperature``, ``load``, or ``label:<key>``.
        value: The label's value or the artifact's digest; empty when it is neither.
        affected_share: Of the affected devices, the share that this holds for, 0 to 1.
        other_share: Of the other devices, likewise; NaN when there are none.
        p_value: How likely it would be by chance, corrected for everything that was tried.
    """

    what: str
    by: str
    value: str
    affected_share: float
    other_share: float
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that somebody should know.

    Attributes:
        kind: What sort of thing.
        severity: How grave.
        what: One sentence.
        next_step: What to do about it, one sentence.
        devices: Those that it is about, the worst first.
        artifacts: Digests that it is about.
        group: Which devices were looked at together, e.g. ``target pi5``; empty for all of them.
        start: Unix time in seconds from which it holds.
        end: Until when.
        effect: How much; None when it is no matter of how much.
        p_value: How likely it would be by chance, corrected for everything that was looked at together; None when it
            is counted and not inferred, such as a device that is silent.
        evidence: Numbers by name, in base units.
        explanations: What goes together with it, the likeliest first.
    """

    kind: FindingKind
    severity: Severity
    what: str
    next_step: str
    devices: tuple[str, ...]
    artifacts: tuple[str, ...]
    group: str
    start: float
    end: float
    effect: Effect | None
    p_value: float | None
    evidence: Mapping[str, float] = field(default_factory=dict)
    explanations: tuple[Explanation, ...] = ()

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "evidence", MappingProxyType(dict(self.evidence)))

    def explained(self, explanations: tuple[Explanation, ...]) -> Finding:
        """Return it with what goes together with it."""
        return dataclasses.replace(self, explanations=explanations)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureComparison:
    """One measure of artifact B against A in one group of devices.

    Attributes:
        group: ``target pi5`` and the like; empty for all devices together.
        effect: B against A; None when too few devices have both.
        devices: How many devices were compared: pairs where ``design`` is paired, else the fewer of both sides.
        design: Every device against itself, or devices with A against others with B; ``controlled`` is paired, less
            what changed at the same time on devices that kept A.
        p_value: Two-sided, of no difference; NaN when too few.
        p_adjusted: The same after Holm's correction over the whole comparison.
        margin: Worse by less than this does not matter, on the effect's scale.
        verdict: `worse` or `better`: the adjusted p-value is below alpha and the difference may exceed the margin;
            `no_worse`: B is at most the margin worse, at the interval's confidence; else `unclear`. Temperature is never
            `worse` or `better` in a paired design: a warm week is no doing of B.
    """

    group: str
    effect: Effect | None
    devices: int
    design: Literal["controlled", "paired", "unpaired"]
    p_value: float
    p_adjusted: float
    margin: float
    measure: str
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyCurve:
    """Latency quantiles of one artifact, of merged histograms: ``seconds[i]`` at ``shares[i]``."""

    artifact: str
    shares: tuple[float, ...]
    seconds: tuple[float, ...]
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Artifact B against A.

    Attributes:
        artifact_a: Digest of what B is held against.
        artifact_b: Digest.
        selection: Which windows.
        alpha: Chance of any false difference in the whole comparison.
        devices_both: How many devices ran both.
        devices_a: How many ran A.
        devices_b: How many ran B.
        measures: All measures in all groups; all devices first, then the groups by name.
        curves: Latencies of A and of B, all devices together.
        verdict: `worse` when any measure is in any group; else `unclear` when one of all devices together is (temperature
            counts only against devices that kept A); else `better` when any is, else `no_worse`; `too_few` when nothing
            could be compared.
        findings: Regressions, improvements and drift of outputs and inputs, the gravest first.
        checks: Drift that was looked for.
        notes: What a reader must know, a sentence each: what was not compared and why.
    """

    artifact_a: str
    artifact_b: str
    selection: Selection
    alpha: float
    devices_both: int
    devices_a: int
    devices_b: int
    measures: tuple[MeasureComparison, ...]
    curves: tuple[LatencyCurve, ...]
    verdict: Verdict
    findings: tuple[Finding, ...]
    checks: tuple[Check, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One kind of thing that was looked for, whether or not it was found.

    Attributes:
        kind: What.
        looked_at: How many questions were asked: devices, groups or measures.
        found: How many findings.
        note: Why it could not be looked for, or only in part; empty when there is nothing to say.
    """

    kind: FindingKind
    looked_at: int
    found: int
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A fleet, or a device, over a span of time.

    Attributes:
        selection: Which windows.
        level: Length of the windows that were read.
        devices: How many devices there are.
        reporting: How many said something in the span.
        artifacts: Digests that ran, the one that appeared last first.
        findings: The gravest first.
        comparisons: Each artifact that ran against the one before it.
        checks: What was looked for.
        totals: Figures of the whole, by name in base units, e.g. ``latency_p95_seconds``.
    """

    selection: Selection
    level: Level
    devices: int
    reporting: int
    artifacts: tuple[str, ...]
    findings: tuple[Finding, ...]
    comparisons: tuple[Comparison, ...]
    checks: tuple[Check, ...]
    totals: Mapping[str, float]

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "totals", MappingProxyType(dict(self.totals)))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceReview:
    """One device: what is found of it, alone and beside others like it.

    Attributes:
        device: Device id.
        labels: What is known of it.
        review: Findings about it.
        peers: How many devices of the same target and artifact it is held against.
        ranks: By measure, the share of peers that do better, 0 to 1.
        values: By measure, the device's own value.
        peer_values: By measure, the median of its peers.
    """

    device: str
    labels: tuple[tuple[str, str], ...]
    review: Review
    peers: int
    ranks: Mapping[str, float]
    values: Mapping[str, float]
    peer_values: Mapping[str, float]

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        for name in ("ranks", "values", "peer_values"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))


@dataclass(frozen=True, slots=True, kw_only=True)
class WeeklyReview:
    """A week beside the week before.

    Attributes:
        review: The week.
        before: Totals of the week before, by the same names as ``review.totals``; empty when nothing was heard then.
        added: Devices that were first heard this week.
        gone: Devices that were heard in the week before and not in this one.
    """

    review: Review
    before: Mapping[str, float]
    added: tuple[str, ...]
    gone: tuple[str, ...]

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "before", MappingProxyType(dict(self.before)))


def ordered(findings: tuple[Finding, ...] | list[Finding]) -> tuple[Finding, ...]:
    """Return findings by severity, then by how many devices they are about, then by kind and time."""
    return tuple(
        sorted(
            findings,
            key=lambda one: (
                SEVERITIES.index(one.severity),
                -len(one.devices),
                one.kind,
                one.start,
                one.group,
                one.devices,
            ),
        )
    )
