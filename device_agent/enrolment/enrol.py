"""`enrol` and `renew`: the key reaches the disk before anybody is asked, and `current` moves when everything else is there."""

from __future__ import annotations

from dataclasses import dataclass
from time import time
from typing import TYPE_CHECKING, Final

from device_agent.contract import claim_token
from device_agent.contract import enrolment as wire
from device_agent.contract.errors import ContractError, TrustError
from device_agent.enrolment import keys
from device_agent.enrolment.exchange import DEADLINE_SECONDS, AuthorityServer, ClockError
from device_agent.enrolment.identity import Credentials, Identity, IdentityFolder, utc_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_CLOCK_SLACK_SECONDS: Final = 300.0
"""How far a clock may be behind the authority's: as much as certificates are dated back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """What this device is now; ``is_new`` is False where it had been enrolled before and nothing was asked."""

    identity: Identity
    is_new: bool


def read_token(text: str, *, device: str) -> claim_token.ClaimToken:
    """Read a claim token for this device.

    Raises:
        ContractError: It is none.
        TrustError: It is another device's.
    """
    token = claim_token.decode_token(text)
    if token.device not in ("", device):
        raise TrustError(
            f"the claim token is for device {token.device!r}; device.id is {device!r}.",
            hint="Ask for a token of this device, or mend device.id.",
        )
    return token


def enrol(
    path: Path,
    token: claim_token.ClaimToken,
    *,
    device: str,
    replace: bool = False,
    deadline_seconds: float = DEADLINE_SECONDS,
    wall_seconds: Callable[[], float] = time,
) -> Enrolled:
    """Get this device's certificate. Interrupted wherever it be, the same call again comes to the same end.

    Args:
        path: The identity's folder.
        token: The claim token.
        device: The device's id.
        replace: Ask even if there is a certificate already; that one stays in use until the new one is there.
        deadline_seconds: For every request.
        wall_seconds: This device's clock.

    Raises:
        EdgewrightError: As `AuthorityServer` and `IdentityFolder` say; nothing half-made is left in use.
    """
    folder = IdentityFolder(path)
    with folder.locked():
        claim = claim_token.claim_digest(token.secret)
        if _is_done(folder, device=device, claim=claim, replace=replace):
            folder.sweep()
            return Enrolled(identity=folder.required(device), is_new=False)
        server = AuthorityServer(token.url, deadline_seconds=deadline_seconds, wall_seconds=wall_seconds)
        authority = server.authority().authority
        _require_clock(keys.pinned_authority(authority, digest=token.authority), wall_seconds())
        key = _pending_key(folder)
        request = wire.EnrolRequest(
            device=device, secret=token.secret, csr=keys.signing_request(key, device=device)
        )
        issued = server.enrol(request, authority=authority)
        identity = _installed(
            folder,
            issued,
            key=key,
            authority=authority,
            source=_Source(device, token.url, token.authority, claim),
        )
        return Enrolled(identity=identity, is_new=True)


def renew(
    path: Path,
    *,
    device: str,
    deadline_seconds: float = DEADLINE_SECONDS,
    wall_seconds: Callable[[], float] = time,
) -> Identity:
    """Get the next certificate, for a new key; the old one stays in use until then.

    Args:
        path: The identity's folder.
        device: The device's id.
        deadline_seconds: For every request.
        wall_seconds: This device's clock.

    Raises:
        EdgewrightError: As `AuthorityServer` and `IdentityFolder` say; the old one stays in use.
    """
    folder = IdentityFolder(path)
    with folder.locked():
        old = folder.required(device)
        folder.sweep()  # a pending key that is certified already must not be asked for again
        held = folder.credentials()
        authority = _text(held.authority)
        keys.pinned_authority(authority, digest=old.authority)
        key = _pending_key(folder)
        csr = keys.signing_request(key, device=device)
        request = wire.RenewRequest(
            certificate=_text(held.certificate), csr=csr, signature=keys.renewal_signature(held.key, csr=csr)
        )
        server = AuthorityServer(old.url, deadline_seconds=deadline_seconds, wall_seconds=wall_seconds)
        issued = server.renew(request, authority=authority)
        return _installed(
            folder,
            issued,
            key=key,
            authority=authority,
            source=_Source(device, old.url, old.authority, old.claim),
        )


@dataclass(frozen=True, slots=True)
class _Source:
    """What an identity keeps of how it came to be."""

    device: str
    url: str
    authority: str
    claim: str


def _is_done(folder: IdentityFolder, *, device: str, claim: str, replace: bool) -> bool:
    """Return whether there is nothing to ask for: `replace` asks once with a token, however often it is run."""
    if not replace:
        if folder.current() is None:
            return False
        folder.required(device)
        return True
    try:
        found = folder.current()
    except TrustError:  # damaged: what is asked for is the cure
        return False
    return found is not None and (found.device, found.claim) == (device, claim)


def _installed(
    folder: IdentityFolder,
    issued: wire.Issued,
    *,
    key: bytes,
    authority: str,
    source: _Source,
) -> Identity:
    certified = keys.checked_certificate(
        issued.certificate, key=key, device=source.device, authority=authority
    )
    identity = Identity(
        device=source.device,
        url=source.url,
        authority=source.authority,
        claim=source.claim,
        serial=certified.serial,
        not_before_seconds=certified.not_before_seconds,
        not_after_seconds=certified.not_after_seconds,
    )
    folder.install(
        identity,
        Credentials(key=key, certificate=issued.certificate.encode(), authority=authority.encode()),
    )
    return identity


def _pending_key(folder: IdentityFolder) -> bytes:
    """Return the key of a request that was interrupted, or a new one that is on the disk before anybody hears of it."""
    key = folder.pending_key()
    if key is None or not keys.is_key(key):
        key = keys.make_key()
        folder.keep_pending_key(key)
    return key


def _require_clock(authority: keys.Certified, now_seconds: float) -> None:
    """Refuse a clock by which the authority does not exist yet, or no more, before the token is shown to anybody.

    Raises:
        ClockError: This device's clock is outside the validity of the authority's certificate.
    """
    here = utc_text(now_seconds)
    if now_seconds < authority.not_before_seconds - _CLOCK_SLACK_SECONDS:
        raise ClockError(
            f"this device's clock says {here}; the fleet's authority exists since {utc_text(authority.not_before_seconds)}.",
            hint="Set the clock (timedatectl, NTP) and run it again: the token has not been used.",
        )
    if now_seconds > authority.not_after_seconds:
        raise ClockError(
            f"this device's clock says {here}; the authority's certificate ended {utc_text(authority.not_after_seconds)}.",
            hint="If the clock is right the fleet needs a new authority; otherwise set it. The token has not been used.",
        )


def _text(pem: bytes) -> str:
    try:
        return pem.decode("ascii")
    except UnicodeDecodeError as error:
        raise ContractError("the identity's files are not PEM.") from error
