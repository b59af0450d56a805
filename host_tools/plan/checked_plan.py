"""`CheckedPlan`: a plan beside the model and the target that it is judged by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from host_tools.plan.qparams import SMALLEST_SCALE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from host_tools.model.topology import Network
    from host_tools.plan.quantization_plan import QParams, QuantizationPlan
    from targets.profile import CapabilityProfile

_INTEGER = ("int8", "int16")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CheckedPlan:
    """A plan, and what it must agree with.

    Attributes:
        plan: The plan.
        network: The model's graph.
        profile: The target.
    """

    plan: QuantizationPlan
    network: Network
    profile: CapabilityProfile

    def rules(self, name: str) -> CapabilityProfile:
        """Return the target as the named node sees it."""
        return self.profile.at(self.plan.nodes[name].precision)

    def is_float(self, name: str) -> bool:
        """Whether the named node computes in float."""
        return self.plan.nodes[name].precision not in _INTEGER

    def broken_scales(self, what: str, qparams: QParams) -> Iterator[str]:
        """Yield a sentence if a scale is none that the target can have."""
        rules = self.profile.scale
        floor = max(rules.minimum, SMALLEST_SCALE)
        if not all(math.isfinite(scale) and scale >= floor for scale in qparams.scale):
            yield f"{what} has a scale below {floor:g} or not finite"
        elif rules.kind == "power_of_two" and any(math.frexp(scale)[0] != 0.5 for scale in qparams.scale):
            yield f"{what} has a scale that is no power of two"
