"""The status over a Unix socket: whoever connects is told, and the connection is closed. Nothing is taken in.

A thread of its own answers, so that it can also say that the loop does not.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from device_agent import __version__
from device_agent.contract.document import visible_json
from device_agent.contract.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


_ANSWER_SECONDS: Final = 2.0
_SEND_SECONDS: Final = 2.0
_PAUSE_SECONDS: Final = 1.0
_MAX_BYTES: Final = 256 << 10


class NotRunningError(DeviceError):
    """No agent answers."""

    code = "not_running"


class StatusServer:
    """Answers until closed.

    Args:
        path: The socket; what lies there from a run before is replaced. Only the agent's own user (and root) may connect.
        ask: Asks the loop to put a document into the queue.

    Raises:
        OSError: The socket cannot be made, or what lies at ``path`` is none.
    """

    def __init__(self, path: Path, ask: Callable[[SimpleQueue[Mapping[str, object]]], None]) -> None:
        self._path = path
        self._ask = ask
        self._closed = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and not path.is_socket():
                raise FileExistsError(errno.EEXIST, "what lies there is no socket, and is left alone")
            path.unlink(missing_ok=True)
            with _short(path) as address:
                self._listener.bind(address)
            path.chmod(0o600)  # before `listen`: nobody has got in with other rights
            self._listener.listen(4)
        except OSError:
            self._listener.close()
            raise
        threading.Thread(target=self._run, name="status", daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed, or no descriptor is left at the moment
                self._closed.wait(_PAUSE_SECONDS)
                continue
            with contextlib.suppress(OSError), connection:
                connection.settimeout(_SEND_SECONDS)
                connection.sendall(self._answer())

    def _answer(self) -> bytes:
        answers: SimpleQueue[Mapping[str, object]] = SimpleQueue()
        self._ask(answers)
        try:
            document = answers.get(timeout=_ANSWER_SECONDS)
        except Empty:
            document = {
                "agent": {"pid": os.getpid(), "phase": "stuck"},
                "health": {
                    "status": "down",
                    "reason": f"the loop does not answer within {_ANSWER_SECONDS:g} s",
                },
            }
        return visible_json(document).encode()


def read_status(path: Path, *, timeout_seconds: float = 5.0) -> dict[str, Any]:
    """Ask the agent that listens at ``path``.

    Raises:
        NotRunningError: Nobody answers, or not what an agent would.
    """
    hint = "Is the agent running, from this configuration? Ask as its user or as root."
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_seconds)
            with _short(path) as address:
                connection.connect(address)
            data = b""
            while len(data) <= _MAX_BYTES and (part := connection.recv(1 << 16)):
                data += part
    except OSError as error:
        raise NotRunningError(f"{path}: no agent answers: {error.strerror or error}.", hint=hint) from error
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NotRunningError(f"{path}: the answer is not an agent's: {error}.", hint=hint) from error
    if not isinstance(document, dict) or not isinstance(document.get("agent"), dict):
        raise NotRunningError(f"{path}: the answer is not an agent's.", hint=hint)
    return document


@contextlib.contextmanager
def understood(path: Path) -> Iterator[None]:
    """Read what `read_status` returned: an agent of another version may say it in other words, and who else listens there anything.

    Args:
        path: The socket, for the message.

    Raises:
        NotRunningError: It is not what an agent of this version says.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, OSError) as error:
        raise NotRunningError(
            f"{path}: the answer is not one of an agent of version {__version__}: {type(error).__name__}: {error}.",
            hint="Was it installed anew while the agent ran? Restart the agent; `status --json` shows the answer as it came.",
        ) from error


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """Give a name for the socket that fits: the kernel takes 107 bytes, and folders may be deep. Source: unix(7)."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
