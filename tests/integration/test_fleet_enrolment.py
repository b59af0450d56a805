"""Devices come into groups: tokens, approval, revocation, return; a real authority over HTTPS on loopback and the device's own code."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from device_agent.contract.claim_token import decode_token
from device_agent.contract.errors import EdgewrightError
from host_tools.authority import register
from host_tools.errors import ConflictError, InputError, NotFoundError
from host_tools.fleet.field.enrolment import Enrolment, Member
from tests.integration.fleet import Fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HOUR = timedelta(hours=1)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(tmp_path / "ca").serving() as made:
        yield made


@pytest.fixture
def enrolment(fleet: Fleet) -> Enrolment:
    return Enrolment(fleet.folder, url=fleet.url)


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(EdgewrightError) as caught:
        act()
    return str(caught.value)


def facts(members: tuple[Member, ...]) -> list[tuple[str, str, str]]:
    return [(one.device, one.group, one.state) for one in members]


def test_a_token_brings_one_device_into_its_group_once(
    fleet: Fleet, enrolment: Enrolment, tmp_path: Path
) -> None:
    token = enrolment.token(group="lab", lifetime=HOUR)
    fleet.enrol(tmp_path / "a", "dev-1", token=token)
    assert "used already" in refusal(lambda: fleet.enrol(tmp_path / "b", "dev-2", token=token))
    assert facts(enrolment.members()) == [("dev-1", "lab", "enrolled")]
    assert (enrolment.members()[0].not_after_seconds or 0) > fleet.folder.wall_seconds()
    late = enrolment.token(group="lab", lifetime=HOUR)
    fleet.shift_seconds = 4_000.0
    assert "no longer valid" in refusal(lambda: fleet.enrol(tmp_path / "c", "dev-3", token=late))


def test_approval_lets_the_same_key_in_and_nobody_else(
    fleet: Fleet, enrolment: Enrolment, tmp_path: Path
) -> None:
    token = enrolment.token(group="lab", lifetime=HOUR, needs_approval=True)
    assert "waits for an operator's approval" in refusal(
        lambda: fleet.enrol(tmp_path / "a", "dev-1", token=token)
    )
    assert [(one.device, one.group) for one in enrolment.pending()] == [("dev-1", "lab")]
    assert facts(enrolment.members()) == [("dev-1", "lab", "pending")]
    assert "used already" in refusal(lambda: fleet.enrol(tmp_path / "b", "dev-1", token=token)), "another key"
    fleet.shift_seconds = 4_000.0  # it asked in time
    for _ in range(2):
        enrolment.approve("dev-1", by="user ann")
    assert not enrolment.pending()
    fleet.enrol(tmp_path / "a", "dev-1", token=token)
    assert facts(enrolment.members()) == [("dev-1", "lab", "enrolled")]


def test_who_is_refused_stays_out(fleet: Fleet, enrolment: Enrolment, tmp_path: Path) -> None:
    token = enrolment.token(group="lab", lifetime=HOUR, needs_approval=True)
    refusal(lambda: fleet.enrol(tmp_path / "a", "dev-1", token=token))
    enrolment.refuse("dev-1", by="user ann")
    assert "has refused" in refusal(lambda: fleet.enrol(tmp_path / "a", "dev-1", token=token))
    assert enrolment.members() == ()
    enrolment.refuse("dev-1", by="user ann")
    with pytest.raises(InputError, match="does not ask"):
        enrolment.approve("dev-1", by="user ann")


def test_who_was_revoked_can_come_back(fleet: Fleet, enrolment: Enrolment, tmp_path: Path) -> None:
    fleet.enrol(tmp_path / "a", "dev-1", token=enrolment.token(group="lab", lifetime=HOUR, device="dev-1"))
    enrolment.move("dev-1", "field")
    for _ in range(2):
        enrolment.revoke("dev-1", reason="lost")
    (member,) = enrolment.members()
    assert (member.state, member.reason) == ("revoked", "lost")
    token = enrolment.token(group="field", lifetime=HOUR, device="dev-1")
    fleet.enrol(tmp_path / "a", "dev-1", token=token, replace=True)
    assert facts(enrolment.members()) == [("dev-1", "field", "enrolled")]


def test_who_is_out_for_good_gets_no_certificate_whatever_token_it_has(
    fleet: Fleet, enrolment: Enrolment, tmp_path: Path
) -> None:
    fleet.enrol(tmp_path / "a", "dev-1", token=enrolment.token(group="lab", lifetime=HOUR))
    before = enrolment.token(group="lab", lifetime=HOUR, device="dev-1")
    for _ in range(2):
        enrolment.revoke("dev-1", reason="scrapped", for_good=True)
    tokens = [
        before,
        enrolment.token(group="lab", lifetime=HOUR),
        enrolment.token(group="lab", lifetime=HOUR, needs_approval=True),
        fleet.token("dev-1"),
    ]
    for number, token in enumerate(tokens):
        told = refusal(
            lambda token=token, number=number: fleet.enrol(tmp_path / f"b{number}", "dev-1", token=token)
        )
        assert "an operator has decommissioned 'dev-1'" in told
    assert facts(enrolment.members()) == [("dev-1", "lab", "revoked")]
    assert not enrolment.pending()
    fleet.enrol(tmp_path / "c", "dev-2", token=tokens[1])  # no token was spent on it
    enrolment.revoke("nobody", reason="never came", for_good=True)
    assert "decommissioned" in refusal(
        lambda: fleet.enrol(tmp_path / "d", "nobody", token=enrolment.token(group="lab", lifetime=HOUR))
    )


def test_a_token_of_a_group_is_listed_without_its_secret_and_can_be_revoked(
    fleet: Fleet, enrolment: Enrolment, tmp_path: Path
) -> None:
    used, lost, late, asked = (
        enrolment.token(group=group, lifetime=HOUR, needs_approval=group == "shop")
        for group in ("lab", "lab", "yard", "shop")
    )
    fleet.token()  # of no group: the authority's own
    fleet.enrol(tmp_path / "a", "dev-1", token=used)
    refusal(lambda: fleet.enrol(tmp_path / "b", "dev-2", token=asked))
    ids = {token: enrolment.claim_id(token) for token in (used, lost, late, asked)}
    listed = {one.id: (one.group, one.state, one.used_by) for one in enrolment.claims()}
    assert listed == {
        ids[used]: ("lab", "used", "dev-1"),
        ids[lost]: ("lab", "good", ""),
        ids[late]: ("yard", "good", ""),
        ids[asked]: ("shop", "waiting", "dev-2"),
    }
    assert not any(decode_token(token).secret in repr(enrolment.claims()) for token in ids)
    for _ in range(2):
        assert enrolment.revoke_claim(ids[lost]).state == "revoked"
    assert "an operator has revoked the token" in refusal(
        lambda: fleet.enrol(tmp_path / "c", "dev-3", token=lost)
    )
    for token, says in ((used, "dev-1 has used it"), (asked, "dev-2 waits with it")):
        with pytest.raises(ConflictError, match=says) as caught:
            enrolment.revoke_claim(ids[token])
        assert "edgewright fleet devices revoke" in caught.value.hint
    with pytest.raises(NotFoundError, match="claim 0123456789ab: there is none"):
        enrolment.revoke_claim("0123456789ab")
    with pytest.raises(InputError, match="no claim token"):
        enrolment.claim_id("nothing")
    longer = enrolment.token(group="lab", lifetime=2 * HOUR)
    assert enrolment.claims()[0].id == enrolment.claim_id(longer), "the one that expires last is in front"
    fleet.shift_seconds = 4_000.0
    assert {one.id: one.state for one in enrolment.claims()}[ids[late]] == "expired"
    enrolment.refuse("dev-2", by="user ann")
    assert {one.id: one.state for one in enrolment.claims()}[ids[asked]] == "refused"


def test_wrong_input_is_told(enrolment: Enrolment) -> None:
    for act, says in (
        (lambda: enrolment.token(group="a/b", lifetime=HOUR), "group: expected 1 to 64"),
        (lambda: enrolment.token(group="a", lifetime=HOUR, device="x/y"), "device id: expected"),
        (lambda: enrolment.move("dev-9", "lab"), "has no certificate"),
        (lambda: enrolment.refuse("dev-9", by="ann"), "does not ask"),
    ):
        with pytest.raises(InputError, match=says):
            act()


def test_a_register_of_version_1_is_brought_up_to_date(fleet: Fleet, tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    tables = register._TABLES.replace(
        ",\n    member_group TEXT NOT NULL DEFAULT '',\n    needs_approval INTEGER NOT NULL DEFAULT 0"
        ",\n    revoked_seconds REAL            -- NULL: it was not",
        "",
    )
    assert "member_group" not in tables
    assert "revoked_seconds REAL  " not in tables
    with closing(sqlite3.connect(path)) as old:
        old.executescript(
            f"{tables} PRAGMA user_version = 1; INSERT INTO claim VALUES ('sha256:x', 'dev-1', 9.0, NULL);"
        )
    with register.Register(path).transaction() as book:
        (claim,) = book.claims()
        assert (claim.device, claim.group, claim.needs_approval, claim.revoked_seconds) == (
            "dev-1",
            "",
            False,
            None,
        )
        assert book.requests() == []
        book.set_group("dev-1", "lab", now_seconds=1.0)
    with register.Register(path).transaction() as book:
        assert book.group_of("dev-1") == "lab"
        assert book.group_of("dev-2") is None
        book.bar("dev-2", now_seconds=2.0, reason="")
        assert (book.is_barred("dev-1"), book.is_barred("dev-2")) == (False, True)
