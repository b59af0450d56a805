"""Averages over values that the file has in wider codes than their result.

A target that wants one scale for all that an operator reads and writes is given what it reads re-quantized to the scale of the result. Where
values are only moved or compared, that cuts off what the result could not hold anyway. An average may hold little of values that reach far:
cut off before they are averaged, they give another average.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from host_tools.model.topology import data_inputs, float_outputs
from host_tools.plan.grouping import is_same_scale
from host_tools.plan.support import finding

if TYPE_CHECKING:
    import onnx_ir as ir

    from host_tools.model.topology import Network
    from host_tools.plan.imported.parameters import Parameters
    from host_tools.plan.placement import Placement
    from host_tools.plan.quantization_plan import QParams
    from host_tools.plan.support import Finding
    from targets.profile import CapabilityProfile

_AVERAGES: Final = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean"})


def cut_averages(
    network: Network, placement: Placement, profile: CapabilityProfile, parameters: Parameters
) -> dict[str, Finding]:
    """Return the integer nodes that would average values cut off at the ends of their result's codes, by node name."""
    found = {}
    for name, node in network.nodes.items():
        if not _averages(node) or not is_same_scale(name, network, placement, profile):
            continue
        result = float_outputs(network.nodes[placement.last_of(name)])[0]
        (source,) = (value for _, value in data_inputs(node))
        if _reaches_beyond(parameters.values[source], parameters.values[result]):
            found[name] = finding(
                node,
                "average_is_whole",
                "the target wants one scale for what it reads and writes (same_scale); the file reads "
                f"{_text(parameters.values[source])}, which the codes of its result, {_text(parameters.values[result])}, would cut off",
            )
    return found


def _averages(node: ir.Node) -> bool:
    is_between_pixels = (
        node.op_type == "Resize" and node.attributes.get_string("mode", "nearest") != "nearest"
    )
    return node.op_type in _AVERAGES or is_between_pixels


def _reaches_beyond(read: QParams, written: QParams) -> bool:
    """Tell whether codes that are read mean numbers more than a step beyond those that are written."""
    (low, high), (least, most) = _range(read), _range(written)
    step = written.scale[0]
    return low < least - step or high > most + step


def _range(qparams: QParams) -> tuple[float, float]:
    (scale,), (zero,) = qparams.scale, qparams.zero_point
    return scale * (qparams.quant_min - zero), scale * (qparams.quant_max - zero)


def _text(qparams: QParams) -> str:
    low, high = _range(qparams)
    return f"{low:.4g} to {high:.4g}"
