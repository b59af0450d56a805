"""p-values of many questions at once. NaN stands for a question that could not be asked, and stays NaN.

Source: Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979), keeps the chance of any
false answer; Benjamini and Hochberg, "Controlling the false discovery rate", J. R. Statist. Soc. B 57 (1995), the expected
share of false ones among the answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return adjusted p-values: those below alpha hold together but for a chance of alpha that any is false."""
    return _adjusted(p_values, upwards=True)


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return adjusted p-values: of those below q, a share of q is expected to be false."""
    return _adjusted(p_values, upwards=False)


def _adjusted(p_values: ArrayLike, *, upwards: bool) -> NDArray[np.float64]:
    values = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(values.shape, np.nan)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    count = len(order)
    if upwards:
        scaled = np.maximum.accumulate(values[order] * (count - np.arange(count)))
    else:
        raised = values[order] * count / np.arange(1, count + 1)
        scaled = np.minimum.accumulate(raised[::-1])[::-1]
    adjusted[order] = np.minimum(scaled, 1.0)
    return adjusted
