"""Values that a plan has as codes and a file as floats: where a format quantizes only what integer operators read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from host_tools.model.topology import Network
    from targets.profile import CapabilityProfile


def left_in_float(
    network: Network, profile: CapabilityProfile, is_integer: Callable[[str], bool]
) -> frozenset[str]:
    """Return the values that nodes write and no integer node reads, on a target whose file then has no codes of them.

    Their planned codes are what they would be; neither the file nor the plan's arithmetic rounds to them.

    Args:
        network: The graph.
        profile: The target; `artifact.quantize_outputs` decides.
        is_integer: Tells by its name whether a node is planned in integers.
    """
    artifact = profile.artifact
    if artifact.format != "onnx_qdq" or artifact.quantize_outputs:
        return frozenset()
    has_integer_outputs = profile.interface.output_type != "float32"
    return frozenset(
        name
        for name in network.writers
        if not any(is_integer(reader.node) for reader in network.readers[name])
        and not (has_integer_outputs and name in network.outputs)
    )
