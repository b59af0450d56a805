"""`UpdateLimits`: the bounds of the update's state machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from device_agent.update.probation import ProbationLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateLimits:
    """Bounds of the machine.

    Attributes:
        first_check_seconds: From the start to the first check.
        check_interval_seconds: Between checks; after a failure it is shorter and doubles up to this.
        require_synced_clock: Check only while a time service vouches for the clock.
        trials: A candidate is tried so often; more means that its trial takes the device down.
        mismatches: A candidate may come with wrong bytes so often.
        shadow: Whether there is a shadow run.
        shadow_min_cosine: Least agreement with the current model's outputs.
        probation: What an activated release must show.
    """

    first_check_seconds: float
    check_interval_seconds: float
    require_synced_clock: bool
    trials: int
    mismatches: int
    shadow: bool
    shadow_min_cosine: float
    probation: ProbationLimits
