"""What a day of one device takes: as JSON lines, in the store, messages and windows apart, in Prometheus and VictoriaMetrics.

    python -m benchmarks.review.bytes_per_device_day --folder out/bytes --devices 4 --hours 24

The two get every number of every message by import, into folders of their own (Debian: ``prometheus``, ``victoria-metrics``).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.review.time_series import Samples, prometheus_bytes, victoria_bytes
from device_agent.contract import topics
from host_tools.review.history import _message
from host_tools.review.ingest.batching import Collector, joined
from host_tools.review.ingest.rows import rows_of
from host_tools.review.simulation.fleet import SimulatedFleet
from host_tools.review.simulation.messages import deliveries
from host_tools.review.simulation.plan import FleetPlan
from host_tools.review.store.opening import open_store
from host_tools.review.store.telemetry_store import Retention
from host_tools.review.store.windows import Level

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.contract.telemetry.message import Message

_BATCH = 5000


def main() -> None:
    """Write a simulated fleet and look at the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--devices", type=int, default=4)
    parser.add_argument("--hours", type=float, default=24.0)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True)
    plan = FleetPlan(
        devices=arguments.devices,
        days=arguments.hours / 24,
        level=Level.SECONDS_10,
        rollout_at=None,
        wrong_clocks=0.0,
    )
    path = arguments.folder / "store.duckdb"
    store = open_store(path, threads=2)
    collector, lines, messages = Collector(), 0, 0
    measured: dict[tuple[str, str, int], Message] = {}
    for delivery in deliveries(SimulatedFleet(1, plan)):
        lines += len(delivery.payload) + 1
        topic = topics.parse(delivery.topic)
        message = _message(topic, delivery)
        if message is not None:
            collector.add(
                topic.device,
                rows_of(message, name=topic.name),
                received=delivery.received,
                retained=delivery.retained,
            )
            messages += 1
            measured[topic.device, message.envelope.boot_id, message.envelope.seq] = message
        if collector.messages >= _BATCH:
            store.write(joined([collector.take()]))
    if collector.messages:
        store.write(joined([collector.take()]))
    store.roll_up()
    days = arguments.devices * plan.days
    store.backup(arguments.folder / "whole.duckdb")
    store.retain(
        Retention(messages_days=0.0, seconds_10_days=None, minute_days=None, hour_days=None),
        now=plan.end + 86400.0,
    )
    store.backup(arguments.folder / "windows.duckdb")
    store.retain(
        Retention(messages_days=0.0, seconds_10_days=0.0, minute_days=None, hour_days=None),
        now=plan.end + 86400.0,
    )
    store.backup(arguments.folder / "minutes.duckdb")
    store.close()
    whole, windows, minutes = (
        (arguments.folder / f"{name}.duckdb").stat().st_size for name in ("whole", "windows", "minutes")
    )
    samples, text = _write_samples(measured, arguments.folder)
    print(f"{messages} messages, {samples} samples of {days:.1f} device-days")
    for name, size in (
        ("JSON lines", lines),
        ("store, messages and windows", whole),
        ("of it windows of 10 s and longer", windows),
        ("of it windows of a minute and longer", minutes),
        (
            "Prometheus, every number",
            prometheus_bytes(text, arguments.folder / "prometheus", samples=samples),
        ),
        (
            "VictoriaMetrics, every number",
            victoria_bytes(text.with_suffix(".prometheus"), arguments.folder / "victoria", samples=samples),
        ),
    ):
        print(f"{name:40} {size / days / 2**20:8.3f} MiB a device-day")


def _write_samples(measured: Mapping[tuple[str, str, int], Message], folder: Path) -> tuple[int, Path]:
    """Write every message's numbers in the order of time; return how many, and the OpenMetrics file."""
    text = folder / "samples.openmetrics"
    samples = Samples(
        openmetrics=text.open("w", encoding="utf-8"),
        prometheus=text.with_suffix(".prometheus").open("w", encoding="utf-8"),
    )
    for (device, _, _), message in sorted(measured.items(), key=lambda one: one[1].envelope.time):
        samples.add(device, message)
    samples.close()
    return samples.count, text


if __name__ == "__main__":
    main()
