"""Claim tokens: each lets one device have one certificate, once. `field.enrolment` makes them; they are told once and kept nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

from fastapi import FastAPI, Query, Request

from device_agent.contract.telemetry.message import Scalar
from host_tools.errors import ConflictError, NotFoundError
from host_tools.fleet.outside import Enrolment
from host_tools.fleet.records.access import ClaimState, IssuedClaim
from host_tools.fleet.serve import patterns
from host_tools.fleet.serve.admission import caller_of
from host_tools.fleet.serve.answers.access import ClaimAnswer, MadeClaim
from host_tools.fleet.serve.answers.answer import Page, page_of
from host_tools.fleet.serve.asked import AfterName, ClaimAsked, InClaim, Limit
from host_tools.fleet.serve.context import Fleet, require_room
from host_tools.fleet.serve.roles import ROOT
from host_tools.fleet.store.devices import DeviceFilter

_Group = Annotated[str | None, Query(pattern=patterns.NAME)]


def add_claim_endpoints(app: FastAPI, fleet: Fleet) -> None:
    """Add the endpoints."""

    @app.get(f"{ROOT}/claims", response_model=Page[ClaimAnswer])
    def list_claims(
        group: _Group = None, state: ClaimState | None = None, after: AfterName = "", limit: Limit = 100
    ) -> object:
        claims = _enrolment(fleet).claims()
        found = [
            one
            for one in claims[_place_after(claims, after) :]
            if group in (None, one.group) and state in (None, one.state)
        ]
        return page_of(ClaimAnswer, found[: limit + 1], limit=limit, key="id")

    @app.post(f"{ROOT}/claims", response_model=MadeClaim, status_code=201)
    def make_claim(request: Request, asked: ClaimAsked) -> MadeClaim:
        enrolment = _enrolment(fleet)
        with fleet.store.reading() as book:
            book.groups.get_home(asked.group)
            known = book.devices.find(asked.device) if asked.device else None
            if known is not None and known.home != asked.group:
                raise ConflictError(
                    f"claim: device {known.id} is in group {known.home}, got {asked.group}.",
                    hint=f"Make the token for {known.home}, or move the device first: `edgewright fleet devices edit --group`.",
                )
            if known is not None and known.state == "decommissioned":
                raise ConflictError(
                    f"claim: device {known.id} is decommissioned, and can never enrol again.",
                    hint="Give what is in its place another id.",
                )
            if known is None:
                require_room(book.devices.count(DeviceFilter()), fleet.limits.devices, "devices")
        text = enrolment.token(
            group=asked.group,
            lifetime=timedelta(seconds=asked.lifetime_seconds),
            device=asked.device,
            needs_approval=asked.needs_approval,
        )
        made = MadeClaim(claim=text, id=enrolment.claim_id(text))
        details: dict[str, Scalar] = {
            "claim": made.id,
            "group": asked.group,
            "device": asked.device,
            "needs_approval": asked.needs_approval,
        }
        with fleet.store.writing() as book:
            book.note(caller_of(request).actor, "claim.make", f"group/{asked.group}", details)
        return made

    @app.delete(f"{ROOT}/claims/{{claim}}", response_model=ClaimAnswer)
    def revoke_claim(request: Request, claim: InClaim) -> object:
        revoked = _enrolment(fleet).revoke_claim(claim)
        with fleet.store.writing() as book:
            book.note(
                caller_of(request).actor, "claim.revoke", f"group/{revoked.group}", {"claim": revoked.id}
            )
        return revoked


def _place_after(claims: Sequence[IssuedClaim], after: str) -> int:
    """Return where a page begins: behind the claim that ended the one before. None is ever removed, so that it is there."""
    if not after:
        return 0
    for place, one in enumerate(claims):
        if one.id == after:
            return place + 1
    raise NotFoundError(f"after: expected `next` of the page before, there is no claim {after}.")


def _enrolment(fleet: Fleet) -> Enrolment:
    if fleet.service.enrolment is None:
        raise ConflictError(
            "claims: this server has no authority.",
            hint="Start it with --authority, a folder of `edgewright ca init`.",
        )
    return fleet.service.enrolment
