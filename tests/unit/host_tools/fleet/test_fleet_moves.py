"""Moving devices to another group reaches the world: once a batch, again until it was done, and only as it is wanted last."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from host_tools.repository.desires import Move

if TYPE_CHECKING:
    from tests.unit.host_tools.fleet.fleet_of_tests import FleetOfTests


def move(fleet: FleetOfTests, device: str, group: str) -> None:
    fleet.done("PATCH", f"/devices/{device}", {"group": group})


def test_a_moved_device_follows_its_new_group_and_gets_a_job_of_its_rollout(either: FleetOfTests) -> None:
    names = either.with_devices(3)
    for group in ("shop", "attic"):
        either.done("POST", "/groups", {"name": group})
    either.planned(group="shop", stages=[{"name": "all", "share_ppm": 1_000_000, "soak_seconds": 10.0}])
    either.done("POST", "/rollouts/r1/submit", {})
    either.field.is_broken = True
    for name in names:
        move(either, name, "attic")
        move(either, name, "shop")
    either.service.round()
    assert either.field.moved == []
    with either.store.reading() as book:
        effects = {effect.subject: effect for effect in book.effects.open(limit=10)}
    assert "no space" in effects[names[0]].failure
    assert json.loads(effects[names[0]].document) == {
        "group": "shop",
        "before": "lab",
        "configured": "",
    }
    either.field.is_broken = False
    either.pass_time(60.0)
    either.service.round()
    assert either.field.moved == [
        tuple(Move(device=name, group="shop", before="lab") for name in sorted(names))
    ]
    with either.store.reading() as book:
        assert book.effects.count() == 0
    assert either.done("GET", f"/rollouts/r1/jobs/{names[0]}")["stage"] == 0


def test_other_tags_move_nobody_and_a_device_list_moves_all_at_once(fleet: FleetOfTests) -> None:
    names = fleet.with_devices(2)
    fleet.done("POST", "/groups", {"name": "shop"})
    fleet.done("PATCH", f"/devices/{names[0]}", {"tags": ["indoor"]})
    fleet.service.round()
    assert fleet.field.moved == []
    table = "id,group\n" + "".join(f"{name},shop\n" for name in names)
    answer = fleet.ask("POST", "/devices.csv", content=table, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 200, answer.text
    fleet.service.round()
    assert [[one.device for one in batch] for batch in fleet.field.moved] == [names]
