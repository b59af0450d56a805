"""The rig `labgrid` against labgrid's own coordinator, exporter and client: reserved, reached, switched, given back."""

from __future__ import annotations

import http.server
import re
import subprocess
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hil.errors import BoardError, RigError
from hil.rig import open_rig
from host_tools.free_port import free_port
from tests.integration.environments import labgrid
from tests.integration.support import can_connect, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(600)


class Laboratory:
    """A coordinator with one place, ``desk``, whose board is the sshd of the tests and whose switch is a web server."""

    def __init__(self, folder: Path, sshd: Path, stack: ExitStack) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.switched: list[str] = []
        self.client = labgrid("labgrid-client")
        self._stack = stack
        self._folder = folder
        self._run("coordinator", "labgrid-coordinator", "-l", self.address)
        wait_until(lambda: can_connect(int(self.address.rpartition(":")[2])), what="the coordinator listens")
        settings = dict(re.findall(r'^(port|user) = "?([^"\n]+)"?$', sshd.read_text(), re.MULTILINE))
        resources = folder / "exported.yaml"
        resources.write_text(
            "bench:\n"
            f"  NetworkService: {{address: 127.0.0.1, port: {settings['port']}, username: {settings['user']}}}\n"
            f"  NetworkPowerPort: {{model: simplerest, host: 'http://127.0.0.1:{self._switch()}/{{value}}', index: 0}}\n"
        )
        self._run("exporter", "labgrid-exporter", "-c", self.address, "-n", "here", str(resources))
        wait_until(lambda: "NetworkPowerPort" in self.ask("resources"), what="the exporter is known")
        self.ask("-p", "desk", "create")
        self.ask("-p", "desk", "add-match", "here/bench/*")
        self.ask("-p", "desk", "set-tags", "board=here")

    def ask(self, *arguments: str) -> str:
        done = subprocess.run(
            [self.client, "-x", self.address, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def board(self, path: Path, sshd: Path, *lines: str) -> str:
        """Write a board's file: the login of the sshd of the tests, the rest from labgrid."""
        login = [
            line
            for line in sshd.read_text().splitlines()
            if line.startswith(("identity", "options", "folder", "python"))
        ]
        resource = [f'coordinator = "{self.address}"', f'client = "{self.client}"', *login, *lines]
        path.write_text(
            '[board]\nkind = "labgrid"\ntargets = ["ncnn"]\n[resource]\n' + "\n".join(resource) + "\n"
        )
        return str(path)

    def _switch(self) -> int:
        switched = self.switched

        class Switch(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                switched.append(self.path)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Switch)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self._stack.callback(server.server_close)
        self._stack.callback(server.shutdown)
        return server.server_address[1]

    def _run(self, name: str, program: str, *arguments: str) -> None:
        with (self._folder / f"{name}.log").open("wb") as log:
            started = subprocess.Popen(
                [labgrid(program), *arguments], stdout=log, stderr=log, cwd=self._folder
            )
        self._stack.callback(started.wait, 60)
        self._stack.callback(started.terminate)


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory, sshd: Path) -> Iterator[Laboratory]:
    with ExitStack() as stack:
        yield Laboratory(tmp_path_factory.mktemp("labgrid"), sshd, stack)


def test_a_board_is_reserved_reached_switched_and_given_back(
    tmp_path: Path, laboratory: Laboratory, sshd: Path
) -> None:
    mine = laboratory.board(tmp_path / "mine.toml", sshd, 'filter = ["board=here"]', "has_power = true")
    (tmp_path / "rig").mkdir()
    (tmp_path / "other").mkdir()
    rig = open_rig(mine, tmp_path / "rig")
    assert rig.shell.run(["echo", "up"]).stdout == b"up\n"
    assert "desk" in laboratory.ask("who")
    assert rig.power.cuts == "machine"
    rig.power.cut()
    rig.power.restore()
    assert laboratory.switched == ["/0", "/1"]
    waiting = laboratory.board(tmp_path / "second.toml", sshd, 'filter = ["name=desk"]', "wait_seconds = 3.0")
    with pytest.raises(RigError, match="not done after 3 s"):
        open_rig(waiting, tmp_path / "other")
    rig.close()
    assert "desk" not in laboratory.ask("who")
    assert laboratory.ask("reservations") == "", "the one that waited is not left in the queue"
    patient = laboratory.board(tmp_path / "third.toml", sshd, 'filter = ["name=desk"]')
    second = open_rig(patient, tmp_path / "other")
    assert second.power.cuts == "process"
    second.close()


@pytest.mark.parametrize(
    ("lines", "error", "message"),
    [
        (['filter = ["board=none"]', "wait_seconds = 3.0"], RigError, "labgrid: "),
        (['filter = ["board"]'], RigError, "not a valid filter"),
        (['filter = ["board=here"]', 'power_off = ["true"]'], BoardError, "power is labgrid's"),
        ([], BoardError, "resource.filter: is missing"),
        (['filter = ["board=here"]', 'user = "nobody-here"'], RigError, "Permission denied"),
    ],
    ids=["no place", "no filter", "power", "missing", "login"],
)
def test_what_is_wrong_is_said_and_the_board_is_free_again(
    tmp_path: Path, laboratory: Laboratory, sshd: Path, lines: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        open_rig(laboratory.board(tmp_path / "wrong.toml", sshd, *lines), tmp_path)
    assert laboratory.ask("reservations") == ""
    assert "desk" not in laboratory.ask("who")


def test_a_laboratory_that_is_not_there_is_said(tmp_path: Path, laboratory: Laboratory, sshd: Path) -> None:
    board = Path(laboratory.board(tmp_path / "gone.toml", sshd, 'filter = ["board=here"]'))
    text = board.read_text()
    board.write_text(text.replace(laboratory.address, f"127.0.0.1:{free_port()}"))
    with pytest.raises(RigError, match="labgrid: reserve"):
        open_rig(str(board), tmp_path)
    board.write_text(text.replace(laboratory.client, "no-such-client"))
    with pytest.raises(RigError, match="no-such-client: cannot be started") as caught:
        open_rig(str(board), tmp_path)
    assert caught.value.hint is not None
    assert "edgewright[labgrid]" in caught.value.hint
