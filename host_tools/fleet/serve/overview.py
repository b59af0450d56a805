"""The fleet at a glance, and whether the server lives."""

from __future__ import annotations

from fastapi import FastAPI

from host_tools.fleet.records.rollouts import ENDED_ROLLOUTS
from host_tools.fleet.serve.answers.overview import Alive, Overview
from host_tools.fleet.serve.context import Fleet
from host_tools.fleet.serve.roles import ROOT
from host_tools.fleet.store.devices import DeviceFilter


def add_overview_endpoints(app: FastAPI, fleet: Fleet) -> None:
    """Add the endpoints."""

    @app.get(f"{ROOT}/health", response_model=Alive)
    def is_alive() -> Alive:
        with fleet.store.reading() as book:
            book.changes.newest()
        return Alive(status="ok", leads=bool(fleet.service.leads))

    @app.get(f"{ROOT}/overview", response_model=Overview)
    def look_over() -> Overview:
        with fleet.store.reading() as book:
            return Overview(
                devices=book.devices.count(DeviceFilter()),
                by_state=book.devices.tallies("state"),
                by_health=book.devices.tallies("health"),
                by_group=book.devices.tallies("group"),
                by_artifact=book.devices.tallies("artifact"),
                open_rollouts=book.rollouts.count() - book.rollouts.count(ENDED_ROLLOUTS),
                open_effects=book.effects.count(),
                newest_change=book.changes.newest(),
            )
