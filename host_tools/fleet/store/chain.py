"""The audit's chain: each entry's digest covers the digest of the one before, so that nothing can be changed, removed or put between unseen.

What a chain alone cannot show is that its newest entries were cut off: compare a digest that was noted elsewhere (`audit verify --expect`).
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from device_agent.contract.digest import digest_of
from host_tools.fleet.records.access import AuditEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from device_agent.contract.telemetry.message import Scalar


def details_text(details: Mapping[str, Scalar]) -> str:
    """Return an entry's details as they are digested and kept."""
    return json.dumps(
        dict(details), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


def entry_digest(entry: AuditEntry) -> str:
    """Return the digest that an entry has to have, from everything else in it."""
    covered = [
        entry.number,
        entry.seconds,
        entry.actor,
        entry.action,
        entry.subject,
        details_text(entry.details),
        entry.previous,
    ]
    return digest_of(json.dumps(covered, separators=(",", ":"), ensure_ascii=True).encode())


def next_entry(
    last: AuditEntry | None,
    *,
    seconds: float,
    actor: str,
    action: str,
    subject: str,
    details: Mapping[str, Scalar],
) -> AuditEntry:
    """Return the entry that follows ``last``; None: the first."""
    entry = AuditEntry(
        number=1 if last is None else last.number + 1,
        seconds=seconds,
        actor=actor,
        action=action,
        subject=subject,
        details=details,
        previous="" if last is None else last.digest,
        digest="",
    )
    return replace(entry, digest=entry_digest(entry))


def first_break(entries: Iterable[AuditEntry]) -> str:
    """Return where a chain is broken and how, as one sentence; empty: it is whole.

    Args:
        entries: All of them, from the first.
    """
    number, previous = 0, ""
    for entry in entries:
        if entry.number != number + 1:
            return f"after entry {number} comes entry {entry.number}"
        if entry.previous != previous:
            return f"entry {entry.number} does not follow the entry before it"
        if entry.digest != entry_digest(entry):
            return f"entry {entry.number} was changed"
        number, previous = entry.number, entry.digest
    return ""
