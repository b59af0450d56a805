"""`read_at`: a stored value as the node that reads it sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from host_tools.plan.codes import codes_of, values_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from host_tools.model.topology import NodeInput
    from host_tools.plan.quantization_plan import QuantizationPlan
    from targets.profile import CapabilityProfile


def read_at(
    reader: NodeInput,
    name: str,
    stored: Mapping[str, NDArray[np.generic]],
    plan: QuantizationPlan,
    profile: CapabilityProfile,
) -> NDArray[np.float32]:
    """Return the real numbers that a node input reads.

    Args:
        reader: The node input; where the plan changes the scale of its edge, the change is done.
        name: The value that it reads.
        stored: Codes, or floats where a value is not quantized, by name.
        plan: Parameters of values and edges.
        profile: How the target rounds where an edge changes scale.
    """
    real = np.asarray(stored[name], np.float32)
    qparams = plan.tensors[name].qparams
    if qparams is not None:
        real = (real - np.float32(qparams.zero_point[0])) * np.float32(qparams.scale[0])
    for edge in plan.requantize:
        if (edge.node, edge.input_index) == (reader.node, reader.index):
            codes = codes_of(real.astype(np.float64), edge.qparams, profile.rounding.requantization)
            return values_of(codes, edge.qparams).astype(np.float32)
    return real
