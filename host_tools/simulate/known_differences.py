"""Where engines are known to differ from the simulator at one operator, by how much, and why. `docs/simulator.md` shows this table.

An engine that is not listed for an operator gives the simulator's codes, but for one in a thousand. The test that runs every operator on
every engine holds both statements: what is not listed must agree, and what is listed must differ, no more than said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kernels = Literal["ONNX Runtime", "XNNPACK", "LiteRT built-in", "OpenVINO"]
"""Whose kernels run: LiteRT has two sets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDifference:
    """One cause of differing codes.

    Attributes:
        target: Profile id.
        kernels: What runs its payload.
        operators: ONNX operator types; ``Resize linear`` is one of them.
        least_equal: Smallest share of equal codes that was seen, rounded down, 0 to 1.
        least_within_one: Smallest share within one code; 1 unless said otherwise.
        largest: Largest difference in codes.
        why: The cause, one sentence.
        source: Where it can be read.
    """

    target: str
    kernels: Kernels
    operators: tuple[str, ...]
    least_equal: float
    why: str
    source: str
    least_within_one: float = 1.0
    largest: int = 1


_TWO_ROUNDINGS = "It multiplies by a factor of 31 bits and shifts, and rounds after each."
_TWO_ROUNDINGS_SOURCE = (
    "LiteRT tflite/kernels/internal/common.h, MultiplyByQuantizedMultiplier without TFLITE_SINGLE_ROUNDING"
)
_EIGHT_BITS = "It multiplies by a factor of 8 fractional bits, and rounds half up."
_POOL = "It divides the sum of the stored codes, and rounds halves away from code 0."
_POOL_SOURCE = "LiteRT tflite/kernels/internal/reference/integer_ops/pooling.h, AveragePool"
_SWISH = "It computes in 16-bit fixed point."
_SWISH_SOURCE = "LiteRT tflite/kernels/internal/reference/hard_swish.h, HardSwish"

KNOWN_DIFFERENCES: Final[tuple[KnownDifference, ...]] = (
    KnownDifference(
        target="x86_64-onnxruntime",
        kernels="ONNX Runtime",
        operators=("Softmax",),
        least_equal=0.99,
        why="It sums exponentials from a table of 256 entries, in 32 bits.",
        source="ONNX Runtime contrib_ops/cpu/quantization/qlinear_softmax.cc",
    ),
    KnownDifference(
        target="cortex-a-tflite",
        kernels="XNNPACK",
        operators=("AveragePool",),
        least_equal=0.85,
        why=f"{_POOL} XNNPACK has no kernel for it.",
        source=_POOL_SOURCE,
    ),
    KnownDifference(
        target="cortex-a-tflite",
        kernels="XNNPACK",
        operators=("Clip", "LeakyRelu", "Relu"),
        least_equal=0.95,
        why=f"{_EIGHT_BITS} Relu and Clip by themselves are a QUANTIZE.",
        source="XNNPACK src/microparams-init.c, xnn_init_qs8_cvt_scalar_params and xnn_init_qs8_lrelu_scalar_params",
    ),
    KnownDifference(
        target="cortex-a-tflite",
        kernels="XNNPACK",
        operators=("HardSwish",),
        least_equal=0.99,
        why=f"{_SWISH} XNNPACK has no kernel for it.",
        source=_SWISH_SOURCE,
    ),
    KnownDifference(
        target="cortex-a-tflite",
        kernels="XNNPACK",
        operators=("MatMul", "PRelu"),
        least_equal=0.99,
        why=f"{_TWO_ROUNDINGS} XNNPACK has no kernel for a PRelu or a MatMul of two activations.",
        source=_TWO_ROUNDINGS_SOURCE,
    ),
    KnownDifference(
        target="cortex-a-tflite",
        kernels="XNNPACK",
        operators=("Resize linear",),
        least_equal=0.98,
        why="Its weights have 11 fractional bits.",
        source="XNNPACK src/indirection.c, xnn_indirection_init_resize_bilinear2d_hwc_q11",
    ),
    KnownDifference(
        target="cortex-a-tflite",
        kernels="LiteRT built-in",
        operators=("AveragePool",),
        least_equal=0.85,
        why=_POOL,
        source=_POOL_SOURCE,
    ),
    KnownDifference(
        target="cortex-a-tflite",
        kernels="LiteRT built-in",
        operators=("Conv", "ConvTranspose", "Gemm", "LeakyRelu", "MatMul", "Mul", "PRelu"),
        least_equal=0.88,
        why=_TWO_ROUNDINGS,
        source=_TWO_ROUNDINGS_SOURCE,
    ),
    KnownDifference(
        target="cortex-a-tflite",
        kernels="LiteRT built-in",
        operators=("GlobalAveragePool", "ReduceMean"),
        least_equal=0.6,
        why="It rounds the scaled zero point to a whole code by itself, and the sum twice.",
        source="LiteRT tflite/kernels/internal/optimized/integer_ops/mean.h, Mean, `bias`",
    ),
    KnownDifference(
        target="cortex-a-tflite",
        kernels="LiteRT built-in",
        operators=("HardSwish",),
        least_equal=0.99,
        why=_SWISH,
        source=_SWISH_SOURCE,
    ),
    KnownDifference(
        target="cortex-a-tflite",
        kernels="LiteRT built-in",
        operators=("Resize linear",),
        least_equal=0.85,
        least_within_one=0.9995,
        largest=2,
        why="Its positions have 10 fractional bits.",
        source="LiteRT tflite/kernels/internal/reference/resize_bilinear.h, ResizeBilinearInteger",
    ),
    KnownDifference(
        target="amd-vitis-dpu",
        kernels="ONNX Runtime",
        operators=("Add", "AveragePool", "Conv", "ConvTranspose", "Gemm", "GlobalAveragePool", "Mul"),
        least_equal=0.75,
        why="ONNX Runtime stands in for the DPU and rounds halves to even, the DPU up; with powers of two halves are frequent.",
        source="targets/profiles/amd-vitis-dpu.toml, rounding.requantization; simulated half to even the codes are equal",
    ),
    KnownDifference(
        target="x86_64-openvino",
        kernels="OpenVINO",
        operators=("Clip",),
        least_equal=0.65,
        least_within_one=0.65,
        largest=8,
        why="It moves a Clip by itself in front of the dequantization and cuts its bounds to whole codes of the input.",
        source="Seen by running OpenVINO: the largest output is the input's last whole code below the bound",
    ),
    KnownDifference(
        target="x86_64-openvino",
        kernels="OpenVINO",
        operators=("Concat",),
        least_equal=0.99,
        why="It re-quantizes an operand in float32, in which a code close to half way falls to either side.",
        source="Seen by running OpenVINO",
    ),
)


def known_difference(target: str, kernels: Kernels, operator: str) -> KnownDifference | None:
    """Return what is known of one operator on one target's kernels; None where they agree."""
    for known in KNOWN_DIFFERENCES:
        if (known.target, known.kernels) == (target, kernels) and operator in known.operators:
            return known
    return None


def difference_table() -> str:
    """Return the table as Markdown, for `docs/simulator.md`."""
    head = [
        "| target, kernels | operators | equal | within one | largest | why | source |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = [
        f"| `{known.target}`, {known.kernels} | {', '.join(known.operators)} | ≥ {known.least_equal:.1%} "
        f"| ≥ {known.least_within_one:.2%} | {known.largest} | {known.why} | {known.source} |"
        for known in KNOWN_DIFFERENCES
    ]
    return "\n".join([*head, *rows])
