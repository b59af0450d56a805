"""Messages as dicts, for tests of stores: batches made of them, and fleets that say something."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from host_tools.review.store.tables import TABLES, Batch

EPOCH = 1_700_000_000.0
DIGESTS = ("sha256:" + "a" * 64, "sha256:" + "b" * 64)
Stream = tuple[str | None, str | None]
STREAMS: tuple[tuple[Stream, ...], ...] = (
    ((None, None),),
    (("main", None), ("reader", None)),
    (("main", "a"), ("main", "b"), ("reader", None)),
)
"""Models and variants that an agent runs."""


@dataclass(frozen=True)
class Said:
    """One message: the table it goes to, what all its rows share, and what each row has of its own."""

    table: str
    envelope: dict[str, Any]
    rows: tuple[dict[str, Any], ...] = field(default=({},))


def batch_of(messages: list[Said]) -> Batch:
    rows: dict[str, list[dict[str, Any]]] = {}
    for one in messages:
        rows.setdefault(one.table, []).extend({**one.envelope, **row} for row in one.rows)
    return Batch(
        rows={name: pa.RecordBatch.from_pylist(found, schema=TABLES[name]) for name, found in rows.items()}
    )  # type: ignore[index,misc]


def stamp(device: str, boot: str, seq: int, uptime: float, **more: Any) -> dict[str, Any]:
    """An envelope, received a tenth of a second after it was made, from a run that began at `EPOCH`."""
    made = more.pop("made", EPOCH + uptime)
    return {
        "device": device, "boot_id": boot, "seq": seq, "time": made, "uptime_seconds": uptime, "clock": "synced",
        "received": made + 0.1, "retained": False, "artifact": DIGESTS[0], **more,
    }  # fmt: skip


def inference(envelope: dict[str, Any], *, total: int = 10, errors: int = 0, dropped: int = 0, window: float = 10.0,
              counts: dict[int, int] | None = None, scale: int = 5, stream: Stream = (None, None)) -> Said:  # fmt: skip
    counts = {-200: 3, -190: 2} if counts is None else counts
    seconds = [2.0 ** ((index + 0.5) / 2**scale) for index in counts]
    return Said("inference", envelope, ({
        "model": stream[0], "variant": stream[1], "window_seconds": window, "inferences_total": total, "errors_total": errors, "dropped_frames_total": dropped,
        "latency_count": sum(counts.values()),
        "latency_sum_seconds": sum(second * count for second, count in zip(seconds, counts.values(), strict=True)),
        "latency_min_seconds": min(seconds, default=None), "latency_max_seconds": max(seconds, default=None),
        "hist_scale": scale, "hist_zero_count": 0, "hist_indices": sorted(counts),
        "hist_counts": [counts[index] for index in sorted(counts)],
    },))  # fmt: skip


def sample(envelope: dict[str, Any], kind: str, **values: float) -> Said:
    """Readings by name; ``battery_…`` is one of a battery, ``rail_NAME_watts`` of a power rail."""
    return Said("reading", envelope, tuple(
        {"kind": kind, "name": name, "value": value, "source": "test", "scope": _scope(name), "quality": "sampled"}
        for name, value in values.items()
    ))  # fmt: skip


def _scope(name: str) -> str:
    if name.startswith("rail_"):
        return f"rail:{name.removeprefix('rail_').removesuffix('_watts')}"
    return "battery" if name.startswith("battery_") else "board"


def event(envelope: dict[str, Any], name: str = "model_loaded", text: str = "Loaded.") -> Said:
    return Said("event", envelope, ({"name": name, "severity": "info", "text": text, "details": "{}"},))


def health(envelope: dict[str, Any], status: str = "up", reason: str = "") -> Said:
    return Said("health", envelope, ({"status": status, "reason": reason},))


def birth(
    envelope: dict[str, Any],
    target: str = "pi5",
    host: str = '{"machine": "aarch64", "cpu_count": 4}',
    models: str = "[]",
) -> Said:
    return Said("birth", envelope, ({
        "agent_version": "0.1.0", "python_version": "3.11.7", "engine": "onnx", "engine_version": "1.32.0",
        "model_name": "net", "model_version": "1.0.0", "target": target, "host": host, "models": models,
    },))  # fmt: skip


def alarm(envelope: dict[str, Any], name: str, severity: str) -> Said:
    return Said("alarm", envelope, ({"name": name, "severity": severity, "text": "Hot."},))


def dead_letter(received: float, reason: str = "not JSON") -> Said:
    return Said("dead_letter", {"received": received, "topic": "ew/v1/x", "payload": b"\x00{", "payload_bytes": 2, "reason": reason})  # fmt: skip


def fleet(chance: random.Random) -> list[Said]:
    """What a few devices say in some minutes: clocks right and wrong, late, restarted, updated; some of it never comes."""
    said: list[Said] = []
    for device in range(chance.randint(1, 3)):
        began = EPOCH + chance.choice([0.0, 3.0, 3590.0, 86390.0])
        for run in range(chance.randint(1, 2)):
            said += _run(chance, f"device-{device}", f"boot-{run}", began)
            began += 400.0
    return [one for one in said if chance.random() > 0.05]


def _run(chance: random.Random, device: str, boot: str, began: float) -> list[Said]:
    windows = chance.randint(2, 9)
    error = chance.choice([0.0, 0.3, 0.3, -700.0, 900.0])
    interval = chance.choice([5.0, 10.0, 10.0, 150.0])
    is_late = chance.random() < 0.2
    switch = chance.randint(0, windows)
    cap = chance.choice([1.0, 0.8])
    streams = chance.choice(STREAMS)
    begins = {stream: chance.choice([1, 1, chance.randint(1, windows)]) for stream in streams}
    digests = {stream: chance.choice(DIGESTS) for stream in streams[1:]}
    totals = {stream: [0, 0, 0] for stream in streams}
    joules, heats, seq = 1000.0, 0.0, 0
    said = []

    def envelope(uptime: float, **more: Any) -> dict[str, Any]:
        nonlocal seq
        seq += 1
        received = began + (windows * interval + 50.0 + seq * 0.01 if is_late else uptime + chance.random())
        return stamp(device, boot, seq, uptime, made=began + uptime + error, received=received,
                     **{"artifact": None if uptime < 1 else DIGESTS[int(uptime > switch * interval)], **more})  # fmt: skip

    def window_of(stream: Stream, uptime: float) -> Said:
        counts = {chance.randint(-210, -180): chance.randint(1, 9) for _ in range(chance.randint(0, 4))}
        own = totals[stream]
        own[0] += sum(counts.values())
        own[1] += chance.choice([0, 0, 3])
        own[2] += chance.choice([0, 1])
        named = {"artifact": digests[stream]} if stream in digests else {}
        return inference(envelope(uptime, **named), total=own[0], errors=own[1], dropped=own[2], window=interval,
                         counts=counts, scale=chance.choice([5, 5, 5, 4]), stream=stream)  # fmt: skip

    said.append(event(envelope(0.5)))
    for window in range(1, windows + 1):
        uptime = window * interval
        present = [stream for stream in streams if begins[stream] <= window]
        said += [window_of(stream, uptime) for stream in chance.sample(present, len(present))]
        said.append(
            sample(
                envelope(uptime + 0.01),
                "system",
                cpu_ratio=chance.random(),
                process_rss_bytes=float(chance.randint(1, 99)),
            )
        )
        heats += chance.choice([0.0, 0.0, 2.0])
        said.append(sample(envelope(uptime + 0.02), "thermal", cpu_thermal_celsius=chance.uniform(30, 90), gpu_celsius=chance.uniform(30, 90),
                           cpu_package_throttle_total=heats, cpu_frequency_cap_ratio=chance.choice([cap, cap, 0.5]),
                           cooling_cpu_ratio=chance.choice([0.0, 0.0, 0.5])))  # fmt: skip
        joules += chance.uniform(0, 90)
        told = {"inference_gross_joules": chance.random()} if chance.random() < 0.7 else {}
        said.append(sample(envelope(uptime + 0.03), "power", package_0_joules_total=joules, in_watts=chance.uniform(0, 5),
                           battery_watts=-50.0, **told))  # fmt: skip
    return said
