"""What an operator's output is held against: `goal_of` reads it off the graph behind the operator.

Where the output goes into nothing but a sum, its goal is not its own float value: it is what makes the *sum* right, whose other terms are
there already, quantized. So the last operator of a residual block also makes up for the error of the shortcut around it, and errors do not
pile up along the trunk.

Source: block-wise goals, Y. Li et al., "BRECQ: Pushing the Limit of Post-Training Quantization by Block Reconstruction", ICLR 2021,
section 3.2. That descends through all operators of a block at once; here the block's sum only changes the goal of a quadratic form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.model.topology import NodeInput, is_constant, named, shape_of
from host_tools.reconstruct.reading import read_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from host_tools.model.topology import Network
    from host_tools.plan.quantization_plan import QuantizationPlan
    from host_tools.reconstruct.steps import Step
    from host_tools.reconstruct.stream import Traveller
    from targets.profile import CapabilityProfile

    Float32 = NDArray[np.float32]
    Arrays = Mapping[str, NDArray[np.generic]]

_SUMS: Final = {"Add": 1.0, "Sum": 1.0, "Sub": -1.0}
"""What the error of another term is to be multiplied with, so that the own term makes up for it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Goal:
    """What the head of a step is to give.

    Attributes:
        head: Name of its result.
        other_terms: Inputs of the sum that it goes into, its own left out; empty where it goes into none.
        sign: What their errors are multiplied with.
    """

    head: str
    other_terms: tuple[NodeInput, ...] = ()
    sign: float = 1.0

    def wanted(
        self,
        traveller: Traveller,
        found: Arrays,
        network: Network,
        plan: QuantizationPlan,
        profile: CapabilityProfile,
    ) -> Float32:
        """Return what the head is to give for one sample, in the shape of its result.

        Args:
            traveller: What there is of the sample, float and quantized; terms that are not there yet count as right.
            found: What the float step gives.
            network: The graph.
            plan: In which parameters the sum reads its terms.
            profile: How the target rounds.
        """
        wanted = np.asarray(found[self.head], np.float32)
        for term in self.other_terms:
            name = named(network.nodes[term.node].inputs[term.index])
            if name in traveller.exact and name in traveller.quantized:
                error = np.asarray(traveller.exact[name], np.float32) - read_at(
                    term, name, traveller.quantized, plan, profile
                )
                wanted = wanted + np.float32(self.sign) * error
        return wanted


def goal_of(step: Step, network: Network) -> Goal:
    """Return the goal of a step's head.

    A sum counts where nothing lies between: the head's result is read by it alone, once, and is not spread over it.
    """
    head = step.head_result
    readers = network.readers[head]
    if len(readers) != 1 or head in network.outputs:
        return Goal(head=head)
    (reader,) = readers
    node = network.nodes[reader.node]
    shape = shape_of(step.head.outputs[0])
    if node.op_type not in _SUMS or any(shape_of(value) != shape for value in node.inputs):
        return Goal(head=head)
    terms = tuple(
        NodeInput(node=reader.node, index=index)
        for index, value in enumerate(node.inputs)
        if index != reader.index and not is_constant(value)
    )
    return Goal(head=head, other_terms=terms, sign=_SUMS[node.op_type])
