"""`FleetService`: makes rollouts go on. It keeps nothing that is not in the store, so that it may be killed at any moment.

Each round: jobs are brought up to date, the pure machine says what follows, and its answer is stored with what must be done for it;
then that is done, and again until it has been.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Final

from device_agent.contract.errors import EdgewrightError
from host_tools.errors import ConflictError, InputError, StaleError
from host_tools.fleet.carrying_out import carry_out
from host_tools.fleet.effect_runner import EffectRunner
from host_tools.fleet.inventory import MOST_DEVICES
from host_tools.fleet.outside import nothing_measured
from host_tools.fleet.pinning import require_not_pinned
from host_tools.fleet.records.rollouts import Rollout, StageProgress
from host_tools.fleet.rollout import orders
from host_tools.fleet.rollout.jobs import Observation, observe
from host_tools.fleet.rollout_rounds import RolloutRounds
from host_tools.fleet.store.devices import DeviceFilter
from host_tools.fleet.store.rollouts import OCCUPYING
from host_tools.fleet.whereabouts import Whereabouts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from host_tools.fleet.outside import Enrolment, Field, Findings
    from host_tools.fleet.records.jobs import Job
    from host_tools.fleet.records.releases import Release
    from host_tools.fleet.records.rollouts import RolloutPlan
    from host_tools.fleet.rollout.steps import Advance
    from host_tools.fleet.store.devices import DeviceReport
    from host_tools.fleet.store.fleet_store import FleetBook, FleetStore

_LOG: Final = logging.getLogger("edgewright.fleet")
_FRESH_SECONDS: Final = 600.0
_ENROLLED_SECONDS: Final = 10.0

ORDERS: Final[Mapping[str, Callable[[Rollout, str, float], Advance]]] = {
    "submit": orders.submit,
    "approve": orders.approve,
    "approve_stage": orders.approve_stage,
    "pause": orders.pause,
    "resume": orders.resume,
    "abort": orders.abort,
    "rollback": orders.roll_back,
    "retry": orders.retry,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a device said: of itself, and of its update."""

    report: DeviceReport
    seen: Observation


class FleetService:
    """Orders of people, reports of devices, and the rounds of the server.

    Args:
        store: Keeps everything.
        field: Signs what devices shall run.
        enrolment: Certificates; None: this fleet's devices have theirs from elsewhere.
        findings: Of the gates.
        most_devices: So many of those that enrol are taken into the fleet.

    Attributes:
        devices_known: How many devices the store knew in the last round.
        leads: Whether this server makes the fleet's rounds; None: it is not known yet.
    """

    def __init__(
        self,
        store: FleetStore,
        field: Field,
        *,
        enrolment: Enrolment | None = None,
        findings: Findings = nothing_measured,
        most_devices: int = MOST_DEVICES,
    ) -> None:
        self.store = store
        self.enrolment = enrolment
        self._field = field
        self._whereabouts = Whereabouts(store, field, enrolment, most_devices=most_devices)
        self._effects = EffectRunner(store, field, enrolment, take_pins=self._whereabouts.take_pins)
        self.devices_known = 0
        self.leads: bool | None = None
        self._wake = threading.Event()
        self._rounds = RolloutRounds(store, findings, wake=self._wake.set)

    def create(self, plan: RolloutPlan, *, actor: str) -> Rollout:
        """Plan a rollout: a draft, until it is submitted.

        Raises:
            NotFoundError: There is no such group or release.
            ConflictError: There is a rollout with this id.
        """
        with self.store.writing() as book:
            group, release = book.groups.get(plan.group), book.releases.get(plan.release)
            rollout = Rollout(
                plan=plan,
                previous=group.artifacts,
                state="draft",
                stages=(StageProgress(),) * len(plan.stages),
                reason=f"planned by {actor}.",
                created_by=actor,
                created_seconds=book.now_seconds,
                changed_seconds=book.now_seconds,
            )
            book.rollouts.add(rollout)
            book.note(
                actor, "rollout.create", f"rollout/{plan.id}", {"group": plan.group, "release": release.id}
            )
        return rollout

    def require_signed(self, release: Release) -> None:
        """Refuse a release that the repository does not sign as it says; without a repository every one is taken.

        Raises:
            ConflictError: An artifact is not signed, or otherwise.
            StoreError: The repository cannot be read now.
        """
        self._field.require_signed(release)

    def order(self, rollout: str, order: str, *, actor: str, revision: int | None = None) -> Rollout:
        """Do what somebody wants with a rollout, and return it as it is then.

        Args:
            rollout: Its id.
            order: One of `ORDERS`.
            actor: Who wants it.
            revision: The one that was looked at; None: whichever it is.

        Raises:
            NotFoundError: There is no such rollout.
            StaleError: It is of another revision by now.
            ConflictError: The state that it is in, or another rollout, does not allow it; or it is submitted and names a device
                that is not in its group, or has a desired state of its own.
        """
        with self.store.writing() as book:
            before = book.rollouts.get(rollout)
            if revision is not None and before.revision != revision:
                raise StaleError(
                    f"rollout {rollout}: it is at revision {before.revision}, expected {revision}.",
                    hint="Look at it again.",
                )
            if order == "submit":
                _check_named(book, before)
            try:
                following = ORDERS[order](before, actor, book.now_seconds)
            except InputError as error:
                raise ConflictError(str(error.args[0]), hint=error.hint) from error
            after = carry_out(book, before, following, actor=actor)
        self._wake.set()
        return after

    def hear(self, heard: Sequence[Heard]) -> None:
        """Take what devices said, in the order in which it came. A thing may come twice.

        Raises:
            StoreError: It cannot be stored: nothing of it was taken.
        """
        if not heard:
            return
        with self.store.writing() as book:
            book.devices.heard([one.report for one in heard], now_seconds=book.now_seconds)
            by_device: dict[str, list[Job]] = defaultdict(list)
            for job in book.jobs.open_of(sorted({one.report.device for one in heard})):
                by_device[job.device].append(job)
            moved: dict[tuple[str, str], Job] = {}
            for one in heard:
                jobs = by_device[one.report.device]
                for place, job in enumerate(jobs):
                    jobs[place] = observe(job, one.seen)
                    if jobs[place] != job:
                        moved[job.rollout, job.device] = jobs[place]
            book.jobs.put(list(moved.values()))
            book.changes.tell(book.now_seconds, "devices", "devices", {"heard": len(heard)})
        if moved:
            self._wake.set()

    def run(self, stop: threading.Event, *, period_seconds: float = 2.0) -> None:
        """Make rounds until told to stop, whenever no other server of the fleet makes them; a round that fails is tried again."""
        fresh_at = enrolled_at = 0.0
        while not stop.is_set():
            self._wake.clear()
            try:
                if self._leads():
                    if monotonic() - enrolled_at > _ENROLLED_SECONDS:
                        enrolled_at = monotonic()
                        self.take_enrolled()
                    self.round()
                    if monotonic() - fresh_at > _FRESH_SECONDS:
                        self._field.keep_fresh()
                        fresh_at = monotonic()
            except EdgewrightError as error:
                _LOG.warning("a round failed and is tried again: %s", error)
            # A defect must not end the rounds: the interface would go on to answer, and no rollout would move.
            except Exception:  # noqa: BLE001
                _LOG.exception("a round failed by a defect of the server, and is tried again")
            self._wake.wait(period_seconds)

    def _leads(self) -> bool:
        leads = self.store.leads()
        if leads != self.leads:
            self.leads = leads
            self._whereabouts.forget_pins()  # whoever led in between may have stored others
            _LOG.info(
                "this server makes the rollouts of the fleet go on."
                if leads
                else "another server makes the rollouts of the fleet go on; this one takes over when that has gone."
            )
        return leads

    def wake(self) -> None:
        """Let the next round begin now."""
        self._wake.set()

    def round(self) -> None:
        """Bring every rollout as far as it can be brought now.

        Raises:
            StoreError: The store cannot be read.
        """
        self._whereabouts.look_at_pins()
        try:
            self._whereabouts.place()
        except EdgewrightError as error:
            _LOG.warning("devices cannot be put into their groups now, which is tried again: %s", error)
        with self.store.reading() as book:
            self.devices_known = book.devices.count(DeviceFilter())
            going = book.rollouts.in_states(OCCUPYING)
            releases = {one.plan.id: book.releases.get(one.plan.release) for one in going}
        for rollout in going:
            try:
                self._rounds.go_on(rollout, releases[rollout.plan.id])
            except EdgewrightError as error:
                _LOG.warning("rollout %s waits: %s", rollout.plan.id, error)
            except Exception:  # noqa: BLE001
                _LOG.exception("rollout %s waits: a defect of the server", rollout.plan.id)
        self._effects.run_due()

    def take_enrolled(self) -> None:
        """Make known what the authority knows of devices that came, come back, or ask to be let in.

        Raises:
            EdgewrightError: The authority or the store cannot be read.
        """
        self._whereabouts.take_enrolled()


def _check_named(book: FleetBook, rollout: Rollout) -> None:
    """Refuse a name that is nobody's: a stage of misspelt canaries would have no device, and pass at once."""
    plan = rollout.plan
    for stage in plan.stages:
        for name in stage.devices:
            device = book.devices.find(name)
            if device is None or device.group != plan.group:
                told = "is not known" if device is None else f"is in group {device.group}"
                raise ConflictError(
                    f"rollout {plan.id}: stage {stage.name}: expected devices of group {plan.group}, got {name!r}, which {told}.",
                    hint="Correct the plan, or make the device known: edgewright fleet devices import.",
                )
            require_not_pinned(book, name, what=f"rollout {plan.id}: stage {stage.name}")
