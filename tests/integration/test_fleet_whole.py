"""The whole way of a release: REST, store, rounds, signed repository, a device's own check of it, Mosquitto, and back to the job."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from device_agent.contract.telemetry.codec import encode
from device_agent.contract.telemetry.message import Envelope
from device_agent.contract.telemetry.states import Birth, Reported
from device_agent.contract.topics import DeviceTopics
from device_agent.update.occurrences import Offered
from host_tools.cli.fleet_server import FleetServer
from host_tools.cli.main import main
from host_tools.errors import InputError
from tests.integration.support import Mosquitto, null_artifact, wait_until
from tests.integration.update_repository import TARGET, Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEVICE = "dev-1"


class Device:
    """What a device says over the broker: `settled` is the digest that it runs and keeps."""

    def __init__(self, broker: Mosquitto) -> None:
        self._broker, self._seq, self._topics = broker, 0, DeviceTopics(DEVICE)

    def say(self, *, settled: str | None, serial: int = 0) -> None:
        self._publish(
            self._topics.birth(),
            Birth(
                envelope=self._envelope(settled),
                agent_version="0.1.0",
                python_version="3.11",
                engine=None,
                engine_version=None,
                model_name=None,
                model_version=None,
                target=None,
                host={"memory_bytes": 1 << 30},
            ),
        )
        self._publish(
            self._topics.reported(),
            Reported(
                envelope=self._envelope(settled),
                group="lab",
                targets=(TARGET,),
                desired_serial=serial,
                desired=settled,
                in_trial=False,
                on_probation=False,
                counter_floor=0,
            ),
        )

    def _envelope(self, artifact: str | None) -> Envelope:
        self._seq += 1
        return Envelope(
            time=time.time(),
            boot_id="b1",
            seq=self._seq,
            uptime_seconds=1.0,
            clock="synced",
            artifact=artifact,
        )

    def _publish(self, topic: str, message: Birth | Reported) -> None:
        command = [
            "mosquitto_pub",
            "-h",
            "127.0.0.1",
            "-p",
            str(self._broker.port),
            "-t",
            topic,
            "-q",
            "1",
            "-r",
            "-s",
        ]
        subprocess.run(command, input=encode(message), timeout=90, check=True)


@pytest.fixture
def server(
    tmp_path: Path, mosquitto: Mosquitto, capfd: pytest.CaptureFixture[str]
) -> Iterator[tuple[FleetServer, Fleet]]:
    fleet = Fleet(tmp_path)
    mosquitto.start()
    database, token = str(tmp_path / "fleet.db"), tmp_path / "token"
    assert main(["fleet", "token", "create", "--database", database, "--name", "ada", "--role", "admin"]) == 0
    token.write_text(capfd.readouterr().out)
    command = [sys.executable, "-m", "host_tools", "fleet", "serve", "--database", database, "--port", "0"]
    command += ["--repository", str(tmp_path / "repository"), "--keys", str(tmp_path / "keys")]
    command += ["--broker", f"mqtt://127.0.0.1:{mosquitto.port}"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    try:
        address = process.stdout.readline().split()[-1].removesuffix("/api/v1")
        assert address.startswith("http"), (tmp_path / "log").read_text()
        yield FleetServer(argparse.Namespace(server=address, token_file=str(token), ca=None)), fleet
    finally:
        process.terminate()
        assert process.wait(120) == 0
        process.stdout.close()
        fleet.server.close()
        assert "Traceback" not in (tmp_path / "log").read_text()


def offered(fleet: Fleet) -> Offered | None:
    answer = fleet.check(device=DEVICE)
    return answer if isinstance(answer, Offered) else None


def refused_as_not_signed(asked: FleetServer, body: dict[str, Any]) -> None:
    """Whatever of a release differs from what is signed: it is told with what is signed, and nothing is written down."""
    signed = body["artifacts"][TARGET]
    other = "sha256:" + "9" * 64
    for change, told in (
        ({"counter": 2}, "counter: expected 1, got 2"),
        (
            {"artifacts": {TARGET: signed | {"digest": other, "size_bytes": 7}}},
            f"{TARGET}: digest: expected {signed['digest']}, got {other}, size_bytes: expected {signed['size_bytes']}, got 7",
        ),
        ({"artifacts": {"cortex-a-tflite": signed}}, f"target: expected {TARGET}, got cortex-a-tflite"),
        ({"model": "huge"}, f"path: expected an artifact of huge that is signed, got {signed['path']}"),
        (
            {"artifacts": {TARGET: signed, "cortex-a-tflite": signed | {"path": "models/small/other.ewa"}}},
            "cortex-a-tflite: path: expected an artifact of small that is signed",
        ),
    ):
        with pytest.raises(InputError, match="the repository does not sign its artifacts so") as caught:
            asked.ask("POST", "/releases", body | change)
        assert told in str(caught.value)
        assert "edgewright release create" in caught.value.hint
    assert asked.ask("GET", "/releases")["items"] == []


def test_a_release_reaches_a_device_and_its_job_ends(
    server: tuple[FleetServer, Fleet], tmp_path: Path, mosquitto: Mosquitto
) -> None:
    asked, fleet = server
    artifact = null_artifact(tmp_path / "m-1.0.ewa", target=TARGET)
    path = fleet.repository.add(artifact, release_counter=1)
    device = Device(mosquitto)
    device.say(settled=None)  # before the store knows it, and never again
    asked.ask("POST", "/groups", {"name": "lab"})
    asked.ask("POST", "/devices", {"id": DEVICE, "group": "lab"})
    wait_until(
        lambda: asked.ask("GET", f"/devices/{DEVICE}")["provides"]["targets"] == [TARGET],
        what="the device is heard",
    )
    digest = fleet.repository.released("small")[path][1]
    body = {
        "model": "small",
        "version": "1.0",
        "counter": 1,
        "artifacts": {TARGET: {"path": path, "digest": digest, "size_bytes": artifact.stat().st_size}},
    }
    refused_as_not_signed(asked, body)
    asked.ask("POST", "/releases", body)
    stages = [{"name": "all", "share_ppm": 1_000_000, "soak_seconds": 0.0}]
    asked.ask(
        "POST",
        "/rollouts",
        {"id": "r1", "release": "small-1.0", "group": "lab", "stages": stages, "gates": []},
    )
    asked.ask("POST", "/rollouts/r1/submit", {})
    offer = wait_until(lambda: offered(fleet), what="the device finds the release in the repository")
    assert offer.release.digest == digest
    device.say(settled=digest, serial=offer.serial)
    wait_until(
        lambda: asked.ask("GET", "/rollouts/r1")["state"] == "finished", what="the rollout is finished"
    )
    job = asked.ask("GET", f"/rollouts/r1/jobs/{DEVICE}")
    assert (job["state"], job["result"], job["wanted"]) == ("closed", "success", digest)
    wait_until(
        lambda: not asked.ask("GET", "/overview")["open_effects"], what="the release is the group's own"
    )
    settled = fleet.repository.desired_of("group/lab")
    assert settled is not None
    assert settled.trial is None
    assert settled.artifacts[TARGET].digest == digest
    assert asked.ask("GET", "/audit/check")["whole"] is True
    before, device_digest = offer.serial, moved_to_another_group(asked, fleet, tmp_path)
    moved = offered(fleet)
    assert moved is not None
    assert (moved.release.digest, moved.serial > before) == (device_digest, True)
    device.say(settled=device_digest, serial=moved.serial)
    wait_until(
        lambda: asked.ask("GET", f"/rollouts/r2/jobs/{DEVICE}")["result"] == "success",
        what="its job in the new group ends, although it believes itself in the old one",
    )
    pinned_and_unpinned(asked, fleet, own=digest, group=device_digest)


def pinned_and_unpinned(asked: FleetServer, fleet: Fleet, *, own: str, group: str) -> None:
    """Pin the device to the first release, then let it follow its group again: each time what it is offered is newer than what it followed."""
    serials = [0 if (offer := offered(fleet)) is None else offer.serial]
    for method, body, digest, is_pinned in (
        ("POST", {"release": "small-1.0", "allow_downgrade": True}, own, True),
        ("DELETE", None, group, False),
    ):
        asked.ask(method, f"/devices/{DEVICE}/pin", body)

        def known(digest: str = digest, is_pinned: bool = is_pinned) -> bool:
            told = asked.ask("GET", f"/devices/{DEVICE}/desired")
            return (told["desired"], told["own_serial"] is not None) == (digest, is_pinned)

        wait_until(known, what="the server knows what the device shall run")
        offer = offered(fleet)
        assert offer is not None
        assert (offer.release.digest, offer.allow_downgrade) == (digest, is_pinned)
        serials.append(offer.serial)
    assert serials == sorted(set(serials))


def moved_to_another_group(asked: FleetServer, fleet: Fleet, folder: Path) -> str:
    """Move the device, roll another release out to its new group, and return what it is offered there."""
    artifact = null_artifact(folder / "m-1.1.ewa", target=TARGET, latency_seconds=0.003)
    path = fleet.repository.add(artifact, release_counter=2)
    digest = fleet.repository.released("small")[path][1]
    entry = {"path": path, "digest": digest, "size_bytes": artifact.stat().st_size}
    body = {"model": "small", "version": "1.1", "counter": 2, "artifacts": {TARGET: entry}}
    asked.ask("POST", "/releases", body)
    asked.ask("POST", "/groups", {"name": "shop"})
    asked.ask("PATCH", f"/devices/{DEVICE}", {"group": "shop"})
    stages = [{"name": "all", "share_ppm": 1_000_000, "soak_seconds": 0.0}]
    plan = {"id": "r2", "release": "small-1.1", "group": "shop", "stages": stages, "gates": []}
    asked.ask("POST", "/rollouts", plan)
    asked.ask("POST", "/rollouts/r2/submit", {})

    def arrived() -> bool:
        offer = offered(fleet)
        return offer is not None and offer.release.digest == digest

    wait_until(arrived, what="the device finds its new group's release")
    return digest
