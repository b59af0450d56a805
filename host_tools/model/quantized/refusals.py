"""What is quantized in a way that no plan can hold, each with what to do instead."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

FLOAT_MODEL: Final = "Give the float model it was made from, with --data."

_AT_RUN_TIME: Final = (
    "finds the scale of what it reads at run time, so that the file holds no ranges to lower",
    "Give the float model it was made from: with --data, or with --precision int8-dynamic, which needs none.",
)
_WEIGHTS_ALONE: Final = (
    "has its weights in blocks of few bits and its activations in float",
    "Give the float model it was made from, with --precision weights-int4 or weights-int8.",
)

REFUSED_OPERATORS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "DynamicQuantizeLinear",
                "ConvInteger",
                "MatMulInteger",
                "DynamicQuantizeMatMul",
                "DynamicQuantizeLSTM",
                "MatMulIntegerToFloat",
            ),
            _AT_RUN_TIME,
        ),
        **dict.fromkeys(
            ("MatMulNBits", "MatMulBnb4", "MatMulFpQ4", "GatherBlockQuantized", "GroupQueryAttention"),
            _WEIGHTS_ALONE,
        ),
    }
)
"""What an operator does that stands in the way, as the end of a sentence, and the hint; by its type."""
