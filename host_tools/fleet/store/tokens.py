"""Tokens of the REST interface. What is kept is a digest: whoever reads the store cannot use one."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy import func, insert, select, update

from device_agent.contract.digest import digest_of
from host_tools.errors import NotFoundError
from host_tools.fleet.records.access import ApiToken
from host_tools.fleet.store.tables import API_TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Row

    from host_tools.fleet.records.access import Role

_SECRET_BYTES: Final = 32
_BATCH: Final = 1_000
PREFIX: Final = "ewf_"
"""So that a scanner for secrets finds one where it should not be."""


class Tokens:
    """The table within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def make(
        self, *, name: str, role: Role, created_by: str, now_seconds: float, lifetime_seconds: float
    ) -> tuple[ApiToken, str]:
        """Make a token and return it with its secret, which is told this once and kept nowhere."""
        secret = PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
        token = ApiToken(
            id=secrets.token_hex(6),
            name=name,
            role=role,
            created_by=created_by,
            created_seconds=now_seconds,
            expires_seconds=now_seconds + lifetime_seconds,
        )
        self._connection.execute(
            insert(API_TOKEN).values(
                id=token.id,
                name=name,
                role=role,
                digest=digest_of(secret.encode()),
                created_by=created_by,
                created_seconds=token.created_seconds,
                expires_seconds=token.expires_seconds,
            )
        )
        return token, secret

    def of_secret(self, secret: str) -> ApiToken | None:
        """Return the token with this secret, standing or not; None where there is none."""
        digest = digest_of(secret.encode("utf-8", "surrogateescape"))
        row = self._connection.execute(select(API_TOKEN).where(API_TOKEN.c.digest == digest)).one_or_none()
        return None if row is None else _token(row)

    def get(self, token: str) -> ApiToken:
        """Return the token with this id.

        Raises:
            NotFoundError: There is none.
        """
        row = self._connection.execute(select(API_TOKEN).where(API_TOKEN.c.id == token)).one_or_none()
        if row is None:
            raise NotFoundError(f"token {token}: there is none with that id.")
        return _token(row)

    def page(self, *, after: str = "", limit: int) -> tuple[ApiToken, ...]:
        """Return the next tokens in the order of their ids."""
        asked = select(API_TOKEN).where(API_TOKEN.c.id > after).order_by(API_TOKEN.c.id).limit(limit)
        return tuple(_token(row) for row in self._connection.execute(asked))

    def all(self) -> Iterator[ApiToken]:
        """Give every token that ever was, in the order of their ids."""
        after = ""
        while tokens := self.page(after=after, limit=_BATCH):
            yield from tokens
            after = tokens[-1].id

    def revoke(self, token: str, *, now_seconds: float) -> None:
        """Revoke a token; one that is revoked already keeps its first date."""
        self._connection.execute(
            update(API_TOKEN)
            .where(API_TOKEN.c.id == token, API_TOKEN.c.revoked_seconds.is_(None))
            .values(revoked_seconds=now_seconds)
        )

    def standing(self, now_seconds: float) -> int:
        """Return how many are good now."""
        asked = (
            select(func.count())
            .select_from(API_TOKEN)
            .where(API_TOKEN.c.revoked_seconds.is_(None), API_TOKEN.c.expires_seconds > now_seconds)
        )
        return int(self._connection.execute(asked).scalar_one())


def _token(row: Row[Any]) -> ApiToken:
    return ApiToken(
        id=row.id,
        name=row.name,
        role=cast("Role", row.role),
        created_by=row.created_by,
        created_seconds=row.created_seconds,
        expires_seconds=row.expires_seconds,
        revoked_seconds=row.revoked_seconds,
    )
