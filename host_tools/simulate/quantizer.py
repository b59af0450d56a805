"""`Quantizer`: exact sums and real numbers become the codes of one tensor, under the target's rounding and the node's clip."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from host_tools.errors import LoweringError
from host_tools.simulate.rounding import Factors, Term, rounded, rounded_fraction, rounded_sum

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from host_tools.plan.quantization_plan import QParams
    from targets.profile import Rounding

    Float64 = NDArray[np.float64]
    Codes = NDArray[np.integer]


def published_scales(qparams: QParams) -> tuple[Fraction, ...]:
    """Return the scales as every file holds them and every device reads them: rounded to float32, then exact."""
    return tuple(Fraction(float(np.float32(scale))) for scale in qparams.scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Per-tensor parameters: real = scale * (code - zero_point), exactly.

    Attributes:
        scale: The published one.
        zero_point: Code of the real 0.
        low: Lowest code.
        high: Highest code.
        dtype: Stored type.
    """

    scale: Fraction
    zero_point: int
    low: int
    high: int
    dtype: str

    @classmethod
    def of(cls, qparams: QParams, *, where: str) -> Grid:
        """Return the grid of per-tensor parameters.

        Raises:
            LoweringError: There is one scale per channel.
        """
        if qparams.axis is not None or len(qparams.scale) != 1:
            raise LoweringError(
                f"{where}: expected one scale, got {len(qparams.scale)}.", hint="Plan this model anew."
            )
        return cls(
            scale=published_scales(qparams)[0],
            zero_point=qparams.zero_point[0],
            low=qparams.quant_min,
            high=qparams.quant_max,
            dtype=qparams.dtype,
        )

    @property
    def largest(self) -> int:
        """The largest distance of a code from the zero point."""
        return max(self.high - self.zero_point, self.zero_point - self.low)

    def centred(self, codes: Codes, dtype: type[np.number] = np.int64) -> NDArray[Any]:
        """Return code - zero_point in a type that holds it."""
        centred: NDArray[Any] = codes.astype(dtype) - dtype(self.zero_point)
        return centred

    def real(self, codes: Codes) -> Float64:
        """Return scale * (code - zero_point) in float64, exact for codes of 16 bits."""
        return np.asarray((codes.astype(np.float64) - self.zero_point) * float(self.scale))

    def every_code(self) -> Codes:
        """Return all codes of the stored type in order, in use or not."""
        limits = np.iinfo(self.dtype)
        return np.arange(limits.min, limits.max + 1, dtype=np.int64).astype(self.dtype)

    def within(self, low: float, high: float, rounding: Rounding) -> tuple[int, int]:
        """Return the codes to which the bounds of a clip round; an infinite one is the end of the codes."""
        return self._code(low, rounding, self.low), self._code(high, rounding, self.high)

    def _code(self, bound: float, rounding: Rounding, end: int) -> int:
        if math.isinf(bound):
            return end
        code = rounded_fraction(Fraction(bound) / self.scale, rounding) + self.zero_point
        return min(max(code, self.low), self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantizer:
    """What writes a node's output.

    Attributes:
        grid: Its parameters.
        rounding: The target's rule.
        low: Lowest code that the node writes: the grid's, or the code of the lower bound of a fused Relu or Clip.
            Rounding is monotone, so clipping codes is clipping real numbers.
        high: Highest code likewise.
        curve: What a fused operator that is no clip does to the real number before it is rounded; in float64.
    """

    grid: Grid
    rounding: Rounding
    low: int
    high: int
    curve: Callable[[Float64], Float64] | None = None

    def clipped(self, low: float, high: float) -> Quantizer:
        """Return the one that clips to real bounds too, before what it clips already."""
        bottom, top = (
            min(max(code, self.low), self.high) for code in self.grid.within(low, high, self.rounding)
        )
        return replace(self, low=bottom, high=top)

    def factors(self, scales: Sequence[Fraction]) -> Factors:
        """Return factors that take numbers of the given scales to codes of this output."""
        return Factors(exact=tuple(scale / self.grid.scale for scale in scales))

    def write(self, terms: Sequence[Term]) -> Codes:
        """Return the codes of a sum whose factors come from `factors`."""
        if self.curve is not None:
            total = terms[0].nearest()
            for term in terms[1:]:
                total = total + term.nearest()
            return self.write_real(self.curve(total * float(self.grid.scale)))
        return self._saturated(rounded_sum(terms, self.rounding))

    def write_real(self, values: Float64) -> Codes:
        """Return the codes of real numbers; infinite ones saturate."""
        return self._saturated(rounded(values / float(self.grid.scale), self.rounding))

    def write_codes(self, codes: Codes, source: Grid) -> Codes:
        """Return codes of another grid as codes of this output: the same where the grids are equal, but for the clip."""
        same = replace(source, low=self.grid.low, high=self.grid.high) == self.grid and self.curve is None
        if same:
            return np.clip(codes, self.low, self.high)
        every = source.every_code()
        table = self.write([Term(numbers=source.centred(every), factors=self.factors([source.scale]))])
        return look_up(table, codes)

    def _saturated(self, whole: Float64) -> Codes:
        whole += self.grid.zero_point
        np.clip(whole, self.low, self.high, out=whole)
        return whole.astype(self.grid.dtype)


def look_up(table: Codes, codes: Codes) -> Codes:
    """Return the table's entry for each code; the table begins at the lowest code of the codes' type."""
    lowest = int(np.iinfo(codes.dtype).min)
    unsigned = (
        codes.view(f"u{codes.dtype.itemsize}") ^ (1 << (8 * codes.dtype.itemsize - 1)) if lowest else codes
    )
    found: Codes = table.take(unsigned)
    return found
