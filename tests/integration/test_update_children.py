"""The child processes of updates: where the agent is not an ordinary process, and what a check has in memory."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from queue import SimpleQueue
from typing import TYPE_CHECKING

import psutil
import pytest
from securesystemslib.signer import CryptoSigner

from device_agent.update import starvation
from device_agent.update.children import Children
from device_agent.update.jobs import CheckJob, FetchJob, Network, TrialJob
from device_agent.update.occurrences import CheckFailed, FetchFailed, Offered, TrialUnbegun
from device_agent.update.state import Candidate, Release
from host_tools.repository.keys import KeyRing
from tests.integration.support import null_artifact
from tests.integration.update_repository import Fleet

if TYPE_CHECKING:
    from pathlib import Path

    from device_agent.update.jobs import Answer, Job

FIRST_PROCESS = """
import os, queue
from device_agent.update.children import Children
from device_agent.update.jobs import CheckJob, Network

assert os.getpid() == 1, os.getpid()
network = Network(
    url="http://127.0.0.1:1", stall_seconds=1.0, min_bytes_per_second=1.0, tls_ca=None, tls_cert=None, tls_key=None
)
answers = queue.SimpleQueue()
job = CheckJob(network=network, root="/nonexistent", cache="/nonexistent", subjects=("device/a",), device="a", targets=())
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


VERIFIED = """
import json, sys
from device_agent.update import light
light.leave_out_cryptography()
from securesystemslib.exceptions import UnsupportedLibraryError
from securesystemslib.signer import SSlibKey, Signature
public, message, signature = json.loads(sys.stdin.read())
key = SSlibKey("id", "ed25519", "ed25519", {"public": public})
try:
    key.verify_signature(Signature("id", signature), bytes.fromhex(message))
    print("good")
except Exception as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize("change", ["nothing", "message", "signature", "key", "half"])
def test_without_the_library_signatures_are_held_to_rfc_8032(change: str) -> None:
    public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    message = "72"
    signature = (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )  # RFC 8032, 7.1, test 2
    if change == "message":
        message = "73"
    elif change == "signature":
        signature = signature[:-2] + "01"
    elif change == "key":
        public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"  # of test 1
    elif change == "half":
        signature = signature[:64]
    done = subprocess.run(
        [sys.executable, "-c", VERIFIED],
        input=json.dumps([public, message, signature]),
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout.strip() == "good") == (change == "nothing"), done.stdout


def test_a_forged_signature_is_refused_by_the_child_process(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    try:
        fleet.offer(null_artifact(tmp_path / "m.ewa"), counter=1)
        timestamp = json.loads(fleet.metadata("timestamp.json").read_bytes())
        honest = timestamp["signatures"][0]["sig"]
        timestamp["signatures"][0]["sig"] = honest[:-1] + ("0" if honest[-1] != "0" else "1")
        fleet.server.answers["timestamp.json"] = json.dumps(timestamp).encode()
        answer = asked(fleet)
    finally:
        fleet.server.close()
    assert isinstance(answer, CheckFailed), answer
    assert answer.code == "metadata_unsigned"


NETWORK = Network(
    url="http://127.0.0.1:1",
    stall_seconds=1.0,
    min_bytes_per_second=1.0,
    tls_ca=None,
    tls_cert=None,
    tls_key=None,
)
RELEASE = Release(digest="sha256:" + "0" * 64, name="a", version="1", counter=1)
JOBS = (
    CheckJob(network=NETWORK, root="r", cache="c", subjects=("device/a",), device="a", targets=()),
    FetchJob(
        network=NETWORK,
        store="s",
        candidate=Candidate(release=RELEASE, size_bytes=1, path="models/a", serial=1),
    ),
    TrialJob(
        artifact="a.ewa",
        digest=RELEASE.digest,
        max_bytes=1,
        targets=(),
        engine="auto",
        threads=1,
        memory_max_bytes=1 << 30,
        model_max_bytes=0,
        cpu_max_seconds=1,
    ),
)


@pytest.mark.parametrize("job", JOBS, ids=lambda job: type(job).__name__)
def test_where_no_process_can_be_begun_that_is_no_fault_of_the_model(
    monkeypatch: pytest.MonkeyPatch, job: Job
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    answer = done(job)
    assert isinstance(answer, CheckFailed | FetchFailed | TrialUnbegun)
    assert "the child process cannot be started: " in answer.message
    assert isinstance(answer, TrialUnbegun) or answer.code == "child"


def test_a_step_that_gets_no_processor_begins_anew_with_a_share_and_so_do_those_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starvation, "LEAST_SECONDS", 0.0)  # so that every child counts as one that waits
    monkeypatch.setattr(starvation, "LEAST_SHARE", 2.0)
    answers: SimpleQueue[Answer] = SimpleQueue()
    children, seen = Children(answers.put), set[int]()
    with socket.create_server(("127.0.0.1", 0)) as silent:  # a check of it takes as long as its patience
        fleet = Fleet(tmp_path)
        job = fleet.check_job()
        fleet.server.close()
        network = replace(job.network, url=f"http://127.0.0.1:{silent.getsockname()[1]}", stall_seconds=6.0)
        own = os.getpriority(os.PRIO_PROCESS, 0)
        children.start(replace(job, network=network), timeout_seconds=60.0)
        first, second = next_child(seen), next_child(seen)
        answer = answers.get(timeout=60.0)
        assert (first, second) == (min(19, own + 19), min(19, own + 5))
        assert isinstance(answer, CheckFailed), answer
        assert answer.code not in ("timeout", "died"), answer
        children.start(replace(job, network=network), timeout_seconds=60.0)
        assert next_child(seen) == min(19, own + 5)
        children.cancel()


def next_child(seen: set[int]) -> int:
    """Wait for an update's child that was not seen before, until it has its niceness; return that."""
    own = os.getpriority(os.PRIO_PROCESS, 0)
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline:
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if child.pid not in seen and child.nice() != own:
                    seen.add(child.pid)
                    return int(child.nice())
        time.sleep(0.01)
    raise AssertionError("no child was started")


def asked(fleet: Fleet) -> Answer:
    """Ask as the agent asks: in a child process."""
    return done(fleet.check_job())


def done(job: Job) -> Answer:
    answers: SimpleQueue[Answer] = SimpleQueue()
    Children(answers.put).start(job, timeout_seconds=60.0)
    return answers.get(timeout=60.0)
