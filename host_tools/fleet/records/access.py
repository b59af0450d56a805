"""Who gets in, and what was done: tokens of the interface, claim tokens of devices, the audit."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_agent.contract.telemetry.message import Scalar

ClaimState = Literal["good", "waiting", "used", "refused", "expired", "revoked"]
"""Of a claim token: `waiting`: a device has shown it and waits for approval; `refused`: that device was kept out."""
Role = Literal["viewer", "operator", "approver", "admin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiToken:
    """Who may use the REST interface; its secret is kept nowhere.

    Attributes:
        id: Names it in lists and in the audit.
        name: Of the person or program that has it.
        role: What it may do; each role may do all that the ones before it may.
        created_by: Who made it.
        created_seconds: Unix time.
        expires_seconds: Unix time from which it is no longer good.
        revoked_seconds: Unix time at which it was revoked; None: it was not.
    """

    id: str
    name: str
    role: Role
    created_by: str
    created_seconds: float
    expires_seconds: float
    revoked_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedClaim:
    """A claim token of a group, without its secret: that is kept nowhere.

    Attributes:
        id: Names it in lists and in the audit; who has the token can tell it, and nobody the token from it.
        group: The group that it brings a device into.
        device: The only device that may use it; empty: any.
        needs_approval: Whether somebody has to say yes when it is used.
        expires_seconds: Unix time from which it is no longer good.
        state: Where it is.
        used_by: The device that used it, or waits with it; empty: none.
    """

    id: str
    group: str
    device: str
    needs_approval: bool
    expires_seconds: float
    state: ClaimState
    used_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One thing that somebody did; entries are only ever added, and each has the digest of the one before.

    Attributes:
        number: From 1, without a gap.
        seconds: Unix time.
        actor: ``user NAME``, ``device ID`` or ``server``.
        action: ``rollout.approve``, ``device.revoke``, …
        subject: What it was done to, e.g. ``rollout/r1``.
        details: Figures.
        previous: Digest of the entry before; empty for the first.
        digest: Of this entry, `previous` in it.
    """

    number: int
    seconds: float
    actor: str
    action: str
    subject: str
    details: Mapping[str, Scalar] = field(hash=False)
    previous: str
    digest: str

    def __post_init__(self) -> None:
        """Make the mapping read-only."""
        object.__setattr__(self, "details", MappingProxyType(dict(self.details)))
