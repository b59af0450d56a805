"""A transformer block whose features have outliers, as trained ones do, on ONNX Runtime: what seeing each feature is worth."""

from __future__ import annotations

import numpy as np
import pytest

from device_agent.engines.onnxruntime_library import onnxruntime as ort
from host_tools.equalize.channels import channels_of
from host_tools.lower.lowering import lower
from host_tools.model.reference import FloatRunner
from host_tools.model.topology import network_of
from host_tools.observe.cache import StatisticsCache
from host_tools.observe.calibration_set import CalibrationSet
from host_tools.observe.observer import observe
from host_tools.plan.planner import plan
from host_tools.progress import Silent
from host_tools.recipe import Recipe
from host_tools.stages import Yardstick, prepare
from targets import catalog
from tests.unit.host_tools.equalize.networks import Given, canonical

TOKENS, WIDTH, HEADS = 12, 16, 2
OUTLIERS = (3, 11)
BLOCK = """block (float[1,12,16] x) => (float[1,12,16] y) {
    n = LayerNormalization<axis=-1>(x, scale, shift)
    q = MatMul(n, wq) k = MatMul(n, wk) v = MatMul(n, wv)
    qb = Add(q, bq) kb = Add(k, bk) vb = Add(v, bv)
    qh = Reshape(qb, heads) kh = Reshape(kb, heads) vh = Reshape(vb, heads)
    qt = Transpose<perm=[0,2,1,3]>(qh) kt = Transpose<perm=[0,2,3,1]>(kh) vt = Transpose<perm=[0,2,1,3]>(vh)
    s = MatMul(qt, kt) d = Mul(s, root) p = Softmax<axis=-1>(d) m = MatMul(p, vt)
    mt = Transpose<perm=[0,2,1,3]>(m) mh = Reshape(mt, joined)
    o = MatMul(mh, wo) ob = Add(o, bo) r = Add(ob, x)
    n2 = LayerNormalization<axis=-1>(r, scale2, shift2)
    u = MatMul(n2, up) ub = Add(u, bu) g = Relu(ub)
    w = MatMul(g, down) wb = Add(w, bd) y = Add(wb, r)
}"""


def block():
    """Return the block; two features leave both normalizations forty times as large as the others."""
    rng = np.random.default_rng(2)

    def normal(*shape: int, size: float = 1.0) -> np.ndarray:
        return (rng.normal(0, size, shape) / np.sqrt(shape[0])).astype(np.float32)

    scale = np.ones(WIDTH, np.float32)
    scale[list(OUTLIERS)] = 40.0
    reads = 1.0 / scale[:, np.newaxis]  # training keeps what an outlier feature does small
    weights = {name: normal(WIDTH, WIDTH) * reads for name in ("wq", "wk", "wv")}
    up, down = normal(WIDTH, 4 * WIDTH) * reads, normal(4 * WIDTH, WIDTH)
    return canonical(
        BLOCK,
        **{name: array.astype(np.float32) for name, array in weights.items()},
        **{name: normal(WIDTH, size=0.2) for name in ("bq", "bk", "bv", "bo", "bd", "shift", "shift2")},
        scale=scale,
        scale2=scale,
        up=up.astype(np.float32),
        down=down,
        bu=normal(4 * WIDTH, size=0.2),
        wo=normal(WIDTH, WIDTH),
        root=np.float32(1 / np.sqrt(WIDTH // HEADS)),
        heads=np.asarray([1, TOKENS, HEADS, WIDTH // HEADS], np.int64),
        joined=np.asarray([1, TOKENS, WIDTH], np.int64),
    )


def sentences(count: int, seed: int = 0) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [{"x": rng.normal(0, 1, (1, TOKENS, WIDTH)).astype(np.float32)} for _ in range(count)]


def decibels(model, planned, profile, feeds) -> float:
    """Return the SQNR of the deployable file on ONNX Runtime against the float model, on samples that calibration did not see."""
    (content,) = lower(model, planned, profile).files.values()
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    exact = FloatRunner(model, threads=1)
    signal = noise = 0.0
    for feed in feeds:
        expected = exact.run(feed)["y"].astype(np.float64)
        (found,) = session.run(["y"], feed)
        signal += float(np.square(expected).sum())
        noise += float(np.square(found - expected).sum())
    return 10 * np.log10(signal / noise)


@pytest.mark.parametrize("target", ["generic-per-tensor-symmetric", "x86_64-onnxruntime"])
def test_outlier_features_no_longer_cost_the_others_their_codes(target: str, tmp_path) -> None:
    model, profile = block(), catalog.load(target)
    data = CalibrationSet(Given(sentences(24)), model.inputs)
    statistics = observe(model, data, histograms=True, threads=1, progress=Silent())
    seen = statistics.tensors["n"]
    assert seen.channel_axis == 2
    others = np.delete(seen.channel_maximum, OUTLIERS)
    assert seen.channel_maximum[list(OUTLIERS)].min() > 10 * others.max()
    channels = channels_of(network_of(model.graph))
    assert channels.is_free("n")
    assert channels.is_free("g")
    plain = plan(model, statistics, profile, Recipe())
    found = prepare(
        model,
        statistics,
        profile,
        Recipe(equalization=True, reconstruction=False),
        data,
        Yardstick(model, data, threads=1),
        threads=1,
        cache=StatisticsCache(tmp_path),
        progress=Silent(),
    )
    fresh = sentences(16, seed=9)
    before = decibels(model, plain, profile, fresh)
    after = decibels(found.model, found.plan, profile, fresh)
    assert after > before + 6.0
    stage = found.stages[1]
    assert (stage.name, stage.is_kept) == ("equalization", True)
