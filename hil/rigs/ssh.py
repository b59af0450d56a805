"""The rig `ssh`: any Linux board, through OpenSSH's own client.

The agent's own Python files are pushed; the board needs Python 3.10 with paho-mqtt, psutil, numpy and its engine, or ``wheels`` to install
them from. Nothing on the board is changed outside ``folder``. Power is switched by commands of this machine; where there are none, a cut
takes what was started there.
"""

from __future__ import annotations

import compileall
import contextlib
import io
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import TYPE_CHECKING

import device_agent
from hil.drivers.command_console import CommandConsole
from hil.drivers.openssh import SshAddress, SshConnection, SshFiles, SshShell, last_line
from hil.drivers.own_folder import make_anew, require_own
from hil.drivers.process_power import ProcessPower
from hil.drivers.relayed_network import RelayedNetwork
from hil.drivers.replayed_battery import ReplayedBattery
from hil.drivers.replayed_rails import ReplayedRails
from hil.drivers.replayed_sysfs import ReplayedSysfs
from hil.drivers.shifted_clock import ShiftedClock
from hil.drivers.small_disk import SmallDisk
from hil.drivers.switched_power import SwitchedPower
from hil.errors import BoardError, RigError
from hil.rig import Parts, Rig
from hil.table import bounded, read_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hil.board import Board
    from hil.protocols import Power

_INSTALL_SECONDS = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SshHost:
    """Where the board is: the table ``[resource]``.

    Attributes:
        host: Name, address, or an alias of ``~/.ssh/config``.
        port: TCP port; 0: what ssh's configuration says.
        user: User on the board; by default ssh's configuration decides.
        identity: Private key; by default ssh's configuration decides.
        options: Further ``-o`` options of ssh, e.g. ``StrictHostKeyChecking=accept-new``.
        folder: A folder of the rig's own on the board; made anew for every session, and removed.
        python: The board's interpreter.
        wheels: A folder on this machine whose wheels are pushed and installed below ``folder``; by default what is on the board is used.
        power_off: Command of this machine that takes the board's power.
        power_on: Command that gives it back.
        console: Command of this machine that writes what the board's serial line says; by default the rig has no console.
        boot_seconds: How long the board may take from power to ssh.
    """

    host: str
    port: int = bounded(0, low=0, high=65535)
    user: str = ""
    identity: str = ""
    options: tuple[str, ...] = ()
    folder: str = "/var/tmp/edgewright-hil"  # noqa: S108  on the board, and of the user's choice
    python: str = "python3"
    wheels: str = ""
    power_off: tuple[str, ...] = ()
    power_on: tuple[str, ...] = ()
    console: tuple[str, ...] = ()
    boot_seconds: float = bounded(120.0, low=1.0, high=3600.0)


def open_rig(board: Board, folder: Path) -> Rig:
    """Make the rig; see `hil.rig.open_rig`.

    Raises:
        BoardError: ``[resource]`` is wrong.
        RigError: The board cannot be reached, or lacks what the agent needs.
    """
    host = read_table(SshHost, board.resource, where=f"{board.origin}: resource", error=BoardError)
    return open_host(host, board, folder)


def open_host(host: SshHost, board: Board, folder: Path) -> Rig:
    """Connect to a board, and make its rig.

    Args:
        host: Where it is, and what switches it.
        board: Which it is.
        folder: On this machine, for the connection and what the console says.

    Raises:
        BoardError: ``host`` contradicts itself.
        RigError: The board cannot be reached, or lacks what the agent needs; its folder is somebody else's; or its console's command
            cannot be started.
    """
    if bool(host.power_off) != bool(host.power_on):
        raise BoardError(f"{board.origin}: resource: power_off and power_on belong together.")
    if not host.folder.startswith("/") or len(host.folder.strip("/")) < 5:
        raise BoardError(
            f"{board.origin}: resource.folder: expected a path of the rig's own, got {host.folder!r}."
        )
    address = SshAddress(
        host=host.host, port=host.port, user=host.user, identity=host.identity, options=host.options
    )
    connection = SshConnection(address, folder, slowness=board.section.slowness)
    console = CommandConsole(host.console, folder) if host.console else None

    def power(shell: SshShell, network: RelayedNetwork) -> Power:
        if not host.power_off:
            return ProcessPower(shell)
        return SwitchedPower(
            off=lambda: _run_here(host.power_off),
            on=lambda: _run_here(host.power_on),
            boot_seconds=host.boot_seconds,
            connection=connection,
            shell=shell,
            network=network,
        )

    try:
        connection.open()
        require_own(connection, host.folder)
        rig = rig_over(connection, host, board, power=power)
    except BaseException:
        connection.close()
        if console is not None:
            console.close()
        raise
    if console is not None:
        rig.parts = replace(rig.parts, console=console)
        rig.close_last(console.close)
    return rig


def rig_over(
    connection: SshConnection,
    host: SshHost,
    board: Board,
    *,
    power: Callable[[SshShell, RelayedNetwork], Power],
    network: RelayedNetwork | None = None,
) -> Rig:
    """Make a rig of a board that can be reached; whoever opened the connection closes it when this fails.

    Args:
        connection: The way to the board, open.
        host: Where things are on it.
        board: Which it is.
        power: Makes what switches it.
        network: Ways to this machine; by default through the connection.

    Raises:
        RigError: The board lacks what the agent needs.
    """
    files = SshFiles(connection)
    make_anew(files, host.folder)
    try:
        return _rig_in_its_folder(connection, files, host, board, power=power, network=network)
    except BaseException:
        with contextlib.suppress(RigError):  # of a board that went away; what led here is told
            files.remove(host.folder)
        raise


def _rig_in_its_folder(
    connection: SshConnection,
    files: SshFiles,
    host: SshHost,
    board: Board,
    *,
    power: Callable[[SshShell, RelayedNetwork], Power],
    network: RelayedNetwork | None,
) -> Rig:
    shell = SshShell(connection, host.folder)
    source = _push_agent(shell, files, host)
    if host.wheels:
        _install(shell, files, host)
    sysfs = ReplayedSysfs(files, f"{host.folder}/sys") if board.section.sensors == "replayed" else None
    clock = ShiftedClock(files, f"{host.folder}/clock")
    network = RelayedNetwork(connection.expose) if network is None else network
    environment = {"PYTHONPATH": f"{clock.folder}:{source}:{host.folder}/wheels"}
    _require_agent(shell, host, environment)

    def close() -> None:
        network.close()
        try:
            files.remove(host.folder)
        finally:
            connection.close()

    return Rig(
        board=board,
        parts=Parts(
            shell=shell,
            files=files,
            power=power(shell, network),
            network=network,
            thermal=sysfs,
            meter=sysfs,
            rails=None if sysfs is None else ReplayedRails(files, sysfs.root),
            battery=None if sysfs is None else ReplayedBattery(shell, files, sysfs.root),
            clock=clock,
            disk=SmallDisk.on(shell, f"{host.folder}/disk"),
        ),
        folder=host.folder,
        agent_command=(host.python, "-m", "device_agent"),
        environment=environment,
        sysfs_root="/sys" if sysfs is None else sysfs.root,
        close_parts=close,
    )


def _push_agent(shell: SshShell, files: SshFiles, host: SshHost) -> str:
    """Put the agent's own files on the board, compiled and on its disk; return the folder.

    Bytecode that the agent wrote by itself could be half there after a power cut, and would stop Python then.
    """
    told = shell.run([host.python, "-c", "import importlib.util as u; print(u.MAGIC_NUMBER.hex())"])
    is_same = told.stdout.strip() == MAGIC_NUMBER.hex().encode()
    files.write(f"{host.folder}/site.tar", _agent_sources(host.folder, is_compiled=is_same))
    shell.run(["tar", "-xf", f"{host.folder}/site.tar", "-C", host.folder], timeout_seconds=_INSTALL_SECONDS)
    source = f"{host.folder}/site"
    if not is_same:
        shell.run([host.python, "-m", "compileall", "-q", source], timeout_seconds=_INSTALL_SECONDS)
    shell.run(["sync"], timeout_seconds=_INSTALL_SECONDS)
    return source


# Compiling takes seconds, and boards are often opened again, or several with one folder.
@lru_cache(maxsize=4)
def _agent_sources(destination: str, *, is_compiled: bool) -> bytes:
    """Return the agent's own files as a tar archive, below ``site``; compiled: with the bytecode of this machine's Python.

    Args:
        destination: Where it will be unpacked: tracebacks name the files there.
        is_compiled: Whether the board's Python reads that bytecode.
    """
    package = Path(device_agent.__file__).parent
    stream = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=stream, mode="w") as archive:
        site = Path(folder) / "site"
        shutil.copytree(package, site / package.name, ignore=shutil.ignore_patterns("__pycache__"))
        if is_compiled:
            compileall.compile_dir(
                site,
                quiet=2,
                stripdir=folder,
                prependdir=destination,
                invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
            )
        archive.add(site, arcname="site")
    return stream.getvalue()


def _install(shell: SshShell, files: SshFiles, host: SshHost) -> None:
    wheels = sorted(Path(host.wheels).glob("*.whl"))
    if not wheels:
        raise RigError(f"{host.wheels}: there is no wheel.")
    for wheel in wheels:
        files.write(f"{host.folder}/pushed/{wheel.name}", wheel.read_bytes())
    pushed = [f"{host.folder}/pushed/{wheel.name}" for wheel in wheels]
    pip = [
        host.python,
        "-m",
        "pip",
        "install",
        "--no-index",
        "--no-deps",
        "--target",
        f"{host.folder}/wheels",
    ]
    done = shell.run([*pip, *pushed], timeout_seconds=_INSTALL_SECONDS)
    if done.status != 0:
        raise RigError(f"the wheels cannot be installed: {last_line(done.stderr)}.")


def _require_agent(shell: SshShell, host: SshHost, environment: Mapping[str, str]) -> None:
    named = [f"{name}={value}" for name, value in environment.items()]
    done = shell.run(["env", *named, host.python, "-m", "device_agent", "--help"])
    if done.status != 0:
        raise RigError(
            f"{host.host}: the agent does not run with {host.python}: {last_line(done.stderr)}.",
            hint="The board needs Python 3.10 or later with paho-mqtt and psutil; or name a folder of wheels.",
        )


def _run_here(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RigError(f"{' '.join(command)}: {error}.") from error
    if done.returncode != 0:
        raise RigError(f"{' '.join(command)}: status {done.returncode}: {last_line(done.stderr)}.")
