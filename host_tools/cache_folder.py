"""Where what is dear to make is kept between commands, and how it is written."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from host_tools.errors import OutputError


def cache_folder(given: str | Path | None) -> Path:
    """Return the folder given; by default ``edgewright`` below ``$XDG_CACHE_HOME`` or ``~/.cache``.

    Raises:
        OutputError: No folder is given and there is no home directory.
    """
    if given is not None:
        return Path(given)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgewright"
    except RuntimeError as error:  # a container's user without an entry in passwd
        raise OutputError(f"Cache: {error}", hint="Give --cache DIR or set HOME.") from error


def write_whole(path: Path, data: bytes) -> None:
    """Write a file of a cache, whole or not at all; its folder is made.

    Raises:
        OutputError: The folder cannot be made or written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise OutputError(
            f"{path.parent}: {error.strerror or error}.", hint="Choose another --cache DIR."
        ) from error
