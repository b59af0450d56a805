"""SIGKILL before every effect of enrolment and renewal, one after the other: the same command again comes to the same end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from device_agent.contract import claim_token
from device_agent.contract import enrolment as wire
from device_agent.contract.errors import EdgewrightError
from device_agent.enrolment import keys
from device_agent.enrolment.identity import IdentityFolder
from device_agent.tls import client_context
from tests.integration.fleet import Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]

DRIVER = """
import json, os, signal, sys
from pathlib import Path
from device_agent.enrolment.enrol import enrol, read_token, renew

EFFECTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.chmod", "http.client.send", "socket.connect", "os.fsync"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
cut_at = seen = 0
armed = False

def hook(event, arguments):
    global seen
    if armed and (event in EFFECTS or (event == "open" and arguments[2] & WRITING)):
        seen += 1
        if seen == cut_at:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
fsync = os.fsync
os.fsync = lambda descriptor: (sys.audit("os.fsync", descriptor), fsync(descriptor))[1]  # Python does not audit it

for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if not child:
        cut_at, armed = job["cut_at"], True
        if job["token"]:
            enrol(Path(job["path"]), read_token(job["token"], device="dev-1"), device="dev-1", replace=job["replace"])
        else:
            renew(Path(job["path"]), device="dev-1")
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Device:
    """Runs enrolment in children that are killed before their n-th effect."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", DRIVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONWARNINGS": "error"},
        )

    def run(self, path: Path, *, token: str = "", replace: bool = False, cut_at: int = 0) -> int:
        """Return the child's exit status, negative for a signal."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        job = {"path": str(path), "token": token, "replace": replace, "cut_at": cut_at}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def device() -> Iterator[Device]:
    running = Device()
    yield running
    running.close()


def require_whole_or_none(path: Path) -> str:
    """Whatever was cut, what is in use is one whole generation; return its serial number, empty for none."""
    folder = IdentityFolder(path)
    identity = folder.current()
    if identity is None:
        assert not (path / "current").exists()
        return ""
    held = folder.credentials()
    certified = keys.checked_certificate(
        held.certificate.decode(), key=held.key, device="dev-1", authority=held.authority.decode()
    )
    assert certified.serial == identity.serial
    client_context(folder.tls_files())
    return identity.serial


def standing(fleet: Fleet) -> int:
    with fleet.folder.register.transaction() as book:
        return len(book.certificates("dev-1"))


@pytest.mark.parametrize("kind", ["enrol", "replace", "renew"])
def test_power_cut_before_every_effect(tmp_path: Path, device: Device, kind: str) -> None:
    cuts = 0
    with Fleet(tmp_path / "authority").serving() as fleet:
        while True:
            cuts += 1
            path, old = tmp_path / f"identity-{cuts}", ""
            if kind != "enrol":
                old = fleet.enrol(path).identity.serial
            token = "" if kind == "renew" else fleet.token()
            before = standing(fleet)
            status = device.run(path, token=token, replace=kind == "replace", cut_at=cuts)
            if status == 0:
                break
            assert status == -signal.SIGKILL, f"cut {cuts}"
            found = require_whole_or_none(path)
            bought = standing(fleet) - before
            assert found in ("", old) or (found and bought), f"cut {cuts}: in use before it was there"
            assert device.run(path, token=token, replace=kind == "replace") == 0, (
                f"cut {cuts}: the second run"
            )
            serial = require_whole_or_none(path)
            assert serial not in ("", old), f"cut {cuts}"
            # A renewal that had come to its end before the cut is another one when it is run again.
            most = 2 if kind == "renew" and found not in ("", old) else 1
            assert 1 <= standing(fleet) - before <= most, f"cut {cuts}: a certificate was wasted"
            assert {entry.name for entry in path.iterdir()} == {"current", "lock", serial}, f"cut {cuts}"
    assert cuts > 20, "every step was cut"


def test_an_authority_that_loses_its_power_gives_the_same_certificate_again(tmp_path: Path) -> None:
    """Killed between writing down and answering, and between the two of everything else that it does for a request."""
    fleet = Fleet(tmp_path / "authority")
    script = """
import os, signal, sys
from datetime import timedelta
from pathlib import Path
from host_tools.authority import service
from host_tools.authority.folder import AuthorityFolder
from host_tools.authority.register import Book
cut = sys.argv[2]
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
if cut == "before": Book.add = die
if cut == "between": Book.spend = die
if cut == "after": service._answer = die
answering = service.EnrolmentService(AuthorityFolder(Path(sys.argv[1])), device_lifetime=timedelta(1), list_lifetime=timedelta(1))
sys.stdout.buffer.write(answering.answer("POST", "/v1/enrol", sys.stdin.buffer.read()).body)
"""
    for cut, is_bought in (("before", 0), ("between", 0), ("after", 1)):
        name = f"dev-{cut}"
        token = claim_token.decode_token(
            fleet.folder.token(url="https://x", device=name, lifetime=timedelta(hours=1))
        )
        csr = keys.signing_request(keys.make_key(), device=name)
        body = wire.encode(wire.EnrolRequest(device=name, secret=token.secret, csr=csr))
        command = [sys.executable, "-c", script, str(fleet.folder.path)]
        killed = subprocess.run([*command, cut], input=body, capture_output=True, check=False, cwd=ROOT)
        assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, b"")
        with fleet.folder.register.transaction() as book:
            written = book.certificates(name)
        assert len(written) == is_bought
        again = subprocess.run([*command, ""], input=body, capture_output=True, check=True, cwd=ROOT)
        issued = wire.decode_issued(again.stdout, where="answer")
        if is_bought:
            assert issued.certificate == written[0].pem
        with pytest.raises(EdgewrightError):
            wire.decode_issued(
                fleet.service.answer("POST", wire.ENROL_PATH, body.replace(b"dev-", b"dav-")).body, where=""
            )
