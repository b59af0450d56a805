"""`observe`: exact against plain numpy, whatever the order, and resumable."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import resource
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from host_tools.errors import DataError, ModelError, OutputError
from host_tools.model import load
from host_tools.model.float_model import FloatModel
from host_tools.model.reference import FloatRunner
from host_tools.observe import CalibrationSet, open_data
from host_tools.observe.cache import StatisticsCache, statistics_of
from host_tools.observe.exact_sum import MAX_TERMS, ExactSums
from host_tools.observe.instrument import SUBSET_ELEMENTS, counted_elements
from host_tools.observe.observer import observe
from host_tools.observe.statistics import PEAKS, Statistics
from host_tools.observe.statistics_file import encode
from host_tools.progress import Silent
from tests.e2e.small_network import samples, write_network


def observed(
    model: FloatModel, path: Path, *, histograms: bool = True, checkpoint: Path | None = None
) -> Statistics:
    data = open_data(path, inputs=model.inputs)
    return observe(model, data, histograms=histograms, threads=1, progress=Silent(), checkpoint=checkpoint)


def every_tensor(model: FloatModel, arrays: np.ndarray) -> dict[str, np.ndarray]:
    """Run all samples and stack every float value: what observe must never need to hold."""
    names = tuple(value.name for node in model.graph.graph for value in node.outputs)
    runner = FloatRunner(model, threads=1, extra_outputs=names)
    runs = [runner.run({"images": array[np.newaxis]}) for array in arrays]
    stacked = {name: np.concatenate([run[name] for run in runs]) for name in names}
    return {"images": arrays, **stacked}


@given(
    channels=st.integers(1, 512),
    height=st.integers(1, 256),
    width=st.integers(1, 256),
)
@example(channels=32, height=112, width=112)
@example(channels=96, height=112, width=112)
def test_histograms_see_every_row_and_column_and_most_channels(
    channels: int, height: int, width: int
) -> None:
    """A step that shares a factor with the width would see the same few columns in every channel and every sample."""
    shape = (channels, height, width)
    elements = counted_elements(math.prod(shape))
    assert elements.size <= SUBSET_ELEMENTS
    assert (np.diff(elements) > 0).all()
    assert elements[-1] < math.prod(shape)
    for axis, extent in zip(np.unravel_index(elements, shape), shape, strict=True):
        counts = np.bincount(axis, minlength=extent)
        assert np.count_nonzero(counts) >= 0.9 * extent
        assert counts.max() <= 3 * elements.size / extent + 8


def test_ranges_are_those_of_numpy(model: FloatModel, data_file: Path) -> None:
    arrays = np.load(data_file)
    expected = every_tensor(model, arrays)
    statistics = observed(model, data_file)
    weighed = {
        node.inputs[0].name for node in model.graph.graph if node.op_type in ("Conv", "Gemm", "MatMul")
    }
    assert set(statistics.tensors) == set(expected)
    assert statistics.sample_count == len(arrays)
    for name, values in expected.items():
        seen = statistics.tensors[name]
        each = values.reshape(len(values), -1)
        channels = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)
        assert (seen.minimum, seen.maximum) == pytest.approx(
            (values.min(), values.max()), rel=1e-5, abs=1e-6
        ), name
        assert seen.mean_minimum == pytest.approx(
            each.min(axis=1).mean(dtype=np.float64), rel=1e-5, abs=1e-6
        ), name
        assert seen.mean_maximum == pytest.approx(
            each.max(axis=1).mean(dtype=np.float64), rel=1e-5, abs=1e-6
        ), name
        np.testing.assert_allclose(seen.channel_minimum, channels.min(axis=1), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(seen.channel_maximum, channels.max(axis=1), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(
            seen.channel_mean, channels.mean(axis=1, dtype=np.float64), rtol=1e-4, atol=1e-5
        )
        if name not in weighed:
            assert seen.channel_mean_square is None
            continue
        squares = np.square(channels, dtype=np.float64)
        np.testing.assert_allclose(seen.channel_mean_square, squares.mean(axis=1), rtol=1e-4)


def test_of_what_a_clip_reads_the_largest_values_of_samples_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "clipped.onnx"
    text = """<ir_version: 8, opset_import: ["" : 18]>
    g (float[1,3,4] images) => (float[1,3,4] y) <float low = {0}, float high = {6}> { a = Abs(images) y = Clip(a, low, high) }"""
    onnx.save(onnx.parser.parse_model(text), path)
    clipped = load(path)
    arrays = np.random.default_rng(3).normal(0, 4, (PEAKS + 30, 3, 4)).astype(np.float32)
    for count in (1, PEAKS, len(arrays)):
        np.save(tmp_path / "data.npy", arrays[:count])
        seen = observed(clipped, tmp_path / "data.npy").tensors
        assert seen["images"].channel_peaks is None
        assert seen["y"].channel_peaks is None
        maxima = np.abs(arrays[:count]).max(axis=2)
        np.testing.assert_array_equal(seen["a"].channel_peaks, -np.sort(-maxima, axis=0)[:PEAKS])


def test_small_tensors_are_counted_whole(model: FloatModel, data_file: Path) -> None:
    arrays = np.load(data_file)
    histogram = observed(model, data_file).tensors["images"].histogram
    assert histogram is not None
    assert histogram.share == 1.0
    bins, counts = np.unique(arrays.view(np.uint32) >> 16, return_counts=True)
    np.testing.assert_array_equal(histogram.bins, bins)
    np.testing.assert_array_equal(histogram.counts, counts)


def test_order_does_not_matter_to_the_bit(model: FloatModel, data_file: Path, tmp_path: Path) -> None:
    shuffled = tmp_path / "shuffled.npy"
    np.save(shuffled, np.random.default_rng(5).permutation(np.load(data_file)))
    assert encode(observed(model, data_file)) == encode(observed(model, shuffled))


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_do_not_matter_to_the_bit(model: FloatModel, data_file: Path, threads: int) -> None:
    data = open_data(data_file, inputs=model.inputs)
    told = observe(model, data, histograms=True, threads=threads, progress=Silent())
    assert encode(told) == encode(observed(model, data_file))


def test_observing_uses_no_more_memory_for_more_samples(model: FloatModel, tmp_path: Path) -> None:
    peaks = []
    for count in (40, 400):
        np.save(tmp_path / "data.npy", samples(count))
        data = open_data(tmp_path / "data.npy", inputs=model.inputs)
        tracemalloc.start()
        try:
            # One thread: of two it is chance how often both are at their peak. What they may hold is bounded in `test_parallel`.
            observe(model, data, histograms=True, threads=1, progress=Silent())
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 1.05 * peaks[0]


def test_every_rank_and_batch_is_reduced_along_its_channels(tmp_path: Path) -> None:
    """A batch of two, a clamp whose ranges are derived, vectors, a scalar: against numpy."""
    graph = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 18]> g (float[2,3,4,5] x, float[3] v, float s) => (float[2,3,4,5] y, float[3] u, float t, float[2,3] m)
        <float lo = {-0.5}, float hi = {0.5}, int64[2] axes = {2, 3}>
        { n = Neg(x) c = Clip(n, lo, hi) r = Relu(x) y = Add(c, r) u = Relu(v) t = Neg(s) m = ReduceMean<keepdims=0>(x, axes) }"""
    )
    (tmp_path / "ranks.onnx").write_bytes(graph.SerializeToString())
    rng = np.random.default_rng(0)
    feeds = {"x": rng.normal(size=(6, 2, 3, 4, 5)), "v": rng.normal(size=(6, 3)), "s": rng.normal(size=6)}
    np.savez(tmp_path / "data.npz", **{name: array.astype(np.float32) for name, array in feeds.items()})
    model = load(tmp_path / "ranks.onnx")
    data = open_data(tmp_path / "data.npz", inputs=model.inputs)
    statistics = observe(model, data, histograms=True, threads=1, progress=Silent())
    x = feeds["x"].astype(np.float32)
    clamped = np.clip(-x, -0.5, 0.5)
    positive = np.maximum(x, 0)
    expected = {
        "x": x,
        "n": -x,
        "c": clamped,
        "r": positive,
        "y": clamped + positive,
        "m": x.mean(axis=(3, 4)),
    }
    for name, values in expected.items():
        seen = statistics.tensors[name]
        channels = np.moveaxis(values, 2, 0).reshape(3, -1)
        assert seen.channel_axis == 1
        np.testing.assert_allclose(seen.channel_minimum, channels.min(axis=1), rtol=1e-6)
        np.testing.assert_allclose(seen.channel_maximum, channels.max(axis=1), rtol=1e-6)
        np.testing.assert_allclose(seen.channel_mean, channels.mean(axis=1), atol=1e-6)
        assert seen.histogram is not None
        assert seen.histogram.counts.sum() == values.size
    vector, scalar = statistics.tensors["u"], statistics.tensors["t"]
    np.testing.assert_allclose(vector.channel_maximum, np.maximum(feeds["v"], 0).max(axis=0), rtol=1e-6)
    assert (vector.channel_axis, scalar.channel_axis) == (0, None)
    assert scalar.channel_mean == pytest.approx([-feeds["s"].mean()], rel=1e-6)


def test_squares_beyond_float32_are_no_fault_of_the_sample(tmp_path: Path) -> None:
    """Ranges of 1e30 are finite, their squares are not; a vector is squared without being reduced."""
    graph = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 18]> g (float[1,2] x) => (float[1,2] y)
        <float[2,2] w = {1, 0, 0, 1}, float[2] b = {0, 0}> { y = Gemm<transB=1>(x, w, b) }"""
    )
    (tmp_path / "wide.onnx").write_bytes(graph.SerializeToString())
    np.save(tmp_path / "data.npy", np.array([[1e30, 3.0], [-1e30, 4.0]], np.float32))
    model = load(tmp_path / "wide.onnx")
    seen = observed(model, tmp_path / "data.npy", histograms=False).tensors["x"]
    np.testing.assert_allclose(seen.channel_mean_square, [np.finfo(np.float32).max, 12.5], rtol=1e-6)


def test_ranges_only_leave_histograms_out(model: FloatModel, data_file: Path) -> None:
    full, ranges = observed(model, data_file), observed(model, data_file, histograms=False)
    for name, tensor in ranges.tensors.items():
        assert tensor.histogram is None
        assert (tensor.minimum, tensor.maximum) == (full.tensors[name].minimum, full.tensors[name].maximum)


def test_a_tensor_that_overflows_is_named_with_its_sample(model: FloatModel, tmp_path: Path) -> None:
    path = tmp_path / "huge.npy"
    arrays = samples(3)
    arrays[1] = 3e38
    np.save(path, arrays)
    with pytest.raises(DataError, match=r"sample 1: tensor '.*' becomes NaN or infinite"):
        observed(model, path)


_CHILD = """
import sys, time
from pathlib import Path
import numpy as np
from host_tools.model import load
from host_tools.observe import open_data
from host_tools.observe import observer
from host_tools.progress import Silent

observer._CHECKPOINT_SECONDS = 0.0

class Slow(Silent):
    def step(self, count=1):
        print("step", flush=True)
        time.sleep(0.05)

model = load(sys.argv[1])
data = open_data(sys.argv[2], inputs=model.inputs)
observer.observe(model, data, histograms=True, threads=1, progress=Slow(), checkpoint=Path(sys.argv[3]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_pass_goes_on_with_the_same_result(
    tmp_path: Path, data_file: Path, number: signal.Signals
) -> None:
    path = write_network(tmp_path / "small.onnx")
    checkpoint = tmp_path / "cache" / "pass.checkpoint"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}
    command = [sys.executable, "-c", _CHILD, str(path), str(data_file), str(checkpoint)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as child:
        assert child.stdout is not None
        for _ in range(8):
            assert child.stdout.readline() == "step\n"
        child.send_signal(number)
        child.wait(30)
    assert checkpoint.is_file()
    assert list(checkpoint.parent.iterdir()) == [checkpoint]

    class Counting(Silent):
        titles: list[str]

        def stage(self, title: str, total: int | None) -> None:
            self.titles = [title]

    model, told = load(path), Counting()
    data = open_data(data_file, inputs=model.inputs)
    resumed = observe(model, data, histograms=True, threads=1, progress=told, checkpoint=checkpoint)
    assert "going on after" in told.titles[0]
    assert encode(resumed) == encode(observed(model, data_file))
    assert not checkpoint.exists()


def test_a_checkpoint_of_changed_data_is_refused(model: FloatModel, data_file: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "pass.checkpoint"

    class Interrupting(Silent):
        steps = 0

        def step(self, count: int = 1) -> None:
            self.steps += count
            if self.steps == 5:
                raise KeyboardInterrupt

    data = open_data(data_file, inputs=model.inputs)
    with pytest.raises(KeyboardInterrupt):
        observe(model, data, histograms=True, threads=1, progress=Interrupting(), checkpoint=checkpoint)
    changed = np.load(data_file)
    changed[2] += 1.0
    np.save(data_file, changed)
    with pytest.raises(DataError, match="not what it was when observing was interrupted"):
        observed(model, data_file, checkpoint=checkpoint)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04half"])
def test_a_damaged_checkpoint_begins_anew(
    model: FloatModel, data_file: Path, tmp_path: Path, content: bytes
) -> None:
    checkpoint = tmp_path / "pass.checkpoint"
    checkpoint.write_bytes(content)
    assert observed(model, data_file, checkpoint=checkpoint).sample_count == 20


@pytest.mark.parametrize(
    ("offset", "value", "what"),
    [(8, 1, "encrypted"), (10, 99, "packed in a way that nobody knows"), (6, 200, "of a newer version"), (46, 0x7F, "renamed")],
)  # fmt: skip
def test_a_checkpoint_with_a_damaged_directory_begins_anew(
    model: FloatModel, data_file: Path, tmp_path: Path, offset: int, value: int, what: str
) -> None:
    """Fields of the ZIP's directory, each of which makes `zipfile` raise another foreign error."""
    checkpoint = tmp_path / "pass.checkpoint"

    class Interrupting(Silent):
        def step(self, count: int = 1) -> None:
            raise KeyboardInterrupt

    data = open_data(data_file, inputs=model.inputs)
    with pytest.raises(KeyboardInterrupt):
        observe(model, data, histograms=False, threads=1, progress=Interrupting(), checkpoint=checkpoint)
    content = bytearray(checkpoint.read_bytes())
    content[content.index(b"PK\x01\x02") + offset] = value
    checkpoint.write_bytes(content)
    resumed = observed(model, data_file, histograms=False, checkpoint=checkpoint)
    assert encode(resumed) == encode(observed(model, data_file, histograms=False)), what


def test_more_samples_than_can_be_summed_exactly(model: FloatModel) -> None:
    class Endless:
        where = "endless"

        def __len__(self) -> int:
            return MAX_TERMS + 1

    data = CalibrationSet(Endless(), model.inputs)  # type: ignore[arg-type]  # it is refused before it is read
    with pytest.raises(DataError, match=rf"endless: {MAX_TERMS + 1} samples; at most {MAX_TERMS} can be"):
        observe(model, data, histograms=False, threads=1, progress=Silent())
    sums = ExactSums(1)
    sums.count = MAX_TERMS
    with pytest.raises(OverflowError, match=f"at most {MAX_TERMS} values"):
        sums.add(np.zeros(1, np.float32))


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let this process write no file larger than ``size`` bytes: as a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("obstacle", ["file", "full"])
def test_a_checkpoint_that_cannot_be_written_is_named(
    model: FloatModel, data_file: Path, tmp_path: Path, obstacle: str
) -> None:
    class Interrupting(Silent):
        def step(self, count: int = 1) -> None:
            raise KeyboardInterrupt

    (tmp_path / "file").write_text("in the way")
    checkpoint = tmp_path / ("file" if obstacle == "file" else "cache") / "pass.checkpoint"
    data = open_data(data_file, inputs=model.inputs)
    with (
        contextlib.nullcontext() if obstacle == "file" else largest_file(1000),
        pytest.raises(
            OutputError, match=r"pass\.checkpoint: (File exists|Not a directory|File too large)\."
        ) as said,
    ):
        observe(model, data, histograms=True, threads=1, progress=Interrupting(), checkpoint=checkpoint)
    assert said.value.hint == "Choose another --cache DIR."
    assert not list(tmp_path.glob("cache/.*")), "nothing half-written is left"


class Titles(Silent):
    """Remembers the stages."""

    def __init__(self) -> None:
        self.titles: list[str] = []

    def stage(self, title: str, total: int | None) -> None:
        self.titles.append(title)


def through_cache(
    model: FloatModel, path: Path, folder: Path, *, histograms: bool
) -> tuple[Statistics, list[str]]:
    told = Titles()
    data = open_data(path, inputs=model.inputs)
    statistics = statistics_of(
        model, data, histograms=histograms, threads=1, cache=StatisticsCache(folder), progress=told
    )
    return statistics, told.titles


def test_full_statistics_serve_where_ranges_are_enough(
    model: FloatModel, data_file: Path, tmp_path: Path
) -> None:
    first, told_first = through_cache(model, data_file, tmp_path / "cache", histograms=True)
    second, told_second = through_cache(model, data_file, tmp_path / "cache", histograms=False)
    assert (told_first, told_second) == (["Observing"], ["Statistics from the cache"])
    assert encode(first) == encode(second)


def test_ranges_do_not_serve_where_histograms_are_needed(
    model: FloatModel, data_file: Path, tmp_path: Path
) -> None:
    through_cache(model, data_file, tmp_path / "cache", histograms=False)
    assert through_cache(model, data_file, tmp_path / "cache", histograms=True)[1] == ["Observing"]


def test_other_data_are_observed_anew(model: FloatModel, data_file: Path, tmp_path: Path) -> None:
    through_cache(model, data_file, tmp_path / "cache", histograms=True)
    np.save(data_file, samples(20, seed=99))
    assert through_cache(model, data_file, tmp_path / "cache", histograms=True)[1] == ["Observing"]


def test_a_damaged_cache_file_counts_as_absent(model: FloatModel, data_file: Path, tmp_path: Path) -> None:
    through_cache(model, data_file, tmp_path / "cache", histograms=True)
    (cached,) = (tmp_path / "cache").glob("*.json")
    cached.write_bytes(cached.read_bytes()[:1000])
    assert through_cache(model, data_file, tmp_path / "cache", histograms=True)[1] == ["Observing"]


def test_a_cache_that_cannot_be_written_is_named(model: FloatModel, data_file: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="Choose another --cache"):
        through_cache(model, data_file, tmp_path / "file" / "cache", histograms=True)


def test_a_cache_on_a_full_disk_leaves_nothing_half_written(
    model: FloatModel, data_file: Path, tmp_path: Path
) -> None:
    with largest_file(1000), pytest.raises(OutputError, match=r"cache: File too large\. Choose another"):
        through_cache(model, data_file, tmp_path / "cache", histograms=True)
    assert not list((tmp_path / "cache").iterdir())


def test_without_a_home_a_cache_must_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert StatisticsCache(tmp_path).folder == tmp_path
    with pytest.raises(OutputError, match=r"Could not determine home directory.*--cache DIR"):
        StatisticsCache()


@pytest.mark.parametrize("name", ["SCHEMA_VERSION", "GATHERING"])
def test_statistics_gathered_another_way_are_never_taken_from_the_cache(
    model: FloatModel, data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What an older release kept means something else: its channels lay along other axes."""
    data = open_data(data_file, inputs=model.inputs)
    titles: list[str] = []

    class Titles(Silent):
        def stage(self, title: str, total: int | None) -> None:
            titles.append(title)

    def gather() -> None:
        cache = StatisticsCache(tmp_path)
        statistics_of(model, data, histograms=False, threads=1, cache=cache, progress=Titles())

    with monkeypatch.context() as older:
        older.setattr(f"host_tools.observe.cache.{name}", {"SCHEMA_VERSION": "2.0", "GATHERING": 3}[name])
        gather()
    gather()
    gather()
    assert titles == ["Observing", "Observing", "Statistics from the cache"]


def test_statistics_of_another_canonical_form_are_never_taken_from_the_cache(
    tmp_path: Path,
) -> None:
    """Another version may make another graph of the same file, whose values of the same names are others."""
    shape, cache = "float[1,4,2,2]", StatisticsCache(tmp_path / "cache")
    found = []
    for op_type in ("Sigmoid", "Tanh"):
        text = f'<ir_version: 8, opset_import: ["" : 18]> g ({shape} x) => ({shape} y) {{ z = {op_type}(x) y = Neg(z) }}'
        (tmp_path / "model.onnx").write_bytes(onnx.parser.parse_model(text).SerializeToString())
        model = dataclasses.replace(load(tmp_path / "model.onnx"), digest="sha256:" + "0" * 64)
        np.save(tmp_path / "data.npy", np.full((2, 4, 2, 2), -1.0, np.float32))
        data = open_data(tmp_path / "data.npy", inputs=model.inputs)
        found.append(statistics_of(model, data, histograms=False, threads=1, cache=cache, progress=Silent()))
    assert [one.tensors["z"].minimum < 0.0 for one in found] == [False, True]


def test_a_shape_that_is_not_the_one_that_comes_out_is_told(tmp_path: Path) -> None:
    text = '<ir_version: 8, opset_import: ["" : 18]> g (float[1,4,2,2] x) => (float[1,4,2,2] y) { z = Sqrt(x) y = Neg(z) }'
    (tmp_path / "model.onnx").write_bytes(onnx.parser.parse_model(text).SerializeToString())
    model = load(tmp_path / "model.onnx")
    inner = next(iter(model.graph.graph)).outputs[0]
    inner.shape = ir.Shape((1, 6, 2, 2))
    np.save(tmp_path / "data.npy", np.ones((2, 4, 2, 2), np.float32))
    with pytest.raises(ModelError, match=r"the model computes .* reduced values where its shapes say"):
        observed(model, tmp_path / "data.npy")
