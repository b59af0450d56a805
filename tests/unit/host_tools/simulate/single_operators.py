"""Random networks of one operator each, drawn anew for every seed: shapes, attributes and constants."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.unit.host_tools.lower.lowering_cases import Case

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Rng = np.random.Generator


def _net(
    name: str, inputs: list[tuple[int, ...]], output: tuple[int, ...], body: str, **constants: object
) -> Case:
    """Return a network of inputs ``x``, ``z`` and output ``y``."""
    declared = ", ".join(f"float{list(shape)} {letter}" for letter, shape in zip("xz", inputs, strict=False))
    text = f"net ({declared}) => (float{list(output)} y) {{ {body} }}"
    return Case(name, text, {key: np.asarray(value) for key, value in constants.items()})


def _floats(rng: Rng, *shape: int, spread: bool = False) -> NDArray[np.float32]:
    """Draw weights; with ``spread``, the first axis's rows differ by a factor of ten."""
    values = rng.standard_normal(shape)
    if spread:
        values *= np.geomspace(0.3, 3.0, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    return (values / max(np.prod(shape[1:]), 1) ** 0.5).astype(np.float32)


def _ints(*values: int) -> NDArray[np.int64]:
    return np.asarray(values, np.int64)


def _image(rng: Rng) -> tuple[int, int, int]:
    """Draw channels, height and width."""
    return int(rng.choice([4, 8, 12])), int(rng.integers(9, 17)), int(rng.integers(9, 17))


def _window(
    rng: Rng, height: int, width: int, *, dilations: bool = True
) -> tuple[str, list[int], tuple[int, int]]:
    """Draw kernel, stride, pads and dilation: the attributes, the kernel and the output's extents."""
    kernel = [int(extent) for extent in rng.integers(1, 4, 2)]
    stride = [int(step) for step in rng.integers(1, 3, 2)]
    dilation = [int(step) for step in rng.integers(1, 3, 2)] if dilations and stride == [1, 1] else [1, 1]
    pads = [int(rng.integers(0, extent)) for extent in (*kernel, *kernel)]
    out = [
        (size + pads[axis] + pads[axis + 2] - (kernel[axis] - 1) * dilation[axis] - 1) // stride[axis] + 1
        for axis, size in enumerate((height, width))
    ]
    attributes = f"kernel_shape = {kernel}, strides = {stride}, pads = {pads}"
    return attributes + (f", dilations = {dilation}" if dilations else ""), kernel, (out[0], out[1])


def conv(rng: Rng) -> Case:
    channels, height, width = _image(rng)
    attributes, kernel, out = _window(rng, height, width)
    groups = int(rng.choice([1, 1, 2, channels]))
    filters = channels * int(rng.choice([1, 2]))
    tail = str(rng.choice(["", "Relu", "Clip"]))
    last = {"": "", "Relu": "y = Relu (c)", "Clip": "y = Clip (c, low, high)"}[tail]
    text = "c" if tail else "y"
    bounds = {"low": np.float32(0), "high": np.float32(0.6)} if tail == "Clip" else {}
    return _net(
        "conv",
        [(1, channels, height, width)],
        (1, filters, *out),
        f"{text} = Conv <{attributes}, group = {groups}> (x, w, b) {last}",
        w=_floats(rng, filters, channels // groups, *kernel, spread=True),
        b=_floats(rng, filters),
        **bounds,
    )


def conv_transpose(rng: Rng) -> Case:
    channels, height, width = _image(rng)
    kernel, stride = [int(n) for n in rng.integers(2, 4, 2)], [int(n) for n in rng.integers(1, 3, 2)]
    pads = [int(n) for n in rng.integers(0, 2, 4)]
    groups = int(rng.choice([1, 2]))
    out = [
        stride[axis] * (size - 1) + kernel[axis] - pads[axis] - pads[axis + 2]
        for axis, size in enumerate((height, width))
    ]
    return _net(
        "conv_transpose",
        [(1, channels, height, width)],
        (1, 4 * groups, *out),
        f"y = ConvTranspose <kernel_shape = {kernel}, strides = {stride}, pads = {pads}, group = {groups}> (x, w, b)",
        w=_floats(rng, channels, 4, *kernel),
        b=_floats(rng, 4 * groups),
    )


def gemm(rng: Rng) -> Case:
    rows, inputs, outputs = int(rng.integers(1, 8)), int(rng.integers(8, 700)), int(rng.integers(200, 400))
    tail = bool(rng.integers(2))
    body = "c = Gemm <transB = 1> (x, w, b) y = Relu (c)" if tail else "y = Gemm <transB = 1> (x, w, b)"
    return _net(
        "gemm",
        [(rows, inputs)],
        (rows, outputs),
        body,
        w=_floats(rng, outputs, inputs, spread=True),
        b=_floats(rng, outputs),
    )


def matmul(rng: Rng) -> Case:
    rows, inner, outputs = (int(n) for n in rng.integers(8, 40, 3))
    if rng.integers(2):
        shapes = [(1, 2, rows, inner), (1, 2, inner, outputs)]
        return _net("matmul", shapes, (1, 2, rows, outputs), "y = MatMul (x, z)")
    weight = _floats(rng, outputs, inner, spread=True).T.copy()
    return _net("matmul", [(1, rows, inner)], (1, rows, outputs), "y = MatMul (x, w)", w=weight)


def _binary(op_type: str) -> Callable[[Rng], Case]:
    def make(rng: Rng) -> Case:
        channels, height, width = _image(rng)
        shape = (1, channels, height, width)
        body = f"y = {op_type} ({{}})"
        if op_type == "Add" and rng.integers(2):  # every target fuses these two
            body = "s = Add ({}) y = Relu (s)"
        if rng.integers(3) == 0:
            operand = _floats(rng, 1, channels, 1, 1)
            return _net(op_type.lower(), [shape], shape, body.format("x, c"), c=operand)
        other = shape if rng.integers(2) else (1, channels, 1, 1)
        return _net(op_type.lower(), [shape, other], shape, body.format("x, z"))

    return make


def div(rng: Rng) -> Case:
    channels, height, width = _image(rng)
    shape = (1, channels, height, width)
    # A divisor that reaches zero has no quotient to speak of; the sum keeps it away from there.
    return _net(
        "div", [shape, shape], shape, "p = Sigmoid (z) d = Add (p, one) y = Div (x, d)", one=np.float32(1)
    )


def _unary(op_type: str, attributes: str = "") -> Callable[[Rng], Case]:
    def make(rng: Rng) -> Case:
        shape = (1, *_image(rng))
        return _net(op_type.lower(), [shape], shape, f"y = {op_type} {attributes} (x)")

    return make


def clip(rng: Rng) -> Case:
    shape = (1, *_image(rng))
    low, high = np.float32(-rng.uniform(0.1, 1)), np.float32(rng.uniform(0.1, 1))
    return _net("clip", [shape], shape, "y = Clip (x, low, high)", low=low, high=high)


def leaky_relu(rng: Rng) -> Case:
    return _unary("LeakyRelu", f"<alpha = {rng.uniform(0.05, 0.5):.4f}>")(rng)


def prelu(rng: Rng) -> Case:
    channels, height, width = _image(rng)
    shape = (1, channels, height, width)
    return _net("prelu", [shape], shape, "y = PRelu (x, s)", s=np.abs(_floats(rng, channels, 1, 1)))


def softmax(rng: Rng) -> Case:
    rows, classes = int(rng.integers(40, 100)), int(rng.integers(5, 60))
    return _net("softmax", [(rows, classes)], (rows, classes), "y = Softmax <axis = 1> (x)")


def max_pool(rng: Rng) -> Case:
    channels, height, width = _image(rng)
    attributes, _, out = _window(rng, height, width, dilations=False)
    return _net(
        "max_pool", [(1, channels, height, width)], (1, channels, *out), f"y = MaxPool <{attributes}> (x)"
    )


def average_pool(rng: Rng) -> Case:
    channels, height, width = _image(rng)
    attributes, _, out = _window(rng, height, width, dilations=False)
    counted = int(rng.integers(2))
    body = f"y = AveragePool <{attributes}, count_include_pad = {counted}> (x)"
    return _net("average_pool", [(1, channels, height, width)], (1, channels, *out), body)


def global_average_pool(rng: Rng) -> Case:
    _, height, width = _image(rng)
    return _net("global_average_pool", [(1, 320, height, width)], (1, 320, 1, 1), "y = GlobalAveragePool (x)")


def reduce_mean(rng: Rng) -> Case:
    channels, height, width = _image(rng)
    axes, after = [((2, 3), (1, channels)), ((3,), (1, channels, height)), ((1,), (1, height, width))][
        int(rng.integers(3))
    ]
    body = "y = ReduceMean <keepdims = 0> (x, axes)"
    return _net("reduce_mean", [(1, channels, height, width)], after, body, axes=_ints(*axes))


def concat(rng: Rng) -> Case:
    channels, height, width = _image(rng)
    shapes = [(1, channels, height, width), (1, 4, height, width)]
    return _net("concat", shapes, (1, channels + 4, height, width), "y = Concat <axis = 1> (x, z)")


def split(rng: Rng) -> Case:
    channels, height, width = _image(rng)
    half = channels // 2
    text = (
        f"net (float[1,{channels},{height},{width}] x) => (float[1,{half},{height},{width}] y, float[1,{half},{height},{width}] v)"
        "{ y, v = Split <axis = 1> (x, sizes) }"
    )
    return Case("split", text, {"sizes": _ints(half, half)})


def slice_(rng: Rng) -> Case:
    channels, height, width = _image(rng)
    step = int(rng.choice([1, 2, -1]))
    start, stop = (-1, -height - 1) if step < 0 else (1, height)
    out = len(range(*slice(start, stop, step).indices(height)))
    return _net(
        "slice",
        [(1, channels, height, width)],
        (1, channels, out, width),
        "y = Slice (x, starts, ends, axes, steps)",
        starts=_ints(start),
        ends=_ints(stop),
        axes=_ints(2),
        steps=_ints(step),
    )


def pad(rng: Rng) -> Case:
    channels, height, width = _image(rng)
    top, left, bottom, right = (int(n) for n in rng.integers(0, 3, 4))
    shape, after = (1, channels, height, width), (1, channels, height + top + bottom, width + left + right)
    pads = _ints(0, 0, top, left, 0, 0, bottom, right)
    if rng.integers(2):
        return _net("pad", [shape], after, "y = Pad (x, pads, value)", pads=pads, value=np.float32(0.25))
    return _net("pad", [shape], after, "y = Pad (x, pads)", pads=pads)


def reshape(rng: Rng) -> Case:
    channels, height, width = _image(rng)
    after = (1, channels // 2, 2 * height, width)
    return _net(
        "reshape", [(1, channels, height, width)], after, "y = Reshape (x, shape)", shape=_ints(*after)
    )


def transpose(rng: Rng) -> Case:
    channels, height, width = _image(rng)
    order = [0, *(int(axis) for axis in 1 + rng.permutation(3))]
    shape = (1, channels, height, width)
    return _net(
        "transpose", [shape], tuple(shape[axis] for axis in order), f"y = Transpose <perm = {order}> (x)"
    )


def resize_nearest(rng: Rng) -> Case:
    channels, height, width = _image(rng)
    body = 'y = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"> (x, , scales)'
    scales = np.asarray([1, 1, 2, 2], np.float32)
    return _net(
        "resize", [(1, channels, height, width)], (1, channels, 2 * height, 2 * width), body, scales=scales
    )


def resize_linear(rng: Rng) -> Case:
    channels, height, width = _image(rng)
    mode = str(rng.choice(["half_pixel", "align_corners"]))
    out = (1, channels, int(rng.integers(10, 30)), int(rng.integers(10, 30)))
    body = f'y = Resize <mode = "linear", coordinate_transformation_mode = "{mode}"> (x, , , sizes)'
    return _net("resize", [(1, channels, height, width)], out, body, sizes=_ints(*out))


OPERATORS: dict[str, Callable[[Rng], Case]] = {
    "Add": _binary("Add"),
    "AveragePool": average_pool,
    "Clip": clip,
    "Concat": concat,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Div": div,
    "Gemm": gemm,
    "GlobalAveragePool": global_average_pool,
    "HardSigmoid": _unary("HardSigmoid", "<alpha = 0.16666667, beta = 0.5>"),
    "HardSwish": _unary("HardSwish"),
    "LeakyRelu": leaky_relu,
    "MatMul": matmul,
    "Max": _binary("Max"),
    "MaxPool": max_pool,
    "Min": _binary("Min"),
    "Mul": _binary("Mul"),
    "PRelu": prelu,
    "Pad": pad,
    "ReduceMean": reduce_mean,
    "Relu": _unary("Relu"),
    "Reshape": reshape,
    "Resize linear": resize_linear,
    "Resize nearest": resize_nearest,
    "Sigmoid": _unary("Sigmoid"),
    "Slice": slice_,
    "Softmax": softmax,
    "Split": split,
    "Sub": _binary("Sub"),
    "Tanh": _unary("Tanh"),
    "Transpose": transpose,
}
"""By operator, ``Resize`` by its mode too. Flatten, Squeeze, Unsqueeze and Identity are Reshape by another name."""
