"""The rigs that ship, each against the template: `local` here, `ssh` against a real sshd on loopback; and what is wrong with a board."""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hil.board import board_names, load_board, parse_board
from hil.drivers.openssh import SshAddress, SshConnection
from hil.errors import BoardError, RigError, UnsupportedFeatureError
from hil.rig import open_rig
from host_tools.free_port import free_port
from tests.hil.suite_session import ROOT, lacking, run_suites
from tests.integration.support import can_connect, wait_until

if TYPE_CHECKING:
    pass

# What it waits for has limits of its own; on a busy machine many programs are long in coming.
pytestmark = pytest.mark.timeout(900)


def test_the_local_rig_is_as_the_template_says(tmp_path: Path) -> None:
    assert lacking(run_suites(tmp_path, "test_rig", "test_rig_senses", rig="local")) == {
        "interface",
        "write_protection",
    }


def test_a_small_disk_on_which_nothing_runs_cannot_be_filled(tmp_path: Path) -> None:
    rig = open_rig("local", tmp_path)
    with pytest.raises(RigError, match="cannot be filled"):
        rig.disk.fill()
    with pytest.raises(UnsupportedFeatureError, match="has no 'write_protection'"):
        rig.write_protection.protect()
    with pytest.raises(UnsupportedFeatureError, match="has no 'interface'"):
        rig.interface.unplug()
    rig.close()


HOLDING = """
import sys, time
from pathlib import Path
from hil.broker import Broker
from hil.rig import open_rig
folder = Path(sys.argv[1])
rig = open_rig("local", folder)
rig.shell.spawn(["sh", "-c", 'echo $$ >"$0"; exec sleep 1000', str(folder / "program")], log=str(folder / "log"))
broker = Broker(folder / "broker")
broker.start()
(folder / "held").write_text(str(broker.port))
time.sleep(1000)
"""


def test_agents_and_brokers_do_not_outlive_a_session_that_is_killed(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    holder = subprocess.Popen([sys.executable, "-c", HOLDING, str(tmp_path)], env=environment)
    try:
        held, number = tmp_path / "held", tmp_path / "program"
        wait_until(
            lambda: held.exists() and held.read_text() and number.exists(), what="both run", seconds=120
        )
        wait_until(number.read_text, what="its number is told")
    finally:
        holder.kill()  # SIGKILL: nothing of ours is run any more
        holder.wait()
    wait_until(lambda: not runs(int(number.read_text())), what="the program is gone")
    wait_until(lambda: not can_connect(int(held.read_text())), what="the broker is gone")


def runs(number: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return False


def test_a_program_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    rig = open_rig("local", tmp_path)
    with ThreadPoolExecutor(1) as pool:
        program = pool.submit(rig.shell.spawn, ["sleep", "1000"], log=str(tmp_path / "log")).result()
    assert program.status() is None
    rig.close()
    assert program.status() == -signal.SIGKILL


def test_the_ssh_rig_is_as_the_template_says(tmp_path: Path, sshd: Path) -> None:
    assert lacking(run_suites(tmp_path, "test_rig", "test_rig_senses", rig=str(sshd))) == {
        "interface",
        "write_protection",
    }
    assert not (sshd.parent / "board").exists(), "what was put on the board is taken away again"


def test_the_agent_on_an_ssh_rig_comes_up_and_reports(tmp_path: Path, sshd: Path) -> None:
    assert "2 passed" in run_suites(tmp_path, "test_smoke", rig=str(sshd))


def test_power_is_switched_by_commands_of_this_machine(tmp_path: Path, sshd: Path) -> None:
    commands = tmp_path / "commands"
    board = tmp_path / "switched.toml"
    switch = [f'power_{way} = ["sh", "-c", "echo {way} >> {commands}"]\n' for way in ("off", "on")]
    board.write_text(sshd.read_text() + "".join(switch))
    rig = open_rig(str(board), tmp_path)
    assert rig.power.cuts == "machine"
    port = rig.network.reach(free_port())
    script = 'echo $$ >"$0"; exec sleep 1000'
    program = rig.shell.spawn(["sh", "-c", script, f"{rig.folder}/number"], log=f"{rig.folder}/log")
    number = wait_until(
        lambda: rig.files.read(f"{rig.folder}/number").strip().decode(), what="the program runs"
    )
    rig.power.cut()
    assert program.status() == -signal.SIGKILL, "it went with the board, whatever has its number now"
    program.kill()
    rig.power.restore()
    assert commands.read_text() == "off\non\n"
    assert rig.shell.run(["kill", number]).status == 0, "this board, which is this machine, did not go"
    assert rig.network.reach(rig.network.links()[0].target) == port
    rig.close()


def test_a_console_is_what_a_command_of_this_machine_writes(tmp_path: Path, sshd: Path) -> None:
    board = tmp_path / "console.toml"
    says = r"""console = ["sh", "-c", "printf 'U-Boot \\377 2026\\n'; exec sleep 1000"]"""
    board.write_text(f"{sshd.read_text()}{says}\n")
    rig = open_rig(str(board), tmp_path)
    assert "console" in rig.features
    wait_until(lambda: "U-Boot \ufffd 2026\n" in rig.console.text(), what="it is heard")
    assert "ended with status" not in rig.console.text()
    rig.close()
    assert "ended with status -15" in rig.console.text(), "it ends with the rig"
    board.write_text(sshd.read_text() + 'console = ["sh", "-c", "echo gone; exit 3"]\n')
    rig = open_rig(str(board), tmp_path)
    wait_until(lambda: "exit 3: ended with status 3]" in rig.console.text(), what="its end is told")
    assert rig.console.text().startswith("gone\n")
    rig.close()


def own_kind(folder: Path, kind: str) -> str:
    board = folder / "own.toml"
    board.write_text(f'[board]\nkind = "{kind}"\ntargets = ["cortex-a-tflite"]\n')
    return str(board)


def test_a_kind_of_ones_own_needs_no_more_than_a_shell_and_files(tmp_path: Path) -> None:
    board = own_kind(tmp_path, "tests.hil.bare_rig:open_rig")
    said = run_suites(
        tmp_path, "test_rig", "test_rig_senses", "test_smoke", rig=board, options=("--rig-artifact=null",)
    )
    assert "network" in lacking(said)
    assert "passed" in said


def test_the_kind_of_rig_in_the_document_is_as_the_templates_say(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "hil.md").read_text(encoding="utf-8").partition("## A new kind of rig")[2]
    code, board = (re.findall(rf"```{what}\n(.*?)```", text, re.DOTALL)[0] for what in ("python", "toml"))
    bench = tmp_path / "bench"
    bench.mkdir()
    (bench / "line_rig.py").write_text(code)
    here = re.sub(
        r"way = .*", f'way = ["sh", "-c"]\nfolder = "{tmp_path}/board"\npython = "{sys.executable}"', board
    )
    (bench / "desk.toml").write_text(here)
    said = run_suites(
        tmp_path,
        "test_rig",
        "test_rig_senses",
        "test_smoke",
        rig=str(bench / "desk.toml"),
        options=("--rig-artifact=null",),
        own=(bench,),
    )
    assert lacking(said) == {"battery", "disk", "interface", "meter", "rails", "thermal", "write_protection"}
    assert not (tmp_path / "board").exists()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("tests.hil.no_rig:open_rig", "cannot be loaded: ModuleNotFoundError: No module named 'tests.hil.no_rig'"),
        ("tests.hil.bare_rig:opn_rig", "cannot be loaded: AttributeError: .*'opn_rig'"),
        ("tests.hil.bare_rig:NO_FUNCTION", "expected a function, got str"),
        ("builtins:print", "expected it to return a Rig, got NoneType"),
        (":open_rig", "cannot be loaded: ValueError: Empty module name"),
        ("tests.hil.bare_rig", "unknown"),
    ],
)  # fmt: skip
def test_a_kind_that_is_not_there_is_said(tmp_path: Path, kind: str, message: str) -> None:
    with pytest.raises(BoardError, match=message) as caught:
        open_rig(own_kind(tmp_path, kind), tmp_path)
    assert "own.toml: board.kind" in str(caught.value)


def in_use_by(folder: Path, process: int, board: Path, here: Path) -> None:
    folder.mkdir()
    (folder / ".edgewright-hil").write_text(f"{platform.node()} {process}\n")
    open_rig(str(board), here)


def test_a_folder_that_somebody_has_filled_is_not_removed(tmp_path: Path, sshd: Path) -> None:
    home = tmp_path / "home of pi"
    board = tmp_path / "slip.toml"
    board.write_text(sshd.read_text().replace(f'folder = "{sshd.parent}/board"', f'folder = "{home}"'))
    home.mkdir()
    (home / "thesis.tex").write_text("all of it")
    with pytest.raises(
        RigError, match=r"home of pi: has files on the board .* Name a folder of the rig's own"
    ):
        open_rig(str(board), tmp_path)
    assert (home / "thesis.tex").read_text() == "all of it"
    (home / "thesis.tex").unlink()
    home.rmdir()
    with pytest.raises(RigError, match=r"is in use on the board by process 1 of this machine.* pytest-xdist"):
        in_use_by(home, 1, board, tmp_path)
    shutil.rmtree(home)
    rig = open_rig(str(board), tmp_path)
    (tmp_path / "second").mkdir()
    open_rig(str(board), tmp_path / "second").close()  # as after a session that was killed
    assert not home.exists()
    rig.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("/user\"", "/stranger\""), "Permission denied"),
        (("known_hosts", "nobody_known"), "Host key verification failed"),
        (("port = ", "port = 1 #"), "Connection refused"),
        ((f"python = \"{sys.executable}\"", 'python = "no-python"'), "no-python"),
        (("folder = \"", "folder = \"tmp"), "expected a path of the rig's own"),
        (("[resource]", '[resource]\npower_off = ["true"]'), "belong together"),
        (("[resource]", '[resource]\nwheels = "/none"'), "there is no wheel"),
        (("[resource]", '[resource]\nconsole = ["no-socat"]'), "console: no-socat: cannot be started: not found"),
    ],
    ids=["key", "host key", "port", "python", "folder", "power", "wheels", "console"],
)  # fmt: skip
def test_what_is_wrong_with_a_board_is_said(
    tmp_path: Path, sshd: Path, change: tuple[str, str], message: str
) -> None:
    board = tmp_path / "wrong.toml"
    board.write_text(sshd.read_text().replace(*change))
    with pytest.raises((RigError, BoardError), match=message):
        open_rig(str(board), tmp_path)
    assert not (sshd.parent / "board").exists(), "what was begun is taken away again"


def test_a_board_that_goes_away_is_a_failure_of_the_rig(tmp_path: Path) -> None:
    connection = SshConnection(SshAddress(host="127.0.0.1", port=free_port()), tmp_path)
    with pytest.raises(RigError, match="cannot be reached"):
        connection.run("true")
    connection.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "board.kind: is missing"),
        ("[board]\nkind = \"local\"", "board.targets: is missing"),
        ("[board]\nkind = \"local\"\ntargets = []", "at least one capability profile"),
        ("[board]\nkind = \"local\"\ntargets = [\"cortex-a-tflit\"]", "cortex-a-tflite"),
        ("[board]\nkind = \"local\"\ntargets = \"x\"", "expected a list of texts"),
        ("[board]\nkind = \"local\"\ntargets = [\"ncnn\"]\nslowness = 0.5", "expected 1 to 1000"),
        ("[board]\nkind = \"local\"\ntargets = [\"ncnn\"]\nslowness = nan", "expected a number"),
        ("[board]\nkind = \"local\"\ntargets = [\"ncnn\"]\nengine_threads = 1.5", "expected an integer"),
        ("[board]\nkind = \"local\"\ntargets = [\"ncnn\"]\nsensors = \"real\"", "expected one of replayed, board"),
        ("[board]\nkynd = \"local\"", "Did you mean 'kind'"),
        ("[bored]\nkind = \"local\"", "Did you mean 'board'"),
        ("board = 3", "expected a table"),
        ("resource = 3\n[board]\nkind = \"local\"\ntargets = [\"ncnn\"]", "expected a table"),
        ("[board]\nkind = \"local\"\ntargets = [\"ncnn\"]\n[tolerance.onnx]\nmax_lsb = 300", "expected 0 to 255"),
        ("[board]\nkind = \"local\"\ntargets = [\"ncnn\"]\n[tolerance]\nonnx = 1", "expected a table"),
        ("[board]\nkind = \"local\"\ntargets = [\"ncnn\"]\n[tolerance.tflit]\nmax_lsb = 1", "tolerance.tflit: unknown. Did you mean 'tflite'"),
        ("[board]\nkind = \"local\"\ntargets = [\"ncnn\"]\nslowness = " + "9" * 5000, "no TOML: "),
        ("[board]\nkind = \"local\"\ntargets = [\"ncnn\"]\nslowness = 0x" + "f" * 9000, "integers of at most 64 bits"),
        ("\"" + "k" * 3000 + "\" = 1", "b.toml: k{80}: unknown"),
        ("[board", "no TOML"),
        ("#" * 70_000, "at most 65536 bytes"),
    ],
)  # fmt: skip
def test_a_wrong_board_names_its_key(text: str, message: str) -> None:
    with pytest.raises(BoardError, match=message) as caught:
        parse_board(text.encode(), name="b", origin="b.toml")
    assert "b.toml" in str(caught.value)


def test_boards_are_found_by_name_or_file(tmp_path: Path) -> None:
    assert "local" in board_names()
    for name in board_names():
        assert load_board(name).name == name
    with pytest.raises(BoardError, match="cannot be read: No such file"):
        load_board(str(tmp_path / "none.toml"))
    (tmp_path / "odd.toml").write_text('[board]\nkind = "qemo"\ntargets = ["ncnn"]\n')
    with pytest.raises(BoardError, match=r"board\.kind: 'qemo': unknown"):
        open_rig(str(tmp_path / "odd.toml"), tmp_path)
    (tmp_path / "odd.toml").write_text(
        '[board]\nkind = "local"\ntargets = ["ncnn"]\n[resource]\npyton = "x"\n'
    )
    with pytest.raises(BoardError, match=r"resource\.pyton: unknown\. Did you mean 'python'"):
        open_rig(str(tmp_path / "odd.toml"), tmp_path)
