"""Steps of random networks: each takes an image and gives one of the same shape, by one operator or by a few."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

CHANNELS, HEIGHT, WIDTH = 4, 4, 4
IMAGE = (1, CHANNELS, HEIGHT, WIDTH)


@dataclass
class Drawn:
    """A graph being written: lines, constants, and what has been computed by shape."""

    rng: np.random.Generator
    lines: list[str] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    live: list[str] = field(default_factory=lambda: ["x"])

    def constant(self, array: np.ndarray, *, is_shared: bool = False) -> str:
        """Add a constant; a shared one is read by all who ask for the same."""
        if is_shared:
            for name, known in self.constants.items():
                if known.shape == array.shape and known.dtype == array.dtype and (known == array).all():
                    return name
        name = f"k{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def floats(self, *shape: int, scale: float = 1.0) -> str:
        return self.constant((self.rng.normal(0, scale, shape)).astype(np.float32))

    def ints(self, *numbers: int) -> str:
        return self.constant(np.asarray(numbers, np.int64))

    def op(self, call: str) -> str:
        name = f"v{len(self.lines)}"
        self.lines.append(f"[n{len(self.lines)}] {name} = {call}")
        return name


def conv(net: Drawn, a: str, group: int = 1, kernel: int = 1, op: str = "Conv") -> str:
    outputs = CHANNELS // group if op == "ConvTranspose" else CHANNELS
    inputs = CHANNELS if op == "ConvTranspose" else CHANNELS // group
    shape = (inputs, outputs) if op == "ConvTranspose" else (outputs, inputs)
    weight = net.floats(*shape, kernel, kernel, scale=(CHANNELS // group * kernel * kernel) ** -0.5)
    pad = kernel // 2
    told = f"group={group}, kernel_shape=[{kernel},{kernel}], pads=[{pad},{pad},{pad},{pad}]"
    return net.op(f"{op}<{told}>({a}, {weight}, {net.floats(CHANNELS)})")


def clip(net: Drawn, a: str, low: float, high: float) -> str:
    low_name, high_name = (
        net.constant(np.asarray(bound, np.float32), is_shared=True) for bound in (low, high)
    )
    return net.op(f"Clip({a}, {low_name}, {high_name})")


def gate(net: Drawn, a: str) -> str:
    squeezed = net.op(f"Relu({conv(net, net.op(f'GlobalAveragePool({a})'))})")
    excited = net.op(f"Sigmoid({conv(net, squeezed)})")
    return net.op(f"Mul({excited}, {a})" if net.rng.random() < 0.5 else f"Mul({a}, {excited})")


def split(net: Drawn, a: str, axis: int) -> str:
    first, second = f"s{len(net.lines)}", f"t{len(net.lines)}"
    net.lines.append(f"[n{len(net.lines)}] {first}, {second} = Split<axis={axis}, num_outputs=2>({a})")
    return net.op(f"Concat<axis={axis}>({second}, {first})")


def concat(net: Drawn, a: str, b: str, axis: int) -> str:
    joined = net.op(f"Concat<axis={axis}>({a}, {b})")
    if axis != 1:
        end, begin, step = net.ints(4), net.ints(0), net.ints(axis)
        return net.op(f"Slice({joined}, {begin}, {end}, {step})")
    return net.op(f"Conv<kernel_shape=[1,1]>({joined}, {net.floats(CHANNELS, 8, 1, 1, scale=0.35)})")


def padded(net: Drawn, a: str, pads: tuple[int, ...], mode: str, value: float) -> str:
    filler = net.constant(np.asarray(value, np.float32))
    call = f'Pad<mode="{mode}">({a}, {net.ints(*pads)}' + (f", {filler})" if mode == "constant" else ")")
    return net.op(f"MaxPool<kernel_shape=[3,3]>({net.op(call)})")


def resized(net: Drawn, a: str, mode: str, scales: tuple[float, ...]) -> str:
    name = net.constant(np.asarray(scales, np.float32))
    larger = net.op(f'Resize<mode="{mode}", nearest_mode="floor">({a}, , {name})')
    if scales[2] == 1.0:
        return larger
    return net.op(f"AveragePool<kernel_shape=[2,2], strides=[2,2]>({larger})")


def through_vector(net: Drawn, a: str) -> str:
    flat = net.op(f"Flatten<axis=1>({a})")
    hidden = net.op(f"Gemm<transB=1>({flat}, {net.floats(12, 64, scale=0.12)}, {net.floats(12)})")
    wide = net.op(f"Gemm({net.op(f'Relu({hidden})')}, {net.floats(12, 64, scale=0.3)}, {net.floats(64)})")
    return net.op(f"Reshape({wide}, {net.ints(*IMAGE)})")


def through_tokens(net: Drawn, a: str) -> str:
    """Tokens of channels, scaled and shifted as behind a LayerNormalization, a feed-forward block, and back."""
    flat = net.op(f"Reshape({a}, {net.ints(1, CHANNELS, HEIGHT * WIDTH)})")
    tokens = net.op(f"Transpose<perm=[0,2,1]>({flat})")
    if net.rng.random() < 0.5:
        tokens = net.op(
            f"LayerNormalization<axis=-1>({tokens}, {net.floats(CHANNELS)}, {net.floats(CHANNELS)})"
        )
    else:
        scaled = net.op(f"Mul({tokens}, {net.floats(CHANNELS)})")
        tokens = net.op(f"Add({scaled}, {net.floats(CHANNELS)})")
    wide = net.op(f"MatMul({tokens}, {net.floats(CHANNELS, 8, scale=0.5)})")
    shifted = net.op(f"Add({wide}, {net.floats(8)})")
    narrow = net.op(f"MatMul({net.op(f'Relu({shifted})')}, {net.floats(8, CHANNELS, scale=0.35)})")
    joined = net.op(f"Add({narrow}, {tokens})")
    back = net.op(f"Transpose<perm=[0,2,1]>({joined})")
    return net.op(f"Reshape({back}, {net.ints(*IMAGE)})")


def along_width(net: Drawn, a: str) -> str:
    """MatMul along the width, which is as large as there are channels."""
    first = net.op(f"MatMul({a}, {net.floats(WIDTH, WIDTH, scale=0.5)})")
    middle = net.op(f"MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>({first})")
    return net.op(f"MatMul({middle}, {net.floats(WIDTH, WIDTH, scale=0.5)})")


def shuffled(net: Drawn, a: str) -> str:
    groups = net.op(f"Reshape({a}, {net.ints(1, 2, 2, HEIGHT, WIDTH)})")
    mixed = net.op(f"Transpose<perm=[0,2,1,3,4]>({groups})")
    return net.op(f"Reshape({mixed}, {net.ints(*IMAGE)})")


def computed_slope(net: Drawn, a: str) -> str:
    return net.op(f"PRelu({conv(net, a)}, {conv(net, a)})")


ONE: dict[str, Callable[[Drawn, str], str]] = {
    "conv": conv,
    "conv3": lambda net, a: conv(net, a, kernel=3),
    "grouped": lambda net, a: conv(net, a, group=2),
    "depthwise": lambda net, a: conv(net, a, group=CHANNELS, kernel=3),
    "deconv": lambda net, a: conv(net, a, op="ConvTranspose"),
    "grouped deconv": lambda net, a: conv(net, a, group=2, op="ConvTranspose"),
    "relu": lambda net, a: net.op(f"Relu({a})"),
    "leaky": lambda net, a: net.op(f"LeakyRelu<alpha=0.3>({a})"),
    "prelu": lambda net, a: net.op(f"PRelu({a}, {net.floats(CHANNELS, 1, 1)})"),
    "computed slope": computed_slope,
    "relu6": lambda net, a: clip(net, a, 0.0, 6.0),
    "relu1": lambda net, a: clip(net, a, 0.0, 1.0),
    "clip": lambda net, a: clip(net, a, -1.0, 1.0),
    "to nothing": lambda net, a: clip(net, a, 0.0, 0.0),
    "add": lambda net, a: net.op(f"Add({net.floats(1, CHANNELS, 1, 1)}, {a})"),
    "add number": lambda net, a: net.op(f"Add({a}, {net.constant(np.float32(0.5), is_shared=True)})"),
    "add image": lambda net, a: net.op(f"Add({a}, {net.floats(*IMAGE)})"),
    "sub": lambda net, a: net.op(f"Sub({net.floats(CHANNELS, 1, 1)}, {a})"),
    "mul": lambda net, a: net.op(f"Mul({a}, {net.floats(CHANNELS, 1, 1)})"),
    "mul number": lambda net, a: net.op(f"Mul({a}, {net.constant(np.float32(0.5), is_shared=True)})"),
    "mul row": lambda net, a: net.op(f"Mul({a}, {net.floats(WIDTH)})"),
    "max": lambda net, a: net.op(f"Max({a}, {net.floats(1, CHANNELS, 1, 1)})"),
    "min": lambda net, a: net.op(f"Min({net.floats(1, CHANNELS, 1, 1)}, {a})"),
    "square": lambda net, a: net.op(f"Mul({a}, {net.op(f'Sigmoid({a})')})"),
    "gate": gate,
    "split channels": lambda net, a: split(net, a, 1),
    "split rows": lambda net, a: split(net, a, 2),
    "pad": lambda net, a: padded(net, a, (0, 0, 1, 1, 0, 0, 1, 1), "constant", 0.0),
    "pad value": lambda net, a: padded(net, a, (0, 0, 1, 1, 0, 0, 1, 1), "constant", 0.7),
    "pad reflect": lambda net, a: padded(net, a, (0, 0, 1, 1, 0, 0, 1, 1), "reflect", 0.0),
    "pad edge": lambda net, a: padded(net, a, (0, 0, 1, 1, 0, 0, 1, 1), "edge", 0.0),
    "move channels": lambda net, a: padded(net, a, (0, 1, 1, 1, 0, -1, 1, 1), "constant", 0.0),
    "maxpool": lambda net, a: net.op(f"MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>({a})"),
    "avgpool": lambda net, a: net.op(f"AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>({a})"),
    "mean": lambda net, a: net.op(f"Add({a}, {net.op(f'ReduceMean({a}, {net.ints(2, 3)})')})"),
    "sigmoid": lambda net, a: net.op(f"Sigmoid({a})"),
    "hardswish": lambda net, a: net.op(f"HardSwish({a})"),
    "softmax": lambda net, a: net.op(f"Softmax<axis=1>({a})"),
    "transpose": lambda net, a: net.op(f"Transpose<perm=[0,1,3,2]>({a})"),
    "transpose channels": lambda net, a: net.op(f"Transpose<perm=[0,2,1,3]>({a})"),
    "reshape": lambda net, a: net.op(
        f"Reshape({net.op(f'Reshape({a}, {net.ints(1, 4, 2, 8)})')}, {net.ints(*IMAGE)})"
    ),
    "shuffle": shuffled,
    "nearest": lambda net, a: resized(net, a, "nearest", (1, 1, 2, 2)),
    "linear": lambda net, a: resized(net, a, "linear", (1, 1, 2, 2)),
    "resized channels": lambda net, a: resized(net, a, "nearest", (1, 1.2, 1, 1)),
    "vector": through_vector,
    "tokens": through_tokens,
    "along width": along_width,
}
TWO: dict[str, Callable[[Drawn, str, str], str]] = {
    "add": lambda net, a, b: net.op(f"Add({a}, {b})"),
    "sub": lambda net, a, b: net.op(f"Sub({a}, {b})"),
    "max": lambda net, a, b: net.op(f"Max({a}, {b})"),
    "mul": lambda net, a, b: net.op(f"Mul({a}, {net.op(f'Sigmoid({b})')})"),
    "concat channels": lambda net, a, b: concat(net, a, b, 1),
    "concat rows": lambda net, a, b: concat(net, a, b, 2),
}


def text_of(net: Drawn, outputs: list[str]) -> str:
    """Return the graph."""
    shape = f"float[{','.join(map(str, IMAGE))}]"
    lines = "\n".join(net.lines)
    return f"g ({shape} x) => ({', '.join(f'{shape} {name}' for name in outputs)}) {{\n{lines}\n}}"


def constants_of(net: Drawn) -> dict[str, np.ndarray]:
    """Return the constants that are read."""
    text = "\n".join(net.lines)
    return {name: array for name, array in net.constants.items() if f"{name}," in text or f"{name})" in text}
