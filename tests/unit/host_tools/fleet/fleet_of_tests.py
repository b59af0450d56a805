"""A fleet for tests: a store, a clock that stands still until it is moved, devices that do what the desired state says, and a client for each role."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import httpx

from device_agent.contract.desired import belongs
from host_tools.errors import NotFoundError, OutputError
from host_tools.fleet.inventory import add_devices
from host_tools.fleet.outside import always, nothing_measured
from host_tools.fleet.records.access import IssuedClaim
from host_tools.fleet.records.devices import Device, Pin, Provides
from host_tools.fleet.rollout.jobs import Observation
from host_tools.fleet.serve.application import application
from host_tools.fleet.serve.limits import Limits
from host_tools.fleet.service import FleetService, Heard
from host_tools.fleet.store.devices import DeviceFilter, DeviceReport
from host_tools.fleet.store.opening import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta

    from device_agent.contract.desired import DesiredArtifact
    from host_tools.fleet.ddi.door import DdiSettings
    from host_tools.fleet.outside import Findings
    from host_tools.fleet.records.access import Role
    from host_tools.fleet.records.devices import DeviceState
    from host_tools.fleet.records.releases import Release
    from host_tools.fleet.rollout.wanted import Wanted
    from host_tools.fleet.store.fleet_store import FleetStore
    from host_tools.repository.desires import Move

BEGIN_SECONDS = 1_800_000_000.0
ROOT = "/api/v1"
PROFILE = "cortex-a-tflite"


def digest(word: str) -> str:
    return "sha256:" + word.encode().hex().ljust(64, "0")[:64]


def artifact(model: str, version: str, profile: str = PROFILE) -> dict[str, Any]:
    return {
        "path": f"models/{model}/{model}-{version}-{profile}.ewa",
        "digest": digest(f"{model}{version}{profile}"),
        "size_bytes": 1_000,
    }


def release_body(
    version: str = "1.0", *, counter: int = 1, profiles: Sequence[str] = (PROFILE,)
) -> dict[str, Any]:
    artifacts = {profile: artifact("net", version, profile) for profile in profiles}
    return {"model": "net", "version": version, "counter": counter, "artifacts": artifacts}


def rollout_body(rollout: str = "r1", **changes: Any) -> dict[str, Any]:
    stages = [
        {"name": "canary", "share_ppm": 200_000, "soak_seconds": 10.0},
        {"name": "all", "share_ppm": 1_000_000, "soak_seconds": 10.0},
    ]
    body = {"id": rollout, "release": "net-1.0", "group": "lab", "stages": stages, "gates": []}
    return body | changes


class Clock:
    """Unix time that a test moves."""

    def __init__(self) -> None:
        self.seconds = BEGIN_SECONDS

    def __call__(self) -> float:
        return self.seconds


@dataclass
class SimulatedField:
    """Publishes into a dictionary; it can be out of order for a while."""

    wanted: dict[str, Wanted] = field(default_factory=dict)
    published: list[tuple[str, bool]] = field(default_factory=list)
    moved: list[tuple[Move, ...]] = field(default_factory=list)
    records: dict[str, str] = field(default_factory=dict)
    own: tuple[Pin, ...] = ()
    serial: int = 0
    is_broken: bool = False

    def publish(
        self, group: str, wanted: Wanted, *, ask_anew: bool, is_current: Callable[[], bool] = always
    ) -> None:
        self._work()
        if not is_current():
            return
        self.wanted[group] = wanted
        self.published.append((group, ask_anew))

    def move(self, moves: Sequence[Move], *, is_current: Callable[[], bool] = always) -> None:
        self._work()
        if is_current():
            self.moved.append(tuple(moves))
            for one in moves:
                if one.unpins:
                    self.own = tuple(pin for pin in self.own if pin.device != one.device)
                if one.needs_no_record:
                    self.records.pop(one.device, None)
                else:
                    self.records[one.device] = one.group

    def pin(
        self,
        device: str,
        artifacts: Mapping[str, DesiredArtifact],
        *,
        allow_downgrade: bool,
        is_current: Callable[[], bool] = always,
    ) -> None:
        self._work()
        if is_current():
            self.sign(device, artifacts)

    def sign(self, device: str, artifacts: Mapping[str, DesiredArtifact]) -> None:
        """Pin a device, as somebody does who has the keys."""
        self.serial += 1
        others = [pin for pin in self.own if pin.device != device]
        self.own = (*others, Pin(device=device, serial=self.serial, artifacts=artifacts))

    def pins(self) -> tuple[Pin, ...]:
        self._work()
        return self.own

    def followed(self) -> dict[str, str]:
        self._work()
        return dict(self.records)

    def keep_fresh(self) -> None:
        self._work()

    def require_signed(self, release: Release) -> None:
        self._work()

    def _work(self) -> None:
        if self.is_broken:
            raise OutputError("repository: cannot be written: no space left on device.")


@dataclass(frozen=True)
class KnownDevice:
    """As the authority tells of it."""

    device: str
    group: str
    state: DeviceState


@dataclass
class SimulatedEnrolment:
    """An authority without certificates."""

    known: dict[str, KnownDevice] = field(default_factory=dict)
    issued: dict[str, IssuedClaim] = field(default_factory=dict)
    revoked: list[tuple[str, str]] = field(default_factory=list)
    approved: list[tuple[str, str]] = field(default_factory=list)
    barred: set[str] = field(default_factory=set)

    def token(self, *, group: str, lifetime: timedelta, device: str, needs_approval: bool) -> str:
        text = f"claim-{group}-{device}-{lifetime.total_seconds():.0f}-{needs_approval}"
        self.issued[self.claim_id(text)] = IssuedClaim(
            id=self.claim_id(text),
            group=group,
            device=device,
            needs_approval=needs_approval,
            expires_seconds=BEGIN_SECONDS + lifetime.total_seconds(),
            state="good",
        )
        return text

    def claim_id(self, token: str) -> str:
        return sha256(token.encode()).hexdigest()[:12]

    def claims(self) -> list[IssuedClaim]:
        return sorted(self.issued.values(), key=lambda one: (-one.expires_seconds, one.id))

    def revoke_claim(self, claim: str) -> IssuedClaim:
        if claim not in self.issued:
            raise NotFoundError(f"claim {claim}: there is none with that id.")
        self.issued[claim] = replace(self.issued[claim], state="revoked")
        return self.issued[claim]

    def members(self) -> list[KnownDevice]:
        return list(self.known.values())

    def approve(self, device: str, *, by: str) -> None:
        self.approved.append((device, by))

    def revoke(self, device: str, *, reason: str, for_good: bool) -> None:
        self.revoked.append((device, reason))
        if for_good:
            self.barred.add(device)


class FleetOfTests:
    """Everything together; `api` asks as somebody."""

    def __init__(
        self,
        address: str,
        *,
        limits: Limits | None = None,
        findings: Findings = nothing_measured,
        ddi: DdiSettings | None = None,
    ) -> None:
        self.clock = Clock()
        self.store: FleetStore = open_store(address, wall_seconds=self.clock)
        self.field = SimulatedField()
        self.enrolment = SimulatedEnrolment()
        limits = limits or Limits()
        self.service = FleetService(
            self.store,
            self.field,
            enrolment=self.enrolment,
            findings=findings,
            most_devices=limits.devices,
        )
        self.app = application(self.service, limits=limits, ddi=ddi)
        self._secrets: dict[Role, str] = {}

    def close(self) -> None:
        self.store.close()

    def secret(self, role: Role) -> str:
        if role not in self._secrets:
            with self.store.writing() as book:
                _, self._secrets[role] = book.tokens.make(
                    name=f"{role}-1",
                    role=role,
                    created_by="test",
                    now_seconds=book.now_seconds,
                    lifetime_seconds=1e9,
                )
        return self._secrets[role]

    def ask(self, method: str, path: str, body: Any = None, *, role: Role = "admin", **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.secret(role)}"} | more.pop("headers", {})
        return self.send(method, ROOT + path, json=body, headers=headers, **more)

    def send(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Send a request to the application as a server would hand it over."""

        async def answered() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://fleet.test") as client:
                return await client.request(method, path, **more)

        return asyncio.run(answered())

    def done(self, method: str, path: str, body: Any = None, *, role: Role = "admin", **more: Any) -> Any:
        """Ask, and require that it was done."""
        answer = self.ask(method, path, body, role=role, **more)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    def with_devices(
        self, count: int, *, group: str = "lab", profiles: Sequence[str] = (PROFILE,)
    ) -> list[str]:
        self.done("POST", "/groups", {"name": group})
        names = [f"{group}-{number:05d}" for number in range(count)]
        with self.store.writing() as book:
            devices = [
                Device(
                    id=name,
                    group=group,
                    provides=Provides(targets=(profiles[number % len(profiles)],)),
                    added_seconds=book.now_seconds,
                )
                for number, name in enumerate(names)
            ]
            add_devices(book, devices, actor="test")
        return names

    def planned(self, rollout: str = "r1", **changes: Any) -> None:
        self.done("POST", "/releases", release_body())
        self.done("POST", "/rollouts", rollout_body(rollout, **changes))

    def pass_time(self, seconds: float) -> None:
        self.clock.seconds += seconds

    def devices_follow(self, *, only: Sequence[str] | None = None) -> int:
        """Let devices do what their group's desired state says, and say so; return how many changed."""
        changed = 0
        with self.store.reading() as book:
            devices = book.devices.page(DeviceFilter(state="enrolled"), limit=100_000)
        heard = []
        for device in devices:
            wanted = self.field.wanted.get(device.group)
            if wanted is None or (only is not None and device.id not in only):
                continue
            artifacts = dict(wanted.artifacts)
            if wanted.trial is not None and belongs(wanted.trial, device.id):
                artifacts |= wanted.trial.artifacts
            runs = next(
                (artifacts[one].digest for one in device.provides.targets if one in artifacts),
                device.artifact,
            )
            changed += runs != device.artifact
            heard.append(self.heard(device.id, runs=runs))
        self.service.hear(heard)
        return changed

    def heard(
        self, device: str, *, runs: str | None, event: str = "", about: str | None = None, reason: str = ""
    ) -> Heard:
        report = DeviceReport(device=device, seconds=self.clock(), artifact=runs, health="up")
        seen = Observation(
            seconds=self.clock(), event=event, about=about, running=runs, committed=not event, reason=reason
        )
        return Heard(report=report, seen=seen)

    def state(self, rollout: str = "r1") -> str:
        return str(self.done("GET", f"/rollouts/{rollout}")["state"])

    def audited(self) -> list[str]:
        with self.store.reading() as book:
            assert book.audit.broken() == ""
            return [entry.action for entry in book.audit.all()]
