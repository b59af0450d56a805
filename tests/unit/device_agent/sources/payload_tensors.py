"""Payload inputs for the tests of sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.contract.manifest import PayloadTensor, Preprocessing

if TYPE_CHECKING:
    from device_agent.contract.manifest import WireType


def tensor(
    shape: tuple[int, ...] = (1, 4),
    dtype: WireType = "float32",
    *,
    name: str = "x",
    scale: float | None = None,
    zero_point: int | None = None,
    axes: tuple[int, ...] | None = None,
) -> PayloadTensor:
    """A payload input; the float model calls it ``name``, the payload ``name_0``."""
    return PayloadTensor(
        name=f"{name}_0",
        shape=shape,
        dtype=dtype,
        scale=scale,
        zero_point=zero_point,
        source_name=name,
        source_axes=tuple(range(len(shape))) if axes is None else axes,
    )


PREPROCESSING = Preprocessing(
    resize=(2, 3),
    resample="nearest",
    color="RGB",
    layout="NCHW",
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
)
PICTURE = tensor((1, 3, 2, 3))
