"""A board for every test of rigs: this machine, through an sshd of this user's own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from host_tools.free_port import free_port
from tests.integration.support import can_connect, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Start an sshd of this user's own on loopback; return a board's file that leads there."""
    program = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    assert program is not None, (
        "sshd is not there: `make test` installs it, or apt-get install openssh-server."
    )
    folder = tmp_path_factory.mktemp("sshd")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("host", "user", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    port = free_port()
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/user.pub\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
    )
    host = (folder / "host.pub").read_text().split()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host[0]} {host[1]}\n")
    with (folder / "sshd.log").open("wb") as log:
        server = subprocess.Popen([program, "-D", "-e", "-f", folder / "sshd_config"], stdout=log, stderr=log)
    board = folder / "bench.toml"
    board.write_text(
        f"""[board]
kind = "ssh"
description = "this machine, through sshd"
targets = ["cortex-a-tflite"]

[resource]
host = "127.0.0.1"
port = {port}
user = "{pwd.getpwuid(os.getuid()).pw_name}"
identity = "{folder}/user"
options = ["UserKnownHostsFile={folder}/known_hosts", "IdentitiesOnly=yes"]
folder = "{folder}/board"
python = "{sys.executable}"
"""
    )
    try:
        wait_until(lambda: can_connect(port) or server.poll() is not None, what="sshd listens")
        assert server.poll() is None, (folder / "sshd.log").read_text()
        yield board
    finally:
        server.terminate()
        server.wait(60)
