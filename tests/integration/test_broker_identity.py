"""Mutual TLS against a real Mosquitto, configured as ``docs/enrolment.md`` says: who gets in, to which topics, and what the others are told."""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from dataclasses import replace
from datetime import timedelta
from http.client import HTTPSConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from device_agent.config import parse_config
from device_agent.enrolment.identity import IdentityFolder, utc_text
from device_agent.telemetry.link import (
    BrokerReport,
    BrokerSettings,
    Connected,
    Delivered,
    Disconnected,
    Will,
)
from device_agent.telemetry.mqtt import BrokerConnection
from device_agent.telemetry.store import Kind, SpooledMessage
from device_agent.telemetry.subscription import Subscription
from device_agent.tls import TlsFiles, client_context, problem_text
from host_tools.authority.service import EnrolmentService
from tests.integration.fleet import ACL, DAY, Fleet
from tests.integration.support import (
    AgentProcess,
    Mosquitto,
    command,
    null_artifact,
    wait_until,
    write_config,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
OURS = "ew/v1/device/dev-1///m/system"
THEIRS = "ew/v1/device/dev-2///m/system"

# paho does not close the socket of a handshake that failed, and leaves it to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(tmp_path_factory.mktemp("fleet") / "authority").serving() as serving:
        yield serving


@pytest.fixture(scope="module")
def enrolled(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the identities of dev-1 and dev-2."""
    folder = tmp_path_factory.mktemp("enrolled")
    for device in ("dev-1", "dev-2"):
        fleet.enrol(folder / device, device)
    return folder


@pytest.fixture
def broker(fleet: Fleet, tmp_path: Path) -> Iterator[Mosquitto]:
    made = fleet.broker(tmp_path / "broker")
    yield made.start()
    made.stop()


class Open:
    """A connection with some identity, and what it reported."""

    def __init__(
        self, port: int, tls: TlsFiles, *, client_id: str = "any", frames: str = "", version: str = "5", host: str = "127.0.0.1"
    ) -> None:  # fmt: skip
        self.reports: SimpleQueue[BrokerReport] = SimpleQueue()
        self.taken: SimpleQueue[bytes] = SimpleQueue()
        self.connection = BrokerConnection(
            number=1,
            settings=BrokerSettings(
                host=host,
                port=port,
                version=version,
                client_id=client_id,
                username=None,
                password=None,
                tls=tls,
                keepalive_seconds=5,
                connect_timeout_seconds=5.0,
                will_delay_seconds=0,
                max_inflight_messages=20,
            ),
            will=Will(topic="ew/v1/device/dev-1/service/agent/status/health", payload=b"{}"),
            report=self.reports.put,
            subscriptions=[
                Subscription(
                    topic=frames,
                    what="frames",
                    take=lambda message: self.taken.put(message.payload),
                    required=True,
                )
            ]
            if frames
            else [],
        )

    def next(self) -> BrokerReport:
        return self.reports.get(timeout=60)

    def reason(self) -> str:
        report = self.next()
        assert isinstance(report, Disconnected), report
        assert self.connection.join(60)
        return report.reason

    def publish(self, topic: str) -> Delivered:
        self.connection.send(SpooledMessage(1, Kind.MEASUREMENT, topic, b"{}", retain=False))
        report = self.next()
        assert isinstance(report, Delivered), report
        return report

    def close(self) -> None:
        self.connection.close()
        assert self.connection.join(60)


def refusal(port: int, tls: TlsFiles) -> str:
    """Return why the broker does not take us, empty if it does."""
    opened = Open(port, tls)
    report = opened.next()
    opened.close()
    return report.reason if isinstance(report, Disconnected) else ""


def files(enrolled: Path, device: str = "dev-1") -> TlsFiles:
    return IdentityFolder(enrolled / device).tls_files()


# --- topics ---


def test_a_device_writes_below_its_own_id(broker: Mosquitto, enrolled: Path) -> None:
    opened = Open(broker.port, files(enrolled))
    assert opened.next() == Connected(1)
    assert opened.publish(OURS).refused == ""
    opened.close()


@pytest.mark.parametrize(
    "topic",
    [THEIRS, "ew/v1/device/dev-2/service/agent/status/health", "ew/v1/device/dev-2///twin/desired", "ew/v1/device/dev-10///m/system",
     "ew/v1/device/Dev-1///m/system", "ew/v1/device//dev-1//m/system", "ew/v1/all", "$SYS/broker/uptime"],
)  # fmt: skip
def test_another_devices_topics_are_refused(broker: Mosquitto, enrolled: Path, topic: str) -> None:
    opened = Open(broker.port, files(enrolled))
    assert opened.next() == Connected(1)
    assert opened.publish(topic).refused == "Not authorized"
    assert opened.publish(OURS).refused == "", "the connection goes on"
    opened.close()


def test_what_is_sent_to_another_device_is_not_heard(broker: Mosquitto, enrolled: Path) -> None:
    """Mosquitto grants the subscription, wildcards included, and hands over only what the rules let through."""
    theirs = "ew/v1/device/dev-2///i/frame"
    listener = Open(broker.port, files(enrolled), frames="#")
    wanted = Open(broker.port, files(enrolled, "dev-2"), frames=theirs)
    assert (listener.next(), wanted.next()) == (Connected(1), Connected(1))
    wait_until(lambda: (wanted.publish(theirs), not wanted.taken.empty())[1], what="a frame for dev-2")
    assert listener.publish(OURS).refused == ""
    assert listener.taken.empty(), "neither another's frames nor telemetry"
    own = "ew/v1/device/dev-1///i/frame"
    assert listener.publish(own).refused == ""
    wait_until(lambda: not listener.taken.empty(), what="its own frame")
    for one in (listener, wanted):
        one.close()


def test_one_device_cannot_push_another_off_by_its_client_id(broker: Mosquitto, enrolled: Path) -> None:
    first = Open(broker.port, files(enrolled), client_id="edgewright-dev-1")
    assert first.next() == Connected(1)
    second = Open(broker.port, files(enrolled, "dev-2"), client_id="edgewright-dev-1")
    assert second.next() == Connected(1)
    assert first.publish(OURS).refused == ""
    for one in (first, second):
        one.close()


@pytest.mark.parametrize("name", ["+", "#", "dev-1/x", "dev-1\0", "", "%u", "a b"])
def test_no_certificate_names_a_wildcard(fleet: Fleet, tmp_path: Path, name: str) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    from device_agent.contract import claim_token
    from device_agent.contract import enrolment as wire

    token = claim_token.decode_token(fleet.token(""))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name or " ", _validate=False)])
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    pem = csr.public_bytes(serialization.Encoding.PEM).decode()
    for device, code in ((name, "malformed"), ("dev-9", "request_unusable")):
        request = wire.EnrolRequest(device=device, secret=token.secret, csr=pem)
        answer = fleet.service.answer("POST", wire.ENROL_PATH, wire.encode(request))
        assert wire.decode_refusal(answer.body, where="answer").code == code


# --- who is refused, and what they are told ---


def test_no_certificate_is_refused(broker: Mosquitto, enrolled: Path) -> None:
    reason = Open(broker.port, replace(files(enrolled), cert=None, key=None)).reason()
    assert "asks for a certificate and we showed none. Enrol" in reason


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_a_certificate_of_another_authority_is_refused(
    broker: Mosquitto, enrolled: Path, tmp_path: Path, version: str
) -> None:
    with Fleet(tmp_path / "other").serving() as other:
        other.enrol(tmp_path / "identity")
    strange = IdentityFolder(tmp_path / "identity").tls_files(ca=files(enrolled).ca)
    reason = Open(broker.port, strange, version=version).reason()
    assert re.search(
        r"refuses our certificate: it is of an authority that .* does not know. Enrol", reason
    ), reason


def test_an_expired_certificate_is_refused(broker: Mosquitto, fleet: Fleet, tmp_path: Path) -> None:
    ended = EnrolmentService(fleet.folder, device_lifetime=timedelta(seconds=-1), list_lifetime=DAY)
    lasting, fleet.service = fleet.service, ended
    try:
        with fleet.serving():
            fleet.enrol(tmp_path / "identity", "dev-7")
    finally:
        fleet.service = lasting
    reason = Open(broker.port, IdentityFolder(tmp_path / "identity").tls_files()).reason()
    assert re.search(r"refuses our certificate: it has expired, .*edgewright-agent renew", reason), reason


def test_a_revoked_certificate_is_refused_once_the_broker_has_the_list(fleet: Fleet, tmp_path: Path) -> None:
    fleet.enrol(tmp_path / "identity", "dev-8")
    tls = IdentityFolder(tmp_path / "identity").tls_files()
    broker = fleet.broker(tmp_path / "broker").start()
    try:
        opened = Open(broker.port, tls)
        assert opened.next() == Connected(1)
        opened.close()
        fleet.folder.revoke(device="dev-8", reason="lost")
        (tmp_path / "broker" / "crl.pem").write_text(fleet.folder.revocation_list(lifetime=DAY))
        broker.reload()
        reason = wait_until(lambda: refusal(broker.port, tls), what="the broker has read the list")
        assert "refuses our certificate: it was revoked. Ask the fleet's operator" in reason
    finally:
        broker.stop()


def test_a_running_agent_that_is_revoked_says_so_of_itself(fleet: Fleet, tmp_path: Path) -> None:
    fleet.enrol(tmp_path / "identity", "dev-9")
    broker = fleet.broker(tmp_path / "broker").start()
    config = agent_config(tmp_path, broker, tmp_path / "identity")
    config.write_text(config.read_text().replace('"dev-1"', '"dev-9"'))

    def health() -> dict[str, str]:
        done = command("status", "--config", str(config), "--json")
        return json.loads(done.stdout)["health"] if done.returncode == 0 else {}

    try:
        with AgentProcess(config) as agent:
            wait_until(lambda: health().get("status") == "up", what="it is up")
            fleet.folder.revoke(device="dev-9", reason="stolen")
            (tmp_path / "broker" / "crl.pem").write_text(fleet.folder.revocation_list(lifetime=DAY))
            broker.stop()
            broker.start()
            wait_until(lambda: "was revoked" in health().get("reason", ""), what="it is told on the device")
            assert health()["status"] == "degraded"
            assert agent.stop() == 0
    finally:
        broker.stop()


@pytest.mark.parametrize(
    ("names", "lifetime", "said"),
    [(("broker.example",), DAY, "does not name the host that was called. Call it by a name it has, or for the broker set mqtt.tls_server_name"),
     ((), timedelta(seconds=-1), "has expired by this device's clock")],
)  # fmt: skip
def test_a_broker_with_a_wrong_certificate_is_not_trusted(
    fleet: Fleet, enrolled: Path, tmp_path: Path, names: tuple[str, ...], lifetime: timedelta, said: str
) -> None:
    broker = fleet.broker(tmp_path / "broker", names=names, lifetime=lifetime).start()
    try:
        assert said in Open(broker.port, files(enrolled)).reason()
        if names:
            named = IdentityFolder(enrolled / "dev-1").tls_files(server_name="broker.example")
            opened = Open(broker.port, named)
            assert opened.next() == Connected(1)
            opened.close()
            wrong = IdentityFolder(enrolled / "dev-1").tls_files(server_name="other.example")
            assert "does not name the host" in Open(broker.port, wrong).reason()
    finally:
        broker.stop()


def test_a_broker_that_speaks_only_old_tls_is_refused(fleet: Fleet, enrolled: Path, tmp_path: Path) -> None:
    """The newest that this broker speaks is 1.1: what a broker of ten years ago would offer."""
    made = fleet.server_files(tmp_path / "old")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made / "server.crt", made / "server.key")
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            line, _ = listener.accept()
            try:
                context.wrap_socket(line, server_side=True).close()
            except OSError:
                line.close()

        thread = Thread(target=serve)
        thread.start()
        reason = Open(listener.getsockname()[1], files(enrolled)).reason()
        thread.join()
    assert "speaks no TLS 1.2 or newer" in reason


def test_a_client_that_speaks_only_old_tls_is_refused(broker: Mosquitto, enrolled: Path) -> None:
    context = client_context(files(enrolled))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", broker.port)) as line, pytest.raises(ssl.SSLError) as caught:
        context.wrap_socket(line, server_hostname="127.0.0.1")
    assert caught.value.reason == "TLSV1_ALERT_PROTOCOL_VERSION"
    assert "no TLS 1.2 or newer" in problem_text(caught.value, peer="it", wall_seconds=0.0)


def test_a_port_without_tls_is_told(mosquitto: Mosquitto, enrolled: Path) -> None:
    reason = Open(mosquitto.start().port, files(enrolled)).reason()
    assert re.search(
        r"does not speak TLS on this port|ended the connection in the middle of TLS|reset", reason
    ), reason


# --- the agent as a process ---


def agent_config(folder: Path, broker: Mosquitto, identity: Path, **tables: dict[str, object]) -> Path:
    return write_config(
        folder,
        broker.port,
        null_artifact(folder / "a.ewa"),
        identity={"folder": str(identity)},
        mqtt={"version": "5"},
        **tables,
    )


def test_check_names_cause_and_next_step(fleet: Fleet, enrolled: Path, tmp_path: Path) -> None:
    broker = fleet.broker(tmp_path / "broker", names=("broker.example",)).start()
    try:
        config = agent_config(tmp_path, broker, enrolled / "dev-1")
        said = command("check", "--config", str(config)).stdout
        assert "not reached: 127.0.0.1" in said
        assert "set mqtt.tls_server_name" in said
        config.write_text(config.read_text().replace("[mqtt]", '[mqtt]\ntls_server_name = "broker.example"'))
        said = command("check", "--config", str(config)).stdout
        assert "accepts us, MQTT 5" in said
        identity = IdentityFolder(enrolled / "dev-1").required("dev-1")
        assert f"certificate: {identity.serial}\n" in said
        assert f"valid until: {utc_text(identity.not_after_seconds)}\n" in said
        assert "key: readable by the agent alone\n" in said
    finally:
        broker.stop()


@pytest.mark.parametrize("verb", ["check", "run"])
def test_a_device_without_or_with_anothers_identity_does_not_start(
    broker: Mosquitto, enrolled: Path, tmp_path: Path, verb: str
) -> None:
    done = command(verb, "--config", str(agent_config(tmp_path, broker, tmp_path / "none")))
    assert (done.returncode, "run edgewright-agent enrol" in done.stderr) == (2, True)
    done = command(verb, "--config", str(agent_config(tmp_path, broker, enrolled / "dev-2")))
    assert (done.returncode, "the certificate is of device 'dev-2'" in done.stderr) == (5, True)


def test_the_running_agent_renews_before_the_end_and_its_next_connection_uses_the_new_one(
    tmp_path: Path,
) -> None:
    with Fleet(tmp_path / "authority", device_lifetime=timedelta(minutes=4)).serving() as fleet:
        first = fleet.enrol(tmp_path / "identity").identity
        broker = fleet.broker(tmp_path / "broker").start()
        config = agent_config(tmp_path, broker, tmp_path / "identity")
        # Certificates are dated back by five minutes, so less than half of such a short one is left from the beginning.
        config.write_text(
            config.read_text().replace("[identity]", "[identity]\nrenew_share = 0.5\nrenew_pause_seconds = 2")
        )
        try:
            with AgentProcess(config) as agent:
                agent.wait_for_log("certificate_renewed: The new certificate is valid until")
                second = IdentityFolder(tmp_path / "identity").required("dev-1")
                assert second.serial != first.serial
                fleet.folder.revoke(serial=first.serial, reason="")
                (tmp_path / "broker" / "crl.pem").write_text(fleet.folder.revocation_list(lifetime=DAY))
                broker.stop()
                broker.start()
                wait_until(lambda: agent.log.count("connected to 127.0.0.1") >= 2, what="the next connection")
                assert "revoked" not in agent.log
                fleet.folder.revoke(device="dev-1", reason="stolen")
                agent.wait_for_log("certificate_not_renewed: the certificate could not be renewed:")
                assert "was revoked: stolen" in agent.log
                assert agent.stop() == 0
        finally:
            broker.stop()


def test_a_repository_asks_for_the_same_certificate(fleet: Fleet, enrolled: Path, tmp_path: Path) -> None:
    made = fleet.server_files(tmp_path / "repository")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            assert isinstance(self.connection, ssl.SSLSocket)
            subject = dict(pair[0] for pair in (self.connection.getpeercert() or {})["subject"])
            self.wfile.write(subject["commonName"].encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(made / "ca.crt")
    context.load_cert_chain(made / "server.crt", made / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        for tls, answer in (
            (files(enrolled), b"dev-1"),
            (replace(files(enrolled), cert=None, key=None), None),
        ):
            line = HTTPSConnection("127.0.0.1", server.server_port, context=client_context(tls), timeout=10)
            try:
                line.request("GET", "/metadata/timestamp.json")
                assert line.getresponse().read() == answer
            except ssl.SSLError as error:
                assert answer is None
                # The server may be gone before it is asked; then its reason is not always read.
                said = problem_text(error, peer="it", wall_seconds=time.time())
                assert "showed none" in said or "in the middle of TLS" in said
            finally:
                line.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_documented_broker_is_the_one_of_these_tests() -> None:
    text = (ROOT / "docs" / "enrolment.md").read_text(encoding="utf-8")
    rules, _ = re.findall(r"```acl\n(.*?)```", text, re.DOTALL)  # the devices', and an operator's
    assert rules == ACL
    (conf,) = re.findall(r"```conf\n(.*?)```", text, re.DOTALL)
    keys = {line.split()[0] for line in conf.splitlines()}
    assert keys >= {"cafile", "crlfile", "require_certificate", "use_identity_as_username", "use_username_as_clientid", "acl_file"}  # fmt: skip
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert (
        parse_config(example.encode(), origin="docs/enrolment.md", folder=ROOT).identity.folder
        == ROOT / "identity"
    )
