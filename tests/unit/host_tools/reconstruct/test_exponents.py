"""Exponents of weights move where the outputs are better for it, and stay where they are not or where the target forbids it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from host_tools.plan.check import check
from host_tools.plan.plan_file import encode
from host_tools.progress import Silent
from host_tools.reconstruct import reconstruct
from host_tools.reconstruct.checkpoint import Checkpoint, key_of
from tests.unit.host_tools.model.onnx_models import model_proto
from tests.unit.host_tools.reconstruct.hard_networks import changed, hard, pictures, spread

NETWORK = """net (float[1,4,12,12] x) => (float[1,6,12,12] y) {
    c = Conv (x, w, b)
    y = Conv <pads = [1,1,1,1]> (c, v, d)
}"""


def outlying(folder, profile, *, bias: float = 0.1):
    """Plan a network whose largest weights are multiplied with next to nothing."""
    weights = spread(6, 1.5, w=(6, 4, 1, 1), b=(6,), v=(6, 6, 3, 3), d=(6,))
    weights["w"] = np.clip(weights["w"], -1.6, 1.6)
    weights["w"][:, 3] = 2.2
    weights["b"][:] = bias
    samples = pictures(128, shape=(4, 12, 12))
    samples[:, 3] *= 0.002
    return hard(folder, model_proto(NETWORK, **weights), profile, samples=samples)


def reconstructed(network, **more):
    return reconstruct(
        network.model, network.plan, network.profile, network.data, threads=1, progress=Silent(), **more
    )


def scale(plan, name: str) -> float:
    return plan.tensors[name].qparams.scale


FOUR_BITS = changed("generic-power-of-two", weights={"bits": 4})


def test_weights_that_hardly_matter_are_clipped(tmp_path):
    network = outlying(tmp_path, FOUR_BITS)
    plan = reconstructed(network)
    check(plan, network.model, network.profile)
    (before,), (after,) = scale(network.plan, "w"), scale(plan, "w")
    assert after == before / 2
    assert scale(plan, "b") == (scale(network.plan, "b")[0] / 2,)
    assert "1 of 1 scales too" in plan.tensors["w"].reason
    assert np.log2(after) == int(np.log2(after))


def test_channels_have_exponents_of_their_own(tmp_path):
    profile = changed("generic-power-of-two", weights={"bits": 4, "per_channel_ops": frozenset({"Conv"})})
    network = outlying(tmp_path, profile)
    plan = reconstructed(network)
    check(plan, network.model, network.profile)
    factors = np.asarray(scale(plan, "w")) / scale(network.plan, "w")
    assert len(factors) == 6
    assert set(factors) <= {0.5, 1.0, 2.0}
    assert (factors == 0.5).any()
    assert (np.asarray(scale(plan, "b")) / scale(network.plan, "b") == factors).all()


def test_a_bias_that_would_not_fit_forbids_it(tmp_path):
    profile = changed("generic-power-of-two", weights={"bits": 4}, bias={"bits": 20})
    limit = 2.0**18
    free = outlying(tmp_path, profile)
    largest = scale(free.plan, "b")[0] * limit
    full = outlying(tmp_path, profile, bias=0.9 * largest)
    assert scale(full.plan, "b") == scale(free.plan, "b")
    assert scale(reconstructed(free), "w") != scale(free.plan, "w")
    plan = reconstructed(full)
    check(plan, full.model, full.profile)
    assert scale(plan, "w")[0] >= scale(full.plan, "w")[0]


def test_a_float_bias_forbids_it_as_well(tmp_path):
    """An engine that stands in keeps it as an integer of 32 bits."""
    profile = changed(
        "generic-power-of-two",
        weights={"bits": 4, "per_channel_ops": frozenset({"Conv"})},
        bias={"quantized": False, "bits": 20},
    )
    free = outlying(tmp_path, profile)
    read = free.plan.tensors["x"].qparams.scale[0]
    steps = read * np.asarray(scale(free.plan, "w"))
    assert (np.asarray(scale(reconstructed(free), "w")) < scale(free.plan, "w")).any()
    full = outlying(tmp_path, profile, bias=0.9 * steps.min() * 2.0**18)
    assert scale(full.plan, "w") == scale(free.plan, "w")
    plan = reconstructed(full)
    check(plan, full.model, full.profile)
    assert (np.abs(0.9 * steps.min() * 2.0**18) <= 2.0**18 * read * np.asarray(scale(plan, "w"))).all()


@pytest.mark.parametrize("ratio", [(0.0, 1e9), None])
def test_a_rescale_factor_that_is_not_legal_forbids_it(tmp_path, ratio):
    network = outlying(tmp_path, FOUR_BITS)
    read, written = (scale(network.plan, name)[0] for name in ("x", "c"))
    factor = read * scale(network.plan, "w")[0] / written
    limits = ratio or (0.75 * factor, 1e9)
    ops = {**FOUR_BITS.ops, "Conv": replace(FOUR_BITS.ops["Conv"], requantization_ratio=limits)}
    plan = reconstructed(replace(network, profile=replace(FOUR_BITS, ops=ops)))
    is_halved = scale(plan, "w")[0] == scale(network.plan, "w")[0] / 2
    assert is_halved == (ratio is not None)


def test_other_scales_stay(tmp_path):
    network = outlying(tmp_path, changed(weights={"bits": 4}))
    assert scale(reconstructed(network), "w") == scale(network.plan, "w")


def test_a_checkpoint_keeps_them(tmp_path):
    class Interrupted(Silent):
        def step(self, count: int = 1) -> None:
            raise KeyboardInterrupt

    network = outlying(tmp_path, FOUR_BITS)
    checkpoint = Checkpoint(tmp_path / "cache", key_of(network.plan, network.data))
    with pytest.raises(KeyboardInterrupt):
        reconstruct(
            network.model,
            network.plan,
            network.profile,
            network.data,
            threads=1,
            progress=Interrupted(),
            checkpoint=checkpoint,
        )
    kept = checkpoint.find("Conv_c")
    assert kept is not None
    assert kept["scales"] == scale(network.plan, "w")[0] / 2
    assert encode(reconstructed(network, checkpoint=checkpoint)) == encode(reconstructed(network))
