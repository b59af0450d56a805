"""`observe`: one streaming pass over the calibration set. Memory does not grow with samples, and their order does not matter."""

from __future__ import annotations

import hashlib
import math
import os
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from host_tools.errors import DataError, ModelError, OutputError
from host_tools.model.reference import open_session, run_session
from host_tools.observe.exact_sum import MAX_TERMS, ExactSums
from host_tools.observe.far_samples import reach_of
from host_tools.observe.instrument import EXECUTION_ORDER, REDUCTIONS, instrument
from host_tools.observe.parallel import side_by_side
from host_tools.observe.statistics import (
    GATHERING,
    PEAKS,
    SCHEMA_VERSION,
    Histogram,
    Statistics,
    TensorStatistics,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from host_tools.model.float_model import FloatModel
    from host_tools.observe.calibration_set import CalibrationSet, Sample
    from host_tools.observe.instrument import InstrumentedModel, Observed
    from host_tools.progress import Progress

_Scalar = TypeVar("_Scalar", bound=np.generic)
_BINS: Final = 1 << 16
_BATCH: Final = 16
"""Samples whose subsets are counted together: counting touches every bin of every tensor once a batch."""
_CHECKPOINT_SECONDS: Final = 5.0
_CHECKPOINT_ARRAYS: Final = ("key", "digests", "minima", "maxima", "peaks", "sums", "filled", "counts")


def observe(
    model: FloatModel,
    data: CalibrationSet,
    *,
    histograms: bool,
    threads: int,
    progress: Progress,
    checkpoint: Path | None = None,
) -> Statistics:
    """Run the model once over the data and return what its tensors did.

    Args:
        model: The canonical float model.
        data: At least one sample.
        histograms: False gathers ranges only, which is quicker and enough for ``minmax`` and ``moving_average``.
        threads: How many samples are run side by side, one thread each; the result does not depend on it.
        progress: Told of every sample.
        checkpoint: File that holds the state every few seconds and when interrupted, and from which an interrupted
            pass goes on; removed at the end. None: no checkpoint.

    Raises:
        DataError: A sample cannot be read or fed, or makes a tensor NaN or infinite; the message names both. Or there are too many.
        ModelError: ONNX Runtime refuses the model.
        OutputError: The checkpoint cannot be written.
    """
    if len(data) > MAX_TERMS:
        raise DataError(
            f"{data.where}: {len(data)} samples; at most {MAX_TERMS} can be summed exactly.",
            hint="Use fewer samples.",
        )
    instrumented = instrument(model, histograms=histograms)
    # Two samples on a thread each are done sooner than one after the other on two threads.
    session = open_session(instrumented.content, threads=1, name=model.name, execution_order=EXECUTION_ORDER)
    state = _State(instrumented, histograms=histograms, where=data.where)
    store = None if checkpoint is None else _Checkpoint(checkpoint, model.digest, histograms=histograms)
    done = store.resume(state) if store is not None else ()
    progress.stage("Observing" if not done else f"Observing (going on after {len(done)} samples)", len(data))

    def run(index: int, sample: Sample) -> tuple[bytes, NDArray[np.generic] | None]:
        known = index < len(done)
        return sample.digest(), None if known else run_session(session, (REDUCTIONS,), sample.arrays)[0]

    try:
        with closing(side_by_side(data, run, workers=threads)) as results:
            for index, (sample, (digest, reductions)) in enumerate(results):
                if reductions is None:
                    _require_same(sample, digest, done[index], checkpoint)
                else:
                    state.add(sample, digest, reductions.astype(np.float32, copy=False).reshape(-1))
                    if store is not None:
                        store.save_now_and_then(state)
                progress.step()
    except KeyboardInterrupt:
        if store is not None:
            store.save(state)
        raise
    statistics = state.statistics(model.digest)
    if store is not None:
        store.remove()
    return statistics


def digest_of_samples(digests: list[bytes]) -> str:
    """Return the digest of a set of samples from theirs, whatever their order."""
    state = hashlib.sha256()
    for digest in sorted(digests):
        state.update(digest)
    return f"sha256:{state.hexdigest()}"


def _require_same(sample: Sample, digest: bytes, expected: bytes, checkpoint: Path | None) -> None:
    if digest != expected:
        raise DataError(
            f"sample {sample.id}: it is not what it was when observing was interrupted.",
            hint=f"Remove {checkpoint} to begin anew.",
        )


class _State:
    """Everything a pass has gathered; its arrays are all there is to a checkpoint."""

    def __init__(self, instrumented: InstrumentedModel, *, histograms: bool, where: str) -> None:
        self.tensors = instrumented.tensors
        self._where = where
        self._minima, self._maxima, self._means, self._squares = (
            np.concatenate([np.arange(part.start, part.stop) for part in parts])
            for parts in zip(
                *((one.minima, one.maxima, one.means, one.squares) for one in self.tensors), strict=True
            )
        )
        self._starts = np.cumsum([0, *(one.means.stop - one.means.start for one in self.tensors)])
        channels, count = int(self._starts[-1]), len(self.tensors)
        self.minima: NDArray[np.float32] = np.full(channels, np.inf, np.float32)
        self.maxima: NDArray[np.float32] = np.full(channels, -np.inf, np.float32)
        self._clipped = np.repeat([one.is_clipped for one in self.tensors], np.diff(self._starts))
        self.peaks: NDArray[np.float32] = np.full(
            (PEAKS, np.count_nonzero(self._clipped)), -np.inf, np.float32
        )
        # The mean of every channel, every tensor's smallest values, its largest, then sums of squares.
        self._square_starts = np.cumsum([0, *(one.squares.stop - one.squares.start for one in self.tensors)])
        self.sums = ExactSums(channels + self._squares.size + 2 * count)
        self.counts: NDArray[np.int64] | None = np.zeros((count, _BINS), np.int64) if histograms else None
        self.digests: list[bytes] = []
        width = self.tensors[-1].subset.stop if histograms else 0
        self._size = self.tensors[-1].subset.stop
        self._waiting: NDArray[np.uint16] = np.empty((_BATCH, width), np.uint16)
        self._waiting_count = 0

    def add(self, sample: Sample, digest: bytes, reductions: NDArray[np.float32]) -> None:
        """Take one sample's reductions, shape (everything,).

        Raises:
            DataError: A tensor is not finite.
            ModelError: The model computes other shapes than it states.
        """
        if reductions.size != self._size:
            raise ModelError(
                f"sample {sample.id}: the model computes {reductions.size} reduced values where its shapes say {self._size}: "
                "a shape that it states is not the one that ONNX Runtime computes.",
                hint="ONNX's shape inference is wrong for one of its operators: export it with another opset.",
            )
        minima, maxima, means = (reductions[at] for at in (self._minima, self._maxima, self._means))
        self._require_finite(sample, minima, maxima, means)
        np.minimum(self.minima, minima, out=self.minima)
        np.maximum(self.maxima, maxima, out=self.maxima)
        self._keep_peaks(maxima[self._clipped])
        lows = np.minimum.reduceat(minima, self._starts[:-1])
        highs = np.maximum.reduceat(maxima, self._starts[:-1])
        # Squares of numbers that float32 holds may be beyond it.
        squares = np.minimum(reductions[self._squares], np.finfo(np.float32).max)
        self.sums.add(np.concatenate((means, lows, highs, squares)))
        if self.counts is not None:
            # The upper half of a little-endian float32 is its second 16-bit word.
            self._waiting[self._waiting_count] = reductions.view(np.uint16)[1::2]
            self._waiting_count += 1
            if self._waiting_count == _BATCH:
                self.count_waiting()
        self.digests.append(digest)

    def _keep_peaks(self, maxima: NDArray[np.float32]) -> None:
        higher = np.flatnonzero(maxima > self.peaks[-1])  # soon only a few
        self.peaks[-1, higher] = maxima[higher]
        self.peaks[:, higher] = -np.sort(-self.peaks[:, higher], axis=0)

    def count_waiting(self) -> None:
        """Count the subsets that wait."""
        if self.counts is None or not self._waiting_count:
            return
        upper = self._waiting[: self._waiting_count]
        for index, tensor in enumerate(self.tensors):
            self.counts[index] += np.bincount(upper[:, tensor.subset].reshape(-1), minlength=_BINS)
        self._waiting_count = 0

    def statistics(self, model_digest: str) -> Statistics:
        """Return the result."""
        self.count_waiting()
        means = self.sums.means()
        return Statistics(
            model_digest=model_digest,
            data_digest=digest_of_samples(self.digests),
            sample_count=len(self.digests),
            tensors={
                tensor.name: self._tensor(index, tensor, means) for index, tensor in enumerate(self.tensors)
            },
        )

    def _channels(self, index: int) -> slice:
        return slice(int(self._starts[index]), int(self._starts[index + 1]))

    def _squares_of(self, index: int) -> slice:
        return slice(int(self._square_starts[index]), int(self._square_starts[index + 1]))

    def _peaks_of(self, channels: slice) -> NDArray[np.float32]:
        first = np.count_nonzero(self._clipped[: channels.start])
        return self.peaks[: len(self.digests), first : first + channels.stop - channels.start]

    def _tensor(self, index: int, tensor: Observed, means: NDArray[np.float64]) -> TensorStatistics:
        channels, total, count = self._channels(index), int(self._starts[-1]), len(self.tensors)
        minima, maxima = self.minima[channels], self.maxima[channels]
        squares = means[total + 2 * count :][self._squares_of(index)]
        elements = math.prod(tensor.shape) // (channels.stop - channels.start)
        return TensorStatistics(
            minimum=float(minima.min()),
            maximum=float(maxima.max()),
            mean_minimum=float(means[total + index]),
            mean_maximum=float(means[total + count + index]),
            channel_axis=tensor.channel_axis,
            channel_minimum=_frozen(minima.copy()),
            channel_maximum=_frozen(maxima.copy()),
            channel_mean=_frozen(means[channels].copy()),
            channel_mean_square=_frozen(squares / elements) if tensor.has_squares else None,
            histogram=None if self.counts is None else _histogram(self.counts[index], tensor),
            channel_peaks=_frozen(self._peaks_of(channels).copy()) if tensor.is_clipped else None,
        )

    def _require_finite(self, sample: Sample, *vectors: NDArray[np.float32]) -> None:
        # A mean is NaN or infinite whenever one element is; a minimum may hide a NaN.
        if all(np.isfinite(vector).all() for vector in vectors):
            return
        for index, tensor in enumerate(self.tensors):
            if not all(np.isfinite(vector[self._channels(index)]).all() for vector in vectors):
                raise DataError(
                    f"{self._where}: sample {sample.id}: tensor {tensor.name!r} becomes NaN or infinite; the sample's inputs: "
                    f"{reach_of(sample.arrays)}.",
                    hint="Mend the model or the preprocessing, or leave the sample out.",
                )


def _histogram(counts: NDArray[np.int64], tensor: Observed) -> Histogram:
    bins = np.flatnonzero(counts)
    size = math.prod(tensor.shape)
    return Histogram(
        bins=_frozen(bins.astype(np.uint16)),
        counts=_frozen(counts[bins]),
        share=(tensor.subset.stop - tensor.subset.start) / size,
    )


def _frozen(array: NDArray[_Scalar]) -> NDArray[_Scalar]:
    array.flags.writeable = False
    return array


class _Checkpoint:
    """A file with a pass's state, replaced as a whole."""

    def __init__(self, path: Path, model_digest: str, *, histograms: bool) -> None:
        self._path = path
        self._key = f"{SCHEMA_VERSION} {GATHERING} {model_digest} {histograms}"
        self._saved = time.monotonic()

    def resume(self, state: _State) -> tuple[bytes, ...]:
        """Fill ``state`` from the file and return the digests of the samples it has; none when there is no file of this pass."""
        try:
            with self._path.open("rb") as stream, np.load(stream, allow_pickle=False) as saved:
                arrays = {name: saved[name] for name in _CHECKPOINT_ARRAYS}
                if str(arrays["key"]) != self._key or arrays["minima"].shape != state.minima.shape:
                    return ()
        except Exception:  # noqa: BLE001 - of a damaged file zipfile and NumPy raise whatever they like
            return ()  # no checkpoint, or one that was never whole: begin anew
        digests = [row.tobytes() for row in arrays["digests"]]
        state.minima[:], state.maxima[:] = arrays["minima"], arrays["maxima"]
        state.peaks[:] = arrays["peaks"]
        state.sums.groups[:] = arrays["sums"]
        state.sums.count = len(digests)
        if state.counts is not None:
            state.counts[:] = 0
            state.counts.reshape(-1)[arrays["filled"]] = arrays["counts"]
        state.digests[:] = digests
        return tuple(digests)

    def save_now_and_then(self, state: _State) -> None:
        """Save when the last time is a few seconds ago."""
        if time.monotonic() - self._saved >= _CHECKPOINT_SECONDS:
            self.save(state)

    def save(self, state: _State) -> None:
        """Replace the file.

        Raises:
            OutputError: It cannot be written.
        """
        state.count_waiting()
        counts = np.zeros(0, np.int64) if state.counts is None else state.counts.reshape(-1)
        filled = np.flatnonzero(counts)
        partial = self._path.with_name(f".{self._path.name}.{os.getpid()}.partial")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as stream:
                np.savez(
                    stream,
                    key=np.array(self._key),
                    digests=np.frombuffer(b"".join(state.digests), np.uint8).reshape(-1, 32),
                    minima=state.minima,
                    maxima=state.maxima,
                    peaks=state.peaks,
                    sums=state.sums.groups,
                    filled=filled,
                    counts=counts[filled],
                )
            partial.replace(self._path)
        except OSError as error:
            with suppress(OSError):
                partial.unlink()
            raise OutputError(
                f"{self._path}: {error.strerror or error}.", hint="Choose another --cache DIR."
            ) from error
        self._saved = time.monotonic()

    def remove(self) -> None:
        """Remove the file, if it was ever written."""
        with suppress(OSError):
            self._path.unlink()
