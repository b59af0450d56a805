"""What must be written on this device: spool, results, status socket, and the folder of updates."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from typing import TYPE_CHECKING, Final

from device_agent.config import named_models
from device_agent.config.paths import socket_path
from device_agent.contract.errors import EdgewrightError, StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from device_agent.config import AgentConfig

_LEAST_ROOM_BYTES: Final = 1 << 16
_FOLDER_HINT: Final = "Choose a folder that the agent may write."


def look_at_spool(config: AgentConfig) -> tuple[Mapping[str, object], EdgewrightError | None]:
    """Ask whether the spool's file can be written or made."""
    costs = "messages would wait in memory, and be lost with the agent"
    return _look_at_file("spool.path", config.spool.path, costs, may_be_device=False)


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
