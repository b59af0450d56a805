"""What every engine asks of the arguments of its ``load``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_agent.contract.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_THREADS = 256
"""More than any device has cores; the libraries would start as many as they are told."""


def checked_files(engine: str, files: Mapping[str, bytes], *, count: int, threads: int) -> list[bytes]:
    """Return the payload's files, main file first.

    Args:
        engine: For messages.
        files: File name to bytes.
        count: How many files this engine's payload has.
        threads: As given to ``load``.

    Raises:
        EngineError: There are more or fewer files, the main one is empty, or ``threads`` is not from 1 to `MAX_THREADS`.
    """
    if len(files) != count:
        names = ", ".join(files) or "none"
        raise EngineError(f"engine {engine!r}: expected a payload of {count} file(s), got {names}.")
    contents = list(files.values())
    if not contents[0]:
        raise EngineError(f"engine {engine!r}: the payload {next(iter(files))!r} is empty.")
    if not 1 <= threads <= MAX_THREADS:
        raise EngineError(
            f"engine {engine!r}: expected at least 1 thread, at most {MAX_THREADS}, got {threads}."
        )
    return contents
