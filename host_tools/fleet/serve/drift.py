"""Drift: what devices shall run against what they say that they run."""

from __future__ import annotations

from dataclasses import replace

from fastapi import FastAPI

from host_tools.fleet.pinning import unsigned_order
from host_tools.fleet.serve.answers.answer import Page, page_of
from host_tools.fleet.serve.answers.devices import DesiredAnswer, DriftAnswer
from host_tools.fleet.serve.asked import AfterName, InDevice, InGroup, Limit
from host_tools.fleet.serve.context import Fleet
from host_tools.fleet.serve.roles import ROOT
from host_tools.fleet.store.drift import DesiredOfDevice


def add_drift_endpoints(app: FastAPI, fleet: Fleet) -> None:
    """Add the endpoints."""

    @app.get(f"{ROOT}/drift", response_model=list[DriftAnswer])
    def tell_drift() -> object:
        with fleet.store.reading() as book:
            return book.drift.tallies()

    @app.get(f"{ROOT}/groups/{{group}}/drift", response_model=Page[DesiredAnswer])
    def list_differing(group: InGroup, after: AfterName = "", limit: Limit = 100) -> object:
        with fleet.store.reading() as book:
            book.groups.get(group)
            found = book.drift.differing(group, after=after, limit=limit + 1)
        return page_of(DesiredAnswer, found, limit=limit, key="device")

    @app.get(f"{ROOT}/devices/{{device}}/desired", response_model=DesiredAnswer)
    def tell_desired(device: InDevice) -> DesiredOfDevice:
        with fleet.store.reading() as book:
            found = book.drift.of_device(device, book.devices.get(device).group)
            return replace(found, unsigned=unsigned_order(book, device))
