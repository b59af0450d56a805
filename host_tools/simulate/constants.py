"""Codes of constants, as the lowerings store them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from host_tools.errors import LoweringError
from host_tools.lower.integers import quantize_array, quantize_bias
from host_tools.plan.planned_values import codes_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.plan.quantization_plan import QParams, TensorPlan
    from targets.profile import Rounding


def constant_codes(
    values: NDArray[np.generic], planned: TensorPlan, qparams: QParams, rounding: Rounding
) -> NDArray[np.integer]:
    """Return the codes of a constant: those that the plan has, else its real numbers rounded.

    Args:
        values: Its real numbers, in the canonical layout, planned ones in the place of the model's own.
        planned: The plan's entry.
        qparams: The parameters in which it is read: the entry's, or those of a re-quantized edge.
        rounding: The target's rule for constants.

    Raises:
        LoweringError: The parameters do not fit, a value is NaN, a bias overflows, or the plan has another number of codes.
    """
    if planned.codes is not None and qparams == planned.qparams:
        codes = codes_in(planned.codes, qparams.dtype, values.shape)
        if codes is None:
            raise LoweringError(
                f"Constant {planned.name!r}: the codes that the plan has for it do not fit the model."
            )
        return codes.astype(np.dtype(qparams.dtype))
    convert = quantize_bias if planned.role == "bias" else quantize_array
    return convert(values, qparams, rounding, where=planned.name)
