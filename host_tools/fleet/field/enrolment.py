"""`Enrolment`: how devices come into a fleet, and out of it: tokens of groups, approval, revocation. The authority keeps all of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from device_agent.contract.claim_token import claim_digest, decode_token
from device_agent.contract.errors import ContractError
from host_tools.errors import ConflictError, InputError, NotFoundError
from host_tools.fleet.records.access import IssuedClaim

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from host_tools.authority.folder import AuthorityFolder
    from host_tools.authority.register import Book, Claim, Entry, Request, RequestState
    from host_tools.fleet.records.access import ClaimState
    from host_tools.fleet.records.devices import DeviceState

_ID_DIGITS: Final = 12
_GROUP: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A device that has, or asks for, a certificate.

    Attributes:
        device: Its id.
        group: The group that it came into, or was moved to; empty: none.
        state: `pending`, `enrolled` or `revoked`.
        not_after_seconds: Unix time at which its newest certificate ends; None: it has none.
        reason: Why it was revoked.
    """

    device: str
    group: str
    state: DeviceState
    not_after_seconds: float | None = None
    reason: str = ""


class Enrolment:
    """Operators' side of enrolment; the devices' side is `host_tools.authority.service`.

    Args:
        folder: The authority.
        url: Where devices find it.

    Raises:
        OutputError: From all: the register cannot be read or written.
    """

    def __init__(self, folder: AuthorityFolder, *, url: str) -> None:
        self._folder = folder
        self._url = url

    def token(
        self, *, group: str, lifetime: timedelta, device: str = "", needs_approval: bool = False
    ) -> str:
        """Make a claim token that brings one device into a group, once; it is kept nowhere.

        Args:
            group: The group.
            lifetime: Until it is used.
            device: The only device that may use it; empty: any that has no certificate yet.
            needs_approval: Somebody has to say yes when it is used.

        Raises:
            InputError: Group, device id or address are none.
        """
        return self._folder.token(
            url=self._url,
            device=device,
            lifetime=lifetime,
            group=_checked(group),
            needs_approval=needs_approval,
        )

    def claim_id(self, token: str) -> str:
        """Return the id under which a claim token is listed; who has only the id cannot make the token of it.

        Raises:
            InputError: It is none.
        """
        try:
            return _id_of(claim_digest(decode_token(token).secret))
        except ContractError as error:
            raise InputError(f"no claim token: {error}") from error

    def claims(self) -> tuple[IssuedClaim, ...]:
        """Return the claim tokens of groups, the one that expires last in front: with one lifetime, the newest."""
        with self._folder.register.transaction() as book:
            return self._issued(book)

    def revoke_claim(self, claim: str) -> IssuedClaim:
        """Let a claim token be good no more. Once it is revoked that changes nothing.

        Raises:
            NotFoundError: There is none with this id.
            ConflictError: A device has used it, or waits with it.
        """
        with self._folder.register.transaction() as book:
            found = next((one for one in self._issued(book) if one.id == claim), None)
            if found is None:
                raise NotFoundError(f"claim {claim}: there is none with that id.")
            if found.state in ("used", "waiting"):
                did = "has used it" if found.state == "used" else "waits with it"
                raise ConflictError(
                    f"claim {claim}: {found.used_by} {did}.",
                    hint=f"Keep that device out instead: edgewright fleet devices revoke {found.used_by}.",
                )
            for one in book.claims():
                if _id_of(one.digest) == claim:
                    book.revoke_claim(one, now_seconds=self._folder.wall_seconds())
        return replace(found, state="revoked")

    def pending(self) -> list[Request]:
        """Return the requests that wait for approval, the oldest first."""
        with self._folder.register.transaction() as book:
            return [one for one in book.requests() if one.state == "pending"]

    def approve(self, device: str, *, by: str) -> None:
        """Let a device in that asks; it gets its certificate when it asks again. Once it is let in that changes nothing.

        Raises:
            InputError: It never asked, or was refused.
        """
        self._decide(device, "approved", by)

    def refuse(self, device: str, *, by: str) -> None:
        """Keep a device out that asks; its token is spent. Once it is kept out that changes nothing.

        Raises:
            InputError: It never asked, or was let in.
        """
        self._decide(device, "refused", by)

    def revoke(self, device: str, *, reason: str, for_good: bool = False) -> None:
        """Revoke what a device has, and refuse what it asks for; where nothing stands that changes nothing.

        Brokers know once they have the new list.

        Args:
            device: Its id.
            reason: Kept with its certificates.
            for_good: It gets no certificate any more, whatever token it shows.
        """
        now = self._folder.wall_seconds()
        with self._folder.register.transaction() as book:
            if for_good:
                book.bar(device, now_seconds=now, reason=reason)
            for request in _of(book, device):
                if request.state != "refused":
                    book.decide(request, "refused", by=reason, now_seconds=now)
            for entry in book.certificates(device):
                if entry.revoked_seconds is None:
                    book.revoke(entry.serial, now_seconds=now, reason=reason)

    def move(self, device: str, group: str) -> None:
        """Put a device into another group. It follows that group once its own configuration names it, or it was told.

        Raises:
            InputError: There is no such device, or the group is none.
        """
        checked, now = _checked(group), self._folder.wall_seconds()
        with self._folder.register.transaction() as book:
            if not book.certificates(device):
                raise InputError(f"device {device!r}: has no certificate.", hint="Enrol it first.")
            book.set_group(device, checked, now_seconds=now)

    def members(self) -> tuple[Member, ...]:
        """Return every device, by id."""
        with self._folder.register.transaction() as book:
            entries: dict[str, list[Entry]] = {}
            for entry in book.certificates():
                if entry.use == "device":
                    entries.setdefault(entry.name, []).append(entry)
            members = {
                device: _member(device, book.group_of(device) or "", held) for device, held in entries.items()
            }
            for request in book.requests():
                if request.state == "pending" and _is_out(members.get(request.device)):
                    members[request.device] = Member(
                        device=request.device, group=request.group, state="pending"
                    )
        return tuple(members[device] for device in sorted(members))

    def _issued(self, book: Book) -> tuple[IssuedClaim, ...]:
        asked = {one.claim: one for one in book.requests()}
        bought = {one.serial: one.name for one in book.certificates()}
        now = self._folder.wall_seconds()
        issued = [
            _issued(one, asked.get(one.digest), bought.get(one.spent_serial, ""), now)
            for one in book.claims()
            if one.group
        ]
        return tuple(sorted(issued, key=lambda one: (-one.expires_seconds, one.id)))

    def _decide(self, device: str, state: RequestState, by: str) -> None:
        now = self._folder.wall_seconds()
        with self._folder.register.transaction() as book:
            asked = _of(book, device)
            if not any(one.state in ("pending", state) for one in asked):
                raise InputError(f"device {device!r}: does not ask to be let in.")
            for request in asked:
                if request.state == "pending":
                    book.decide(request, state, by=by, now_seconds=now)


def _issued(claim: Claim, request: Request | None, bought_by: str, now: float) -> IssuedClaim:
    state: ClaimState = "expired" if claim.expires_seconds < now else "good"
    if request is not None:
        state = "refused" if request.state == "refused" else "waiting"
    if claim.spent_serial:
        state = "used"
    elif claim.revoked_seconds is not None:
        state = "revoked"
    return IssuedClaim(
        id=_id_of(claim.digest),
        group=claim.group,
        device=claim.device,
        needs_approval=claim.needs_approval,
        expires_seconds=claim.expires_seconds,
        state=state,
        used_by=bought_by or ("" if request is None else request.device),
    )


def _id_of(digest: str) -> str:
    return digest.partition(":")[2][:_ID_DIGITS]


def _of(book: Book, device: str) -> list[Request]:
    return [one for one in book.requests() if one.device == device]


def _member(device: str, group: str, held: Sequence[Entry]) -> Member:
    newest = held[-1]
    stands = any(one.revoked_seconds is None for one in held)
    return Member(
        device=device,
        group=group,
        state="enrolled" if stands else "revoked",
        not_after_seconds=max(one.not_after_seconds for one in held),
        reason="" if stands else newest.reason,
    )


def _is_out(member: Member | None) -> bool:
    return member is None or member.state == "revoked"


def _checked(group: str) -> str:
    if _GROUP.fullmatch(group) is None:
        raise InputError(f"group: expected 1 to 64 letters, digits, '_' and '-', got {group[:80]!a}.")
    return group
