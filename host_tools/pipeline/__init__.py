"""From a float model to artifacts that are proven, target by target: the verbs in their order.

Layout, in the order of the flow:
    material.py     what the user gave, opened and found to belong together
    candidates.py   observe, plan, lower: what each target is to run
    judging.py      verify and diagnose them, and say who refused
    writing.py      payloads, plans, artifacts and reports
    conversion.py   `convert`: all of it
"""

from host_tools.pipeline.conversion import convert
from host_tools.pipeline.writing import Conversion

__all__ = ["Conversion", "convert"]
