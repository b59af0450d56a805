"""Updates from a repository behind mutual TLS: a real HTTPS server that goes by the fleet's certificates and its list of revoked ones."""

from __future__ import annotations

import json
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from device_agent.contract.digest import digest_of_file
from device_agent.enrolment.identity import IdentityFolder
from device_agent.update.occurrences import CheckFailed, Offered
from device_agent.update.state_file import StateFile
from tests.integration.fleet import DAY
from tests.integration.fleet import Fleet as Authority
from tests.integration.support import AgentProcess, command, null_artifact, wait_until, write_config
from tests.integration.update_repository import TARGET, Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from device_agent.update.jobs import Answer, CheckJob

NO_BROKER = 1
LONGEST_SECONDS = 150.0


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    with Authority(tmp_path / "authority").serving() as serving:
        yield serving


def server_side(authority: Authority, folder: Path) -> ssl.SSLContext:
    files = authority.server_files(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files / "server.crt", files / "server.key")
    context.load_verify_locations(files / "ca.crt")
    context.load_verify_locations(files / "crl.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


@pytest.fixture
def fleet(authority: Authority, tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path, tls=server_side(authority, tmp_path / "server"))
    made.offer(null_artifact(tmp_path / "new.ewa", latency_seconds=0.001), counter=1)
    yield made
    made.server.close()


def job(fleet: Fleet, *, ca: Path, cert: Path | None = None, key: Path | None = None) -> CheckJob:
    asked = fleet.check_job()
    tls = {"tls_ca": str(ca), "tls_cert": cert and str(cert), "tls_key": key and str(key)}
    return replace(asked, network=replace(asked.network, **tls))


def refusal(answer: Answer) -> str:
    assert isinstance(answer, CheckFailed), answer
    assert answer.code == "transfer"
    return answer.message


def test_the_agent_takes_an_update_with_its_own_certificate(
    authority: Authority, fleet: Fleet, tmp_path: Path
) -> None:
    authority.enrol(tmp_path / "identity")
    update = {
        "url": fleet.server.url,
        "root": str(fleet.root),
        "directory": "updates",
        "first_check_seconds": 0.2,
        "require_synced_clock": False,
        "shadow_frames": 0,
        "probation_seconds": 0.5,
        "probation_inferences": 5,
        "probation_p95_ratio": 1000.0,
    }
    config = write_config(
        tmp_path,
        NO_BROKER,
        null_artifact(tmp_path / "delivered.ewa"),
        device={"targets": [TARGET]},
        identity={"folder": "identity"},
        mqtt={"enabled": False},
        update=update,
    )
    done = command("check", "--config", str(config), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["updates"]["answer"] == "can be trusted; small 1.2.0 is wanted"
    wanted = digest_of_file(tmp_path / "new.ewa")
    with AgentProcess(config) as agent:
        state = StateFile(tmp_path / "updates" / "state.json")
        wait_until(
            lambda: (
                (now := state.read().main).probation is None and now.active and now.active.digest == wanted
            ),
            what="the update is kept",
            seconds=LONGEST_SECONDS,
        )
        status = command("status", "--config", str(config), "--json")
        found = json.loads(status.stdout)["updates"]
        text = command("status", "--config", str(config)).stdout
        assert agent.stop() == 0
    assert (found["current"], found["current_artifact"]) == ("small 1.2.0", wanted)
    assert (found["counter_floor"], found["on_probation"], found["rollback_to"]) == (1, False, None)
    assert "updates   idle, small 1.2.0; release counter at least 1; " in text


def test_each_side_refuses_a_certificate_that_it_must_not_trust_and_says_why(
    authority: Authority, fleet: Fleet, tmp_path: Path
) -> None:
    authority.enrol(tmp_path / "identity", "dev-1")
    mine = IdentityFolder(tmp_path / "identity").tls_files()
    assert isinstance(fleet.do(job(fleet, ca=mine.ca, cert=mine.cert, key=mine.key)), Offered)
    assert "asks for a certificate and we showed none" in refusal(fleet.do(job(fleet, ca=mine.ca)))
    with Authority(tmp_path / "other").serving() as other:
        other.enrol(tmp_path / "strange", "dev-1")
    strange = IdentityFolder(tmp_path / "strange").tls_files()
    said = refusal(fleet.do(job(fleet, ca=strange.ca, cert=mine.cert, key=mine.key)))
    assert "not of the authority that is trusted here" in said
    said = refusal(fleet.do(job(fleet, ca=mine.ca, cert=strange.cert, key=strange.key)))
    assert "it is of an authority that" in said
    authority.folder.revoke(device="dev-1", reason="lost")
    (tmp_path / "server" / "crl.pem").write_text(authority.folder.revocation_list(lifetime=DAY))
    after = Fleet(tmp_path / "after", tls=server_side(authority, tmp_path / "after"))
    try:
        said = refusal(after.do(job(after, ca=mine.ca, cert=mine.cert, key=mine.key)))
    finally:
        after.server.close()
    assert "it was revoked" in said


@pytest.mark.parametrize("broken", ["tls_ca", "tls_key"])
def test_check_tells_of_a_tls_file_that_cannot_be_used(
    authority: Authority, fleet: Fleet, tmp_path: Path, broken: str
) -> None:
    authority.enrol(tmp_path / "identity", "dev-2")
    mine = IdentityFolder(tmp_path / "identity").tls_files()
    files = {"tls_ca": str(mine.ca), "tls_cert": str(mine.cert), "tls_key": str(mine.key)}
    (tmp_path / "broken.pem").write_text("no certificate and no key")
    files[broken] = str(tmp_path / "broken.pem")
    update = {"url": fleet.server.url, "root": str(fleet.root), "directory": "updates", **files}
    config = write_config(
        tmp_path, NO_BROKER, null_artifact(tmp_path / "a.ewa"), device={"targets": [TARGET]}, update=update
    )
    done = command("check", "--config", str(config))
    assert done.returncode == 2
    assert done.stderr.startswith("edgewright-agent: update.tls_ca ")
    assert "broken.pem" in done.stderr
