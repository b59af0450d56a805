"""What a Clip confines a channel to, where that can be scaled channel by channel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from host_tools.model.topology import is_float
from host_tools.plan.fusion import bounds_of

if TYPE_CHECKING:
    import onnx_ir as ir


def upper_bound(node: ir.Node) -> float | None:
    """Return the upper bound of a Clip of floats from 0 upwards; None for any other Clip, whose lower bound would need scaling too."""
    if not is_float(node.outputs[0]):
        return None
    low, high = bounds_of(node) or (math.nan, math.nan)
    return high if low == 0.0 and 0.0 < high < math.inf else None
