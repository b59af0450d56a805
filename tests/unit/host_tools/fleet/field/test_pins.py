"""Desired states of single devices' own, as the server reads and signs them in a real repository."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from device_agent.contract.desired import DesiredArtifact
from host_tools.errors import InputError
from host_tools.fleet.field.publisher import Publisher
from host_tools.fleet.outside import NoField
from host_tools.fleet.rollout.wanted import Wanted
from host_tools.repository.desires import Move
from host_tools.repository.keys import KeyRing
from host_tools.repository.repository import Repository
from host_tools.repository.signed_target import target_file
from tests.integration.support import null_artifact

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "fleet", KeyRing(tmp_path / "keys"))
    made.init()
    return made


def artifacts_of(repository: Repository, folder: Path) -> dict[str, DesiredArtifact]:
    path = repository.add(null_artifact(folder / "a.ewa"), release_counter=1)
    facts, digest, _ = repository.released("small")[path]
    return {facts.target: DesiredArtifact(path=path, digest=digest)}


def test_what_anybody_signs_for_a_device_is_read_once_and_who_only_follows_a_group_is_not_pinned(
    repository: Repository, tmp_path: Path
) -> None:
    artifacts = artifacts_of(repository, tmp_path)
    publisher = Publisher(repository)
    assert publisher.pins() == ()
    ((_, one),) = artifacts.items()
    repository.release("device/d1", [one.path])
    publisher.move([Move(device="d2", group="shop", before="lab")])
    pins = publisher.pins()
    (pin,) = pins
    assert (pin.device, pin.serial) == ("d1", 1)
    assert {name: one.digest for name, one in pin.artifacts.items()} == {
        name: one.digest for name, one in artifacts.items()
    }
    state = target_file(tmp_path / "fleet", "desired/device/d1.json", "")
    for path in state.parent.glob("*.d1.json"):
        path.unlink()  # it is not looked at again
    publisher.publish("lab", Wanted(artifacts=artifacts, trial=None, allow_downgrade=False))
    assert publisher.pins() is pins
    with pytest.raises(InputError, match="is no desired state that can be read"):
        Publisher(repository).pins()


def test_a_device_is_pinned_once_and_again_only_with_something_else(
    repository: Repository, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    artifacts = artifacts_of(repository, tmp_path)
    publisher = Publisher(repository)
    publisher.publish("lab", Wanted(artifacts=artifacts, trial=None, allow_downgrade=False))
    for _ in range(2):
        publisher.pin("d1", artifacts, allow_downgrade=False)
        assert [one.serial for one in publisher.pins()] == [2]
    publisher.pin("d1", artifacts, allow_downgrade=True)
    state = repository.desired_of("device/d1")
    assert state is not None
    assert (state.serial, state.allow_downgrade) == (3, True)
    with caplog.at_level(logging.INFO, logger="edgewright.fleet"):
        publisher.pin("d2", artifacts, allow_downgrade=False, is_current=lambda: False)
    assert "something newer is wanted" in caplog.text
    assert set(repository.pinned()) == {"d1"}
    publisher.move([Move(device="d1", group="lab", before="lab", configured="lab", unpins=True)])
    assert publisher.pins() == ()


def test_a_server_without_a_repository_pins_nobody_and_says_so() -> None:
    field = NoField()
    assert field.pins() is None  # type: ignore[func-returns-value]  # as the protocol says
    with pytest.raises(InputError, match="device d1: this server has no repository"):
        field.pin("d1", {}, allow_downgrade=False)
    with pytest.raises(InputError, match="device d1: this server has no repository"):
        field.move([Move(device="d1", group="lab", before="lab", unpins=True)])
