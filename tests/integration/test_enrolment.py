"""Enrolment and renewal against a real authority over real TLS: what works, and every refusal with its reason."""

from __future__ import annotations

import json
import ssl
import stat
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from device_agent.contract import claim_token
from device_agent.contract import enrolment as wire
from device_agent.contract.errors import ConfigError, ContractError, StorageError, TransferError, TrustError
from device_agent.enrolment import keys
from device_agent.enrolment.enrol import enrol, read_token, renew
from device_agent.enrolment.exchange import AuthorityServer, ClockError, RefusedError
from device_agent.enrolment.identity import IdentityFolder
from device_agent.tls import client_context
from host_tools.free_port import free_port
from tests.integration.fleet import DAY, Fleet, RawServer

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(tmp_path / "authority").serving() as serving:
        yield serving


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(RefusedError) as caught:
        call()
    assert str(caught.value).startswith(f"the authority refuses ({caught.value.refusal}): ")
    assert caught.value.hint or caught.value.refusal in (
        "request_unusable",
        "signature_wrong",
        "key_reused",
        "certificate_of_another_device",
    )
    return caught.value.refusal


# --- enrol ---


def test_a_device_gets_a_certificate_for_a_key_that_only_it_can_read(fleet: Fleet, tmp_path: Path) -> None:
    done = fleet.enrol(tmp_path / "identity")
    assert done.is_new
    current = tmp_path / "identity" / "current"
    assert stat.S_IMODE((current / "device.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "identity").stat().st_mode) == 0o700
    said = subprocess.run(
        ["openssl", "verify", "-CAfile", str(current / "ca.crt"), "-purpose", "sslclient", str(current / "device.crt")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert said.endswith("OK\n")
    key = (current / "device.key").read_bytes()
    assert key not in b"".join(file.read_bytes() for file in fleet.folder.path.iterdir()), (
        "the key never leaves"
    )


@pytest.mark.parametrize("way", ["link", "..", "twice"])
def test_a_folder_that_is_reached_by_another_way_keeps_its_identity(
    fleet: Fleet, tmp_path: Path, way: str
) -> None:
    real = tmp_path / "data"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    (tmp_path / "twice").symlink_to("link")
    folder = tmp_path / "data" / ".." / "data" if way == ".." else tmp_path / way
    identity = fleet.enrol(folder / "identity").identity
    assert IdentityFolder(folder / "identity").required("dev-1") == identity
    IdentityFolder(folder / "identity").sweep()
    assert IdentityFolder(real / "identity").required("dev-1") == identity


def test_again_with_a_spent_token_says_so_and_asks_nobody(fleet: Fleet, tmp_path: Path) -> None:
    token = fleet.token()
    first = fleet.enrol(tmp_path / "identity", token=token)
    read = replace(read_token(token, device="dev-1"), url=f"https://127.0.0.1:{free_port()}")
    for again in (False, True):
        done = enrol(tmp_path / "identity", read, device="dev-1", replace=again)
        assert (done.is_new, done.identity) == (False, first.identity)


def test_replace_enrols_anew_and_leaves_one_generation(fleet: Fleet, tmp_path: Path) -> None:
    first = fleet.enrol(tmp_path / "identity").identity
    second = fleet.enrol(tmp_path / "identity", replace=True).identity
    assert second.serial != first.serial
    assert {entry.name for entry in (tmp_path / "identity").iterdir()} == {"current", "lock", second.serial}


def test_what_others_keep_in_the_folder_is_left_alone(fleet: Fleet, tmp_path: Path) -> None:
    device = tmp_path / "device"
    for name in ("agent.toml", "model.ewa", "store/model.ewa", "cafe/device.key", "cafe/notes", "notes.new"):
        (device / name).parent.mkdir(parents=True, exist_ok=True)
        (device / name).write_text(name)
    (device / "link").symlink_to("store")
    others = {entry.relative_to(device) for entry in device.rglob("*")}
    fleet.enrol(device)
    fleet.enrol(device, replace=True)
    IdentityFolder(device).sweep()
    left = {entry.relative_to(device) for entry in device.rglob("*")}
    assert others <= left
    serial = IdentityFolder(device).required("dev-1").serial
    assert {entry.parts[0] for entry in left - others} == {"current", "lock", serial}


def test_links_that_lead_in_a_circle_are_a_damaged_identity_and_cured_like_one(
    fleet: Fleet, tmp_path: Path
) -> None:
    fleet.enrol(tmp_path / "identity")
    folder = IdentityFolder(tmp_path / "identity")
    (folder.path / "current").unlink()
    (folder.path / "current").symlink_to("current")
    with pytest.raises(
        TrustError, match=r"identity\.json: Too many levels of symbolic links.*enrol --replace"
    ):
        folder.required("dev-1")
    (tmp_path / "ca.crt").write_text(fleet.folder.signer.pem)
    with pytest.raises(ConfigError, match=r"tls_cert .*: cannot be used: .*Too many levels"):
        client_context(folder.tls_files(ca=tmp_path / "ca.crt"))
    fleet.enrol(folder.path, replace=True)
    client_context(folder.tls_files())


def test_a_token_for_any_device_takes_a_new_id_and_no_id_that_is_taken(fleet: Fleet, tmp_path: Path) -> None:
    assert fleet.enrol(tmp_path / "one", "dev-1", token=fleet.token("")).is_new
    assert refusal(lambda: fleet.enrol(tmp_path / "two", "dev-1", token=fleet.token(""))) == "device_enrolled"
    assert fleet.enrol(tmp_path / "two", "dev-2", token=fleet.token("")).is_new


def test_a_spent_token_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    token = fleet.token()
    fleet.enrol(tmp_path / "identity", token=token)
    assert refusal(lambda: fleet.enrol(tmp_path / "thief", token=token)) == "token_spent"
    assert IdentityFolder(tmp_path / "thief").current() is None


def test_an_expired_token_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    token = fleet.token()
    fleet.shift_seconds = 3_601
    assert refusal(lambda: fleet.enrol(tmp_path / "identity", token=token)) == "token_expired"


def test_a_token_of_another_device_is_refused_here_and_there(fleet: Fleet, tmp_path: Path) -> None:
    token = fleet.token("dev-2")
    with pytest.raises(TrustError, match=r"is for device 'dev-2'; device\.id is 'dev-1'"):
        read_token(token, device="dev-1")
    forged = replace(claim_token.decode_token(token), device="dev-1")
    assert refusal(lambda: enrol(tmp_path / "identity", forged, device="dev-1")) == "token_for_another_device"


def test_a_guessed_token_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    forged = replace(claim_token.decode_token(fleet.token()), secret="A" * 43)
    assert refusal(lambda: enrol(tmp_path / "identity", forged, device="dev-1")) == "token_unknown"


def test_a_server_of_another_authority_never_sees_the_token(tmp_path: Path) -> None:
    ours = Fleet(tmp_path / "ours")
    with Fleet(tmp_path / "theirs").serving() as theirs:
        token = ours.token(url=theirs.url)
        with pytest.raises(TrustError, match=r"the server's authority is sha256:.*; the token names sha256:"):
            enrol(tmp_path / "identity", read_token(token, device="dev-1"), device="dev-1")
    assert not (tmp_path / "identity" / "pending.key").exists()


def test_a_server_that_shows_our_authority_but_is_not_certified_by_it_never_sees_the_token(
    fleet: Fleet, tmp_path: Path
) -> None:
    """Whoever stands between can repeat the public certificate of the authority, and no more."""
    other = Fleet(tmp_path / "other")
    files = other.server_files(tmp_path / "files")
    seen = []

    def talk(connection: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files / "server.crt", files / "server.key")
        with context.wrap_socket(connection, server_side=True) as secured:
            asked = secured.recv(65_536)
            seen.append(asked)
            answer = fleet.service.answer("GET", wire.AUTHORITY_PATH, b"").body
            secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))

    server = RawServer(talk)
    try:
        token = fleet.token(url=f"https://127.0.0.1:{server.port}")
        with pytest.raises(TrustError, match="not of the authority that is trusted here"):
            fleet.enrol(tmp_path / "identity", token=token)
    finally:
        server.close()
    assert [asked.split(b" ")[0] for asked in seen] == [b"GET"]


def test_a_server_under_another_name_is_refused(tmp_path: Path) -> None:
    serving = Fleet(tmp_path / "authority").serving(names=("ca.example",))
    with serving as fleet, pytest.raises(TrustError, match="does not name the host that was called"):
        fleet.enrol(tmp_path / "identity")


def test_a_device_that_poses_as_the_server_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    fleet.enrol(tmp_path / "thief", "127-0-0-1")
    files = IdentityFolder(tmp_path / "thief").tls_files()
    authority = fleet.folder.signer.pem

    def talk(connection: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.cert or "", files.key)
        context.wrap_socket(connection, server_side=True).close()

    server = RawServer(talk)
    request = wire.EnrolRequest(device="d", secret="A" * 43, csr="-----BEGIN X")
    try:
        with pytest.raises(TrustError, match="not one for servers"):
            AuthorityServer(f"https://127.0.0.1:{server.port}").enrol(request, authority=authority)
    finally:
        server.close()


@pytest.mark.parametrize(
    ("wall_seconds", "said"),
    [(0.0, r"clock says 1970-01-01 00:00:00\+00:00; the fleet's authority exists since"),
     (4e9, r"clock says 2096-.*; the authority's certificate ended")],
)  # fmt: skip
def test_a_wrong_clock_is_told_before_the_token_is_shown(
    fleet: Fleet, tmp_path: Path, wall_seconds: float, said: str
) -> None:
    token = fleet.token()
    with pytest.raises(ClockError, match=said) as caught:
        fleet.enrol(tmp_path / "identity", token=token, wall_seconds=lambda: wall_seconds)
    assert "token has not been used" in caught.value.hint
    assert fleet.enrol(tmp_path / "identity", token=token).is_new


def test_a_server_whose_certificate_has_ended_may_mean_a_wrong_clock(tmp_path: Path) -> None:
    said = r"has expired by this device's clock, 20\d\d-.*Set the clock"
    serving = Fleet(tmp_path / "authority").serving(lifetime=timedelta(seconds=-1))
    with serving as fleet, pytest.raises(ClockError, match=said):
        fleet.enrol(tmp_path / "identity")


def test_nobody_answers(tmp_path: Path) -> None:
    token = Fleet(tmp_path / "authority").token(url=f"https://127.0.0.1:{free_port()}")
    with pytest.raises(TransferError, match=r"cannot be reached: .*refused.* nothing is lost"):
        enrol(tmp_path / "identity", read_token(token, device="dev-1"), device="dev-1")


def test_two_at_once_are_one_and_a_refusal(fleet: Fleet, tmp_path: Path) -> None:
    held = IdentityFolder(tmp_path / "identity").locked()
    with held, pytest.raises(StorageError, match="another enrolment or renewal is at work"):
        fleet.enrol(tmp_path / "identity")


def test_a_disk_that_takes_nothing_is_told_and_the_token_is_not_lost(fleet: Fleet, tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: the system call fails in the same place."""
    full = "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (0, -1))"
    token = fleet.token()
    done = agent(
        "enrol", "--config", config(tmp_path), "--token-file", "-", stdin=token.encode(), prelude=full
    )
    assert done.returncode == 7
    assert b"pending.key: File too large" in done.stderr
    assert IdentityFolder(tmp_path / "identity").current() is None
    assert fleet.enrol(tmp_path / "identity", token=token).is_new


# --- answers that are none ---


def answering(fleet: Fleet, tmp_path: Path, talk: Callable[[ssl.SSLSocket], None]) -> RawServer:
    """A server that the authority has certified, and that answers as ``talk`` does."""
    files = fleet.server_files(tmp_path / "files")

    def secured(connection: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files / "server.crt", files / "server.key")
        with context.wrap_socket(connection, server_side=True) as line:
            line.recv(65_536)
            talk(line)

    return RawServer(secured)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (b"", TransferError, "cannot be reached: .* without response"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", TransferError, "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", ContractError, "not valid JSON"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nbad", TransferError, "HTTP status 502"),
        (b"HTTP/1.1 302 Found\r\nLocation: https://x.invalid/\r\nContent-Length: 0\r\n\r\n", TransferError, "302"),
        (HEAD % 100 + b"{", TransferError, "broke off, 99 bytes before its end"),
        (HEAD % 2 + b"[]", ContractError, "expected a JSON object"),
        (HEAD % 24 + b'{"schema_version": "2.0"}', ContractError, "is newer than 1.0|not valid JSON"),
        (HEAD % (1 << 30) + b"x" * 40_000, ContractError, "answered more than 32768 bytes"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 70_000 + b"\r\n", TransferError, "LineTooLong"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200, TransferError, "got more than 100 headers"),
    ],
)  # fmt: skip
def test_a_server_that_answers_nonsense(
    fleet: Fleet, tmp_path: Path, answer: bytes, error: type[Exception], said: str
) -> None:
    server = answering(fleet, tmp_path, lambda line: line.sendall(answer))
    try:
        with pytest.raises(error, match=said):
            fleet.enrol(tmp_path / "identity", token=fleet.token(url=f"https://127.0.0.1:{server.port}"))
    finally:
        server.close()


@pytest.mark.parametrize("head", [b"", HEAD % 1_000, b"HTTP/1.1 200 OK\r\n"])
def test_an_answer_that_drips_is_cut_when_its_time_is_up(fleet: Fleet, tmp_path: Path, head: bytes) -> None:
    def drip(line: ssl.SSLSocket) -> None:
        line.sendall(head)
        while True:
            line.sendall(b"x")
            time.sleep(0.05)

    server = answering(fleet, tmp_path, drip)
    token = fleet.token(url=f"https://127.0.0.1:{server.port}")
    began = time.monotonic()
    try:
        with pytest.raises(TransferError, match=r"no whole answer within 0\.5 s"):
            fleet.enrol(tmp_path / "identity", token=token, deadline_seconds=0.5)
    finally:
        server.close()
    assert time.monotonic() - began < 20


def test_a_server_that_takes_the_call_and_says_nothing(fleet: Fleet, tmp_path: Path) -> None:
    server = RawServer(lambda line: (line.recv(1 << 16), time.sleep(3), None)[2])
    token = fleet.token(url=f"https://127.0.0.1:{server.port}")
    try:
        with pytest.raises(TransferError, match=r"no whole answer within 0\.3 s"):
            fleet.enrol(tmp_path / "identity", token=token, deadline_seconds=0.3)
    finally:
        server.close()


def issued_for(fleet: Fleet, device: str, *, csr_key: bytes, server: bool = False) -> str:
    from host_tools.authority.certificates import read_request

    request = read_request(keys.signing_request(csr_key, device=device))
    if server:
        return fleet.folder.certify_server([device], lifetime=DAY)[1]
    return fleet.folder.signer.certify_device(request, device=device, lifetime=DAY).pem


@pytest.mark.parametrize(
    ("kind", "said"),
    [("key", "for another key"), ("device", "is for 'dev-2', not for 'dev-1'"), ("authority", "not signed by the fleet's authority"),
     ("server", "for another key|not one for a client"), ("garbage", "cannot be read")],
)  # fmt: skip
def test_a_certificate_that_was_not_asked_for_is_not_taken(
    fleet: Fleet, tmp_path: Path, kind: str, said: str
) -> None:
    key, other = keys.make_key(), Fleet(tmp_path / "other")
    made = {
        "key": lambda: issued_for(fleet, "dev-1", csr_key=keys.make_key()),
        "device": lambda: issued_for(fleet, "dev-2", csr_key=key),
        "authority": lambda: issued_for(other, "dev-1", csr_key=key),
        "server": lambda: issued_for(fleet, "dev-1", csr_key=key, server=True),
        "garbage": lambda: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    }[kind]()
    with pytest.raises(TrustError, match=said):
        keys.checked_certificate(made, key=key, device="dev-1", authority=fleet.folder.signer.pem)


def test_what_debians_library_does_not_check_is_checked_here_just_as_newer_ones_do(
    fleet: Fleet, tmp_path: Path
) -> None:
    (tmp_path / "again").mkdir()
    made = x509.load_pem_x509_certificate(issued_for(fleet, "dev-1", csr_key=keys.make_key()).encode())
    authorities = {
        "its own": fleet,
        "another of the same name": Fleet(tmp_path / "again" / fleet.folder.path.name),
        "another": Fleet(tmp_path / "other"),
    }
    for who, authority in authorities.items():
        certificate = x509.load_pem_x509_certificate(authority.folder.signer.pem.encode())
        outcomes = []
        for check in (keys.require_signed_by, x509.Certificate.verify_directly_issued_by):
            try:
                outcomes.append(check(made, certificate))
            except (ValueError, InvalidSignature) as error:
                outcomes.append(type(error))
        assert outcomes[0] == outcomes[1], who
        assert (outcomes[0] is None) == (who == "its own"), who


# --- renew ---


def test_renewal_is_for_a_new_key_and_the_old_generation_goes(fleet: Fleet, tmp_path: Path) -> None:
    path = tmp_path / "identity"
    first, old_key = fleet.enrol(path).identity, (path / "current" / "device.key").read_bytes()
    second = renew(path, device="dev-1")
    assert (second.device, second.claim) == ("dev-1", first.claim)
    assert second.serial != first.serial
    assert (path / "current" / "device.key").read_bytes() != old_key
    assert {entry.name for entry in path.iterdir()} == {"current", "lock", second.serial}


def test_a_device_that_was_never_enrolled_cannot_renew(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no certificate yet.*edgewright-agent enrol"):
        renew(tmp_path / "identity", device="dev-1")


def test_a_revoked_certificate_is_not_renewed(fleet: Fleet, tmp_path: Path) -> None:
    fleet.enrol(tmp_path / "identity")
    fleet.folder.revoke(device="dev-1", reason="stolen")
    with pytest.raises(RefusedError, match=r"certificate_revoked.*was revoked: stolen.*new token"):
        renew(tmp_path / "identity", device="dev-1")
    assert IdentityFolder(tmp_path / "identity").current() is not None


def test_an_expired_certificate_is_not_renewed(fleet: Fleet, tmp_path: Path) -> None:
    fleet.enrol(tmp_path / "identity")
    fleet.shift_seconds = 2 * DAY.total_seconds()
    assert refusal(lambda: renew(tmp_path / "identity", device="dev-1")) == "certificate_expired"


def test_a_certificate_of_another_fleet_is_not_renewed(fleet: Fleet, tmp_path: Path) -> None:
    """Its authority's certificate is exchanged as well, or the device would not even talk to the server."""
    with Fleet(tmp_path / "other").serving() as other:
        other.enrol(tmp_path / "identity")
    held = IdentityFolder(tmp_path / "identity").credentials()
    csr = keys.signing_request(keys.make_key(), device="dev-1")
    request = wire.RenewRequest(
        certificate=held.certificate.decode(), csr=csr, signature=keys.renewal_signature(held.key, csr=csr)
    )
    server = AuthorityServer(fleet.url)
    assert refusal(lambda: server.renew(request, authority=fleet.folder.signer.pem)) == "certificate_unknown"


@pytest.mark.parametrize("attack", ["signature", "name", "key", "server"])
def test_a_renewal_that_is_not_the_devices_own_is_refused(fleet: Fleet, tmp_path: Path, attack: str) -> None:
    fleet.enrol(tmp_path / "identity")
    held = IdentityFolder(tmp_path / "identity").credentials()
    key, certificate, device = held.key, held.certificate.decode(), "dev-1"
    csr_key = keys.make_key()
    if attack == "signature":  # whoever has seen the certificate, but not the key
        key = csr_key
    if attack == "name":
        device = "dev-2"
    if attack == "key":
        csr_key = held.key
    if attack == "server":
        made, certificate = fleet.folder.certify_server(["dev-1"], lifetime=DAY)
        key = made
    csr = keys.signing_request(csr_key, device=device)
    request = wire.RenewRequest(
        certificate=certificate, csr=csr, signature=keys.renewal_signature(key, csr=csr)
    )
    code = refusal(lambda: AuthorityServer(fleet.url).renew(request, authority=fleet.folder.signer.pem))
    assert code == {
        "signature": "signature_wrong",
        "name": "certificate_of_another_device",
        "key": "key_reused",
        "server": "certificate_unknown",
    }[attack]  # fmt: skip


def test_the_disk_of_another_device_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    fleet.enrol(tmp_path / "identity", "dev-2")
    with pytest.raises(TrustError, match=r"certificate is of device 'dev-2'; device\.id is 'dev-1'"):
        renew(tmp_path / "identity", device="dev-1")
    assert fleet.enrol(tmp_path / "identity", replace=True).identity.device == "dev-1"


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 10, b'{"schema_version": "9.0"}', b"x" * 100_000])
def test_a_damaged_identity_is_told(fleet: Fleet, tmp_path: Path, content: bytes) -> None:
    fleet.enrol(tmp_path / "identity")
    (tmp_path / "identity" / "current" / "identity.json").write_bytes(content)
    with pytest.raises(TrustError, match=r"identity\.json: .*enrol --replace"):
        renew(tmp_path / "identity", device="dev-1")
    with pytest.raises(TrustError, match=r"identity\.json"):
        fleet.enrol(tmp_path / "identity")
    cured = fleet.enrol(tmp_path / "identity", replace=True)
    assert renew(tmp_path / "identity", device="dev-1").claim == cured.identity.claim


@pytest.mark.parametrize("file", ["device.key", "device.crt", "ca.crt"])
def test_damaged_files_are_told(fleet: Fleet, tmp_path: Path, file: str) -> None:
    fleet.enrol(tmp_path / "identity")
    (tmp_path / "identity" / "current" / file).write_bytes(b"\xff\0" * 40)
    with pytest.raises((TrustError, ContractError), match=r"cannot be read|not PEM"):
        renew(tmp_path / "identity", device="dev-1")
    assert fleet.enrol(tmp_path / "identity", replace=True).is_new
    assert renew(tmp_path / "identity", device="dev-1")


# --- the commands ---


def agent(*arguments: str, stdin: bytes = b"", prelude: str = "") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "device_agent", *arguments]
    if prelude:
        main = f"{prelude}\nimport sys\nfrom device_agent.cli import main\nsys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", main, *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False, cwd=ROOT)


def config(folder: Path, identity: str = '[identity]\nfolder = "identity"\n') -> str:
    path = folder / "agent.toml"
    path.write_text(
        f'[device]\nid = "dev-1"\n[artifact]\npath = "a.ewa"\n[spool]\npath = "s/spool.db"\n{identity}'
    )
    return str(path)


def test_the_commands_take_the_token_from_standard_input_and_never_show_it(
    fleet: Fleet, tmp_path: Path
) -> None:
    path, token = config(tmp_path), fleet.token()
    done = agent("enrol", "--config", path, "--token-file", "-", stdin=token.encode() + b"\r\n")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"dev-1 enrolled: certificate ")
    again = agent("renew", "--config", path)
    assert again.stdout.startswith(b"dev-1 has a new certificate: ")
    fleet.folder.revoke(device="dev-1", reason="")
    refused = agent("renew", "--config", path)
    assert refused.returncode == 5
    assert b"certificate_revoked" in refused.stderr
    secret = claim_token.decode_token(token).secret.encode()
    assert secret not in done.stdout + done.stderr + refused.stderr
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or secret not in file.read_bytes(), f"{file} holds the secret"


@pytest.mark.parametrize(
    ("token", "status", "said"),
    [(b"", 5, b"got nothing"), (b"ewt1.AAAA.00000000", 5, b"a part is missing or changed"), (b"\xff" * 9_999, 5, b"Copy the whole line")],
)  # fmt: skip
def test_a_token_that_is_none(tmp_path: Path, token: bytes, status: int, said: bytes) -> None:
    done = agent("enrol", "--config", config(tmp_path), "--token-file", "-", stdin=token)
    assert (done.returncode, done.stdout) == (status, b"")
    assert said in done.stderr
    assert b"Traceback" not in done.stderr


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    done = agent("enrol", "--config", config(tmp_path), "--token-file", str(tmp_path / "none"))
    assert (done.returncode, b"--token-file: " in done.stderr) == (2, True)
    done = agent("renew", "--config", config(tmp_path, identity=""))
    assert (done.returncode, b"identity.folder: is not set" in done.stderr) == (2, True)
    absent = "import sys; sys.modules['cryptography'] = None"
    done = agent("renew", "--config", config(tmp_path), prelude=absent)
    assert done.returncode == 2
    assert b"pip install 'edgewright[enrol]'" in done.stderr


def test_the_running_agent_does_not_load_cryptography() -> None:
    """Its 13 MiB belong to the commands and to the child that renews."""
    script = "import device_agent.agent, device_agent.check, sys; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, cwd=ROOT).returncode == 0


def test_the_renewals_child_says_one_line(fleet: Fleet, tmp_path: Path) -> None:
    fleet.enrol(tmp_path / "identity")
    for device, error in (("dev-1", ""), ("dev-2", "is of device 'dev-1'")):
        command = [sys.executable, "-m", "device_agent.enrolment", str(tmp_path / "identity"), device]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
        said = json.loads(done.stdout)["error"]
        assert (done.returncode, bool(said)) == (int(bool(error)), bool(error))
        assert error in said
