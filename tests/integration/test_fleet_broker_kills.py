"""The broker is killed in the middle of a staged rollout, and comes back with nothing: no job is lost, none is run twice."""

from __future__ import annotations

import argparse
import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from device_agent.contract.digest import digest_of_file
from device_agent.update.state_file import StateFile
from host_tools.cli.fleet_server import FleetServer
from host_tools.cli.main import main
from tests.integration.support import AgentProcess, null_artifact, wait_until
from tests.integration.test_rollout_gate import edgewright, released
from tests.integration.update_repository import Fleet, config_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.support import Mosquitto

# What it waits for has limits of its own; on a busy machine many programs are long in coming.
pytestmark = pytest.mark.timeout(900)

CANARY, OTHERS = "dev-1", ("dev-2", "dev-3")
LONGEST_SECONDS = 240.0


def kept(folder: Path) -> str | None:
    """Return the digest of what a device has kept, as it lies on its disk; None while something is on probation."""
    state = StateFile(folder / "updates" / "state.json").read()
    return (
        None
        if state.main.known_good is None or state.main.probation is not None
        else state.main.known_good.digest
    )


@pytest.mark.slow
def test_a_rollout_goes_on_when_its_broker_is_killed(
    mosquitto: Mosquitto, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mosquitto.start()
    fleet = Fleet(tmp_path / "fleet")
    old = null_artifact(tmp_path / "small-1.0.ewa", latency_seconds=0.002)
    new = null_artifact(tmp_path / "small-2.0.ewa", latency_seconds=0.003)
    database, token = str(tmp_path / "fleet.db"), tmp_path / "ada.token"
    assert main(["fleet", "token", "create", "--database", database, "--name", "ada", "--role", "admin"]) == 0
    token.write_text(capfd.readouterr().out)
    serve = ["fleet", "serve", "--database", database, "--port", "0"]
    serve += ["--broker", f"mqtt://127.0.0.1:{mosquitto.port}"]
    serve += ["--repository", str(fleet.folder / "repository"), "--keys", str(fleet.folder / "keys")]

    with contextlib.ExitStack() as stack:
        stack.callback(fleet.server.close)
        server = stack.enter_context(edgewright(tmp_path / "serve.log", *serve))
        assert server.stdout is not None
        address = server.stdout.readline().split()[-1].removesuffix("/api/v1")
        asked = FleetServer(argparse.Namespace(server=address, token_file=str(token), ca=None))
        asked.ask("POST", "/groups", {"name": "lab"})
        agents = {}
        for device in (CANARY, *OTHERS):
            asked.ask("POST", "/devices", {"id": device, "group": "lab"})
            config = config_of(fleet, tmp_path / device, device, mosquitto.port, old)
            agents[device] = stack.enter_context(AgentProcess(config))
        before = digest_of_file(old)
        eventually(
            lambda: all(asked.ask("GET", f"/devices/{device}")["artifact"] == before for device in agents),
            "all devices are heard",
        )
        after = released(asked, fleet, new, "2.0", 2)
        asked.ask("POST", "/rollouts", plan())
        asked.ask("POST", "/rollouts/r1/submit", {})

        eventually(lambda: jobs(asked), "the canary has its job")
        mosquitto.kill()
        eventually(lambda: kept(tmp_path / CANARY) == after, "the canary is through while nobody hears it")
        assert asked.ask("GET", "/rollouts/r1")["state"] == "running"
        mosquitto.start()
        eventually(
            lambda: asked.ask("GET", "/rollouts/r1")["stages"][1]["state"] != "waiting", "the others begin"
        )
        mosquitto.kill()
        mosquitto.start()
        eventually(lambda: asked.ask("GET", "/rollouts/r1")["state"] == "finished", "the rollout finishes")

        ended = {one["device"]: (one["state"], one["result"], one["attempts"]) for one in jobs(asked)}
        assert ended == dict.fromkeys(agents, ("closed", "success", 1))
        for device, agent in agents.items():
            assert kept(tmp_path / device) == after
            assert agent.process.poll() is None
            assert agent.log.count("update_activated") == 1, "nothing is run twice"
        entries = asked.ask("GET", "/audit", query={"limit": 1_000})["items"]
        done = Counter(one["action"] for one in entries if one["action"].startswith("rollout."))
        assert (done["rollout.stage_began"], done["rollout.stage_passed"], done["rollout.finished"]) == (
            2,
            2,
            1,
        )
        assert asked.ask("GET", "/audit/check")["whole"] is True


def plan() -> dict[str, Any]:
    stages = [
        {"name": "canary", "share_ppm": 0, "devices": [CANARY], "soak_seconds": 0.5},
        {"name": "all", "share_ppm": 1_000_000, "soak_seconds": 0.5, "success_ratio": 1.0},
    ]
    return {"id": "r1", "release": "small-2.0", "group": "lab", "stages": stages, "gates": []}


def jobs(asked: FleetServer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = asked.ask("GET", "/rollouts/r1/jobs")["items"]
    return found


def eventually(claim: Any, what: str) -> None:
    wait_until(claim, what=what, seconds=LONGEST_SECONDS)
