"""`Updates`: carries out what the machine decides: is told what happened, and says what is to run."""

from __future__ import annotations

import fcntl
import logging
import os
from dataclasses import replace
from functools import partial
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Final

from device_agent.contract.archive import ArtifactArchive
from device_agent.contract.errors import EdgewrightError, StorageError
from device_agent.contract.model_names import MAIN_MODEL
from device_agent.sensors.host import clock_is_synchronized
from device_agent.update import effects as do
from device_agent.update import notices
from device_agent.update import occurrences as was
from device_agent.update.bootstrap import read_bootstrap
from device_agent.update.children import Children
from device_agent.update.jobs import FetchJob
from device_agent.update.machine import UpdateMachine
from device_agent.update.report import following
from device_agent.update.report import report as report_of
from device_agent.update.settings import check_job, trial_job, update_limits, updated_models
from device_agent.update.state import Release, UpdateState
from device_agent.update.state_file import StateFile
from device_agent.update.store import Store
from device_agent.update.updated_model import UpdatedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from device_agent.config import AgentConfig, ArtifactSection
    from device_agent.contract.telemetry.message import Scalar
    from device_agent.update.jobs import Answer, TrialJob
    from device_agent.update.report import Following
    from device_agent.update.state import Notice

_LOG = logging.getLogger("edgewright.update")
_OF_THE_MODEL: Final = (
    "archive",
    "contract",
    "digest_mismatch",
    "engine",
    "incompatible",
    "memory_budget",
    "schema_version",
    "self_test",
    "self_test_nonfinite",
    "storage",
    "trust",
)
"""Codes of failures that another model would not have; a camera that is gone is none."""


class Updates:
    """Updates of one run of the agent. One thread calls it.

    Args:
        config: What the agent is told.
        report: Takes the end of a step, on another thread; it is to come back through `handle`.
        tell: Records an event durably.
        restart: Ends this process in order and begins it anew.
        children: What runs the steps; by default child processes.

    Attributes:
        models: Each model that is updated, by its name in the configuration, the main one first.

    Raises:
        ConfigError: The root metadata cannot be read, or are none.
        StorageError: Another agent uses the folder.
    """

    def __init__(
        self,
        config: AgentConfig,
        *,
        report: Callable[[Answer], None],
        tell: Callable[[Notice], None],
        restart: Callable[[str], None],
        children: Children | None = None,
    ) -> None:
        self._config, self._section = config, config.update
        self._bootstrap = read_bootstrap(config)
        self._folder = self._bootstrap.folder
        self._lock = _locked(self._folder)
        self._file = StateFile(self._folder / "state.json")
        self._store = Store(self._folder / "store")
        self._children = children or Children(report)
        self._durable = self._read(tell)
        self._configs = updated_models(config)
        self._machine = UpdateMachine(
            self._durable, update_limits(config.update), models=tuple(self._configs)
        )
        self._begun: set[str] = set()
        self.models = {
            name: UpdatedModel(one.artifact, partial(self.failed, model=name))
            for name, one in self._configs.items()
        }
        self._actions: Mapping[type[Any], Callable[[Any], None]] = {
            do.WriteState: lambda effect: self._write(effect.state),
            do.TakeDelivered: lambda effect: self._take_delivered(effect.model),
            do.Run: lambda effect: self._run(effect.model, effect.release),
            do.RunDelivered: lambda effect: self._run(effect.model, None),
            do.Switch: lambda effect: self._switch(effect.model, effect.release),
            do.Check: lambda _: self._check(),
            do.Fetch: self._fetch,
            do.Try: self._try,
            do.Shadow: self._shadow,
            do.Cancel: lambda _: self._children.cancel(),
            do.Tell: lambda effect: tell(effect.notice),
            do.Collect: lambda effect: self._collect(effect.kept),
            do.Restart: lambda effect: restart(effect.reason),
        }

    @property
    def next_due_seconds(self) -> float:
        """Monotonic time at which `turn` wants to be called."""
        return self._machine.next_due_seconds

    @property
    def following(self) -> Following:
        """What is followed now, for the host."""
        group, targets = self._section.group or None, tuple(self._config.device.targets)
        return following(self._machine.state, group=group, targets=targets)

    def begin(self) -> ArtifactSection:
        """Return what the main model is to run in this process; `models` have what the others are to run."""
        self._take_in(was.Started(_moment()))
        return self.models[MAIN_MODEL].artifact

    def turn(self, now_seconds: float) -> None:
        """Do what is due."""
        if now_seconds >= self._machine.next_due_seconds:
            self._take_in(was.Tick(_moment()))

    def handle(self, answer: Answer) -> None:
        """Take in the end of a step."""
        self._take_in(answer)

    def observed(
        self,
        *,
        inferences: int,
        errors: int,
        p95_seconds: float | None,
        celsius: float | None = None,
        heat: str = "",
        model: str = MAIN_MODEL,
    ) -> None:
        """Take in what a window of a model saw: results, latency, the temperature, and why the device was too hot."""
        if model not in self.models:
            return
        self._take_in(
            was.Observed(
                inferences=inferences,
                errors=errors,
                p95_seconds=p95_seconds,
                nonfinite=self.models[model].take_nonfinite(),
                heat=heat or self._too_hot(celsius),
                model=model,
            )
        )

    def _too_hot(self, celsius: float | None) -> str:
        most = self._section.probation_max_celsius
        if most is None or celsius is None or celsius <= most:
            return ""
        return f"{celsius:.1f} °C, update.probation_max_celsius is {most:g}"

    def failed(self, code: str, message: str, model: str = MAIN_MODEL) -> None:
        """Take in that a model cannot go on."""
        if code in _OF_THE_MODEL:
            self._take_in(was.RunFailed(code=code, message=message, model=model))

    def status(self, now_seconds: float) -> Mapping[str, Scalar]:
        """Return what is worth knowing now, for whoever asks; see `report`."""
        machine = self._machine
        return report_of(
            machine.state,
            phase=machine.phase,
            inferences={name: machine.evidence_inferences(name) for name in self.models},
            last=machine.last_check,
            now_seconds=now_seconds,
        )

    def stopping(self) -> None:
        """Take in that the agent ends in order."""
        self._take_in(was.Stopping())

    def close(self) -> None:
        """End what is under way, and let another agent have the folder."""
        self._children.cancel()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # --- effects ---

    def _take_in(self, occurrence: was.Occurrence) -> None:
        for effect in self._machine.handle(occurrence):
            try:
                self._actions[type(effect)](effect)
            except StorageError as error:
                _LOG.error("the state of updates cannot be written: %s", error)
                unwritten = was.StateUnwritten(
                    message=str(error), durable=self._durable, begun=frozenset(self._begun)
                )
                self._take_in(unwritten)
                return

    def _write(self, state: UpdateState) -> None:
        self._file.write(state)
        self._durable = state

    def _read(self, tell: Callable[[Notice], None]) -> UpdateState:
        try:
            state = self._file.read()
        except (
            StorageError
        ) as error:  # the first state: what was delivered runs, and that the rest is gone is told
            tell(notices.state_damaged(str(error)))
            return UpdateState()
        if self._file.damaged:
            state = replace(state, notices=(notices.state_damaged(self._file.damaged),))
        return state

    def _take_delivered(self, model: str) -> None:
        wanted = self._configs[model].artifact
        try:
            digest = self._store.take(wanted.path)
            manifest = ArtifactArchive.open(
                self._store.path(digest), expected_digest=wanted.digest or digest
            ).manifest
        except EdgewrightError as error:
            self._take_in(was.Undelivered(message=str(error), model=model))
            return
        release = Release(digest=digest, name=manifest.name, version=manifest.version, counter=0)
        self._take_in(was.DeliveredTaken(release, model))

    def _run(self, model: str, release: Release | None) -> None:
        self._begun.add(model)
        self.models[model].artifact = self._artifact(model, release)

    def _switch(self, model: str, release: Release | None) -> None:
        self.models[model].artifact = self._artifact(model, release)
        self._take_in(was.Switched(model))

    def _artifact(self, model: str, release: Release | None) -> ArtifactSection:
        delivered = self._configs[model].artifact
        if release is None:
            return delivered
        return replace(delivered, path=self._store.path(release.digest), digest=release.digest)

    def _check(self) -> None:
        self._children.start(
            check_job(self._config, self._bootstrap), timeout_seconds=self._section.check_timeout_seconds
        )

    def _fetch(self, effect: do.Fetch) -> None:
        job = FetchJob(
            network=self._bootstrap.network, store=str(self._folder / "store"), candidate=effect.candidate
        )
        self._children.start(job, timeout_seconds=self._section.fetch_timeout_seconds)

    def _try(self, effect: do.Try) -> None:
        job = self._trial(effect)
        self._children.start(job, timeout_seconds=self._section.trial_timeout_seconds)

    def _shadow(self, effect: do.Shadow) -> None:
        section, model = self._section, self.models[effect.model]
        if model.tap is None:
            self._take_in(was.Shadowed(frames=0, cosine=None))
            return
        self._children.start_shadow(
            replace(self._trial(effect), beside=str(model.artifact.path)),
            model.tap,
            frames=section.shadow_frames,
            timeout_seconds=section.shadow_timeout_seconds,
            duty_ratio=section.shadow_duty_ratio,
        )

    def _trial(self, effect: do.Try | do.Shadow) -> TrialJob:
        config, digest = self._configs[effect.model], effect.release.digest
        return trial_job(config, self._section, artifact=self._store.path(digest), digest=digest)

    def _collect(self, kept: frozenset[str]) -> None:
        try:
            self._store.collect(kept)
        except StorageError as error:
            _LOG.warning("the store is not cleaned: %s", error)


def _locked(folder: Path) -> int | None:
    """Hold the folder: two agents would remove each other's artifacts. None where it cannot be made, which the first step tells."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # To be read too, and so without waiting, were it a named pipe.
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StorageError(
            f"update.directory: {folder}: another agent uses it.",
            hint="Stop the other agent, or give each agent its own folder.",
        ) from error
    return descriptor


def _moment() -> was.Moment:
    return was.Moment(now_seconds=monotonic(), wall_seconds=time(), synced=clock_is_synchronized())
