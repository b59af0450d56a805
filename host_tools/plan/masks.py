"""`masked_bounds`: what a mask takes out of an attention needs no code of its own.

A mask adds -10,000 or the like to the scores that a Softmax is not to see, or stands in their place. Eight bits from there to the scores
would leave the scores one code; what the Softmax reads may as well saturate a little below the lowest score, where that gives nothing either.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from host_tools.model.topology import is_float, named, outputs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from host_tools.model.topology import Network
    from host_tools.observe.statistics import TensorStatistics

_FAR: Final = 32.0
"""How far below the scores, in units of their own range, something is a mask."""

_NOTHING: Final = 16.0
"""exp(-16) is 1e-7: less than half a code of a Softmax in 16 bits."""


def masked_bounds(
    network: Network, seen: Callable[[str], TensorStatistics]
) -> Mapping[str, tuple[float, float]]:
    """Return what scores with a mask may be confined to, by value name, where nothing but Softmax reads it.

    Args:
        network: The canonical graph.
        seen: The statistics of a value.
    """
    bounds = {}
    for node in network.nodes.values():
        if node.op_type not in ("Add", "Where") or not is_float(node.outputs[0]):
            continue
        [value] = outputs_of(node)
        readers = [network.nodes[one.node].op_type for one in network.readers[named(value)]]
        if named(value) in network.outputs or set(readers) != {"Softmax"}:
            continue
        joined = node.inputs[-2:]  # behind what a Where asks
        scores, mask = sorted((seen(named(one)) for one in joined), key=lambda one: -one.minimum)
        reach = max(scores.maximum - scores.minimum, 1.0)
        if mask.maximum <= 0.0 and mask.minimum < min(scores.minimum, 0.0) - _FAR * reach:
            bounds[named(value)] = (scores.minimum - _NOTHING, math.inf)
    return bounds
