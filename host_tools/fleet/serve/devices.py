"""Devices: lists, one of them, what people do with them, and the whole list as CSV."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from host_tools.fleet.inventory import add_devices, approve_device, edit_device, retire_device
from host_tools.fleet.records.devices import Device, DeviceState
from host_tools.fleet.serve import patterns
from host_tools.fleet.serve.admission import caller_of
from host_tools.fleet.serve.answers.answer import Page, page_of
from host_tools.fleet.serve.answers.devices import DeviceAnswer, Imported
from host_tools.fleet.serve.answers.rollouts import JobAnswer
from host_tools.fleet.serve.asked import (
    AfterName,
    DeviceAsked,
    DeviceEdit,
    HealthFilter,
    InDevice,
    Limit,
    Reason,
)
from host_tools.fleet.serve.context import Fleet, require_room
from host_tools.fleet.serve.device_table import import_table, written_table
from host_tools.fleet.serve.roles import ROOT
from host_tools.fleet.store.devices import DeviceFilter

_GroupFilter = Annotated[str | None, Query(pattern=patterns.NAME)]
_Tags = Annotated[list[Annotated[str, Query(pattern=patterns.TAG)]] | None, Query(max_length=8)]
_Artifact = Annotated[str | None, Query(pattern=patterns.DIGEST)]
_Target = Annotated[str | None, Query(pattern=patterns.PROFILE)]
_Search = Annotated[str, Query(pattern=patterns.NAME_OR_NONE)]
_Silent = Annotated[
    float | None, Query(ge=0.0, le=1e9, allow_inf_nan=False, description="Not heard for so long.")
]
_CSV = "text/csv"
_CSV_BODY = {"requestBody": {"required": True, "content": {_CSV: {"schema": {"type": "string"}}}}}
_CSV_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"description": "The list", "content": {_CSV: {"schema": {"type": "string"}}}}
}


def add_device_endpoints(app: FastAPI, fleet: Fleet) -> None:
    """Add the endpoints."""
    _add_reading(app, fleet)
    _add_changing(app, fleet)
    _add_tables(app, fleet)


def _add_reading(app: FastAPI, fleet: Fleet) -> None:
    @app.get(f"{ROOT}/devices", response_model=Page[DeviceAnswer])
    def list_devices(
        group: _GroupFilter = None,
        tag: _Tags = None,
        state: DeviceState | None = None,
        health: HealthFilter | None = None,
        artifact: _Artifact = None,
        target: _Target = None,
        search: _Search = "",
        silent_seconds: _Silent = None,
        after: AfterName = "",
        limit: Limit = 100,
    ) -> object:
        with fleet.store.reading() as book:
            wanted = DeviceFilter(
                group=group,
                tags=frozenset(tag or ()),
                state=state,
                health=health,
                artifact=artifact,
                target=target,
                search=search,
                silent_since_seconds=None if silent_seconds is None else book.now_seconds - silent_seconds,
            )
            found = book.devices.page(wanted, after=after, limit=limit + 1)
        return page_of(DeviceAnswer, found, limit=limit, key="id")

    @app.get(f"{ROOT}/devices/{{device}}", response_model=DeviceAnswer)
    def get_device(device: InDevice) -> Device:
        with fleet.store.reading() as book:
            return book.devices.get(device)

    @app.get(f"{ROOT}/devices/{{device}}/jobs", response_model=Page[JobAnswer])
    def list_device_jobs(device: InDevice, limit: Limit = 100) -> object:
        with fleet.store.reading() as book:
            book.devices.get(device)
            return {"items": book.jobs.of_device(device, limit=limit), "next": None}


def _add_changing(app: FastAPI, fleet: Fleet) -> None:
    @app.post(f"{ROOT}/devices", response_model=DeviceAnswer, status_code=201)
    def add_device(request: Request, asked: DeviceAsked) -> Device:
        with fleet.store.writing() as book:
            require_room(book.devices.count(DeviceFilter()), fleet.limits.devices, "devices")
            device = Device(
                id=asked.id,
                group=asked.group,
                tags=frozenset(asked.tags),
                provides=asked.provides.record(),
                added_seconds=book.now_seconds,
            )
            add_devices(book, [device], actor=caller_of(request).actor)
        return device

    @app.patch(f"{ROOT}/devices/{{device}}", response_model=DeviceAnswer)
    def change_device(request: Request, device: InDevice, asked: DeviceEdit) -> Device:
        with fleet.store.writing() as book:
            return edit_device(
                book,
                book.devices.get(device),
                group=asked.group,
                tags=None if asked.tags is None else frozenset(asked.tags),
                actor=caller_of(request).actor,
            )

    @app.post(f"{ROOT}/devices/{{device}}/approve", response_model=DeviceAnswer)
    def let_device_in(request: Request, device: InDevice) -> Device:
        with fleet.store.writing() as book:
            return approve_device(book, book.devices.get(device), actor=caller_of(request).actor)

    @app.post(f"{ROOT}/devices/{{device}}/revoke", response_model=DeviceAnswer)
    def revoke_device(request: Request, device: InDevice, asked: Reason) -> Device:
        with fleet.store.writing() as book:
            found = book.devices.get(device)
            return retire_device(book, found, "revoked", reason=asked.reason, actor=caller_of(request).actor)

    @app.post(f"{ROOT}/devices/{{device}}/decommission", response_model=DeviceAnswer)
    def decommission_device(request: Request, device: InDevice, asked: Reason) -> Device:
        with fleet.store.writing() as book:
            found = book.devices.get(device)
            return retire_device(
                book, found, "decommissioned", reason=asked.reason, actor=caller_of(request).actor
            )


def _add_tables(app: FastAPI, fleet: Fleet) -> None:
    @app.get(f"{ROOT}/devices.csv", response_class=Response, responses=_CSV_ANSWER)
    def export_devices() -> Response:
        headers = {"Content-Disposition": 'attachment; filename="devices.csv"'}
        return Response(written_table(fleet.store), media_type=_CSV, headers=headers)

    @app.post(f"{ROOT}/devices.csv", response_model=Imported, openapi_extra=_CSV_BODY)
    async def import_devices(request: Request) -> Imported:
        data = await request.body()
        return await run_in_threadpool(import_table, fleet, data, actor=caller_of(request).actor)
