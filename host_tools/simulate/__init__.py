"""Simulate: a plan, computed in whole numbers as its target computes it. The golden model of what hardware should output.

Layout:
    simulator.py   simulate(), Simulator: the graph, node by node
    reading.py     IntegerNode: what the plan says of one node; how a node's inputs reach it
    constants.py   codes of constants
    operators/     one file a family, as in the lowerings: an IntegerNode becomes a function of codes
    products.py    exact sums of products on floating-point units
    windows.py     sliding windows
    quantizer.py   exact sums to codes, under the target's rounding
    rounding.py    the one place where the simulator leaves the whole numbers
    float_node.py  nodes that the plan leaves in float
"""

from host_tools.simulate.simulator import Simulator, simulate

__all__ = ["Simulator", "simulate"]
