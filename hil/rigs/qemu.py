"""The rig `qemu`: a virtual board that boots a real kernel. Its power is QEMU's, its disk a real image, its shell and files those of `ssh`.

``edgewright hil board build NAME`` makes the image; nothing here needs a network or root.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hil.drivers.block_disk import BlockDisk
from hil.drivers.hardware_monitor import HardwareMonitor
from hil.drivers.openssh import SshAddress, SshConnection
from hil.drivers.relayed_network import RelayedNetwork
from hil.drivers.replayed_sysfs import ReplayedSysfs
from hil.drivers.shaped_interface import ShapedInterface
from hil.drivers.switched_power import SwitchedPower
from hil.errors import BoardError, BootError, RigError
from hil.rigs.ssh import SshHost, rig_over
from hil.table import bounded, read_table
from hil.virtual.accelerator import WantedAccelerator, accelerator_for
from hil.virtual.layout import environment_folder
from hil.virtual.machine import FIELD, HOST, SPOOL_DEVICE, VirtualMachine
from hil.virtual.recipe import Environment, image_of, load_recipe
from host_tools.free_port import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from hil.board import Board
    from hil.drivers.openssh import SshShell
    from hil.rig import Rig
    from hil.senses import Thermal
    from hil.virtual.recipe import Image, Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualBoard:
    """Which board it is: the table ``[resource]``.

    Attributes:
        image: Its recipe; see `hil.virtual.recipe.load_recipe`.
        images: Folder where images are kept; by default the user's cache.
        environment: Which libraries the agent runs on: ``current`` (onnxruntime, LiteRT) or ``legacy`` (tflite-runtime).
        accelerator: ``auto``: this machine's processor where it can run the board, else translation.
        processor: QEMU's name of the processor; by default the recipe's, or this machine's own where that runs the board.
        memory_mebibytes: How much memory it has.
        processors: How many processors it has.
        boot_seconds: How long it may take from power to its shell.
    """

    image: str
    images: str = ""
    environment: Environment = "current"
    accelerator: WantedAccelerator = "auto"
    processor: str = ""
    memory_mebibytes: int = bounded(768, low=256, high=65536)
    processors: int = bounded(1, low=1, high=64)
    boot_seconds: float = bounded(300.0, low=1.0, high=3600.0)


class SerialConsole:
    """See `Console`: the board's serial line."""

    def __init__(self, machine: VirtualMachine) -> None:
        self._machine = machine

    def text(self) -> str:
        """See `Console.text`."""
        return self._machine.console()


def open_rig(board: Board, folder: Path) -> Rig:
    """Make the rig; see `hil.rig.open_rig`.

    Raises:
        BoardError: ``[resource]`` is wrong, or there is no such virtual board.
        RigError: It was not built, is damaged, or does not boot.
    """
    virtual = read_table(VirtualBoard, board.resource, where=f"{board.origin}: resource", error=BoardError)
    recipe = load_recipe(virtual.image)
    image = image_of(virtual.image, recipe, Path(virtual.images) if virtual.images else None)
    if not image.folder.is_dir():
        raise RigError(
            f"{board.name}: the board's image is not there: {image.folder}.",
            hint=f"Make it: {_build(virtual)}",
        )
    port = free_port()
    machine = VirtualMachine(
        recipe,
        image,
        folder,
        accelerator=accelerator_for(recipe.wheel_architecture, virtual.accelerator),
        processor=virtual.processor,
        ssh_port=port,
        memory_mebibytes=virtual.memory_mebibytes,
        processors=virtual.processors,
    )
    connection = SshConnection(
        _address(_host_key(image, virtual), image, folder, port), folder, slowness=board.section.slowness
    )
    try:
        _boot_first(machine, virtual)
        connection.open(within_seconds=virtual.boot_seconds)
        rig = _rig(board, virtual, recipe, machine, connection)
        rig.facts = machine.facts()
    except BaseException:
        connection.close()
        machine.cut()
        raise
    rig.close_last(machine.cut)
    return rig


def _boot_first(machine: VirtualMachine, virtual: VirtualBoard) -> None:
    try:
        machine.start(boot_seconds=virtual.boot_seconds)
    except BootError as error:  # nothing was tested on it yet
        raise RigError(
            str(error), hint="Is it slow? resource.boot_seconds; else build its image anew."
        ) from error


def _rig(
    board: Board, virtual: VirtualBoard, recipe: Recipe, machine: VirtualMachine, connection: SshConnection
) -> Rig:
    """Make the rig of a machine that is on: that of ``ssh``, with a switch, disks and an interface of its own."""
    forgetful: list[Callable[[], None]] = []

    def set_up_again() -> None:
        for set_up in forgetful:
            set_up()

    def power(shell: SshShell, network: RelayedNetwork) -> SwitchedPower:
        return SwitchedPower(
            off=machine.cut,
            on=lambda: machine.start(boot_seconds=virtual.boot_seconds),
            set_up_again=set_up_again,
            boot_seconds=virtual.boot_seconds,
            connection=connection,
            shell=shell,
            network=network,
        )

    python = f"{environment_folder(virtual.environment)}/bin/python3"
    host = SshHost(host="127.0.0.1", folder="/var/lib/edgewright-hil", python=python)
    rig = rig_over(connection, host, board, power=power, network=RelayedNetwork(host=HOST))
    disk = BlockDisk(rig.shell, SPOOL_DEVICE, "/mnt/spool")
    forgetful.append(disk.set_up_again)
    thermal: Thermal | None = rig.parts.thermal
    if recipe.has_hardware_monitor and isinstance(thermal, ReplayedSysfs):
        thermal = HardwareMonitor(rig.shell, thermal)
        forgetful.append(thermal.set_up_again)
    rig.parts = replace(
        rig.parts,
        console=SerialConsole(machine),
        thermal=thermal,
        disk=disk,
        write_protection=disk,
        interface=ShapedInterface(
            rig.shell,
            FIELD,
            set_up=lambda: machine.set_link(is_up=True),
            set_down=lambda: machine.set_link(is_up=False),
        ),
    )
    return rig


def _build(virtual: VirtualBoard) -> str:
    """Return the command that builds a board's image."""
    where = f" --images {shlex.quote(virtual.images)}" if virtual.images else ""
    return f"sudo edgewright hil board build {shlex.quote(virtual.image)}{where}"


def _host_key(image: Image, virtual: VirtualBoard) -> tuple[str, str]:
    """Return kind and text of the key by which a board is known.

    Raises:
        RigError: The image is damaged.
    """
    try:
        kind, key, *_ = image.host_key.read_text(encoding="utf-8").split()
    except (OSError, ValueError) as error:
        raise RigError(
            f"{image.host_key}: holds no public key: the board's image is damaged.",
            hint=f"Build it anew: {_build(virtual)} --fresh",
        ) from error
    return kind, key


def _address(host_key: tuple[str, str], image: Image, folder: Path, port: int) -> SshAddress:
    known = folder / "known_hosts"
    kind, key = host_key
    known.write_text(f"[127.0.0.1]:{port} {kind} {key}\n", encoding="utf-8")
    options = [f"UserKnownHostsFile={known}", "IdentitiesOnly=yes", "StrictHostKeyChecking=yes"]
    # An emulated processor takes its time over a key, most of all over the newest kind.
    options += ["ServerAliveInterval=60", "ConnectTimeout=60", "KexAlgorithms=curve25519-sha256"]
    return SshAddress(
        host="127.0.0.1", port=port, user="root", identity=str(image.identity), options=tuple(options)
    )
