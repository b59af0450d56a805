"""Claim tokens: each lets one device have one certificate, once. `field.enrolment` makes them; they are told once and kept nowhere."""

from __future__ import annotations

from datetime import timedelta

from fastapi import FastAPI, Request

from device_agent.contract.telemetry import Scalar
from host_tools.errors import ConflictError
from host_tools.fleet.serve.admission import caller_of
from host_tools.fleet.serve.answers import MadeClaim
from host_tools.fleet.serve.asked import ClaimAsked
from host_tools.fleet.serve.context import Fleet
from host_tools.fleet.serve.roles import ROOT


def add_claim_endpoints(app: FastAPI, fleet: Fleet) -> None:
    """Add the endpoint."""

    @app.post(f"{ROOT}/claims", response_model=MadeClaim, status_code=201)
    def make_claim(request: Request, asked: ClaimAsked) -> MadeClaim:
        enrolment = fleet.service.enrolment
        if enrolment is None:
            raise ConflictError(
                "claims: this server has no authority.",
                hint="Start it with --authority, a folder of `edgewright ca init`.",
            )
        with fleet.store.reading() as book:
            book.groups.get(asked.group)
        text = enrolment.token(
            group=asked.group,
            lifetime=timedelta(seconds=asked.lifetime_seconds),
            device=asked.device,
            needs_approval=asked.needs_approval,
        )
        details: dict[str, Scalar] = {
            "group": asked.group,
            "device": asked.device,
            "needs_approval": asked.needs_approval,
        }
        with fleet.store.writing() as book:
            book.note(caller_of(request).actor, "claim.make", f"group/{asked.group}", details)
        return MadeClaim(claim=text)
