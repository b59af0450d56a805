"""Releases: what is written down of them. Their artifacts are signed into the repository by whoever has its keys, before."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query, Request

from device_agent.contract.telemetry.message import Scalar
from host_tools.fleet.records.releases import Release
from host_tools.fleet.serve import patterns
from host_tools.fleet.serve.admission import caller_of
from host_tools.fleet.serve.answers.answer import Page, page_of
from host_tools.fleet.serve.answers.devices import ReleaseAnswer
from host_tools.fleet.serve.asked import AfterName, InRelease, Limit, ReleaseAsked
from host_tools.fleet.serve.context import Fleet, require_room
from host_tools.fleet.serve.roles import ROOT

_Model = Annotated[str | None, Query(pattern=patterns.MODEL)]


def add_release_endpoints(app: FastAPI, fleet: Fleet) -> None:
    """Add the endpoints."""

    @app.get(f"{ROOT}/releases", response_model=Page[ReleaseAnswer])
    def list_releases(model: _Model = None, after: AfterName = "", limit: Limit = 100) -> object:
        with fleet.store.reading() as book:
            found = book.releases.page(model=model, after=after, limit=limit + 1)
        return page_of(ReleaseAnswer, found, limit=limit, key="id")

    @app.get(f"{ROOT}/releases/{{release}}", response_model=ReleaseAnswer)
    def get_release(release: InRelease) -> Release:
        with fleet.store.reading() as book:
            return book.releases.get(release)

    @app.post(f"{ROOT}/releases", response_model=ReleaseAnswer, status_code=201)
    def add_release(request: Request, asked: ReleaseAsked) -> Release:
        caller = caller_of(request)
        release = Release(
            id=f"{asked.model}-{asked.version}",
            model=asked.model,
            version=asked.version,
            counter=asked.counter,
            artifacts=asked.artifact_records(),
            created_by=caller.actor,
            created_seconds=fleet.store.wall_seconds(),
        )
        fleet.service.require_signed(release)
        with fleet.store.writing() as book:
            require_room(book.releases.count(), fleet.limits.releases, "releases")
            book.releases.add(release)
            details: dict[str, Scalar] = {
                "counter": release.counter,
                "profiles": " ".join(sorted(release.artifacts)),
            }
            book.note(caller.actor, "release.add", f"release/{release.id}", details)
        return release
