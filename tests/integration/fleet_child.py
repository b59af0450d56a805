"""A process that works on a fleet's store until it is killed: `writer` writes as fast as it can, `rounds` makes rollouts go on."""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from device_agent.contract.desired import DesiredArtifact, Trial
from device_agent.durable import write_durably
from host_tools.fleet.inventory import add_devices, retire_device
from host_tools.fleet.outside import always
from host_tools.fleet.records.devices import Device, Provides
from host_tools.fleet.rollout.wanted import Wanted
from host_tools.fleet.service import FleetService
from host_tools.fleet.store.opening import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from host_tools.fleet.records.releases import Release
    from host_tools.fleet.store.fleet_store import FleetStore
    from host_tools.repository.desires import Move


class FolderField:
    """Desired states as files, each written whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def publish(
        self, group: str, wanted: Wanted, *, ask_anew: bool, is_current: Callable[[], bool] = always
    ) -> None:
        del ask_anew
        if not is_current():
            return
        document = {
            "artifacts": {name: [one.path, one.digest] for name, one in wanted.artifacts.items()},
            "trial": None
            if wanted.trial is None
            else {
                "artifacts": {name: [one.path, one.digest] for name, one in wanted.trial.artifacts.items()},
                "salt": wanted.trial.salt,
                "share_ppm": wanted.trial.share_ppm,
                "devices": wanted.trial.devices,
            },
        }
        write_durably(self._folder / f"{group}.json", json.dumps(document).encode())

    def move(self, moves: Sequence[Move], *, is_current: Callable[[], bool] = always) -> None:
        pass

    def pin(
        self,
        device: str,
        artifacts: Mapping[str, DesiredArtifact],
        *,
        allow_downgrade: bool,
        is_current: Callable[[], bool] = always,
    ) -> None:
        raise AssertionError(f"{device}: nobody pins in these tests")

    def pins(self) -> None:
        pass

    def followed(self) -> dict[str, str]:
        return {}

    def keep_fresh(self) -> None:
        pass

    def require_signed(self, release: Release) -> None:
        pass


def read_wanted(folder: Path, group: str) -> Wanted | None:
    path = folder / f"{group}.json"
    if not path.exists():
        return None
    document = json.loads(path.read_bytes())
    trial = document["trial"]
    return Wanted(
        artifacts=_artifacts(document["artifacts"]),
        trial=None
        if trial is None
        else Trial(
            **{**trial, "artifacts": _artifacts(trial["artifacts"]), "devices": tuple(trial["devices"])}
        ),
        allow_downgrade=False,
    )


def _artifacts(document: dict[str, list[str]]) -> dict[str, DesiredArtifact]:
    return {name: DesiredArtifact(path=path, digest=digest) for name, (path, digest) in document.items()}


def write(store: FleetStore, name: str) -> None:
    """Add three devices and take one of them out, each in a transaction with audit and effects, without end."""
    number = 0
    while True:
        number += 1
        with store.writing() as book:
            devices = [
                Device(
                    id=f"{name}-{number}-{part}",
                    group="lab",
                    tags=frozenset({"new"}),
                    provides=Provides(targets=("a",)),
                    added_seconds=book.now_seconds,
                )
                for part in range(3)
            ]
            add_devices(book, devices, actor=f"user {name}")
        with store.writing() as book:
            retire_device(book, replace(devices[0]), "revoked", reason="test", actor=f"user {name}")
        if number == 1:
            print("working", flush=True)


def main() -> None:
    what, address, argument = sys.argv[1:]
    store = open_store(address)
    if what == "writer":
        write(store, argument)
    service = FleetService(store, FolderField(Path(argument)))
    print("working", flush=True)
    service.run(threading.Event(), period_seconds=0.05)


if __name__ == "__main__":
    main()
