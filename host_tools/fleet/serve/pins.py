"""Desired states of single devices' own: give one, take it away. Which device has one `/devices/{device}/desired` tells."""

from __future__ import annotations

from fastapi import FastAPI, Request

from host_tools.fleet.pinning import MOST_PINNED, pin_device, unpin_device
from host_tools.fleet.records.devices import Device
from host_tools.fleet.serve.admission import caller_of
from host_tools.fleet.serve.answers.devices import DeviceAnswer
from host_tools.fleet.serve.asked import InDevice, PinAsked
from host_tools.fleet.serve.context import Fleet, require_room
from host_tools.fleet.serve.roles import ROOT


def add_pin_endpoints(app: FastAPI, fleet: Fleet) -> None:
    """Add the endpoints."""

    @app.post(f"{ROOT}/devices/{{device}}/pin", response_model=DeviceAnswer)
    def pin(request: Request, device: InDevice, asked: PinAsked) -> Device:
        with fleet.store.writing() as book:
            found, release = book.devices.get(device), book.releases.get(asked.release)
            pinned = pin_device(
                book,
                found,
                release,
                allow_downgrade=asked.allow_downgrade,
                actor=caller_of(request).actor,
            )
            if book.pins.find(device) is None:
                require_room(book.pins.count(), MOST_PINNED, "devices with a desired state of their own")
        fleet.service.wake()
        return pinned

    @app.delete(f"{ROOT}/devices/{{device}}/pin", response_model=DeviceAnswer)
    def unpin(request: Request, device: InDevice) -> Device:
        with fleet.store.writing() as book:
            unpinned = unpin_device(book, book.devices.get(device), actor=caller_of(request).actor)
        fleet.service.wake()
        return unpinned
