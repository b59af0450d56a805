"""Mixed precision: the operators that cost most run in float, as few of them as a goal takes.

Layout:
    mixed_precision.py   mix(): from a plan that is not good enough to the cheapest one that is
    goal.py              what has to be reached
    sensitivity.py       what each layer costs at the outputs, by running with it exact
    costs.py             what it costs to run a layer in float
    moves.py             in which order layers move: most gain per cost first
    search.py            how many moves it takes, by measuring
    placing.py           the plan with some operators in float, within the target's limits
"""

from __future__ import annotations

from host_tools.mixed_precision.goal import Goal
from host_tools.mixed_precision.mixed_precision import Mixed, mix
from host_tools.mixed_precision.search import Trial

__all__ = ["Goal", "Mixed", "Trial", "mix"]
