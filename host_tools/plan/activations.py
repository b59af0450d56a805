"""Qparams of activations and constants: one scale for every group of values that share it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from host_tools.errors import StatisticsError
from host_tools.model.topology import constant, is_constant, named
from host_tools.observe.ranges import choose_range
from host_tools.plan.distributions import merged, of_array, points_of, share_outside
from host_tools.plan.qparams import best_power_of_two, choose, code_range, inside, real_range

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from host_tools.model.topology import Network
    from host_tools.observe.statistics import Histogram, Statistics, TensorStatistics
    from host_tools.plan.qparams import CodeRange
    from host_tools.plan.quantization_plan import Method, QParams
    from host_tools.recipe import Recipe
    from targets.profile import CapabilityProfile, ZeroPointRule

Bounds = tuple[float, float]

_NATURAL_BOUNDS: Mapping[str, Bounds] = MappingProxyType(
    {"Softmax": (0.0, 1.0), "Sigmoid": (0.0, 1.0), "HardSigmoid": (0.0, 1.0), "Tanh": (-1.0, 1.0)}
)
"""What an operator's output can reach at most, whatever its input."""

NEED_HISTOGRAM = frozenset({"percentile", "mse", "entropy", "cosine", "search"})
"""Methods that look at more than the ends of a tensor."""

_LEAST_SQUARES = frozenset({"mse", "search"})

_TWO = 2

_CLIPPED_SHARE = 1e-3
"""Clipping more of a tensor's values than this is said in the warnings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Parameters of a group of values, why, and what the report must say of them."""

    qparams: QParams
    reason: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ActivationChooser:
    """Chooses qparams of activations and constants for one plan.

    Attributes:
        network: The canonical graph.
        statistics: What was seen.
        profile: The target.
        recipe: Overrides.
        method: The plan's method.
    """

    network: Network
    statistics: Statistics
    profile: CapabilityProfile
    recipe: Recipe
    method: Method

    def choose(self, members: tuple[str, ...], bounds: Mapping[str, Bounds]) -> Choice:
        """Choose one scale and zero point for ``members``.

        Args:
            members: Values that share them; at least one.
            bounds: What a fused Relu or Clip confines a member to, by value name.

        Raises:
            StatisticsError: A method needs a histogram that the statistics lack.
        """
        given = [
            override.range
            for name in members
            if (override := self.recipe.tensors.get(name)) and override.range
        ]
        method = self._method(members)
        counted = tuple(name for name in members if not self._is_confined(name, members)) or members
        seen = merged([self.seen(name) for name in counted])
        if given:
            low, high = min(low for low, _ in given), max(high for _, high in given)
            origin = "given by the recipe"
        else:
            low, high = self._range(counted, seen, method)
            low = max(low, min(bounds.get(name, (-math.inf, 0.0))[0] for name in members))
            high = min(high, max(bounds.get(name, (0.0, math.inf))[1] for name in members))
            low, high = min(low, high), max(low, high)
            origin = self._origin(members, method)
            low, high, reached = self._up_to_natural_bounds(members, low, high)
            origin += reached
        qparams = self._fitted(members, low, high, None if given else seen, method)
        for name in members:
            if name in bounds:
                qparams = inside(qparams, *bounds[name], self.profile.scale)
        return Choice(
            qparams=qparams,
            reason=f"{self.rule(members)} {qparams.dtype}, range [{min(low, 0.0):.6g}, {max(high, 0.0):.6g}] {origin}",
            warnings=() if self._all_constant(members) else self._clipping(members, seen, qparams, origin),
        )

    def seen(self, name: str) -> TensorStatistics:
        """Return the statistics of a value, computed here for constants."""
        value = self.network.values[name]
        return of_array(constant(value)) if is_constant(value) else self.statistics.tensors[name]

    def rule(self, members: tuple[str, ...]) -> ZeroPointRule:
        """Return the zero point rule: the target's for activations, but symmetric for a PRelu's slope, which multiplies."""
        readers = [node_input for name in members for node_input in self.network.readers[name]]
        slope = bool(readers) and all(
            node_input.index == 1 and self.network.nodes[node_input.node].op_type == "PRelu"
            for node_input in readers
        )
        return "symmetric" if slope and self._all_constant(members) else self.profile.activations.zero_point

    def _method(self, members: tuple[str, ...]) -> Method:
        overrides = [self.recipe.tensors[name].method for name in members if name in self.recipe.tensors]
        return next((method for method in overrides if method is not None), self.method)

    def _is_confined(self, name: str, members: tuple[str, ...]) -> bool:
        """Tell whether a value only goes into a Min or Max with a constant, or is that constant, and its result is a member.

        Where such a value is beyond the result's range it may saturate: the result is the same.
        """
        readers = [self.network.nodes[node_input.node] for node_input in self.network.readers[name]]
        return (
            bool(readers)
            and name not in self.network.outputs
            and all(
                node.op_type in ("Min", "Max")
                and len(node.inputs) == _TWO
                and sum(is_constant(value) for value in node.inputs) == 1
                and named(node.outputs[0]) in members
                for node in readers
            )
        )

    def _all_constant(self, members: tuple[str, ...]) -> bool:
        return all(is_constant(self.network.values[name]) for name in members)

    def _range(self, members: tuple[str, ...], seen: TensorStatistics, method: Method) -> Bounds:
        if self._all_constant(members):
            return seen.minimum, seen.maximum
        if method in NEED_HISTOGRAM and seen.histogram is None:
            raise StatisticsError(
                f"method {method!r} needs histograms, but the statistics of {members[0]!r} hold ranges only.",
                hint="Observe again with histograms, or choose minmax or moving_average.",
            )
        codes = self._codes()
        return choose_range(
            seen,
            method,
            levels=codes.high - codes.low + 1,
            zero_point=self.profile.activations.zero_point,
            percentile=self.recipe.percentile,
        )

    def _up_to_natural_bounds(
        self, members: tuple[str, ...], low: float, high: float
    ) -> tuple[float, float, str]:
        """Fit a range that comes near the bounds of a Softmax or the like to them.

        No sample can go further, and calibration seldom holds the most confident one: 1 instead of 0.85 costs a fifth of a bit, clipping it
        costs the answer. A range of less than half the way, as in attention over many places, is left as it is.

        As in TFLite's specification the top is one code short of the bound, so that the step is a power of two: in steps of 1/255 sigmoid(0)
        would stand half way between two codes, and every engine would round it as it likes.
        """
        writers = [
            self.network.nodes[self.network.writers[name]].op_type
            for name in members
            if name in self.network.writers
        ]
        bounds = [_NATURAL_BOUNDS[op_type] for op_type in writers if op_type in _NATURAL_BOUNDS]
        if not bounds:
            return low, high, ""
        lowest, bound = min(low for low, _ in bounds), max(high for _, high in bounds)
        highest = bound - (bound - lowest) / 2**self.profile.activations.bits
        fitted_low = min(low, lowest) if low < lowest / 2 else low
        fitted_high = highest if highest / 2 < high <= bound else high
        is_fitted = (fitted_low, fitted_high) != (low, high)
        return fitted_low, fitted_high, ", fitted to what its operator can give" if is_fitted else ""

    def _fitted(
        self, members: tuple[str, ...], low: float, high: float, seen: TensorStatistics | None, method: Method
    ) -> QParams:
        """Return parameters for the range; powers of two are searched where squared error decides."""
        low_array, high_array = np.asarray([low]), np.asarray([high])
        rule, codes, scale = self.rule(members), self._codes(), self.profile.scale
        searched = scale.kind == "power_of_two" and (method in _LEAST_SQUARES or self._all_constant(members))
        if not searched or seen is None or seen.histogram is None:  # `_range` saw to it that mse has one
            return choose(low_array, high_array, codes=codes, zero_point=rule, scale=scale)
        samples, counts = self._samples(members, seen, seen.histogram)
        return best_power_of_two(
            low_array,
            high_array,
            samples[np.newaxis],
            counts[np.newaxis],
            codes=codes,
            zero_point=rule,
            scale=scale,
            rounding=self.profile.rounding.activations,
        )

    def _samples(
        self, members: tuple[str, ...], seen: TensorStatistics, histogram: Histogram
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return values and their weights, each of shape (n,): a constant's own, an activation's bins."""
        if len(members) == 1 and self._all_constant(members):
            values = np.asarray(constant(self.network.values[members[0]]), np.float64).reshape(-1)
            return values, np.ones_like(values)
        return points_of(seen, histogram)

    def _codes(self) -> CodeRange:
        return code_range(self.profile.activations.bits, signed=self.profile.activations.signed)

    def _origin(self, members: tuple[str, ...], method: Method) -> str:
        if self._all_constant(members):
            return "of its values"
        return f"by {method} over {self.statistics.sample_count} samples"

    def _clipping(
        self, members: tuple[str, ...], seen: TensorStatistics, qparams: QParams, origin: str
    ) -> tuple[str, ...]:
        if seen.histogram is None:
            return ()
        (scale,), (low, high) = qparams.scale, real_range(qparams)
        share = share_outside(seen, seen.histogram, low - scale, high + scale)
        if share <= _CLIPPED_SHARE:
            return ()
        return (
            (
                f"{members[0]!r}: the range [{low:.4g}, {high:.4g}] ({origin}) clips {share:.2%} of the observed values, "
                f"which reach from {seen.minimum:.4g} to {seen.maximum:.4g}."
            ),
        )
