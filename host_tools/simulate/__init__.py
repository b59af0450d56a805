"""Simulate: a plan, computed in whole numbers as its target computes it. The golden model of what hardware should output.

Layout:
    simulator.py   simulate(), Simulator: one sample, from inputs to outputs
    engine.py      SimulatedEngine: the simulator in an engine's place
    steps.py       the graph, node by node
    stored.py      how values are stored, and read across edges
    reading.py     IntegerNode: what the plan says of one node
    constants.py   codes of constants
    operators/     one file a family, as in the lowerings: an IntegerNode becomes a function of codes
    products.py    exact sums of products on floating-point units
    windows.py     sliding windows
    quantizer.py   exact sums to codes, under the target's rounding
    rounding.py    the one place where the simulator leaves the whole numbers
    curves.py      functions of one real number
    float_node.py  nodes that the plan leaves in float
    known_differences.py   where engines give other codes, and why
"""

from host_tools.simulate.engine import SimulatedEngine
from host_tools.simulate.simulator import Simulator, simulate

__all__ = ["SimulatedEngine", "Simulator", "simulate"]
