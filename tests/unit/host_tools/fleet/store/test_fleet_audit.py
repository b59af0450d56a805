"""The audit: entries are only ever added, and nothing can be changed, removed or put between unseen."""

from __future__ import annotations

import dataclasses
import io
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from host_tools.errors import InputError, StoreError
from host_tools.fleet.store.audit_file import audit_lines, read_audit_lines
from host_tools.fleet.store.chain import first_break, next_entry

if TYPE_CHECKING:
    from host_tools.fleet.records.access import AuditEntry
    from tests.unit.host_tools.fleet.fleet_of_tests import FleetOfTests

WORDS = st.text(max_size=20)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS
)


@st.composite
def chains(draw: st.DrawFn) -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    for _ in range(draw(st.integers(1, 6))):
        entries.append(
            next_entry(
                entries[-1] if entries else None,
                seconds=draw(st.floats(0, 4e9).map(lambda at: round(at, 3))),
                actor=draw(WORDS),
                action=draw(WORDS),
                subject=draw(WORDS),
                details=draw(st.dictionaries(WORDS, SCALARS, max_size=3)),
            )
        )
    return entries


@given(entries=chains())
def test_a_chain_is_whole_and_comes_back_from_its_lines(entries: list[AuditEntry]) -> None:
    assert first_break(entries) == ""
    lines = b"".join(audit_lines(entries))
    read = list(read_audit_lines(io.BytesIO(lines), where="file"))
    assert [one.digest for one in read] == [one.digest for one in entries]
    assert first_break(read) == ""


@given(entries=chains(), data=st.data())
def test_whatever_is_done_to_a_chain_is_seen(entries: list[AuditEntry], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(entries) - 1))
    one = entries[place]
    name, value = data.draw(
        st.sampled_from(
            [
                ("actor", one.actor + "x"),
                ("action", one.action + "x"),
                ("subject", one.subject + "x"),
                ("seconds", one.seconds + 1),
                ("number", one.number + 1),
                ("previous", "sha256:" + "0" * 64),
                ("digest", "sha256:" + "0" * 64),
                ("details", {**one.details, "new": 1, "old": 2, "third": 3, "fourth": 4}),
            ]
        )
    )
    changed = [*entries[:place], dataclasses.replace(one, **{name: value}), *entries[place + 1 :]]
    assert first_break(changed)
    if place < len(entries) - 1:
        assert first_break([*entries[:place], *entries[place + 1 :]])
        swapped = [*entries[:place], entries[place + 1], one, *entries[place + 2 :]]
        assert first_break(swapped)


def test_the_database_refuses_to_change_or_remove_an_entry(either: FleetOfTests) -> None:
    with either.store.writing() as book:
        book.note("user x", "test.one", "a", {"n": 1})
        book.note("user x", "test.two", "b")
    statements = [
        "UPDATE audit SET actor = 'user y'",
        "DELETE FROM audit",
        "DELETE FROM audit WHERE number = 2",
    ]
    if either.store.dialect == "postgresql":
        statements.append("TRUNCATE audit")
    for statement in statements:
        with pytest.raises(StoreError, match="only ever added"), either.store.writing() as book:
            book.audit._connection.execute(text(statement))
    assert either.audited() == ["test.one", "test.two"]


def test_an_entry_that_was_changed_around_the_database_is_seen(either: FleetOfTests) -> None:
    with either.store.writing() as book:
        for number in range(5):
            book.note("user x", "test.one", "a", {"n": number})
    with either.store.writing() as book:
        connection = book.audit._connection
        if either.store.dialect == "postgresql":
            connection.execute(text("ALTER TABLE audit DISABLE TRIGGER USER"))
        else:
            connection.execute(text("DROP TRIGGER audit_update"))
        connection.execute(text("UPDATE audit SET details = :d WHERE number = 3"), {"d": '{"n":9}'})
    checked = either.done("GET", "/audit/check", role="viewer")
    assert (checked["whole"], checked["broken"], checked["entries"]) == (False, "entry 3 was changed", 5)


def test_numbers_have_no_gap_however_many_write(either: FleetOfTests) -> None:
    def write(number: int) -> None:
        with either.store.writing() as book:
            book.note(f"user {number}", "test.one", "a")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    with either.store.reading() as book:
        assert [entry.number for entry in book.audit.all()] == list(range(1, 41))
        assert book.audit.broken() == ""
        assert [change.number for change in book.changes.after(0, limit=100)] == list(range(1, 41))


def test_it_is_read_in_pages_by_actor_action_and_subject_and_exported_whole(fleet: FleetOfTests) -> None:
    fleet.done("POST", "/groups", {"name": "lab"}, role="operator")
    fleet.done("POST", "/groups", {"name": "shop"})
    fleet.done("PATCH", "/groups/shop", {"note": "downtown"})
    every = fleet.done("GET", "/audit?limit=2")
    assert every["next"] == "2"
    rest = fleet.done("GET", "/audit?after=2")
    assert [one["action"] for one in (*every["items"], *rest["items"])] == [
        "group.add",
        "group.add",
        "group.edit",
    ]
    for query, count in (
        ("actor=user operator-1", 1),
        ("action=group.add", 2),
        ("action=group.", 3),
        ("action=group", 0),
        ("subject=group/shop", 2),
    ):
        assert len(fleet.done("GET", f"/audit?{query}")["items"]) == count, query
    exported = fleet.ask("GET", "/audit.jsonl")
    entries = list(read_audit_lines(io.BytesIO(exported.content), where="export"))
    assert first_break(entries) == ""
    checked = fleet.done("GET", "/audit/check")
    assert (checked["whole"], checked["newest_digest"]) == (True, entries[-1].digest)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"no", "line 1: not JSON"),
        (b"[" * 100_000, "line 1: not JSON"),
        (b"{}", "line 1: expected number, seconds"),
        (
            b'{"number":"1","seconds":1.0,"actor":"","action":"","subject":"","details":{},"previous":"","digest":""}',
            "line 1: number: expected int, got str",
        ),
    ],
)
def test_a_line_that_is_no_entry_is_named(line: bytes, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        list(read_audit_lines([line], where="file"))
