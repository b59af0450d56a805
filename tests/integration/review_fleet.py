"""A small fleet whose every number is known, as batches of a store: two artifacts, a slow one; a hot device, hostile texts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from host_tools.review.store.tables import TABLES, Batch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from host_tools.review.store.tables import TableName

OLD = "sha256:" + "a1" * 32
NEW = "sha256:" + "b2" * 32
START = 1_785_715_200.0  # a midnight
WINDOWS = 120
"""Minutes that every device tells of."""
SWITCH = 60
"""In this minute devices with an even number go from `OLD` to `NEW`, which takes twice as long."""
SCALE = 5
OLD_SECONDS, NEW_SECONDS = 0.010, 0.020
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><b>bold</b> <a href='javascript:alert(1)'>%{y}</a>"
"""What a device says of itself where it may say what it likes."""


def batches(
    *,
    devices: int = 8,
    start: float = START,
    windows: int = WINDOWS,
    boot: str = "boot",
    window_seconds: float = 60.0,
    new_seconds: float = NEW_SECONDS,
) -> Iterator[Batch]:
    """Return what the fleet says, a batch a device; device 3 is hot, device 0 has a hostile model name."""
    for number in range(devices):
        told = _device(number, start, windows, boot, window_seconds, new_seconds)
        yield Batch(rows={name: _table(name, rows) for name, rows in told.items()})


def device_id(number: int) -> str:
    return f"gate-{number}"


def _device(
    number: int, start: float, windows: int, boot: str, window_seconds: float, new_seconds: float
) -> dict[TableName, list[dict[str, Any]]]:
    seq = iter(range(1_000_000))
    device = device_id(number)

    def numbered(time: float, artifact: str) -> dict[str, Any]:
        return {
            "device": device, "boot_id": boot, "seq": next(seq), "time": time, "uptime_seconds": time - start + 1.0,
            "clock": "synced", "received": time + 0.5, "retained": False, "artifact": artifact,
        }  # fmt: skip

    rows: dict[TableName, list[dict[str, Any]]] = {
        name: [] for name in ("birth", "health", "event", "inference", "input", "reading")
    }
    rows["birth"].append({
        **numbered(start, OLD), "agent_version": "0.1.0", "python_version": "3.11", "engine": "tflite",
        "engine_version": "2.1.0", "model_name": HOSTILE if number == 0 else "detector", "model_version": "1.0",
        "target": ("cortex-a-tflite", "x86_64-openvino")[number % 2],
        "host": '{"machine": "aarch64", "site": "<script>owned=1</script>"}',
        "models": "[]",
    })  # fmt: skip
    rows["health"].append(
        {
            **numbered(start + 1, OLD),
            "status": "degraded" if number == 3 else "up",
            "reason": HOSTILE if number == 3 else "",
        }
    )
    switches = number % 2 == 0
    total = 0
    for window in range(windows):
        time = start + window_seconds * (window + 1) - 0.25
        is_new = switches and window >= SWITCH
        if switches and window == SWITCH:
            rows["event"].append(
                {
                    **numbered(time - window_seconds + 1.0, NEW),
                    "name": "update_committed",
                    "severity": "info",
                    "text": HOSTILE,
                    "details": "{}",
                }
            )
        seconds, count = (new_seconds if is_new else OLD_SECONDS), 100
        total += count
        rows["inference"].append({
            **numbered(time, NEW if is_new else OLD), "window_seconds": window_seconds, "inferences_total": total, "errors_total": 0,
            "dropped_frames_total": 0, "latency_count": count, "latency_sum_seconds": count * seconds,
            "latency_min_seconds": seconds, "latency_max_seconds": seconds, "hist_scale": SCALE, "hist_zero_count": 0,
            "hist_indices": [math.ceil(math.log2(seconds) * 2**SCALE) - 1], "hist_counts": [count],
        })  # fmt: skip
        if number == 0:  # half of what its frames show is brighter once the new one runs
            rows["input"].append({
                **numbered(time, NEW if is_new else OLD), "name": "image", "frame_count": 2, "value_count": 100, "mean": 1.5 if is_new else 1.0,
                "deviation": 0.5, "minimum": 0.0, "maximum": 2.0, "saturated_ratio": 0.25, "places": [0, 24, 26],
                "counts": [10, 45, 45] if is_new else [10, 89, 1],
            })  # fmt: skip
        hot = 85.0 if number == 3 else 50.0
        reading = numbered(time, NEW if is_new else OLD)
        told = [("thermal", "cpu_thermal_celsius", hot, "thermal_zone", "cpu", "sampled")]
        rows["reading"] += [
            {
                **reading,
                "kind": kind,
                "name": name,
                "value": value,
                "source": source,
                "scope": scope,
                "quality": quality,
            }
            for kind, name, value, source, scope, quality in told
        ]
    return rows


def _table(name: TableName, rows: list[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, schema=TABLES[name])
