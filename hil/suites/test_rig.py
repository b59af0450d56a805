"""What every kind of rig must do, whatever runs on it: the template of `hil.protocols`; that of `hil.senses` is `test_rig_senses`."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from hil.errors import RigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hil.protocols import Program
    from hil.rig import Rig

    Turn = Callable[[], None]

SECONDS = 30.0
ALL_BYTES = bytes(range(256)) * 17
SILENT_SECONDS = 1.0
GREET = """
import socket, sys, time
begin = time.monotonic()
with socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3])) as line:
    line.sendall(b"board")
    print(line.recv(100).decode(), time.monotonic() - begin)
"""


@pytest.fixture
def folder(rig: Rig) -> Iterator[str]:
    made = f"{rig.folder}/template $x 'y' ü"
    yield made
    rig.files.remove(made)


@pytest.fixture
def greeter() -> Iterator[int]:
    """Return the port of a server of this machine that answers whoever says something."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = server.accept()
                with line, contextlib.suppress(OSError):
                    line.sendall(b"hello " + line.recv(100))

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def until(rig: Rig, claim: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS * rig.board.section.slowness
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_shell_gives_status_and_both_streams_and_takes_what_it_is_given(rig: Rig) -> None:
    done = rig.shell.run(
        ["sh", "-c", 'cat; printf "%s|" "$@" >&2; exit 3', "sh", "a b", "", "$HOME", "'"], stdin=ALL_BYTES
    )
    assert (done.status, done.stdout, done.stderr) == (3, ALL_BYTES, b"a b||$HOME|'|")


def test_shell_tells_what_cannot_be_started_and_what_takes_too_long(rig: Rig) -> None:
    with pytest.raises(RigError, match="no-such-command"):
        rig.shell.run(["no-such-command"])
    with pytest.raises(RigError, match="sleep"):
        rig.shell.run(["sleep", "20"], timeout_seconds=0.5)


def test_a_program_runs_by_itself_writes_its_log_and_tells_its_end(rig: Rig, folder: str) -> None:
    rig.files.write(f"{folder}/log", b"before\n")
    script = 'echo "$0 $GIVEN"; echo error >&2; trap "exit 7" TERM; while :; do sleep 0.05; done'
    program = rig.shell.spawn(
        ["sh", "-c", script, "a 'b'"], log=f"{folder}/log", environment={"GIVEN": "v w"}
    )
    until(rig, lambda: b"error" in rig.files.read(f"{folder}/log"))
    assert rig.files.read(f"{folder}/log") == b"before\na 'b' v w\nerror\n"
    assert program.status() is None
    program.signal(signal.SIGTERM)
    until(rig, lambda: program.status() is not None)
    assert program.status() == 7
    program.signal(signal.SIGTERM)  # it has ended: nothing happens
    by_signal = rig.shell.spawn(["sleep", "50"], log=f"{folder}/log")
    by_signal.signal(signal.SIGUSR1)
    until(rig, lambda: by_signal.status() is not None)
    assert by_signal.status() == -signal.SIGUSR1
    with pytest.raises(RigError, match="no-such-command"):
        rig.shell.spawn(["no-such-command"], log=f"{folder}/log")


def with_a_child(rig: Rig, folder: str) -> tuple[Program, Callable[[], bool]]:
    script = 'sleep 1000 & echo $! >"$0"; wait'
    program = rig.shell.spawn(["sh", "-c", script, f"{folder}/child"], log=f"{folder}/log")
    until(rig, lambda: rig.files.read(f"{folder}/child").strip())
    child = rig.files.read(f"{folder}/child").decode().strip()

    def child_runs() -> bool:
        state = rig.shell.run(["sh", "-c", 'cat "/proc/$0/stat" 2>/dev/null', child]).stdout
        return bool(state) and b") Z " not in state

    assert child_runs()
    return program, child_runs


def test_killing_takes_the_whole_process_group(rig: Rig, folder: str) -> None:
    rig.files.write(f"{folder}/child", b"")
    program, child_runs = with_a_child(rig, folder)
    program.kill()
    until(rig, lambda: program.status() is not None and not child_runs())
    assert program.status() == -signal.SIGKILL


@pytest.mark.needs("power")
def test_a_power_cut_takes_all_that_runs_and_then_the_board_answers_again(rig: Rig, folder: str) -> None:
    rig.files.write(f"{folder}/child", b"")
    program, child_runs = with_a_child(rig, folder)
    rig.power.cut()
    rig.power.restore()
    assert rig.shell.run(["true"]).status == 0
    until(rig, lambda: not child_runs())
    assert program.status() == -signal.SIGKILL


def test_files_are_replaced_whole_and_read_from_any_place(rig: Rig, folder: str) -> None:
    path = f"{folder}/deep/er/file"
    assert rig.files.read(path) == b""
    rig.files.write(path, b"old")
    rig.files.write(path, ALL_BYTES)
    assert rig.files.read(path) == ALL_BYTES
    assert rig.files.read(path, offset=4000) == ALL_BYTES[4000:]
    assert rig.files.read(path, offset=10_000) == b""
    assert rig.shell.run(["ls", f"{folder}/deep/er"]).stdout == b"file\n"
    rig.files.remove(path)
    rig.files.remove(path)
    assert rig.files.read(path) == b""
    rig.files.remove(folder)
    assert rig.shell.run(["test", "-e", folder]).status == 1
    with pytest.raises(RigError, match="/proc/none/file"):
        rig.files.write("/proc/none/file", b"")
    with pytest.raises(RigError, match="/proc"):
        rig.files.read("/proc")


@pytest.mark.needs("network")
def test_ways_to_this_machine_are_carried_cut_silent_and_slow(rig: Rig, greeter: int) -> None:
    port = rig.network.reach(greeter)
    assert rig.network.reach(greeter) == port, "one way a port"
    (link,) = [link for link in rig.network.links() if link.target == greeter]

    def greeted(seconds: float = SECONDS) -> bool:
        python: Sequence[str] = rig.agent_command[:1]
        done = rig.shell.run([*python, "-c", GREET, rig.network.host, str(port), str(seconds)])
        return done.stdout.startswith(b"hello board ")

    assert greeted()
    link.cut()
    assert not greeted()
    link.mend()
    assert greeted()
    link.fall_silent()
    assert not greeted(SILENT_SECONDS)
    link.mend()
    link.slow_down(0.3)
    begin = time.monotonic()
    assert greeted()
    assert time.monotonic() - begin >= 0.6
    link.slow_down(0.0)


def turn_by_turn(
    rig: Rig, folder: str, *, script: str, mebibytes: int, words: tuple[str, str], turns: tuple[Turn, Turn]
) -> None:
    """Let a program write to the small disk again and again: it says the first word; after a turn the second, after the other the first."""
    good, bad = (word.encode() for word in words)
    rig.files.write(f"{folder}/log", b"")
    command = [*rig.disk.shrink(mebibytes), "sh", "-c", script, rig.disk.folder]
    program = rig.shell.spawn(command, log=f"{folder}/log")
    until(rig, lambda: good in rig.files.read(f"{folder}/log"))
    turns[0]()
    until(rig, lambda: bad in rig.files.read(f"{folder}/log"))
    seen = len(rig.files.read(f"{folder}/log"))
    turns[1]()
    until(rig, lambda: good in rig.files.read(f"{folder}/log", offset=seen))
    program.kill()


@pytest.mark.needs("disk")
def test_the_small_disk_is_full_and_has_room_again(rig: Rig, folder: str) -> None:
    script = 'while :; do if head -c 1000 /dev/zero >>"$0/probe"; then echo room; else echo full; fi; sleep 0.05; done'
    turns = (rig.disk.fill, rig.disk.free)
    turn_by_turn(rig, folder, script=script, mebibytes=1, words=("room", "full"), turns=turns)


@pytest.mark.needs("disk", "write_protection")
def test_the_small_disk_is_read_only_for_open_files_too_and_can_be_written_again(
    rig: Rig, folder: str
) -> None:
    script = 'exec 3>>"$0/probe"; while :; do if head -c 100 /dev/zero >&3; then echo wrote; else echo refused; fi; sleep 0.05; done'
    turns = (rig.write_protection.protect, rig.write_protection.release)
    turn_by_turn(rig, folder, script=script, mebibytes=4, words=("wrote", "refused"), turns=turns)


@pytest.mark.needs("network", "interface")
def test_the_cable_can_be_pulled_and_packets_lost_or_late(rig: Rig, greeter: int) -> None:
    port = rig.network.reach(greeter)

    def greeted(seconds: float = SECONDS) -> float | None:
        """Return how long it took on the board, or None."""
        command = [*rig.agent_command[:1], "-c", GREET, rig.network.host, str(port), str(seconds)]
        done = rig.shell.run(command)
        return float(done.stdout.split()[-1]) if done.stdout.startswith(b"hello board") else None

    usual = greeted()
    assert usual is not None
    rig.interface.unplug()
    try:
        assert greeted(SILENT_SECONDS) is None
    finally:
        rig.interface.plug_in()
    assert greeted() is not None
    rig.interface.shape(delay_seconds=0.5, loss_share=0.05)
    try:
        slow = greeted()
        assert slow is not None
        assert slow >= 1.0, "the handshake and the greeting, each half a second late"
    finally:
        rig.interface.shape()
    again = greeted()
    assert again is not None
    assert again < 1.0 + usual
