"""`edgewright fleet` as a user has it: a real server process, real requests, a plan from a file."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from device_agent.contract.claim_token import decode_token
from host_tools.authority.folder import create_authority
from host_tools.cli.main import main
from host_tools.fleet.field.releases import MadeRelease, encode
from host_tools.fleet.records.releases import Release, ReleasedArtifact
from host_tools.free_port import free_port
from tests.integration.support import certificate, wait_until
from tests.unit.host_tools.review.canned_broker import answering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PLAN = """
id = "r1"
release = "net-1.0"
group = "lab"
gate = []
[[stage]]
name = "all"
share = 1.0
"""


def devices_in(folder: Path) -> Path:
    path = folder / "devices.csv"
    path.write_text("id,group,tags\ngate-1,lab,indoor\ngate-2,lab,\n")
    return path


def release_in(folder: Path) -> str:
    """Write release net-1.0, with an artifact for target a, and return its file."""
    artifact = ReleasedArtifact(path="models/net/a.ewa", digest="sha256:" + "0" * 64, size_bytes=1)
    release = Release(
        id="net-1.0",
        model="net",
        version="1.0",
        counter=1,
        artifacts={"a": artifact},
        created_by="x",
        created_seconds=0.0,
    )
    path = folder / "net-1.0.json"
    path.write_bytes(encode(MadeRelease(release=release)))
    return str(path)


class Server:
    """`edgewright fleet serve` on a database, and the commands that ask it."""

    def __init__(self, folder: Path, capfd: pytest.CaptureFixture[str], *more: str) -> None:
        self.database = str(folder / "fleet.db")
        self._capfd = capfd
        self.token_file = folder / "token"
        self.token_file.write_text(
            self.run("token", "create", "--database", self.database, "--name", "ada", "--role", "admin")
        )
        self.log = folder / "log"
        command = [
            sys.executable,
            "-m",
            "host_tools",
            "fleet",
            "serve",
            "--database",
            self.database,
            "--port",
            "0",
            *more,
        ]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        first = self.process.stdout.readline()
        if "/api/v1" not in first:
            self.process.kill()
            self.process.communicate()
            raise AssertionError(first + self.log.read_text())
        self.address = first.split()[-1].removesuffix("/api/v1")

    def run(self, *arguments: str, status: int = 0) -> str:
        self._capfd.readouterr()
        assert main(["fleet", *arguments]) == status, self._capfd.readouterr()
        return self._capfd.readouterr().out

    def ask(self, *arguments: str, status: int = 0) -> str:
        return self.run(
            *arguments, "--server", self.address, "--token-file", str(self.token_file), status=status
        )

    def told(self, *arguments: str) -> str:
        self._capfd.readouterr()
        options = ["--server", self.address, "--token-file", str(self.token_file)]
        assert main(["fleet", *arguments, *options]) == 0
        return self._capfd.readouterr().err

    def refused(self, *arguments: str) -> str:
        self._capfd.readouterr()
        options = ["--server", self.address, "--token-file", str(self.token_file)]
        assert main(["fleet", *arguments, *options]) == 2
        return self._capfd.readouterr().err

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(120) == 0
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def begin(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*more: str) -> Server:
        servers.append(Server(tmp_path, capfd, *more))
        return servers[-1]

    yield start
    for server in servers:
        server.end()


def test_claim_tokens_are_listed_and_revoked_without_their_secrets(
    begin: Callable[..., Server], tmp_path: Path
) -> None:
    create_authority(tmp_path / "ca", name="fleet", lifetime=timedelta(days=1))
    server = begin("--authority", str(tmp_path / "ca"), "--authority-url", "https://ca.test:8443")
    server.ask("groups", "add", "lab")
    tokens = [server.ask("devices", "claim", "--group", "lab", "--hours", "2").strip() for _ in range(2)]
    listed = server.ask("claims", "list", "--group", "lab", "--json")
    ids = [one["id"] for one in json.loads(listed)]
    assert len(ids) == 2
    assert f"claim {ids[0]} of group lab: revoked" in server.ask("claims", "revoke", ids[0])
    shown = server.ask("claims", "list")
    assert "revoked" in shown
    assert "good" in shown
    assert "there is none with that id" in server.refused("claims", "revoke", "0123456789ab")
    secrets = [decode_token(token).secret for token in tokens]
    assert not any(
        secret in text
        for secret in secrets
        for text in (listed, shown, server.ask("audit", "list", "--json"))
    )


def test_a_fleet_from_a_list_of_devices_to_a_rollout_and_its_audit(
    begin: Callable[..., Server], tmp_path: Path
) -> None:
    server = begin()
    assert "group lab: there is none of that name" in server.refused(
        "devices", "import", str(devices_in(tmp_path))
    )
    assert "lab: made" in server.ask("groups", "add", "lab", "--note", "second floor")
    assert "second floor" in server.ask("groups", "list")
    server.ask("groups", "add", "spare", "--select-tag", "spare")
    assert "nothing to change" in server.refused("groups", "edit", "spare")
    for more in (("--rank", "5"), ("--select-tag", "a")):
        assert "--no-selector: expected alone" in server.refused(
            "groups", "edit", "spare", "--no-selector", *more
        )
    server.ask("groups", "edit", "spare", "--note", "shelf")
    assert "tag spare" in server.ask("groups", "list"), "what is not named stays"
    server.ask("groups", "edit", "spare", "--no-selector")
    assert "tag spare" not in server.ask("groups", "list")
    assert "spare: removed" in server.ask("groups", "remove", "spare")
    assert "net-1.0" in server.ask("releases", "add", release_in(tmp_path))
    assert "net-1.0" in server.ask("releases", "list", "--model", "net")
    assert "no authority" in server.refused("devices", "claim", "--group", "lab")
    assert "2 added" in server.ask("devices", "import", str(tmp_path / "devices.csv"))
    listed = json.loads(server.ask("devices", "list", "--tag", "indoor", "--json"))
    assert [one["id"] for one in listed] == ["gate-1"]
    assert "gate-2" in server.ask("devices", "list", "--group", "lab")
    assert "tags roof" in server.ask("devices", "edit", "gate-2", "--tag", "roof")
    assert "roof" in server.ask("devices", "export")
    assert "tags none" in server.ask("devices", "edit", "gate-2", "--no-tags")
    assert "--most" in server.told("devices", "list", "--most", "1")
    assert server.told("devices", "list", "--most", "2") == ""
    assert "gate-2" in server.ask("devices", "show", "gate-2")
    assert "one that has not said what it can run" in server.refused("devices", "pin", "gate-1", "net-1.0")
    assert "there is none with that id" in server.refused("devices", "pin", "gate-1", "net-9")
    assert "gate-1: follows group lab" in server.ask("devices", "unpin", "gate-1")
    assert "shall run: nothing for what it can run" in server.ask("devices", "show", "gate-1")
    assert "decommissioned" in server.ask("devices", "decommission", "gate-2", "--reason", "broken")
    (tmp_path / "plan.toml").write_text(PLAN)
    assert "r1: draft" in server.ask("rollouts", "create", str(tmp_path / "plan.toml"))
    assert "r1: running" in server.ask("rollouts", "submit", "r1")
    assert "r1: paused" in server.ask("rollouts", "pause", "r1")
    server.ask("rollouts", "resume", "r1")
    assert json.loads(server.ask("rollouts", "explain", "r1", "--json"))["rollout"] == "r1"
    assert "stage 1 all" in server.ask("rollouts", "explain", "r1")
    assert "net-1.0" in server.ask("rollouts", "list")
    assert server.ask("rollouts", "jobs", "r1") == "none\n"
    server.ask("rollouts", "approve-stage", "r1", status=2)
    assert "r1: aborted" in server.ask("rollouts", "abort", "r1")
    server.ask("rollouts", "retry", "r1", status=2)
    newest, *_ = json.loads(server.ask("audit", "list", "--newest", "--most", "1", "--json"))
    assert newest["action"] == "rollout.abort"
    assert "user ada" in server.ask("audit", "list", "--action", "rollout.")
    exported = server.run("audit", "export", "--database", server.database)
    (tmp_path / "audit.jsonl").write_text(exported)
    whole = json.loads(server.run("audit", "verify", "--database", server.database, "--json"))
    assert whole["whole"] is True
    assert "is whole" in server.run(
        "audit", "verify", str(tmp_path / "audit.jsonl"), "--expect", whole["newest_digest"]
    )
    (tmp_path / "audit.jsonl").write_text("".join(exported.splitlines(keepends=True)[:-1]))
    assert "NOT whole" in server.run(
        "audit", "verify", str(tmp_path / "audit.jsonl"), "--expect", whole["newest_digest"], status=4
    )
    (tmp_path / "audit.jsonl").write_text(exported.replace("user ada", "user bob"))
    assert "was changed" in server.run("audit", "verify", str(tmp_path / "audit.jsonl"), status=4)
    tokens = json.loads(server.run("token", "list", "--database", server.database, "--json"))
    assert server.token_file.read_text().strip() not in json.dumps(tokens)
    assert "ada" in server.run("token", "list", "--database", server.database)
    assert "revoked" in server.run("token", "revoke", "--database", server.database, tokens[0]["id"])
    server.ask("devices", "list", status=2)
    assert "Traceback" not in server.log.read_text()


def test_over_tls_and_what_is_wrong_is_said(
    begin: Callable[..., Server], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    certificate(tmp_path, "authority", issuer=None)
    certificate(tmp_path, "server", issuer="authority")
    server = begin("--tls-cert", str(tmp_path / "server.crt"), "--tls-key", str(tmp_path / "server.key"))
    assert server.address.startswith("https://")
    server.address = server.address.replace("127.0.0.1", "localhost")
    assert server.ask("devices", "list", "--ca", str(tmp_path / "authority.crt")) == "none\n"
    server.ask("devices", "list", status=6)  # an authority that the system does not trust
    for arguments, says in (
        (["devices", "show", "../x"], "expected an id"),
        (["devices", "edit", "d1"], "nothing to change"),
        (["devices", "import", "absent.csv"], "No such file"),
        (["devices", "import", "/dev/zero"], "expected a device list of at most 16777216 bytes, got more"),
        (["releases", "add", "/dev/zero"], "is no release that can be read"),
        (["devices", "list", "--ca", "absent.pem"], "cannot be used"),
    ):
        more = () if "--ca" in arguments else ("--ca", str(tmp_path / "authority.crt"))
        assert says in server.refused(*arguments, *more)
    for more, status, says in (
        (["--server", "ftp://x"], 2, "expected https://HOST"),
        (["--server", "http://fleet.example"], 2, "in the clear"),
        (["--server", "http://[::1"], 2, "--server"),
        (["--server", f"http://127.0.0.1:{free_port()}"], 6, "cannot be reached"),
        (["--token-file", str(tmp_path / "absent")], 2, "cannot be read"),
        (["--token-file", str(tmp_path / "server.crt")], 2, "expected a token, one word, got something else"),
        (["--token-file", "/dev/null"], 2, "expected a token, one word, got nothing"),
        (["--token-file", "/dev/zero"], 2, "expected a token, one word, got something else"),
    ):
        options = {"--server": server.address, "--token-file": str(server.token_file)}
        options.update(zip(more[::2], more[1::2], strict=True))
        capfd.readouterr()
        assert (
            main(["fleet", "devices", "list", *(part for pair in options.items() for part in pair)]) == status
        )
        assert says in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["serve", "--host", "0.0.0.0"], 2, "in the clear"),
        (["serve", "--tls-cert", "a.crt"], 2, "belong together"),
        (["serve", "--tls-cert", "a.crt", "--tls-key", "a.key"], 2, "cannot be used for TLS"),
        (["serve", "--host", "192.0.2.1", "--tls-cert", "CRT", "--tls-key", "KEY"], 2, "cannot listen"),
        (["serve", "--repository", "r/"], 2, "belong together"),
        (["serve", "--authority", "a/"], 2, "--authority-url is missing"),
        (["serve", "--telemetry", "bogus://x"], 2, "--telemetry: bogus://…: expected a DuckDB file"),
        (["serve", "--telemetry", "clickhouse://me:secret@h:70000/x"], 2, "a port from 1 to 65535"),
        (
            ["token", "create", "--name", "a b", "--role", "admin"],
            2,
            "--name: expected 1 to 64 letters, digits, _, ., @ and -, got 'a b'.",
        ),
        (
            ["token", "create", "--name", "a", "--role", "admin", "--days", "4e3"],
            2,
            "--days: expected less than or equal to 3660, got 4000.0.",
        ),
        (["token", "revoke", "0123456789ab"], 2, "there is no fleet in it"),
        (["token", "revoke", "\udcff"], 2, "expected an id of letters, digits, _ and -, got '\\udcff'"),
        (["token", "list"], 2, "there is no fleet in it"),
        (["audit", "verify"], 2, "there is no fleet in it"),
        (["audit", "export"], 2, "there is no fleet in it"),
        (["audit", "verify", "absent.jsonl"], 2, "one of them"),
    ],
)
def test_what_cannot_be_served_is_said(
    arguments: list[str], status: int, says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if "CRT" in arguments:
        certificate(tmp_path, "server", issuer=None)
    arguments = [
        {"CRT": str(tmp_path / "server.crt"), "KEY": str(tmp_path / "server.key")}.get(one, one)
        for one in arguments
    ]
    assert main(["fleet", *arguments, "--database", str(tmp_path / "fleet.db")]) == status
    told = capfd.readouterr().err
    assert says in told
    assert "secret" not in told


def test_an_audit_file_without_entries_is_not_called_whole(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "audit.jsonl").touch()
    assert main(["fleet", "audit", "verify", str(tmp_path / "audit.jsonl")]) == 2
    assert "expected entries, got none. Did the export fail?" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"garbage\r\n", "answered something else than HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n<a/>", "answered something else than JSON"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "answered something else than a list"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "answered something else than a list"),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "the server answered 302"),
    ],
)
def test_another_server_than_a_fleets_is_told_of(
    answer: bytes, says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "token").write_text("t")
    with answering(answer) as port:
        options = ["--server", f"http://127.0.0.1:{port}", "--token-file", str(tmp_path / "token")]
        assert main(["fleet", "devices", "list", *options]) == 6
    assert says in capfd.readouterr().err


def test_a_server_whose_broker_refuses_it_ends_and_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with answering(b"\x20\x03\x00\x87\x00") as port:  # CONNACK, not authorized: MQTT 5, 3.2.2.2
        options = ["--port", "0", "--broker", f"mqtt://127.0.0.1:{port}"]
        assert main(["fleet", "serve", "--database", str(tmp_path / "fleet.db"), *options]) == 6
    told = capfd.readouterr().err
    assert "authorized" in told.lower()
    assert "Traceback" not in told


@pytest.mark.parametrize("hours", ["0.01", "8785", "nan", "x"])
def test_how_long_a_claim_token_is_good_is_refused_by_the_name_of_its_option(
    hours: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["fleet", "devices", "claim", "--group", "lab", "--hours", hours])
    assert caught.value.code == 2
    assert "--hours" in capfd.readouterr().err


def test_help_has_examples(capfd: pytest.CaptureFixture[str]) -> None:
    for arguments in (["fleet", "--help"], ["fleet", "rollouts", "create", "--help"]):
        with pytest.raises(SystemExit):
            main(arguments)
        assert "edgewright fleet rollouts create plan.toml" in capfd.readouterr().out


def test_an_order_that_cannot_be_signed_is_shown_with_its_device(
    begin: Callable[..., Server], tmp_path: Path
) -> None:
    server = begin()
    server.ask("groups", "add", "lab")
    server.ask("releases", "add", release_in(tmp_path))
    request = urllib.request.Request(
        f"{server.address}/api/v1/devices",
        data=json.dumps({"id": "gate-3", "group": "lab", "provides": {"targets": ["a"]}}).encode(),
        headers={
            "Authorization": f"Bearer {server.token_file.read_text().strip()}",
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 201
    assert "waits" not in server.ask("devices", "show", "gate-3")
    assert "gate-3: shall run net-1.0" in server.ask("devices", "pin", "gate-3", "net-1.0")
    assert "waits: The order to pin it to net-1.0 is not signed" in server.ask("devices", "show", "gate-3")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_whoever_asks_a_second_time_ends_the_server_at_once(
    number: signal.Signals, status: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server = Server(tmp_path, capfd)
    token = server.token_file.read_text().strip()
    request = urllib.request.Request(
        f"{server.address}/api/v1/events", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(
        request, timeout=60
    ):  # a stream, whose reader is given some seconds to go away
        server.process.send_signal(number)
        wait_until(lambda: "Ended." in server.log.read_text(), what="the end to be begun")
        assert server.process.poll() is None
        server.process.send_signal(number)
        server.process.communicate(timeout=60)
    told = server.log.read_text()
    assert server.process.returncode == status, told
    assert told.endswith("edgewright: asked to end again: ended at once.\n")
    assert "Traceback" not in told
