"""`Board`: one board to test on, read from a TOML of a dozen lines. What the lines of ``[resource]`` are, its rig's kind says."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

from device_agent.contract.digest import digest_of
from device_agent.contract.manifest import EngineName
from hil.errors import BoardError
from hil.table import bounded, read_table, unknown
from host_tools.errors import InputError, TargetError
from host_tools.target_profiles import load_profile

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_BYTES = 1 << 16
_INTEGER_BITS = 63
"""Without the sign: TOML's integers have 64 bits."""
_SHOWN = 80
_ENGINES: tuple[EngineName, ...] = get_args(EngineName)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenTolerance:
    """How far outputs of one engine may be from the golden ones on this board.

    Attributes:
        max_lsb: Largest difference, in codes.
        min_share_within_one: Smallest share of outputs within one code.
    """

    max_lsb: int = bounded(low=0, high=255)
    min_share_within_one: float = bounded(1.0, low=0.0, high=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardSection:
    """The table ``[board]``.

    Attributes:
        kind: Kind of rig: one of `hil.rig.KINDS`, or ``MODULE:FUNCTION`` of whoever has another.
        description: For people: what stands on the bench.
        targets: Capability profiles whose artifacts run here; the sample artifact is converted for the first.
        engine_threads: Threads of one inference.
        sensors: ``replayed``: a tree that stands for ``/sys`` and can be moved; ``board``: the board's own.
        slowness: How many times longer than a fast machine it may take to start something; times of waiting are stretched by it.
    """

    kind: str
    description: str = ""
    targets: tuple[str, ...]
    engine_threads: int = bounded(1, low=1, high=256)
    sensors: Literal["replayed", "board"] = "replayed"
    slowness: float = bounded(1.0, low=1.0, high=1000.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One board.

    Attributes:
        name: The file's name without its ending.
        section: What ``[board]`` says.
        resource: ``[resource]`` as it stands: where the board is, read by its rig's kind.
        tolerances: By engine, ``[tolerance.ENGINE]``; an engine that is not named has its artifact's tolerance.
        origin: The file, for messages.
        digest: Of the file, ``sha256:…``.
    """

    name: str
    section: BoardSection
    resource: Mapping[str, Any] = field(default_factory=dict)
    tolerances: Mapping[str, GoldenTolerance] = field(default_factory=dict)
    origin: str = ""
    digest: str = ""

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        object.__setattr__(self, "resource", MappingProxyType(dict(self.resource)))
        object.__setattr__(self, "tolerances", MappingProxyType(dict(self.tolerances)))


def board_names() -> tuple[str, ...]:
    """Return the boards that ship."""
    return shipped_names("boards")


def load_board(name: str) -> Board:
    """Read a board.

    Args:
        name: One of `board_names`, or the path of a file; with a ``/`` or ``.toml`` in it, it is a path.

    Raises:
        BoardError: There is none, or a key is wrong.
    """
    data, origin = read_named(name, "boards", what="rig")
    return parse_board(data, name=Path(name).stem, origin=origin)


def parse_board(data: bytes, *, name: str, origin: str) -> Board:
    """Read a board from the bytes of its file; ``origin`` stands in messages.

    Raises:
        BoardError: It is no TOML, or a key is unknown, missing, of the wrong type or out of range.
    """
    document = read_toml(data, origin=origin, error=BoardError)
    tables = ("board", "resource", "tolerance")
    for key in document:
        if key not in tables:
            unknown(f"{origin}: {key[:_SHOWN]}", key, tables, error=BoardError)
    section = read_table(BoardSection, document.get("board", {}), where=f"{origin}: board", error=BoardError)
    for target in section.targets:
        try:
            load_profile(target)
        except TargetError as error:
            raise BoardError(f"{origin}: board.targets: {error.args[0]}", hint=error.hint) from error
    if not section.targets:
        raise BoardError(f"{origin}: board.targets: expected at least one capability profile.")
    resource, tolerances = document.get("resource", {}), document.get("tolerance", {})
    for key, table in (("resource", resource), ("tolerance", tolerances)):
        if not isinstance(table, dict):
            raise BoardError(f"{origin}: {key}: expected a table [{key}].")
    for engine in tolerances:
        # A slip of the pen would leave the artifact's own tolerance in force, without a word.
        if engine not in _ENGINES:
            unknown(f"{origin}: tolerance.{engine[:_SHOWN]}", engine, _ENGINES, error=BoardError)
    return Board(
        name=name,
        section=section,
        resource=resource,
        tolerances={
            engine: read_table(
                GoldenTolerance, table, where=f"{origin}: tolerance.{engine}", error=BoardError
            )
            for engine, table in tolerances.items()
        },
        origin=origin,
        digest=digest_of(data),
    )


def shipped_names(folder: str) -> tuple[str, ...]:
    """Return the names of the TOML files that ship in a folder of this package."""
    entries = (resources.files("hil") / folder).iterdir()
    return tuple(sorted(entry.name[:-5] for entry in entries if entry.name.endswith(".toml")))


def read_named(name: str, folder: str, *, what: str) -> tuple[bytes, str]:
    """Return the bytes of a TOML file, and what it is called in messages.

    Args:
        name: One of `shipped_names`, or the path of a file; with a ``/`` or ``.toml`` in it, it is a path.
        folder: Of this package.
        what: What it describes, for the message.

    Raises:
        BoardError: There is none.
    """
    if "/" in name or name.endswith(".toml"):
        try:
            return Path(name).read_bytes(), name
        except OSError as error:
            raise BoardError(f"{name}: cannot be read: {error.strerror or error}.") from error
    if name not in shipped_names(folder):
        unknown(f"{what} {name!r}", name, shipped_names(folder), error=BoardError)
    return (resources.files("hil") / folder / f"{name}.toml").read_bytes(), f"{name}.toml"


def read_toml(
    data: bytes, *, origin: str, error: type[InputError], max_bytes: int = _MAX_BYTES
) -> dict[str, Any]:
    """Return a document.

    Raises:
        InputError: As ``error``: it is too large, or no TOML.
    """
    if len(data) > max_bytes:
        raise error(f"{origin}: expected at most {max_bytes} bytes, got {len(data)}.")
    try:
        document = tomllib.loads(data.decode())
    except (
        ValueError,
        RecursionError,
    ) as cause:  # ValueError: no UTF-8, no TOML, and int()'s refusal of huge literals
        raise error(f"{origin}: no TOML: {cause}.") from cause
    if _has_huge_integer(document):
        raise error(f"{origin}: no TOML: expected integers of at most 64 bits.")
    return document


def _has_huge_integer(value: object) -> bool:
    """Say whether there is one that TOML does not allow: Python reads it where it is hexadecimal, and cannot show it in a message."""
    if isinstance(value, dict):
        return any(_has_huge_integer(one) for one in value.values())
    if isinstance(value, list):
        return any(_has_huge_integer(one) for one in value)
    return isinstance(value, int) and value.bit_length() > _INTEGER_BITS
