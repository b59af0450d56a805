"""A fleet of 200 devices whose figures are known, for the page: real store, service, gates and interface; only the devices are played.

One rollout runs its second stage, one was stopped by its gates and taken back, one waits for an approver, three are over.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import uvicorn

from host_tools.fleet.records.devices import Device, Group, Provides
from host_tools.fleet.records.gates import GateFinding
from host_tools.fleet.rollout.gates import Crashes, Pairs, judge
from host_tools.fleet.rollout.jobs import Observation
from host_tools.fleet.service import Heard
from host_tools.fleet.store.devices import DeviceReport
from tests.unit.host_tools.fleet.fleet_of_tests import FleetOfTests, artifact, release_body

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from host_tools.fleet.records.releases import Release
    from host_tools.fleet.records.rollouts import Rollout

HOSTILE = '<img src=x onerror="window.owned=1"><script>window.owned=1</script>\u202e"};--></style>'
ARM, INTEL = "cortex-a-tflite", "x86-64-openvino"
PROFILES = (ARM, INTEL)
GROUPS = {"factory": 120, "stores": 60, "lab": 20}
PENDING = ("lab-00017", "lab-00018", "lab-00019")
REVOKED = ("stores-00058", "stores-00059")
DECOMMISSIONED = ("factory-00119",)
DEGRADED, DOWN = ("factory-00003", "factory-00010"), ("stores-00007",)
RUNNING, STOPPED, WAITING, DRAFT = "factory-eye-1-2", "lab-eye-1-1", "stores-eye-1-2", "stores-eye-1-1"
DRIFTING = "stores-00012"
"""It runs what nobody wants it to run."""
_PLAYED_SECONDS = 5_600
"""How long the fleet has lived when a test sees it."""


class PagesFleet(FleetOfTests):
    """`FleetOfTests` with gates whose figures belong to a good release and to a slow one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(str(folder / "fleet.db"), findings=self._judged)
        self.clock.seconds = float(int(time.time()) - _PLAYED_SECONDS)

    def _judged(self, rollout: Rollout, release: Release, now_seconds: float) -> Sequence[GateFinding]:
        with self.store.reading() as book:
            counts = book.jobs.counts(rollout.plan.id, stages=len(rollout.stages))
        devices = sum(one.succeeded for one in counts)  # their telemetry stays, whatever they run later
        if not devices:
            return ()
        rng = np.random.default_rng(7)
        slower = 1.4 if release.version == "1.1" else 1.02
        before = rng.lognormal(np.log(0.012), 0.1, devices)
        after = before * slower * rng.lognormal(0.0, 0.03, devices)
        warm = rng.normal(55.0, 2.0, devices)
        hours = np.full(devices, 30.0)
        figures: dict[str, Any] = {
            "latency_p50": Pairs(before=before, after=after),
            "latency_p95": Pairs(before=2 * before, after=2 * after * rng.lognormal(0.0, 0.05, devices)),
            "temperature": Pairs(before=warm, after=warm + rng.normal(1.0, 0.5, devices)),
            "output_agreement": Pairs(
                before=np.full(devices, 1.0), after=1.0 - rng.uniform(0.0, 0.004, devices)
            ),
            "crashes": Crashes(
                before=np.zeros(devices, np.int64),
                after=np.zeros(devices, np.int64),
                before_hours=hours,
                after_hours=hours,
            ),
        }
        return tuple(
            judge(gate, figures[gate.measure]) for gate in rollout.plan.gates if gate.measure in figures
        )

    def settle(self, seconds: float = 700.0) -> None:
        """Let time pass, devices do what they shall, and the server make its rounds."""
        for _ in range(3):
            self.service.round()
            self.devices_follow()
            self.pass_time(seconds)
        self.service.round()

    def say(self, device: str, event: str, version: str, *, reason: str = "") -> None:
        """Let a device tell of its update to a version."""
        with self.store.reading() as book:
            target = book.devices.get(device).provides.targets[0]
        about = artifact("eye", version, target)["digest"]
        report = DeviceReport(device=device, seconds=self.clock())
        self.service.hear(
            [
                Heard(
                    report=report,
                    seen=Observation(seconds=self.clock(), event=event, about=about, reason=reason),
                )
            ]
        )


def copied(fleet: PagesFleet, folder: Path) -> PagesFleet:
    """Return the same fleet in another folder, to be changed there."""
    with (
        closing(sqlite3.connect(fleet.folder / "fleet.db")) as source,
        closing(sqlite3.connect(folder / "fleet.db")) as to,
    ):
        source.backup(to)
    copy = PagesFleet(folder)
    copy.clock.seconds = fleet.clock.seconds
    copy.field.wanted.update(fleet.field.wanted)
    return copy


def body(rollout: str, release: str, group: str, **more: Any) -> dict[str, Any]:
    stages = [
        {"name": "canary", "share_ppm": 100_000, "soak_seconds": 600.0},
        {"name": "half", "share_ppm": 500_000, "soak_seconds": 600.0, "error_ratio": 0.2},
        {"name": "all", "share_ppm": 1_000_000, "soak_seconds": 600.0, "needs_approval": True},
    ]
    return {"id": rollout, "release": release, "group": group, "stages": stages} | more


def release(version: str, counter: int) -> dict[str, Any]:
    artifacts = {profile: artifact("eye", version, profile) for profile in PROFILES}
    return release_body(version, counter=counter) | {"model": "eye", "artifacts": artifacts}


def filled(folder: Path) -> PagesFleet:
    """Return the fleet as it is about now."""
    fleet = PagesFleet(folder)
    _devices(fleet)
    for counter, version in enumerate(("1.0", "1.1", "1.2"), start=1):
        fleet.done("POST", "/releases", release(version, counter), role="operator")
    whole = [{"name": "all", "share_ppm": 1_000_000, "soak_seconds": 0.0}]
    for group in GROUPS:
        first = f"{group}-eye-1-0"
        fleet.done(
            "POST", "/rollouts", body(first, "eye-1.0", group, stages=whole, gates=[]), role="operator"
        )
        fleet.done("POST", f"/rollouts/{first}/submit", {}, role="operator")
    fleet.settle()
    _bad_release(fleet)
    _good_release(fleet)
    fleet.done("POST", "/rollouts", body(WAITING, "eye-1.2", "stores", needs_approval=True), role="operator")
    fleet.done("POST", f"/rollouts/{WAITING}/submit", {}, role="operator")
    fleet.done("POST", "/rollouts", body(DRAFT, "eye-1.1", "stores"), role="operator")
    _states(fleet)
    fleet.service.round()
    return fleet


def _devices(fleet: PagesFleet) -> None:
    with fleet.store.writing() as book:
        for group, count in GROUPS.items():
            note = HOSTILE if group == "lab" else f"{count} devices of the {group}"
            book.groups.add(Group(name=group, note=note, created_seconds=book.now_seconds))
            names = [f"{group}-{number:05d}" for number in range(count)]
            book.devices.add(
                [
                    Device(
                        id=name,
                        group=group,
                        tags=frozenset(
                            {"line-1", HOSTILE} if name == DEGRADED[0] else {f"line-{number % 4}"}
                        ),
                        state="pending" if name in PENDING else "enrolled",
                        provides=Provides(
                            targets=(PROFILES[number % 2],),
                            engine=HOSTILE
                            if name == DEGRADED[0]
                            else ("openvino 2026.2" if number % 2 else "tflite 2.1.0"),
                            agent_version="0.1.0",
                            memory_bytes=2 << 30,
                        ),
                        added_seconds=book.now_seconds,
                    )
                    for number, name in enumerate(names)
                ]
            )


def _bad_release(fleet: PagesFleet) -> None:
    gates = [
        {"measure": "latency_p50", "worst": 0.1, "least_devices": 4},
        {"measure": "crashes", "worst": 0.05, "least_devices": 4},
    ]
    stages = [
        {"name": "canary", "share_ppm": 600_000, "soak_seconds": 600.0},
        {"name": "all", "share_ppm": 1_000_000},
    ]
    fleet.done(
        "POST", "/rollouts", body(STOPPED, "eye-1.1", "lab", gates=gates, stages=stages), role="operator"
    )
    fleet.done("POST", f"/rollouts/{STOPPED}/submit", {}, role="operator")
    fleet.settle()
    assert fleet.state(STOPPED) == "rolled_back", fleet.state(STOPPED)


def _good_release(fleet: PagesFleet) -> None:
    gates = [
        {"measure": "latency_p50", "worst": 0.1},
        {"measure": "latency_p95", "worst": 0.15},
        {"measure": "energy_per_inference", "worst": 0.15},
        {"measure": "temperature", "worst": 5.0},
        {"measure": "output_agreement", "worst": 0.02},
        {"measure": "crashes", "worst": 0.05},
    ]
    fleet.done("POST", "/rollouts", body(RUNNING, "eye-1.2", "factory", gates=gates), role="operator")
    fleet.done("POST", f"/rollouts/{RUNNING}/submit", {}, role="operator")
    fleet.service.round()
    fleet.devices_follow()
    fleet.pass_time(700)
    fleet.service.round()  # the canary passes, and half of the group begins
    stage = [
        one["device"] for one in fleet.done("GET", f"/rollouts/{RUNNING}/jobs?stage=1&limit=1000")["items"]
    ]
    fleet.pass_time(30)
    fleet.devices_follow(only=stage[: len(stage) - 12])
    absent_and_at_it = stage[len(stage) - 12 :]
    for device in absent_and_at_it[:2]:
        fleet.say(
            device,
            "update_rolled_back",
            "1.2",
            reason=HOSTILE if device == absent_and_at_it[0] else "self test: out of memory",
        )
    for device in absent_and_at_it[2:7]:
        fleet.say(device, "update_started", "1.2")
    fleet.pass_time(620)
    fleet.service.round()
    assert fleet.state(RUNNING) == "running", fleet.state(RUNNING)


def _states(fleet: PagesFleet) -> None:
    reports = [DeviceReport(device=name, seconds=fleet.clock(), health="degraded") for name in DEGRADED]
    reports += [DeviceReport(device=name, seconds=fleet.clock(), health="down") for name in DOWN]
    reports += [
        DeviceReport(device=DRIFTING, seconds=fleet.clock(), artifact=artifact("eye", "1.1", ARM)["digest"])
    ]
    with fleet.store.writing() as book:
        book.devices.heard(reports, now_seconds=book.now_seconds)
    for device in REVOKED:
        fleet.done("POST", f"/devices/{device}/revoke", {"reason": "stolen"})
    for device in DECOMMISSIONED:
        fleet.done("POST", f"/devices/{device}/decommission", {"reason": "scrapped"})


class _Server(uvicorn.Server):
    """Leaves signals to the process that it is a part of, and no stream open when it ends."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
        await asyncio.sleep(0.05)  # the loop closes them when it next comes round

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def serving(fleet: FleetOfTests, listening: socket.socket) -> Iterator[str]:
    """Answer at a socket that listens, until the context ends; give the page's address."""
    config = uvicorn.Config(
        fleet.app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=1
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(timeout=120)
