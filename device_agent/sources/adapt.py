"""The float model's arrays to the payload's, and back: layout, scale, type."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from device_agent.contract.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from device_agent.contract.manifest import PayloadTensor


class FrameError(DeviceError):
    """A frame is not what the artifact's inputs ask for."""

    code = "frame"


def to_payload(
    arrays: Mapping[str, NDArray[np.generic]], tensors: Sequence[PayloadTensor]
) -> list[NDArray[np.generic]]:
    """Turn the float model's inputs into the payload's.

    Args:
        arrays: By the float model's input name, in its shape; real values where the payload has a scale.
        tensors: The payload's inputs.

    Returns:
        One C-contiguous array a payload input, in its order, type and layout. Codes are computed in float64, rounded half to even,
        and saturate.

    Raises:
        FrameError: An input is missing, of another shape, or has values that are not finite, that its type cannot hold, or that name no row
            of the table that they are looked up in.
    """
    missing = [tensor.source_name for tensor in tensors if tensor.source_name not in arrays]
    if missing:
        raise FrameError(f"input {missing[0]!r} is missing; there are {', '.join(sorted(arrays)) or 'none'}.")
    return [_encode(arrays[tensor.source_name], tensor) for tensor in tensors]


def to_source(
    arrays: Sequence[NDArray[np.generic]], tensors: Sequence[PayloadTensor]
) -> dict[str, NDArray[np.float64]]:
    """Turn the payload's outputs into real values (float64) in the float model's layout, by its output names.

    Args:
        arrays: The payload's outputs in its order.
        tensors: What they are.

    Raises:
        FrameError: There are more or fewer outputs than ``tensors`` says, or one is of another shape.
    """
    if len(arrays) != len(tensors):
        raise FrameError(f"expected {len(tensors)} outputs, got {len(arrays)}.")
    return {tensor.source_name: _decode(array, tensor) for array, tensor in zip(arrays, tensors, strict=True)}


def source_shape(tensor: PayloadTensor) -> tuple[int, ...]:
    """Return the tensor's shape in the float model's layout."""
    shape = [0] * len(tensor.shape)
    for position, axis in enumerate(tensor.source_axes):
        shape[axis] = tensor.shape[position]
    return tuple(shape)


def _encode(array: NDArray[np.generic], tensor: PayloadTensor) -> NDArray[np.generic]:
    if array.shape != source_shape(tensor):
        raise FrameError(
            f"input {tensor.source_name!r}: expected shape {source_shape(tensor)}, got {array.shape}."
        )
    if array.dtype.kind not in "fiub":
        raise FrameError(f"input {tensor.source_name!r}: expected numbers, got {array.dtype}.")
    moved = array.transpose(tensor.source_axes)
    if tensor.scale is None or tensor.zero_point is None:
        return _unscaled(moved, tensor)
    if not np.isfinite(moved).all():
        raise FrameError(f"input {tensor.source_name!r}: values that are NaN or infinite have no code.")
    limits = np.iinfo(tensor.dtype)
    # The type is spelled out: NumPy 1 would compute float32 by a scalar in float32, and the old boards have NumPy 1.
    with np.errstate(over="ignore"):  # beyond float64 is infinite, and saturates like every other value
        codes = np.divide(moved, tensor.scale, dtype=np.float64)
    np.rint(codes, out=codes)
    codes += tensor.zero_point
    np.clip(codes, limits.min, limits.max, out=codes)
    return np.ascontiguousarray(codes, dtype=tensor.dtype).reshape(tensor.shape)


def _unscaled(moved: NDArray[np.generic], tensor: PayloadTensor) -> NDArray[np.generic]:
    """Change the type and nothing else; a value that the type cannot hold is refused, never wrapped."""
    dtype = np.dtype(tensor.dtype)
    if not np.can_cast(moved.dtype, dtype, casting="same_kind"):
        raise FrameError(f"input {tensor.source_name!r}: expected {dtype}, got {moved.dtype}.")
    if dtype.kind in "iu" and not np.can_cast(moved.dtype, dtype) and moved.size:
        limits = np.iinfo(dtype)
        if not limits.min <= int(moved.min()) <= int(moved.max()) <= limits.max:
            raise FrameError(f"input {tensor.source_name!r}: values beyond the range of {dtype}.")
    if tensor.rows is not None and moved.size:
        _require_rows(moved, tensor, tensor.rows)
    with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite, and is refused as such
        array = np.ascontiguousarray(moved, dtype=dtype)
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise FrameError(f"input {tensor.source_name!r}: values that are NaN, infinite or beyond {dtype}.")
    return array.reshape(tensor.shape)


def _require_rows(numbers: NDArray[np.generic], tensor: PayloadTensor, rows: int) -> None:
    """Refuse a number that names no row: one engine fails at it, which counts as its own failure, and another gives the zeros of no row."""
    least, most = int(numbers.min()), int(numbers.max())
    if not -rows <= least <= most < rows:
        raise FrameError(
            f"input {tensor.source_name!r}: expected numbers of rows of the model's table, which has {rows}; "
            f"got {most if most >= rows else least}."
        )


def _decode(array: NDArray[np.generic], tensor: PayloadTensor) -> NDArray[np.float64]:
    if array.shape != tensor.shape:
        raise FrameError(f"output {tensor.name!r}: expected shape {tensor.shape}, got {array.shape}.")
    real = np.asarray(array, dtype=np.float64)
    if tensor.scale is not None and tensor.zero_point is not None:
        real = (real - tensor.zero_point) * tensor.scale
    moved: NDArray[np.float64] = real.transpose(np.argsort(tensor.source_axes))
    return moved
