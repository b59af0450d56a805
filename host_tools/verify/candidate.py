"""What goes into verification and what comes out beside the report."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from host_tools.lower.payload import Payload
    from host_tools.model.float_model import FloatModel
    from host_tools.observe.calibration_set import CalibrationSet
    from host_tools.plan.quantization_plan import QuantizationPlan
    from host_tools.verify.samples import SampleErrors
    from host_tools.verify.verification_report import Stage, VerificationReport
    from targets.profile import CapabilityProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One target's payload with what it was made from and the profile it must keep.

    Attributes:
        profile: The target.
        model: The float model that the plan is for: the user's, or one that computes the same with scaled channels.
        plan: The plan.
        payload: What it was lowered to.
        stages: What each method did, in order.
    """

    profile: CapabilityProfile
    model: FloatModel
    plan: QuantizationPlan
    payload: Payload
    stages: tuple[Stage, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """Samples to compare on.

    Attributes:
        data: The samples.
        labels: One label a sample, in the samples' order; None when quality is not measured.
        metric: ``module:function`` of the user's metric, or None for top-1 and top-5.
        origin: Where the samples come from, for people.
    """

    data: CalibrationSet
    labels: Sequence[int] | None
    metric: str | None
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Golden:
    """One sample as the engine took and gave it on the host: payload order, types and layout."""

    inputs: tuple[NDArray[np.generic], ...]
    outputs: tuple[NDArray[np.generic], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verified:
    """What verification found.

    Attributes:
        report: What was measured.
        golden: By target: the samples that go into its artifact.
        samples: By target: the worst samples, and which classes took whose place.
    """

    report: VerificationReport
    golden: Mapping[str, tuple[Golden, ...]]
    samples: Mapping[str, SampleErrors]

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        object.__setattr__(self, "golden", MappingProxyType(dict(self.golden)))
        object.__setattr__(self, "samples", MappingProxyType(dict(self.samples)))
