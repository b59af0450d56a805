"""Which operators of a TFLite file LiteRT's XNNPACK delegate will take, from the file alone.

What it leaves runs on LiteRT's built-in kernels: in the same precision, but slower, and cutting the delegate's region in two. The engine
says nothing of it. A test holds these rules against the regions that the engine itself shows.

Source: LiteRT, tflite/delegates/xnnpack/xnnpack_delegate.cc, commit f67457790c9c: ``PrepareOpsToDelegate`` and what it asks of a node.
Not here: a convolution whose rescale factor is 256 or more, which the delegate takes and then cannot run; profiles have that limit.
Known to be left out: tensors whose file names an axis for a single scale, sparse tensors, resource variables, composite operators.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from host_tools.lint import xnnpack_demands as asked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from host_tools.lint.facts import LintedFile, LintedOp

    Rule = Callable[[LintedOp], Iterator[str]]


def left_to_built_in(file: LintedFile) -> tuple[str, ...]:
    """Return, for each operator of a TFLite file, why XNNPACK leaves it to the built-in kernels; an empty text where it takes it."""
    reasons = [_reason(op) for op in file.ops]
    readers: dict[str, list[int]] = {}
    for index, op in enumerate(file.ops):
        for tensor in op.inputs:
            if tensor is not None:
                readers.setdefault(tensor.name, []).append(index)
    for index, op in enumerate(file.ops):
        # Constants in float16 or int8 are unpacked once, if nobody outside needs them.
        if op.kind == "DEQUANTIZE" and op.data and op.data[0].is_constant and op.outputs:
            outside = any(reasons[reader] for reader in readers.get(op.outputs[0].name, []))
            reasons[index] = "its constant is read by built-in kernels" if outside else ""
    return tuple(reasons)


def _reason(op: LintedOp) -> str:
    rule = _RULES.get(op.kind)
    if rule is None:
        return f"XNNPACK has no {op.kind}"
    if not op.data or not op.outputs:
        return "it lacks inputs or outputs"
    return next(rule(op), "")


def _in_float(op: LintedOp) -> Iterator[str]:
    for tensor in (*op.data, *op.outputs):
        yield from asked.typed(tensor, codes=False)
        yield from asked.ranked(tensor, 0)


def _in_either(op: LintedOp) -> Iterator[str]:
    for tensor in (*op.data, *op.outputs):
        yield from asked.typed(tensor)
    yield from asked.ranked(op.data[0], 0)


def _dequantize(op: LintedOp) -> Iterator[str]:
    if op.data[0].dtype not in asked.CODES:
        yield f"{op.data[0].name!r} is {op.data[0].dtype}"
    yield from asked.typed(op.data[0])
    yield from asked.typed(op.outputs[0], codes=False)


def _quantize(op: LintedOp) -> Iterator[str]:
    before, after = op.data[0], op.outputs[0]
    yield from _in_either(op)
    if before.dtype in asked.CODES and before.dtype != after.dtype:
        yield f"from {before.dtype} to {after.dtype}"
    yield from asked.ratio(before, after, 2.0**-8, 2.0**7, closed=True)


def _leaky_relu(op: LintedOp) -> Iterator[str]:
    yield from _in_either(op)
    before, after, slope = op.data[0], op.outputs[0], np.float32(op.settings.get("Alpha", 0.0))
    if not abs(slope) >= asked.SMALLEST_NORMAL:
        yield f"its slope is {slope:g}"
    yield from asked.ratio(before, after, 2.0**-8, 2.0**7, closed=True)
    if before.dtype in asked.CODES and after.dtype in asked.CODES:
        negative = asked.quotient(before.scale[0], after.scale[0]) * slope
        if not -127.99609375 <= negative <= 128.0 or abs(negative) < 2.0**-8:
            yield f"the rescale factor of what is negative is {negative:.6g}"


def _sum(op: LintedOp) -> Iterator[str]:
    yield from _operands(op)
    for tensor in op.data:
        yield from asked.ratio(tensor, op.outputs[0], 2.0**-10, 2.0**8)


def _product(op: LintedOp) -> Iterator[str]:
    yield from _operands(op)
    first, second, after = *op.data[:2], op.outputs[0]
    if first.dtype in asked.CODES:
        product = float(np.float32(first.scale[0]) * np.float32(second.scale[0]))
        yield from asked.within(asked.quotient(product, after.scale[0]), 2.0**-16, 2.0**8)


def _operands(op: LintedOp) -> Iterator[str]:
    yield from asked.counted(op, 2)
    for tensor in (*op.data, *op.outputs):
        yield from asked.typed(tensor)
    for tensor in op.data:
        yield from asked.ranked(tensor, 0)
    yield from asked.equal_types(op, *op.data, *op.outputs)
    yield from asked.fusible(op)


def _quotient(op: LintedOp) -> Iterator[str]:
    yield from asked.counted(op, 2)
    yield from _in_float(op)
    yield from asked.fusible(op)


def _prelu(op: LintedOp) -> Iterator[str]:
    yield from _quotient(op)
    yield from asked.static(op.inputs[1])


def _average_pool(op: LintedOp) -> Iterator[str]:
    for tensor in (*op.data, *op.outputs):
        yield from asked.typed(tensor, codes=False)
    yield from _window(op)


def _max_pool(op: LintedOp) -> Iterator[str]:
    for tensor in (*op.data, *op.outputs):
        yield from asked.typed(tensor)
    yield from _window(op)


def _window(op: LintedOp) -> Iterator[str]:
    if any(not 0 < stride <= extent for stride, extent in zip(op.strides, op.kernel, strict=True)):
        yield f"its stride {op.strides} is beyond its window {op.kernel}"
    yield from asked.fusible(op)


def _batch_matmul(op: LintedOp) -> Iterator[str]:
    yield from asked.counted(op, 2)
    first, second = op.data[:2]
    for tensor in (first, op.outputs[0]):
        yield from asked.typed(tensor)
    if second.dtype == "int8" and first.dtype == "int8" and any(second.zero_point):
        yield f"the right side {second.name!r} has zero point {second.zero_point[0]}; expected 0"
    if not (
        first.dtype == "float32" and second.dtype == "int8"
    ):  # codes against real numbers: quantized as it runs
        yield from asked.equal_types(op, first, second)
    for tensor in (first, second):
        yield from asked.ranked(tensor, 2)


def _concatenation(op: LintedOp) -> Iterator[str]:
    yield from asked.counted(op, 2, 5)
    for tensor in (*op.data, *op.outputs):
        yield from asked.typed(tensor)


def _convolution(op: LintedOp) -> Iterator[str]:
    yield from asked.counted(op, 3)
    for tensor in (op.data[0], op.outputs[0]):
        yield from asked.typed(tensor)
        yield from asked.ranked(tensor, 4, 4)
    yield from asked.weight(op.weight)
    yield from asked.ranked(op.weight, 4, 4)
    yield from asked.bias(op.bias)
    yield from asked.ranked(op.bias, 1, 1)
    is_dynamic = op.kind == "CONV_2D" and op.data[0].dtype == "float32"
    yield from asked.equal_types(op, op.data[0], op.outputs[0], *(() if is_dynamic else (op.weight,)))
    yield from asked.fusible(op)


def _transpose_conv(op: LintedOp) -> Iterator[str]:
    yield from asked.counted(op, 3, 4)
    yield from asked.static(op.inputs[0], "int32")
    for tensor in (op.data[0], op.outputs[0]):
        yield from asked.typed(tensor)
        yield from asked.ranked(tensor, 4, 4)
    yield from asked.weight(op.weight)
    yield from asked.ranked(op.weight, 4, 4)
    if op.bias is not None:
        yield from asked.bias(op.bias)
    _, height, width, _ = op.outputs[0].shape or ()
    is_valid = op.settings.get("Padding") == 1
    if is_valid and (op.kernel[0] > height or op.kernel[1] > width):
        yield f"its window {op.kernel} is larger than its output"
    if not is_valid and any(kernel < stride for kernel, stride in zip(op.kernel, op.strides, strict=True)):
        yield f"its stride {op.strides} is beyond its window {op.kernel}"
    yield from asked.fusible(op)


def _fully_connected(op: LintedOp) -> Iterator[str]:
    yield from asked.counted(op, 2, 3)
    if op.version == 8 or op.settings.get("WeightsFormat"):
        yield "its weights are sparse or shuffled"
    for tensor in (op.data[0], op.outputs[0]):
        yield from asked.typed(tensor)
    yield from asked.ranked(op.weight, 2, 2)
    if op.weight is not None and op.weight.dtype not in ("int4", "int2"):
        yield from asked.weight(op.weight)
    if op.bias is not None:
        yield from asked.bias(op.bias)
    is_dynamic = op.data[0].dtype in asked.FLOATS
    yield from asked.equal_types(op, op.data[0], op.outputs[0])
    if op.weight is not None and op.weight.dtype == "int8" and any(op.weight.zero_point) and not is_dynamic:
        yield f"its weight has zero point {op.weight.zero_point[0]}; expected 0"
    yield from asked.fusible(op)


def _reduction(op: LintedOp) -> Iterator[str]:
    yield from asked.counted(op, 2)
    for tensor in (*op.data, *op.outputs):
        yield from asked.typed(tensor)
    yield from asked.static(op.inputs[1], "int32")


def _pad(op: LintedOp) -> Iterator[str]:
    yield from _reduction(op)
    yield from asked.ranked(op.data[0], 1)


def _reshape(op: LintedOp) -> Iterator[str]:
    yield from asked.counted(op, 1, 2)
    for tensor in (op.data[0], op.outputs[0]):
        yield from asked.typed(tensor)
        yield from asked.ranked(tensor, 0)
    if op.outputs[0].dtype in asked.CODES and op.data[0].parameters != op.outputs[0].parameters:
        yield "its output has another scale or zero point than its input"
    if len(op.inputs) == 2:
        yield from asked.static(op.inputs[1], "int32")


def _resize_bilinear(op: LintedOp) -> Iterator[str]:
    yield from _reduction(op)
    yield from asked.ranked(op.data[0], 4, 4)


def _slice(op: LintedOp) -> Iterator[str]:
    yield from asked.counted(op, 3)
    for tensor in op.inputs[1:3]:
        yield from asked.static(tensor, "int32", "int64")
    for tensor in (*op.data, *op.outputs):
        yield from asked.typed(tensor)
    size = op.inputs[2]
    if size is not None and size.codes is not None and size.codes.size and int(np.min(size.codes)) <= 0:
        yield "a size is left open"


def _softmax(op: LintedOp) -> Iterator[str]:
    if op.settings.get("Beta", 1.0) != 1.0:
        yield f"its beta is {op.settings['Beta']:g}"
    for tensor in (*op.data, *op.outputs):
        yield from asked.typed(tensor, codes=False)


def _split(op: LintedOp) -> Iterator[str]:
    if not 2 <= len(op.outputs) <= 4:
        yield f"it has {len(op.outputs)} outputs; expected 2 to 4"
    yield from asked.static(op.inputs[0], "int32")
    for tensor in (*op.data, *op.outputs):
        yield from asked.typed(tensor)


def _strided_slice(op: LintedOp) -> Iterator[str]:
    yield from asked.counted(op, 4)
    if any(op.settings.get(name) for name in ("EllipsisMask", "NewAxisMask", "ShrinkAxisMask")):
        yield "it has an ellipsis, a new axis or one that goes away"
    for tensor in op.inputs[1:4]:
        yield from asked.static(tensor, "int32")
    steps = op.inputs[3]
    if steps is not None and steps.codes is not None and np.any(np.asarray(steps.codes) != 1):
        yield "a step is not 1"
    for tensor in (*op.data, *op.outputs):
        yield from asked.typed(tensor)


def _transpose(op: LintedOp) -> Iterator[str]:
    yield from asked.counted(op, 2)
    for tensor in (*op.data[:1], *op.outputs):
        yield from asked.typed(tensor)
    yield from asked.ranked(op.data[0], 1)
    yield from asked.static(op.inputs[1])


def _blocks(op: LintedOp) -> Iterator[str]:
    yield from _in_either(op)
    if op.settings.get("BlockSize", 0) <= 1:
        yield "its block is 1"


_IN_FLOAT: Final = (
    "ABS", "CEIL", "COS", "EXP", "FLOOR", "GELU", "HARD_SWISH", "LOG", "NEG", "RELU", "RELU6", "RELU_N1_TO_1", "ROUND", "RSQRT", "SIN",
    "SQRT", "SQUARE",
)  # fmt: skip

_RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        **dict.fromkeys(_IN_FLOAT, _in_float),
        **dict.fromkeys(("ELU", "LOGISTIC", "TANH"), _in_either),
        **dict.fromkeys(("ADD", "SUB"), _sum),
        **dict.fromkeys(("DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE"), _quotient),
        **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D"), _convolution),
        **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"), _reduction),
        **dict.fromkeys(("DEPTH_TO_SPACE", "SPACE_TO_DEPTH"), _blocks),
        "AVERAGE_POOL_2D": _average_pool,
        "BATCH_MATMUL": _batch_matmul,
        "CONCATENATION": _concatenation,
        "DEQUANTIZE": _dequantize,
        "FULLY_CONNECTED": _fully_connected,
        "LEAKY_RELU": _leaky_relu,
        "MAX_POOL_2D": _max_pool,
        "MUL": _product,
        "PAD": _pad,
        "PRELU": _prelu,
        "QUANTIZE": _quantize,
        "RESHAPE": _reshape,
        "RESIZE_BILINEAR": _resize_bilinear,
        "SLICE": _slice,
        "SOFTMAX": _softmax,
        "SPLIT": _split,
        "STRIDED_SLICE": _strided_slice,
        "TRANSPOSE": _transpose,
        "TRANSPOSE_CONV": _transpose_conv,
    }
)
