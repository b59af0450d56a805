"""The fast way from a payload to its rows, for the messages that come by the thousand. It only ever says yes.

`fast_rows` takes what agents of this version write, compact and in ASCII, and gives the rows that `rows_of` would give of
what the contract reads. Whatever else comes it leaves to the contract, which is the judge and explains a refusal; a test
holds the two against each other. What typed decoding lets pass and the contract does not, it rules out by other means:

* A key that stands twice: the number of ``":`` is that of the keys that were decoded, where no text holds a
  backslash and no blank stands before a colon.
* ``1.0`` where an integer is due: numbers are decoded as integer or float, and a float among them makes their sum one.
* Integers beyond 64 bits: numbers beyond 1e18 are left to the contract.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from device_agent.contract.fields import MAX_TEXT
from device_agent.contract.telemetry import units
from device_agent.contract.telemetry.bounds import (
    COUNT_MAX,
    MAX_BUCKETS,
    MAX_INPUTS,
    MAX_OUTPUTS,
    MAX_READINGS,
    MAX_VALUES,
)
from device_agent.contract.telemetry.codec import MAX_MESSAGE_BYTES
from device_agent.contract.telemetry.measurements import INPUT_BUCKETS
from device_agent.contract.telemetry.writing import TIME_MAX
from host_tools.review.ingest.rows import (
    SYSTEM_LATER,
    SYSTEM_NAMES,
    SYSTEM_SOURCE,
    Row,
    Rows,
    sketch_row,
    system_quality,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST = 1e18
_LARGEST_INDEX = 999_999_999
_KNOWN_MOST = 65536

_Amount = Annotated[float, Meta(ge=0.0, le=_MOST)]
_Real = Annotated[float, Meta(ge=-_MOST, le=_MOST)]
_Count = Annotated[int, Meta(ge=0, le=COUNT_MAX)] | float
"""An integer; a float is let through by type, so that it can be told apart."""
_Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)]
_Absent = Annotated[dict[str, _Text], Meta(max_length=MAX_READINGS)]


class _Envelope(Struct, forbid_unknown_fields=True):
    schema_version: Literal["1.0", "1.1", "1.2"]
    time: Annotated[float, Meta(ge=0.0, le=TIME_MAX)]
    boot_id: str
    seq: _Count
    uptime_seconds: _Amount
    clock: Literal["synced", "unsynced", "floor"]
    artifact: str | None


_Buckets = dict[int, Annotated[int, Meta(ge=1, le=COUNT_MAX)] | float]


class _Hist(Struct, forbid_unknown_fields=True):
    scale: Annotated[int, Meta(ge=-10, le=20)] | float
    zero_count: _Count
    counts: Annotated[
        dict[int, Annotated[int, Meta(ge=1, le=COUNT_MAX)] | float], Meta(max_length=MAX_BUCKETS)
    ]


class _Inference(_Envelope):
    window_seconds: Annotated[float, Meta(gt=0.0, le=_MOST)]
    inferences_total: _Count
    errors_total: _Count
    dropped_frames_total: _Count
    latency_count: _Count
    latency_sum_seconds: _Amount
    hist: _Hist
    absent: _Absent
    throughput_per_second: _Amount | UnsetType = UNSET
    latency_min_seconds: _Amount | UnsetType = UNSET
    latency_max_seconds: _Amount | UnsetType = UNSET
    latency_p50_seconds: _Amount | UnsetType = UNSET
    latency_p90_seconds: _Amount | UnsetType = UNSET
    latency_p95_seconds: _Amount | UnsetType = UNSET
    latency_p99_seconds: _Amount | UnsetType = UNSET
    model: str | UnsetType = UNSET
    variant: Literal["a", "b"] | UnsetType = UNSET


class _Sketch(Struct, forbid_unknown_fields=True):
    name: _Text
    value_count: _Count
    mean: _Real
    deviation: _Amount
    minimum: _Real
    maximum: _Real
    saturated_ratio: Annotated[float, Meta(ge=0.0, le=1.0)] | None
    zero_count: _Count
    negative: _Buckets
    positive: _Buckets


class _InputWindow(_Envelope):
    frame_count: _Count
    inputs: Annotated[list[_Sketch], Meta(min_length=1, max_length=MAX_INPUTS)]
    absent: _Absent
    model: str | UnsetType = UNSET
    variant: Literal["a", "b"] | UnsetType = UNSET


class _System(_Envelope):
    absent: _Absent
    cpu_ratio: _Amount | UnsetType = UNSET
    process_cpu_ratio: _Amount | UnsetType = UNSET
    process_rss_bytes: _Count | UnsetType = UNSET
    process_pss_bytes: _Count | UnsetType = UNSET
    memory_available_bytes: _Count | UnsetType = UNSET
    memory_total_bytes: _Count | UnsetType = UNSET
    swap_used_bytes: _Count | UnsetType = UNSET
    load_1m: _Amount | UnsetType = UNSET
    cpu_frequency_hertz: _Amount | UnsetType = UNSET
    storage_available_bytes: _Count | UnsetType = UNSET
    spool_messages: _Count | UnsetType = UNSET
    spool_bytes: _Count | UnsetType = UNSET
    spool_dropped_total: _Count | UnsetType = UNSET
    cpu_pressure_ratio: _Amount | UnsetType = UNSET
    memory_pressure_ratio: _Amount | UnsetType = UNSET
    io_pressure_ratio: _Amount | UnsetType = UNSET


class _Source(Struct, forbid_unknown_fields=True):
    source: _Text
    scope: _Text
    quality: Literal["counter", "sampled", "estimated", "unavailable"]


class _Sensors(_Envelope, forbid_unknown_fields=False):  # the readings' names are the machine's
    sources: Annotated[dict[str, _Source], Meta(max_length=MAX_READINGS)]
    absent: _Absent


class _TopK(Struct, forbid_unknown_fields=True, tag_field="form", tag="top_k"):
    name: _Text
    shape: Annotated[list[Annotated[int, Meta(ge=1, le=COUNT_MAX)] | float], Meta(max_length=8)]
    indices: Annotated[list[_Count], Meta(min_length=1, max_length=MAX_VALUES)]
    values: Annotated[list[_Real], Meta(min_length=1, max_length=MAX_VALUES)]


class _Result(_Envelope):
    frame: _Text
    latency_seconds: _Amount
    outputs: Annotated[list[_TopK], Meta(max_length=MAX_OUTPUTS)]  # the other forms are rare
    model: str | UnsetType = UNSET
    variant: Literal["a", "b"] | UnsetType = UNSET


_ENVELOPE_KEYS = 7
_INFERENCE_KEYS = _ENVELOPE_KEYS + 8 + 3
_SKETCH_KEYS = len(_Sketch.__struct_fields__)
_LATENCIES = tuple(f"latency_{part}_seconds" for part in ("min", "max", "p50", "p90", "p95", "p99"))
_INFERENCE_OPTIONAL = ("throughput_per_second", *_LATENCIES)
_SYSTEM_COUNTS = tuple(name for name in SYSTEM_NAMES if name.endswith(("_bytes", "_total", "_messages")))
_SYSTEM_ROWS = tuple((name, system_quality(name)) for name in SYSTEM_NAMES)
_INPUT_BUCKETS = frozenset(INPUT_BUCKETS)
_RESERVED = frozenset({"sources", "absent", *_Envelope.__struct_fields__})

_INFERENCE = msgspec.json.Decoder(_Inference)
_INPUT = msgspec.json.Decoder(_InputWindow)
_SYSTEM = msgspec.json.Decoder(_System)
_SENSORS = msgspec.json.Decoder(_Sensors)
_ANYTHING = msgspec.json.Decoder(dict[str, object])
_RESULT = msgspec.json.Decoder(_Result)


class _Known:
    """What was found good before: ids and names come again and again."""

    def __init__(self, is_good: Callable[[str], bool]) -> None:
        self._is_good = is_good
        self._known: set[str] = set()

    def __contains__(self, text: str) -> bool:
        if text in self._known:
            return True
        if not self._is_good(text):
            return False
        if len(self._known) >= _KNOWN_MOST:
            self._known.clear()
        self._known.add(text)
        return True


_BOOT_IDS = _Known(lambda text: re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text) is not None)
_MODELS = _Known(lambda text: re.fullmatch(r"[a-z][a-z0-9_]{0,63}", text) is not None)
_DIGESTS = _Known(lambda text: re.fullmatch(r"sha256:[0-9a-f]{64}", text) is not None)
_READING_NAMES = _Known(lambda text: units.has_unit(text) and text not in _RESERVED)


def fast_rows(kind: str, payload: bytes) -> Rows | None:
    """Return the rows of a measurement or result, or None where the contract has to judge.

    Args:
        kind: ``inference``, ``input``, ``system``, ``thermal``, ``power`` or ``result``; of any other it returns None.
        payload: The message.
    """
    reader = _READERS.get(kind)
    if reader is None or len(payload) > MAX_MESSAGE_BYTES or not _is_plain(payload):
        return None
    try:
        return reader(payload, kind)
    except msgspec.MsgspecError:
        return None


def _is_plain(payload: bytes) -> bool:
    """Whether keys can be counted by the colons behind them, and every text is what it looks like."""
    return not (
        b"\\" in payload
        or b" :" in payload
        or b"\n" in payload
        or b"\t" in payload
        or b"\r" in payload
        or not payload.isascii()
    )


def _inference(payload: bytes, _kind: str) -> Rows | None:
    window = _INFERENCE.decode(payload)
    hist, absent = window.hist, window.absent
    counts = hist.counts
    optional, whose = _present(window, _INFERENCE_OPTIONAL, absent), _whose(window)
    total = sum(counts.values()) + hist.zero_count
    integers = (
        window.inferences_total + window.errors_total + window.dropped_frames_total + hist.scale + total
    )
    if (
        optional is None
        or whose is None
        or type(integers) is not int
        or type(window.latency_count) is not int
        or total != window.latency_count
        or b'"-0"' in payload
        or payload.count(b'":') != _INFERENCE_KEYS + optional + whose + len(counts) + len(absent)
    ):
        return None
    indices = list(counts)
    ascending = sorted(indices)
    if ascending and (ascending[0] < -_LARGEST_INDEX or ascending[-1] > _LARGEST_INDEX):
        return None
    row = (
        None if window.model is UNSET else window.model,
        None if window.variant is UNSET else window.variant,
        window.window_seconds,
        window.inferences_total,
        window.errors_total,
        window.dropped_frames_total,
        window.latency_count,
        window.latency_sum_seconds,
        None if window.latency_min_seconds is UNSET else window.latency_min_seconds,
        None if window.latency_max_seconds is UNSET else window.latency_max_seconds,
        hist.scale,
        hist.zero_count,
        ascending,
        list(counts.values()) if indices == ascending else [counts[index] for index in ascending],
    )
    return _rows(window, "inference", [row])


def _input(payload: bytes, _kind: str) -> Rows | None:
    window = _INPUT.decode(payload)
    whose = _whose(window)
    keys = _ENVELOPE_KEYS + 3 + len(window.absent)
    rows: list[Row] = []
    for sketch in window.inputs:
        below, above = sketch.negative, sketch.positive
        counted = sketch.zero_count + sum(below.values()) + sum(above.values())
        if (
            type(counted) is not int
            or type(sketch.value_count) is not int
            or counted != sketch.value_count
            or counted < 1
            or not (below.keys() | above.keys()) <= _INPUT_BUCKETS
        ):
            return None
        keys += _SKETCH_KEYS + len(below) + len(above)
        rows.append(sketch_row(sketch, frames=window.frame_count))
    if (
        whose is None
        or type(window.frame_count) is not int
        or window.frame_count < 1
        or b'"-0"' in payload
        or payload.count(b'":') != keys + whose
    ):
        return None
    model, variant = (None if one is UNSET else one for one in (window.model, window.variant))
    return _rows(window, "input", [(model, variant, *row) for row in rows])


def _system(payload: bytes, kind: str) -> Rows | None:
    sample = _SYSTEM.decode(payload)
    absent = sample.absent
    optional = _present(sample, SYSTEM_NAMES, absent, later=SYSTEM_LATER)
    if optional is None or payload.count(b'":') != _ENVELOPE_KEYS + 1 + optional + len(absent):
        return None
    rows: list[Row] = []
    for name, quality in _SYSTEM_ROWS:
        value = getattr(sample, name)
        if value is not UNSET:
            if name in _SYSTEM_COUNTS and type(value) is not int:
                return None
            rows.append((kind, name, float(value), SYSTEM_SOURCE, "", quality))
    return _rows(sample, "reading", rows)


def _sensors(payload: bytes, kind: str) -> Rows | None:
    sample = _SENSORS.decode(payload)
    values = _ANYTHING.decode(payload)
    sources, absent = sample.sources, sample.absent
    rows: list[Row] = []
    for name, source in sources.items():
        if name not in _READING_NAMES:
            return None
        value = values.get(name)
        if value is None:
            if source.quality != "unavailable" or name not in absent or name in values:
                return None
            continue
        if type(value) not in (int, float) or not -_MOST <= value <= _MOST:  # type: ignore[operator]  # just seen
            return None
        if source.quality == "unavailable" or name in absent:
            return None
        rows.append((kind, name, float(value), source.source, source.scope, source.quality))  # type: ignore[arg-type]  # as above
    top = _ENVELOPE_KEYS + 2 + len(rows)
    if len(values) != top or payload.count(b'":') != top + 4 * len(sources) + len(absent):
        return None
    return _rows(sample, "reading", rows)


def _result(payload: bytes, _kind: str) -> Rows | None:
    result = _RESULT.decode(payload)
    whose = _whose(result)
    model = None if result.model is UNSET else result.model
    variant = None if result.variant is UNSET else result.variant
    rows: list[Row] = []
    for output in result.outputs:
        size: int | float = 1
        for length in output.shape:
            size *= length
        values, indices = output.values, output.indices
        largest_index = max(indices)
        if (
            type(size) is not int
            or type(sum(indices)) is not int
            or len(values) != len(indices)
            or len(values) > min(size, MAX_VALUES)
            or largest_index >= size
        ):
            return None
        top = max(values)
        index = indices[values.index(top)]
        own = (output.name, index, top, None, None, None)
        rows.append((model, variant, result.frame, result.latency_seconds, *own))
    if whose is None or payload.count(b'":') != _ENVELOPE_KEYS + 3 + whose + 5 * len(rows):
        return None
    return _rows(result, "output", rows)


def _present(
    message: Struct, names: tuple[str, ...], absent: dict[str, str], later: frozenset[str] = frozenset()
) -> int | None:
    """Return how many of these numbers are there; None unless exactly the others have a reason, which ``later`` ones need not."""
    present = 0
    for name in names:
        if getattr(message, name) is not UNSET:
            if name in absent:
                return None
            present += 1
        elif name not in absent and name not in later:
            return None
    return present


def _whose(message: _Inference | _InputWindow | _Result) -> int | None:
    """Return how many of model and variant are told; None when the model's name is none."""
    if message.model is UNSET:
        return int(message.variant is not UNSET)
    if message.model not in _MODELS:
        return None
    return 1 + (message.variant is not UNSET)


def _rows(
    message: _Envelope, table: Literal["inference", "input", "reading", "output"], rows: list[Row]
) -> Rows | None:
    artifact = message.artifact
    if (
        type(message.seq) is not int
        or message.boot_id not in _BOOT_IDS
        or (artifact is not None and artifact not in _DIGESTS)
    ):
        return None
    return Rows(
        message.boot_id,
        message.seq,
        message.time,
        message.uptime_seconds,
        message.clock,
        artifact,
        table if rows else "other",
        rows or [()],
    )


_READERS: dict[str, Callable[[bytes, str], Rows | None]] = {
    "inference": _inference,
    "input": _input,
    "system": _system,
    "thermal": _sensors,
    "power": _sensors,
    "result": _result,
}
