"""`Qmp`: QEMU's machine protocol, one command at a time over a socket of this machine.

Source: QEMU, docs/interop/qmp-spec.rst: a JSON document a line; a greeting first; an answer has ``return`` or ``error``, an event ``event``.
"""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any

from hil.errors import RigError

if TYPE_CHECKING:
    from pathlib import Path

_SECONDS = 30.0
_LONGEST_LINE = 1 << 20


class Qmp:
    """One conversation with a running QEMU.

    Args:
        path: The socket that QEMU listens at.

    Raises:
        RigError: Nothing listens there, or what does is no QEMU.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_SECONDS)
        try:
            self._socket.connect(str(path))
            self._lines = self._socket.makefile("rb")
        except OSError as error:
            self._socket.close()
            raise RigError(f"{path}: QEMU does not answer: {error.strerror or error}.") from error
        try:
            self.version: str = _version(self._document(), path)
            self.ask("qmp_capabilities")
        except RigError:
            self.close()
            raise

    def ask(self, command: str, **arguments: object) -> Any:
        """Run a command; return its answer. Events that come meanwhile are passed over.

        Raises:
            RigError: QEMU refuses it, or is gone.
        """
        request = {"execute": command, "arguments": arguments} if arguments else {"execute": command}
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise RigError(f"{self._path}: {command}: QEMU is gone: {error.strerror or error}.") from error
        while True:
            answer = self._document()
            if "error" in answer:
                told = answer["error"]
                said = told.get("desc") if isinstance(told, dict) else told
                raise RigError(f"{self._path}: {command}: QEMU refuses: {said}")
            if "return" in answer:
                return answer["return"]

    def close(self) -> None:
        """End the conversation; the machine runs on. Calling twice is harmless."""
        with contextlib.suppress(OSError):
            self._lines.close()
        self._socket.close()

    def _document(self) -> dict[str, Any]:
        try:
            line = self._lines.readline(_LONGEST_LINE)
        except OSError as error:
            raise RigError(f"{self._path}: QEMU does not answer: {error.strerror or error}.") from error
        if not line.endswith(b"\n"):
            raise RigError(f"{self._path}: QEMU ended the conversation, or its line is too long.")
        try:
            document = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise RigError(f"{self._path}: expected a line of JSON from QEMU, got {line[:80]!r}.") from error
        if not isinstance(document, dict):
            raise RigError(f"{self._path}: expected a JSON object from QEMU, got {line[:80]!r}.")
        return document


def _version(greeting: dict[str, Any], path: Path) -> str:
    try:
        version = greeting["QMP"]["version"]["qemu"]
        return f"{version['major']}.{version['minor']}.{version['micro']}"
    except (KeyError, TypeError) as error:
        raise RigError(f"{path}: expected QEMU's greeting, got {str(greeting)[:80]}.") from error
