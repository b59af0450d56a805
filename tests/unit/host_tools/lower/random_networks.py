"""`networks`: random small networks over what every format's float path writes."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from lowering_cases import Case

UNARY = {
    "relu": "Relu({a})",
    "clip": "Clip({a}, low, high)",
    "leaky": "LeakyRelu<alpha=0.3>({a})",
    "prelu": "PRelu({a}, slope)",
    "sigmoid": "Sigmoid({a})",
    "tanh": "Tanh({a})",
    "swish": "HardSwish({a})",
    "softmax": "Softmax<axis=1>({a})",
    "max": "MaxPool<kernel_shape=[3,2], pads=[1,1,1,0]>({a})",
    "mean": "AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>({a})",
    "columns": "Transpose<perm=[0,1,3,2]>({a})",
    "channels": "Transpose<perm=[0,2,3,1]>({a})",
    "reshape": "Reshape({a}, same)",
    "shift": "Add({a}, shift)",
    "factor": "Mul({a}, factor)",
    "conv": "Conv<pads=[1,1,0,0]>({a}, w, b)",
    "depthwise": "Conv<group=4, pads=[1,1,1,1]>({a}, d)",
    "grouped": "Conv<group=2>({a}, g)",
}
BINARY = {
    "add": "Add({a}, {b})",
    "sub": "Sub({a}, {b})",
    "mul": "Mul({a}, {b})",
    "min": "Min({a}, {b})",
    "matmul": "MatMul({a}, {b})",
}
PAIRS = {
    "halves": "{o}p, {o}q = Split<axis=1, num_outputs=2>({a}) {o} = Concat<axis=1>({o}q, {o}p)",
    "rows": "{o}p = Slice({a}, two, four, axis2) {o} = Concat<axis=2>({o}p, {o}p)",
    "flat": "{o}p = Flatten({a}) {o} = Reshape({o}p, same)",
    "mirror": '{o}p = Pad<mode="reflect">({a}, pads) {o} = Slice({o}p, two, six, axis3)',
}
RNG = np.random.default_rng(2)
CONSTANTS = {
    "low": np.float32(-0.4),
    "high": np.float32(0.7),
    "slope": np.linspace(0.1, 0.4, 4, dtype=np.float32).reshape(4, 1, 1),
    "same": np.asarray([1, 4, 4, 4], np.int64),
    "shift": np.asarray([0.5, -1, 0, 2], np.float32).reshape(1, 4, 1, 1),
    "factor": np.float32(-1.5),
    "two": np.asarray([2], np.int64),
    "four": np.asarray([4], np.int64),
    "six": np.asarray([6], np.int64),
    "axis2": np.asarray([2], np.int64),
    "axis3": np.asarray([3], np.int64),
    "pads": np.asarray([0, 0, 0, 2, 0, 0, 0, 2], np.int64),
    "w": RNG.normal(0, 0.4, (4, 4, 2, 2)).astype(np.float32),
    "b": RNG.normal(0, 0.4, 4).astype(np.float32),
    "d": RNG.normal(0, 0.4, (4, 1, 3, 3)).astype(np.float32),
    "g": RNG.normal(0, 0.4, (4, 2, 1, 1)).astype(np.float32),
}


@st.composite
def networks(draw: st.DrawFn) -> Case:
    """Draw a network of one input and one output, each [1, 4, 4, 4], with one to seven operators before its last convolution."""
    lines, live = [], ["x"]
    for number in range(draw(st.integers(1, 7))):
        out, a, b = f"v{number}", draw(st.sampled_from(live[-2:])), draw(st.sampled_from(live))
        menu = draw(st.sampled_from([UNARY, UNARY, BINARY, PAIRS]))
        body = menu[draw(st.sampled_from(sorted(menu)))].format(a=a, b=b, o=out)
        lines.append(body if menu is PAIRS else f"{out} = {body}")
        live.append(out)
    lines.append(f"y = Conv ({live[-1]}, g2, b)")
    text = "net (float[1,4,4,4] x) => (float[1,4,4,4] y) {\n" + "\n".join(lines) + "\n}"
    constants = {**CONSTANTS, "g2": RNG.normal(0, 0.5, (4, 4, 1, 1)).astype(np.float32)}
    words = set(text.replace(",", " ").replace("(", " ").replace(")", " ").split())
    return Case("random", text, {name: array for name, array in constants.items() if name in words})
