"""A program that stands for QEMU: a `VirtualMachine` starts it, kills it, and reads its console."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from hil.virtual.accelerator import Accelerator
from hil.virtual.machine import VirtualMachine
from hil.virtual.recipe import image_of, load_recipe
from host_tools.free_port import free_port

if TYPE_CHECKING:
    from pathlib import Path


def emulator(folder: Path, script: str) -> Path:
    """Write it; in its script ``$console`` is the console's file."""
    path = folder / "emulator"
    path.write_text(f'#!/bin/sh\nconsole="{folder}/console.log"\n{script}\n')
    path.chmod(0o755)
    return path


def machine(folder: Path, script: str) -> VirtualMachine:
    """Return a machine in a folder that the script runs."""
    (folder / "disk.qcow2").touch()  # it is there: nothing has to be made
    recipe = dataclasses.replace(load_recipe("x86_64"), emulator=str(emulator(folder, script)))
    return VirtualMachine(
        recipe,
        image_of("x86_64", recipe, folder),
        folder,
        accelerator=Accelerator(name="tcg", reason="said so"),
        processor="",
        ssh_port=free_port(),
        memory_mebibytes=256,
        processors=1,
    )
