"""The addresses that a device asks: poll, deployment, cancellation, feedback, attributes, download."""

from __future__ import annotations

import threading
from collections import OrderedDict
from time import monotonic
from typing import Annotated, Any, Final

from fastapi import APIRouter, FastAPI, Path, Request, Response
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse

from host_tools.errors import NotFoundError
from host_tools.fleet.ddi.attributes import provides_after
from host_tools.fleet.ddi.door import DdiRoute, DdiSettings, Door, device_of
from host_tools.fleet.ddi.feedback import begun, ends, heard, lives
from host_tools.fleet.ddi.files import Files
from host_tools.fleet.ddi.offers import Offer, look_at, offer_to, standing
from host_tools.fleet.ddi.wire import (
    ConfigData,
    Feedback,
    base_document,
    cancel_document,
    deployment_document,
)
from host_tools.fleet.records.devices import Device
from host_tools.fleet.rollout.jobs import Observation
from host_tools.fleet.serve import patterns
from host_tools.fleet.serve.context import Fleet
from host_tools.fleet.serve.problems import Refusal
from host_tools.fleet.service import Heard
from host_tools.fleet.store.ddi import DdiAction
from host_tools.fleet.store.devices import DeviceReport

ADDRESS: Final = "/{tenant}/controller/v1/{controller}"
_HEARD_SECONDS: Final = 10.0
"""A device that was heard so lately is not written down anew: one that polls every second must not keep the store busy."""
_TOLD_SECONDS: Final = 86_400.0
_MOST_TOLD: Final = 250_000
_MOST_ACTIONS: Final = 2_147_483_647
_InAction = Annotated[int, Path(ge=1, le=_MOST_ACTIONS)]
_InFile = Annotated[str, Path(pattern=patterns.FILE)]


def add_ddi(app: FastAPI, fleet: Fleet, settings: DdiSettings) -> None:
    """Add the addresses to the fleet's application."""
    app.state.ddi_door = Door(fleet.store, fleet.limits, settings.tenant)
    app.include_router(device_router(fleet, settings))


def device_router(fleet: Fleet, settings: DdiSettings) -> APIRouter:
    """Return the addresses; each is behind the application's `Door`."""
    router = APIRouter(route_class=DdiRoute, prefix=ADDRESS, include_in_schema=False)
    devices = _Devices(fleet, settings)
    _add_poll(router, devices)
    _add_deployments(router, devices)
    _add_cancellations(router, devices)
    _add_downloads(router, devices)
    return router


class _Devices:
    """What the addresses have in common."""

    def __init__(self, fleet: Fleet, settings: DdiSettings) -> None:
        self.fleet = fleet
        self.settings = settings
        self.files = Files(settings.repository)
        self._told: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def polls(self, device: Device) -> Offer | None:
        """Write down that a device lives, unless that was done a moment ago, and return what it has to do; None: nothing."""
        with self.fleet.store.reading() as book:
            seen = look_at(book, device)
        now, last = seen.now_seconds, device.last_seen_seconds
        if seen.is_awaited or last is None or now - last >= _HEARD_SECONDS:
            self.fleet.service.hear([lives(device.id, now)])
        return offer_to(self.fleet.store, device, seen)

    def action(self, device: Device, number: int) -> tuple[DdiAction, Offer | None]:
        """Return an action of a device, and what is asked of the device with it now; None: nothing.

        Raises:
            NotFoundError: It has none with this number.
        """
        with self.fleet.store.reading() as book:
            action = book.ddi_actions.get(device.id, number)
            seen = look_at(book, device)
        offer = standing(seen.wanted, seen.newest)
        return action, offer if offer is not None and offer.action == action else None

    def asks_attributes(self, device: str) -> bool:
        """Return whether a device shall say again what it is: once a day, after an update, and when the server has begun anew."""
        with self._lock:
            return monotonic() - self._told.get(device, -_TOLD_SECONDS) >= _TOLD_SECONDS

    def told_attributes(self, device: str, *, told: bool = True) -> None:
        """Remember that a device has said what it is, or that it shall say so again."""
        with self._lock:
            self._told.pop(device, None)
            if told:
                self._told[device] = monotonic()
                if len(self._told) > _MOST_TOLD:
                    self._told.popitem(last=False)


def _add_poll(router: APIRouter, devices: _Devices) -> None:
    @router.get("", response_class=JSONResponse)
    def poll(request: Request) -> Response:
        device = device_of(request)
        links = {}
        offer = devices.polls(device)
        if offer is not None:
            relation = "deploymentBase" if offer.kind == "deploy" else "cancelAction"
            links[relation] = f"{relation}/{offer.action.number}"
        if devices.asks_attributes(device.id):
            links["configData"] = "configData"
        return JSONResponse(
            base_document(_root(request), poll_seconds=devices.settings.poll_seconds, links=links)
        )

    @router.put("/configData", response_class=Response)
    def take_attributes(request: Request, said: ConfigData) -> Response:
        device = device_of(request)
        provides = provides_after(device.provides, said)
        seconds = devices.fleet.store.wall_seconds()
        report = DeviceReport(device=device.id, seconds=seconds, provides=provides)
        devices.fleet.service.hear([Heard(report=report, seen=Observation(seconds=seconds))])
        devices.told_attributes(device.id)
        return Response()


def _add_deployments(router: APIRouter, devices: _Devices) -> None:
    store, service = devices.fleet.store, devices.fleet.service

    @router.get("/deploymentBase/{action}", response_class=JSONResponse)
    def tell_deployment(request: Request, action: _InAction) -> Response:
        found, offer = devices.action(device_of(request), action)
        if offer is None or offer.kind != "deploy":
            raise _nothing(found, "to be installed")
        return JSONResponse(deployment_document(_root(request), found, devices.files.of(found)))

    @router.post("/deploymentBase/{action}/feedback", response_class=Response)
    def take_feedback(request: Request, action: _InAction, said: Feedback) -> Response:
        device = device_of(request)
        found, _ = devices.action(device, action)
        ended = ends(said)
        if found.ended_seconds is not None:
            if ended == found.result:
                return Response()  # said again: our answer was lost
            raise Refusal(410, "ended", f"Action {action} has ended: {found.result}.")
        # The job first: what is broken off in between is said again, and taken then.
        service.hear([heard(found, said, store.wall_seconds())])
        if ended is not None:
            with store.writing() as book:
                book.ddi_actions.end(action, ended, now_seconds=book.now_seconds)
            devices.told_attributes(device.id, told=False)
        return Response()


def _add_cancellations(router: APIRouter, devices: _Devices) -> None:
    store, service = devices.fleet.store, devices.fleet.service

    @router.get("/cancelAction/{action}", response_class=JSONResponse)
    def tell_cancellation(request: Request, action: _InAction) -> Response:
        found, offer = devices.action(device_of(request), action)
        if offer is None or offer.kind != "cancel":
            raise _nothing(found, "to be canceled")
        return JSONResponse(cancel_document(found))

    @router.post("/cancelAction/{action}/feedback", response_class=Response)
    def take_cancellation(request: Request, action: _InAction, said: Feedback) -> Response:
        device = device_of(request)
        found, offer = devices.action(device, action)
        if found.result == "canceled":
            return Response()  # said again: our answer was lost
        if offer is None or offer.kind != "cancel":
            raise _nothing(found, "to be canceled")
        with store.writing() as book:
            if said.status.execution == "rejected":
                book.ddi_actions.keep(action)
            elif said.status.execution in ("closed", "canceled"):
                book.ddi_actions.end(action, "canceled", now_seconds=book.now_seconds)
            book.note(
                f"device {device.id}",
                "action.cancel",
                f"device/{device.id}",
                {"action": action, "said": said.status.execution},
            )
        service.hear([lives(device.id, store.wall_seconds())])
        return Response()


def _add_downloads(router: APIRouter, devices: _Devices) -> None:
    address = "/softwaremodules/{action}/artifacts"

    def found(request: Request, action: int) -> DdiAction:
        one, offer = devices.action(device_of(request), action)
        if offer is None:
            raise _nothing(one, "to be downloaded")
        return one

    @router.get(address, response_class=JSONResponse)
    def list_artifacts(request: Request, action: _InAction) -> Response:
        one = found(request, action)
        document: dict[str, Any] = deployment_document(_root(request), one, devices.files.of(one))
        return JSONResponse(document["deployment"]["chunks"][0]["artifacts"])

    @router.get(f"{address}/{{file}}", response_class=FileResponse)
    def download(request: Request, action: _InAction, file: _InFile) -> Response:
        one = found(request, action)
        bundle = devices.files.of(one)
        if file == f"{bundle.name}.MD5SUM":
            return PlainTextResponse(f"{bundle.md5}  {bundle.name}\n")
        if file != bundle.name:
            raise NotFoundError(f"action {action}: it brings no file of this name.")
        if not one.is_fetched:
            devices.fleet.service.hear([begun(one, devices.fleet.store.wall_seconds())])
            with devices.fleet.store.writing() as book:
                book.ddi_actions.fetch(action)
        return FileResponse(bundle.path, media_type="application/octet-stream", filename=bundle.name)


def _nothing(action: DdiAction, what: str) -> NotFoundError:
    return NotFoundError(f"action {action.number}: there is nothing {what} now.", hint="Poll again.")


def _root(request: Request) -> str:
    """Return the address of the device's resources, as the device itself names this server."""
    parts = request.path_params
    base = str(request.base_url).rstrip("/")
    return f"{base}/{parts['tenant']}/controller/v1/{parts['controller']}"
