"""`TRANSLATORS`: which function writes which operator of TFLite in ONNX's words."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from host_tools.model.from_tflite.translate import (
    activation,
    convolution,
    dense,
    elementwise,
    picking,
    pooling,
    reduction,
    reshaping,
    resize,
    slicing,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from host_tools.model.from_tflite.call import Call

TRANSLATORS: Mapping[str, Callable[[Call], None]] = MappingProxyType(
    {
        **activation.TRANSLATORS,
        **convolution.TRANSLATORS,
        **dense.TRANSLATORS,
        **elementwise.TRANSLATORS,
        **picking.TRANSLATORS,
        **pooling.TRANSLATORS,
        **reduction.TRANSLATORS,
        **reshaping.TRANSLATORS,
        **resize.TRANSLATORS,
        **slicing.TRANSLATORS,
    }
)
