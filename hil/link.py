"""`Link`: a way from the board to a port of this machine that can be cut, fall silent, become slow or read slowly, without root anywhere."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

_PIECE_BYTES = 1 << 16
_SIP_SECONDS = 0.1
"""A slow reader takes as much at once as it may take in so long."""
_CONNECT_SECONDS = 5.0

State = Literal["open", "cut", "silent"]


class Link:
    """Carries TCP connections from a port of its own on the loopback interface to another one.

    Attributes:
        target: The port that it leads to.
        port: The port that it listens at.
        connections: How many were accepted so far.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.connections = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._lock = threading.Lock()
        self._state: State = "open"
        self._carries = threading.Event()
        self._carries.set()
        self._delay_seconds = 0.0
        self._bytes_per_second = 0.0
        self._closed = False
        self._ends: set[socket.socket] = set()
        threading.Thread(target=self._accept, name=f"link-{self.port}", daemon=True).start()

    @property
    def state(self) -> State:
        """Whether it carries (`open`), refuses (`cut`) or swallows (`silent`)."""
        return self._state

    def cut(self) -> None:
        """Break every connection, and every new one, until `mend`."""
        self._change("cut")
        self._break_all()

    def fall_silent(self) -> None:
        """Carry nothing more, without a word to either side, as a radio link does, until `mend`."""
        self._change("silent")

    def slow_down(self, delay_seconds: float) -> None:
        """Hold every piece of up to 64 KiB back for so long, each way; 0 ends that."""
        self._delay_seconds = delay_seconds

    def read_slowly(self, bytes_per_second: float) -> None:
        """Take no more than so much from the board, on each connection; what it sends beyond that waits with it. 0 ends that."""
        self._bytes_per_second = bytes_per_second

    def mend(self) -> None:
        """Carry again; what was held back in silence is carried now."""
        self._change("open")

    def close(self) -> None:
        """End it. Calling twice is harmless."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._carries.set()
        self._break_all()

    def _change(self, state: State) -> None:
        with self._lock:
            self._state = state
            if state == "silent":
                self._carries.clear()
            else:
                self._carries.set()

    def _is_cut(self) -> bool:
        return self._state == "cut"

    def _break_all(self) -> None:
        with self._lock:
            ends, self._ends = self._ends, set()
        for end in ends:
            _close(end)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:  # closed
                return
            self.connections += 1
            threading.Thread(target=self._open, args=(near,), daemon=True).start()

    def _open(self, near: socket.socket) -> None:
        if self._is_cut():
            _close(near)
            return
        self._carries.wait()
        try:
            far = socket.create_connection(("127.0.0.1", self.target), _CONNECT_SECONDS)
        except OSError:
            _close(near)
            return
        far.settimeout(None)
        with self._lock:
            is_wanted = not (self._is_cut() or self._closed)
            if is_wanted:
                self._ends |= {near, far}
        if not is_wanted:  # it was cut meanwhile
            _close(near)
            _close(far)
            return
        for source, sink, pace in ((near, far, self._pace), (far, near, lambda: 0.0)):
            threading.Thread(target=self._carry, args=(source, sink, pace), daemon=True).start()

    def _pace(self) -> float:
        return self._bytes_per_second

    def _carry(self, source: socket.socket, sink: socket.socket, pace: Callable[[], float]) -> None:
        with contextlib.suppress(OSError):
            while data := _sip(source, pace):
                self._carries.wait()
                if self._delay_seconds:
                    time.sleep(self._delay_seconds)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
            return
        for end in (source, sink):  # broken: the other side is to know
            _close(end)


def _sip(source: socket.socket, pace: Callable[[], float]) -> bytes:
    """Take what has come; of a slow reader no more than its pace allows, and for as long as that takes."""
    bytes_per_second = pace()
    size = max(1, int(bytes_per_second * _SIP_SECONDS)) if bytes_per_second else _PIECE_BYTES
    data = source.recv(min(size, _PIECE_BYTES))
    begin = time.monotonic()
    # It may have become slow, or quick again, meanwhile.
    while (now := pace()) and (left := begin + len(data) / now - time.monotonic()) > 0.0:
        time.sleep(min(left, _SIP_SECONDS))
    return data


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
