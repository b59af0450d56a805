"""`edgewright ca` as an operator meets it, and its server under clients that do not behave."""

from __future__ import annotations

import json
import socket
import ssl
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from device_agent.contract import claim_token
from device_agent.contract import enrolment as wire
from device_agent.enrolment.enrol import enrol, read_token
from device_agent.enrolment.exchange import AuthorityServer
from host_tools.authority.register import Register
from host_tools.errors import InputError, OutputError
from host_tools.free_port import free_port
from tests.integration.fleet import Fleet
from tests.integration.support import can_connect, wait_until

ROOT = Path(__file__).parents[2]


def ca(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "host_tools", "ca", *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=False, cwd=ROOT,
    )  # fmt: skip


def test_the_whole_story(tmp_path: Path) -> None:
    folder, port = tmp_path / "ca", free_port()
    made = ca("init", folder, "--name", "Test fleet")
    assert made.returncode == 0
    assert stat.S_IMODE((folder / "ca.key").stat().st_mode) == 0o600
    serving = subprocess.Popen(
        [sys.executable, "-m", "host_tools", "ca", "serve", str(folder), "--name", "127.0.0.1", "--host", "127.0.0.1", "--port", str(port)],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_until(lambda: can_connect(port), what="the authority listens")
        token = ca("token", folder, "--url", f"https://127.0.0.1:{port}", "--device", "lab-1").stdout
        done = enrol(tmp_path / "identity", read_token(token, device="lab-1"), device="lab-1")
    finally:
        serving.terminate()
        _, log = serving.communicate(timeout=90)
    assert serving.returncode == 0
    assert log.endswith("Ended.\n")
    assert f"lab-1 is enrolled: certificate {done.identity.serial}" in log
    assert claim_token.decode_token(token).secret not in log
    files = ca("server", folder, "--name", "broker.example", "--name", "10.0.0.7", "--out", tmp_path / "b")
    assert files.returncode == 0
    assert stat.S_IMODE((tmp_path / "b" / "server.key").stat().st_mode) == 0o600
    shown = subprocess.run(
        ["openssl", "x509", "-in", str(tmp_path / "b" / "server.crt"), "-noout", "-ext", "subjectAltName"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "DNS:broker.example, IP Address:10.0.0.7" in shown
    assert ca("revoke", folder, "--device", "lab-1", "--reason", "lost").returncode == 0
    assert ca("crl", folder, "--out", tmp_path / "crl.pem").returncode == 0
    verify = [
        "openssl", "verify", "-crl_check", "-CAfile", str(folder / "ca.crt"), "-CRLfile", str(tmp_path / "crl.pem"),
        str(tmp_path / "identity" / "current" / "device.crt"),
    ]  # fmt: skip
    assert "certificate revoked" in subprocess.run(verify, capture_output=True, text=True, check=False).stderr
    listed = json.loads(ca("list", folder, "--json").stdout)
    assert [(one["device"], one["state"]) for one in listed["tokens"]] == [("lab-1", "spent")]
    states = {(one["use"], one["name"]): one["state"] for one in listed["certificates"]}
    assert states == {
        ("server", "127.0.0.1"): "good",
        ("server", "broker.example"): "good",
        ("device", "lab-1"): "revoked",
    }
    text = ca("list", folder).stdout
    assert "revoked" in text
    assert claim_token.decode_token(token).secret not in text + json.dumps(listed)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["token", "none", "--url", "https://x"], "no authority here"),
        (["init", "made"], "there is an authority already"),
        (["init", "x", "--name", "a\nb"], "--name: expected 1 to 64 printable characters"),
        (["token", "made", "--url", "http://x"], "expected https://"),
        (["token", "made", "--url", "https://x", "--device", "a/b"], "device id: expected"),
        (["server", "made", "--name", "a b", "--out", "o"], "--name: expected a host name"),
        (["revoke", "made", "--device", "nobody"], "no certificate of device 'nobody'"),
        (["revoke", "made", "--serial", "zz"], "no certificate of serial number 'zz'"),
        (["token", "made", "--url", "https://x", "--hours", "0"], "above 0"),
        (["crl", "made"], "--out"),
    ],
)
def test_wrong_input_is_one_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    Fleet(tmp_path / "made")
    verb, folder, *rest = arguments
    rest = [str(tmp_path / part) if part == "o" else part for part in rest]
    done = ca(verb, tmp_path / folder, *rest)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_was_changed_is_told(tmp_path: Path) -> None:
    fleet, other = Fleet(tmp_path / "one"), Fleet(tmp_path / "two")
    (fleet.folder.path / "ca.crt").write_text(other.folder.signer.pem)
    assert "do not belong together" in ca("list", fleet.folder.path).stderr
    (fleet.folder.path / "ca.crt").write_text("x")
    assert "cannot be read" in ca("list", fleet.folder.path).stderr
    (other.folder.path / "ca.db").write_bytes(b"x" * 4_096)
    with pytest.raises(OutputError, match="not a database"), other.folder.register.transaction():
        pass
    with (
        pytest.raises(InputError, match="expected a register of version 4, got 0"),
        Register(tmp_path / "empty.db").transaction(),
    ):
        pass


def test_a_client_that_sends_too_much_or_nothing_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("host_tools.authority.server._SILENT_SECONDS", 1.0)
    monkeypatch.setattr("host_tools.authority.server._Handler.timeout", 1.0)
    with Fleet(tmp_path / "ca").serving() as fleet:
        host, port, _ = claim_token.split_url(fleet.url)
        silent = [socket.create_connection((host, port)) for _ in range(20)]
        began = time.monotonic()
        assert AuthorityServer(fleet.url).authority().authority == fleet.folder.signer.pem
        assert time.monotonic() - began < 20
        context = ssl.create_default_context(cadata=fleet.folder.signer.pem)
        for head, code in (
            (b"Content-Length: 999999", "too_large"),
            (b"Content-Length: -1", "malformed"),
            (b"X: y", "malformed"),
        ):
            with context.wrap_socket(socket.create_connection((host, port)), server_hostname=host) as line:
                line.sendall(b"POST /v1/enrol HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n")
                answer = b"".join(iter(lambda: line.recv(4_096), b""))
            body = answer.partition(b"\r\n\r\n")[2]
            assert wire.decode_refusal(body, where="answer").code == code
        for line in silent:
            assert line.recv(1) == b"", "let go"
            line.close()
