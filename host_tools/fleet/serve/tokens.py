"""Tokens, for admins; a secret is told once, when its token is made."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response

from device_agent.contract.telemetry.message import Scalar
from host_tools.fleet.records.access import ApiToken
from host_tools.fleet.serve.admission import caller_of
from host_tools.fleet.serve.answers.access import MadeToken, Me, TokenAnswer
from host_tools.fleet.serve.answers.answer import Page, page_of
from host_tools.fleet.serve.asked import AfterName, InToken, Limit, TokenAsked
from host_tools.fleet.serve.context import Fleet, require_room
from host_tools.fleet.serve.roles import ROOT
from host_tools.fleet.store.fleet_store import FleetStore

_DAY_SECONDS = 86_400.0


def add_token_endpoints(app: FastAPI, fleet: Fleet) -> None:
    """Add the endpoints."""

    @app.get(f"{ROOT}/me", response_model=Me)
    def who_asks(request: Request) -> Me:
        caller = caller_of(request)
        return Me(token=caller.token, name=caller.name, role=caller.role)

    @app.get(f"{ROOT}/tokens", response_model=Page[TokenAnswer])
    def list_tokens(after: AfterName = "", limit: Limit = 100) -> object:
        with fleet.store.reading() as book:
            found = book.tokens.page(after=after, limit=limit + 1)
        return page_of(TokenAnswer, found, limit=limit, key="id")

    @app.post(f"{ROOT}/tokens", response_model=MadeToken, status_code=201)
    def add_token(request: Request, asked: TokenAsked) -> MadeToken:
        with fleet.store.reading() as book:
            require_room(book.tokens.standing(book.now_seconds), fleet.limits.tokens, "tokens")
        token, secret = make_token(fleet.store, asked, actor=caller_of(request).actor)
        return MadeToken(token=TokenAnswer.model_validate(token), secret=secret)

    @app.delete(f"{ROOT}/tokens/{{token}}", response_class=Response, status_code=204)
    def revoke_token(request: Request, token: InToken) -> Response:
        with fleet.store.writing() as book:
            found = book.tokens.get(token)
            book.tokens.revoke(token, now_seconds=book.now_seconds)
            details = {"name": found.name, "role": found.role}
            book.note(caller_of(request).actor, "token.revoke", f"token/{token}", details)
        return Response(status_code=204)


def make_token(store: FleetStore, asked: TokenAsked, *, actor: str) -> tuple[ApiToken, str]:
    """Make a token and return it with its secret."""
    with store.writing() as book:
        token, secret = book.tokens.make(
            name=asked.name,
            role=asked.role,
            created_by=actor,
            now_seconds=book.now_seconds,
            lifetime_seconds=asked.lifetime_days * _DAY_SECONDS,
        )
        details: dict[str, Scalar] = {
            "name": token.name,
            "role": token.role,
            "expires_seconds": token.expires_seconds,
        }
        book.note(actor, "token.add", f"token/{token.id}", details)
    return token, secret
