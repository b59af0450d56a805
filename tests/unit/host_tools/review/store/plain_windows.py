"""The windows of a store, worked out one message at a time with the classes that the rest of the review uses."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from typing import Any

from device_agent.contract.telemetry.message import Envelope
from host_tools.review.boot_clock import BootClock
from host_tools.review.message_numbers import MessageNumbers
from tests.unit.host_tools.review.store.stored_messages import Said

Key = tuple[str, int, str]
Totals = dict[tuple[str | None, str | None], tuple[int, ...]]
TOTALS = ("inferences_total", "errors_total", "dropped_frames_total")
_COOLING = "cooling_cpu_ratio"


def _envelope(one: Said) -> Envelope:
    told = one.envelope
    return Envelope(time=told["time"], boot_id=told["boot_id"], seq=told["seq"], uptime_seconds=told["uptime_seconds"],
                    clock=told["clock"], artifact=told["artifact"])  # fmt: skip


def plain_windows(deliveries: list[Said]) -> dict[Key, dict[str, Any]]:
    """By device, start of 10 s and artifact ("" where none ran)."""
    clocks: dict[tuple[str, str], BootClock] = defaultdict(BootClock)
    for one in sorted(deliveries, key=lambda one: (one.envelope["received"], one.envelope["seq"])):
        clocks[one.envelope["device"], one.envelope["boot_id"]].hear(_envelope(one), one.envelope["received"])
    runs: dict[tuple[str, str], dict[int, Said]] = defaultdict(dict)
    for one in deliveries:
        runs[one.envelope["device"], one.envelope["boot_id"]].setdefault(one.envelope["seq"], one)
    windows: dict[Key, dict[str, Any]] = defaultdict(
        lambda: defaultdict(float, hist=defaultdict(int), gross=[])
    )
    for run, messages in runs.items():
        _add_run(run[0], clocks[run], [messages[seq] for seq in sorted(messages)], windows)
    for window in windows.values():
        gross = window.pop("gross")
        if gross and window["inferences"] > 0:
            window["energy_joules"] = sum(gross) / len(gross) * window["inferences"]
            window["energy_inferences"] = window["inferences"]
    return windows


def _add_run(device: str, clock: BootClock, messages: list[Said], windows: dict[Key, dict[str, Any]]) -> None:
    def window_at(moment: float, one: Said) -> dict[str, Any]:
        return windows[device, math.floor(moment / 10) * 10, one.envelope["artifact"] or ""]

    numbers = MessageNumbers()
    totals: Totals = {}
    joules, heats, cap = None, None, None
    previous = None
    for one in messages:
        moment, uptime = clock.moment(_envelope(one)), one.envelope["uptime_seconds"]
        window = window_at(moment, one)
        numbers.add(one.envelope["seq"])
        if previous is None:
            window_at(moment - uptime, one)["starts"] += 1
        elif one.envelope["seq"] > previous + 1:
            window["gaps"] += one.envelope["seq"] - previous - 1
        previous = one.envelope["seq"]
        if one.table == "inference":
            row = one.rows[0]
            added = _added(totals, row, uptime)
            for name, value in zip(("inferences", "errors", "dropped"), added, strict=True):
                window[name] += value
            window["covered_seconds"] += row["window_seconds"]
            if row["model"] in (None, "main") and row["variant"] in (None, "a"):
                window["device_seconds"] += row["window_seconds"]
            window["latency_count"] += row["latency_count"]
            window["latency_sum"] += row["latency_sum_seconds"]
            _extreme(window, "latency_min", row["latency_min_seconds"], min)
            _extreme(window, "latency_max", row["latency_max_seconds"], max)
            for index, count in zip(row["hist_indices"], row["hist_counts"], strict=True):
                window["hist"][row["hist_scale"], index] += count
        elif one.table == "reading":
            told = {row["name"]: row["value"] for row in one.rows}
            kind = one.rows[0]["kind"]
            if kind == "system":
                window["cpu_ratio_sum"] += told["cpu_ratio"]
                window["cpu_ratio_count"] += 1
                _extreme(window, "rss_max", told["process_rss_bytes"], max)
            elif kind == "thermal":
                hottest = max(told["cpu_thermal_celsius"], told["gpu_celsius"])
                window["celsius_sum"] += hottest
                window["celsius_count"] += 1
                _extreme(window, "celsius_max", hottest, max)
                cap = told["cpu_frequency_cap_ratio"] if cap is None else cap
                rose = heats is not None and told["cpu_package_throttle_total"] > heats
                heats = told["cpu_package_throttle_total"]
                window["throttled"] += bool(
                    rose or told[_COOLING] > 0 or told["cpu_frequency_cap_ratio"] < cap
                )
                window["throttle_samples"] += 1
            else:
                watts = told["in_watts"]
                if joules is not None:
                    watts = max(watts, (told["package_0_joules_total"] - joules[1]) / (uptime - joules[0]))
                joules = (uptime, told["package_0_joules_total"])
                window["watts_sum"] += watts
                window["watts_count"] += 1
                if "inference_gross_joules" in told:
                    window["gross"].append(told["inference_gross_joules"])
    assert numbers.missing == sum(
        b.envelope["seq"] - a.envelope["seq"] - 1 for a, b in itertools.pairwise(messages)
    )


def _added(totals: Totals, row: dict[str, Any], uptime: float) -> tuple[int, ...]:
    """Inferences, errors and dropped frames of one message, which takes the place of its stream's last."""
    stream, now = (row["model"], row["variant"]), (*(row[name] for name in TOTALS),)
    before, totals[stream] = totals.get(stream), now
    if before is not None:
        return tuple(a - b for a, b in zip(now, before, strict=True))
    is_whole = uptime <= 1.5 * row["window_seconds"] or now[0] == row["latency_count"] > 0
    return now if is_whole else (row["latency_count"], 0, 0)


def _extreme(window: dict[str, Any], name: str, value: float | None, choose: Any) -> None:
    if value is not None:
        window[name] = choose(window[name], value) if name in window else value
