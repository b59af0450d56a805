"""A fleet whose devices poll over DDI, and such a device: it knows its token, and otherwise only the addresses that it was told."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from host_tools.fleet.ddi.door import DdiSettings
from tests.unit.host_tools.fleet.fleet_of_tests import PROFILE, FleetOfTests, rollout_body

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from host_tools.fleet.serve.limits import Limits

HOST = "http://fleet.test"


def content(version: str) -> bytes:
    return f"artifact {version} ".encode() * 1_000


class DdiFleet(FleetOfTests):
    """Its repository has real files."""

    def __init__(self, address: str, repository: Path, *, limits: Limits) -> None:
        super().__init__(address, limits=limits, ddi=DdiSettings(repository=repository, poll_seconds=90.0))
        self.repository = repository

    def release(self, version: str, counter: int) -> str:
        """Put an artifact where the repository has its targets, make it known, and return its digest."""
        data = content(version)
        sha256 = hashlib.sha256(data).hexdigest()
        folder = self.repository / "targets" / "models" / "net"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{sha256}.net-{version}.ewa").write_bytes(data)
        artifact = {
            "path": f"models/net/net-{version}.ewa",
            "digest": f"sha256:{sha256}",
            "size_bytes": len(data),
        }
        body = {"model": "net", "version": version, "counter": counter, "artifacts": {PROFILE: artifact}}
        self.done("POST", "/releases", body)
        return f"sha256:{sha256}"

    def rolled_out(self, version: str, *, rollout: str, **changes: Any) -> None:
        """Submit a rollout that begins everywhere at once."""
        stages = [{"name": "all", "share_ppm": 1_000_000, "soak_seconds": 0.0}]
        self.done(
            "POST", "/rollouts", rollout_body(rollout, release=f"net-{version}", stages=stages, **changes)
        )
        self.done("POST", f"/rollouts/{rollout}/submit", {})
        self.service.round()

    def polling(self, name: str) -> Polling:
        secret = self.done("POST", f"/devices/{name}/target-token")["secret"]
        return Polling(self, name, f"TargetToken {secret}")

    def job(self, rollout: str, device: str) -> dict[str, Any]:
        found: dict[str, Any] = self.done("GET", f"/rollouts/{rollout}/jobs/{device}")
        return found

    def runs(self, device: str) -> str | None:
        told: str | None = self.done("GET", f"/devices/{device}")["artifact"]
        return told


@dataclass
class Polling:
    fleet: DdiFleet
    name: str
    token: str

    @property
    def root(self) -> str:
        return f"/DEFAULT/controller/v1/{self.name}"

    def send(self, method: str, address: str, **more: Any) -> httpx.Response:
        headers = {"Authorization": self.token} | more.pop("headers", {})
        return self.fleet.send(method, address.removeprefix(HOST), headers=headers, **more)

    def told(self, address: str) -> Any:
        answer = self.send("GET", address)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def links(self) -> dict[str, str]:
        base = self.told(self.root)
        assert base["config"] == {"polling": {"sleep": "00:01:30"}}
        return {name: one["href"] for name, one in base.get("_links", {}).items()}

    def says(
        self, address: str, execution: str, finished: str = "none", *details: str, status: int = 200
    ) -> httpx.Response:
        """Send what SWUpdate sends: an id that is a number, a time in its own form, progress."""
        body = {
            "id": int(address.rsplit("/", maxsplit=1)[-1]),
            "time": "20261127T080000",
            "status": {
                "result": {"progress": {"cnt": 0, "of": 1}, "finished": finished},
                "execution": execution,
                "details": list(details),
            },
        }
        answer = self.send("POST", f"{address}/feedback", json=body)
        assert answer.status_code == status, answer.text
        return answer
