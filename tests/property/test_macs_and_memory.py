"""MACs and peak memory of random small graphs, against counting one by one and against an allocator that counts references."""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from host_tools.inspection.costs import macs_of
from host_tools.inspection.peak_memory import VIEWS, peak_memory
from host_tools.model import load
from host_tools.model.topology import named, network_of, outputs_of, shape_of


def loaded(nodes, inputs, outputs, weights):
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        onnx.save(model, path)
        return load(path)


def ones(*shape):
    return np.full(shape, 0.5, np.float32)


# MACs


@dataclass(frozen=True)
class Window:
    extents: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]

    def attributes(self):
        return {"strides": self.strides, "dilations": self.dilations, "pads": self.pads}

    def steps(self, axis):
        """Slide one window along an axis, step by step."""
        reach = self.dilations[axis] * (self.kernel[axis] - 1) + 1
        length = self.extents[axis] + self.pads[axis] + self.pads[len(self.extents) + axis]
        start = 0
        while start + reach <= length:
            yield start
            start += self.strides[axis]


@st.composite
def windows(draw):
    rank = draw(st.integers(1, 2))

    def per_axis(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    return Window(
        extents=per_axis(5, 6),
        kernel=per_axis(1, 3),
        strides=per_axis(1, 2),
        dilations=per_axis(1, 2),
        pads=per_axis(0, 1) + per_axis(0, 1),
    )


@settings(max_examples=40, deadline=None)
@given(
    window=windows(),
    batch=st.integers(1, 2),
    groups=st.integers(1, 2),
    fed=st.integers(1, 2),
    given_=st.integers(1, 2),
)
def test_macs_of_a_convolution(window, batch, groups, fed, given_):
    weight = ones(given_ * groups, fed, *window.kernel)
    node = helper.make_node("Conv", ["x", "w"], ["y"], "conv", group=groups, **window.attributes())
    model = loaded([node], {"x": (batch, fed * groups, *window.extents)}, ["y"], {"w": weight})
    counted = 0
    for _ in itertools.product(range(batch), range(given_ * groups)):
        for _ in itertools.product(*(window.steps(axis) for axis in range(len(window.extents)))):
            for _ in itertools.product(range(fed), *map(range, window.kernel)):
                counted += 1  # one product of this channel and tap, with its addition
    (only,) = network_of(model.graph).nodes.values()
    assert macs_of(only) == counted


@settings(max_examples=40, deadline=None)
@given(
    window=windows(),
    batch=st.integers(1, 2),
    groups=st.integers(1, 2),
    fed=st.integers(1, 2),
    given_=st.integers(1, 2),
)
def test_macs_of_a_transposed_convolution(window, batch, groups, fed, given_):
    weight = ones(fed * groups, given_, *window.kernel)
    attributes = {"strides": window.strides, "dilations": window.dilations}
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], "up", group=groups, **attributes)
    model = loaded([node], {"x": (batch, fed * groups, *window.extents)}, ["y"], {"w": weight})
    counted = 0
    for _ in itertools.product(range(batch), range(fed * groups), *map(range, window.extents)):
        for _ in itertools.product(range(given_), *map(range, window.kernel)):
            counted += 1  # each element read is scattered, times a tap, to the channels of its group
    (only,) = network_of(model.graph).nodes.values()
    assert macs_of(only) == counted


@settings(max_examples=30, deadline=None)
@given(
    stack=st.lists(st.integers(1, 3), max_size=2),
    rows=st.integers(2, 4),
    inner=st.integers(2, 4),
    columns=st.integers(2, 4),
    is_constant=st.booleans(),
)
def test_macs_of_products_of_matrices(stack, rows, inner, columns, is_constant):
    shapes = {"a": (*stack, rows, inner), "b": (*stack, inner, columns)}
    weights = {"b": ones(*shapes.pop("b"))} if is_constant else {}
    model = loaded([helper.make_node("MatMul", ["a", "b"], ["y"], "product")], shapes, ["y"], weights)
    counted = 0
    for _ in itertools.product(*map(range, (*stack, rows, columns))):
        for _ in range(inner):
            counted += 1
    (only,) = network_of(model.graph).nodes.values()
    assert only.op_type == ("Gemm" if is_constant and not stack else "MatMul")
    assert macs_of(only) == counted


# Peak memory


def by_counting_references(network, float_bytes):
    """Run the graph with an allocator: a buffer is made when it is written, and freed behind its last reader."""
    owner, left, size = {}, {}, {}
    live = peak = 0

    def readers(name):
        return len(network.readers[name]) + (name in network.outputs)

    def make(name):
        nonlocal live
        owner[name] = name
        left[name] = readers(name)
        size[name] = int(np.prod(shape_of(network.values[name]), dtype=np.int64)) * float_bytes
        live += size[name]

    for name in network.inputs:
        make(name)
    for node in network.nodes.values():
        read = [named(value) for value in node.inputs if value is not None and not value.is_initializer()]
        (written,) = (named(value) for value in outputs_of(node))
        first = read[0]
        is_fused = (
            node.op_type in ("Relu", "Clip")
            and len(network.readers[first]) == 1
            and first not in network.outputs
            and first not in network.inputs
        )
        if node.op_type in VIEWS or is_fused:
            owner[written] = owner[first]
            left[owner[first]] += readers(written)
        else:
            make(written)
        peak = max(peak, live)
        for name in read:
            left[owner[name]] -= 1
        for name in {owner[name] for name in (*read, written)}:
            if left[name] == 0 and size[name]:
                live -= size[name]
                size[name] = 0
    return peak


@st.composite
def networks(draw):
    """A random graph of convolutions, sums, activations, reshapes and concatenations, each reading what is there already."""
    shapes = {"x": (1, 2, 4, 4)}
    nodes, weights = [], {}
    for index in range(draw(st.integers(1, 9))):
        name = f"v{index}"
        source = draw(st.sampled_from(sorted(shapes)))
        shape = shapes[source]
        alike = sorted(other for other, known in shapes.items() if known == shape and other != source)
        kinds = ["Relu", "Sigmoid", "Reshape", *(["Conv", "Conv"] if len(shape) == 4 else [])]
        kind = draw(st.sampled_from([*kinds, *(["Add", "Concat"] if alike else [])]))
        read = [source]
        attributes = {}
        if kind == "Conv":
            channels = draw(st.integers(1, 5))
            weights[f"w{index}"] = ones(channels, shape[1], 1, 1)
            read.append(f"w{index}")
            shape = (1, channels, *shape[2:])
        elif kind == "Reshape":
            shape = (1, int(np.prod(shape))) if len(shape) == 4 else (1, shape[1] // 2, 2, 1)
            weights[f"s{index}"] = np.asarray(shape, np.int64)
            read.append(f"s{index}")
        elif kind in ("Add", "Concat"):
            read.append(draw(st.sampled_from(alike)))
            if kind == "Concat":
                attributes["axis"] = 1
                shape = (1, 2 * shape[1], *shape[2:])
        nodes.append(helper.make_node(kind, read, [name], f"n{index}", **attributes))
        shapes[name] = shape
    read = {name for node in nodes for name in node.input}
    outputs = [name for name in shapes if name not in read and name != "x"]
    more = draw(st.sampled_from([None, *sorted(set(shapes) - {"x"} - set(outputs))]))
    return nodes, {"x": shapes["x"]}, [*outputs, *([more] if more else [])], weights


@settings(max_examples=60, deadline=None)
@given(parts=networks(), float_bytes=st.sampled_from([1, 4]))
def test_peak_memory_is_that_of_an_allocator(parts, float_bytes):
    network = network_of(loaded(*parts).graph)
    found = peak_memory(network, float_bytes=float_bytes)
    assert found.bytes == by_counting_references(network, float_bytes)
    assert sum(size for _, size in found.live) == found.bytes
    assert found.node in network.nodes


def test_what_lives_at_the_peak():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "wide"),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "v"], ["c"], "narrow"),
        helper.make_node("Add", ["c", "x"], ["y"], "sum"),
    ]
    model = loaded(nodes, {"x": (1, 2, 4, 4)}, ["y"], {"w": ones(8, 2, 1, 1), "v": ones(2, 8, 1, 1)})
    found = peak_memory(network_of(model.graph), float_bytes=1)
    # the fused Relu needs nothing; x waits for the sum
    assert (found.bytes, found.node) == (128 + 32 + 32, "narrow")
    assert dict(found.live) == {"a": 128, "c": 32, "x": 32}
    assert found.bytes == pytest.approx(peak_memory(network_of(model.graph), float_bytes=4).bytes / 4)
