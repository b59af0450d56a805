"""A release that is slower is stopped at its canaries and taken back by itself: real agents, broker, ingest, store, repository and server."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from device_agent.contract.digest import digest_of_file
from host_tools.cli.fleet_server import FleetServer
from host_tools.cli.main import main
from host_tools.fleet.sample.history import has_history
from host_tools.free_port import free_port
from tests.integration.support import AgentProcess, null_artifact, wait_until
from tests.integration.update_repository import TARGET, Fleet, config_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.support import Mosquitto

# What it waits for has limits of its own; on a busy machine many programs are long in coming.
pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]
CANARIES, OTHERS = tuple(f"dev-{number}" for number in range(1, 6)), ("dev-6",)
OLD_SECONDS, SLOW_SECONDS = 0.02, 0.1  # so long that a busy machine hides nothing
LONGEST_SECONDS = 240.0


@contextlib.contextmanager
def edgewright(log: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "host_tools", *arguments],
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    assert process.stdout is not None
    try:
        yield process
    finally:
        process.terminate()
        process.wait(120)
        process.stdout.close()
        assert "Traceback" not in log.read_text()


@pytest.mark.slow
def test_a_release_that_is_slower_is_stopped_at_its_canaries_and_taken_back(
    mosquitto: Mosquitto, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mosquitto.start()
    fleet = Fleet(tmp_path / "fleet")
    old = null_artifact(tmp_path / "small-1.0.ewa", latency_seconds=OLD_SECONDS)
    slow = null_artifact(tmp_path / "small-2.0.ewa", latency_seconds=SLOW_SECONDS)
    broker, page = f"mqtt://127.0.0.1:{mosquitto.port}", free_port()
    database, token = str(tmp_path / "fleet.db"), tmp_path / "ada.token"
    assert main(["fleet", "token", "create", "--database", database, "--name", "ada", "--role", "admin"]) == 0
    token.write_text(capfd.readouterr().out)

    with contextlib.ExitStack() as stack:
        stack.callback(fleet.server.close)
        store = str(tmp_path / "telemetry.duckdb")
        ingest = ["ingest", "--broker", broker, "--store", store, "--page", str(page), "--roll-up-every", "1"]
        stack.enter_context(heard(edgewright(tmp_path / "ingest.log", *ingest)))
        serve = ["fleet", "serve", "--database", database, "--port", "0", "--broker", broker]
        serve += [
            "--repository",
            str(tmp_path / "fleet" / "repository"),
            "--keys",
            str(tmp_path / "fleet" / "keys"),
        ]
        serve += ["--telemetry", f"http://127.0.0.1:{page}"]
        server = stack.enter_context(edgewright(tmp_path / "serve.log", *serve))
        assert server.stdout is not None
        address = server.stdout.readline().split()[-1].removesuffix("/api/v1")
        asked = FleetServer(argparse.Namespace(server=address, token_file=str(token), ca=None))

        asked.ask("POST", "/groups", {"name": "lab"})
        for device in CANARIES + OTHERS:
            asked.ask("POST", "/devices", {"id": device, "group": "lab"})
            config = config_of(fleet, tmp_path / device, device, mosquitto.port, old)
            stack.enter_context(AgentProcess(config))
        first = released(asked, fleet, old, "1.0", 1)
        rollout(asked, "r1", "small-1.0", gates=[])
        ended(asked, "r1", "finished")

        # Windows of the old one, so that each canary can be held against itself.
        wait_until(
            lambda: all(running(asked, device) == first for device in CANARIES + OTHERS),
            what="the first release",
        )
        wait_until(
            lambda: has_history(f"http://127.0.0.1:{page}", dict.fromkeys(CANARIES, first)),
            what="every canary's latency with the first release is stored",
            seconds=LONGEST_SECONDS,
        )
        released(asked, fleet, slow, "2.0", 2)
        gate = {"measure": "latency_p50", "worst": 0.2, "least_devices": 5, "required": True}
        rollout(asked, "r2", "small-2.0", gates=[gate])
        ended(asked, "r2", "rolled_back")

        found = asked.ask("GET", "/rollouts/r2")
        assert "median latency" in found["reason"]
        assert [stage["state"] for stage in found["stages"]] == ["stopped", "waiting"]
        told = asked.ask("GET", "/rollouts/r2/explain")
        assert "worse than the 20 % that are allowed" in str(told)
        wait_until(
            lambda: all(running(asked, device) == first for device in CANARIES + OTHERS),
            what="every device runs what it ran before",
            seconds=LONGEST_SECONDS,
        )
        jobs = asked.ask("GET", "/rollouts/r2/jobs")["items"]
        assert {job["device"] for job in jobs} == set(CANARIES), "nobody else ever got it"
        assert asked.ask("GET", "/audit/check")["whole"] is True


@contextlib.contextmanager
def heard(process: contextlib.AbstractContextManager[subprocess.Popen[str]]) -> Iterator[None]:
    """Read what a process prints, so that it never waits for a reader."""
    with process as started:
        reader = threading.Thread(target=lambda: list(started.stdout or ()), daemon=True)
        reader.start()
        yield


def released(asked: FleetServer, fleet: Fleet, path: Path, version: str, counter: int) -> str:
    name = fleet.repository.add(path, release_counter=counter)
    digest = digest_of_file(path)
    artifact = {"path": name, "digest": digest, "size_bytes": path.stat().st_size}
    body = {"model": "small", "version": version, "counter": counter, "artifacts": {TARGET: artifact}}
    asked.ask("POST", "/releases", body)
    return digest


def rollout(asked: FleetServer, name: str, release: str, *, gates: list[dict[str, Any]]) -> None:
    stages = [
        {"name": "canary", "share_ppm": 0, "devices": list(CANARIES), "soak_seconds": 5.0},
        {"name": "all", "share_ppm": 1_000_000, "soak_seconds": 0.0},
    ]
    body = {"id": name, "release": release, "group": "lab", "stages": stages, "gates": gates}
    asked.ask("POST", "/rollouts", body)
    asked.ask("POST", f"/rollouts/{name}/submit", {})


def running(asked: FleetServer, device: str) -> str | None:
    artifact: str | None = asked.ask("GET", f"/devices/{device}")["artifact"]
    return artifact


def ended(asked: FleetServer, name: str, state: str) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    while (found := asked.ask("GET", f"/rollouts/{name}"))["state"] != state:
        assert found["state"] in ("running", "rolling_back"), found
        assert time.monotonic() < deadline, json.dumps(
            asked.ask("GET", f"/rollouts/{name}/explain"), indent=1
        )
        time.sleep(0.5)
