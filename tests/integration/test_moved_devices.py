"""A device that is moved to another group follows that group's desired state, although its own configuration names the old one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from device_agent.contract.desired import Desired, DesiredArtifact, decode, encode
from device_agent.contract.errors import ContractError
from device_agent.update.occurrences import NothingDesired, Offered
from host_tools.errors import InputError, StaleError
from host_tools.repository.desires import Move
from tests.integration.support import null_artifact
from tests.integration.update_repository import TARGET, Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from host_tools.repository.repository import Repository

TO_SHOP = Move(device="dev-1", group="shop", before="lab")
TO_LAB = Move(device="dev-1", group="lab", before="shop")


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Group lab, in which the device believes itself, runs release 2 since serial 3, group shop release 1 since serial 1."""
    made = Fleet(tmp_path / "fleet")
    repository = made.repository
    old = repository.add(null_artifact(tmp_path / "m-1.ewa", target=TARGET), release_counter=1)
    new = repository.add(
        null_artifact(tmp_path / "m-2.ewa", target=TARGET, latency_seconds=0.003), release_counter=2
    )
    for path in (old, new, new):
        repository.release("group/lab", [path])
    repository.release("group/shop", [old])
    yield made
    made.server.close()


def offered(fleet: Fleet) -> Offered:
    answer = fleet.check()
    assert isinstance(answer, Offered), answer
    return answer


def versions(repository: Repository) -> dict[str, int]:
    folder = repository.signed._folder / "metadata"
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_it_gets_what_its_new_group_runs_and_may_go_below_what_the_old_one_ran(fleet: Fleet) -> None:
    before = offered(fleet)
    assert (before.release.counter, before.serial, before.allow_downgrade) == (2, 3, False)
    fleet.repository.follow([TO_SHOP])
    moved = offered(fleet)
    assert (moved.release.counter, moved.since) == (1, 1)
    assert moved.serial > before.serial, "else a device refuses it as a replay"
    assert moved.allow_downgrade
    signed = versions(fleet.repository)
    fleet.repository.follow([TO_SHOP])
    assert versions(fleet.repository) == signed, "twice is once"
    fleet.repository.ensure(
        "group/shop", {TARGET: DesiredArtifact(path=before.path, digest=before.release.digest)}
    )
    assert offered(fleet).release.counter == 2, "what follows is the group's"
    fleet.repository.follow([TO_LAB])
    assert offered(fleet).serial > moved.serial + 1


def test_a_group_that_has_nothing_yet_lets_it_keep_what_it_runs(fleet: Fleet) -> None:
    fleet.repository.follow([Move(device="dev-1", group="new", before="lab")])
    answer = fleet.check()
    assert isinstance(answer, NothingDesired)
    assert "follows group/new" in answer.reason
    assert answer.serial == 0
    fleet.repository.ensure("group/new", offered_path(fleet))
    first = offered(fleet)
    assert first.release.counter == 1
    assert first.serial > 3, "else the device, which has followed the other group's third state, refuses it"


def offered_path(fleet: Fleet) -> dict[str, DesiredArtifact]:
    state = fleet.repository.desired_of("group/shop")
    assert state is not None
    return dict(state.artifacts)


def test_a_device_that_has_a_desired_state_of_its_own_keeps_it(fleet: Fleet) -> None:
    (shop,) = offered_path(fleet).values()
    fleet.repository.release("device/dev-1", [shop.path])
    signed = versions(fleet.repository)
    fleet.repository.follow([TO_SHOP])
    assert versions(fleet.repository) == signed


def test_a_first_state_of_its_own_is_newer_than_what_the_device_followed(fleet: Fleet) -> None:
    before = offered(fleet)
    (shop,) = offered_path(fleet).values()
    fleet.repository.release("device/dev-1", [shop.path])
    assert offered(fleet).serial > before.serial, "else a device refuses it as a replay"
    assert fleet.repository.pinned() == {"dev-1": offered(fleet).serial}


@pytest.mark.parametrize("configured", ["lab", ""])
def test_an_unpinned_device_follows_its_group_again_and_may_go_below_what_it_alone_ran(
    fleet: Fleet, configured: str
) -> None:
    shop, lab = fleet.repository.desired_of("group/shop"), fleet.repository.desired_of("group/lab")
    assert shop is not None
    assert lab is not None
    fleet.repository.ensure("device/dev-1", lab.artifacts)
    pinned = offered(fleet)
    assert pinned.release.counter == 2
    unpin = Move(device="dev-1", group="shop", before="shop", configured=configured, unpins=True)
    fleet.repository.follow([unpin])
    assert fleet.repository.pinned() == {}
    assert fleet.repository.followed() == {"dev-1": "shop"}
    back = offered(fleet)
    assert (back.release.counter, back.allow_downgrade) == (1, True)
    assert back.serial > pinned.serial, "else a device refuses it as a replay"
    signed = versions(fleet.repository)
    fleet.repository.follow([unpin])
    assert versions(fleet.repository) == signed, "twice is once"


def test_of_a_pinned_device_that_is_configured_for_its_group_or_gone_nothing_stays(fleet: Fleet) -> None:
    (shop,) = offered_path(fleet).values()
    for unpin in (
        Move(device="dev-1", group="lab", before="lab", configured="lab", unpins=True),
        Move(device="dev-1", group="", before="lab", unpins=True),
    ):
        fleet.repository.release("device/dev-1", [shop.path])
        pinned = offered(fleet)
        fleet.repository.follow([unpin])
        assert (fleet.repository.pinned(), fleet.repository.followed()) == ({}, {})
        assert offered(fleet).release.counter == 2
        assert not unpin.group or offered(fleet).serial > pinned.serial


def test_the_record_goes_when_the_device_is_configured_for_the_group_and_it_goes_on_as_it_was(
    fleet: Fleet,
) -> None:
    fleet.repository.follow([TO_SHOP])
    assert fleet.repository.followed() == {"dev-1": "shop"}
    moved = offered(fleet)
    home = Move(device="dev-1", group="lab", before="shop", configured="lab")
    fleet.repository.follow([home])
    assert fleet.repository.followed() == {}
    back = offered(fleet)
    assert back.release.counter == 2
    assert back.serial > moved.serial, "else a device refuses it as a replay"
    signed = versions(fleet.repository)
    fleet.repository.follow([home])
    assert versions(fleet.repository) == signed, "twice is once"


def test_the_record_stays_while_the_group_has_nothing_that_keeps_its_serial(fleet: Fleet) -> None:
    fleet.repository.follow([Move(device="dev-1", group="new", before="lab")])
    fleet.repository.follow([Move(device="dev-1", group="new", before="lab", configured="new")])
    assert fleet.repository.followed() == {"dev-1": "new"}
    fleet.repository.ensure("group/new", offered_path(fleet))
    fleet.repository.follow([Move(device="dev-1", group="new", before="new", configured="new")])
    assert fleet.repository.followed() == {}


def test_of_a_device_that_is_gone_nothing_stays_and_nobody_else_hears_of_it(fleet: Fleet) -> None:
    other = Move(device="dev-2", group="shop", before="lab")
    fleet.repository.follow([TO_SHOP, other])
    state = fleet.repository.desired_of("group/shop")
    fleet.repository.follow([Move(device="dev-1", group="", before="shop")])
    assert fleet.repository.followed() == {"dev-2": "shop"}
    assert fleet.repository.desired_of("group/shop") == state


def test_more_records_than_devices_read_are_refused_and_nothing_is_signed(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("host_tools.repository.desired_states.MOST_FOLLOWING", 2)
    signed = versions(fleet.repository)
    with pytest.raises(InputError, match="expected at most 2, got 3"):
        fleet.repository.follow([Move(device=f"d{n}", group="shop", before="lab") for n in range(3)])
    assert versions(fleet.repository) == signed
    assert fleet.repository.followed() == {}


def test_what_is_wanted_no_more_or_is_no_name_signs_nothing(fleet: Fleet) -> None:
    signed = versions(fleet.repository)
    with pytest.raises(StaleError, match="moved again"):
        fleet.repository.follow([TO_SHOP], is_current=lambda: False)
    with pytest.raises(StaleError, match="something newer"):
        fleet.repository.ensure("group/lab", offered_path(fleet), is_current=lambda: False)
    with pytest.raises(InputError, match="subject"):
        fleet.repository.follow([Move(device="no/name", group="shop", before="lab")])
    assert versions(fleet.repository) == signed


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"subject": "group/lab"}, "follows: expected none beside the desired state of a group"),
        ({"follows": "device/other"}, "follows: expected"),
        (
            {"artifacts": {TARGET: DesiredArtifact(path="models/m/a.ewa", digest="sha256:" + "0" * 64)}},
            "artifacts: expected none beside follows",
        ),
    ],
)
def test_a_state_that_follows_and_says_something_else_besides_is_refused(
    changes: dict[str, object], says: str
) -> None:
    state: dict[str, object] = {"subject": "device/dev-1", "serial": 1, "artifacts": {}, "follows": "group/a"}
    good = Desired(**state)  # type: ignore[arg-type]
    assert decode(encode(good), where="x", subject=good.subject) == good
    with pytest.raises(ContractError, match=says):
        encode(Desired(**(state | changes)))  # type: ignore[arg-type]
