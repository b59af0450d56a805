"""Target and gateway tokens: made for one device or one group, told once, kept as a digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host_tools.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from host_tools.fleet.store.ddi import DdiTokenKind
    from host_tools.fleet.store.fleet_store import FleetBook

_SUBJECTS = {"target": "device", "gateway": "group"}


def make_ddi_token(book: FleetBook, kind: DdiTokenKind, subject: str, *, actor: str) -> str:
    """Make a token in place of the one before, and return its secret.

    Raises:
        NotFoundError: There is no such device or group.
        ConflictError: The device takes no part any more.
    """
    if kind == "target":
        device = book.devices.get(subject)
        if device.state in ("revoked", "decommissioned"):
            raise ConflictError(f"device {device.id}: it is {device.state}.")
    else:
        book.groups.get(subject)
    secret = book.ddi_tokens.make(kind, subject, created_by=actor, now_seconds=book.now_seconds)
    book.note(actor, f"{kind}_token.make", f"{_SUBJECTS[kind]}/{subject}")
    return secret


def remove_ddi_token(book: FleetBook, kind: DdiTokenKind, subject: str, *, actor: str) -> None:
    """Take a token back.

    Raises:
        NotFoundError: There is none.
    """
    if not book.ddi_tokens.remove(kind, subject):
        raise NotFoundError(f"{_SUBJECTS[kind]} {subject}: it has no {kind} token.")
    book.note(actor, f"{kind}_token.revoke", f"{_SUBJECTS[kind]}/{subject}")
