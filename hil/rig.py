"""`Rig`: a board with its drivers. Tests ask it for protocols; it says which it has."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from hil.board import load_board
from hil.errors import BoardError, BootError, RigError, UnsupportedFeatureError
from hil.protocols import FEATURES, Feature
from hil.table import unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hil.board import Board
    from hil.protocols import (
        Console,
        Disk,
        Files,
        Interface,
        Network,
        Power,
        Shell,
        WriteProtection,
    )
    from hil.senses import Battery, Clock, Meter, Rails, Thermal

_Part = TypeVar("_Part")

KINDS: Mapping[str, str] = {
    "labgrid": "hil.rigs.labgrid",
    "local": "hil.rigs.local",
    "qemu": "hil.rigs.qemu",
    "ssh": "hil.rigs.ssh",
}
"""Kinds of rig that ship, to the module whose ``open_rig(board, folder)`` makes one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The drivers of a rig by feature; None: the rig has no such feature."""

    shell: Shell
    files: Files
    power: Power | None = None
    network: Network | None = None
    console: Console | None = None
    thermal: Thermal | None = None
    meter: Meter | None = None
    rails: Rails | None = None
    battery: Battery | None = None
    clock: Clock | None = None
    disk: Disk | None = None
    write_protection: WriteProtection | None = None
    interface: Interface | None = None


@dataclass(slots=True, kw_only=True)
class Rig:
    """A board that can be tested on.

    Attributes:
        board: Which.
        parts: Its drivers.
        folder: A folder of this rig's own on the board.
        agent_command: What stands before ``run --config …`` on the board.
        environment: Variables of the agent.
        sysfs_root: Where the agent reads its sensors.
        facts: What else the report says of it: name and value.
        close_parts: Gives back what the drivers hold.
        broken: The first failure of the rig itself, or that the board does not come up; from then on nothing is tried again.
    """

    board: Board
    parts: Parts
    folder: str
    agent_command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    sysfs_root: str = "/sys"
    facts: Mapping[str, str] = field(default_factory=dict)
    close_parts: Callable[[], None] = lambda: None
    broken: RigError | BootError | None = None

    @property
    def features(self) -> tuple[Feature, ...]:
        """Which protocols it has, in their order."""
        return tuple(
            feature
            for feature, part in zip(FEATURES, fields(self.parts), strict=True)
            if getattr(self.parts, part.name) is not None
        )

    @property
    def shell(self) -> Shell:
        """Commands on the board."""
        return self.parts.shell

    @property
    def files(self) -> Files:
        """Files on the board."""
        return self.parts.files

    @property
    def power(self) -> Power:
        """Its power, or `UnsupportedFeatureError`."""
        return self._part("power", self.parts.power)

    @property
    def network(self) -> Network:
        """Its ways to this machine, or `UnsupportedFeatureError`."""
        return self._part("network", self.parts.network)

    @property
    def console(self) -> Console:
        """What it says beside the agent's log, or `UnsupportedFeatureError`."""
        return self._part("console", self.parts.console)

    @property
    def thermal(self) -> Thermal:
        """Its temperature, or `UnsupportedFeatureError`."""
        return self._part("thermal", self.parts.thermal)

    @property
    def meter(self) -> Meter:
        """Its power sensor, or `UnsupportedFeatureError`."""
        return self._part("meter", self.parts.meter)

    @property
    def rails(self) -> Rails:
        """Its power rails, or `UnsupportedFeatureError`."""
        return self._part("rails", self.parts.rails)

    @property
    def battery(self) -> Battery:
        """Its battery, or `UnsupportedFeatureError`."""
        return self._part("battery", self.parts.battery)

    @property
    def clock(self) -> Clock:
        """The agent's clocks, or `UnsupportedFeatureError`."""
        return self._part("clock", self.parts.clock)

    @property
    def disk(self) -> Disk:
        """The spool's disk, or `UnsupportedFeatureError`."""
        return self._part("disk", self.parts.disk)

    @property
    def write_protection(self) -> WriteProtection:
        """What makes that disk read-only, or `UnsupportedFeatureError`."""
        return self._part("write_protection", self.parts.write_protection)

    @property
    def interface(self) -> Interface:
        """Its network interface, or `UnsupportedFeatureError`."""
        return self._part("interface", self.parts.interface)

    def close(self) -> None:
        """Kill what runs on it and give back what it holds.

        Raises:
            RigError: It cannot; of what is broken already, that is not told again.
        """
        try:
            try:
                self.parts.shell.kill_all()
            finally:
                self.close_parts()
        except RigError:
            if self.broken is None:
                raise

    def close_last(self, close: Callable[[], None]) -> None:
        """Give something back after all that is given back already: what the drivers stand on."""
        close_parts = self.close_parts

        def close_both() -> None:
            try:
                close_parts()
            finally:
                close()

        self.close_parts = close_both

    def _part(self, feature: Feature, part: _Part | None) -> _Part:
        if part is None:
            raise UnsupportedFeatureError(
                f"rig {self.board.name!r} has no {feature!r}.", hint=f"It has {', '.join(self.features)}."
            )
        return part


def open_rig(name: str, folder: Path) -> Rig:
    """Open a rig by the name or the file of its board.

    Args:
        name: See `hil.board.load_board`.
        folder: A folder on this machine, for whatever the rig keeps here.

    Raises:
        BoardError: There is no such board, its file is wrong, or its kind makes no rig.
        RigError: It cannot be reached.
    """
    board = load_board(name)
    rig: object = _opener(board)(board, folder)
    if not isinstance(rig, Rig):  # of a kind that is not ours: a forgotten `return`
        raise BoardError(
            f"{board.origin}: board.kind: {board.section.kind!r}: expected it to return a Rig, got {type(rig).__name__}."
        )
    return rig


def _opener(board: Board) -> Callable[[Board, Path], Rig]:
    """Return what makes rigs of a board's kind: of ours, or ``MODULE:FUNCTION`` of somebody else's.

    Raises:
        BoardError: There is no such kind.
    """
    kind = board.section.kind
    where = f"{board.origin}: board.kind: {kind!r}"
    module, colon, function = kind.partition(":")
    if not colon and kind not in KINDS:
        unknown(where, kind, KINDS, error=BoardError)
    try:
        opener = getattr(import_module(KINDS.get(kind, module)), function or "open_rig")
    except Exception as error:  # a module that is not ours may raise anything
        raise BoardError(
            f"{where}: cannot be loaded: {type(error).__name__}: {error}.",
            hint="It is MODULE:FUNCTION; the folder of the module has to be in PYTHONPATH.",
        ) from error
    if not callable(opener):
        raise BoardError(f"{where}: expected a function, got {type(opener).__name__}.")
    found: Callable[[Board, Path], Rig] = opener
    return found
