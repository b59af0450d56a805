"""`Search`: how many moves it takes, by measuring.

1, 2, 4 moves and so on, and between the last that was too few and the first that was enough by halves. Of those, what turns out not to be
needed goes back into the usual integers, or from float to 16 bits, the costliest first.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from host_tools.errors import CapabilityError
from host_tools.mixed_precision.assignment import Assignment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from host_tools.mixed_precision.assignment import Move
    from host_tools.mixed_precision.costs import Costs
    from host_tools.mixed_precision.goal import Goal
    from host_tools.mixed_precision.moves import Choices
    from host_tools.plan.quantization_plan import QuantizationPlan
    from host_tools.progress import Progress
    from host_tools.stages.yardstick import Worth
    from targets.profile import Precision

_MOST_GIVEN_BACK: Final = 8
"""So many operators are tried where they cost less, when the goal is reached; each costs a measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One assignment that was measured.

    Attributes:
        names: Operators in a wider precision beside those that were before, in order of execution.
        worth: What the plan was then worth; None where the target did not accept it.
        is_finished: Whether weights and biases were reconstructed for it.
        wide: Those of ``names`` that run on 16-bit activations; the others run in float.
    """

    names: tuple[str, ...]
    worth: Worth | None
    is_finished: bool = False
    wide: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """An assignment with its plan."""

    assignment: Assignment
    plan: QuantizationPlan
    worth: Worth

    def trial(self, *, is_finished: bool = False) -> Trial:
        """Return the trail's entry for it."""
        return Trial(
            names=self.assignment.names,
            worth=self.worth,
            is_finished=is_finished,
            wide=frozenset(self.assignment.wide),
        )


class _TimeIsUpError(Exception):
    """The deadline has passed."""


@dataclass(slots=True, kw_only=True, eq=False)
class Search:
    """Measures assignments, and remembers the best and the cheapest that is enough.

    Attributes:
        make: Plans an assignment.
        measure: Tells what a plan is worth.
        choices: Where each layer may go, by its rank.
        costs: What it costs there.
        progress: Told of every trial.
        deadline: Time (`time.monotonic`) after which nothing is tried; None: no limit.
        trail: Everything that was tried, in order; nothing twice.
        best: The best so far.
        enough: The cheapest of the last run that is enough.
        is_out_of_time: Whether the deadline ended it.
    """

    make: Callable[[Assignment], QuantizationPlan]
    measure: Callable[[QuantizationPlan], Worth]
    choices: Choices
    costs: Costs
    progress: Progress
    deadline: float | None
    trail: list[Trial] = field(default_factory=list)
    best: Found | None = None
    enough: Found | None = None
    is_out_of_time: bool = False
    _tried: dict[tuple[tuple[int, Precision], ...], Found | None] = field(default_factory=dict)

    def run(self, moves: Sequence[Move], goal: Goal) -> None:
        """Find how many moves a goal takes, and give back what was not needed."""
        self.enough = None
        try:
            self._count(moves, goal)
            if self.enough is not None:
                self._give_back(self.enough, goal)
        except _TimeIsUpError:
            self.is_out_of_time = True

    def _count(self, moves: Sequence[Move], goal: Goal) -> None:
        few, many, count = 0, len(moves) + 1, 1
        while few + 1 < many:
            found = self._try(Assignment.after(moves[:count]))
            if found is None or goal.is_reached(
                found.worth
            ):  # more than the target accepts are too many as well
                many = count
                self.enough = found or self.enough
            else:
                few = count
            count = min(2 * count, len(moves)) if many > len(moves) else (few + many) // 2

    def _give_back(self, enough: Found, goal: Goal) -> None:
        """Take the costliest layers back: into the usual integers, or from float to 16 bits where that is cheaper."""
        moved = enough.assignment
        costliest = sorted(
            moved.precisions,
            key=lambda rank: (-self.costs.of(moved.layers[rank], moved.precisions[rank]), rank),
        )
        for rank in costliest[:_MOST_GIVEN_BACK]:
            for precision in self._cheaper(enough.assignment, rank):
                rest = enough.assignment.with_layer(rank, precision)
                found = self._try(rest) if rest.precisions else None
                if found is not None and goal.is_reached(found.worth):
                    self.enough = enough = found
                    break

    def _cheaper(self, assignment: Assignment, rank: int) -> tuple[Precision | None, ...]:
        """Return where a layer would cost less than where it is, the cheapest first; None is where it was."""
        layer, here = assignment.layers[rank], assignment.precisions[rank]
        price = self.costs.of(layer, here)
        return (None, *(one for one in self.choices[rank] if self.costs.of(layer, one) < price))

    def _try(self, assignment: Assignment) -> Found | None:
        """Measure an assignment; None where the target does not accept it.

        Raises:
            _TimeIsUpError: There is no time for it.
        """
        key = tuple(assignment.precisions.items())
        if key not in self._tried:
            if self.deadline is not None and time.monotonic() >= self.deadline:
                raise _TimeIsUpError
            self._tried[key] = self._measured(assignment)
        return self._tried[key]

    def _measured(self, assignment: Assignment) -> Found | None:
        try:
            plan = self.make(assignment)
        except CapabilityError:
            self.trail.append(Trial(names=assignment.names, worth=None, wide=frozenset(assignment.wide)))
            return None
        found = Found(assignment=assignment, plan=plan, worth=self.measure(plan))
        self.progress.step()
        self.trail.append(found.trial())
        if self.best is None or found.worth.is_better_than(self.best.worth):
            self.best = found
        return found
