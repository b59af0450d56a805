"""What a server signs anew before it ends, and what it tells others to sign."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import pytest

from host_tools.errors import InputError
from host_tools.fleet.field.publisher import Publisher
from host_tools.repository.keys import KeyRing
from host_tools.repository.repository import Repository
from tests.integration.support import null_artifact

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86_400.0
ROLES = ("root", "targets", "snapshot", "timestamp", "fleet", "model-small")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "fleet", KeyRing(tmp_path / "keys"))
    made.init()
    made.add(null_artifact(tmp_path / "a.ewa"), release_counter=1)
    for path in (tmp_path / "keys").glob("*.pem"):
        if path.name.split("-")[0] in ("root", "targets", "model"):
            path.unlink()  # they lie elsewhere
    return made


@pytest.mark.parametrize(
    ("days", "signed"),
    [(3.0, set()), (4.0, {"snapshot", "timestamp"}), (183.0, {"snapshot", "timestamp", "fleet"})],
)
def test_what_the_server_has_keys_of_is_signed_anew_when_half_of_its_life_is_over(
    repository: Repository, days: float, signed: set[str]
) -> None:
    before = {role: repository.signed.version(role) for role in ROLES}
    Publisher(repository, wall_seconds=lambda: time.time() + days * DAY).keep_fresh()
    after = {role: repository.signed.version(role) for role in ROLES}
    assert {role for role in ROLES if after[role] != before[role]} == signed


def test_what_others_must_sign_is_told_once_a_day_for_a_month_before_it_ends(
    repository: Repository, caplog: pytest.LogCaptureFixture
) -> None:
    days = 334.0
    publisher = Publisher(repository, wall_seconds=lambda: time.time() + days * DAY)
    with caplog.at_level(logging.WARNING, logger="edgewright.fleet"):
        publisher.keep_fresh()
        assert caplog.messages == []
        days = 336.0
        for _ in range(3):
            publisher.keep_fresh()
        told = sorted(caplog.messages)
        assert len(told) == 2
        assert "role model-small is signed until 2" in told[0]
        assert told[1].endswith("repository refresh DIR --keys KEYS --role targets.")
        days = 337.0
        publisher.keep_fresh()
        assert len(caplog.messages) == 4
        days = 701.0
        publisher.keep_fresh()
    assert any("role root is signed until" in message for message in caplog.messages[4:])


def test_a_key_that_is_missing_is_told(repository: Repository, tmp_path: Path) -> None:
    for path in (tmp_path / "keys").glob("timestamp-*"):
        path.unlink()
    with pytest.raises(InputError, match="role 'timestamp': 1 keys must sign, 0 are here"):
        Publisher(repository, wall_seconds=lambda: time.time() + 4 * DAY).keep_fresh()
