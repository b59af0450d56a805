"""What must be written on this device: spool, results, status socket, and the folder of updates."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from device_agent.config import named_models
from device_agent.config.paths import socket_path
from device_agent.contract.errors import EdgewrightError, StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from device_agent.config import AgentConfig

_LEAST_ROOM_BYTES: Final = 1 << 16
_LOG_OF_THE_SPOOL_BYTES: Final = 1 << 20
"""SQLite's, beside the file; see `telemetry.store`."""
_FOLDER_HINT: Final = "Choose a folder that the agent may write."


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolRoom:
    """Room on the spool's disk.

    Attributes:
        free_bytes: That the agent may write.
        more_bytes: That the spool may take beyond what it has, its log included.
    """

    free_bytes: int
    more_bytes: int

    @property
    def is_short(self) -> bool:
        """Whether the spool could fill the disk: then it goes on in memory, and what lies on the disk waits until there is room."""
        return self.free_bytes < self.more_bytes

    @property
    def text(self) -> str:
        """Say it in one line."""
        free = f"{self.free_bytes >> 20} MiB free"
        return (
            f"{free}, and the spool may take {-(-self.more_bytes >> 20)} MiB more" if self.is_short else free
        )

    @property
    def cure(self) -> str:
        """Say what to do; empty when there is nothing to do."""
        kept = "Free space, or lower spool.max_bytes: on a full disk messages are kept in memory only."
        return kept if self.is_short else ""


def spool_room(config: AgentConfig) -> SpoolRoom:
    """Look at the disk that the spool lies on, or would lie on.

    Raises:
        OSError: It cannot be looked at, or there is no folder.
    """
    path = config.spool.path
    folder = existing_part(path.parent)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is no folder")
    files = [path.with_name(path.name + suffix) for suffix in ("", "-wal")]
    taken = sum(file.stat().st_size for file in files if file.exists())
    return SpoolRoom(
        free_bytes=shutil.disk_usage(folder).free,
        more_bytes=max(0, config.spool.max_bytes + _LOG_OF_THE_SPOOL_BYTES - taken),
    )


def look_at_spool(config: AgentConfig) -> tuple[Mapping[str, object], EdgewrightError | None]:
    """Ask whether the spool's file can be written or made, and say whether there is room for all that it may take."""
    costs = "messages would wait in memory, and be lost with the agent"
    found, problem = _look_at_file("spool.path", config.spool.path, costs, may_be_device=False)
    if problem is not None:
        return found, problem
    try:
        room = spool_room(config)
    except OSError as error:
        return _unwritable("spool.path", config.spool.path, error, costs)
    return {**found, "room": f"{room.text}. {room.cure}" if room.is_short else room.text}, None


def look_at_files(config: AgentConfig) -> tuple[Mapping[str, object], EdgewrightError | None]:
    """Ask the same of every model's file of results, and of the socket for the status; return the first problem."""
    found: dict[str, object] = {}
    problems = []
    for name, alone in named_models(config):
        path = alone.results.jsonl
        if path is not None and str(path) != "-":
            key = "results.jsonl" if alone is config else f"model {name}: results.jsonl"
            facts, problem = _look_at_file(key, path, "no result would be in it", may_be_device=True)
            found |= facts
            problems.append(problem)
    facts, problem = _look_at_socket(socket_path(config))
    problems.append(problem)
    return {**found, **facts}, next((one for one in problems if one is not None), None)


def look_at_updates(
    config: AgentConfig,
) -> tuple[Mapping[str, object], EdgewrightError | None, EdgewrightError | None]:
    """Say what updates begin with; return what would end the agent, and what would keep it from taking any."""
    if config.update.url is None:
        return {}, None, None
    from device_agent.update.bootstrap import read_bootstrap  # noqa: PLC0415  who wants none pays for none
    from device_agent.update.outlook import outlook  # noqa: PLC0415  likewise

    found: dict[str, object] = {"repository": config.update.url}
    try:
        bootstrap = read_bootstrap(config)
    except EdgewrightError as error:
        return {**found, "refused": str(error)}, error, None
    found["root"] = f"{bootstrap.root}, version {bootstrap.version}"
    folder = bootstrap.folder
    try:
        require_writable(folder)
    except OSError as error:
        problem = StorageError(
            f"update.directory: {folder}: cannot be written: {error.strerror or error}; no update would be taken.",
            hint="Choose a folder that the agent may write.",
        )
        return {**found, "directory": str(problem)}, None, problem
    found["directory"] = f"{folder}, {'is there' if folder.exists() else 'will be made'}"
    told, waits = outlook(config, bootstrap)
    return {**found, **told}, None, waits


def require_writable(folder: Path) -> None:
    """Make a file in the folder, or where it would be made; it is gone at once.

    Raises:
        OSError: It cannot be made.
    """
    with tempfile.TemporaryFile(dir=existing_part(folder)) as stream:
        stream.write(bytes(_LEAST_ROOM_BYTES))  # a full disk opens files, and makes empty ones
        stream.flush()


def existing_part(folder: Path) -> Path:
    """Return the folder, or where it would be made.

    Raises:
        OSError: It cannot be looked at.
    """
    return next(parent for parent in (folder, *folder.parents) if parent.exists())


def _look_at_file(
    key: str, path: Path, costs: str, *, may_be_device: bool
) -> tuple[Mapping[str, object], EdgewrightError | None]:
    try:
        is_there = path.exists()
        is_device = is_there and _kind_of_writable(path) == stat.S_IFCHR
        if not (is_device and may_be_device):
            if is_device:
                raise FileExistsError(errno.EEXIST, "what lies there is a device and no file")
            require_writable(path.parent)
    except OSError as error:
        return _unwritable(key, path, error, costs)
    return {str(path): "is there" if is_there else "will be made"}, None


def _look_at_socket(path: Path) -> tuple[Mapping[str, object], EdgewrightError | None]:
    try:
        is_there = path.exists()
        if is_there and not path.is_socket():
            raise FileExistsError(errno.EEXIST, "what lies there is no socket, and is left alone")
        require_writable(path.parent)
    except OSError as error:
        return _unwritable("status.socket", path, error, "nobody could ask for the status")
    return {str(path): "is there" if is_there else "will be made"}, None


def _kind_of_writable(path: Path) -> int:
    """Return what kind of file this is, as in `stat.S_IFMT`.

    Raises:
        OSError: It cannot be opened for writing.
    """
    descriptor = os.open(
        path, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK
    )  # a pipe without a reader is an error
    try:
        return stat.S_IFMT(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)


def _unwritable(
    key: str, path: Path, error: OSError, costs: str
) -> tuple[Mapping[str, object], EdgewrightError]:
    reason = error.strerror or error
    problem = StorageError(f"{key}: {path}: cannot be written: {reason}; {costs}.", hint=_FOLDER_HINT)
    return {str(path): str(problem)}, problem
