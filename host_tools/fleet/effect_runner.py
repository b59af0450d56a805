"""`EffectRunner`: does outside what was stored as to be done: each at least once, and again until it is."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import EdgewrightError
from host_tools.fleet.pinning import unpinning
from host_tools.fleet.rollout.wanted import as_desired, wanted
from host_tools.repository.desires import Move

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from host_tools.fleet.outside import Enrolment, Field
    from host_tools.fleet.store.effects import Effect
    from host_tools.fleet.store.fleet_store import FleetStore

_LOG: Final = logging.getLogger("edgewright.fleet")
_AT_ONCE: Final = 100
_LONGEST_PAUSE_SECONDS: Final = 60.0


class EffectRunner:
    """Signs, moves, revokes and approves as the store says.

    Args:
        store: Keeps what is to be done.
        field: Signs what devices shall run.
        enrolment: Certificates; None: this fleet's devices have theirs from elsewhere.
        take_pins: Stores what the repository says of pins; called when one was signed.
    """

    def __init__(
        self, store: FleetStore, field: Field, enrolment: Enrolment | None, *, take_pins: Callable[[], None]
    ) -> None:
        self._store = store
        self._field = field
        self._enrolment = enrolment
        self._take_pins = take_pins

    def run_due(self) -> None:
        """Do what is due; what fails waits, longer each time, and says why.

        Raises:
            StoreError: The store cannot be read or written.
        """
        with self._store.reading() as book:
            due = book.effects.due(book.now_seconds, limit=_AT_ONCE)
        moves = [effect for effect in due if effect.kind == "move"]
        if moves:
            self._settle(moves, self._move)
        for effect in due:
            if effect.kind != "move":
                self._settle([effect], self._do)

    def _settle(self, effects: Sequence[Effect], do: Callable[[Sequence[Effect]], None]) -> None:
        """Do what belongs together, and write down that it is done, or why it waits."""
        try:
            do(effects)
        except EdgewrightError as error:
            first = effects[0]
            _LOG.warning("%s of %s waits: %s", first.kind, first.subject, error)
            with self._store.writing() as book:
                for effect in effects:
                    pause = min(2.0 ** min(effect.attempts, 10), _LONGEST_PAUSE_SECONDS)
                    book.effects.failed(effect, str(error)[:500], due_seconds=book.now_seconds + pause)
        else:
            with self._store.writing() as book:
                for effect in effects:
                    book.effects.done(effect)

    def _move(self, effects: Sequence[Effect]) -> None:
        """Let devices follow their groups: many at once, for every signature writes what is signed of all of them."""
        documents = [json.loads(effect.document) for effect in effects]
        moves = [
            Move(
                device=effect.subject,
                group=str(one["group"]),
                before=str(one["before"]),
                configured=str(one.get("configured", "")),
            )
            for effect, one in zip(effects, documents, strict=True)
        ]
        self._field.move(moves, is_current=lambda: all(map(self._is_current, effects)))

    def _do(self, effects: Sequence[Effect]) -> None:
        (effect,) = effects
        document = json.loads(effect.document)
        if effect.kind == "revoke":
            if self._enrolment is not None:
                self._enrolment.revoke(
                    effect.subject,
                    reason=str(document["reason"]),
                    for_good=bool(document.get("for_good", False)),  # one of an earlier version does not say
                )
            return
        if effect.kind == "approve":
            if self._enrolment is not None:
                self._enrolment.approve(effect.subject, by=str(document["by"]))
            return
        if effect.kind == "pin":
            self._pin(effect, document["release"], allow_downgrade=bool(document["allow_downgrade"]))
            return
        with self._store.reading() as book:
            rollout = book.rollouts.get(str(document["rollout"]))
            release = book.releases.get(rollout.plan.release)
        self._field.publish(
            effect.subject,
            wanted(rollout, release),
            ask_anew=bool(document["ask_anew"]),
            is_current=lambda: self._is_current(effect),
        )

    def _pin(self, effect: Effect, wanted_release: str | None, *, allow_downgrade: bool) -> None:
        """Give a device a desired state of its own, or take it away, and store that before the effect is done: one of both always says so."""
        with self._store.reading() as book:
            device = book.devices.get(effect.subject)
            release = None if wanted_release is None else book.releases.get(wanted_release)
        if release is None:
            self._field.move([unpinning(device)], is_current=lambda: self._is_current(effect))
        else:
            self._field.pin(
                device.id,
                as_desired(release.artifacts),
                allow_downgrade=allow_downgrade,
                is_current=lambda: self._is_current(effect),
            )
        self._take_pins()

    def _is_current(self, effect: Effect) -> bool:
        """Return whether nothing newer is wanted: who led before, and does not know yet that it leads no more, must not sign what is old."""
        with self._store.reading() as book:
            newest = book.effects.find(effect.kind, effect.subject)
        return newest is not None and newest.number == effect.number
