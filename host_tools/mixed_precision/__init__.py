"""Mixed precision: the operators that cost most run on 16-bit activations or in float, as cheaply as a goal takes.

Layout:
    mixed_precision.py   mix(): from a plan that is not good enough to the cheapest one that is
    goal.py              what has to be reached
    sensitivity.py       what each layer costs at the outputs, by running with it exact
    costs.py             what it costs to run a layer in a wider precision, in time or in size
    assignment.py        which layers have moved, and to where
    moves.py             in which order layers move: most gain per cost first
    search.py            how many moves it takes, by measuring
    placing.py           the plan of an assignment, within the target's limits
"""

from __future__ import annotations

from host_tools.mixed_precision.goal import Goal
from host_tools.mixed_precision.mixed_precision import Mixed, mix
from host_tools.mixed_precision.search import Trial

__all__ = ["Goal", "Mixed", "Trial", "mix"]
