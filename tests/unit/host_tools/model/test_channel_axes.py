"""`channel_axes`: what reads or makes a value decides, and values computed into one another number by number agree."""

from __future__ import annotations

import numpy as np
import pytest

from host_tools.model.channel_axes import channel_axes
from tests.unit.host_tools.equalize.networks import canonical

LETTERS = {
    "w": np.eye(4, dtype=np.float32),
    "k": np.ones((4, 4, 1, 1), np.float32),
    "half": np.float32(0.5),
    "two": np.float32(2.0),
    "s": np.ones(4, np.float32),
    "flat": np.asarray([1, 3, 4], np.int64),
}


def axes(text: str) -> dict[str, int | None]:
    used = {name: array for name, array in LETTERS.items() if f" {name}" in text or f"({name}" in text}
    graph = canonical(text, **used).graph.graph
    return channel_axes([value for value in graph.inputs if not value.is_initializer()], list(graph))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("g (float[1,3,4] x) => (float[1,3,4] y) { y = MatMul(x, w) }", {"x": 2, "y": 2}),
        ("g (float[1,4,3,4] x) => (float[1,4,3,4] y) { y = Conv(x, k) }", {"x": 1, "y": 1}),
        (
            "g (float[1,3,4] x) => (float[1,3,4] y) { y = LayerNormalization<axis=-1>(x, s) }",
            {"x": 2, "y": 2},
        ),
        ("g (float[1,3,4] x) => (float[1,3,4] y) { y = Tanh(x) }", {"x": 1, "y": 1}),
        ("g (float[4] x) => (float[4] y) { y = Tanh(x) }", {"x": 0, "y": 0}),
        ("g (float x) => (float y) { y = Tanh(x) }", {"x": None, "y": None}),
    ],
    ids=["matrix product", "convolution", "normalization", "nobody", "vector", "scalar"],
)
def test_the_operator_decides(text: str, expected: dict[str, int | None]) -> None:
    assert axes(text) == expected


def test_what_stands_between_follows() -> None:
    """A Gelu written out, between two matrix products."""
    found = axes(
        """g (float[1,3,4] x) => (float[1,3,4] y) {
            a = MatMul(x, w) e = Div(a, two) f = Erf(e) h = Mul(f, half) b = Add(h, half) c = Mul(a, b) y = MatMul(c, w)
        }"""
    )
    assert set(found.values()) == {2}


def test_another_shape_ends_it() -> None:
    found = axes(
        """g (float[1,4,3,1] x) => (float[1,3,4] y) {
            c = Conv(x, k) r = Relu(c) f = Reshape(r, flat) y = MatMul(f, w)
        }"""
    )
    assert (found["c"], found["r"], found["f"], found["y"]) == (1, 1, 2, 2)


def test_where_both_claim_a_value_it_is_the_second_axis() -> None:
    found = axes(
        "g (float[1,4,3,4] x) => (float[1,4,3,4] y, float[1,4,3,4] z) { r = Relu(x) y = Conv(r, k) z = MatMul(r, w) }"
    )
    assert (found["x"], found["r"], found["z"]) == (1, 1, 3)
