"""What a new model must show before it is kept; `judge` decides, without clock or disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from device_agent.update.occurrences import Observed


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbationLimits:
    """What is asked of a new model.

    Attributes:
        seconds: It runs at least so long.
        inferences: It gives at least so many results.
        longest_seconds: Without that many results in this time it goes: nothing speaks for it.
        p95_ratio: Largest p95 over the one of the release before.
        error_ratio: Largest share of inferences that fail.
        bad_windows: So many windows in a row beyond a limit end it.
        starts: It may be started so often.
    """

    seconds: float
    inferences: int
    longest_seconds: float
    p95_ratio: float
    error_ratio: float
    bad_windows: int
    starts: int


class Evidence:
    """What a release on probation has shown since this process began."""

    def __init__(
        self,
        limits: ProbationLimits,
        *,
        since_seconds: float,
        baseline_p95_seconds: float | None,
        baseline_hot: bool = False,
    ) -> None:
        self._limits = limits
        self._since_seconds = since_seconds
        self._baseline = baseline_p95_seconds
        self._was_hot = baseline_hot
        self._bad = 0
        self.inferences = 0

    @property
    def due_seconds(self) -> float:
        """Monotonic time at which `verdict` may change by itself."""
        enough = self.inferences >= self._limits.inferences
        return self._since_seconds + (self._limits.seconds if enough else self._limits.longest_seconds)

    def add(self, window: Observed) -> str:
        """Take in a window; return why the release must go, empty when it may stay."""
        self.inferences += window.inferences
        fault = self._fault(window)
        if not window.inferences and not window.errors and not fault:
            return ""
        self._bad = self._bad + 1 if fault else 0
        return fault if self._bad >= self._limits.bad_windows else ""

    def _fault(self, window: Observed) -> str:
        ran = window.inferences + window.errors
        if window.heat and not self._was_hot:
            return f"heat: {window.heat}; it was not so hot with the release before"
        if window.nonfinite:
            return f"output_not_finite: {window.nonfinite} outputs held NaN or infinity"
        if window.errors > self._limits.error_ratio * ran:
            return f"inference_errors: {window.errors} of {ran} inferences failed"
        p95, baseline = window.p95_seconds, self._baseline
        if p95 is not None and baseline and p95 > self._limits.p95_ratio * baseline:
            return f"latency: p95 is {p95 * 1e3:.3g} ms, it was {baseline * 1e3:.3g} ms"
        return ""

    def verdict(self, now_seconds: float) -> tuple[bool, str]:
        """Return whether the release is to be kept now, and why it must go, empty when it need not."""
        ran_seconds = now_seconds - self._since_seconds
        if self.inferences >= self._limits.inferences:
            return ran_seconds >= self._limits.seconds and self._bad == 0, ""
        if ran_seconds < self._limits.longest_seconds:
            return False, ""
        return False, (
            f"no_evidence: {self.inferences} inferences in {ran_seconds:.0f} s; {self._limits.inferences} were asked for"
        )
