"""``statistics.json``: `Statistics` as text and back, exactly."""

from __future__ import annotations

import base64
import binascii
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from host_tools.errors import StatisticsError
from host_tools.observe.statistics import SCHEMA_VERSION, Histogram, Statistics, TensorStatistics

if TYPE_CHECKING:
    from numpy.typing import NDArray


def encode(statistics: Statistics) -> bytes:
    """Return UTF-8 JSON with a final newline; the same bytes for equal statistics. Arrays are base64 of little-endian bytes."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "model_digest": statistics.model_digest,
        "data_digest": statistics.data_digest,
        "sample_count": statistics.sample_count,
        "tensors": {name: _tensor_document(tensor) for name, tensor in statistics.tensors.items()},
    }
    return (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def decode(data: bytes, *, where: str) -> Statistics:
    """Read statistics.

    Raises:
        StatisticsError: They are not statistics of a version that this release reads; the message names ``where`` and key.
    """
    try:
        document = json.loads(data)
        version = str(document["schema_version"])
        if version.split(".", maxsplit=1)[0] != SCHEMA_VERSION.split(".", maxsplit=1)[0]:
            raise StatisticsError(
                f"{where}: schema_version: expected {SCHEMA_VERSION.split('.', maxsplit=1)[0]}.x, got {version}.",
                hint="Observe anew with this release.",
            )
        return Statistics(
            model_digest=str(document["model_digest"]),
            data_digest=str(document["data_digest"]),
            sample_count=_count(document["sample_count"]),
            tensors={str(name): _tensor(fields) for name, fields in document["tensors"].items()},
        )
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        OverflowError,
        RecursionError,
        binascii.Error,
    ) as error:
        raise StatisticsError(
            f"{where}: not statistics: {type(error).__name__}: {error}.", hint="Observe anew."
        ) from error


def _tensor_document(tensor: TensorStatistics) -> dict[str, object]:
    histogram = tensor.histogram
    return {
        "minimum": tensor.minimum,
        "maximum": tensor.maximum,
        "mean_minimum": tensor.mean_minimum,
        "mean_maximum": tensor.mean_maximum,
        "channel_axis": tensor.channel_axis,
        "channel_minimum": _text(tensor.channel_minimum, "<f4"),
        "channel_maximum": _text(tensor.channel_maximum, "<f4"),
        "channel_mean": _text(tensor.channel_mean, "<f8"),
        "channel_mean_square": None
        if tensor.channel_mean_square is None
        else _text(tensor.channel_mean_square, "<f8"),
        "histogram": None
        if histogram is None
        else {
            "bins": _text(histogram.bins, "<u2"),
            "counts": _text(histogram.counts, "<i8"),
            "share": histogram.share,
        },
        "channel_peaks": None if tensor.channel_peaks is None else _text(tensor.channel_peaks, "<f4"),
    }


def _tensor(fields: Any) -> TensorStatistics:
    histogram = fields["histogram"]
    axis, squares = fields["channel_axis"], fields["channel_mean_square"]
    maximum, peaks = _array(fields["channel_maximum"], "<f4"), fields.get("channel_peaks")
    return TensorStatistics(
        minimum=_finite(fields["minimum"]),
        maximum=_finite(fields["maximum"]),
        mean_minimum=_finite(fields["mean_minimum"]),
        mean_maximum=_finite(fields["mean_maximum"]),
        channel_axis=None if axis is None else _count(axis),
        channel_minimum=_array(fields["channel_minimum"], "<f4"),
        channel_maximum=maximum,
        channel_mean=_array(fields["channel_mean"], "<f8"),
        channel_mean_square=None if squares is None else _array(squares, "<f8"),
        histogram=None if histogram is None else _histogram(histogram),
        channel_peaks=None if peaks is None else _peaks(peaks, channels=maximum.size),
    )


def _peaks(text: Any, *, channels: int) -> NDArray[np.float32]:
    peaks: NDArray[np.float32] = _array(text, "<f4").reshape(-1, channels)
    if not len(peaks):
        raise ValueError("channel_peaks: expected those of one sample at least")
    return peaks


def _histogram(fields: Any) -> Histogram:
    bins, counts, share = (
        _array(fields["bins"], "<u2"),
        _array(fields["counts"], "<i8"),
        _finite(fields["share"]),
    )
    if len(bins) != len(counts) or (np.diff(bins.astype(np.int64)) <= 0).any() or (counts <= 0).any():
        raise ValueError("histogram: expected rising bins and as many positive counts")
    if not 0.0 < share <= 1.0:
        raise ValueError(f"histogram: share: expected a number above 0 and at most 1, got {share}")
    return Histogram(bins=bins, counts=counts, share=share)


def _text(array: NDArray[np.generic], dtype: str) -> str:
    return base64.b64encode(array.astype(dtype).tobytes()).decode()


def _array(text: Any, dtype: str) -> NDArray[Any]:
    array = np.frombuffer(base64.b64decode(text, validate=True), dtype)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError("expected finite numbers")
    return array


def _finite(value: Any) -> float:
    number = float(value)
    if isinstance(value, (bool, str)) or not math.isfinite(number):
        raise ValueError(f"expected a finite number, got {value!r}")
    return number


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"expected a whole number of at least 0, got {value!r}")
    return value
