"""A store of 10,000 devices as the issue has it, and how long the questions of a page take.

    python -m benchmarks.review.telemetry_store --store out/fleet.duckdb --generate-only
    python -m benchmarks.review.telemetry_store --store out/fleet.duckdb --write-docs

30 days of hours and days, the last day by the minute, the last hour in windows of 10 s: about 25 million windows of
devices, written as roll-ups write them (a window of all devices after the other), then rolled up to fleets by the store
itself. Generating may be stopped and goes on where it was; the second command generates what is missing, too.
"""

from __future__ import annotations

import argparse
import json
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from benchmarks import machine
from benchmarks.review.store_questions import Report, measured, questions, write_tables
from host_tools.review.store import window_rows
from host_tools.review.store.cohorts import mark_fleets
from host_tools.review.store.longer_windows import fill_level
from host_tools.review.store.opening import open_store
from host_tools.review.store.schema import fleet_table, window_table
from host_tools.review.store.window_rows import WindowRows
from host_tools.review.store.windows import Histograms, Level

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from host_tools.review.store.column_store import ColumnStore
    from host_tools.review.store.engine import Engine

END = 1_800_000_000 // 86400 * 86400
TARGETS = ("pi5-litert", "orin-tensorrt", "x86_64-onnxruntime", "imx8mp-litert", "esp32s3-tflm")
PER_SECOND = 10
"""Inferences a second of a device."""
SPANS = {Level.DAY: 30 * 86400, Level.HOUR: 30 * 86400, Level.MINUTE: 86400, Level.SECONDS_10: 3600}
_AT_ONCE = 200_000
_DRAWN = 20_000
_SIGMA = 0.11
"""Of the logarithm of a latency: p99 is 1.3 times the median."""


def main() -> None:
    """Generate what is not there, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument(
        "--rounds", type=int, default=20, help="of each question; the one before them is not counted"
    )
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--generate-only", action="store_true", help="measure nothing")
    parser.add_argument(
        "--write-docs", action="store_true", help="put the tables into docs/telemetry-store.md"
    )
    arguments = parser.parse_args()
    store = open_store(arguments.store, threads=2)
    generate(store, arguments.devices)
    if not arguments.generate_only:
        report: Report = {
            "devices": arguments.devices,
            "rounds": arguments.rounds,
            "machine": machine.facts(),
            "duckdb": version("duckdb"),
            "size": size(store, arguments.store),
            "questions": measured(
                questions(store, arguments.devices, end=END, target=TARGETS[0]), arguments.rounds
            ),
        }
        if arguments.json is not None:
            arguments.json.parent.mkdir(parents=True, exist_ok=True)
            arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        if arguments.write_docs:
            write_tables(report)
    store.close()


def generate(store: ColumnStore, devices: int) -> None:
    """Write every window that is not there."""
    engine = store._engine  # noqa: SLF001 - windows without messages are this file's alone
    if not engine.select("SELECT id FROM device LIMIT 1").num_rows:
        _write_devices(store, devices)
    if not engine.select("SELECT boot FROM boot LIMIT 1").num_rows:
        _write_runs(store, devices)
    for level, span in SPANS.items():
        at_once = max(1, _AT_ONCE // devices) * level.seconds
        found = (
            engine.select(f'SELECT max("time") AS latest FROM {window_table(level)}')
            .column("latest")[0]
            .as_py()
        )
        first = END - span if found is None else found + level.seconds
        for start in range(first, END, at_once):
            times = np.arange(start, min(start + at_once, END), level.seconds)
            with engine.transaction():
                engine.append(
                    window_table(level), window_rows.as_table(_windows(level, times, devices), part=0)
                )
                mark_fleets(engine, level, times)
            print(
                f"\r{window_table(level)}: {100 * (start + at_once - END + span) / span:5.1f} %",
                end="",
                flush=True,
            )
        print()
    for level in (Level.HOURS_6, Level.DAYS_5):
        if not engine.select(f"SELECT device FROM {window_table(level)} LIMIT 1").num_rows:
            fill_level(engine, level)
    print(
        f"rolled up to {store.roll_up(progress=lambda share: print(f'{chr(13)}fleets: {100 * share:5.1f} %', end='', flush=True))} windows of fleets"
    )
    engine.compact()


def _write_devices(store: ColumnStore, devices: int) -> None:
    engine = store._engine  # noqa: SLF001
    numbers = np.arange(1, devices + 1)
    targets = [TARGETS[number % len(TARGETS)] for number in numbers]
    births = [
        json.dumps(
            {"target": one, "machine": "aarch64", "model_name": "efficientnet-lite0", "kernel": "6.1.0"}
        )
        for one in targets
    ]
    with engine.transaction():
        engine.append(
            "artifact",
            pa.table({"id": pa.array([1, 2], pa.int32()), "name": ["sha256:" + one * 64 for one in "ab"]}),
        )
        engine.append("device", pa.table({
            "id": pa.array(numbers, pa.int32()), "name": [f"device-{number:05d}" for number in numbers],
            "status": ["up"] * devices, "reason": [""] * devices, "status_received": np.full(devices, float(END)),
            "status_seq": np.full(devices, 2), "birth": births, "birth_received": np.full(devices, float(END)),
            "birth_seq": np.full(devices, 1), "cohort": pa.array(np.zeros(devices), pa.int32()),
        }))  # fmt: skip
    store._forget()  # noqa: SLF001
    store.label({f"device-{number:05d}": {"group": f"group-{number % 4}"} for number in numbers.tolist()})


def _write_runs(store: ColumnStore, devices: int) -> None:
    """One run of each device, from before the first window until now: it tells when the device was heard."""
    boots = store._boots  # noqa: SLF001
    places = boots.places([(number, "boot") for number in range(1, devices + 1)])
    span = float(SPANS[Level.DAY])
    for name, value in (
        ("first_received", END - span), ("last_received", float(END)), ("low_uptime", 0.0), ("high_uptime", span),
        ("high_seq", 1_000_000), ("placed_start", END - span),
    ):  # fmt: skip
        boots.columns[name][places] = value
    boots.columns["artifact"][places] = np.arange(devices) % 2 + 1
    engine = store._engine  # noqa: SLF001
    with engine.transaction():
        engine.append("boot", boots.rows(places))


def _windows(level: Level, times: NDArray[np.int64], devices: int) -> WindowRows:
    """Windows of all devices at some times: a tenth faster with the second artifact, which half of them ran in the end."""
    chance = np.random.default_rng(int(times[0]) + level.seconds)
    count = len(times) * devices
    time_of, device = np.repeat(times, devices), np.tile(np.arange(1, devices + 1), len(times))
    artifact = np.where((device % 2 == 0) & (time_of >= END - 10 * 86400), 2, 1)
    center = (
        np.log2(0.01) + 0.4 * (device % len(TARGETS)) - 0.15 * (artifact == 2) + chance.normal(0, 0.02, count)
    )
    inferences = PER_SECOND * level.seconds
    width = int(np.ceil(7 * _SIGMA / np.log(2) * 32)) | 1
    offsets = np.arange(width) - width // 2
    shape = np.exp(-0.5 * (offsets / 32 * np.log(2) / _SIGMA) ** 2)
    counts = _counts(tuple(shape / shape.sum() * inferences))[chance.integers(0, _DRAWN, count)]
    kept = counts > 0
    indices = (np.floor(center * 32).astype(np.int32)[:, None] + offsets.astype(np.int32)[None, :])[kept]
    latency_count = counts.sum(axis=1)
    seconds = np.exp2(center)
    samples = max(1, level.seconds // 10)
    celsius = 50 + 10 * np.sin(time_of / 13751.0) + chance.normal(0, 3, count)
    numbers = {
        "covered_seconds": np.full(count, float(level.seconds)), "device_seconds": np.full(count, float(level.seconds)), "inferences": latency_count, "errors": chance.poisson(0.0005 * inferences, count),
        "dropped": chance.poisson(0.001 * inferences, count), "latency_count": latency_count, "latency_sum": seconds * latency_count,
        "latency_min": seconds * 0.75, "latency_max": seconds * 1.4, "energy_joules": 0.05 * latency_count * chance.normal(1, 0.02, count),
        "energy_inferences": latency_count, "watts_sum": samples * chance.normal(4.0, 0.2, count), "watts_count": np.full(count, samples),
        "celsius_sum": samples * celsius, "celsius_count": np.full(count, samples), "celsius_max": celsius + 3,
        "throttled": chance.binomial(samples, 0.01, count), "throttle_samples": np.full(count, samples),
        "cpu_ratio_sum": samples * chance.uniform(0.3, 0.5, count), "cpu_ratio_count": np.full(count, samples),
        "rss_max": np.full(count, 90.0 * 2**20), "starts": np.zeros(count, dtype=np.int64), "gaps": np.zeros(count, dtype=np.int64),
    }  # fmt: skip
    hist = Histograms(
        scale=5,
        offsets=np.concatenate(([0], np.cumsum(kept.sum(axis=1)))),
        indices=indices,
        counts=counts[kept].astype(np.int64),
        zero_counts=np.zeros(count, dtype=np.int64),
    )
    return WindowRows({"device": device, "time": time_of, "artifact": artifact}, numbers, hist)


@lru_cache
def _counts(expected: tuple[float, ...]) -> NDArray[np.int64]:
    """Draw the counts of many histograms, from which windows choose: drawing is the slowest part."""
    return np.random.default_rng(len(expected)).poisson(expected, (_DRAWN, len(expected)))


def _bytes_of(engine: Engine, table: str) -> int:
    """Return what the blocks take that hold a table; one that two tables share counts for both."""
    rows = engine.select(
        f"SELECT count(DISTINCT block_id) * any_value(block_size) AS bytes FROM pragma_storage_info('{table}'), "
        "pragma_database_size() WHERE block_id >= 0"
    )
    return int(rows.column("bytes")[0].as_py() or 0)


def size(store: ColumnStore, path: Path) -> dict[str, int | float]:
    """Print and return rows and bytes: those in use, and those of the file that are free for what comes next."""
    engine = store._engine  # noqa: SLF001
    rows = {
        table: int(engine.select(f"SELECT count(*) AS size FROM {table}").column("size")[0].as_py())
        for level in Level
        for table in (window_table(level), fleet_table(level))
    }
    blocks = engine.select("SELECT block_size, used_blocks, free_blocks FROM pragma_database_size()")
    (block,) = blocks.to_pylist()
    found: dict[str, int | float] = {**rows, "file_bytes": path.stat().st_size}
    found["bytes"] = block["block_size"] * block["used_blocks"]
    found["free_bytes"] = block["block_size"] * block["free_blocks"]
    found["windows"] = sum(count for table, count in rows.items() if table.startswith("window"))
    found["bytes_per_window"] = found["bytes"] / found["windows"]
    found["bytes_per_device_day"] = sum(
        86400 / level.seconds * _bytes_of(engine, window_table(level)) / max(rows[window_table(level)], 1)
        for level in Level
        if level is not Level.SECONDS_10
    )
    print(found)
    return found


if __name__ == "__main__":
    main()
