"""A model that takes pixels gives what the model gave from normalised pictures, and is canonical like it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agent.contract.manifest import Preprocessing
from host_tools.errors import InputError
from host_tools.model import load
from host_tools.model.export import serialize
from host_tools.model.pixel_input import taking_pixels
from host_tools.model.reference import FloatRunner
from tests.unit.host_tools.model.canonical_form import check_canonical
from tests.unit.host_tools.model.onnx_models import model_proto, random_weights, saved

if TYPE_CHECKING:
    from pathlib import Path

    from host_tools.model import FloatModel

IMAGENET = Preprocessing(
    resize=(8, 8),
    resample="bilinear",
    color="RGB",
    layout="NCHW",
    mean=(123.675, 116.28, 103.53),
    std=(58.395, 57.12, 57.375),
)
LAYERS = {
    "padded": "y = Conv <pads = [1, 1, 1, 1]> (x, w, b)",
    "unpadded": "y = Conv <strides = [2, 2]> (x, w, b)",
    "read twice": "h = Conv <pads = [1, 1, 1, 1]> (x, w, b)  g = Relu (h)  m = ReduceMean <keepdims = 1> (x)  y = Mul (g, m)",
    "no Conv": "h = Relu (x)  y = Add (h, x)",
}
INTO_CONV, OWN_CONV, APART = "folded into the first Conv", "as a Conv of one by one", "as Mul and Add"


def model_of(folder: Path, body: str, *, shape: str = "1, 3, 8, 8", **weights: Any) -> FloatModel:
    weights = weights or random_weights(1, w=(4, 3, 3, 3), b=(4,))
    used = {name: array for name, array in weights.items() if f" {name}" in body}
    proto = model_proto(f"net (float[{shape}] x) => (float[a, c, d, e] y) {{ {body} }}", **used)
    return load(saved(folder, proto))


def assert_same(model: FloatModel, preprocessing: Preprocessing, how: str) -> FloatModel:
    """The two agree to float32's rounding on noise, black and white."""
    folded = taking_pixels(model, preprocessing)
    check_canonical(serialize(folded.graph))
    assert (folded.inputs, folded.outputs, folded.name) == (model.inputs, model.outputs, model.name)
    assert folded.digest != model.digest
    assert how in folded.notes[-1]
    channels = -1 if preprocessing.layout == "NHWC" else 1
    along = [1, 1, 1, 1]
    along[channels] = -1
    mean, std = (np.reshape(values, along) for values in (preprocessing.mean, preprocessing.std))
    (spec,), rng = model.inputs, np.random.default_rng(5)
    before, after = (FloatRunner(one, threads=1) for one in (model, folded))
    for pixels in (rng.integers(0, 256, spec.shape), np.zeros(spec.shape), np.full(spec.shape, 255.0)):
        wanted = before.run({spec.name: ((pixels - mean) / std).astype(np.float32)})
        found = after.run({spec.name: pixels.astype(np.float32)})
        for name, array in wanted.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-4)
    return folded


@pytest.mark.parametrize(
    ("layers", "how"),
    [("padded", OWN_CONV), ("unpadded", INTO_CONV), ("read twice", OWN_CONV), ("no Conv", OWN_CONV)],
)
def test_channels_first(tmp_path: Path, layers: str, how: str) -> None:
    model = model_of(tmp_path, LAYERS[layers])
    nodes = model.graph.graph.num_nodes()
    folded = assert_same(model, IMAGENET, how)
    assert folded.graph.graph.num_nodes() - nodes == (how == OWN_CONV)
    assert model.graph.graph.num_nodes() == nodes, "the model itself is not changed"


@pytest.mark.parametrize(
    ("pads", "how"), [("", INTO_CONV), ("<pads = [1, 1, 1, 1]>", OWN_CONV)], ids=["unpadded", "padded"]
)
def test_channels_last_that_the_model_puts_first(tmp_path: Path, pads: str, how: str) -> None:
    body = f"h = Transpose <perm = [0, 3, 1, 2]> (x)  y = Conv {pads} (h, w, b)"
    model = model_of(tmp_path, body, shape="1, 8, 8, 3")
    assert_same(model, dataclasses.replace(IMAGENET, layout="NHWC"), how)


def test_channels_last_that_stay_last(tmp_path: Path) -> None:
    model = model_of(tmp_path, "h = Relu (x)  y = Mul (h, x)", shape="1, 8, 8, 3")
    assert_same(model, dataclasses.replace(IMAGENET, layout="NHWC"), APART)


def test_a_convolution_of_groups_keeps_its_weights(tmp_path: Path) -> None:
    weights = random_weights(2, w=(6, 1, 3, 3), b=(6,))
    assert_same(model_of(tmp_path, "y = Conv <group = 3> (x, w, b)", **weights), IMAGENET, OWN_CONV)


@given(
    mean=st.lists(st.floats(-300, 300), min_size=3, max_size=3),
    std=st.lists(st.floats(0.25, 300), min_size=3, max_size=3),
    pad=st.integers(0, 2),
    seed=st.integers(0, 99),
)
def test_any_mean_and_std(
    tmp_path_factory: pytest.TempPathFactory, mean: list[float], std: list[float], pad: int, seed: int
) -> None:
    weights = random_weights(seed, w=(2, 3, 3, 3), b=(2,))
    body = f"y = Conv <pads = [{pad}, {pad}, {pad}, {pad}]> (x, w, b)"
    model = model_of(tmp_path_factory.mktemp("net"), body, **weights)
    preprocessing = dataclasses.replace(IMAGENET, mean=tuple(mean), std=tuple(std))
    folded = taking_pixels(model, preprocessing)
    column = (1, 3, 1, 1)
    pixels = np.random.default_rng(seed).integers(0, 256, (1, 3, 8, 8)).astype(np.float32)
    normalised = ((pixels - np.reshape(mean, column)) / np.reshape(std, column)).astype(np.float32)
    wanted = FloatRunner(model, threads=1).run({"x": normalised})["y"]
    found = FloatRunner(folded, threads=1).run({"x": pixels})["y"]
    # Mean and pixel are added up before they cancel: what counts is the size of the terms.
    size = float(np.abs(weights["w"]).sum(axis=(1, 2, 3)).max() * (max(map(abs, mean)) + 255.0) / min(std))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6 * max(size, 1.0))


@pytest.mark.parametrize(
    ("shape", "changes"),
    [
        ("1, 3, 8, 8", {"layout": "NHWC"}),
        ("1, 4, 8, 8", {}),
        ("1, 3, 8, 8", {"color": "L", "mean": (0.0,), "std": (1.0,)}),
        ("1, 3, 8", {}),
    ],
    ids=["layout", "channels", "grey", "axes"],
)
def test_an_input_that_is_no_such_picture_is_refused(
    tmp_path: Path, shape: str, changes: dict[str, Any]
) -> None:
    text = f"net (float[{shape}] x) => (float[{shape}] y) {{ y = Relu (x) }}"
    model = load(saved(tmp_path, model_proto(text)))
    with pytest.raises(InputError, match="--fold-preprocessing: expected one float32 input of 4 axes"):
        taking_pixels(model, dataclasses.replace(IMAGENET, **changes))


def test_two_inputs_are_refused(tmp_path: Path) -> None:
    text = "net (float[1, 3, 8, 8] x, float[1, 3, 8, 8] z) => (float[1, 3, 8, 8] y) { y = Add (x, z) }"
    model = load(saved(tmp_path, model_proto(text)))
    with pytest.raises(InputError, match=r"'x' float32 .*, 'z' float32"):
        taking_pixels(model, IMAGENET)


def test_a_quantized_model_is_refused(tmp_path: Path) -> None:
    text = (
        "net (float[1, 3, 8, 8] x) => (float[1, 3, 8, 8] y) "
        "{ q = QuantizeLinear (x, s, z)  d = DequantizeLinear (q, s, z)  y = Relu (d) }"
    )
    scale = {"s": np.float32(0.5), "z": np.uint8(3)}
    model = load(saved(tmp_path, model_proto(text, **scale)))
    assert model.quantization is not None
    with pytest.raises(InputError, match="quantized already, and keeps its codes"):
        taking_pixels(model, IMAGENET)
