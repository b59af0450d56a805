"""The child processes of updates: where the agent is not an ordinary process, and what a check has in memory."""

from __future__ import annotations

import subprocess
import sys
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest
from securesystemslib.signer import CryptoSigner

from device_agent.update.children import Children
from device_agent.update.occurrences import Offered
from host_tools.repository.keys import KeyRing
from tests.integration.support import null_artifact
from tests.integration.update_repository import Fleet

if TYPE_CHECKING:
    from pathlib import Path

    from device_agent.update.jobs import Answer

FIRST_PROCESS = """
import os, queue
from device_agent.update.children import Children
from device_agent.update.jobs import CheckJob, Network

assert os.getpid() == 1, os.getpid()
network = Network(
    url="http://127.0.0.1:1", stall_seconds=1.0, min_bytes_per_second=1.0, tls_ca=None, tls_cert=None, tls_key=None
)
answers = queue.SimpleQueue()
job = CheckJob(network=network, root="/nonexistent", cache="/nonexistent", subjects=("device/a",), targets=())
Children(answers.put).start(job, timeout_seconds=60.0)
print(answers.get(timeout=60.0).code)
"""


def test_an_agent_that_is_the_first_process_of_a_container_can_update() -> None:
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--pid", "--fork", sys.executable, "-c", FIRST_PROCESS],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout != "died\n", done.stderr
    assert done.returncode == 0, done.stderr


IMPORTED = """
import sys
from device_agent.update import light
light.leave_out_network()
light.leave_out_cryptography()
import device_agent.update.trust
print(*(name for name in ("urllib3", "cryptography", "numpy") if sys.modules.get(name)))
"""


def test_a_check_does_not_import_what_it_does_not_use() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("where", ["bootstrap root", "delegation", "rotated root"])
def test_a_repository_with_keys_of_another_type_is_checked_with_the_library_for_them(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ecdsa = {"bootstrap root": "timestamp", "delegation": "model-", "rotated root": "root"}[where]
    made, is_rotated = KeyRing.make, where != "rotated root"

    def make(ring: KeyRing, role: str, count: int) -> list[CryptoSigner]:
        with monkeypatch.context() as patch:
            if is_rotated and role.startswith(ecdsa):
                patch.setattr(CryptoSigner, "generate_ed25519", CryptoSigner.generate_ecdsa)
            return made(ring, role, count)

    monkeypatch.setattr(KeyRing, "make", make)
    fleet = Fleet(tmp_path)
    try:
        fleet.offer(null_artifact(tmp_path / "m.ewa"), counter=1)
        if not is_rotated:
            is_rotated = True
            fleet.repository.rotate("root")
        answer = asked(fleet)
    finally:
        fleet.server.close()
    assert isinstance(answer, Offered), answer
    assert b'"ecdsa"' in b"".join(path.read_bytes() for path in fleet.metadata("").glob("*.json"))


def asked(fleet: Fleet) -> Answer:
    """Ask as the agent asks: in a child process."""
    answers: SimpleQueue[Answer] = SimpleQueue()
    Children(answers.put).start(fleet.check_job(), timeout_seconds=60.0)
    return answers.get(timeout=60.0)
