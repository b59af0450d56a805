"""Peak memory, against the arena that LiteRT really lays out: the addresses of its tensors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from host_tools.inspection.peak_memory import peak_memory
from host_tools.lower.lowering import lower
from host_tools.model import load
from host_tools.model.topology import network_of
from host_tools.observe import open_data
from host_tools.observe.observer import observe
from host_tools.plan.planner import plan
from host_tools.progress import Silent
from host_tools.recipe import Recipe
from targets import catalog
from tests.e2e.small_network import samples, write_network
from tests.unit.host_tools.model.onnx_models import model_proto, random_weights, saved

ALIGNMENT = 64


def small(folder):
    return write_network(folder / "net.onnx"), samples(4)


def widening(folder):
    """Convolutions of which the widest lies in the middle, with the input read again behind it."""
    proto = model_proto(
        """net (float[1,4,16,16] x) => (float[1,4,16,16] y) {
            a = Conv (x, w0, b0)
            r = Relu (a)
            c = Conv <group: int = 24, kernel_shape: ints = [3, 3], pads: ints = [1, 1, 1, 1]> (r, w1, b1)
            d = Conv (c, w2, b2)
            e = Conv (d, w3, b3)
            y = Add (e, x)
        }""",
        **random_weights(
            3,
            w0=(24, 4, 1, 1), b0=(24,), w1=(24, 1, 3, 3), b1=(24,), w2=(8, 24, 1, 1), b2=(8,), w3=(4, 8, 1, 1), b3=(4,),
        ),
    )  # fmt: skip
    return saved(folder, proto), np.random.default_rng(2).normal(size=(4, 4, 16, 16)).astype(np.float32)


def lowered(path, data, folder):
    model, profile = load(path), catalog.load("cortex-a-tflite")
    np.save(folder / "data.npy", data)
    given = open_data(folder / "data.npy", inputs=model.inputs)
    statistics = observe(model, given, histograms=False, threads=1, progress=Silent())
    return model, lower(model, plan(model, statistics, profile, Recipe(method="minmax")), profile)


def arena_bytes(payload):
    """Return how far the payload's activations reach from the first to the last, as LiteRT places them without a delegate."""
    engine = Interpreter(
        model_content=payload.files["model.tflite"],
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
    )
    engine.allocate_tensors()
    written = set(payload.tensor_names.values())
    spans = []
    for one in engine.get_tensor_details():
        if one["name"] in written:
            view = engine.tensor(one["index"])()
            start = view.__array_interface__["data"][0]
            spans.append((start, start + view.nbytes))
    return max(end for _, end in spans) - min(start for start, _ in spans)


@pytest.mark.parametrize("network", [small, widening])
def test_litert_needs_as_much_and_keeps_its_input_besides(network, tmp_path):
    path, data = network(tmp_path)
    model, payload = lowered(path, data, tmp_path)
    found = peak_memory(network_of(model.graph), float_bytes=1)
    kept = sum(math.prod(spec.shape) for spec in model.inputs if spec.name not in dict(found.live))
    slack = ALIGNMENT * (len(found.live) + len(model.inputs))
    assert found.bytes + kept <= arena_bytes(payload) <= found.bytes + kept + slack
