"""Telemetry that takes a question and never answers: rounds go on, orders are carried out, and no stage passes on what nobody knows."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from host_tools.fleet.carrying_out import counts_of
from host_tools.fleet.records.devices import Device, Group, Provides
from host_tools.fleet.records.gates import Gate
from host_tools.fleet.records.releases import Release, ReleasedArtifact
from host_tools.fleet.records.rollouts import RolloutPlan, Stage
from host_tools.fleet.rollout.asked_beside import AskedBeside
from host_tools.fleet.rollout.explanation import explain
from host_tools.fleet.rollout.telemetry import TelemetryFindings
from host_tools.fleet.service import FleetService
from host_tools.fleet.store.opening import open_store
from host_tools.review import remote_telemetry
from host_tools.review.remote_telemetry import RemoteTelemetry
from tests.integration.fleet import RawServer
from tests.integration.fleet_child import FolderField, read_wanted
from tests.integration.support import wait_until

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

    from host_tools.fleet.store.fleet_store import FleetStore

GROUPS = ("lab", "shop", "yard")


class HangingPage:
    """Accepts, reads, and says nothing until it is released."""

    def __init__(self) -> None:
        self.asked, self.released = threading.Event(), threading.Event()
        self._server = RawServer(self._talk)
        self.url = f"http://127.0.0.1:{self._server.port}"

    def _talk(self, connection: socket.socket) -> None:
        connection.recv(1 << 16)
        self.asked.set()
        self.released.wait()

    def close(self) -> None:
        self.released.set()
        self._server.close()


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[HangingPage]:
    monkeypatch.setattr(remote_telemetry, "_SECONDS", 3_600.0)  # longer than any test waits
    made = HangingPage()
    yield made
    made.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FleetStore]:
    opened = open_store(str(tmp_path / "fleet.db"))
    yield opened
    opened.close()


def artifact(version: str) -> ReleasedArtifact:
    return ReleasedArtifact(
        path=f"models/net/net-{version}-a.ewa", digest="sha256:" + version[0] * 64, size_bytes=1
    )


def prepared(store: FleetStore) -> None:
    """Groups that run 1.0, with a device each that nobody hears, and the release 2.0."""
    with store.writing() as book:
        for group in GROUPS:
            book.groups.add(Group(name=group, artifacts={"a": artifact("1.0")}))
            book.devices.add([Device(id=f"dev-{group}", group=group, provides=Provides(targets=("a",)))])
        book.releases.add(
            Release(
                id="net-2.0",
                model="net",
                version="2.0",
                counter=2,
                artifacts={"a": artifact("2.0")},
                created_by="x",
                created_seconds=0.0,
            )
        )


def test_a_page_that_hangs_holds_up_no_round_and_no_order(
    page: HangingPage, store: FleetStore, tmp_path: Path
) -> None:
    prepared(store)
    telemetry = TelemetryFindings(RemoteTelemetry(page.url), lambda group: [f"dev-{group}"])
    beside = AskedBeside(telemetry, longest_seconds=0.5)
    service = FleetService(store, FolderField(tmp_path), findings=beside)
    gate = Gate(measure="latency_p50", worst=0.1)
    for group in GROUPS:
        stage = Stage(name="all", share_ppm=1_000_000, soak_seconds=0.1)
        service.create(
            RolloutPlan(id=f"r-{group}", release="net-2.0", group=group, stages=(stage,), gates=(gate,)),
            actor="user x",
        )
        service.order(f"r-{group}", "submit", actor="user x")
    stop = threading.Event()
    rounds = threading.Thread(target=service.run, args=(stop,), kwargs={"period_seconds": 0.05})
    rounds.start()

    def state(group: str) -> str:
        with store.reading() as book:
            return book.rollouts.get(f"r-{group}").state

    def told(group: str) -> str:
        with store.reading() as book:
            rollout = book.rollouts.get(f"r-{group}")
            findings = book.rollouts.findings(rollout.plan.id)
            return explain(rollout, counts_of(book, rollout), findings, book.now_seconds).text()

    def is_taken_back(group: str) -> bool:
        wanted = read_wanted(tmp_path, group)
        return wanted is not None and wanted.trial is None

    try:
        assert page.asked.wait(60)
        for group in GROUPS:
            wait_until(
                lambda group=group: (
                    "unavailable: median latency: telemetry cannot be asked: it has not answered within"
                    in told(group)
                ),  # type: ignore[misc]
                what=f"{group} says that telemetry does not answer: {told(group)}",
            )
            assert state(group) == "running"
        service.order("r-lab", "rollback", actor="user x")
        service.order("r-shop", "pause", actor="user x")
        service.order("r-yard", "abort", actor="user x")
        wait_until(lambda: state("lab") == "rolled_back", what="the release is taken back")
        wait_until(lambda: is_taken_back("lab"), what="devices are told so")
        service.order("r-shop", "resume", actor="user x")
        assert (state("shop"), state("yard")) == ("running", "aborted")
        page.released.set()
        wait_until(
            lambda: "does not answer: " in told("shop"), what="why it cannot be asked, once that is known"
        )
    finally:
        page.released.set()
        stop.set()
        service.wake()
        rounds.join(60)
        assert beside.close()
    with store.reading() as book:
        assert book.audit.broken() == ""
