"""Tokens with which devices poll over hawkBit's Direct Device Integration API; a secret is told once."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response

from host_tools.fleet.ddi.tokens import make_ddi_token, remove_ddi_token
from host_tools.fleet.serve.admission import caller_of
from host_tools.fleet.serve.answers.access import MadeDdiToken
from host_tools.fleet.serve.asked import InDevice, InGroup
from host_tools.fleet.serve.context import Fleet
from host_tools.fleet.serve.roles import ROOT


def add_ddi_token_endpoints(app: FastAPI, fleet: Fleet) -> None:
    """Add the endpoints."""

    @app.post(f"{ROOT}/devices/{{device}}/target-token", response_model=MadeDdiToken, status_code=201)
    def add_target_token(request: Request, device: InDevice) -> MadeDdiToken:
        with fleet.store.writing() as book:
            secret = make_ddi_token(book, "target", device, actor=caller_of(request).actor)
        return MadeDdiToken(secret=secret)

    @app.delete(f"{ROOT}/devices/{{device}}/target-token", response_class=Response, status_code=204)
    def revoke_target_token(request: Request, device: InDevice) -> Response:
        with fleet.store.writing() as book:
            remove_ddi_token(book, "target", device, actor=caller_of(request).actor)
        return Response(status_code=204)

    @app.post(f"{ROOT}/groups/{{group}}/gateway-token", response_model=MadeDdiToken, status_code=201)
    def add_gateway_token(request: Request, group: InGroup) -> MadeDdiToken:
        with fleet.store.writing() as book:
            secret = make_ddi_token(book, "gateway", group, actor=caller_of(request).actor)
        return MadeDdiToken(secret=secret)

    @app.delete(f"{ROOT}/groups/{{group}}/gateway-token", response_class=Response, status_code=204)
    def revoke_gateway_token(request: Request, group: InGroup) -> Response:
        with fleet.store.writing() as book:
            remove_ddi_token(book, "gateway", group, actor=caller_of(request).actor)
        return Response(status_code=204)
