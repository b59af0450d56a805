"""What a plan must say of weights that no training leaves behind: zero throughout, or with a number far beyond all others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.model.topology import constant
from host_tools.plan.stored_weights import weights_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from host_tools.model.topology import Network

FAR: Final = 1e4
"""How many times beyond the others is too far: one bit of an exponent that was flipped makes 65536 of it, or far more."""
_FEW: Final = 1000
"""One number in so many may stand alone: fewer than a channel has where a layer's channels are of very different size."""
_LEAST: Final = 100
"""Numbers of a weight below which nothing can be said of what is usual in it."""


def odd_weights(network: Network) -> Iterator[str]:
    """Name the weights that are probably damaged, and what comes of it.

    Args:
        network: The canonical graph.
    """
    for name, nodes in weights_of(network).items():
        values = constant(network.values[name])
        if values.dtype.kind != "f" or not values.size:
            continue
        magnitudes = np.abs(values)
        what = f"weight {name!r} of {network.nodes[nodes[0]].op_type} {nodes[0]!r}"
        largest = float(magnitudes.max())
        if largest == 0.0:
            yield f"{what} is zero throughout: whatever it is given, it adds nothing. If that is not meant, export the model again."
            continue
        is_near = magnitudes >= largest / FAR
        count = int(np.count_nonzero(is_near))
        others = float(magnitudes[~is_near].max(initial=0.0))
        if values.size >= _LEAST and count <= max(values.size // _FEW, 1) and others > 0.0:
            yield (
                f"{what} has {count} of {values.size} numbers far beyond all others, up to {largest:.4g}; the others reach {others:.4g}. "
                f"What shares a scale with it becomes 0. If the file is damaged, export the model again from a sound checkpoint."
            )
