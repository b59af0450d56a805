"""The plan of a file that is quantized already: its scales, zero points and codes, in a target's terms, or why the target cannot have them.

Layout:
    plan.py        `plan_imported`: the story
    schemes.py     one coding of the file as parameters of the target, or the obstacle
    known.py       which values have a coding, and which get one from a neighbour that only moves data
    parameters.py  parameters of every value and weight, and what is in their way
    averages.py    averages that a target's one scale would cut off
"""

from __future__ import annotations

from host_tools.plan.imported.plan import plan_imported

__all__ = ["plan_imported"]
