"""Whether this machine's processor runs a board (KVM), or QEMU translates (TCG), and why."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from host_tools.processor import features

AcceleratorName = Literal["kvm", "tcg"]
WantedAccelerator = Literal["auto", "kvm", "tcg"]
_DEVICE = "/dev/kvm"
_PROCESSORS = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """What runs a board.

    Attributes:
        name: As QEMU has it.
        reason: Why it is this one, for the report.
    """

    name: AcceleratorName
    reason: str


def accelerator_for(architecture: str, wanted: WantedAccelerator = "auto") -> Accelerator:
    """Return what runs a board of a processor's architecture on this machine.

    On x86_64 a ``/dev/kvm`` that answers is not enough: below some hypervisors it is there without the processor's virtualization
    (``vmx``, ``svm``), makes machines, and Debian's kernel does not boot on one.

    Args:
        architecture: As ``uname -m`` has it.
        wanted: What the board's file says; ``auto``: what is found here.
    """
    if wanted != "auto":
        return Accelerator(name=wanted, reason="the board's file says so")
    own = platform.machine()
    if own != architecture:
        return Accelerator(name="tcg", reason=f"this machine is {own}")
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        why = "may not be opened" if Path(_DEVICE).exists() else "is not there"
        return Accelerator(name="tcg", reason=f"{_DEVICE} {why}")
    if own == "x86_64" and not {"vmx", "svm"} & (features(_PROCESSORS) or frozenset()):
        return Accelerator(name="tcg", reason=f"{_DEVICE} is there, the processor's vmx or svm is not")
    return Accelerator(name="kvm", reason=f"{_DEVICE} is there, and the processor's virtualization")
