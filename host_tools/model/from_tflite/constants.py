"""Constants of a file as what they stand for: codes with a scale and half floats become float32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.tflite_file import values_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.tflite_file import FileTensor

CODES: Final = frozenset({"int4", "uint4", "int8", "uint8", "int16", "uint16"})
"""Types that stand for real numbers once there is a scale."""
SUMS: Final = frozenset({"int32", "int64"})
"""Types of biases, which stand for real numbers likewise; without a scale they are integers."""


def is_coded(tensor: FileTensor) -> bool:
    """Tell whether a tensor holds codes of real numbers."""
    return tensor.dtype in CODES and bool(tensor.scale)


def stands_for_reals(tensor: FileTensor) -> bool:
    """Tell whether a tensor holds codes of real numbers, or sums of products of such codes (a bias)."""
    return is_coded(tensor) or (tensor.dtype in SUMS and bool(tensor.scale))


def meaning_of(tensor: FileTensor) -> NDArray[np.generic]:
    """Return the values that a constant stands for: float32 for codes and half floats, else as they are stored.

    Raises:
        ValueError: It is of a type that cannot be read, is stored without its zeros, or has other scales or bytes than its shape asks for.
    """
    if tensor.is_sparse:
        raise ValueError(f"constant {tensor.name!r} is stored without its zeros (sparse)")
    values = values_of(tensor)
    if values is None:
        raise ValueError(f"constant {tensor.name!r} is of type {tensor.dtype}")
    if not stands_for_reals(tensor):
        return values.astype(np.float32) if values.dtype == np.float16 else values
    scale, zero_point = np.asarray(tensor.scale, np.float32), np.asarray(tensor.zero_point, np.float32)
    if tensor.axis is not None:
        if not 0 <= tensor.axis < values.ndim or values.shape[tensor.axis] != scale.size:
            raise ValueError(
                f"constant {tensor.name!r} of shape {list(values.shape)} has {scale.size} scales along axis {tensor.axis}"
            )
        along = [scale.size if axis == tensor.axis else 1 for axis in range(values.ndim)]
        scale, zero_point = scale.reshape(along), zero_point.reshape(along)
    real: NDArray[np.generic] = ((values.astype(np.float32) - zero_point) * scale).astype(np.float32)
    return real.reshape(values.shape)
