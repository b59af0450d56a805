"""A named pipe in place of a file is refused by whoever reads it, at once: nobody waits for a writer that never comes."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from device_agent.commands.ledger import Ledger
from device_agent.config.file import load_config, mqtt_password
from device_agent.config.messages import MqttSection
from device_agent.contract.archive import ArtifactArchive
from device_agent.contract.digest import digest_of_file
from device_agent.contract.errors import EdgewrightError
from device_agent.contract.regular_file import open_regular_file, read_regular_file
from device_agent.enrolment.identity import IdentityFolder
from device_agent.sources.preprocess_file import load_preprocessing
from device_agent.sources.replay import ReplaySource
from device_agent.tls import TlsFiles, client_context
from device_agent.update.state_file import StateFile
from device_agent.update.store import Store
from device_agent.update.updates import Updates
from tests.unit.device_agent.sources.payload_tensors import tensor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.timeout(60)
"""Who waits for a pipe waits for ever: this is the end of such a test."""


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def identity_at(pipe: Path) -> IdentityFolder:
    folder = IdentityFolder(pipe.with_name("identity"))
    (folder.path / "1f").mkdir(parents=True)
    (folder.path / "current").symlink_to("1f")
    (folder.path / "1f" / "identity.json").symlink_to(pipe)
    (folder.path / "pending.key").symlink_to(pipe)
    return folder


def updates_from(root: Path) -> Updates:
    file = root.with_name("agent.toml")
    file.write_text(
        '[device]\nid = "d"\n[artifact]\npath = "a.ewa"\n[spool]\npath = "spool.db"\n'
        f'[update]\nurl = "http://x"\nroot = "{root}"\ndirectory = "updates"\n'
    )
    return Updates(load_config(file), report=lambda _: None, tell=lambda _: None, restart=lambda _: None)


@pytest.mark.parametrize(
    "read",
    [
        load_config,
        lambda pipe: mqtt_password(MqttSection(password_file=pipe)),
        lambda pipe: client_context(TlsFiles(ca=pipe, cert=None, key=None)),
        lambda pipe: StateFile(pipe).read(),
        updates_from,
        ArtifactArchive.open,
        lambda pipe: Store(pipe.with_name("store")).take(pipe),
        lambda pipe: identity_at(pipe).current(),
        lambda pipe: identity_at(pipe).pending_key(),
        load_preprocessing,
        lambda pipe: ReplaySource(pipe, [tensor((1, 4), "int8", scale=0.5, zero_point=0)], loop=False),
    ],
    ids=[
        "agent.toml",
        "password_file",
        "tls_ca",
        "state.json",
        "update.root",
        "artifact",
        "artifact for the store",
        "identity.json",
        "pending.key",
        "preprocess.toml",
        "replay",
    ],
)
def test_a_pipe_is_refused_by_its_name(read: Callable[[Path], object], pipe: Path) -> None:
    with pytest.raises(EdgewrightError, match=r"(pipe|identity.json|pending.key)\b.*expected a regular file"):
        read(pipe)


def test_pipes_in_place_of_certificate_and_key_are_refused(tmp_path: Path, pipe: Path) -> None:
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=d", "-keyout", "d.key", "-out", "d.crt"]
    subprocess.run([*make, *names], cwd=tmp_path, check=True, capture_output=True)
    certificate, key = tmp_path / "d.crt", tmp_path / "d.key"
    for files in (
        TlsFiles(ca=certificate, cert=pipe, key=key),
        TlsFiles(ca=certificate, cert=certificate, key=pipe),
    ):
        with pytest.raises(
            EdgewrightError, match=r"tls_key .*: .*expected a regular file, found a named pipe"
        ):
            client_context(files)
    client_context(TlsFiles(ca=certificate, cert=certificate, key=key))


def test_a_pipe_in_place_of_the_commands_is_set_aside_and_told(pipe: Path) -> None:
    ledger = Ledger(pipe, keep=4)
    assert "expected a regular file, found a named pipe" in ledger.damage
    assert pipe.with_name("pipe.damaged").is_fifo()


def test_a_pipe_in_place_of_the_lock_of_updates_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / "updates").mkdir()
    os.mkfifo(tmp_path / "updates" / "lock")
    (tmp_path / "root.json").write_text('{"signed": {"_type": "root", "version": 1}, "signatures": []}')
    first = updates_from(tmp_path / "root.json")
    with pytest.raises(EdgewrightError, match="another agent uses it"):
        updates_from(tmp_path / "root.json")
    first.close()
    updates_from(tmp_path / "root.json").close()


def test_what_is_no_regular_file_is_named(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(OSError, match="expected a regular file, found a socket"):
            digest_of_file(tmp_path / "socket")
    (tmp_path / "device").symlink_to("/dev/zero")
    with pytest.raises(OSError, match="expected a regular file, found a character device"):
        open_regular_file(tmp_path / "device")
    with pytest.raises(IsADirectoryError):
        open_regular_file(tmp_path)


def test_a_file_is_read_as_far_as_is_asked_for_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    (tmp_path / "link").symlink_to("file")
    assert read_regular_file(tmp_path / "link", most_bytes=4) == b"0123"
    assert read_regular_file(tmp_path / "file", most_bytes=40) == b"0123456789"


def test_what_takes_a_files_place_between_two_looks_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"a file at the first look")
    really = os.open

    def exchanged(path: Path, flags: int) -> int:
        file.unlink()
        os.mkfifo(file)
        return really(path, flags)

    monkeypatch.setattr(os, "open", exchanged)
    with pytest.raises(OSError, match="found a named pipe"):
        open_regular_file(file)
