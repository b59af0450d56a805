"""`Whereabouts`: which devices there are, in which groups they are, and which follow none."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import EdgewrightError
from host_tools.fleet.inventory import take_enrolled
from host_tools.fleet.pinning import take_pins
from host_tools.fleet.placing import BATCH, place_devices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from host_tools.fleet.outside import Enrolment, Field
    from host_tools.fleet.records.devices import Pin, Selector
    from host_tools.fleet.store.fleet_store import FleetStore

_LOG: Final = logging.getLogger("edgewright.fleet")
CLOCKS_APART_SECONDS: Final = 10.0
"""So far the clocks of two servers of one fleet may be apart: a device that one places, the other must not overlook."""


class Whereabouts:
    """What the authority, the selectors of groups and the signed repository say of devices, brought into the store.

    What it remembers spares it work alone; whoever begins anew comes to the same.

    Args:
        store: Keeps everything.
        field: Signs what devices shall run.
        enrolment: Certificates; None: this fleet's devices have theirs from elsewhere.
        most_devices: So many of those that enrol are taken into the fleet.
    """

    def __init__(
        self, store: FleetStore, field: Field, enrolment: Enrolment | None, *, most_devices: int
    ) -> None:
        self._store = store
        self._field = field
        self._enrolment = enrolment
        self._most_devices = most_devices
        self._left_out: tuple[str, ...] = ()
        self._elsewhere: Mapping[str, str] = {}
        self._selectors: tuple[tuple[str, Selector | None], ...] | None = None
        self._placed_since_seconds = 0.0
        self._redirected: dict[str, tuple[str, str]] = {}
        self._pins: Sequence[Pin] | None = None
        self._unread_pins = ""

    def forget_pins(self) -> None:
        """Look at all pins the next time: somebody else may have stored others."""
        self._pins = None

    def take_enrolled(self) -> None:
        """Make known what the authority knows of devices that came, come back, or ask to be let in.

        Raises:
            EdgewrightError: The authority or the store cannot be read.
        """
        if self._enrolment is None:
            return
        members = self._enrolment.members()
        with self._store.writing() as book:
            taken = take_enrolled(book, members, most=self._most_devices)
        for device, what in taken.elsewhere.items():
            if self._elsewhere.get(device) != what:  # once, not every time
                _LOG.warning("device %s: %s", device, what)
        self._elsewhere, left_out = taken.elsewhere, taken.left_out
        if left_out and left_out != self._left_out:  # once, not every time
            _LOG.warning(
                "%d enrolled devices are not in the fleet, %s first: there are %d devices, as many as this server keeps.",
                len(left_out),
                left_out[0],
                self._most_devices,
            )
        self._left_out = left_out

    def look_at_pins(self) -> None:
        """Do what `take_pins` does; where nothing can be read, that is told once."""
        try:
            self.take_pins()
            self._unread_pins = ""
        except EdgewrightError as error:
            if self._unread_pins != str(error):  # once, not every round
                _LOG.warning(
                    "which devices have a desired state of their own cannot be told, which is tried again: %s",
                    error,
                )
            self._unread_pins = str(error)

    def take_pins(self) -> None:
        """Look which devices have a desired state of their own, whoever signed it, and store what has changed.

        Raises:
            EdgewrightError: The repository or the store cannot be read.
        """
        pins = self._field.pins()
        if pins is None or pins is self._pins:
            return
        with self._store.writing() as book:
            changed = take_pins(book, pins)
        self._pins = pins
        if changed:
            _LOG.info(
                "desired states of single devices' own: %d now; %d are new, other ones or gone.",
                len(pins),
                changed,
            )

    def place(self) -> None:
        """Put devices into the groups that selectors name: each that has changed since the last time, and all of them where a selector has.

        Raises:
            EdgewrightError: The repository or the store cannot be read.
        """
        with self._store.reading() as book:
            selecting, now_seconds = book.groups.selecting(), book.now_seconds
            selectors = tuple((one.name, one.selector) for one in selecting)
            since = self._placed_since_seconds if selectors == self._selectors else 0.0
            has_changed = bool(book.devices.changed_since(since, limit=1))
        if has_changed:
            followed, after, moved = self._field.followed(), "", 0
            while True:
                with self._store.writing() as book:
                    devices = book.devices.changed_since(since, after=after, limit=BATCH)
                    moved += place_devices(book, devices, selecting, followed, self._redirected)
                if len(devices) < BATCH:
                    break
                after = devices[-1].id
            if moved:
                _LOG.info("%d devices were put into other groups, as selectors say.", moved)
        self._selectors, self._placed_since_seconds = selectors, now_seconds - CLOCKS_APART_SECONDS
