"""Kinds of devices of a simulated fleet. The numbers are of the size of real boards'; they are no claim about any."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One kind of device.

    Attributes:
        target: Capability profile id.
        engine: What runs the model.
        engine_version: Its version.
        latency_seconds: Median latency of the first artifact, cool.
        frames_per_second: Frames that come at the busiest hour.
        idle_watts: Drawn without inference.
        busy_watts: Drawn in addition while an inference runs.
        kelvin_per_watt: How much hotter than its surroundings it is in the end, for each watt.
        heat_seconds: Time constant of that.
        trip_celsius: From here on it is slowed down.
        throttled_factor: Latency while it is slowed down, by latency otherwise.
        has_battery: Whether it lives on a battery and the sun.
    """

    target: str
    engine: str
    engine_version: str
    latency_seconds: float
    frames_per_second: float
    idle_watts: float
    busy_watts: float
    kelvin_per_watt: float
    heat_seconds: float
    trip_celsius: float
    throttled_factor: float
    has_battery: bool = False


BOARDS = (
    Board(
        target="cortex-a-tflite",
        engine="tflite",
        engine_version="2.1.0",
        latency_seconds=0.048,
        frames_per_second=12.0,
        idle_watts=2.6,
        busy_watts=3.4,
        kelvin_per_watt=7.5,
        heat_seconds=420.0,
        trip_celsius=80.0,
        throttled_factor=1.5,
    ),
    Board(
        target="x86_64-openvino",
        engine="openvino",
        engine_version="2025.3.0",
        latency_seconds=0.011,
        frames_per_second=25.0,
        idle_watts=9.0,
        busy_watts=14.0,
        kelvin_per_watt=2.4,
        heat_seconds=300.0,
        trip_celsius=90.0,
        throttled_factor=1.8,
    ),
    Board(
        target="aarch64-onnxruntime",
        engine="onnx",
        engine_version="1.22.0",
        latency_seconds=0.085,
        frames_per_second=5.0,
        idle_watts=1.4,
        busy_watts=2.2,
        kelvin_per_watt=11.0,
        heat_seconds=600.0,
        trip_celsius=78.0,
        throttled_factor=1.7,
        has_battery=True,
    ),
)
"""The fleet's mix, in equal parts."""
