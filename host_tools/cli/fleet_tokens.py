"""What `edgewright fleet token` does, where the database is."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from dataclasses import asdict
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from host_tools.cli.fleet_asking import name_of
from host_tools.cli.printing import print_list
from host_tools.errors import InputError, OutputError
from host_tools.fleet.serve.asked import TokenAsked
from host_tools.fleet.serve.patterns import expected_by
from host_tools.fleet.serve.tokens import make_token
from host_tools.fleet.store.opening import open_store

if TYPE_CHECKING:
    import argparse

    from host_tools.fleet.records.access import ApiToken


def token_create(options: argparse.Namespace) -> int:
    """Make a token; it alone goes to standard output."""
    from pydantic import ValidationError  # noqa: PLC0415 - beside the types that it checks

    try:
        asked = TokenAsked(name=options.name, role=options.role, lifetime_days=options.days)
    except ValidationError as error:
        first = error.errors()[0]
        option = {"lifetime_days": "days"}.get(str(first["loc"][0]), first["loc"][0])
        expected = expected_by(first) or first["msg"].removeprefix("Input should be ")
        raise InputError(f"--{option}: expected {expected}, got {first['input']!a}.") from None
    with closing(open_store(options.database)) as store:
        token, secret = make_token(store, asked, actor="command line")
    print(secret)
    print(
        f"token {token.id} of {token.name}, {token.role}, good until {_moment(token.expires_seconds)}",
        file=sys.stderr,
    )
    return 0


def token_list(options: argparse.Namespace) -> int:
    """Show tokens."""
    with closing(open_store(options.database, must_exist=True)) as store, store.reading() as book:
        tokens, now = sorted(book.tokens.all(), key=lambda one: one.created_seconds), book.now_seconds
    if options.json:
        print(json.dumps([asdict(token) for token in tokens], indent=1))
        return 0
    rows = [(one.id, one.name, one.role, _moment(one.expires_seconds), _state_of(one, now)) for one in tokens]
    print_list(("id", "name", "role", "good until", "state"), rows)
    return 0


def _state_of(token: ApiToken, now_seconds: float) -> str:
    if token.revoked_seconds is not None:
        return "revoked"
    return "expired" if token.expires_seconds <= now_seconds else "good"


def token_revoke(options: argparse.Namespace) -> int:
    """End a token."""
    wanted = name_of(options.id)
    with closing(open_store(options.database, must_exist=True)) as store, store.writing() as book:
        token = book.tokens.get(wanted)
        book.tokens.revoke(token.id, now_seconds=book.now_seconds)
        book.note(
            "command line", "token.revoke", f"token/{token.id}", {"name": token.name, "role": token.role}
        )
    print(f"token {token.id} of {token.name}: revoked")
    return 0


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError) as error:
        raise OutputError(f"{seconds!r}: no time of the calendar.") from error
