"""Resize by nearest and linear. Positions are fractions, so that both the element taken and the weights are exact.

Source: ONNX operator Resize.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from host_tools.model.topology import shape_of
from host_tools.simulate.rounding import Term

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_tools.simulate.operators.kernel import Array, Codes, Kernel
    from host_tools.simulate.reading import IntegerNode

_FINEST = 2**12
"""Largest denominator of a scale that is no quotient of the extents; float32 does not tell finer ones apart on images."""


def resize(node: IntegerNode) -> Kernel:
    """Prepare a Resize.

    Raises:
        LoweringError: A mode, a coordinate rule or an option that is not simulated.
    """
    attributes = node.node.attributes
    mode = str(attributes.get_string("mode", "nearest"))
    options = [name for name in ("antialias", "exclude_outside") if attributes.get_int(name, 0) == 1]
    if mode not in {"nearest", "linear"} or options:
        raise node.refuse(
            f"{' and '.join([f'mode {mode!r}', *options])}; nearest and linear are simulated, plain."
        )
    before, after = node.operand(0).shape, shape_of(node.node.outputs[0])
    positions = [
        [_position(node, place, size, out, scale) for place in range(out)]
        for size, out, scale in zip(before, after, _scales(node, before, after), strict=True)
    ]
    if mode == "linear":
        return _linear(node, positions, before)
    rule = str(attributes.get_string("nearest_mode", "round_prefer_floor"))
    taken = [
        np.asarray([min(max(_nearest(place, rule), 0), size - 1) for place in places])
        for places, size in zip(positions, before, strict=True)
    ]
    grid, output = node.grid(0), node.output

    def run(inputs: Sequence[Array]) -> Sequence[Codes]:
        return [output.write_codes(inputs[0][np.ix_(*taken)], grid)]

    return run


def _linear(node: IntegerNode, positions: Sequence[Sequence[Fraction]], before: Sequence[int]) -> Kernel:
    """Prepare a linear one: whole-number weights over a common denominator, axis by axis, and one rounding at the end."""
    grid, output = node.grid(0), node.output
    steps = []
    denominator = 1
    for axis, (places, size) in enumerate(zip(positions, before, strict=True)):
        if all(place == index for index, place in enumerate(places)) and len(places) == size:
            continue
        inside = [min(max(place, Fraction(0)), Fraction(size - 1)) for place in places]
        low = np.asarray([math.floor(place) for place in inside])
        common = math.lcm(*(place.denominator for place in inside))
        share = np.asarray([int((place - math.floor(place)) * common) for place in inside], np.int64)
        steps.append((axis, low, np.minimum(low + 1, size - 1), share, common))
        denominator *= common
    factors = output.factors([grid.scale / denominator])

    def run(inputs: Sequence[Array]) -> Sequence[Codes]:
        sums = grid.centred(inputs[0])
        for axis, low, high, share, common in steps:
            shape = [-1 if place == axis else 1 for place in range(sums.ndim)]
            weight = share.reshape(shape)
            sums = sums.take(low, axis) * (common - weight) + sums.take(high, axis) * weight
        return [output.write([Term(numbers=sums, factors=factors)])]

    return run


def _scales(node: IntegerNode, before: Sequence[int], after: Sequence[int]) -> list[Fraction]:
    """Return output over input extent, axis by axis: as given, or as the extents imply.

    Raises:
        LoweringError: The extents follow from a policy of aspect ratios.
    """
    implied = [Fraction(out, size) for size, out in zip(before, after, strict=True)]
    if not (node.has(2) and node.operand(2).constant is not None and node.setting(2).size):
        if node.node.attributes.get_string("keep_aspect_ratio_policy", "stretch") != "stretch":
            raise node.refuse("keep_aspect_ratio_policy other than 'stretch'.")
        return implied
    given = node.setting(2).reshape(-1).tolist()
    axes = node.node.attributes.get_ints("axes", tuple(range(len(before)))) or ()
    for axis, scale in zip(axes, given, strict=True):
        place = axis % len(before)
        if not math.isclose(scale, implied[place], rel_tol=1e-6):
            implied[place] = Fraction(float(scale)).limit_denominator(_FINEST)
    return implied


def _position(node: IntegerNode, place: int, size: int, out: int, scale: Fraction) -> Fraction:
    """Return where an output element lies on the input's axis.

    Raises:
        LoweringError: The coordinate rule is not simulated.
    """
    rule = str(node.node.attributes.get_string("coordinate_transformation_mode", "half_pixel"))
    half = Fraction(1, 2)
    if rule == "align_corners":
        return Fraction(place * (size - 1), out - 1) if out > 1 else Fraction(0)
    if rule == "asymmetric":
        return place / scale
    if rule == "pytorch_half_pixel" and out == 1:
        return Fraction(0)
    if rule in {"half_pixel", "pytorch_half_pixel"}:
        return (place + half) / scale - half
    if rule == "half_pixel_symmetric":
        return Fraction(size, 2) * (1 - out / (scale * size)) + (place + half) / scale - half
    raise node.refuse(f"coordinate_transformation_mode {rule!r}, which is not simulated.")


def _nearest(position: Fraction, rule: str) -> int:
    half = Fraction(1, 2)
    if rule == "floor":
        return math.floor(position)
    if rule == "ceil":
        return math.ceil(position)
    if rule == "round_prefer_ceil":
        return math.floor(position + half)
    return math.ceil(position - half)
