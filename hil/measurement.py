"""`Measurement`: a number with its name, its unit and its limits, declared where it is taken.

A value beyond a limit fails its test. One that is within, but nearer to the limit than the margin, is *marginal*: the test passes, and the page
says so.
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["pass", "marginal", "fail", "none"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One number.

    Attributes:
        name: Lower snake case.
        value: In ``unit``; one that is not finite fails wherever there is a limit.
        unit: SI symbol, ``LSB``, ``1`` for counts and shares.
        low: Least value that passes; None: there is none.
        high: Largest value that passes; None: there is none.
        margin: Distance to a limit, in ``unit``, below which a value is marginal; at least 0.
        note: How it was taken, for people.

    Raises:
        ValueError: The name is not in the grammar, the limits cross, a limit is not finite, or the margin is below 0.
    """

    name: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    margin: float = 0.0
    note: str = ""

    def __post_init__(self) -> None:
        """Check name and limits."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"measurement {self.name!r}: expected a name like {_NAME.pattern}")
        for limit in (self.low, self.high, self.margin):
            if limit is not None and not math.isfinite(limit):
                raise ValueError(f"measurement {self.name}: expected finite limits, got {limit}")
        if self.margin < 0.0:
            raise ValueError(f"measurement {self.name}: expected a margin of at least 0, got {self.margin}")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"measurement {self.name}: low {self.low} is above high {self.high}")

    @property
    def verdict(self) -> Verdict:
        """What its limits say; `none` where there are none."""
        if self.low is None and self.high is None:
            return "none"
        room = min(
            self.value - self.low if self.low is not None else math.inf,
            self.high - self.value if self.high is not None else math.inf,
        )
        if not math.isfinite(self.value) or room < 0.0:
            return "fail"
        return "marginal" if room < self.margin else "pass"

    @property
    def limits(self) -> str:
        """The limits as text; empty where there are none."""
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}"
        if self.low is not None:
            return f"≥ {self.low:g}"
        return "" if self.high is None else f"≤ {self.high:g}"

    def __str__(self) -> str:
        limits = f", limits {self.limits}" if self.limits else ""
        return f"{self.name} = {self.value:g} {self.unit}{limits}: {self.verdict}"

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it, verdict and limits as text included; what is not finite is a text."""
        found = asdict(self)
        if not math.isfinite(self.value):
            found["value"] = str(self.value)
        return {**found, "verdict": self.verdict, "limits": self.limits}
