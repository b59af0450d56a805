"""Small networks in canonical form, what was observed of them, and the law that scaling channels has to keep."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from host_tools.equalize.rewriting import rewritten
from host_tools.model import load
from host_tools.model.export import export_onnx
from host_tools.model.reference import FloatRunner
from host_tools.model.topology import named
from host_tools.observe.calibration_set import CalibrationSet
from host_tools.observe.observer import observe
from host_tools.progress import Silent
from tests.unit.host_tools.model.canonical_form import check_canonical
from tests.unit.host_tools.model.onnx_models import model_proto

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from host_tools.equalize.channels import Channels
    from host_tools.equalize.factors import Clips
    from host_tools.model import FloatModel
    from host_tools.observe.statistics import Statistics

    Float32 = NDArray[np.float32]
    Float64 = NDArray[np.float64]

TOLERANCE = 3e-5
"""Of the largest value of a tensor: every constant is rounded once more, and sums are added up in another order."""


def canonical(text: str, **constants: NDArray[np.generic]) -> FloatModel:
    """Load a graph in ONNX's textual form with its constants."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        path.write_bytes(model_proto(text, **constants).SerializeToString())
        return load(path)


def feeds_of(model: FloatModel, count: int = 3, seed: int = 0) -> list[dict[str, Float32]]:
    """Return normal samples."""
    rng = np.random.default_rng(seed)
    return [
        {spec.name: rng.normal(0.0, 2.0, spec.shape).astype(spec.dtype) for spec in model.inputs}
        for _ in range(count)
    ]


class Given:
    """A `SampleSource` of the samples that it is given."""

    where = "test"

    def __init__(self, feeds: Sequence[Mapping[str, Float32]]) -> None:
        self.feeds = feeds

    def __len__(self) -> int:
        return len(self.feeds)

    def samples(self) -> Iterator[tuple[str, Mapping[str, NDArray[np.generic]]]]:
        yield from ((str(index), feed) for index, feed in enumerate(self.feeds))

    def ids(self) -> Iterator[str]:
        yield from (str(index) for index in range(len(self.feeds)))

    def fingerprint(self, count: int) -> str | None:
        del count
        return None


def observe_all(model: FloatModel, feeds: Sequence[Mapping[str, Float32]]) -> Statistics:
    """Observe a model on samples."""
    data = CalibrationSet(Given(feeds), model.inputs)
    return observe(model, data, histograms=False, threads=1, progress=Silent())


def assert_law(
    model: FloatModel,
    channels: Channels,
    factors: Float64,
    feeds: Sequence[Mapping[str, Float32]],
    *,
    clips: Clips = "bounded",
) -> FloatModel:
    """Scale, then assert that every activation is what it was times its factors, so that outputs are what they were."""
    before = export_onnx(model)
    made, bounded = rewritten(model, channels, factors, clips=clips)
    assert export_onnx(model) == before
    check_canonical(export_onnx(made))
    assert (made.inputs, made.outputs) == (model.inputs, model.outputs)
    assert len(bounded) == len(set(bounded))
    inner = [name for name in channels.factors if name not in {spec.name for spec in model.inputs}]
    original, scaled = (FloatRunner(one, threads=1, extra_outputs=inner) for one in (model, made))
    for feed in feeds:
        expected, got = original.run(feed), scaled.run(feed)
        for name in [*(spec.name for spec in model.outputs), *inner]:
            assert_scaled(name, channels, factors, expected[name], got[name])
    return made


def assert_scaled(
    name: str, channels: Channels, factors: Float64, before: NDArray[np.generic], after: NDArray[np.generic]
) -> None:
    """Assert that a value is what it was, times its factors."""
    if name not in channels.factors:
        np.testing.assert_array_equal(after, before, err_msg=name)
        return
    shape = [1] * before.ndim
    if shape:
        shape[channels.axes[name]] = -1
    unscaled = after.astype(np.float64) / factors[channels.factors[name]].reshape(shape)
    worst = float(np.abs(unscaled - before).max(initial=0.0))
    assert worst <= TOLERANCE * max(1.0, float(np.abs(before).max(initial=0.0))), (name, worst)


def random_factors(channels: Channels, seed: int = 0, spread: float = 1.5) -> Float64:
    """Return any factors: the first is 1."""
    factors = np.exp(np.random.default_rng(seed).uniform(-spread, spread, channels.count))
    factors[0] = 1.0
    return factors


def op_types(model: FloatModel) -> list[str]:
    """Return the operators in order."""
    return [node.op_type for node in model.graph.graph]


def by_name(model: FloatModel) -> dict[str, NDArray[np.generic]]:
    """Return every initializer."""
    return {
        named(value): np.asarray(value.const_value.numpy())
        for value in model.graph.graph.initializers.values()
        if value.const_value is not None
    }
