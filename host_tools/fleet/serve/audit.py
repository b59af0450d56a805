"""The audit: pages of it, all of it as JSON lines, and whether its chain is whole."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query
from fastapi.responses import StreamingResponse

from host_tools.fleet.serve import patterns
from host_tools.fleet.serve.answers.access import AuditAnswer, AuditCheck
from host_tools.fleet.serve.answers.answer import Page, page_of
from host_tools.fleet.serve.asked import AfterNumber, Limit
from host_tools.fleet.serve.context import Fleet
from host_tools.fleet.serve.problems import too_many
from host_tools.fleet.serve.roles import ROOT
from host_tools.fleet.store.audit_file import audit_lines

_Actor = Annotated[str | None, Query(max_length=120, pattern=patterns.ACTOR)]
_Action = Annotated[str | None, Query(max_length=60, pattern=patterns.ACTION)]
_Subject = Annotated[str | None, Query(max_length=300, pattern=patterns.SUBJECT)]
_Order = Literal["oldest_first", "newest_first"]
_LINES = "application/jsonl"
_AT_ONCE = 1_000
_LINES_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"description": "One entry a line", "content": {_LINES: {"schema": {"type": "string"}}}}
}


def add_audit_endpoints(app: FastAPI, fleet: Fleet) -> None:
    """Add the endpoints."""

    @app.get(f"{ROOT}/audit", response_model=Page[AuditAnswer])
    def list_audit(
        actor: _Actor = None,
        action: _Action = None,
        subject: _Subject = None,
        after: AfterNumber = 0,
        order: _Order = "oldest_first",
        limit: Limit = 100,
    ) -> object:
        with fleet.store.reading() as book:
            found = book.audit.page(
                actor=actor,
                action=action,
                subject=subject,
                after=after,
                newest_first=order == "newest_first",
                limit=limit + 1,
            )
        return page_of(AuditAnswer, found, limit=limit, key="number")

    @app.get(f"{ROOT}/audit.jsonl", response_class=StreamingResponse, responses=_LINES_ANSWER)
    def export_audit() -> StreamingResponse:
        return StreamingResponse(_lines(fleet), media_type=_LINES)

    checking = threading.Lock()  # it reads every entry: one at a time

    @app.get(f"{ROOT}/audit/check", response_model=AuditCheck)
    def check_audit() -> AuditCheck:
        if not checking.acquire(blocking=False):
            raise too_many("The audit is being checked already.", wait_seconds=5.0)
        try:
            with fleet.store.reading() as book:
                broken, newest = book.audit.broken(), book.audit.last()
        finally:
            checking.release()
        return AuditCheck(
            whole=not broken,
            broken=broken,
            entries=0 if newest is None else newest.number,
            newest_digest="" if newest is None else newest.digest,
        )


def _lines(fleet: Fleet) -> Iterator[bytes]:
    """Give the audit in pieces, each read by itself: a slow reader holds no transaction open, and entries never change."""
    after = 0
    while True:
        with fleet.store.reading() as book:
            entries = book.audit.page(after=after, limit=_AT_ONCE)
        if not entries:
            return
        yield b"".join(audit_lines(entries))
        after = entries[-1].number
