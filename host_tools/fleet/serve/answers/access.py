"""What is told of tokens and of what was done."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator

from host_tools.fleet.records.access import ClaimState, Role
from host_tools.fleet.serve.answers.answer import Answer, as_dict


class AuditAnswer(Answer):
    """An entry of the audit; see `records.access.AuditEntry`."""

    number: int
    seconds: float
    actor: str
    action: str
    subject: str
    details: Annotated[dict[str, str | int | float | bool | None], BeforeValidator(as_dict)]
    previous: str
    digest: str


class AuditCheck(Answer):
    """Whether the audit's chain is whole, and its newest entry: note its digest elsewhere, to see later that none was cut off."""

    whole: bool
    broken: str
    entries: int
    newest_digest: str


class TokenAnswer(Answer):
    """A token without its secret."""

    id: str
    name: str
    role: Role
    created_by: str
    created_seconds: float
    expires_seconds: float
    revoked_seconds: float | None


class MadeToken(Answer):
    """A new token; ``secret`` is told this once and kept nowhere."""

    token: TokenAnswer
    secret: str


class MadeClaim(Answer):
    """A new claim token; it is told this once and kept nowhere. ``id`` names it in lists."""

    claim: str
    id: str


class ClaimAnswer(Answer):
    """A claim token without its secret; see `records.access.IssuedClaim`."""

    id: str
    group: str
    device: str
    needs_approval: bool
    expires_seconds: float
    state: ClaimState
    used_by: str


class MadeDdiToken(Answer):
    """A new token of a device or a group; it is told this once and kept nowhere."""

    secret: str


class Me(Answer):
    """Who asks."""

    token: str
    name: str
    role: Role
