"""What the table of known differences says of LiteRT's kernels, computed: then the codes are the kernels' own, all of them."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from device_agent.engines import tflite as tflite_engine
from device_agent.sources.adapt import to_payload, to_source
from host_tools.lower.lowering import lower
from host_tools.plan.fusion import bounds_of
from targets import catalog
from tests.unit.host_tools.lower.lowering_cases import Case
from tests.unit.host_tools.simulate.parity import load_built_in, planned
from tests.unit.host_tools.simulate.single_operators import OPERATORS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from device_agent.engines.engine import EngineLoader
    from tests.unit.host_tools.simulate.parity import Planned

    Int64 = NDArray[np.int64]


def runs(case_of: object, load: EngineLoader) -> Iterator[tuple[Planned, dict[str, Int64], Int64]]:
    """Yield network, input numbers (codes less zero point) and output codes of an engine, for several networks and samples."""
    for seed in range(6):
        rng = np.random.default_rng([zlib.crc32(str(case_of).encode()), seed])
        case = case_of if isinstance(case_of, Case) else OPERATORS[str(case_of)](rng)
        made = planned(case, catalog.load("cortex-a-tflite"))
        payload = lower(made.model, made.plan, made.profile)
        engine = load(payload.files, threads=1)
        for sample in made.samples(rng, 2):
            numbers = {
                name: np.rint(array / made.plan.tensors[name].qparams.scale[0]).astype(np.int64)
                for name, array in sample.items()
            }
            found = to_source(engine.infer(to_payload(sample, payload.inputs)), payload.outputs)["y"]
            yield made, numbers, _codes(found, made, "y")
        engine.close()


def _codes(real: NDArray[np.floating], made: Planned, name: str) -> Int64:
    qparams = made.plan.tensors[name].qparams
    return (np.rint(real / qparams.scale[0]) + qparams.zero_point[0]).astype(np.int64)


def _scale(made: Planned, name: str, channel: int = 0) -> float:
    return float(np.float32(made.plan.tensors[name].qparams.scale[channel]))


def _zero(made: Planned, name: str) -> int:
    return made.plan.tensors[name].qparams.zero_point[0]


def rounded_twice(sums: Int64, factor: float) -> Int64:
    """Return sums times a factor of 31 bits, rounded to where its exponent begins, shifted, and rounded again; both half up."""
    mantissa, exponent = math.frexp(factor)
    fixed = math.floor(mantissa * 2**31 + 0.5)
    high = ((sums << max(exponent, 0)) * fixed + (1 << 30)) >> 31
    shift = max(-exponent, 0)
    return (high + ((1 << shift) >> 1)) >> shift


@pytest.mark.parametrize("operator", ["Relu", "Clip", "LeakyRelu"])
def test_xnnpack_multiplies_by_a_factor_of_eight_bits(operator: str) -> None:
    for made, numbers, found in runs(operator, tflite_engine.load):
        (node,) = made.model.graph.graph
        ratio = np.float32(_scale(made, "x")) / np.float32(_scale(made, "y"))
        below = ratio * np.float32(node.attributes.get_float("alpha", 1.0))
        factor = np.where(numbers["x"] < 0, np.rint(256 * below), np.rint(256 * ratio)).astype(np.int64)
        codes = np.clip((numbers["x"] * factor + 128 >> 8) + _zero(made, "y"), -128, 127)
        bounds = bounds_of(node)
        if bounds is not None:
            ends = np.rint(np.asarray(bounds) / _scale(made, "y")) + _zero(made, "y")
            codes = np.clip(codes, *np.clip(ends, -128, 127))
        assert (found == codes).all()


def test_the_built_in_gemm_rounds_twice() -> None:
    for made, numbers, found in runs("Gemm", load_built_in):
        graph = made.model.graph.graph
        weight, bias = made.plan.tensors["w"].qparams, made.plan.tensors["b"]
        values = graph.initializers["w"].const_value.numpy().astype(np.float64)
        rows = np.rint(values / np.reshape(weight.scale, (-1, 1))).astype(np.int64)
        reals = graph.initializers["b"].const_value.numpy() if bias.values is None else bias.values
        biases = np.rint(np.asarray(reals, np.float32) / np.asarray(bias.qparams.scale)).astype(np.int64)
        sums = numbers["x"] @ rows.T + biases
        scale = _scale(made, "x") / _scale(made, "y")
        columns = [
            rounded_twice(sums[:, row], scale * _scale(made, "w", row)) for row in range(rows.shape[0])
        ]
        lowest = _zero(made, "y") if len(graph) > 1 else -128  # with a Relu
        assert (found == np.clip(np.stack(columns, 1) + _zero(made, "y"), lowest, 127)).all()


def test_the_built_in_mean_rounds_the_zero_point_by_itself() -> None:
    for made, numbers, found in runs("GlobalAveragePool", load_built_in):
        stored = numbers["x"] + _zero(made, "x")
        scale = _scale(made, "x") / _scale(made, "y")
        mean = rounded_twice(stored.sum(axis=(2, 3), keepdims=True), scale / math.prod(stored.shape[2:]))
        codes = mean - round(_zero(made, "x") * scale) + _zero(made, "y")
        assert (found == np.clip(codes, -128, 127)).all()


@pytest.mark.parametrize("load", [load_built_in, tflite_engine.load], ids=["built-in", "XNNPACK"])
def test_an_average_pool_rounds_away_from_code_zero(load: EngineLoader) -> None:
    text = (
        "net (float[1,4,12,12] x) => (float[1,4,6,6] y)"
        " { y = AveragePool <kernel_shape = [2,2], strides = [2,2]> (x) }"
    )
    for made, numbers, found in runs(Case("pool", text, {}), load):
        stored = numbers["x"] + _zero(made, "x")
        sums = stored.reshape(1, 4, 6, 2, 6, 2).sum(axis=(3, 5))
        assert (found == np.sign(sums) * ((np.abs(sums) + 2) // 4)).all()
