"""`Search`: how many moves it takes, by measuring.

1, 2, 4 moves and so on, and between the last that was too few and the first that was enough by halves. Of those, what turns out not to be
needed goes back into integers, the costliest first.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Final

from host_tools.errors import CapabilityError
from host_tools.mixed_precision.costs import operations

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from host_tools.diagnose.layers import Layer
    from host_tools.mixed_precision.goal import Goal
    from host_tools.plan.quantization_plan import QuantizationPlan
    from host_tools.progress import Progress
    from host_tools.stages.yardstick import Worth

_MOST_GIVEN_BACK: Final = 8
"""So many operators are tried in integers again, when the goal is reached; each costs a measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One assignment that was measured.

    Attributes:
        names: Operators in float beside those that were before, in order of execution.
        worth: What the plan was then worth; None where the target did not accept it.
        is_finished: Whether weights and biases were reconstructed for it.
    """

    names: tuple[str, ...]
    worth: Worth | None
    is_finished: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """An assignment with its plan."""

    layers: tuple[Layer, ...]
    plan: QuantizationPlan
    worth: Worth

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the operators, in order of execution."""
        return tuple(layer.name for layer in self.layers)


class _TimeIsUpError(Exception):
    """The deadline has passed."""


@dataclass(slots=True, kw_only=True, eq=False)
class Search:
    """Measures assignments, and remembers the best and the cheapest that is enough.

    Attributes:
        make: Plans with the named operators in float.
        measure: Tells what a plan is worth.
        progress: Told of every trial.
        deadline: Time (`time.monotonic`) after which nothing is tried; None: no limit.
        trail: Everything that was tried, in order; nothing twice.
        best: The best so far.
        enough: The cheapest of the last run that is enough.
        is_out_of_time: Whether the deadline ended it.
    """

    make: Callable[[frozenset[str]], QuantizationPlan]
    measure: Callable[[QuantizationPlan], Worth]
    progress: Progress
    deadline: float | None
    trail: list[Trial] = field(default_factory=list)
    best: Found | None = None
    enough: Found | None = None
    is_out_of_time: bool = False
    _tried: dict[tuple[str, ...], Found | None] = field(default_factory=dict)

    def run(self, moves: Sequence[tuple[Layer, ...]], goal: Goal) -> None:
        """Find how many moves a goal takes, and give back what was not needed."""
        self.enough = None
        try:
            self._count(moves, goal)
            if self.enough is not None:
                self._give_back(self.enough, goal)
        except _TimeIsUpError:
            self.is_out_of_time = True

    def _count(self, moves: Sequence[tuple[Layer, ...]], goal: Goal) -> None:
        few, many, count = 0, len(moves) + 1, 1
        while few + 1 < many:
            found = self._try(tuple(chain.from_iterable(moves[:count])))
            if found is None or goal.is_reached(
                found.worth
            ):  # more than the target accepts are too many as well
                many = count
                self.enough = found or self.enough
            else:
                few = count
            count = min(2 * count, len(moves)) if many > len(moves) else (few + many) // 2

    def _give_back(self, enough: Found, goal: Goal) -> None:
        costliest = sorted(enough.layers, key=lambda layer: (-operations(layer), layer.rank))
        for layer in costliest[:_MOST_GIVEN_BACK]:
            rest = tuple(one for one in enough.layers if one is not layer)
            found = self._try(rest) if rest else None
            if found is not None and goal.is_reached(found.worth):
                self.enough = enough = found

    def _try(self, layers: tuple[Layer, ...]) -> Found | None:
        """Measure an assignment; None where the target does not accept it.

        Raises:
            _TimeIsUpError: There is no time for it.
        """
        ordered = tuple(sorted(layers, key=lambda layer: layer.rank))
        names = tuple(layer.name for layer in ordered)
        if names not in self._tried:
            if self.deadline is not None and time.monotonic() >= self.deadline:
                raise _TimeIsUpError
            self._tried[names] = self._measured(ordered, names)
        return self._tried[names]

    def _measured(self, layers: tuple[Layer, ...], names: tuple[str, ...]) -> Found | None:
        try:
            plan = self.make(frozenset(names))
        except CapabilityError:
            self.trail.append(Trial(names=names, worth=None))
            return None
        found = Found(layers=layers, plan=plan, worth=self.measure(plan))
        self.progress.step()
        self.trail.append(Trial(names=names, worth=found.worth))
        if self.best is None or found.worth.is_better_than(self.best.worth):
            self.best = found
        return found
