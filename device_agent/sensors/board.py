"""Which board this is, by its device tree; nothing on a PC, which has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.sensors.reading import Absent
from device_agent.sensors.sysfs import read_text

if TYPE_CHECKING:
    from pathlib import Path


def board_model(sysfs_root: Path) -> str:
    """Return the model, e.g. ``Raspberry Pi 5 Model B Rev 1.0``; empty when there is no device tree."""
    model = read_text(sysfs_root / "firmware/devicetree/base/model")
    return "" if isinstance(model, Absent) else model


def is_jetson(model: str) -> bool:
    """Return whether a board of this model is a Jetson."""
    return "Jetson" in model


def is_raspberry_pi(model: str) -> bool:
    """Return whether a board of this model is a Raspberry Pi, compute modules included."""
    return model.startswith("Raspberry Pi")


def has_pmic_adc(model: str) -> bool:
    """Return whether the firmware of a board of this model reads the power chip's rails: that of the fifth generation."""
    return is_raspberry_pi(model) and any(name in model for name in ("Pi 5", "Module 5"))
