"""QEMU's protocol, against what a QEMU 7.2 said."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from hil.errors import RigError
from hil.virtual.qmp import Qmp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What Debian's QEMU 7.2.22 said (`qemu-system-x86_64 -M none -qmp …`), line by line.
GREETING = b'{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian 1:7.2+dfsg-7+deb12u18+b3"}, "capabilities": ["oob"]}}\r\n'
ANSWERS = {
    b"qmp_capabilities": b'{"return": {}}\r\n',
    b"query-status": b'{"return": {"status": "running", "singlestep": false, "running": true}}\r\n',
    b"stop": b'{"timestamp": {"seconds": 1795767151, "microseconds": 279037}, "event": "STOP"}\r\n{"return": {}}\r\n',
    b"set_link": b'{"error": {"class": "DeviceNotFound", "desc": "Device \'none\' not found"}}\r\n',
}


@contextlib.contextmanager
def speaking(path: Path, greeting: bytes = GREETING) -> Iterator[Path]:
    """Say what QEMU said, to one caller; to what it was not asked then, nothing more."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def serve() -> None:
        with contextlib.suppress(OSError):
            line, _ = server.accept()
            with line, line.makefile("rb") as asked:
                line.sendall(greeting)
                if greeting != GREETING:
                    return
                for request in asked:
                    answers = [answer for name, answer in ANSWERS.items() if b'"%s"' % name in request]
                    if not answers:
                        return
                    line.sendall(answers[0])

    thread = threading.Thread(target=serve)
    thread.start()
    yield path
    with contextlib.suppress(OSError):
        server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(30)


def test_a_conversation_with_qemu(tmp_path: Path) -> None:
    with speaking(tmp_path / "q") as path:
        control = Qmp(path)
        assert control.version == "7.2.22"
        assert control.ask("query-status")["status"] == "running"
        assert control.ask("stop") == {}, "the event before the answer is passed over"
        with pytest.raises(RigError, match="set_link: QEMU refuses: Device 'none' not found"):
            control.ask("set_link", name="none", up=False)
        assert control.ask("query-status")["running"]
        with pytest.raises(RigError, match="ended the conversation"):
            control.ask("unheard-of")
        control.close()
        control.close()


@pytest.mark.parametrize(
    ("greeting", "message"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "expected a line of JSON"),
        (b"[" * 5000 + b"\n", "expected a line of JSON"),
        (b"[1]\n", "expected a JSON object"),
        (b"{}\n", "expected QEMU's greeting"),
        (b'{"QMP": {"version": 7}}\n', "expected QEMU's greeting"),
        (b'{"QMP": ', "ended the conversation"),
    ],
)
def test_what_is_no_qemu_is_said(tmp_path: Path, greeting: bytes, message: str) -> None:
    with speaking(tmp_path / "q", greeting) as path, pytest.raises(RigError, match=message):
        Qmp(path)


def test_a_qemu_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(RigError, match="QEMU does not answer"):
        Qmp(tmp_path / "none")
