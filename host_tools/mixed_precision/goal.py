"""`Goal`: what the outputs have to reach."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from host_tools.stages.yardstick import Worth


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a plan has to be worth. A limit that is None is kept by every plan.

    Attributes:
        min_sqnr_db: Smallest signal-to-noise ratio of the outputs, in decibels.
        min_agreement: Smallest share of samples with the float model's top class, 0 to 1; of no concern where outputs are no classes.
    """

    min_sqnr_db: float | None = None
    min_agreement: float | None = None

    def is_reached(self, worth: Worth) -> bool:
        """Tell whether a plan is worth enough."""
        is_close = self.min_sqnr_db is None or worth.reaches(self.min_sqnr_db)
        if self.min_agreement is None or worth.same_top_class is None:
            return is_close
        return is_close and worth.same_top_class >= self.min_agreement

    def missing(self, worth: Worth) -> str:
        """Say how much a plan is short of the goal, for people; empty where it reaches it."""
        short = []
        if self.min_sqnr_db is not None and not worth.reaches(self.min_sqnr_db):
            short.append(f"{self.min_sqnr_db - worth.decibels:.1f} dB")
        if self.min_agreement is not None and worth.same_top_class is not None:
            lacking = self.min_agreement - worth.same_top_class
            short += [f"{lacking:.1%} of the top classes"] if lacking > 0.0 else []
        return " and ".join(short)

    def lowered(self, decibels: float) -> Goal:
        """Return a goal of so many decibels less."""
        if self.min_sqnr_db is None:
            return self
        return replace(self, min_sqnr_db=self.min_sqnr_db - decibels)

    def __str__(self) -> str:
        """Name the limits for people."""
        limits = []
        if self.min_sqnr_db is not None:
            limits.append(f"{self.min_sqnr_db:g} dB")
        if self.min_agreement is not None:
            limits.append(f"the same top class on {self.min_agreement:.1%}")
        return " and ".join(limits)
