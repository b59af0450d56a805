"""SWUpdate itself, Debian's, polls the fleet's server over hawkBit's DDI, installs a signed release and says so."""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from host_tools.cli.fleet_server import FleetServer
from host_tools.cli.main import main
from host_tools.repository.keys import KeyRing
from host_tools.repository.repository import Repository
from tests.integration.environments import swupdate
from tests.integration.support import null_artifact, wait_until
from tests.integration.update_repository import TARGET

if TYPE_CHECKING:
    from collections.abc import Iterator

DEVICE = "gate-8"
SECONDS = 120.0


class Signer:
    """The operator's key: what SWUpdate goes by, since DDI itself has no signatures."""

    def __init__(self, certificate: Path) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "operator")])
        now = dt.datetime.now(dt.timezone.utc)
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(1)
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        certificate.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def bundle(self, path: Path, name: str, artifact: bytes, *, installed: Path) -> None:
        """Write an update that puts an artifact where the device has it."""
        sha256 = hashlib.sha256(artifact).hexdigest()
        description = (
            'software = { version = "1.0"; hardware-compatibility: [ "1.0" ]; files: ( '
            f'{{ filename = "{name}"; path = "{installed}"; sha256 = "{sha256}"; }} ); }};\n'
        ).encode()
        signature = (
            pkcs7.PKCS7SignatureBuilder()
            .set_data(description)
            .add_signer(self._certificate, self._key, hashes.SHA256())
            .sign(
                serialization.Encoding.DER,
                [
                    pkcs7.PKCS7Options.DetachedSignature,
                    pkcs7.PKCS7Options.Binary,
                    pkcs7.PKCS7Options.NoCapabilities,
                ],
            )
        )
        members = {
            "sw-description": description,
            "sw-description.sig": signature,
            name: artifact,
        }
        path.write_bytes(cpio(members))


def cpio(members: dict[str, bytes]) -> bytes:
    """Return an archive in the form "new ASCII with checksum"."""
    written = b""
    for number, (name, data) in enumerate([*members.items(), ("TRAILER!!!", b"")], 1):
        word, checksum = name.encode() + b"\0", sum(data) & 0xFFFFFFFF
        fields = (number, 0o100644, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(word), checksum)
        head = b"070702" + b"".join(b"%08X" % field for field in fields) + word
        written += head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
    return written + bytes(-len(written) % 512)


class Polled:
    """`edgewright fleet serve --ddi` on a real repository, and SWUpdate on a device."""

    def __init__(self, folder: Path, server: FleetServer, address: str) -> None:
        self.folder = folder
        self.server = server
        self.address = address
        self.signer = Signer(folder / "operator.crt")
        self.installed = folder / "model.ewa"
        self.bundle = folder / "repository" / "bundles" / "small-1.0.swu"
        self.artifact = b""

    def begin_swupdate(self, *confirm: str) -> subprocess.Popen[bytes]:
        """Start it; its sockets need a short path."""
        options = ["-p", "1", *confirm]
        program, environment = swupdate()
        command = [program, "-f", str(self.folder / "swupdate.cfg"), "-H", "board:1.0"]
        command += ["-k", str(self.folder / "operator.crt"), "-u", " ".join(options)]
        with (self.folder / "swupdate.log").open("ab") as log:
            return subprocess.Popen(
                command, env=environment | {"TMPDIR": f"{self.folder}/"}, stdout=log, stderr=log
            )

    def log(self) -> str:
        return (self.folder / "swupdate.log").read_text(errors="replace")

    def job(self) -> tuple[str, str]:
        """Return the device's only one; before the device has said what it can run there is none."""
        jobs = self.server.ask("GET", f"/devices/{DEVICE}/jobs")["items"]
        return (jobs[0]["state"], jobs[0]["result"]) if jobs else ("", "")


def ended(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(30)


@pytest.fixture
def polled(capfd: pytest.CaptureFixture[str]) -> Iterator[Polled]:
    with tempfile.TemporaryDirectory(prefix="ew") as name:
        folder = Path(name)
        repository = Repository(folder / "repository", KeyRing(folder / "keys"))
        repository.init()
        database, token = str(folder / "fleet.db"), folder / "token"
        assert (
            main(["fleet", "token", "create", "--database", database, "--name", "ada", "--role", "admin"])
            == 0
        )
        token.write_text(capfd.readouterr().out)
        command = [
            sys.executable,
            "-m",
            "host_tools",
            "fleet",
            "serve",
            "--database",
            database,
            "--port",
            "0",
        ]
        command += ["--repository", str(folder / "repository"), "--keys", str(folder / "keys")]
        command += ["--ddi", "--ddi-poll", "1"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        try:
            address = process.stdout.readline().split()[-1].removesuffix("/api/v1")
            assert address.startswith("http"), (folder / "log").read_text()
            server = FleetServer(argparse.Namespace(server=address, token_file=str(token), ca=None))
            polled = Polled(folder, server, address)
            polled.artifact = offer(polled, repository)
            capfd.readouterr()
            options = ["--server", address, "--token-file", str(token)]
            assert main(["fleet", "devices", "target-token", DEVICE, *options]) == 0
            secret = capfd.readouterr().out.strip()
            (folder / "swupdate.cfg").write_text(
                'globals : { verbose = true; loglevel = 5; bootloader = "none"; };\n'
                f'suricatta : {{ tenant = "DEFAULT"; id = "{DEVICE}"; url = "{address}"; targettoken = "{secret}"; }};\n'
                f'identify : ( {{ name = "targets"; value = "{TARGET}"; }}, {{ name = "engine"; value = "swupdate"; }} );\n'
            )
            yield polled
        finally:
            process.terminate()
            assert process.wait(30) == 0
            process.stdout.close()
        said = (folder / "log").read_text()
        assert "Traceback" not in said
        assert secret not in said


def offer(polled: Polled, repository: Repository) -> bytes:
    """Sign an artifact, put the operator's bundle beside it, and roll it out to a device that has not said yet what it can run."""
    artifact = null_artifact(polled.folder / "small-1.0.ewa", target=TARGET)
    data = artifact.read_bytes()
    polled.bundle.parent.mkdir()
    polled.signer.bundle(polled.bundle, artifact.name, data, installed=polled.installed)
    path = repository.add(artifact, release_counter=1)
    digest = repository.released("small")[path][1]
    ask = polled.server.ask
    ask("POST", "/groups", {"name": "lab"})
    ask("POST", "/devices", {"id": DEVICE, "group": "lab"})
    released = {TARGET: {"path": path, "digest": digest, "size_bytes": len(data)}}
    ask("POST", "/releases", {"model": "small", "version": "1.0", "counter": 1, "artifacts": released})
    stages = [{"name": "all", "share_ppm": 1_000_000, "soak_seconds": 0.0}]
    plan = {"id": "r1", "release": "small-1.0", "group": "lab", "stages": stages, "gates": []}
    ask("POST", "/rollouts", plan)
    ask("POST", "/rollouts/r1/submit", {})
    return data


def test_swupdate_installs_what_a_rollout_brings_and_says_so(polled: Polled) -> None:
    process = polled.begin_swupdate()
    try:
        wait_until(polled.installed.exists, what=f"it is installed\n{polled.log()}", seconds=SECONDS)
        wait_until(
            lambda: polled.job() == ("downloaded", "none"), what="it says that it proceeds", seconds=SECONDS
        )
        wait_until(
            lambda: "pending testing" in polled.log(), what="it waits for its restart", seconds=SECONDS
        )
    finally:
        ended(process)
    assert polled.installed.read_bytes() == polled.artifact
    process = polled.begin_swupdate("-c", "2")
    try:
        wait_until(
            lambda: polled.job() == ("closed", "success"), what="it says that it is done", seconds=SECONDS
        )
        wait_until(
            lambda: polled.server.ask("GET", "/rollouts/r1")["state"] == "finished",
            what="the rollout is finished",
            seconds=SECONDS,
        )
    finally:
        ended(process)
    device = polled.server.ask("GET", f"/devices/{DEVICE}")
    assert device["provides"]["targets"] == [TARGET]
    assert device["provides"]["engine"] == "swupdate"
    assert device["artifact"] == "sha256:" + hashlib.sha256(polled.artifact).hexdigest()


def test_swupdate_refuses_what_another_has_signed_and_the_job_fails(polled: Polled) -> None:
    stranger = Signer(polled.folder / "stranger.crt")
    stranger.bundle(polled.bundle, "small-1.0.ewa", polled.artifact, installed=polled.installed)
    process = polled.begin_swupdate()
    try:
        wait_until(
            lambda: polled.job() == ("closed", "failure"), what="it says that it failed", seconds=SECONDS
        )
    finally:
        ended(process)
    assert not polled.installed.exists()
    assert polled.server.ask("GET", f"/devices/{DEVICE}")["artifact"] is None
    assert "Authentication of all signatures failed" in polled.log()
